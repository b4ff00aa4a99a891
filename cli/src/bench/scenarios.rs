//! The scenarios: which clients connect, and what they send.

use super::client::OpenConnection;
use super::figures::{a_second, real, thousandths, wide};
use super::flow::FlowControl;
use super::load_run::LoadRun;
use super::member::PublisherStream;
use super::pacer::{PacedSender, Pacer};
use super::plan::{LoadShape, Plan};
use super::process::{self, ProcessUsage};
use super::progress::ProgressLine;
use super::publisher::{PublishTarget, allowed_window};
use super::report::{Report, StormReport};
use super::wire::{DISCONNECT, PublishTemplate};
use std::rc::Rc;
use std::time::Duration;
use tokio::time::sleep;

/// The pause after a connect storm before the server counts as idle.
const SETTLE: Duration = Duration::from_millis(500);

/// Publishers to rooms, as fast as their windows allow.
pub async fn fanout(
    plan: &Plan,
    shape: LoadShape,
    progress: &ProgressLine,
) -> anyhow::Result<Report> {
    let mut run = LoadRun::new("fanout", plan, progress)?;
    let (members, publishers) = open_rooms(&run, shape).await?;
    let qos = plan.dialer.qos;
    let flows: Vec<Rc<FlowControl>> = publishers
        .iter()
        .map(|connection| {
            let window = allowed_window(plan.asked.window, qos, connection);
            Rc::new(FlowControl::new(
                window,
                u64::from(shape.members),
                qos,
                plan.messages,
            ))
        })
        .collect();
    let a_room = flows.chunks(shape.publishers as usize);
    for (connection, flows) in members.into_iter().zip(for_each_member(a_room, shape)) {
        let streams = flows
            .iter()
            .map(|flow| PublisherStream::new(Some(Rc::clone(flow))))
            .collect();
        run.add_member(connection, streams);
    }
    for ((connection, flow), (room, stream)) in
        publishers.into_iter().zip(&flows).zip(streams(shape))
    {
        let template = template(plan, room);
        run.add_publisher(
            connection,
            Rc::clone(flow),
            vec![PublishTarget { template, stream }],
        );
    }
    run.run(shape).await
}

/// Publishers to rooms at a fixed rate.
pub async fn paced(
    plan: &Plan,
    shape: LoadShape,
    progress: &ProgressLine,
) -> anyhow::Result<Report> {
    let mut run = LoadRun::new("paced", plan, progress)?;
    let (members, publishers) = open_rooms(&run, shape).await?;
    for connection in members {
        let streams = (0..shape.publishers)
            .map(|_| PublisherStream::new(None))
            .collect();
        run.add_member(connection, streams);
    }
    let mut senders = Vec::new();
    for (connection, (room, stream)) in publishers.into_iter().zip(streams(shape)) {
        senders.push(PacedSender {
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
        run.counters.clock,
    )?;
    run.set_pacer(pacer, u64::from(shape.members));
    run.run(shape).await
}

/// One publisher to many rooms in turn. A connection joins `together` of them.
pub async fn rooms(
    plan: &Plan,
    shape: LoadShape,
    together: u32,
    progress: &ProgressLine,
) -> anyhow::Result<Report> {
    let mut run = LoadRun::new("rooms", plan, progress)?;
    let starts = || (0..shape.rooms).step_by(together as usize);
    let joined = |start: u32| start..shape.rooms.min(start + together);
    let specs = for_each_member(starts(), shape)
        .enumerate()
        .map(|(number, start)| plan.client(number, joined(start)))
        .collect();
    let members = run.open("members", specs).await?;
    let spec = plan.client(members.len(), []);
    let publisher = run.open("the publisher", vec![spec]).await?.pop();
    let Some(publisher) = publisher else {
        anyhow::bail!("the publisher did not connect");
    };
    let qos = plan.dialer.qos;
    let window = allowed_window(plan.asked.window, qos, &publisher);
    let flow = Rc::new(FlowControl::new(
        window,
        u64::from(shape.members),
        qos,
        None,
    ));
    for (connection, start) in members.into_iter().zip(for_each_member(starts(), shape)) {
        let streams = joined(start)
            .map(|_| PublisherStream::new(Some(Rc::clone(&flow))))
            .collect();
        run.add_member(connection, streams);
    }
    let targets = (0..shape.rooms)
        .map(|room| PublishTarget {
            template: template(plan, room),
            stream: room % together,
        })
        .collect();
    run.add_publisher(publisher, flow, targets);
    run.run(shape).await
}

/// Clients connect and subscribe to a room each, then stay idle.
pub async fn connect(plan: &Plan, clients: u32, progress: &ProgressLine) -> anyhow::Result<Report> {
    let usage = || plan.asked.pid.map(process::sample).transpose();
    let specs = (0..clients as usize)
        .zip(0..clients)
        .map(|(number, room)| plan.client(number, [room]))
        .collect();
    let before = usage()?;
    let tick = |done| progress.count("connect", done, u64::from(clients));
    let opened = plan.dialer.open_all(specs, true, tick).await?;
    let after = usage()?;
    progress.text(|| "connect: settling".to_owned());
    sleep(SETTLE).await;
    let (idle_from, idle_time) = (usage()?, plan.measured.min(Duration::from_secs(2)));
    sleep(idle_time).await;
    let idle_to = usage()?;
    let connected = wide(opened.connections.len());
    let server = match (before, after, idle_to) {
        (Some(before), Some(after), Some(idle)) => {
            let to = ProcessUsage {
                cpu_us: after.cpu_us,
                ..idle
            };
            Some(process::cost(before, before, to, opened.took, connected))
        }
        _ => None,
    };
    for connection in opened.connections {
        // As at the end of a run: sent only if the socket accepts it.
        let (_reader, writer) = connection.stream.split();
        writer.offer(&DISCONNECT);
    }
    progress.clear();
    Ok(Report::Storm(Box::new(StormReport {
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
    })))
}

fn template(plan: &Plan, room: u32) -> PublishTemplate {
    PublishTemplate::new(
        plan.dialer.version,
        &plan.topic(room),
        plan.dialer.qos,
        plan.payload,
    )
}

/// Connects the members and the publishers. Both are sorted by room.
async fn open_rooms(
    run: &LoadRun<'_>,
    shape: LoadShape,
) -> anyhow::Result<(Vec<OpenConnection>, Vec<OpenConnection>)> {
    let rooms = for_each_member(0..shape.rooms, shape).enumerate();
    let members: Vec<_> = rooms
        .map(|(number, room)| run.plan.client(number, [room]))
        .collect();
    let publishers = streams(shape)
        .zip(members.len()..)
        .map(|(_, number)| run.plan.client(number, []))
        .collect();
    let members = run.open("members", members).await?;
    Ok((members, run.open("publishers", publishers).await?))
}

/// The room and the stream number of each publisher.
fn streams(shape: LoadShape) -> impl Iterator<Item = (u32, u32)> {
    (0..shape.rooms).flat_map(move |room| (0..shape.publishers).map(move |stream| (room, stream)))
}

/// Each item as often as a room has members.
fn for_each_member<T: Clone>(
    items: impl Iterator<Item = T>,
    shape: LoadShape,
) -> impl Iterator<Item = T> {
    items.flat_map(move |item| std::iter::repeat_n(item, shape.members as usize))
}
