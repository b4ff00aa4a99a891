//! A running server, and its end.

use super::lane_rules::{append_rules, lane_rules};
use super::options::StartError;
use super::threads::ApplierThread;
use crate::lane::LaneTable;
use crate::listener::SocketFile;
use crate::node::Node;
use crate::outbox::Outbox;
use crate::policy::{LaneHooks, Principal};
use crate::sessions::{carry_out, shutting_down};
use crate::transport::{ListenAddress, Tls, TlsError, log_failure};
use futures_util::future::join_all;
use roommq_config::Limits;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::sync::Notify;
use tokio::task::AbortHandle;
use tokio_rustls::rustls::ServerConfig;

/// Time for the lanes to apply the ends of the last connections.
const END_LANES_TIME: Duration = Duration::from_millis(100);

/// The TLS files of all listeners, as [`Server::read_tls`] has read them.
#[derive(Debug)]
pub struct NewTls(Vec<ServerConfig>);

/// A running server. Dropping it without [`Server::shutdown`] leaves its threads running.
pub struct Server {
    pub(super) addresses: Vec<ListenAddress>,
    /// Files of Unix sockets, removed when they are dropped.
    pub(super) socket_files: Vec<SocketFile>,
    pub(super) tls: Vec<Arc<Tls>>,
    /// The tasks that accept sockets.
    pub(super) accepting: Vec<AbortHandle>,
    /// The node of that thread.
    pub(super) node: Arc<Node>,
    /// Ends the threads that serve sockets.
    pub(super) stop: Arc<Notify>,
    pub(super) io_threads: Vec<JoinHandle<()>>,
    pub(super) appliers: Vec<ApplierThread>,
    pub(super) lanes: Arc<LaneTable>,
    pub(super) limits: Limits,
    /// Of the latest rules in the lanes.
    pub(super) rules_version: u64,
}

impl Server {
    /// The addresses that the server listens on, in the order of the options. Port 0 has become the real port.
    #[must_use]
    pub fn listening(&self) -> &[ListenAddress] {
        &self.addresses
    }

    /// Reads certificates, keys and roots of all listeners again, for [`reload`](Self::reload). The server also does so
    /// a few seconds after a file has changed. Blocks while it reads.
    ///
    /// # Errors
    /// Files that cannot be used, which are logged. Nothing has changed.
    pub fn read_tls(&self) -> Result<NewTls, TlsError> {
        let read = |tls: &Arc<Tls>| tls.read().inspect_err(log_failure);
        let read: Result<Vec<_>, _> = self.tls.iter().map(read).collect();
        read.map(NewTls)
    }

    /// Uses these certificates and the rules of `hooks` from now on: each lane judges by them what is appended after
    /// this. Clients that the policy does not let in any more are disconnected, and lose the subscriptions that it does
    /// not grant any more. Of `limits`, those of retained messages count.
    ///
    /// # Errors
    /// The rules cannot be encoded, and nothing has changed. Or some lanes have stopped before.
    pub async fn reload(
        &mut self,
        tls: NewTls,
        limits: &Limits,
        hooks: &dyn LaneHooks,
    ) -> Result<(), StartError> {
        let lanes = self.node.lanes;
        let body = lane_rules(lanes, limits, hooks)?;
        for (tls, config) in self.tls.iter().zip(tls.0) {
            tls.replace(config);
        }
        self.rules_version += 1;
        append_rules(&self.node.entrance, lanes, self.rules_version, &body).await?;
        self.recheck().await;
        Ok(())
    }

    /// Ends the sessions of clients that the policy does not let in any more.
    async fn recheck(&self) {
        let node = &self.node;
        let may_stay = |who: &Principal| node.policy.recheck(who).is_ok();
        let gone = node.sessions.recheck(may_stay);
        join_all(gone.into_iter().map(|due| carry_out(node, due))).await;
    }

    /// Shuts down in order, so that every accepted message reaches its subscribers' sockets. Blocks for
    /// `limits.shutdown_time` and a few 100 ms at most.
    pub fn shutdown(mut self) {
        let deadline = Instant::now() + self.limits.shutdown_time;
        self.stop_accepting();
        let outboxes = self.stop_reading(deadline);
        self.drain_lanes(deadline);
        self.close_connections(outboxes, deadline);
        self.stop_appliers();
        self.join_threads();
        tracing::info!("stopped");
    }

    fn stop_accepting(&mut self) {
        for task in &self.accepting {
            task.abort();
        }
        self.socket_files.clear();
    }

    /// Accepts no new session, and waits until no connection reads new messages. Returns the outboxes of all sessions.
    fn stop_reading(&self, deadline: Instant) -> Vec<Arc<Outbox>> {
        let outboxes = self.node.sessions.shut_down();
        for outbox in &outboxes {
            outbox.start_draining();
        }
        if !self.node.reading.wait_empty(until(deadline)) {
            tracing::warn!("some connections did not stop reading in time");
        }
        outboxes
    }

    /// Waits until all lanes have applied the entries that were appended so far.
    fn drain_lanes(&self, deadline: Instant) {
        if !self.lanes.wait_until_applied(deadline) {
            tracing::warn!("the lanes were not drained in time");
        }
    }

    /// Closes connections when their outboxes are written. 5.0 clients receive DISCONNECT with 0x8B.
    fn close_connections(&self, outboxes: Vec<Arc<Outbox>>, deadline: Instant) {
        for outbox in outboxes {
            outbox.close(shutting_down());
        }
        if !self.node.connected.wait_empty(until(deadline)) {
            let left = self.node.connected.count();
            tracing::warn!(left, "closed connections that did not read in time");
        }
    }

    /// Lets the lanes apply what the ends of connections have appended, and stops the appliers.
    fn stop_appliers(&self) {
        self.drain_lanes(Instant::now() + END_LANES_TIME);
        for applier in &self.appliers {
            if let Err(error) = applier.stop.stop() {
                tracing::error!(%error, "an applier cannot be stopped");
            }
        }
    }

    fn join_threads(self) {
        self.stop.notify_waiters();
        for thread in self.io_threads {
            if thread.join().is_err() {
                tracing::error!("a thread that serves sockets has panicked");
            }
        }
        for applier in self.appliers {
            // An applier that is still busy is not awaited.
            if applier.thread.is_finished() && applier.thread.join().is_err() {
                tracing::error!("an applier has panicked");
            }
        }
    }
}

/// The time that is left until `deadline`.
fn until(deadline: Instant) -> Duration {
    deadline.saturating_duration_since(Instant::now())
}
