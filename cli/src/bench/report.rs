//! The results of a run, as JSON and as tables.

use super::figures::{grouped, grouped_real};
use super::histogram::Percentiles;
use super::process::ServerCost;
use serde::Serialize;

/// The result of a scenario.
#[derive(Debug, Clone, Serialize)]
#[serde(untagged)]
pub enum Report {
    /// A scenario that sent messages.
    Load(Box<LoadReport>),
    /// A scenario in which clients connected.
    Storm(Box<StormReport>),
}

/// The result of a scenario that sent messages.
#[derive(Debug, Clone, Serialize)]
pub struct LoadReport {
    /// `fanout`, `paced` or `rooms`.
    pub scenario: &'static str,
    /// Rooms.
    pub rooms: u32,
    /// Members of each room.
    pub members: u32,
    /// Publishers of each room; in `rooms`, of all of them.
    pub publishers: u32,
    /// Quality of service of publishers and subscribers.
    pub qos: u8,
    /// Payload size.
    pub payload_bytes: usize,
    /// Measured time.
    pub seconds: f64,
    /// Publishes a second while measured.
    pub published_per_s: f64,
    /// Deliveries a second while measured.
    pub delivered_per_s: f64,
    /// Deliveries expected in all, with the warm-up.
    pub owed: u64,
    /// Deliveries that arrived in all.
    pub delivered: u64,
    /// Expected deliveries that did not arrive.
    pub lost: u64,
    /// Deliveries above those expected (repeats).
    pub extra: u64,
    /// Deliveries after a later one of the same publisher and room, or twice.
    pub out_of_order: u64,
    /// Deliveries with a payload of another program.
    pub corrupt: u64,
    /// Publishes that were not acknowledged (QoS 1).
    pub unacknowledged: u64,
    /// Publishes that were refused by their acknowledgement (MQTT 5).
    pub refused: u64,
    /// Times that a window made no progress for a second and was reset.
    pub stalls: u64,
    /// Connections that ended early.
    pub closed_connections: u64,
    /// Why the first of them ended.
    pub first_failure: Option<String>,
    /// From the send to the arrival at each member, microseconds.
    pub latency_us: Percentiles,
    /// The delays of the paced sends, microseconds.
    pub pacer_lag_us: Option<Percentiles>,
    /// The server's resources, with --pid.
    pub server: Option<ServerCost>,
    /// CPU seconds a second of the load generator. Near 1 it was the limit.
    pub generator_cores: Option<f64>,
}

/// The result of a connect storm.
#[derive(Debug, Clone, Serialize)]
pub struct StormReport {
    /// `connect`.
    pub scenario: &'static str,
    /// Clients that tried to connect.
    pub clients: u64,
    /// Clients that connected and subscribed.
    pub connected: u64,
    /// Clients that failed.
    pub failed: u64,
    /// Why the first of them failed.
    pub first_failure: Option<String>,
    /// From the first connect to the last SUBACK.
    pub seconds: f64,
    /// Connects with their subscribe a second.
    pub connects_per_s: f64,
    /// From a client's connect to its SUBACK, microseconds.
    pub connect_us: Percentiles,
    /// Growth of the server's resident memory for each connection, with --pid.
    pub rss_bytes_per_connection: Option<u64>,
    /// The server's CPU while all clients are idle, in percent of a core, with --pid.
    pub idle_cpu_percent: Option<f64>,
    /// The server's resources, with --pid. `cpu_us_each` is for each connect.
    pub server: Option<ServerCost>,
}

impl LoadReport {
    fn title(&self) -> String {
        let shape = format!(
            "{} x {}",
            grouped(u64::from(self.rooms)),
            grouped(u64::from(self.members))
        );
        format!("{} {shape}, QoS {}", self.scenario, self.qos)
    }

    fn warnings(&self) -> Vec<String> {
        let mut out = Vec::new();
        let mut say = |text: String| out.push(format!("{}: {text}", self.title()));
        if self.lost > 0 {
            say(format!(
                "{} of {} deliveries were lost",
                grouped(self.lost),
                grouped(self.owed)
            ));
        }
        for (count, what) in [
            (
                self.out_of_order,
                "deliveries arrived out of order or twice",
            ),
            (self.extra, "more deliveries arrived than expected"),
            (self.corrupt, "deliveries had an unknown payload"),
            (self.unacknowledged, "publishes were not acknowledged"),
            (self.refused, "publishes were refused"),
        ] {
            if count > 0 {
                say(format!("{} {what}", grouped(count)));
            }
        }
        if self.stalls > 0 {
            say(format!(
                "no message arrived for a second, {} times",
                grouped(self.stalls)
            ));
        }
        if let Some(why) = &self.first_failure {
            say(format!(
                "{} connections ended early; {why}",
                grouped(self.closed_connections)
            ));
        }
        if self.generator_cores.is_some_and(|cores| cores > 0.9) {
            say("the load generator was at its limit; the server may do more".to_owned());
        }
        out
    }

    fn cells(&self) -> Vec<String> {
        let l = &self.latency_us;
        vec![
            self.title(),
            grouped_real(self.delivered_per_s),
            grouped_real(l.p50),
            grouped_real(l.p90),
            grouped_real(l.p99),
            grouped_real(l.max),
            grouped(self.lost),
            grouped(self.out_of_order),
            self.server
                .map_or_else(dash, |s| format!("{:.2}", s.cpu_us_each)),
            self.server
                .map_or_else(dash, |s| mebibytes(s.rss_after_kib)),
        ]
    }
}

impl StormReport {
    fn cells(&self) -> Vec<String> {
        let l = &self.connect_us;
        vec![
            format!("connect {}", grouped(self.clients)),
            grouped_real(self.connects_per_s),
            grouped_real(l.p50),
            grouped_real(l.p90),
            grouped_real(l.p99),
            grouped_real(l.max),
            grouped(self.failed),
            self.server
                .map_or_else(dash, |s| format!("{:.1}", s.cpu_us_each)),
            self.rss_bytes_per_connection.map_or_else(dash, grouped),
            self.server
                .map_or_else(dash, |s| mebibytes(s.rss_after_kib)),
        ]
    }

    fn warning(&self) -> Option<String> {
        let why = self.first_failure.as_ref()?;
        Some(format!(
            "connect: {} clients failed; the first: {why}",
            grouped(self.failed)
        ))
    }
}

impl Report {
    /// Deliveries that were lost at QoS 1.
    pub fn lost_at_qos_1(&self) -> u64 {
        match self {
            Report::Load(load) if load.qos > 0 => load.lost,
            _ => 0,
        }
    }

    fn warnings(&self) -> Vec<String> {
        match self {
            Report::Load(load) => load.warnings(),
            Report::Storm(storm) => storm.warning().into_iter().collect(),
        }
    }
}

/// The tables for people, with warnings below.
pub fn tables(reports: &[Report]) -> String {
    let mut loads = vec![row(&[
        "messages",
        "deliveries/s",
        "p50 us",
        "p90 us",
        "p99 us",
        "max us",
        "lost",
        "disorder",
        "CPU us each",
        "RSS MiB",
    ])];
    let mut storms = vec![row(&[
        "connections",
        "connects/s",
        "p50 us",
        "p90 us",
        "p99 us",
        "max us",
        "failed",
        "CPU us each",
        "bytes each",
        "RSS MiB",
    ])];
    for report in reports {
        match report {
            Report::Load(load) => loads.push(load.cells()),
            Report::Storm(storm) => storms.push(storm.cells()),
        }
    }
    let mut parts: Vec<String> = [loads, storms]
        .iter()
        .filter(|table| table.len() > 1)
        .map(|table| aligned(table))
        .collect();
    let warnings: String = reports
        .iter()
        .flat_map(Report::warnings)
        .fold(String::new(), |all, warning| all + "! " + &warning + "\n");
    if !warnings.is_empty() {
        parts.push(warnings);
    }
    parts.join("\n")
}

fn row(cells: &[&str]) -> Vec<String> {
    cells.iter().map(|cell| (*cell).to_owned()).collect()
}

fn dash() -> String {
    "-".to_owned()
}

fn mebibytes(kib: u64) -> String {
    format!("{:.1}", super::figures::real(kib) / 1024.0)
}

/// Aligns the first column to the left and the others to the right.
fn aligned(table: &[Vec<String>]) -> String {
    let columns = table.first().map_or(0, Vec::len);
    let widths: Vec<usize> = (0..columns)
        .map(|column| table.iter().map(|row| row[column].len()).max().unwrap_or(0))
        .collect();
    let mut out = String::new();
    for row in table {
        for (i, (cell, width)) in row.iter().zip(&widths).enumerate() {
            let gap = " ".repeat(width - cell.len());
            let parts = if i == 0 {
                ["", cell, &gap]
            } else {
                ["  ", &gap, cell]
            };
            out.extend(parts);
        }
        out.push('\n');
    }
    out
}

#[cfg(test)]
#[path = "report_tests.rs"]
mod tests;
