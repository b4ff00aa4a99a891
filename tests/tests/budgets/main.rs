//! How long others wait while one client makes the server work: the delay of a quiet pair of clients in a
//! topic of its own, alone and beside an attack.
//!
//! These tests measure time, so each runs alone, and Cargo runs this target by itself. A window is 2 s;
//! `ROOMMQ_TEST_WINDOW=30` makes it 30 s. The figures are printed (`--nocapture`).

#![allow(clippy::unwrap_used, clippy::expect_used)] // test code

use roommq_lane::lane_of;
use roommq_tests::broker::Broker;
use roommq_tests::wire::{Client, Connect, Message, Missing, Subscribe, Value, Version, property};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// What others may wait, at the 99th percentile.
const P99: Duration = Duration::from_millis(20);

/// Attempts: a test beside a build on two cores measures the build.
const ATTEMPTS: usize = 3;

/// From one message of a pair to its next.
const EACH: Duration = Duration::from_millis(5);

/// The server's default.
const LANES: u16 = 16;

/// One test at a time.
static ALONE: Mutex<()> = Mutex::new(());

/// Bytes of one write of an attacker, which is one read of the server.
const WRITE: usize = 64 << 10;

fn window() -> Duration {
    let seconds = std::env::var("ROOMMQ_TEST_WINDOW").ok();
    Duration::from_secs(seconds.map_or(2, |text| text.parse().expect("seconds")))
}

/// A publisher and a subscriber of a quiet topic.
struct Pair {
    publisher: Client,
    subscriber: Client,
    topic: String,
}

impl Pair {
    fn connect(server: SocketAddr, n: usize, topic: String) -> Pair {
        let connect = |role| Connect::v311(&format!("{role}{n}")).to(server);
        // The server's threads take connections in turn.
        let publisher = n.is_multiple_of(2).then(|| connect("early"));
        let mut subscriber = connect("subscriber");
        assert_eq!(subscriber.subscribe(&topic, 0), 0);
        let publisher = publisher.unwrap_or_else(|| connect("late"));
        Pair {
            publisher,
            subscriber,
            topic,
        }
    }

    /// The times from when each message was due to its delivery. So a pause of the server counts for all
    /// messages that were due in it.
    fn delays(&mut self, time: Duration) -> Vec<Duration> {
        let start = Instant::now();
        let mut delays = Vec::new();
        let mut due = start;
        while due < start + time {
            let left = due.saturating_duration_since(Instant::now());
            if !left.is_zero() {
                // Nothing comes: this waits.
                assert_eq!(self.subscriber.poll(left).unwrap_err(), Missing::Late);
            }
            self.publisher
                .start_publish(&Message::new(&self.topic, "x"));
            self.subscriber.message();
            delays.push(due.elapsed());
            due += EACH;
        }
        delays
    }
}

/// p50 and p99 of the delays of all pairs.
fn delays(pairs: &mut [Pair]) -> (Duration, Duration) {
    let mut all: Vec<Duration> = std::thread::scope(|scope| {
        let running: Vec<_> = pairs
            .iter_mut()
            .map(|pair| scope.spawn(|| pair.delays(window())))
            .collect();
        running
            .into_iter()
            .flat_map(|r| r.join().unwrap())
            .collect()
    });
    all.sort_unstable();
    (all[all.len() / 2], all[all.len() * 99 / 100])
}

/// Clients that write the same bytes for ever, as fast as the server reads.
struct Attack {
    over: Arc<AtomicBool>,
    writers: Vec<JoinHandle<()>>,
    _idle: Vec<Client>,
}

struct Attackers {
    /// Each writes the bytes.
    clients: Vec<Client>,
    bytes: Vec<u8>,
    /// They write and read nothing.
    idle: Vec<Client>,
}

impl Attack {
    fn start(attackers: Attackers) -> Attack {
        let Attackers {
            clients,
            bytes,
            idle,
        } = attackers;
        let over = Arc::<AtomicBool>::default();
        let start = |mut client: Client| {
            let (over, bytes) = (over.clone(), bytes.clone());
            let socket = client.socket().try_clone().unwrap();
            std::thread::spawn(move || {
                socket.set_nonblocking(false).unwrap();
                while !over.load(Ordering::Relaxed) && client.try_send(&bytes).is_ok() {}
            })
        };
        let writers = clients.into_iter().map(start).collect();
        Attack {
            over,
            writers,
            _idle: idle,
        }
    }

    fn stop(self) {
        self.over.store(true, Ordering::Relaxed);
        for writer in self.writers {
            writer.join().unwrap();
        }
    }
}

/// Measures others alone and beside the attack. Their p50 must stay within three times its own, or
/// within two turns of the server's threads; their p99 below `p99_limit`, or three times its own.
fn others_are_served(
    name: &str,
    config: &str,
    (attacked, p99_limit): (&str, Duration),
    attackers: impl Fn(SocketAddr) -> Attackers,
) {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let mut figures = Vec::new();
    for _ in 0..ATTEMPTS {
        let server = Broker::with(config);
        // In other lanes: clients of one lane wait for each other.
        let lane = lane_of(attacked, LANES);
        let topics = (0..).map(|n| format!("quiet/{n}"));
        let topics = topics.filter(|topic| lane_of(topic, LANES) != lane);
        let pair = |(n, topic)| Pair::connect(server.address(), n, topic);
        let mut others: Vec<Pair> = topics.take(4).enumerate().map(pair).collect();
        let attackers = attackers(server.address());
        let (quiet_p50, quiet_p99) = delays(&mut others);
        let attack = Attack::start(attackers);
        let (p50, p99) = delays(&mut others);
        let figure = format!("{name}: p50 {quiet_p50:?} -> {p50:?}, p99 {quiet_p99:?} -> {p99:?}");
        println!("{figure}");
        figures.push(figure);
        // The server must not finish what it has been given first.
        drop(server);
        attack.stop();
        let most = (3 * quiet_p50).max(Duration::from_millis(2));
        if p50 <= most && p99 <= p99_limit.max(3 * quiet_p99) {
            return;
        }
    }
    panic!("others wait too long:\n{}", figures.join("\n"));
}

/// Empty messages with a topic alias, for one write.
fn aliased(client: &mut Client, topic: &str) -> Vec<u8> {
    let alias = |topic: &str| {
        let message = Message::new(topic, "").property(property::TOPIC_ALIAS, Value::Two(1));
        message.bytes(Version::V5)
    };
    client.send(&alias(topic));
    let one = alias("");
    one.repeat(WRITE / one.len())
}

/// All filters of `prefix` and `levels` levels of `a` or `+`.
fn overlapping(prefix: &str, levels: usize) -> Vec<String> {
    let filter = |number: usize| {
        let level = |at| if number >> at & 1 == 0 { "/a" } else { "/+" };
        let levels: String = (0..levels).map(level).collect();
        format!("{prefix}{levels}")
    };
    (0..1 << levels).map(filter).collect()
}

fn subscribe_all(client: &mut Client, filters: &[String]) {
    for some in filters.chunks(512) {
        let mut subscribe = Subscribe::to(&some[0], 0);
        for filter in &some[1..] {
            subscribe = subscribe.and(filter, 0);
        }
        let (codes, _) = client.subscribe_with(&subscribe);
        assert!(codes.iter().all(|code| *code == 0), "{codes:?}");
    }
}

/// Row C1a: so many overlapping filters of one session, and a read of empty messages that match all.
fn overlapping_filters(name: &str, config: &str, levels: usize, sessions: usize) {
    others_are_served(name, config, ("x/y", P99), |server| {
        let mut bytes = Vec::new();
        let attacker = |n| {
            let mut client = Connect::v5(&format!("attacker{n}")).to(server);
            subscribe_all(&mut client, &overlapping("x/y", levels));
            bytes = aliased(&mut client, &format!("x/y{}", "/a".repeat(levels)));
            client
        };
        let clients = (0..sessions).map(attacker).collect();
        Attackers {
            clients,
            bytes,
            idle: Vec::new(),
        }
    });
}

#[test]
fn c1a_overlapping_filters_at_the_defaults() {
    overlapping_filters("C1a, defaults", "", 9, 4);
}

#[test]
fn c1a_overlapping_filters_with_raised_caps() {
    overlapping_filters("C1a, raised", "[limits]\nsubscriptions = 10000\n", 13, 1);
}

#[test]
fn c1b_shared_groups() {
    let config = "[limits]\nsubscriptions = 10000\nshared_subscriptions = 10000\n";
    others_are_served("C1b", config, ("x/y", P99), |server| {
        let mut client = Connect::v5("attacker").to(server);
        let groups: Vec<String> = (0..9_990).map(|n| format!("$share/g{n}/x/y/z")).collect();
        subscribe_all(&mut client, &groups);
        let bytes = aliased(&mut client, "x/y/z");
        Attackers {
            clients: vec![client],
            bytes,
            idle: Vec::new(),
        }
    });
}

#[test]
fn c1c_a_room_of_a_thousand() {
    // The mark of 20 ms is missed in a build without optimization: 1,000 sockets are written a turn.
    let limit = Duration::from_millis(200);
    others_are_served("C1c", "", ("rooms/crowd", limit), |server| {
        let member = |n| {
            let mut member = Connect::v5(&format!("m{n}")).to(server);
            assert_eq!(member.subscribe("rooms/crowd/x", 0), 0);
            member
        };
        // They read nothing: their sockets fill, and the server drops what is for them.
        let idle: Vec<Client> = (0..1_000).map(member).collect();
        let mut speaker = Connect::v5("speaker").to(server);
        speaker.subscribe("rooms/crowd/y", 0);
        let bytes = aliased(&mut speaker, "rooms/crowd/x");
        Attackers {
            clients: vec![speaker],
            bytes,
            idle,
        }
    });
}
