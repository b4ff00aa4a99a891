//! The connection task's half of a transport: it reads, and it writes if only this task can.
//!
//! Architecture invariant: any thread may write to a plain socket, through the outbox and its [`Outlet`]. Only one task
//! can drive a TLS or WebSocket stream, so there the outbox has no socket: appliers wake the connection's task, which
//! writes from here. The rest of the connection does not know the difference.

use crate::outbox::{Outbox, Outlet};
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::{TcpStream, UnixStream, tcp, unix};
use tokio::time::Instant;

/// Time for the last bytes to the peer, and for the end of the peer's stream.
pub(crate) const CLOSE_TIME: Duration = Duration::from_secs(1);

/// A stream of bytes that travels in frames: TLS records, WebSocket messages.
pub(crate) trait FramedStream: AsyncRead + AsyncWrite + Send + Unpin {
    /// Whether the peer has begun a message that can be read only when it is complete.
    fn has_partial_message(&self) -> bool {
        false
    }

    /// Bytes of that message that have come.
    fn pending(&self) -> u64 {
        0
    }
}

impl FramedStream for TcpStream {}
impl FramedStream for UnixStream {}

/// The reading half of a plain socket, or all of a framed stream.
pub(crate) enum Link {
    Tcp(tcp::OwnedReadHalf),
    Unix(unix::OwnedReadHalf),
    /// Boxed, so that plain connections stay small.
    Framed(Box<Framed>),
}

/// A framed stream, and its state.
pub(crate) struct Framed {
    stream: Box<dyn FramedStream>,
    /// Whether the stream may hold bytes that it has not yet written to the socket.
    holds_bytes: bool,
    /// The error that followed the last bytes that were read. The next read returns it.
    failed: Option<(io::ErrorKind, String)>,
}

impl Link {
    /// Splits a plain TCP socket.
    pub(crate) fn tcp(socket: TcpStream) -> (Link, Outlet) {
        let (read, write) = socket.into_split();
        (Link::Tcp(read), Outlet::Tcp(write))
    }

    /// Splits a plain Unix socket.
    pub(crate) fn unix(socket: UnixStream) -> (Link, Outlet) {
        let (read, write) = socket.into_split();
        (Link::Unix(read), Outlet::Unix(write))
    }

    /// Wraps a framed stream. Its outlet never takes a byte.
    pub(crate) fn framed(stream: impl FramedStream + 'static) -> (Link, Outlet) {
        let framed = Framed {
            stream: Box::new(stream),
            holds_bytes: false,
            failed: None,
        };
        (Link::Framed(Box::new(framed)), Outlet::Framed)
    }

    /// Whether bytes from the outbox may not have reached the socket yet.
    pub(crate) fn holds_bytes(&self) -> bool {
        matches!(self, Link::Framed(framed) if framed.holds_bytes)
    }

    /// Whether the peer has begun a message of which nothing can be read yet.
    pub(crate) fn has_partial_message(&self) -> bool {
        matches!(self, Link::Framed(framed) if framed.stream.has_partial_message())
    }

    /// Bytes of that message that have come.
    pub(crate) fn pending(&self) -> u64 {
        match self {
            Link::Framed(framed) => framed.stream.pending(),
            Link::Tcp(_) | Link::Unix(_) => 0,
        }
    }

    /// Reads into `buffer`. No new bytes mean the end of the stream.
    pub(crate) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self {
            Link::Tcp(socket) => Pin::new(socket).poll_read(cx, buffer),
            Link::Unix(socket) => Pin::new(socket).poll_read(cx, buffer),
            Link::Framed(framed) => framed.poll_read(cx, buffer),
        }
    }

    /// Ready once some bytes of `outbox` have been written, or none are left.
    pub(crate) fn poll_unblock(
        &mut self,
        cx: &mut Context<'_>,
        outbox: &Outbox,
    ) -> Poll<io::Result<()>> {
        let writable = match self {
            Link::Tcp(socket) => socket.as_ref().poll_write_ready(cx),
            Link::Unix(socket) => socket.as_ref().poll_write_ready(cx),
            Link::Framed(framed) => return framed.poll_write(cx, outbox),
        };
        ready!(writable)?;
        outbox.unblock();
        Poll::Ready(Ok(()))
    }

    /// Writes all bytes of `outbox`. Gives up if the socket is broken.
    pub(crate) async fn drain(&mut self, outbox: &Outbox) {
        while !outbox.is_drained() || self.holds_bytes() {
            if poll_fn(|cx| self.poll_unblock(cx, outbox)).await.is_err() {
                return;
            }
        }
    }

    /// Writes `bytes`, before the connection has an outbox. `outlet` is the link's.
    pub(crate) async fn send(&mut self, outlet: &mut Outlet, bytes: &[u8]) -> io::Result<()> {
        match (self, outlet) {
            (_, Outlet::Tcp(socket)) => socket.write_all(bytes).await,
            (_, Outlet::Unix(socket)) => socket.write_all(bytes).await,
            (Link::Framed(framed), Outlet::Framed) => {
                framed.stream.write_all(bytes).await?;
                framed.stream.flush().await
            }
            (Link::Tcp(_) | Link::Unix(_), Outlet::Framed) => {
                Err(io::ErrorKind::NotConnected.into())
            }
        }
    }

    /// Ends the sending side, by `until`. TLS and WebSocket send an end of their own; the sending side of a plain socket
    /// has ended when its [`Outlet`] was dropped.
    ///
    /// If the server `spoke_last`, it then reads until the peer closes too. A close with unread bytes would reset the
    /// connection, and the peer would lose the server's last packet.
    pub(crate) async fn close(&mut self, until: Instant, spoke_last: bool) {
        let framed = if let Link::Framed(framed) = self {
            let shut = tokio::time::timeout_at(until, framed.stream.shutdown()).await;
            matches!(shut, Ok(Ok(())))
        } else {
            false
        };
        // Each side of a WebSocket sends a close frame, so the peer's is awaited in any case.
        if !spoke_last && !framed {
            return;
        }
        let mut scrap = [0; 512];
        let ended = async {
            loop {
                let read = match self {
                    Link::Tcp(socket) => socket.read(&mut scrap).await,
                    Link::Unix(socket) => socket.read(&mut scrap).await,
                    Link::Framed(framed) => framed.stream.read(&mut scrap).await,
                };
                if !read.is_ok_and(|n| n > 0) {
                    return;
                }
            }
        };
        // The socket closes now, whether the peer has closed or not.
        let _ = tokio::time::timeout_at(until, ended).await;
        if let Link::Framed(framed) = self {
            // The stream below a WebSocket may have an end of its own.
            let _ = tokio::time::timeout_at(until, framed.stream.shutdown()).await;
        }
    }
}

impl Framed {
    /// Fills `buffer` from several reads, since each yields one record or message at most.
    fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if let Some((kind, text)) = &self.failed {
            return Poll::Ready(Err(io::Error::new(*kind, text.clone())));
        }
        while buffer.remaining() > 0 {
            let before = buffer.filled().len();
            match Pin::new(&mut self.stream).poll_read(cx, buffer) {
                Poll::Ready(Ok(())) if buffer.filled().len() > before => {}
                Poll::Ready(Err(error)) if before > 0 => {
                    // TLS reports an error once, so it is stored for the next read.
                    self.failed = Some((error.kind(), error.to_string()));
                    break;
                }
                // The next read reports the end of the stream again.
                _ if before > 0 => break,
                ended => return ended,
            }
        }
        Poll::Ready(Ok(()))
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, outbox: &Outbox) -> Poll<io::Result<()>> {
        let mut progress = false;
        let stream = &mut self.stream;
        let rest = loop {
            let write =
                |pieces: &[IoSlice<'_>]| Pin::new(&mut *stream).poll_write_vectored(cx, pieces);
            match outbox.write_through(write) {
                Poll::Ready(Ok(0)) => break Pin::new(&mut *stream).poll_flush(cx),
                Poll::Ready(Ok(_)) => (progress, self.holds_bytes) = (true, true),
                Poll::Ready(Err(error)) => break Poll::Ready(Err(error)),
                Poll::Pending => break Poll::Pending,
            }
        };
        match rest {
            Poll::Ready(result) => {
                self.holds_bytes = false;
                Poll::Ready(result)
            }
            // Progress extends the peer's deadline. The stream wakes this task when it takes more.
            Poll::Pending if progress => Poll::Ready(Ok(())),
            Poll::Pending => Poll::Pending,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::packet::{ReasonCode, Reply, Version};
    use crate::session::OutboundLimits;
    use std::sync::Arc;

    impl FramedStream for tokio::io::DuplexStream {}

    fn outbox(outlet: Outlet) -> Arc<Outbox> {
        let limits = OutboundLimits {
            bytes: 1_000,
            messages: 1,
            receive_maximum: 1,
            maximum_packet_size: None,
            problem_information: true,
            topic_aliases: 0,
            age: 0,
        };
        let outbox = Outbox::offline(Version::V3, limits, Arc::default());
        // 3.1.1 has no DISCONNECT from the server, so the outbox stays empty.
        let nothing = Reply::Disconnect(ReasonCode::Success, None);
        outbox.connect(Some(outlet), Version::V3, limits, &nothing, 0);
        Arc::new(outbox)
    }

    fn run<T>(test: impl Future<Output = T>) -> T {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        runtime.enable_all().build().unwrap().block_on(test)
    }

    #[test]
    fn a_plain_link_is_at_most_two_words_larger_than_its_socket() {
        let tcp = size_of::<(tcp::OwnedReadHalf, Option<tcp::OwnedWriteHalf>)>();
        let any = size_of::<(Link, Option<Outlet>)>();
        assert!(any <= tcp + 2 * size_of::<usize>(), "{any} bytes for {tcp}");
    }

    #[test]
    fn only_the_connection_task_writes_to_a_framed_stream() {
        run(async {
            let (ours, mut theirs) = tokio::io::duplex(64);
            let (mut link, outlet) = Link::framed(ours);
            let outbox = outbox(outlet);
            for _ in 0..50 {
                assert!(outbox.fill(|out| out.reply(&Reply::PingResp)));
                outbox.flush();
            }
            outbox.changed().await;
            assert!(outbox.condition().blocked, "a flush only wakes the task");
            assert_eq!(outbox.condition().written, 0);
            poll_fn(|cx| link.poll_unblock(cx, &outbox)).await.unwrap();
            let condition = outbox.condition();
            assert_eq!((condition.written, condition.blocked), (64, true));
            let stuck = poll_fn(|cx| link.poll_unblock(cx, &outbox));
            let stuck = tokio::time::timeout(Duration::from_millis(1), stuck).await;
            assert!(stuck.is_err(), "the peer does not read");
            let mut read = [0; 100];
            let ((), all) = tokio::join!(link.drain(&outbox), theirs.read_exact(&mut read));
            assert_eq!((all.unwrap(), &read[98..]), (100, &[0xD0, 0][..]));
            assert!(outbox.is_drained() && !outbox.condition().blocked);
            drop(outbox.disconnect(None, false, 0));
            let until = Instant::now() + Duration::from_secs(10);
            let closed = async { theirs.read(&mut [0]).await.map(|n| drop((n, theirs))) };
            let ((), ended) = tokio::join!(link.close(until, true), closed);
            ended.unwrap();
        });
    }

    #[test]
    fn bytes_added_during_a_blocked_write_follow_it() {
        run(async {
            let (ours, mut theirs) = tokio::io::duplex(1);
            let (mut link, outlet) = Link::framed(ours);
            let outbox = outbox(outlet);
            outbox.fill(|out| out.reply(&Reply::PingResp));
            outbox.flush();
            poll_fn(|cx| link.poll_unblock(cx, &outbox)).await.unwrap();
            outbox.fill(|out| out.reply(&Reply::PingResp));
            outbox.flush();
            let mut read = [0; 4];
            let ((), all) = tokio::join!(link.drain(&outbox), theirs.read_exact(&mut read));
            assert_eq!((all.unwrap(), read), (4, [0xD0, 0, 0xD0, 0]));
        });
    }
}
