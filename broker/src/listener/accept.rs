//! Accepts connections, within limits, and hands each to a thread that serves it.

use super::bind::BoundListener;
use crate::clock;
use crate::gate::Gate;
use crate::policy::Peer;
use crate::rate_limiter::RateLimiter;
use crate::transport::{ListenerContext, Socket};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::runtime::Handle;

/// Connections above a limit that still receive a CONNACK with the reason. The server closes any further ones at once.
const REFUSED_WITH_CONNACK: usize = 1024;

/// Milliseconds between two log lines about closed connections of one kind.
const LOG_INTERVAL_MS: u64 = 1_000;

/// Delay after a failed accept. The usual reason is that no file descriptor is left.
const ACCEPT_RETRY_DELAY: Duration = Duration::from_millis(100);

/// A thread that serves connections.
#[derive(Clone)]
pub(crate) struct IoThread<S> {
    /// The thread's runtime.
    pub handle: Handle,
    /// Serves one connection until its end, on that thread.
    pub serve: S,
}

/// The limit on the connections of all listeners together.
#[derive(Debug, Clone)]
pub(crate) struct ConnectionLimit {
    /// The open connections.
    pub open: Gate,
    pub max: usize,
}

/// Accepts until the future is dropped. The `threads` take turns at serving the accepted sockets.
pub(crate) async fn accept<S, F>(
    mut listener: BoundListener,
    all: ConnectionLimit,
    threads: Vec<IoThread<S>>,
) where
    S: Fn(Socket, Peer, Arc<ListenerContext>) -> F + Clone + Send + 'static,
    F: Future<Output = ()> + Send + 'static,
{
    let context = listener.context.clone();
    let mut log = RejectionLog::new(context.clone());
    for thread in threads.iter().cycle() {
        let (socket, peer) = loop {
            let due = log.write_due();
            let accepted = tokio::select! {
                accepted = listener.socket.accept() => accepted,
                () = clock::sleep_until(due) => continue,
            };
            match accepted {
                Ok(accepted) => break accepted,
                Err(error) => {
                    tracing::warn!(listener = context.address(), %error, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_RETRY_DELAY).await;
                }
            }
        };
        if let Some((rate, bucket)) = &mut listener.rate
            && bucket.take(*rate, Instant::now()).is_err()
        {
            log.too_fast.note(1);
            continue;
        }
        let is_full = |open: usize, max: usize| open >= max.saturating_add(REFUSED_WITH_CONNACK);
        if is_full(all.open.count(), all.max) || is_full(context.open.count(), context.connections)
        {
            log.too_many.note(1);
            continue;
        }
        // They count the connection from now on, since its thread may be busy.
        let guards = (all.open.enter(), context.open.enter());
        let (serve, context) = (thread.serve.clone(), context.clone());
        // Boxed, since the task below lives as long as the connection.
        let start: Box<dyn FnOnce() -> Option<F> + Send> = Box::new(move || {
            let registered = socket.register().inspect_err(|error| {
                tracing::warn!(%peer, %error, "a thread could not take over an accepted socket");
            });
            Some(serve(registered.ok()?, peer, context))
        });
        thread.handle.spawn(async move {
            let _guards = &guards;
            let Some(serving) = start() else { return };
            serving.await;
        });
    }
}

/// Counts the connections that a listener closed at once, and logs them once in [`LOG_INTERVAL_MS`].
struct RejectionLog {
    context: Arc<ListenerContext>,
    too_fast: RateLimiter,
    too_many: RateLimiter,
}

impl RejectionLog {
    fn new(context: Arc<ListenerContext>) -> Self {
        RejectionLog {
            context,
            too_fast: RateLimiter::every(LOG_INTERVAL_MS),
            too_many: RateLimiter::every(LOG_INTERVAL_MS),
        }
    }

    /// Writes the lines that are due now. Returns the time of the next, in milliseconds of lane time.
    fn write_due(&mut self) -> Option<u64> {
        let now = clock::lane_ms();
        if let Some(refused) = self.too_fast.take(now) {
            tracing::warn!(
                listener = self.context.address(),
                refused,
                "more new connections than connect_rate"
            );
        }
        if let Some(refused) = self.too_many.take(now) {
            tracing::warn!(
                listener = self.context.address(),
                refused,
                "too many connections are open"
            );
        }
        let due = [self.too_fast.due(), self.too_many.due()];
        due.into_iter().flatten().min()
    }
}
