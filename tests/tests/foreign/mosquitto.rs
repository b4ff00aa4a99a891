//! Debian's mosquitto clients in rooms, in each version that they support.

use crate::{SHORT_GRACE, VERSIONS, mosquitto, publish, sub};
use roommq_tests::broker::Broker;
use roommq_tests::program::Program;
use roommq_tests::room;
use roommq_tests::wire::{Connect, Message};
use rustix::process::Signal;
use std::process::Command;
use std::time::{Duration, Instant};

#[test]
fn mosquitto_sub_shows_roster_notices_and_messages() {
    for version in VERSIONS {
        let server = Broker::start();
        let mut alice = Connect::v5("alice").to(server.address());
        alice.subscribe("rooms/lobby/#", 0);
        room::event(&mut alice, "joined", "~alice");
        let bob = sub(&server, version, "bob", "rooms/lobby/#");
        let roster = bob.stdout.line_with("rooms/lobby/_presence/~alice ");
        assert!(roster.contains("\"state\":\"online\""), "{roster}");
        bob.stdout.line_with("rooms/lobby/_presence/~bob ");
        let joined = bob.stdout.line_with("rooms/lobby/_events ");
        assert!(
            joined.contains("joined") && joined.contains("~bob"),
            "{joined}"
        );
        room::event(&mut alice, "joined", "~bob");
        alice.publish(&Message::new("rooms/lobby", "hello"));
        assert_eq!(bob.stdout.line_with("hello"), "rooms/lobby hello");
        alice.disconnect(0);
        let left = bob.stdout.line_with("\"left\"");
        assert!(left.contains("~alice"), "{left}");
        // An empty payload clears the roster's entry.
        bob.stdout
            .line(|line| line.trim_end() == "rooms/lobby/_presence/~alice (null)");
    }
}

#[test]
fn a_killed_mosquitto_sub_is_lost_at_once_and_leaves_after_the_grace_period() {
    for version in VERSIONS {
        let server = Broker::with(SHORT_GRACE);
        let watcher = sub(&server, "mqttv311", "watcher", "rooms/lobby/#");
        watcher.stdout.line_with("joined");
        let mut victim = sub(&server, version, "victim", "rooms/lobby/#");
        watcher
            .stdout
            .line(|line| line.contains("joined") && line.contains("~victim"));
        victim.kill();
        let killed = Instant::now();
        let lost = watcher.stdout.line_with("\"lost\"");
        assert!(
            killed.elapsed() < Duration::from_secs(1),
            "{:?}",
            killed.elapsed()
        );
        assert!(
            lost.contains("~victim") && lost.contains("\"reason\""),
            "{lost}"
        );
        let left = watcher.stdout.line_with("\"left\"");
        assert!(left.contains("~victim"), "{left}");
        assert!(
            killed.elapsed() >= Duration::from_millis(250),
            "not before the grace period"
        );
    }
}

#[test]
fn a_terminated_mosquitto_sub_leaves() {
    for version in VERSIONS {
        let server = Broker::start();
        let watcher = sub(&server, "mqttv5", "watcher", "rooms/lobby/#");
        watcher.stdout.line_with("joined");
        let leaver = sub(&server, version, "leaver", "rooms/lobby/#");
        // The last message about its own join.
        leaver.stdout.line_with("rooms/lobby/_info ");
        // mosquitto_sub sends DISCONNECT when it is terminated.
        leaver.signal(Signal::TERM);
        let left = watcher.stdout.line_with("\"left\"");
        assert!(left.contains("~leaver"), "{left}");
    }
}

#[test]
fn mosquitto_pub_reaches_a_room_at_every_qos() {
    let server = Broker::start();
    let mut alice = Connect::v5("alice").to(server.address());
    alice.subscribe("rooms/lobby/#", 2);
    for version in VERSIONS {
        for qos in 0..=2_u8 {
            let text = format!("{version} {qos}");
            let level = qos.to_string();
            publish(
                &server,
                version,
                &["-i", "pub", "-t", "rooms/lobby", "-m", &text, "-q", &level],
            );
            let heard = alice.message_where(|m| m.topic == "rooms/lobby");
            assert_eq!((heard.text(), heard.qos), (text.as_str(), qos));
            assert_eq!(heard.properties.user("from"), Some("~pub"));
        }
    }
}

#[test]
fn retained_messages_and_wills_of_mosquitto_clients_work() {
    for version in VERSIONS {
        let server = Broker::start();
        publish(
            &server,
            version,
            &["-t", "rooms/lobby/topic", "-m", "kept", "-r", "-q", "1"],
        );
        let bob = sub(&server, version, "bob", "rooms/lobby/#");
        assert_eq!(bob.stdout.line_with("kept"), "rooms/lobby/topic kept");
        let will = ["--will-topic", "rooms/lobby", "--will-payload", "farewell"];
        let mut command = mosquitto(
            "mosquitto_sub",
            &server,
            version,
            &["-i", "doomed", "-t", "rooms/lobby"],
        );
        let mut doomed = Program::start(command.args(will));
        bob.stdout
            .line(|line| line.contains("joined") && line.contains("~doomed"));
        doomed.kill();
        bob.stdout.line_with("farewell");
    }
}

#[test]
fn mosquitto_sub_reports_a_refused_subscription() {
    let staff = "[[room]]\nmatch = \"staff\"\naccess = \"list\"\nmembers = [\"~boss\"]\n";
    let server = Broker::with(staff);
    for version in VERSIONS {
        // -E: end after the SUBACK. mosquitto_sub prints an error if every filter was refused.
        let arguments = ["-i", "eve", "-t", "rooms/staff/#", "-E", "-d"];
        let done = Program::run(
            &mut mosquitto("mosquitto_sub", &server, version, &arguments),
            "",
        );
        let said = format!("{}{}", done.stdout, done.stderr);
        let code = if version == "mqttv5" { "135" } else { "128" };
        assert!(said.contains(code), "{version}: {said}");
    }
    let arguments = [
        "-i",
        "adam",
        "-t",
        "inbox/me/#",
        "-t",
        "rooms/staff/#",
        "-v",
    ];
    let eve = Program::start(&mut mosquitto(
        "mosquitto_sub",
        &server,
        "mqttv311",
        &arguments,
    ));
    let told = eve.stdout.line_with("inbox/me/error");
    assert!(told.contains("staff is for its members"), "{told}");
}

#[test]
fn passwords_work_with_mosquitto_clients() {
    let config = "[auth]\nanonymous = false\nusers_file = \"@users@\"\n";
    let server = Broker::with_users(config, &[("alice", "pw")]);
    for version in VERSIONS {
        let good = ["-u", "alice", "-P", "pw", "-t", "rooms/lobby", "-m", "x"];
        publish(&server, version, &good);
        let bad = ["-u", "alice", "-P", "no", "-t", "rooms/lobby", "-m", "x"];
        let refused = Program::run(&mut mosquitto("mosquitto_pub", &server, version, &bad), "");
        assert_ne!(refused.code, Some(0), "{version}");
    }
}

#[test]
fn the_command_that_the_server_prints_works() {
    let mut command = roommq_tests::program::roommq();
    command.args(["serve", "--listen", "127.0.0.1:0"]);
    let server = Program::start(&mut command);
    let line = server.stdout.line_with("mosquitto_sub");
    let pasted = Program::start(Command::new("sh").args(["-c", &format!("exec {}", line.trim())]));
    pasted.stdout.line_with("joined");
}
