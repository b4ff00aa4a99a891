//! From the socket to packets: all connections of a thread read into one large buffer; each connection's own framer
//! holds what is left of a packet.

use crate::metrics::Received;
use crate::outbox::Outbox;
use crate::packet::{DecodeError, Decoder, Packet};
use crate::transport::Link;
use roommq_mqtt::framing::Framer;
pub(super) use roommq_mqtt::framing::Rest;
use std::cell::RefCell;
use std::io;
use std::task::{Context, Poll};
use tokio::io::ReadBuf;

/// Bytes taken from a socket at once.
pub(super) const READ: usize = 64 << 10;

thread_local! {
    /// An idle connection has no buffer.
    static SCRATCH: RefCell<Vec<u8>> = RefCell::new(vec![0; READ]);
}

/// Bytes that were read and are not yet packets.
#[derive(Debug, Default)]
pub(super) struct Intake {
    framer: Framer,
    /// Whether the link was seen to hold the front of something when nothing could be read.
    link_has_partial: bool,
    /// Not reported yet.
    received: Received,
}

/// What has been done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LinkEvent {
    /// So many bytes have been read; 0 at the end of the stream.
    Read(usize),
    /// Some of what was blocked has been written, or the socket is broken and will say so.
    Wrote,
    /// Nothing can be written any more; there may be something to read.
    Broken(io::ErrorKind),
    /// There is nothing to read; but the peer has begun something that is not whole, or it came to nothing.
    Partial(bool),
}

impl Intake {
    /// Waits for the link: reads once, where `reads`, and writes what waits in `blocked` when it takes bytes
    /// again. One of both should hold.
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

    /// Reads what is there without waiting: how many bytes, and 0 where there are none or no more will come.
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

    /// The next whole packet.
    pub(super) fn next(&mut self, decoder: &mut Decoder) -> Result<Option<Packet>, DecodeError> {
        let packet = self.framer.next(decoder)?;
        if let Some(packet) = &packet {
            self.received.add(packet);
        }
        Ok(packet)
    }

    /// What has been read, for the counters to take.
    pub(super) fn received(&mut self) -> &mut Received {
        &mut self.received
    }

    /// Whether a packet has begun and is not whole.
    pub(super) fn rest(&self) -> Rest {
        self.framer.rest()
    }
}
