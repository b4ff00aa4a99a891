//! The position in a peer's TLS records (RFC 8446, 5.1), from their headers alone.
//!
//! A record can be read only when it is complete. A slow peer needs half a minute for a full one, and the connection must
//! know that it makes progress.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Type, version and length.
const HEADER: usize = 5;

/// A stream that follows the records that are read from it.
#[derive(Debug)]
pub(crate) struct RecordStream<S> {
    stream: S,
    header: [u8; HEADER],
    /// Bytes of the current record, its header included. 0 between two records.
    got: usize,
}

impl<S> RecordStream<S> {
    pub(super) fn new(stream: S) -> Self {
        RecordStream {
            stream,
            header: [0; HEADER],
            got: 0,
        }
    }

    /// Bytes of a record that is not complete.
    pub(super) fn pending(&self) -> usize {
        self.got
    }

    fn advance(&mut self, mut bytes: &[u8]) {
        while let Some(byte) = bytes.first() {
            if let Some(place) = self.header.get_mut(self.got) {
                *place = *byte;
                self.got += 1;
                bytes = &bytes[1..];
            } else {
                let n = bytes.len().min(self.length() - self.got);
                self.got += n;
                bytes = &bytes[n..];
            }
            if self.got >= HEADER && self.got == self.length() {
                self.got = 0;
            }
        }
    }

    fn length(&self) -> usize {
        HEADER + usize::from(u16::from_be_bytes([self.header[3], self.header[4]]))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for RecordStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buffer))?;
        self.advance(&buffer.filled()[before..]);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for RecordStream<S> {
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

    #[test]
    fn bytes_of_an_incomplete_record_are_counted() {
        let record = |length: u16| {
            let [high, low] = length.to_be_bytes();
            let mut bytes = vec![23, 3, 3, high, low];
            bytes.resize(HEADER + usize::from(length), 7);
            bytes
        };
        let all = [record(0), record(1), record(16_640)].concat();
        for piece in [1, 3, 1_000, all.len()] {
            let mut stream = RecordStream::new(());
            let mut come = 0;
            for bytes in all.chunks(piece) {
                stream.advance(bytes);
                come += bytes.len();
                let wanted = match come {
                    5 | 11 => 0,
                    n @ 0..5 => n,
                    n @ 6..11 => n - 5,
                    n if n == all.len() => 0,
                    n => n - 11,
                };
                assert_eq!(stream.pending(), wanted, "{come}");
            }
        }
    }
}
