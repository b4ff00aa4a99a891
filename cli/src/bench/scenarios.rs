//! The scenarios: who connects where, and who sends what.

use super::board::Flow;
use super::figures::{a_second, real, thousandths, wide};
use super::member::Stream;
use super::pacer::{Pacer, Sender};
use super::plan::{Plan, Shape};
use super::process::{self, Usage};
use super::progress::Progress;
use super::publisher::{Target, allowed_window};
use super::report::{LoadReport, StormReport};
use super::trial::Trial;
use super::wire::{DISCONNECT, Template};
use std::rc::Rc;
use std::time::Duration;
use tokio::time::sleep;

/// After a storm, before the server counts as idle.
const SETTLE: Duration = Duration::from_millis(500);

/// Publishers into rooms, as fast as their windows let.
pub async fn fanout(
    plan: &Plan,
    shape: Shape,
    progress: &Rc<Progress>,
) -> anyhow::Result<LoadReport> {
    let mut trial = Trial::new("fanout", plan, progress)?;
    let members = trial.open("members", member_seats(plan, shape)).await?;
    let publishers = trial
        .open("publishers", publisher_seats(plan, shape, members.len()))
        .await?;
    let qos = plan.dialer.qos;
    let flows: Vec<Rc<Flow>> = publishers
        .iter()
        .map(|connection| {
            let window = allowed_window(plan.asked.window, qos, connection);
            Rc::new(Flow::new(
                window,
                u64::from(shape.members),
                qos,
                plan.messages,
            ))
        })
        .collect();
    let a_room = flows.chunks(shape.publishers as usize);
    for (connection, flows) in members
        .into_iter()
        .zip(a_room.flat_map(|flows| std::iter::repeat_n(flows, shape.members as usize)))
    {
        let streams = flows
            .iter()
            .map(|flow| Stream::new(Some(Rc::clone(flow))))
            .collect();
        trial.add_member(connection, streams);
    }
    let places =
        (0..shape.rooms).flat_map(|room| (0..shape.publishers).map(move |stream| (room, stream)));
    for ((connection, flow), (room, stream)) in publishers.into_iter().zip(&flows).zip(places) {
        let template = template(plan, room);
        trial.add_publisher(
            connection,
            Rc::clone(flow),
            vec![Target { template, stream }],
        );
    }
    trial.run(shape).await
}

/// The same at a fixed rate.
pub async fn paced(
    plan: &Plan,
    shape: Shape,
    progress: &Rc<Progress>,
) -> anyhow::Result<LoadReport> {
    let mut trial = Trial::new("paced", plan, progress)?;
    let members = trial.open("members", member_seats(plan, shape)).await?;
    let publishers = trial
        .open("publishers", publisher_seats(plan, shape, members.len()))
        .await?;
    for connection in members {
        let streams = (0..shape.publishers).map(|_| Stream::new(None)).collect();
        trial.add_member(connection, streams);
    }
    let places =
        (0..shape.rooms).flat_map(|room| (0..shape.publishers).map(move |stream| (room, stream)));
    let mut senders = Vec::new();
    for (connection, (room, stream)) in publishers.into_iter().zip(places) {
        senders.push(Sender {
            socket: connection.stream.into_std()?,
            template: template(plan, room),
            stream,
        });
    }
    let dialer = &plan.dialer;
    let pacer = Pacer::start(
        senders,
        dialer.version,
        dialer.qos,
        plan.asked.rate,
        trial.board.clock,
    )?;
    trial.set_pacer(pacer, u64::from(shape.members));
    trial.run(shape).await
}

/// One publisher going round many rooms; a connection joins `together` of them.
pub async fn rooms(
    plan: &Plan,
    shape: Shape,
    together: u32,
    progress: &Rc<Progress>,
) -> anyhow::Result<LoadReport> {
    let mut trial = Trial::new("rooms", plan, progress)?;
    let starts = || (0..shape.rooms).step_by(together as usize);
    let joined = |start: u32| start..shape.rooms.min(start + together);
    let seats = starts()
        .flat_map(|start| std::iter::repeat_n(start, shape.members as usize))
        .enumerate()
        .map(|(number, start)| plan.seat(number, joined(start)))
        .collect();
    let members = trial.open("members", seats).await?;
    let seat = plan.seat(members.len(), []);
    let publisher = trial.open("the publisher", vec![seat]).await?.pop();
    let Some(publisher) = publisher else {
        anyhow::bail!("the publisher did not connect");
    };
    let qos = plan.dialer.qos;
    let window = allowed_window(plan.asked.window, qos, &publisher);
    let flow = Rc::new(Flow::new(window, u64::from(shape.members), qos, None));
    let starts = starts().flat_map(|start| std::iter::repeat_n(start, shape.members as usize));
    for (connection, start) in members.into_iter().zip(starts) {
        let streams = joined(start)
            .map(|_| Stream::new(Some(Rc::clone(&flow))))
            .collect();
        trial.add_member(connection, streams);
    }
    let targets = (0..shape.rooms)
        .map(|room| Target {
            template: template(plan, room),
            stream: room % together,
        })
        .collect();
    trial.add_publisher(publisher, flow, targets);
    trial.run(shape).await
}

/// Clients connect and subscribe to a room each, then stay idle.
pub async fn connect(
    plan: &Plan,
    clients: u32,
    progress: &Rc<Progress>,
) -> anyhow::Result<StormReport> {
    let usage = || plan.asked.pid.map(process::sample).transpose();
    let seats = (0..clients as usize)
        .zip(0..clients)
        .map(|(number, room)| plan.seat(number, [room]))
        .collect();
    let before = usage()?;
    let shown = Rc::clone(progress);
    let tick = move |done| shown.count("connect", done, u64::from(clients));
    let mut opened = plan.dialer.open_all(seats, true, tick).await?;
    let after = usage()?;
    progress.text(|| "connect: settling".to_owned());
    sleep(SETTLE).await;
    let (idle_from, idle_time) = (usage()?, plan.measured.min(Duration::from_secs(2)));
    sleep(idle_time).await;
    let idle_to = usage()?;
    let connected = wide(opened.connections.len());
    let server = match (before, after, idle_to) {
        (Some(before), Some(after), Some(idle)) => {
            let to = Usage {
                cpu_us: after.cpu_us,
                ..idle
            };
            Some(process::cost(before, before, to, opened.took, connected))
        }
        _ => None,
    };
    for connection in &mut opened.connections {
        // As in a trial's end: orderly where the socket lets it.
        connection.stream.offer(&DISCONNECT);
    }
    progress.clear();
    Ok(StormReport {
        scenario: "connect",
        clients: u64::from(clients),
        connected,
        failed: u64::from(clients) - connected,
        first_failure: opened.first_failure.map(|error| format!("{error:#}")),
        seconds: thousandths(opened.took.as_secs_f64()),
        connects_per_s: a_second(connected, opened.took.as_secs_f64()),
        connect_us: opened.times.percentiles(),
        rss_bytes_per_connection: server.map(|cost| {
            cost.rss_after_kib.saturating_sub(cost.rss_before_kib) * 1024 / connected.max(1)
        }),
        idle_cpu_percent: idle_from.zip(idle_to).map(|(from, to)| {
            let cpu_us = to.cpu_us.saturating_sub(from.cpu_us);
            thousandths(real(cpu_us) / 1e4 / idle_time.as_secs_f64())
        }),
        server,
    })
}

fn template(plan: &Plan, room: u32) -> Template {
    Template::new(
        plan.dialer.version,
        &plan.topic(room),
        plan.dialer.qos,
        plan.payload,
    )
}

/// Room by room, so that a room's members stand together.
fn member_seats(plan: &Plan, shape: Shape) -> Vec<super::client::Seat> {
    (0..shape.rooms)
        .flat_map(|room| std::iter::repeat_n(room, shape.members as usize))
        .enumerate()
        .map(|(number, room)| plan.seat(number, [room]))
        .collect()
}

fn publisher_seats(plan: &Plan, shape: Shape, members: usize) -> Vec<super::client::Seat> {
    let count = shape.rooms as usize * shape.publishers as usize;
    (0..count)
        .map(|number| plan.seat(members + number, []))
        .collect()
}
