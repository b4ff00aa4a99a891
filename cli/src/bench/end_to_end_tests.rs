//! The benchmark against a broker of a few lines that can misbehave.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use super::plan::tests::typed;
use super::*;
use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::thread;

/// The fault of the broker.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fault {
    None,
    /// Delivers every hundredth message to nobody.
    Loses,
    /// Delivers every hundredth message twice.
    Repeats,
    /// Answers CONNECT with code 5.
    RefusesConnect,
    /// Answers SUBSCRIBE with 0x80.
    RefusesSubscribe,
}

#[derive(Default)]
struct Topics(Mutex<HashMap<Vec<u8>, Vec<TcpStream>>>);

struct Broker {
    fault: Fault,
    v5: bool,
    topics: Topics,
    published: AtomicU64,
}

fn broker(fault: Fault, v5: bool) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let broker = Arc::new(Broker {
        fault,
        v5,
        topics: Topics::default(),
        published: AtomicU64::new(0),
    });
    // The listening thread ends with the test's process, and each connection's with its socket.
    thread::spawn(move || {
        for socket in listener.incoming().flatten() {
            let broker = Arc::clone(&broker);
            thread::spawn(move || broker.serve(socket));
        }
    });
    address
}

/// First byte and body of the next packet.
fn read_packet(socket: &mut TcpStream) -> Option<(u8, Vec<u8>)> {
    let mut byte = [0];
    socket.read_exact(&mut byte).ok()?;
    let first = byte[0];
    let (mut length, mut shift) = (0, 0);
    loop {
        socket.read_exact(&mut byte).ok()?;
        length |= usize::from(byte[0] & 0x7F) << shift;
        shift += 7;
        if byte[0] & 0x80 == 0 {
            break;
        }
    }
    let mut body = vec![0; length];
    socket.read_exact(&mut body).ok()?;
    Some((first, body))
}

fn text(bytes: &[u8]) -> &[u8] {
    &bytes[2..2 + usize::from(u16::from_be_bytes([bytes[0], bytes[1]]))]
}

impl Broker {
    fn serve(&self, mut socket: TcpStream) {
        socket.set_nodelay(true).unwrap();
        while let Some((first, body)) = read_packet(&mut socket) {
            let answer = match first >> 4 {
                1 => {
                    let code = if self.fault == Fault::RefusesConnect {
                        5
                    } else {
                        0
                    };
                    if self.v5 {
                        vec![0x20, 3, 0, code, 0]
                    } else {
                        vec![0x20, 2, 0, code]
                    }
                }
                8 => self.subscribe(&socket, &body),
                3 => self.publish(first, &body),
                _ => Vec::new(),
            };
            if socket.write_all(&answer).is_err() {
                return;
            }
        }
    }

    fn subscribe(&self, socket: &TcpStream, body: &[u8]) -> Vec<u8> {
        let properties = usize::from(self.v5);
        let mut rest = &body[2 + properties..];
        let mut codes = Vec::new();
        while !rest.is_empty() {
            let filter = text(rest).to_vec();
            rest = &rest[filter.len() + 3..];
            let mut topics = self.topics.0.lock().unwrap();
            topics
                .entry(filter)
                .or_default()
                .push(socket.try_clone().unwrap());
            codes.push(if self.fault == Fault::RefusesSubscribe {
                0x80
            } else {
                0
            });
        }
        let mut out = vec![
            0x90,
            u8::try_from(2 + properties + codes.len()).unwrap(),
            body[0],
            body[1],
        ];
        out.extend(std::iter::repeat_n(0, properties));
        out.extend(codes);
        out
    }

    fn publish(&self, first: u8, body: &[u8]) -> Vec<u8> {
        let topic = text(body);
        let acknowledged = first & 0x06 != 0;
        let mut frame = vec![first];
        let mut length = body.len();
        while length > 0x7F {
            frame.push(u8::try_from(length & 0x7F).unwrap() | 0x80);
            length >>= 7;
        }
        frame.push(u8::try_from(length).unwrap());
        frame.extend_from_slice(body);
        let hundredth = self.published.fetch_add(1, Relaxed) % 100 == 99;
        let copies = match self.fault {
            Fault::Loses if hundredth => 0,
            Fault::Repeats if hundredth => 2,
            _ => 1,
        };
        // Locked during the writes, so that a topic has one order.
        let mut topics = self.topics.0.lock().unwrap();
        for socket in topics.get_mut(topic).into_iter().flatten() {
            for _ in 0..copies {
                let _ = socket.write_all(&frame);
            }
        }
        drop(topics);
        if !acknowledged {
            return Vec::new();
        }
        let id = 2 + topic.len();
        vec![0x40, 2, body[id], body[id + 1]]
    }
}

fn bench(server: SocketAddr, words: &[&str]) -> anyhow::Result<Vec<Report>> {
    let server = server.to_string();
    let mut all = vec!["--server", &server];
    all.extend_from_slice(words);
    let plan = Plan::new(typed(&all))?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    LocalSet::new().block_on(&runtime, run_scenarios(&plan))
}

fn bench_load(server: SocketAddr, words: &[&str]) -> report::LoadReport {
    match bench(server, words).unwrap().remove(0) {
        Report::Load(load) => *load,
        Report::Storm(_) => panic!("a storm"),
    }
}

#[test]
fn a_fan_out_arrives_complete_and_in_order() {
    for (version, v5) in [("3", false), ("5", true)] {
        for qos in ["0", "1"] {
            let words = [
                "fanout",
                "--rooms",
                "3",
                "--members",
                "4",
                "--publishers",
                "2",
                "--messages",
                "200",
                "--protocol",
                version,
                "--qos",
                qos,
            ];
            let report = bench_load(broker(Fault::None, v5), &words);
            assert_eq!(
                (report.owed, report.delivered),
                (3 * 2 * 200 * 4, 3 * 2 * 200 * 4),
                "{report:?}"
            );
            let wrong = report.lost
                + report.extra
                + report.out_of_order
                + report.corrupt
                + report.unacknowledged;
            assert_eq!(
                (wrong, report.stalls, report.closed_connections),
                (0, 0, 0),
                "{report:?}"
            );
            assert!(report.latency_us.count == report.delivered && report.latency_us.max > 0.0);
        }
    }
}

#[test]
fn a_loss_is_counted_exactly_and_does_not_stop_the_run() {
    // Of 2 rooms x 150 messages, three are lost to 2 members each.
    let words = [
        "fanout",
        "--rooms",
        "2",
        "--members",
        "2",
        "--messages",
        "150",
        "--qos",
        "1",
    ];
    let report = bench_load(broker(Fault::Loses, false), &words);
    assert_eq!(
        (report.lost, report.owed),
        (3 * 2, 2 * 150 * 2),
        "{report:?}"
    );
    assert_eq!(Report::Load(Box::new(report)).lost_at_qos_1(), 6);
}

#[test]
fn a_repeated_message_is_out_of_order_and_extra() {
    let words = ["fanout", "--members", "2", "--messages", "250"];
    let report = bench_load(broker(Fault::Repeats, false), &words);
    assert_eq!(
        (report.out_of_order, report.extra, report.lost),
        (4, 4, 0),
        "{report:?}"
    );
}

#[test]
fn a_paced_run_keeps_its_rate() {
    let words = [
        "paced",
        "--members",
        "3",
        "--rate",
        "200",
        "--seconds",
        "0.5",
        "--qos",
        "1",
    ];
    let report = bench_load(broker(Fault::None, false), &words);
    assert_eq!(
        (report.lost, report.out_of_order, report.unacknowledged),
        (0, 0, 0),
        "{report:?}"
    );
    // A busy machine may be late, but never early.
    assert!(
        report.published_per_s > 50.0 && report.published_per_s < 260.0,
        "{report:?}"
    );
    assert!(report.pacer_lag_us.unwrap().count > 50);
}

#[test]
fn many_rooms_on_few_connections_get_messages_in_turn() {
    let words = [
        "rooms",
        "--rooms",
        "25",
        "--rooms-per-connection",
        "10",
        "--seconds",
        "0.3",
    ];
    let report = bench_load(
        broker(Fault::None, true),
        &[&words[..], &["--protocol", "5"]].concat(),
    );
    assert!(report.delivered > 25, "{report:?}");
    assert_eq!(
        (report.lost, report.out_of_order, report.corrupt),
        (0, 0, 0),
        "{report:?}"
    );
}

#[test]
fn a_connect_storm_counts_connections_and_failures() {
    let words = ["connect", "--clients", "150", "--seconds", "0.1"];
    let Report::Storm(storm) = bench(broker(Fault::None, false), &words).unwrap().remove(0) else {
        panic!("no storm")
    };
    assert_eq!(
        (storm.connected, storm.failed, storm.connect_us.count),
        (150, 0, 150)
    );
    let Report::Storm(storm) = bench(broker(Fault::RefusesConnect, false), &words)
        .unwrap()
        .remove(0)
    else {
        panic!("no storm")
    };
    assert_eq!((storm.connected, storm.failed), (0, 150));
    assert!(storm.first_failure.unwrap().contains("0x05"));
}

#[test]
fn refusals_and_an_absent_server_are_errors() {
    let error = bench(broker(Fault::RefusesConnect, false), &["fanout"])
        .unwrap_err()
        .to_string();
    assert!(error.contains("0x05"), "{error}");
    let error = bench(broker(Fault::RefusesSubscribe, false), &["paced"])
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("rooms/bench-") && error.contains("0x80"),
        "{error}"
    );
    let gone = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let error = bench(gone, &["rooms"]).unwrap_err().to_string();
    assert!(error.contains("no broker at"), "{error}");
}

#[test]
fn too_many_connections_for_the_machine_are_refused_with_advice() {
    let plan = Plan::new(typed(&["rooms", "--rooms", "1000000", "--members", "1000"])).unwrap();
    assert_eq!(plan.connections(), 1_000_000_001);
    if getrlimit(Resource::Nofile)
        .maximum
        .is_some_and(|maximum| maximum < 1_000_000_000)
    {
        let error = raise_descriptor_limit(plan.connections())
            .unwrap_err()
            .to_string();
        assert!(error.contains("--rooms-per-connection"), "{error}");
    }
}
