//! MQTT in WebSocket messages, as a stream of bytes.
//!
//! Packets and messages need not begin together: a packet may span messages, and a message may hold many packets
//! [MQTT-6.0.0-2]. Each write sends one binary message.

use super::frame_tracker::TrackedStream;
use super::link::FramedStream;
use bytes::{Buf, Bytes, BytesMut};
use futures_util::{FutureExt, Sink, Stream};
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::error::ProtocolError;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message};

/// The largest payload of an outgoing frame, in bytes. With its header it fills one TLS record.
const MAX_PAYLOAD: usize = (16 << 10) - 4;

/// The read buffer, in bytes. An idle connection holds it.
const READ_BUFFER: usize = 4 << 10;

/// A larger message leaves buffers behind that an idle connection should not hold. In bytes.
const BULKY: usize = 2 * READ_BUFFER;

/// Bytes that an incoming message may have above the largest packet.
const SLACK: usize = 64 << 10;

/// The byte stream inside a WebSocket.
pub(super) struct WebSocketByteStream<S> {
    /// None only within [`WebSocketByteStream::renew`].
    socket: Option<WebSocketStream<TrackedStream<S>>>,
    /// Whether a message above [`BULKY`] has passed since the last renewal.
    is_bulky: bool,
    /// The limit on incoming messages, in bytes.
    max_message: usize,
    /// The unread rest of a message.
    rest: Bytes,
    reading: ReadState,
    /// The peer's violation of the protocol, if `reading` is `Failed`.
    violation: (io::ErrorKind, String),
    writing: WriteState,
    /// The code for the close frame.
    close_code: CloseCode,
    /// The time of the next ping, if the server sends any.
    ping: Option<Ping>,
}

/// The pings of the server.
struct Ping {
    interval: Duration,
    /// Boxed, because it must not move.
    due: Pin<Box<Sleep>>,
}

impl Ping {
    /// None if the interval is 0.
    fn every(interval: Duration) -> Option<Ping> {
        (!interval.is_zero()).then(|| Ping {
            interval,
            due: Box::pin(tokio::time::sleep(interval)),
        })
    }

    /// Whether a ping is due. Otherwise the task is woken when one is.
    fn is_due(&mut self, cx: &mut Context<'_>) -> bool {
        let mut due = false;
        while self.due.as_mut().poll(cx).is_ready() {
            due = true;
            self.due.as_mut().reset(Instant::now() + self.interval);
        }
        due
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ReadState {
    Open,
    /// The peer sent a close frame, or its socket has ended.
    Ended,
    /// The peer violated the protocol. Bytes after that are no frames.
    Failed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum WriteState {
    Open,
    /// The close frame is queued.
    Closing,
    /// The close frame has been written.
    Closed,
}

impl<S: AsyncRead + AsyncWrite + Unpin> WebSocketByteStream<S> {
    /// Wraps an upgraded stream from which `early` has been read already. Incoming messages may have `packet_bytes` and
    /// [`SLACK`]. The server sends a ping each `ping`, none if it is 0.
    pub(super) async fn new(stream: S, early: Vec<u8>, packet_bytes: u32, ping: Duration) -> Self {
        let max_packet = usize::try_from(packet_bytes).unwrap_or(usize::MAX);
        let max_message = max_packet.saturating_add(SLACK);
        let stream = TrackedStream::new(stream, &early);
        WebSocketByteStream {
            socket: Some(socket(stream, early, max_message).await),
            is_bulky: false,
            max_message,
            rest: Bytes::new(),
            reading: ReadState::Open,
            violation: (io::ErrorKind::InvalidData, String::new()),
            writing: WriteState::Open,
            close_code: CloseCode::Normal,
            ping: Ping::every(ping),
        }
    }

    /// Sends a ping if one is due. Only reads call this, so a peer that reads nothing gets none.
    fn poll_ping(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        let is_due = self.ping.as_mut().is_some_and(|ping| ping.is_due(cx));
        if !is_due || self.writing != WriteState::Open {
            return Ok(());
        }
        let mut socket = self.socket()?;
        // A socket that takes nothing needs no ping: bytes are on the way.
        if socket.as_mut().poll_ready(cx).is_ready() {
            let ping = Message::Ping(Bytes::new());
            socket.as_mut().start_send(ping).map_err(broken)?;
            // What it does not take now, the next flush writes.
            let _ = socket.poll_flush(cx);
        }
        Ok(())
    }

    /// The peer's violation, as an error.
    fn failure(&self) -> io::Error {
        let (kind, text) = &self.violation;
        io::Error::new(*kind, text.clone())
    }

    fn socket(&mut self) -> io::Result<Pin<&mut WebSocketStream<TrackedStream<S>>>> {
        let socket = self.socket.as_mut().map(Pin::new);
        socket.ok_or_else(|| io::ErrorKind::NotConnected.into())
    }

    /// Replaces the library's buffers, which stay as large as the largest frame. Possible only between two frames and
    /// with nothing to write, when they are empty. Returns whether it did: the caller must read again then.
    fn renew(&mut self, cx: &mut Context<'_>) -> bool {
        let both_open = self.reading == ReadState::Open && self.writing == WriteState::Open;
        if !self.is_bulky || !both_open {
            return false;
        }
        let Some(mut old) = self.socket.take() else {
            return false;
        };
        let flushed = Pin::new(&mut old).poll_flush(cx);
        if !old.get_ref().tracker.is_between_frames() || !matches!(flushed, Poll::Ready(Ok(()))) {
            self.socket = Some(old);
            return false;
        }
        // Without early bytes this does not wait.
        self.socket = socket(old.into_inner(), Vec::new(), self.max_message).now_or_never();
        self.is_bulky = false;
        true
    }

    /// The next binary message; none at the end.
    ///
    /// Errors: `FileTooLarge` for a message above the limit, `InvalidData` for any other violation by the peer, or the
    /// error of the socket.
    fn poll_message(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Option<Bytes>>> {
        let mut kind = io::ErrorKind::InvalidData;
        self.poll_ping(cx)?;
        loop {
            let message = match self.socket()?.poll_next(cx) {
                Poll::Ready(message) => message,
                Poll::Pending if self.renew(cx) => continue,
                Poll::Pending => return Poll::Pending,
            };
            let error = match message {
                Some(Ok(Message::Binary(bytes))) => {
                    self.is_bulky |= bytes.len() > BULKY;
                    return Poll::Ready(Ok(Some(bytes)));
                }
                // The library answers pings and close frames while it reads.
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => continue,
                Some(Ok(Message::Close(_))) => {
                    // Renewed buffers would lose the state of the close handshake.
                    self.is_bulky = false;
                    continue;
                }
                Some(Ok(Message::Text(_) | Message::Frame(_))) => {
                    // [MQTT-6.0.0-1]
                    self.close_code = CloseCode::Unsupported;
                    "the WebSocket message is not binary".to_owned()
                }
                Some(Err(Error::Io(error))) => {
                    self.reading = ReadState::Ended;
                    return Poll::Ready(Err(error));
                }
                // The socket ended without a close frame.
                Some(Err(Error::Protocol(ProtocolError::ResetWithoutClosingHandshake))) => {
                    return Poll::Ready(Ok(None));
                }
                Some(Err(Error::Capacity(_))) => {
                    self.close_code = CloseCode::Size;
                    kind = io::ErrorKind::FileTooLarge;
                    let (max, slack) = (self.max_message, SLACK >> 10);
                    format!(
                        "the WebSocket message is larger than {max} bytes, {slack} KiB more than a packet"
                    )
                }
                Some(Err(error)) => {
                    self.close_code = CloseCode::Protocol;
                    error.to_string()
                }
                None => return Poll::Ready(Ok(None)),
            };
            self.reading = ReadState::Failed;
            self.violation = (kind, error);
            return Poll::Ready(Err(self.failure()));
        }
    }
}

impl<S: FramedStream> FramedStream for WebSocketByteStream<S> {
    fn has_partial_message(&self) -> bool {
        let stream = self.socket.as_ref().map(WebSocketStream::get_ref);
        stream.is_some_and(|stream| {
            stream.tracker.is_within_message() || stream.get_ref().has_partial_message()
        })
    }

    fn pending(&self) -> u64 {
        let stream = self.socket.as_ref().map(WebSocketStream::get_ref);
        stream.map_or(0, |stream| {
            stream.tracker.pending() + stream.get_ref().pending()
        })
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for WebSocketByteStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.reading == ReadState::Failed && self.writing != WriteState::Open {
            // The bytes are dropped; this read only waits for the peer's close.
            return Pin::new(self.socket()?.get_mut().get_mut()).poll_read(cx, buffer);
        }
        if self.reading == ReadState::Failed && self.rest.is_empty() {
            // Each read reports it, since the first reader may have ignored it.
            return Poll::Ready(Err(self.failure()));
        }
        while self.rest.is_empty() && self.reading == ReadState::Open {
            let message = ready!(self.poll_message(cx));
            match message? {
                Some(bytes) => self.rest = bytes,
                None => self.reading = ReadState::Ended,
            }
        }
        let n = self.rest.len().min(buffer.remaining());
        buffer.put_slice(&self.rest[..n]);
        self.rest.advance(n);
        if self.rest.is_empty() {
            // An empty slice would keep its whole buffer alive.
            self.rest = Bytes::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for WebSocketByteStream<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.socket()?.poll_ready(cx)).map_err(broken)?;
        let mut payload =
            BytesMut::with_capacity(MAX_PAYLOAD.min(pieces.iter().map(|piece| piece.len()).sum()));
        for piece in pieces {
            let n = piece.len().min(MAX_PAYLOAD - payload.len());
            payload.extend_from_slice(&piece[..n]);
        }
        let n = payload.len();
        let message = Message::Binary(payload.freeze());
        self.socket()?.start_send(message).map_err(broken)?;
        self.is_bulky |= n > BULKY;
        Poll::Ready(Ok(n))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.socket()?.poll_flush(cx).map_err(broken)
    }

    /// Writes the close frame. The next call shuts down the stream below.
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.writing == WriteState::Closed {
            return Pin::new(self.socket()?.get_mut().get_mut()).poll_shutdown(cx);
        }
        if self.writing == WriteState::Open {
            ready!(self.socket()?.poll_ready(cx)).map_err(broken)?;
            let frame = CloseFrame {
                code: self.close_code,
                reason: "".into(),
            };
            // An error is ignored: if the peer closed first, the library has answered already.
            let _ = self.socket()?.start_send(Message::Close(Some(frame)));
            self.writing = WriteState::Closing;
        }
        let flushed = ready!(self.socket()?.poll_flush(cx));
        self.writing = WriteState::Closed;
        Poll::Ready(flushed.map_err(broken))
    }
}

/// The library's half of the WebSocket. `early` has been read from the stream already.
async fn socket<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    early: Vec<u8>,
    max_message: usize,
) -> WebSocketStream<S> {
    let config = WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER)
        .write_buffer_size(0)
        .max_write_buffer_size(4 * MAX_PAYLOAD)
        .max_frame_size(Some(max_message))
        .max_message_size(Some(max_message));
    WebSocketStream::from_partially_read(stream, early, Role::Server, Some(config)).await
}

fn broken(error: Error) -> io::Error {
    match error {
        Error::Io(error) => error,
        error => io::Error::new(io::ErrorKind::BrokenPipe, error),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

    /// A frame whose mask is 0, so that its payload is readable.
    fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
        let length = payload.len() as u64;
        let head = [&[first, 0xFF][..], &length.to_be_bytes(), &[0; 4]].concat();
        [&head, payload].concat()
    }

    fn run<T>(test: impl Future<Output = T>) -> T {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        runtime.enable_all().build().unwrap().block_on(test)
    }

    async fn pair() -> (WebSocketByteStream<DuplexStream>, DuplexStream) {
        let (ours, theirs) = tokio::io::duplex(4 << 20);
        (
            WebSocketByteStream::new(ours, Vec::new(), 1 << 20, Duration::ZERO).await,
            theirs,
        )
    }

    /// Whether a read that finds nothing leaves the stream without large buffers.
    fn is_idle_and_small(frames: &mut WebSocketByteStream<DuplexStream>) -> bool {
        let mut cx = Context::from_waker(std::task::Waker::noop());
        let mut buffer = [0; 1];
        let pending = Pin::new(&mut *frames).poll_read(&mut cx, &mut ReadBuf::new(&mut buffer));
        pending.is_pending() && !frames.is_bulky
    }

    #[test]
    fn large_buffers_are_released_between_frames_without_loss() {
        run(async {
            let (mut frames, mut peer) = pair().await;
            let large: Vec<u8> = (0..1_000_000_u32).map(|n| n.to_be_bytes()[3]).collect();
            for round in 0..3 {
                // A message in two frames with a ping between them, and the first bytes of the next.
                let (one, two) = large.split_at(700_000);
                let next = frame(0x82, b"next");
                let all = [
                    &frame(0x02, one)[..],
                    &frame(0x89, b"ping"),
                    &frame(0x80, two),
                    &next[..3],
                ];
                peer.write_all(&all.concat()).await.unwrap();
                let mut got = vec![0; large.len()];
                frames.read_exact(&mut got).await.unwrap();
                assert!(got == large, "round {round}");
                assert!(!is_idle_and_small(&mut frames), "within a frame");
                peer.write_all(&next[3..]).await.unwrap();
                let mut got = [0; 4];
                frames.read_exact(&mut got).await.unwrap();
                assert_eq!(&got, b"next");
                assert!(is_idle_and_small(&mut frames), "round {round}");
                // Outgoing data is complete, too: the pong, and the written bytes.
                frames.write_all(&large).await.unwrap();
                frames.flush().await.unwrap();
                assert!(frames.is_bulky && is_idle_and_small(&mut frames));
                let mut head = [0; 6];
                peer.read_exact(&mut head).await.unwrap();
                assert_eq!(&head, b"\x8a\x04ping");
                let mut left = large.len();
                while left > 0 {
                    let mut head = [0; 4];
                    peer.read_exact(&mut head).await.unwrap();
                    let n = match head[1] {
                        126 => usize::from(u16::from_be_bytes([head[2], head[3]])),
                        other => panic!("a frame of {other}"),
                    };
                    let mut payload = vec![0; n];
                    peer.read_exact(&mut payload).await.unwrap();
                    assert!(payload == large[large.len() - left..][..n]);
                    left -= n;
                }
            }
        });
    }

    #[test]
    fn the_end_of_the_socket_is_the_end_of_the_stream() {
        for close in [&[][..], &[0x88, 0x80, 0, 0, 0, 0]] {
            run(async {
                let (mut frames, mut peer) = pair().await;
                peer.write_all(&frame(0x82, b"last")).await.unwrap();
                peer.write_all(close).await.unwrap();
                peer.shutdown().await.unwrap();
                let mut all = Vec::new();
                frames.read_to_end(&mut all).await.unwrap();
                assert_eq!(all, b"last");
            });
        }
    }
}
