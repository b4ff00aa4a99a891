//! The start of a server, step by step.

use super::lane_rules::{append_rules, lane_rules};
use super::options::{Options, StartError};
use super::running::Server;
use super::threads::{IoNode, build_runtimes, or_cores, run_io_threads, start_appliers};
use crate::connect_limits::ConnectLimits;
use crate::connection::serve;
use crate::fairness::HandshakePacer;
use crate::gate::Gate;
use crate::lane::{
    Embedded, Entrance, LaneLog, LaneTable, LogError, Mailboxes, NodeContext, Promise, Timers,
};
use crate::listener::{self, BindError, BoundListener, ConnectionLimit, IoThread};
use crate::metrics::Counters;
use crate::node::Node;
use crate::policy::{LaneHooks, Notice, Policy};
use crate::sessions::{Sessions, expire_offline_sessions, new_term};
use crate::sys::SysPublisher;
use crate::transport::{ListenAddress, Tls, watch_tls_files};
use roommq_lane::{Entry, Lane, PublishEntry};
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::{Handle, Runtime};
use tokio::sync::Notify;
use tokio::task::AbortHandle;

impl Server {
    /// Starts a server. It accepts the first socket only after everything else runs. Blocks, so it must not be called by
    /// a task of an async runtime.
    ///
    /// # Errors
    /// See [`StartError`]. After an error no thread is left but idle ones of the lanes' engine.
    pub fn start(
        options: Options,
        policy: &Arc<dyn Policy>,
        hooks: &dyn LaneHooks,
    ) -> Result<Server, StartError> {
        let runtimes = build_runtimes(or_cores(options.lanes.io_threads))?;
        let first = runtimes.first().map(|runtime| runtime.handle().clone());
        let background = first.ok_or_else(|| io::Error::other("no thread for sockets"))?;
        let mut listeners = bind_all(&background, &options)?;
        let addresses = listeners.iter().flat_map(|l| l.context.addresses.clone());
        let addresses: Arc<[ListenAddress]> = addresses.collect();
        for listener in &listeners {
            // This is the only place that sets it.
            let _ = listener.context.all.set(addresses.clone());
        }

        let lanes = options.lane_count();
        let log = Embedded::start(lanes, options.lanes.credit_bytes);
        let term = new_term();
        let applier_threads = or_cores(options.lanes.keepers).min(lanes.into());
        let table = Arc::new(open_lanes(term, &log, applier_threads, lanes, hooks)?);
        let (mailboxes, mailbox_readers) = Mailboxes::new(lanes);
        let context = Arc::new(NodeContext {
            sessions: Arc::new(Sessions::new(term, options.limits.kept_sessions)),
            mailboxes,
            limits: Arc::default(),
            timers: Arc::new(Timers::default()),
            policy: policy.clone(),
        });
        let appliers = start_appliers(applier_threads, lanes, &log, &table, &context)?;

        let kept = u64::try_from(options.limits.kept_bytes).unwrap_or(u64::MAX);
        let counters = Arc::new(Counters::new(runtimes.len() + applier_threads, kept));
        let nodes = build_nodes(&runtimes, &options, &table, &context, &counters);
        let first = nodes.first().map(|(_, node)| node.clone());
        let node = first.ok_or_else(|| io::Error::other("no thread for sockets"))?;

        let rules = lane_rules(lanes, &options.limits, hooks)?;
        let rules_version = 1;
        background.block_on(append_rules(&node.entrance, lanes, rules_version, &rules))?;

        // Background tasks. $SYS is among them, so a client that connects finds its topics.
        let (timers, entrance) = (context.timers.clone(), node.entrance.clone());
        background.spawn(async move {
            let append = async |lane, key: String, generation| {
                let key = &key;
                entrance
                    .append(lane, [Entry::Timer { key, generation }])
                    .await
            };
            timers.run(append).await;
        });
        let entrance = node.entrance.clone();
        background.spawn(async move {
            let append = async |lane, notices: Vec<Notice>| {
                let entries = notices
                    .iter()
                    .map(|n| Entry::Publish(PublishEntry::of_server(&n.topic, &n.payload)));
                entrance.append(lane, entries).await
            };
            mailbox_readers.run(append).await;
        });
        if log.promise() == Promise::Kept {
            let lanes = table.clone();
            background.spawn(async move { lanes.resend(Duration::from_secs(1)).await });
        }
        background.spawn(expire_offline_sessions(node.clone()));
        let sys = SysPublisher {
            node: node.clone(),
            lanes: table.clone(),
            interval: options.sys_interval,
        };
        background.spawn(sys.run());
        let tls = listeners
            .iter()
            .filter_map(|l| l.context.layers.tls.clone());
        let tls: Vec<Arc<Tls>> = tls.collect();
        if !tls.is_empty() {
            background.spawn(watch_tls_files(tls.clone()));
        }

        let stop = Arc::new(Notify::new());
        let io_threads = run_io_threads(runtimes, &stop)?;
        Ok(Server {
            addresses: addresses.to_vec(),
            socket_files: listeners.iter_mut().filter_map(|l| l.file.take()).collect(),
            tls,
            accepting: accept_all(&background, listeners, &options, &nodes),
            node,
            stop,
            io_threads,
            appliers,
            lanes: table,
            limits: options.limits,
            rules_version,
        })
    }
}

/// Opens the sockets of all listeners. Nothing is accepted yet.
fn bind_all(on: &Handle, options: &Options) -> Result<Vec<BoundListener>, BindError> {
    let _within = on.enter();
    let bind = |listener| listener::bind(listener, &options.limits);
    options.listeners.iter().map(bind).collect()
}

fn open_lanes(
    term: u64,
    log: &Embedded,
    links: usize,
    lanes: u16,
    hooks: &dyn LaneHooks,
) -> Result<LaneTable, LogError> {
    let open = |lane| Lane::new(lane, lanes, hooks.open(lane));
    LaneTable::new(term, log, links, (0..lanes).map(open), open(lanes))
}

/// Makes a node for each runtime, and spawns the task that flushes its outboxes.
fn build_nodes(
    runtimes: &[Runtime],
    options: &Options,
    table: &Arc<LaneTable>,
    context: &Arc<NodeContext>,
    counters: &Arc<Counters>,
) -> Vec<IoNode> {
    let (reading, connected, connections) = (Gate::default(), Gate::default(), Gate::default());
    let connect_limits = Arc::new(ConnectLimits::new(&options.limits));
    let build = |runtime: &Runtime| {
        let entrance = Entrance::new(table.clone(), context.clone());
        let flusher = entrance.flusher();
        runtime.spawn(async move { flusher.run().await });
        let node = Node {
            policy: context.policy.clone(),
            sessions: context.sessions.clone(),
            mailboxes: context.mailboxes.clone(),
            connect_limits: connect_limits.clone(),
            limit_counts: context.limits.clone(),
            counters: counters.clone(),
            entrance: Arc::new(entrance),
            limits: options.limits.clone(),
            lanes: options.lane_count(),
            reading: reading.clone(),
            connected: connected.clone(),
            connections: connections.clone(),
            handshakes: HandshakePacer::default(),
        };
        (runtime.handle().clone(), Arc::new(node))
    };
    runtimes.iter().map(build).collect()
}

/// Begins to accept on all listeners. The nodes serve the accepted sockets in turn.
fn accept_all(
    on: &Handle,
    listeners: Vec<BoundListener>,
    options: &Options,
    nodes: &[IoNode],
) -> Vec<AbortHandle> {
    let Some((_, first)) = nodes.first() else {
        return Vec::new();
    };
    let all = ConnectionLimit {
        open: first.connections.clone(),
        max: options.limits.connections,
    };
    let thread = |(handle, node): &IoNode| {
        let node = node.clone();
        IoThread {
            handle: handle.clone(),
            serve: move |socket, peer, listener| serve(socket, peer, listener, node.clone()),
        }
    };
    let threads: Vec<_> = nodes.iter().map(thread).collect();
    let accept = |l| on.spawn(listener::accept(l, all.clone(), threads.clone()));
    let tasks = listeners.into_iter().map(accept);
    tasks.map(|task| task.abort_handle()).collect()
}
