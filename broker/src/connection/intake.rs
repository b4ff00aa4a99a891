//! Reads from the link and cuts the bytes into packets.
//!
//! All connections of a thread read into one buffer of 64 KiB. Each connection has a framer of its
//! own, which holds the front of a packet until the packet is complete.

use crate::metrics::Received;
use crate::outbox::Outbox;
use crate::packet::{DecodeError, Decoder, Packet};
use crate::transport::Link;
use roommq_mqtt::framing::Framer;
pub(super) use roommq_mqtt::framing::Partial;
use std::cell::RefCell;
use std::io;
use std::task::{Context, Poll};
use tokio::io::ReadBuf;

/// Bytes in one read, at most.
pub(super) const READ: usize = 64 << 10;

thread_local! {
    /// Shared, so that an idle connection costs no buffer.
    static SCRATCH: RefCell<Vec<u8>> = RefCell::new(vec![0; READ]);
}

/// The reading side of a connection.
#[derive(Debug, Default)]
pub(super) struct Intake {
    framer: Framer,
    /// Whether the link held an incomplete TLS record or WebSocket frame at the last look.
    link_has_partial: bool,
    /// Counts that are not reported yet.
    received: Received,
}

/// A thing that [`Intake::wait`] has waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LinkEvent {
    /// Number of bytes read; 0 at the end of the stream.
    Read(usize),
    /// Some of the blocked bytes have been written, or the outbox has found the socket broken.
    Wrote,
    /// A write has failed. There may still be something to read.
    Broken(io::ErrorKind),
    /// There is nothing to read, but the link has begun (true) or no longer has (false) an
    /// incomplete TLS record or WebSocket frame.
    Partial(bool),
}

impl Intake {
    /// Waits for the first event of the link. Reads once if `reads`. If an outbox is `blocked`,
    /// writes its bytes when the link takes bytes again. Without either it waits for ever.
    pub(super) async fn wait(
        &mut self,
        link: &mut Link,
        blocked: Option<&Outbox>,
        reads: bool,
    ) -> io::Result<LinkEvent> {
        std::future::poll_fn(|cx| {
            if let Some(outbox) = blocked
                && let Poll::Ready(result) = link.poll_unblock(cx, outbox)
            {
                let broken = |error: io::Error| LinkEvent::Broken(error.kind());
                return Poll::Ready(Ok(result.map_or_else(broken, |()| LinkEvent::Wrote)));
            }
            if !reads {
                return Poll::Pending;
            }
            let read = self.poll_read(link, cx);
            if read.is_pending() && link.has_partial_message() != self.link_has_partial {
                self.link_has_partial = !self.link_has_partial;
                return Poll::Ready(Ok(LinkEvent::Partial(self.link_has_partial)));
            }
            if read.is_ready() {
                self.link_has_partial = false;
            }
            read.map_ok(LinkEvent::Read)
        })
        .await
    }

    /// Reads without waiting. Returns the number of bytes; 0 if there are none, or at the end of
    /// the stream.
    pub(super) async fn try_read(&mut self, link: &mut Link) -> usize {
        std::future::poll_fn(|cx| {
            Poll::Ready(match self.poll_read(link, cx) {
                Poll::Ready(Ok(n)) => n,
                Poll::Ready(Err(_)) | Poll::Pending => 0,
            })
        })
        .await
    }

    fn poll_read(&mut self, link: &mut Link, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        SCRATCH.with_borrow_mut(|scratch| {
            let mut buffer = ReadBuf::new(scratch);
            link.poll_read(cx, &mut buffer).map_ok(|()| {
                self.framer.add(buffer.filled());
                self.received.bytes += buffer.filled().len() as u64;
                buffer.filled().len()
            })
        })
    }

    /// The next complete packet, if there is one.
    pub(super) fn next(&mut self, decoder: &mut Decoder) -> Result<Option<Packet>, DecodeError> {
        let packet = self.framer.next(decoder)?;
        if let Some(packet) = &packet {
            self.received.add(packet);
        }
        Ok(packet)
    }

    /// The first bytes that were read and are not yet packets.
    pub(super) fn unread(&self) -> &[u8] {
        self.framer.unread()
    }

    /// Counts of what has been read, for
    /// [`Counters::received`](crate::metrics::Counters::received).
    pub(super) fn received(&mut self) -> &mut Received {
        &mut self.received
    }

    /// Whether the bytes read so far end with an incomplete packet.
    pub(super) fn partial(&self) -> Partial {
        self.framer.partial()
    }
}
