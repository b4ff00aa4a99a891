//! One measured run: connections come in, load runs, counters become a report.

use super::board::{Board, Flow};
use super::client::{Connection, Opened, Seat};
use super::figures::{a_second, real, thousandths, wide};
use super::member::{Member, Stream};
use super::pacer::{Ended, Pacer};
use super::plan::{Plan, Shape};
use super::process::{self, Usage};
use super::progress::Progress;
use super::publisher::{Publisher, Target};
use super::report::LoadReport;
use super::stream::{self, Scratch, Writer};
use super::wire::DISCONNECT;
use std::io::Write;
use std::rc::Rc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};
use tokio::task::JoinSet;
use tokio::time::sleep;

/// Without a further delivery for so long, the rest is lost.
const QUIET: Duration = Duration::from_secs(2);
/// A run with a number of messages ends when nothing arrives for so long.
const DEAD: Duration = Duration::from_secs(10);
/// After connecting. A TCP receiver that has just answered delays its acknowledgements, and a server that
/// leaves Nagle's algorithm on then waits for them; a pause beyond TCP's 200 ms ends that, as in real life.
const SETTLE: Duration = Duration::from_millis(300);
/// The longest that late deliveries are waited for.
const LONGEST_DRAIN: Duration = Duration::from_secs(30);

/// A run under construction, then under way.
pub struct Trial<'a> {
    /// What to do.
    pub plan: &'a Plan,
    /// The counters.
    pub board: Rc<Board>,
    /// Where to say what is going on.
    pub progress: &'a Rc<Progress>,
    name: &'static str,
    first: Option<Usage>,
    scratch: Scratch,
    tasks: JoinSet<()>,
    writers: Vec<Rc<Writer>>,
    flows: Vec<Rc<Flow>>,
    pacer: Option<(Pacer, u64)>,
}

struct Mark {
    at: Instant,
    server: Option<Usage>,
    own: Option<Usage>,
    sent: u64,
    delivered: u64,
}

struct Sent {
    messages: u64,
    owed: u64,
    acked: u64,
}

impl<'a> Trial<'a> {
    /// Begins a run; takes the server's usage before the first connection.
    ///
    /// # Errors
    /// There is no such process as `plan.asked.pid`.
    pub fn new(
        name: &'static str,
        plan: &'a Plan,
        progress: &'a Rc<Progress>,
    ) -> anyhow::Result<Trial<'a>> {
        Ok(Trial {
            plan,
            board: Rc::new(Board::new()),
            progress,
            name,
            first: plan.asked.pid.map(process::sample).transpose()?,
            scratch: stream::scratch(),
            tasks: JoinSet::new(),
            writers: Vec::new(),
            flows: Vec::new(),
            pacer: None,
        })
    }

    /// Connects all seats, or says why the first failed.
    ///
    /// # Errors
    /// A connection fails or is refused.
    pub async fn open(
        &self,
        what: &'static str,
        seats: Vec<Seat>,
    ) -> anyhow::Result<Vec<Connection>> {
        let (progress, all, name) = (Rc::clone(self.progress), wide(seats.len()), self.name);
        let tick = move |done| progress.count(&format!("{name}: connecting {what}"), done, all);
        let opened: Opened = self.plan.dialer.open_all(seats, false, tick).await?;
        sleep(SETTLE).await;
        Ok(opened.connections)
    }

    /// Starts to read from a member.
    pub fn add_member(&mut self, connection: Connection, streams: Vec<Stream>) {
        let (reader, writer) = connection.stream.split();
        let writer = Rc::new(writer);
        self.writers.push(Rc::clone(&writer));
        let member = Member::new(Rc::clone(&self.board), self.plan.dialer.version, streams);
        let scratch = Rc::clone(&self.scratch);
        self.tasks
            .spawn_local(member.run(connection.unread, reader, writer, scratch));
    }

    /// Starts a publisher. It gets its first turn in [`Trial::run`].
    pub fn add_publisher(&mut self, connection: Connection, flow: Rc<Flow>, targets: Vec<Target>) {
        let (reader, writer) = connection.stream.split();
        let writer = Rc::new(writer);
        self.writers.push(Rc::clone(&writer));
        self.flows.push(Rc::clone(&flow));
        let publisher = Publisher {
            board: Rc::clone(&self.board),
            flow,
            version: self.plan.dialer.version,
            targets,
        };
        let scratch = Rc::clone(&self.scratch);
        self.tasks
            .spawn_local(publisher.run(connection.unread, reader, writer, scratch));
    }

    /// Takes a running pacer, each of whose messages becomes `copies` deliveries.
    pub fn set_pacer(&mut self, pacer: Pacer, copies: u64) {
        self.pacer = Some((pacer, copies));
    }

    /// Warm-up, measured part, stop, drain; then closes every connection in order.
    ///
    /// # Errors
    /// The server's process has gone.
    pub async fn run(mut self, shape: Shape) -> anyhow::Result<LoadReport> {
        let warm_up = Instant::now() + self.plan.warm_up();
        while Instant::now() < warm_up {
            self.progress.text(|| format!("{}: warming up", self.name));
            sleep(Duration::from_millis(50).min(warm_up - Instant::now())).await;
        }
        self.board.measuring.set(true);
        let from = self.mark()?;
        self.hold(&from).await;
        let to = self.mark()?;
        self.board.measuring.set(false);
        self.board.stopped.set(true);
        let ended = self.pacer.as_mut().and_then(|(pacer, _)| pacer.stop());
        self.drain().await;
        let last = self.plan.asked.pid.map(process::sample).transpose()?;
        let report = self.report(shape, &from, &to, last, ended.as_ref());
        self.close(ended).await;
        Ok(report)
    }

    /// Waits for the end of the measured time, or of the messages.
    async fn hold(&self, from: &Mark) {
        let counted = self.plan.messages.is_some() && self.pacer.is_none();
        let grain = Duration::from_millis(if counted { 2 } else { 50 });
        let (mut seen, mut since) = (from.delivered, from.at);
        loop {
            let delivered = self.board.delivered.get();
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
            let (sent, delivered) = (self.sent(), self.board.delivered.get());
            let acknowledged = self.plan.dialer.qos == 0 || sent.acked >= sent.messages;
            if delivered >= sent.owed && acknowledged {
                // One more look, for what comes though it was not due.
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

    fn sent(&self) -> Sent {
        if let Some((pacer, copies)) = &self.pacer {
            let messages = pacer.shared.sent.load(Relaxed);
            return Sent {
                messages,
                owed: messages * copies,
                acked: pacer.shared.acked.load(Relaxed),
            };
        }
        Sent {
            messages: self.flows.iter().map(|flow| flow.sent.get()).sum(),
            owed: self.flows.iter().map(|flow| flow.owed()).sum(),
            acked: self.flows.iter().map(|flow| flow.acked.get()).sum(),
        }
    }

    fn mark(&self) -> anyhow::Result<Mark> {
        Ok(Mark {
            server: self.plan.asked.pid.map(process::sample).transpose()?,
            own: process::sample(std::process::id()).ok(),
            at: Instant::now(),
            sent: self.sent().messages,
            delivered: self.board.delivered.get(),
        })
    }

    fn report(
        &self,
        shape: Shape,
        from: &Mark,
        to: &Mark,
        last: Option<Usage>,
        ended: Option<&Ended>,
    ) -> LoadReport {
        let board = &self.board;
        let time = to.at - from.at;
        let seconds = time.as_secs_f64();
        let (sent, delivered) = (self.sent(), board.delivered.get());
        let measured = to.delivered - from.delivered;
        if let Some(error) = ended.and_then(|ended| ended.failure.as_ref()) {
            board.connection_lost("publisher", &error.to_string());
        }
        let server = match (self.first, from.server, to.server, last) {
            (Some(first), Some(from), Some(to), Some(last)) => {
                let to = Usage {
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
            out_of_order: board.out_of_order.get(),
            corrupt: board.corrupt.get(),
            unacknowledged: if self.plan.dialer.qos == 0 {
                0
            } else {
                sent.messages.saturating_sub(sent.acked)
            },
            refused: board.refused.get()
                + self
                    .pacer
                    .as_ref()
                    .map_or(0, |(pacer, _)| pacer.shared.refused.load(Relaxed)),
            stalls: board.stalls.get(),
            closed_connections: board.closed.get(),
            first_failure: board.first_failure.borrow().clone(),
            latency_us: board.latency.borrow().percentiles(),
            pacer_lag_us: ended.map(|ended| ended.lag.percentiles()),
            server,
            generator_cores: own.map(|cpu_us| thousandths(real(cpu_us) / 1e6 / seconds)),
        }
    }

    /// An orderly end, so that the server has nobody to announce as lost.
    async fn close(mut self, ended: Option<Ended>) {
        for writer in &self.writers {
            // What does not fit into a full socket ends without a goodbye.
            writer.offer(&DISCONNECT);
        }
        if let Some(mut ended) = ended {
            for socket in ended.sockets() {
                let _ = socket.write(&DISCONNECT);
            }
        }
        self.tasks.shutdown().await;
        self.progress.clear();
    }
}
