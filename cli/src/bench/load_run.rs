//! One measured run: opens connections, runs the load, and makes a report from the counters.

use super::client::{ClientSpec, OpenConnection};
use super::counters::RunCounters;
use super::figures::{a_second, real, thousandths, wide};
use super::flow::FlowControl;
use super::member::{MemberTask, PublisherStream};
use super::pacer::{Pacer, PacerResult};
use super::plan::{LoadShape, Plan};
use super::process::{self, ProcessUsage};
use super::progress::ProgressLine;
use super::publisher::{PublishTarget, PublisherTask};
use super::report::{LoadReport, Report};
use super::stream::{self, ReadBuffer, StreamWriter};
use super::wire::DISCONNECT;
use std::io::Write;
use std::rc::Rc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};
use tokio::task::JoinSet;
use tokio::time::sleep;

/// Deliveries that are missing count as lost if none arrives for this time.
const QUIET: Duration = Duration::from_secs(2);
/// A run with a number of messages ends if nothing arrives for this time.
const DEAD: Duration = Duration::from_secs(10);
/// The pause after connecting. A TCP receiver that has just sent data delays its acknowledgements
/// by up to 200 ms, and a server with Nagle's algorithm waits for them. The pause ends that, as in
/// real use.
const SETTLE: Duration = Duration::from_millis(300);
/// The longest wait for late deliveries.
const LONGEST_DRAIN: Duration = Duration::from_secs(30);

/// A run. Add members, publishers or a pacer, then call [`LoadRun::run`].
pub struct LoadRun<'a> {
    /// The plan.
    pub plan: &'a Plan,
    /// The counters.
    pub counters: Rc<RunCounters>,
    /// The progress line.
    pub progress: &'a ProgressLine,
    name: &'static str,
    first: Option<ProcessUsage>,
    read_buffer: ReadBuffer,
    tasks: JoinSet<()>,
    writers: Vec<Rc<StreamWriter>>,
    flows: Vec<Rc<FlowControl>>,
    pacer: Option<(Pacer, u64)>,
}

/// The counters at one moment.
struct Sample {
    at: Instant,
    server: Option<ProcessUsage>,
    own: Option<ProcessUsage>,
    sent: u64,
    delivered: u64,
}

/// What was sent until now.
struct SendTotals {
    messages: u64,
    owed: u64,
    acked: u64,
}

impl<'a> LoadRun<'a> {
    /// Begins a run. It reads the server's usage before the first connection.
    ///
    /// # Errors
    /// There is no such process as `plan.asked.pid`.
    pub fn new(
        name: &'static str,
        plan: &'a Plan,
        progress: &'a ProgressLine,
    ) -> anyhow::Result<LoadRun<'a>> {
        Ok(LoadRun {
            plan,
            counters: Rc::new(RunCounters::default()),
            progress,
            name,
            first: plan.asked.pid.map(process::sample).transpose()?,
            read_buffer: stream::read_buffer(),
            tasks: JoinSet::new(),
            writers: Vec::new(),
            flows: Vec::new(),
            pacer: None,
        })
    }

    /// Opens all connections.
    ///
    /// # Errors
    /// A connection fails or is refused.
    pub async fn open(
        &self,
        what: &'static str,
        specs: Vec<ClientSpec>,
    ) -> anyhow::Result<Vec<OpenConnection>> {
        let (shown, all) = (
            format!("{}: connecting {what}", self.name),
            wide(specs.len()),
        );
        let tick = |done| self.progress.count(&shown, done, all);
        let opened = self.plan.dialer.open_all(specs, false, tick).await?;
        sleep(SETTLE).await;
        Ok(opened.connections)
    }

    /// Starts to read from a member.
    pub fn add_member(&mut self, connection: OpenConnection, streams: Vec<PublisherStream>) {
        let (reader, writer) = connection.stream.split();
        let writer = Rc::new(writer);
        self.writers.push(Rc::clone(&writer));
        let member = MemberTask::new(Rc::clone(&self.counters), self.plan.dialer.version, streams);
        let read_buffer = Rc::clone(&self.read_buffer);
        self.tasks
            .spawn_local(member.run(connection.unread, reader, writer, read_buffer));
    }

    /// Starts a publisher. It sends from [`LoadRun::run`] on.
    pub fn add_publisher(
        &mut self,
        connection: OpenConnection,
        flow: Rc<FlowControl>,
        targets: Vec<PublishTarget>,
    ) {
        let (reader, writer) = connection.stream.split();
        let writer = Rc::new(writer);
        self.writers.push(Rc::clone(&writer));
        self.flows.push(Rc::clone(&flow));
        let publisher = PublisherTask {
            counters: Rc::clone(&self.counters),
            flow,
            version: self.plan.dialer.version,
            targets,
        };
        let read_buffer = Rc::clone(&self.read_buffer);
        self.tasks
            .spawn_local(publisher.run(connection.unread, reader, writer, read_buffer));
    }

    /// Sets a running pacer. Each of its messages becomes `copies` deliveries.
    pub fn set_pacer(&mut self, pacer: Pacer, copies: u64) {
        self.pacer = Some((pacer, copies));
    }

    /// Warms up, measures, stops, waits for late deliveries, and closes all connections in order.
    ///
    /// # Errors
    /// The server's process has ended.
    pub async fn run(mut self, shape: LoadShape) -> anyhow::Result<Report> {
        let warm_up = Instant::now() + self.plan.warm_up();
        while Instant::now() < warm_up {
            self.progress.text(|| format!("{}: warming up", self.name));
            sleep(Duration::from_millis(50).min(warm_up - Instant::now())).await;
        }
        self.counters.measuring.set(true);
        let from = self.mark()?;
        self.hold(&from).await;
        let to = self.mark()?;
        self.counters.measuring.set(false);
        self.counters.stopped.set(true);
        let ended = self.pacer.as_mut().and_then(|(pacer, _)| pacer.stop());
        self.drain().await;
        let last = self.plan.asked.pid.map(process::sample).transpose()?;
        let report = self.report(shape, &from, &to, last, ended.as_ref());
        self.close(ended).await;
        Ok(Report::Load(Box::new(report)))
    }

    /// Waits for the end of the measured time, or for the last message.
    async fn hold(&self, from: &Sample) {
        let counted = self.plan.messages.is_some() && self.pacer.is_none();
        let grain = Duration::from_millis(if counted { 2 } else { 50 });
        let (mut seen, mut since) = (from.delivered, from.at);
        loop {
            let delivered = self.counters.delivered.get();
            let elapsed = from.at.elapsed();
            self.progress.text(|| {
                let rate = a_second(delivered - from.delivered, elapsed.as_secs_f64());
                let rate = super::figures::grouped_real(rate);
                let now = elapsed.as_secs_f64();
                let end = if counted {
                    String::new()
                } else {
                    format!(" of {:.1}", self.plan.measured.as_secs_f64())
                };
                format!("{}: {now:.1}{end} s, {rate} deliveries a second", self.name)
            });
            if delivered != seen {
                (seen, since) = (delivered, Instant::now());
            }
            let over = if counted {
                self.flows.iter().all(|flow| flow.is_done()) || since.elapsed() > DEAD
            } else {
                elapsed >= self.plan.measured
            };
            if over
                || self
                    .pacer
                    .as_ref()
                    .is_some_and(|(pacer, _)| pacer.has_failed())
            {
                return;
            }
            let left = self.plan.measured.saturating_sub(elapsed);
            sleep(if counted { grain } else { grain.min(left) }).await;
        }
    }

    async fn drain(&self) {
        let start = Instant::now();
        let (mut seen, mut since) = (0, start);
        while since.elapsed() < QUIET && start.elapsed() < LONGEST_DRAIN {
            let (sent, delivered) = (self.sent(), self.counters.delivered.get());
            let acknowledged = self.plan.dialer.qos == 0 || sent.acked >= sent.messages;
            if delivered >= sent.owed && acknowledged {
                // A short wait for deliveries that were not expected.
                sleep(Duration::from_millis(20)).await;
                return;
            }
            if delivered + sent.acked != seen {
                (seen, since) = (delivered + sent.acked, Instant::now());
            }
            self.progress
                .text(|| format!("{}: waiting for the last deliveries", self.name));
            sleep(Duration::from_millis(5)).await;
        }
    }

    fn sent(&self) -> SendTotals {
        if let Some((pacer, copies)) = &self.pacer {
            let messages = pacer.shared.sent.load(Relaxed);
            return SendTotals {
                messages,
                owed: messages * copies,
                acked: pacer.shared.acked.load(Relaxed),
            };
        }
        SendTotals {
            messages: self.flows.iter().map(|flow| flow.sent.get()).sum(),
            owed: self.flows.iter().map(|flow| flow.owed()).sum(),
            acked: self.flows.iter().map(|flow| flow.acked.get()).sum(),
        }
    }

    fn mark(&self) -> anyhow::Result<Sample> {
        Ok(Sample {
            server: self.plan.asked.pid.map(process::sample).transpose()?,
            own: process::sample(std::process::id()).ok(),
            at: Instant::now(),
            sent: self.sent().messages,
            delivered: self.counters.delivered.get(),
        })
    }

    fn report(
        &self,
        shape: LoadShape,
        from: &Sample,
        to: &Sample,
        last: Option<ProcessUsage>,
        ended: Option<&PacerResult>,
    ) -> LoadReport {
        let counters = &self.counters;
        let time = to.at - from.at;
        let seconds = time.as_secs_f64();
        let (sent, delivered) = (self.sent(), counters.delivered.get());
        let measured = to.delivered - from.delivered;
        if let Some(error) = ended.and_then(|ended| ended.failure.as_ref()) {
            counters.connection_lost("publisher", &error.to_string());
        }
        let server = match (self.first, from.server, to.server, last) {
            (Some(first), Some(from), Some(to), Some(last)) => {
                let to = ProcessUsage {
                    cpu_us: to.cpu_us,
                    ..last
                };
                Some(process::cost(first, from, to, time, measured))
            }
            _ => None,
        };
        let own = from
            .own
            .zip(to.own)
            .map(|(from, to)| to.cpu_us.saturating_sub(from.cpu_us));
        LoadReport {
            scenario: self.name,
            rooms: shape.rooms,
            members: shape.members,
            publishers: shape.publishers,
            qos: self.plan.dialer.qos,
            payload_bytes: self.plan.payload,
            seconds: thousandths(seconds),
            published_per_s: a_second(to.sent - from.sent, seconds),
            delivered_per_s: a_second(measured, seconds),
            owed: sent.owed,
            delivered,
            lost: sent.owed.saturating_sub(delivered),
            extra: delivered.saturating_sub(sent.owed),
            out_of_order: counters.out_of_order.get(),
            corrupt: counters.corrupt.get(),
            unacknowledged: if self.plan.dialer.qos == 0 {
                0
            } else {
                sent.messages.saturating_sub(sent.acked)
            },
            refused: counters.refused.get()
                + self
                    .pacer
                    .as_ref()
                    .map_or(0, |(pacer, _)| pacer.shared.refused.load(Relaxed)),
            stalls: counters.stalls.get(),
            closed_connections: counters.closed.get(),
            first_failure: counters.first_failure.borrow().clone(),
            latency_us: counters.latency.borrow().percentiles(),
            pacer_lag_us: ended.map(|ended| ended.lag.percentiles()),
            server,
            generator_cores: own.map(|cpu_us| thousandths(real(cpu_us) / 1e6 / seconds)),
        }
    }

    /// Sends DISCONNECT everywhere, so that the server reports no member as lost.
    async fn close(mut self, ended: Option<PacerResult>) {
        for writer in &self.writers {
            // A connection with a full socket ends without DISCONNECT.
            writer.offer(&DISCONNECT);
        }
        if let Some(mut ended) = ended {
            for sender in &mut ended.senders {
                let _ = sender.socket.write(&DISCONNECT);
            }
        }
        self.tasks.shutdown().await;
        self.progress.clear();
    }
}
