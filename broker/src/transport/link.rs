//! The connection's end of a link: reading, and writing where only this task can.
//!
//! Architecture invariant: a plain socket is written to by whoever has something for it, through the outbox
//! ([`Outlet`]); TLS and WebSocket streams are driven by one task, so there the outbox has no socket, keepers
//! only wake, and what waits is written from here. The rest of the connection does not know the difference.

use crate::outbox::Outbox;
use crate::outbox::Outlet;
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::{TcpStream, UnixStream, tcp, unix};
use tokio::time::Instant;

/// For the last bytes to a peer that reads, and for the end of its stream.
pub(crate) const CLOSE_TIME: Duration = Duration::from_secs(1);

/// Bytes in both directions over whatever lies between.
pub(crate) trait FramedStream: AsyncRead + AsyncWrite + Send + Unpin {
    /// Whether the peer has begun something that cannot be read before it is whole.
    fn has_partial_message(&self) -> bool {
        false
    }
}

/// What the connection's task holds of its link.
pub(crate) enum Link {
    Tcp(tcp::OwnedReadHalf),
    Unix(unix::OwnedReadHalf),
    /// Boxed: a plain connection must not pay for its size.
    Framed(Box<Framed>),
}

/// A stream that keeps frames of its own.
pub(crate) struct Framed {
    stream: Box<dyn FramedStream>,
    /// It has taken bytes that it may not have written yet.
    holds_bytes: bool,
    /// How it failed behind the last bytes that were read.
    failed: Option<(io::ErrorKind, String)>,
}

impl Link {
    pub(crate) fn tcp(socket: TcpStream) -> (Link, Outlet) {
        let (read, write) = socket.into_split();
        (Link::Tcp(read), Outlet::Tcp(write))
    }

    pub(crate) fn unix(socket: UnixStream) -> (Link, Outlet) {
        let (read, write) = socket.into_split();
        (Link::Unix(read), Outlet::Unix(write))
    }

    pub(crate) fn framed(stream: impl FramedStream + 'static) -> (Link, Outlet) {
        let framed = Framed {
            stream: Box::new(stream),
            holds_bytes: false,
            failed: None,
        };
        (Link::Framed(Box::new(framed)), Outlet::Framed)
    }

    /// Whether bytes that the outbox has given may still be on their way to the socket.
    pub(crate) fn holds_bytes(&self) -> bool {
        matches!(self, Link::Framed(framed) if framed.holds_bytes)
    }

    /// Whether the peer has begun something of which nothing can be read yet.
    pub(crate) fn has_partial_message(&self) -> bool {
        matches!(self, Link::Framed(framed) if framed.stream.has_partial_message())
    }

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

    /// Ready once something of what waits in `outbox` has been written, or nothing waits any more.
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

    /// Writes all that waits in `outbox`, or finds that the socket is broken.
    pub(crate) async fn drain(&mut self, outbox: &Outbox) {
        while !outbox.is_drained() || self.holds_bytes() {
            if poll_fn(|cx| self.poll_unblock(cx, outbox)).await.is_err() {
                return;
            }
        }
    }

    /// Writes `bytes`, before there is an outbox.
    pub(crate) async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut rest = bytes;
        while !rest.is_empty() {
            let written = match self {
                Link::Tcp(socket) => {
                    socket.as_ref().writable().await?;
                    socket.as_ref().try_write(rest)
                }
                Link::Unix(socket) => {
                    socket.as_ref().writable().await?;
                    socket.as_ref().try_write(rest)
                }
                Link::Framed(framed) => {
                    framed.stream.write_all(rest).await?;
                    return framed.stream.flush().await;
                }
            };
            match written {
                Ok(n) => rest = &rest[n..],
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }

    /// Ends the sending side by `until`: of a plain socket the [`Outlet`] has done so by being dropped, TLS and
    /// WebSocket have an end of their own. Where the server has spoken last, it then takes what the peer still
    /// sends until that closes too: a close with bytes unread would reset the connection, and what was written
    /// last would be lost with it.
    pub(crate) async fn close(&mut self, until: Instant, spoke_last: bool) {
        let framed = if let Link::Framed(framed) = self {
            let shut = tokio::time::timeout_at(until, framed.stream.shutdown()).await;
            matches!(shut, Ok(Ok(())))
        } else {
            false
        };
        // The end of a WebSocket is a frame of either side, so there the peer's is awaited in any case.
        if !spoke_last && !framed {
            return;
        }
        let mut scrap = [0; 512];
        let gone = async {
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
        // Either way the socket closes now.
        let _ = tokio::time::timeout_at(until, gone).await;
        if let Link::Framed(framed) = self {
            // What lies below a WebSocket has an end of its own.
            let _ = tokio::time::timeout_at(until, framed.stream.shutdown()).await;
        }
    }
}

impl Framed {
    /// Such streams give a record or a message at a time: what has come is taken together.
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
                    // TLS says it once; who looks first may look for something else.
                    self.failed = Some((error.kind(), error.to_string()));
                    break;
                }
                // An end comes again with the next read.
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
            // What was written counts against the peer's deadline; the stream wakes when it takes more.
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
        // 3.1.1 has none, so nothing waits yet.
        let nothing = Reply::Disconnect(ReasonCode::Success, None);
        outbox.connect(Some(outlet), Version::V3, limits, &nothing, 0);
        Arc::new(outbox)
    }

    fn run<T>(test: impl Future<Output = T>) -> T {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        runtime.enable_all().build().unwrap().block_on(test)
    }

    #[test]
    fn a_plain_connection_pays_two_words_for_the_others() {
        let tcp = size_of::<(tcp::OwnedReadHalf, Option<tcp::OwnedWriteHalf>)>();
        let any = size_of::<(Link, Option<Outlet>)>();
        assert!(any <= tcp + 2 * size_of::<usize>(), "{any} bytes for {tcp}");
    }

    #[test]
    fn a_stream_of_frames_is_written_by_its_task() {
        run(async {
            let (ours, mut theirs) = tokio::io::duplex(64);
            let (mut link, outlet) = Link::framed(ours);
            let outbox = outbox(outlet);
            for _ in 0..50 {
                assert!(outbox.fill(|out| out.reply(&Reply::PingResp)));
                outbox.flush();
            }
            outbox.changed().await;
            assert!(outbox.condition().blocked, "a keeper only wakes");
            assert_eq!(outbox.condition().written, 0);
            poll_fn(|cx| link.poll_unblock(cx, &outbox)).await.unwrap();
            let condition = outbox.condition();
            assert_eq!((condition.written, condition.blocked), (64, true));
            let stuck = poll_fn(|cx| link.poll_unblock(cx, &outbox));
            let stuck = tokio::time::timeout(Duration::from_millis(1), stuck).await;
            assert!(stuck.is_err(), "nobody reads");
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
    fn what_is_put_in_while_a_write_is_stuck_follows_it() {
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
