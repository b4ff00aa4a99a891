//! The server: its threads, their start in the right order, and their end without loss.

use crate::clock;
use crate::connection::serve;
use crate::fairness::Steps;
use crate::gate::Gate;
use crate::lane::{
    Applier, Barriers, Batch, Embedded, Entrance, Entry, Lane, LaneLog, LaneTable, LogError,
    Mailboxes, NodeContext, RetainedLimits, Timers,
};
use crate::listener::{self, BindError, Bound, Connections, SocketFile, Worker};
use crate::metrics::Counters;
use crate::node::Node;
use crate::packet::ReasonCode;
use crate::policy::{LaneHooks, Policy};
use crate::session::Close;
use crate::sessions::{Sessions, expire_offline_sessions};
use crate::sys::Sys;
use crate::transport::{Place, Tls};
use roommq_config::{Lanes, Limits, Listener};
use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::runtime::{Handle, Runtime};
use tokio::sync::Notify;

/// The one barrier: all that was accepted before the end has been applied.
const LAST: u64 = 1;

/// What a server is made of.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where to listen.
    pub listeners: Vec<Listener>,
    /// Bounds on peers.
    pub limits: Limits,
    /// The ordered logs and their threads.
    pub lanes: Lanes,
    /// From one update of `$SYS` to the next; 0: there is none.
    pub sys_interval: Duration,
}

/// Why a server did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A listener cannot listen.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// A thread or its reactor could not be had.
    #[error("cannot start a thread: {0}")]
    Thread(#[from] io::Error),
    /// The engine of the lanes did not start.
    #[error("{0}")]
    Log(String),
}

/// A running server. Dropping it without [`Server::shutdown`] leaves its threads running.
pub struct Server {
    listening: Vec<Place>,
    tls: Vec<Arc<Tls>>,
    /// Taken away at the end.
    files: Vec<SocketFile>,
    stop: Arc<Notify>,
    /// One for each thread that serves sockets.
    nodes: Vec<(Handle, Arc<Node>)>,
    threads: Vec<JoinHandle<()>>,
    appliers: Vec<JoinHandle<()>>,
    accepting: Vec<tokio::task::AbortHandle>,
    barriers: Arc<Barriers>,
    limits: Limits,
}

impl Server {
    /// Starts all threads and listens. Everything is in place before the first socket is accepted.
    ///
    /// # Errors
    /// See [`StartError`]; nothing is left running then but idle threads of the lanes' engine.
    pub fn start(
        options: Options,
        policy: &Arc<dyn Policy>,
        hooks: &dyn LaneHooks,
    ) -> Result<Server, StartError> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let or_cores = |n: u16| if n == 0 { cores } else { n.into() };
        let lanes = options.lanes.count.max(1);
        let runtimes = build_runtimes(or_cores(options.lanes.io_threads))?;
        let first = runtimes.first().map(|r| r.handle().clone());
        let first = first.ok_or_else(|| io::Error::other("no thread for sockets"))?;
        let mut listeners = {
            let _within = first.enter();
            let bind = |l| listener::bind(l, &options.limits);
            let bound = options.listeners.iter().map(bind);
            bound.collect::<Result<Vec<Bound>, _>>()?
        };
        let listening = listeners.iter().map(|l| l.port.place.clone()).collect();
        let tls = listeners.iter().filter_map(|l| l.port.layers.tls.clone());
        let tls: Vec<Arc<Tls>> = tls.collect();
        let files = listeners.iter_mut().filter_map(|l| l.file.take());
        let files = files.collect();

        let log = Embedded::start(lanes, options.lanes.credit_bytes);
        let (mailboxes, readers) = Mailboxes::new(lanes);
        let context = Arc::new(NodeContext {
            sessions: Arc::new(Sessions::new(options.limits.kept_sessions)),
            mailboxes: mailboxes.clone(),
            timers: Arc::new(Timers::default()),
            policy: policy.clone(),
            barriers: Arc::default(),
        });
        let threads = or_cores(options.lanes.keepers).min(lanes.into());
        let retained = RetainedLimits::of(&options.limits, lanes);
        let table = LaneTable::new((0..lanes).map(|l| Lane::new(l, hooks.open(l), retained)));
        let table = Arc::new(table);
        let kept = u64::try_from(options.limits.kept_bytes).unwrap_or(u64::MAX);
        let counters = Arc::new(Counters::new(runtimes.len() + threads, kept));
        let appliers = start_appliers(&log, lanes, threads, &table, &context)?;
        let (reading, connected, connections) = (Gate::default(), Gate::default(), Gate::default());
        let mut nodes = Vec::new();
        for runtime in &runtimes {
            let entrance = Arc::new(Entrance::new(
                table.clone(),
                log.appender()?,
                context.clone(),
                log.allows_in_place(),
            ));
            let flusher = entrance.flusher();
            runtime.spawn(async move { flusher.run().await });
            let node = Arc::new(Node {
                policy: policy.clone(),
                sessions: context.sessions.clone(),
                mailboxes: mailboxes.clone(),
                counters: counters.clone(),
                entrance,
                limits: options.limits.clone(),
                lanes,
                reading: reading.clone(),
                connected: connected.clone(),
                connections: connections.clone(),
                handshakes: Steps::default(),
            });
            nodes.push((runtime.handle().clone(), node));
        }
        if let Some((_, node)) = nodes.first() {
            let (timers, entrance) = (context.timers.clone(), node.entrance.clone());
            first
                .spawn(async move { timers.run(|lane, batch| entrance.append(lane, batch)).await });
            let entrance = node.entrance.clone();
            first.spawn(async move {
                readers
                    .run(|lane, batch| entrance.append(lane, batch))
                    .await
            });
            first.spawn(expire_offline_sessions(node.clone()));
            // Before there are listeners, so that every client that can connect finds it.
            let sys = Sys {
                node: node.clone(),
                lanes: table,
                interval: options.sys_interval,
            };
            first.spawn(sys.run());
        }
        if !tls.is_empty() {
            first.spawn(listener::watch(tls.clone()));
        }

        let stop = Arc::new(Notify::new());
        let threads = run_all(runtimes, &stop)?;
        let all = Connections {
            open: connections,
            most: options.limits.connections,
        };
        let accepting = start_listening(&first, listeners, &all, &nodes);
        Ok(Server {
            listening,
            tls,
            files,
            stop,
            nodes,
            threads,
            appliers,
            accepting,
            barriers: context.barriers.clone(),
            limits: options.limits,
        })
    }

    /// Where it listens, in the order of the options; port 0 has become a real one.
    #[must_use]
    pub fn listening(&self) -> &[Place] {
        &self.listening
    }

    /// Reads certificates, keys and roots of all listeners again, as is also done a few seconds after a file has
    /// changed. What cannot be used is logged, and changes nothing. Blocks for the files.
    pub fn reload(&self) {
        for tls in &self.tls {
            tls.reload(true);
        }
    }

    /// Ends in order: accepts and reads no more, lets every accepted message reach its subscribers'
    /// sockets, tells 5.0 clients 0x8B, and stops all threads. Blocks for `limits.shutdown_time` at most,
    /// and a little.
    pub fn shutdown(mut self) {
        let deadline = Instant::now() + self.limits.shutdown_time;
        let left = || deadline.saturating_duration_since(Instant::now());
        for listener in &self.accepting {
            listener.abort();
        }
        self.files.clear();
        if let Some((_, node)) = self.nodes.first() {
            let lanes = node.lanes;
            let outboxes = node.sessions.shut_down();
            for outbox in &outboxes {
                outbox.start_draining();
            }
            if !node.reading.wait_empty(left()) {
                tracing::warn!("some connections did not stop in time");
            }
            self.append_to_all(lanes, &Entry::Barrier(LAST), left());
            if !self.barriers.wait(LAST, lanes.into(), left()) {
                tracing::warn!("the lanes were not drained in time");
            }
            for outbox in outboxes {
                outbox.close(Close {
                    reason: ReasonCode::ServerShuttingDown,
                    text: "the server is shutting down".to_owned(),
                });
            }
            if !node.connected.wait_empty(left()) {
                tracing::warn!(
                    left = node.connected.count(),
                    "closed connections that did not read in time"
                );
            }
            self.append_to_all(lanes, &Entry::End, Duration::from_millis(100));
        }
        self.stop.notify_waiters();
        for thread in self.threads {
            if thread.join().is_err() {
                tracing::error!("a thread for sockets has panicked");
            }
        }
        for applier in self.appliers {
            if applier.is_finished() && applier.join().is_err() {
                tracing::error!("an applier has panicked");
            }
        }
        tracing::info!("stopped");
    }

    fn append_to_all(&self, lanes: u16, entry: &Entry<'_>, limit: Duration) {
        let Some((handle, node)) = self.nodes.first() else {
            return;
        };
        let appending = async {
            for lane in 0..lanes {
                let mut batch = Batch::default();
                batch.push(entry);
                if let Err(error) = node.entrance.append_to_log(lane, batch).await {
                    tracing::error!(%error, "a lane could not be ended");
                }
            }
        };
        let limited = async { tokio::time::timeout(limit, appending).await };
        if handle.block_on(limited).is_err() {
            tracing::warn!(at = clock::now_ms(), "the lanes took no last entry in time");
        }
    }
}

fn start_listening(
    on: &Handle,
    listeners: Vec<Bound>,
    all: &Connections,
    nodes: &[(Handle, Arc<Node>)],
) -> Vec<tokio::task::AbortHandle> {
    let worker = |(handle, node): &(Handle, Arc<Node>)| {
        let node = node.clone();
        Worker {
            handle: handle.clone(),
            serve: move |socket, peer, port| serve(socket, peer, port, node.clone()),
        }
    };
    let workers: Vec<_> = nodes.iter().map(worker).collect();
    let accept = |l| on.spawn(listener::accept(l, all.clone(), workers.clone()));
    let tasks = listeners.into_iter().map(accept);
    tasks.map(|task| task.abort_handle()).collect()
}

fn start_appliers(
    log: &Embedded,
    lanes: u16,
    threads: usize,
    table: &Arc<LaneTable>,
    context: &Arc<NodeContext>,
) -> Result<Vec<JoinHandle<()>>, StartError> {
    let mut appliers = Vec::new();
    for thread in 0..threads {
        let own: Vec<u16> = (0..lanes)
            .filter(|l| usize::from(*l) % threads == thread)
            .collect();
        let follower = log.follower(&own)?;
        let applier = Applier::new(table.clone(), own.len(), follower, context.clone());
        let name = format!("applier-{thread}");
        appliers.push(
            std::thread::Builder::new()
                .name(name)
                .spawn(|| applier.run())?,
        );
    }
    Ok(appliers)
}

/// One for each thread that serves sockets (decision 0004).
fn build_runtimes(threads: usize) -> io::Result<Vec<Runtime>> {
    let build = |_| {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
    };
    (0..threads).map(build).collect()
}

fn run_all(runtimes: Vec<Runtime>, stop: &Arc<Notify>) -> io::Result<Vec<JoinHandle<()>>> {
    let mut threads = Vec::new();
    for (n, runtime) in runtimes.into_iter().enumerate() {
        let stop = stop.clone();
        let (ready, started) = std::sync::mpsc::sync_channel(1);
        let thread = std::thread::Builder::new()
            .name(format!("io-{n}"))
            .spawn(move || {
                runtime.block_on(async {
                    let stopped = stop.notified();
                    tokio::pin!(stopped);
                    stopped.as_mut().enable();
                    // Only now can the stop not be missed.
                    let _ = ready.send(());
                    stopped.await;
                });
                runtime.shutdown_background();
            })?;
        let _ = started.recv();
        threads.push(thread);
    }
    Ok(threads)
}

impl From<LogError> for StartError {
    fn from(error: LogError) -> Self {
        StartError::Log(error.to_string())
    }
}
