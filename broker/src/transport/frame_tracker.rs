//! Where one is in a peer's WebSocket frames (RFC 6455, 5.2), by their headers alone.
//!
//! The library hands over whole messages and does not say that one has begun; the connection gives it only so long.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Two bytes, eight of length, four of the mask.
const LONGEST_HEADER: usize = 14;

/// What the bytes so far end with.
#[derive(Debug, Default)]
pub(super) struct FrameTracker {
    header: [u8; LONGEST_HEADER],
    /// Bytes of a header that have come.
    got: usize,
    /// Bytes of a payload that have not.
    left: u64,
    /// That payload is a control frame's.
    control: bool,
    /// A message waits for another frame.
    open: bool,
}

impl FrameTracker {
    /// More has come.
    pub(super) fn pass(&mut self, mut bytes: &[u8]) {
        while let Some(byte) = bytes.first() {
            if self.left > 0 {
                let n =
                    usize::try_from(self.left).map_or(bytes.len(), |left| left.min(bytes.len()));
                self.left -= n as u64;
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
        // Control frames may come between those of a message.
        if !self.control {
            self.open = self.header[0] & 0x80 == 0;
        }
        self.got = 0;
    }

    fn header_is_control(&self) -> bool {
        self.header[0] & 0x08 != 0
    }

    /// Whether all frames that have begun are whole, and so is the message that they belong to.
    pub(super) fn is_between_frames(&self) -> bool {
        !self.open && self.got == 0 && self.left == 0
    }

    /// Whether a message has begun and is not whole. Control frames are none, and short.
    pub(super) fn is_within_message(&self) -> bool {
        let header = self.got > 0 && !self.header_is_control();
        self.open || header || (self.left > 0 && !self.control)
    }
}

/// A stream whose bytes are looked at as they are read.
pub(super) struct TrackedStream<S> {
    stream: S,
    pub(super) tracker: FrameTracker,
}

impl<S> TrackedStream<S> {
    /// Of which `early` has been read already.
    pub(super) fn new(stream: S, early: &[u8]) -> Self {
        let mut tracker = FrameTracker::default();
        tracker.pass(early);
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
        self.tracker.pass(&buffer.filled()[before..]);
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
    fn a_message_has_begun_until_its_last_byte() {
        for payload in [0, 1, 125, 126, 65_535, 65_536] {
            // Two fragments, a ping between them, a pong behind them.
            let begun = [frame(0x02, payload), frame(0x89, 5), frame(0x80, payload)].concat();
            let after = frame(0x8A, 125);
            for piece in [1, 3, 1_000, begun.len()] {
                let mut tracker = FrameTracker::default();
                assert!(!tracker.is_within_message());
                let mut come = 0;
                for bytes in begun.chunks(piece) {
                    tracker.pass(bytes);
                    come += bytes.len();
                    assert_eq!(tracker.is_within_message(), come < begun.len(), "{come}");
                }
                for bytes in after.chunks(piece) {
                    tracker.pass(bytes);
                    assert!(!tracker.is_within_message(), "a pong");
                }
                tracker.pass(&[0x82]);
                assert!(tracker.is_within_message());
            }
        }
    }
}
