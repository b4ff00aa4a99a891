//! MQTT in WebSocket frames, as a stream of bytes.
//!
//! Packets and frames know nothing of each other: a packet may span messages, and a message may hold many packets
//! [MQTT-6.0.0-2]. What waits goes out as one binary message for each write.

use super::framing::Watched;
use crate::connection::Duplex;
use bytes::{Buf, Bytes, BytesMut};
use futures_util::{Sink, Stream};
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message};

/// The payload of an outgoing frame: it and its header fill one TLS record.
const FRAME: usize = (16 << 10) - 4;

/// Bytes taken from the socket at once, and held by an idle connection.
const READ: usize = 4 << 10;

/// What an incoming message may hold besides the largest packet.
const SLACK: usize = 64 << 10;

/// The byte stream inside a WebSocket.
pub(super) struct Frames<S> {
    socket: WebSocketStream<Watched<S>>,
    /// Bytes that an incoming message may have.
    most: usize,
    /// Of a message that has been read in part.
    rest: Bytes,
    reading: Reading,
    /// What the peer did wrong, where it has.
    wrong: (io::ErrorKind, String),
    writing: Writing,
    /// What the close frame will say.
    verdict: CloseCode,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reading {
    Open,
    /// By the peer's close frame, or by the end of its socket.
    Ended,
    /// By something that the peer did wrong: nothing after that is a frame.
    Failed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Writing {
    Open,
    /// A close frame is the last that goes out.
    Closing,
    /// It has gone out.
    Closed,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Frames<S> {
    /// On a stream that has been upgraded, and of which `early` has been read already. Frames and messages may be as
    /// long as the largest packet, and a little.
    pub(super) async fn new(stream: S, early: Vec<u8>, packet_bytes: u32) -> Self {
        let most = usize::try_from(packet_bytes).unwrap_or(usize::MAX);
        let most = most.saturating_add(SLACK);
        let config = WebSocketConfig::default()
            .read_buffer_size(READ)
            .write_buffer_size(0)
            .max_write_buffer_size(4 * FRAME)
            .max_frame_size(Some(most))
            .max_message_size(Some(most));
        let role = Role::Server;
        let stream = Watched::new(stream, &early);
        Frames {
            socket: WebSocketStream::from_partially_read(stream, early, role, Some(config)).await,
            most,
            rest: Bytes::new(),
            reading: Reading::Open,
            wrong: (io::ErrorKind::InvalidData, String::new()),
            writing: Writing::Open,
            verdict: CloseCode::Normal,
        }
    }

    /// What the peer did wrong.
    fn failure(&self) -> io::Error {
        let (kind, text) = &self.wrong;
        io::Error::new(*kind, text.clone())
    }

    /// The next binary message; none at the end. Errors: `FileTooLarge` for one above the limit, `InvalidData` for all
    /// else that the peer did wrong.
    fn poll_message(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Option<Bytes>>> {
        let mut kind = io::ErrorKind::InvalidData;
        loop {
            let error = match ready!(Pin::new(&mut self.socket).poll_next(cx)) {
                Some(Ok(Message::Binary(bytes))) => return Poll::Ready(Ok(Some(bytes))),
                // Pings and closes are answered by the library, within its reads.
                Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Close(_))) => continue,
                Some(Ok(Message::Text(_) | Message::Frame(_))) => {
                    // [MQTT-6.0.0-1]
                    self.verdict = CloseCode::Unsupported;
                    "a WebSocket message that is not binary".to_owned()
                }
                Some(Err(Error::Io(error))) => {
                    self.reading = Reading::Ended;
                    return Poll::Ready(Err(error));
                }
                Some(Err(Error::Capacity(_))) => {
                    self.verdict = CloseCode::Size;
                    kind = io::ErrorKind::FileTooLarge;
                    let (most, slack) = (self.most, SLACK >> 10);
                    format!(
                        "a WebSocket message may have {most} bytes, {slack} KiB more than a packet"
                    )
                }
                Some(Err(error)) => {
                    self.verdict = CloseCode::Protocol;
                    error.to_string()
                }
                None => return Poll::Ready(Ok(None)),
            };
            self.reading = Reading::Failed;
            self.wrong = (kind, error);
            return Poll::Ready(Err(self.failure()));
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Duplex for Frames<S> {
    fn has_begun(&self) -> bool {
        self.socket.get_ref().framing.is_within_message()
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Frames<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.reading == Reading::Failed && self.writing != Writing::Open {
            // Only for the sake of an orderly close.
            return Pin::new(self.socket.get_mut()).poll_read(cx, buffer);
        }
        if self.reading == Reading::Failed && self.rest.is_empty() {
            // Again and again: who looked first may have looked for something else.
            return Poll::Ready(Err(self.failure()));
        }
        while self.rest.is_empty() && self.reading == Reading::Open {
            let message = ready!(self.poll_message(cx));
            match message? {
                Some(bytes) => self.rest = bytes,
                None => self.reading = Reading::Ended,
            }
        }
        let n = self.rest.len().min(buffer.remaining());
        buffer.put_slice(&self.rest[..n]);
        self.rest.advance(n);
        if self.rest.is_empty() {
            // It would hold on to all that was read with it.
            self.rest = Bytes::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Frames<S> {
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
        ready!(Pin::new(&mut self.socket).poll_ready(cx)).map_err(broken)?;
        let mut payload =
            BytesMut::with_capacity(FRAME.min(pieces.iter().map(|piece| piece.len()).sum()));
        for piece in pieces {
            let n = piece.len().min(FRAME - payload.len());
            payload.extend_from_slice(&piece[..n]);
        }
        let n = payload.len();
        let message = Message::Binary(payload.freeze());
        Pin::new(&mut self.socket)
            .start_send(message)
            .map_err(broken)?;
        Poll::Ready(Ok(n))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx).map_err(broken)
    }

    /// The close frame; when that has gone out and it is called again, the end of the stream below.
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.writing == Writing::Closed {
            return Pin::new(self.socket.get_mut()).poll_shutdown(cx);
        }
        if self.writing == Writing::Open {
            ready!(Pin::new(&mut self.socket).poll_ready(cx)).map_err(broken)?;
            let frame = CloseFrame {
                code: self.verdict,
                reason: "".into(),
            };
            // Where the peer has closed first, it has been answered already.
            let _ = Pin::new(&mut self.socket).start_send(Message::Close(Some(frame)));
            self.writing = Writing::Closing;
        }
        let flushed = ready!(Pin::new(&mut self.socket).poll_flush(cx));
        self.writing = Writing::Closed;
        Poll::Ready(flushed.map_err(broken))
    }
}

fn broken(error: Error) -> io::Error {
    match error {
        Error::Io(error) => error,
        error => io::Error::new(io::ErrorKind::BrokenPipe, error),
    }
}
