//! The position in a peer's WebSocket frames (RFC 6455, 5.2), from their headers alone.
//!
//! The library yields complete messages and does not report the begin of one. The connection limits the time for a
//! message, so it must know when one begins.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The longest frame header: 2 bytes, 8 of length, 4 of the mask.
const MAX_HEADER: usize = 14;

/// The position after the bytes so far.
#[derive(Debug, Default)]
pub(super) struct FrameTracker {
    header: [u8; MAX_HEADER],
    /// Bytes in `header`.
    got: usize,
    /// Bytes of the current payload that have not come yet.
    left: u64,
    /// Whether the current payload is a control frame's.
    control: bool,
    /// Whether the message needs another frame.
    open: bool,
    /// Bytes of the current message that have come.
    message: u64,
}

impl FrameTracker {
    /// Moves on by `bytes`.
    pub(super) fn advance(&mut self, mut bytes: &[u8]) {
        while let Some(byte) = bytes.first() {
            if self.left > 0 {
                let n =
                    usize::try_from(self.left).map_or(bytes.len(), |left| left.min(bytes.len()));
                self.left -= n as u64;
                if !self.control {
                    self.message += n as u64;
                }
                bytes = &bytes[n..];
                continue;
            }
            self.header[self.got] = *byte;
            self.got += 1;
            bytes = &bytes[1..];
            if self.got >= 2 && self.got == self.header_len() {
                self.begin();
            }
        }
    }

    fn header_len(&self) -> usize {
        let length = match self.header[1] & 0x7F {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        let mask = if self.header[1] & 0x80 == 0 { 0 } else { 4 };
        2 + length + mask
    }

    fn begin(&mut self) {
        let wide = |n: usize| {
            let digits = &self.header[2..2 + n];
            digits
                .iter()
                .fold(0, |all, byte| all << 8 | u64::from(*byte))
        };
        self.left = match self.header[1] & 0x7F {
            126 => wide(2),
            127 => wide(8),
            short => short.into(),
        };
        self.control = self.header_is_control();
        // Control frames may come between the frames of a message.
        if !self.control {
            if !self.open {
                self.message = 0;
            }
            self.open = self.header[0] & 0x80 == 0;
        }
        self.got = 0;
    }

    fn header_is_control(&self) -> bool {
        self.header[0] & 0x08 != 0
    }

    /// Whether every frame is complete, and so is the last message.
    pub(super) fn is_between_frames(&self) -> bool {
        !self.open && self.got == 0 && self.left == 0
    }

    /// Bytes of a message that is not complete.
    pub(super) fn pending(&self) -> u64 {
        if self.is_within_message() {
            self.message
        } else {
            0
        }
    }

    /// Whether a message has begun and is not complete. Control frames are no messages.
    pub(super) fn is_within_message(&self) -> bool {
        let header = self.got > 0 && !self.header_is_control();
        self.open || header || (self.left > 0 && !self.control)
    }
}

/// A stream that passes all bytes it reads to a [`FrameTracker`].
pub(super) struct TrackedStream<S> {
    stream: S,
    pub(super) tracker: FrameTracker,
}

impl<S> TrackedStream<S> {
    /// The stream below.
    pub(super) fn get_ref(&self) -> &S {
        &self.stream
    }

    /// Wraps a stream from which `early` has been read already.
    pub(super) fn new(stream: S, early: &[u8]) -> Self {
        let mut tracker = FrameTracker::default();
        tracker.advance(early);
        TrackedStream { stream, tracker }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for TrackedStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buffer))?;
        self.tracker.advance(&buffer.filled()[before..]);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for TrackedStream<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(first: u8, payload: usize) -> Vec<u8> {
        let mut bytes = vec![first];
        match payload {
            n @ 0..126 => bytes.push(0x80 | u8::try_from(n).unwrap_or_default()),
            n @ 126..0x1_0000 => {
                bytes.push(0xFE);
                bytes.extend(u16::try_from(n).unwrap_or_default().to_be_bytes());
            }
            n => {
                bytes.push(0xFF);
                bytes.extend((n as u64).to_be_bytes());
            }
        }
        bytes.extend([0x81; 4]);
        bytes.resize(bytes.len() + payload, 0x02);
        bytes
    }

    #[test]
    fn a_message_is_open_from_its_first_byte_to_its_last() {
        for payload in [0, 1, 125, 126, 65_535, 65_536] {
            // Two fragments, a ping between them, a pong behind them.
            let begun = [frame(0x02, payload), frame(0x89, 5), frame(0x80, payload)].concat();
            let after = frame(0x8A, 125);
            for piece in [1, 3, 1_000, begun.len()] {
                let mut tracker = FrameTracker::default();
                assert!(!tracker.is_within_message());
                let mut come = 0;
                for bytes in begun.chunks(piece) {
                    tracker.advance(bytes);
                    come += bytes.len();
                    assert_eq!(tracker.is_within_message(), come < begun.len(), "{come}");
                }
                for bytes in after.chunks(piece) {
                    tracker.advance(bytes);
                    assert!(!tracker.is_within_message(), "a pong");
                }
                tracker.advance(&[0x82]);
                assert!(tracker.is_within_message());
            }
        }
    }
}
