//! The system clock is set while the server runs: libfaketime shows it another wall time. The
//! monotonic clock goes on as it is, as on a machine whose clock is set.

use crate::succeed;
use roommq_tests::broker::Broker;
use roommq_tests::room;
use roommq_tests::wire::{Connect, Message, Packet, Value, property};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// In Debian the library lies in the folder of the architecture.
fn library() -> PathBuf {
    let folders = std::fs::read_dir("/usr/lib").unwrap().flatten();
    let mut files = folders.map(|folder| folder.path().join("faketime/libfaketime.so.1"));
    files.find(|file| file.exists()).expect("libfaketime")
}

/// The clock of a server.
struct Clock(PathBuf);

impl Clock {
    /// Sets it so many hours off.
    fn set(&self, hours: i64) {
        // Renamed, so that no half of it is read.
        let next = self.0.with_extension("next");
        std::fs::write(&next, format!("{hours:+}h\n")).unwrap();
        std::fs::rename(&next, &self.0).unwrap();
    }
}

fn server(directory: &Path, config: &str) -> (Broker, Clock) {
    let clock = Clock(directory.join("clock"));
    clock.set(0);
    let file = clock.0.display().to_string();
    let library = library().display().to_string();
    let environment = [
        ("LD_PRELOAD", library.as_str()),
        ("FAKETIME_TIMESTAMP_FILE", &file),
        ("FAKETIME_NO_CACHE", "1"),
        ("DONT_FAKE_MONOTONIC", "1"),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
    ];
    (Broker::with_environment(config, &environment), clock)
}

/// How many hours the stamp of a message is off, to a minute.
fn hours_off(message: &Message) -> i64 {
    let stamp = message.properties.user("at").unwrap();
    let at = succeed(Command::new("date").args(["-u", "-d", stamp, "+%s"]), "");
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let seconds = at.trim().parse::<i64>().unwrap() - i64::try_from(now.as_secs()).unwrap();
    let hours = (seconds + 1_800).div_euclid(3_600);
    let rest = seconds - hours * 3_600;
    assert!(rest.abs() < 60, "{stamp} is off by {seconds} s");
    hours
}

/// Forward by two hours, back by a day, and right again.
const JUMPS: [i64; 3] = [2, -24, 0];

#[test]
fn a_clock_that_is_set_ends_nothing_and_stamps_follow_it() {
    let directory = tempfile::tempdir().unwrap();
    let (server, clock) = server(directory.path(), "[presence]\ngrace = \"10m\"\n");
    let address = server.address();
    let hour = |id| Connect::v5(id).property(property::SESSION_EXPIRY, Value::Four(3_600));
    let mut offline = hour("offline").clean(false).to(address);
    offline.subscribe("rooms/lobby", 1);
    drop(offline);
    let mut watcher = Connect::v5("watcher").to(address);
    watcher.subscribe("rooms/lobby/#", 0);
    room::presence(&mut watcher, "~offline", "lost", 0);
    let kept = Message::new("kept/an/hour", "kept").qos(1).retained();
    watcher.publish(&kept.property(property::MESSAGE_EXPIRY, Value::Four(3_600)));
    let mut sender = Connect::v5("sender").to(address);
    for hours in JUMPS {
        clock.set(hours);
        let text = format!("at {hours}");
        // The message shows that what was to happen by the lane's timers did not: they come first.
        sender.publish(&Message::new("rooms/lobby", &text).qos(1));
        let before = watcher.messages_where_until(|m| m.text() == text);
        let (last, before) = before.split_last().unwrap();
        assert!(
            before
                .iter()
                .all(|m| !room::is_event(m, "left", "~offline")),
            "{before:?}"
        );
        assert_eq!(hours_off(last), hours);
        let mut later = Connect::v5("later").to(address);
        later.subscribe("kept/#", 0);
        let left = later
            .message()
            .properties
            .number(property::MESSAGE_EXPIRY)
            .unwrap();
        assert!((3_400..=3_600).contains(&left), "{left} s at {hours} h");
        later.disconnect(0);
    }
    // The session is there, with all messages.
    let mut back = hour("offline").clean(false).to(address);
    for hours in JUMPS {
        assert_eq!(back.message().text(), format!("at {hours}"));
    }
}

/// What passes by itself passes as soon as without a jump: a clock that is set back keeps nothing
/// longer.
#[test]
fn a_clock_that_is_set_back_keeps_nothing_longer() {
    let directory = tempfile::tempdir().unwrap();
    let (server, clock) = server(directory.path(), "[presence]\ngrace = \"1s\"\n");
    let address = server.address();
    let mut watcher = Connect::v5("watcher").to(address);
    watcher.subscribe("rooms/lobby/#", 0);
    let second = Connect::v5("second").property(property::SESSION_EXPIRY, Value::Four(1));
    let second = second.clean(false);
    let mut lost = second.to(address);
    lost.subscribe("rooms/lobby", 1);
    let kept = Message::new("kept/a/second", "kept").qos(1).retained();
    watcher.publish(&kept.property(property::MESSAGE_EXPIRY, Value::Four(1)));
    room::event(&mut watcher, "joined", "~second");
    drop(lost);
    room::event(&mut watcher, "lost", "~second");
    clock.set(-24);
    let begun = Instant::now();
    room::event(&mut watcher, "left", "~second");
    assert!(begun.elapsed() < Duration::from_secs(10));
    let mut later = Connect::v5("later").to(address);
    later.subscribe("kept/#", 0);
    later.publish(&Message::new("kept/now", "end").qos(1));
    assert!(later.messages_until("end").is_empty());
    let (_, connack) = second.attempt(address);
    let present = matches!(
        connack,
        Packet::ConnAck {
            session_present: true,
            ..
        }
    );
    assert!(!present, "{connack:?}");
}

/// Connects are limited by a rate, which goes by the pace of time and not by the clock.
#[test]
fn a_clock_that_is_set_neither_stops_nor_floods_new_connections() {
    let directory = tempfile::tempdir().unwrap();
    let (server, clock) = server(directory.path(), "");
    for hours in [-24, 2, 0] {
        clock.set(hours);
        for n in 0..20 {
            Connect::v311(&format!("c{n}")).to(server.address()).ping();
        }
    }
}
