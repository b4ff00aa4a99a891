//! The threads of a server: those that serve sockets, and those that apply lanes.

use super::options::StartError;
use crate::lane::{Applier, ApplierStop, Embedded, LaneLog, LaneTable, NodeContext, Position};
use crate::node::Node;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::thread::{Builder, JoinHandle};
use tokio::runtime::{Handle, Runtime};
use tokio::sync::Notify;

/// A thread that serves sockets: the handle of its runtime, and its node.
pub(super) type IoNode = (Handle, Arc<Node>);

/// A number of threads from the settings; 0 stands for the number of cores.
pub(super) fn or_cores(setting: u16) -> usize {
    match setting {
        0 => std::thread::available_parallelism().map_or(1, usize::from),
        threads => threads.into(),
    }
}

/// Builds a runtime for each thread that serves sockets (decision 0004). Nothing runs until [`run_io_threads`].
pub(super) fn build_runtimes(threads: usize) -> io::Result<Vec<Runtime>> {
    let build = |_| {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
    };
    (0..threads).map(build).collect()
}

/// Runs each runtime on a thread of its own until `stop` is notified. Returns when all of them would hear it.
pub(super) fn run_io_threads(
    runtimes: Vec<Runtime>,
    stop: &Arc<Notify>,
) -> io::Result<Vec<JoinHandle<()>>> {
    let mut threads = Vec::new();
    for (n, runtime) in runtimes.into_iter().enumerate() {
        let stop = stop.clone();
        let (ready, started) = sync_channel(1);
        let run = move || {
            runtime.block_on(async {
                let stopped = stop.notified();
                tokio::pin!(stopped);
                stopped.as_mut().enable();
                // From here on the thread cannot miss the stop.
                let _ = ready.send(());
                stopped.await;
            });
            runtime.shutdown_background();
        };
        threads.push(Builder::new().name(format!("io-{n}")).spawn(run)?);
        let _ = started.recv();
    }
    Ok(threads)
}

/// A thread that applies lanes, and the way to stop it.
pub(super) struct ApplierThread {
    pub(super) thread: JoinHandle<()>,
    pub(super) stop: ApplierStop,
}

/// Starts `threads` appliers. Lane `n` belongs to applier `n % threads`.
pub(super) fn start_appliers(
    threads: usize,
    lanes: u16,
    log: &Embedded,
    table: &Arc<LaneTable>,
    context: &Arc<NodeContext>,
) -> Result<Vec<ApplierThread>, StartError> {
    let start = |thread: usize| {
        let own = (0..lanes).filter(|lane| usize::from(*lane) % threads == thread);
        let own: Vec<u16> = own.collect();
        let from: Vec<_> = own
            .iter()
            .map(|lane| (*lane, Position::default()))
            .collect();
        let follower = log.follower(&from)?;
        let applier = Applier::new(table.clone(), own, follower, context.clone());
        let stop = applier.stop_handle();
        let name = format!("applier-{thread}");
        let thread = Builder::new().name(name).spawn(|| applier.run())?;
        Ok(ApplierThread { thread, stop })
    };
    (0..threads).map(start).collect()
}
