//! `roommq bench`: measures an MQTT server. The client is light, so that it measures the server and
//! not itself.
//!
//! One thread has all connections; a paced run has a second thread that keeps time. A payload has
//! its send time and its number, from which each member sees latency, loss and order.

mod args;
mod client;
mod counters;
mod figures;
mod flow;
mod histogram;
mod load_run;
mod member;
mod pacer;
mod plan;
mod process;
mod progress;
mod publisher;
mod report;
mod scenarios;
mod stream;
mod wire;

pub use args::{BenchArgs, Scenario};

use anyhow::{Context, bail};
use plan::{LoadShape, Plan};
use progress::ProgressLine;
use report::Report;
use rustix::process::{Resource, getrlimit, setrlimit};
use serde::Serialize;
use std::io::{self, Write};
use std::time::Duration;
use tokio::task::LocalSet;

/// File descriptors besides the connections.
const SPARE_DESCRIPTORS: u64 = 64;

/// The output of `--json`.
#[derive(Serialize)]
struct BenchOutput<'a> {
    server: String,
    tls: bool,
    protocol: u8,
    results: &'a [Report],
}

/// Runs the scenarios and prints the result: tables, or with `json` one object.
///
/// # Errors
/// The server cannot be reached, is on another machine or refuses, or messages were lost at QoS 1 (the
/// result is printed first).
pub fn run(args: BenchArgs, json: bool) -> anyhow::Result<()> {
    let plan = Plan::new(args)?;
    raise_descriptor_limit(plan.connections())?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let reports = LocalSet::new().block_on(&runtime, run_scenarios(&plan))?;
    let mut out = io::stdout().lock();
    if json {
        let outcome = BenchOutput {
            server: plan.dialer.server.to_string(),
            tls: plan.dialer.secure.is_some(),
            protocol: plan.asked.protocol,
            results: &reports,
        };
        writeln!(out, "{}", serde_json::to_string(&outcome)?)?;
    } else {
        write!(out, "{}", report::tables(&reports))?;
        if plan.asked.pid.is_none() {
            writeln!(out, "(--pid PID adds the server's CPU time and memory)")?;
        }
    }
    let lost: u64 = reports.iter().map(Report::lost_at_qos_1).sum();
    if lost > 0 {
        bail!("{} deliveries were lost at QoS 1", figures::grouped(lost));
    }
    Ok(())
}

async fn run_scenarios(plan: &Plan) -> anyhow::Result<Vec<Report>> {
    let progress = ProgressLine::new();
    let report = match plan.asked.scenario {
        Scenario::All => return tour(plan, &progress).await,
        Scenario::Fanout => scenarios::fanout(plan, plan.shape(1, 100), &progress).await?,
        Scenario::Paced => scenarios::paced(plan, plan.shape(1, 10), &progress).await?,
        Scenario::Rooms => {
            let shape = LoadShape {
                publishers: 1,
                ..plan.shape(1000, 1)
            };
            scenarios::rooms(plan, shape, plan.asked.rooms_per_connection, &progress).await?
        }
        Scenario::Connect => scenarios::connect(plan, plan.asked.clients, &progress).await?,
    };
    Ok(vec![report])
}

/// All scenarios. They take half a minute at the default of 4 seconds each.
async fn tour(plan: &Plan, progress: &ProgressLine) -> anyhow::Result<Vec<Report>> {
    let plan = Plan {
        measured: plan.measured.min(Duration::from_secs(4)),
        messages: None,
        ..plan.clone()
    };
    let of = |rooms, members| LoadShape {
        rooms,
        members,
        publishers: 1,
    };
    Ok(vec![
        scenarios::fanout(&plan, of(1, 100), progress).await?,
        scenarios::fanout(&plan, of(100, 10), progress).await?,
        scenarios::fanout(&plan, of(1, 1), progress).await?,
        scenarios::paced(&plan, of(1, 10), progress).await?,
        scenarios::rooms(&plan, of(1000, 1), 1, progress).await?,
        scenarios::connect(&plan, 1000, progress).await?,
    ])
}

/// Raises the soft limit of open files to the hard limit. The error: that is not enough.
fn raise_descriptor_limit(connections: u64) -> anyhow::Result<()> {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit).context("cannot raise the limit of open files")?;
    let needed = connections + SPARE_DESCRIPTORS;
    if let Some(maximum) = limit.maximum.filter(|maximum| *maximum < needed) {
        bail!(
            "{} connections are more than the limit of open files allows ({}); raise it with \
             ulimit -Hn, or put several rooms on a connection with --rooms-per-connection",
            figures::grouped(connections),
            figures::grouped(maximum)
        );
    }
    Ok(())
}

#[cfg(test)]
mod end_to_end_tests;
