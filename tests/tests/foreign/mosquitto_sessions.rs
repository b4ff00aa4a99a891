//! Debian's mosquitto clients: persistent sessions, shared subscriptions, delayed wills, requests.

use crate::{VERSIONS, mosquitto, publish, sub, succeed};
use roommq_tests::broker::Broker;
use roommq_tests::program::Program;
use roommq_tests::wire::{Connect, Message, property};
use rustix::process::Signal;
use std::fmt::Write;
use std::process::Command;

/// Publishes these numbers, a message each, over one connection.
fn publish_numbers(server: &Broker, version: &str, topic: &str, qos: &str, numbers: &[u32]) {
    let mut lines = String::new();
    for number in numbers {
        writeln!(lines, "{number}").unwrap();
    }
    let arguments = ["-t", topic, "-q", qos, "-l"];
    succeed(
        &mut mosquitto("mosquitto_pub", server, version, &arguments),
        &lines,
    );
}

fn numbers(text: &str) -> Vec<u32> {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    lines.map(|line| line.parse().unwrap()).collect()
}

/// Runs `mosquitto_sub` until it has received the retained message, which follows the SUBACK, and this number. Returns the
/// numbers it received. The option -C is no alternative: the client could close its socket before it has read the SUBACK,
/// and TCP would drop the unsent acknowledgements.
fn until(command: &mut Command, last: Option<u32>) -> Vec<u32> {
    let mut sub = Program::start(command);
    sub.stdout.line_with("ready");
    if let Some(last) = last {
        sub.stdout.line(|line| line == last.to_string());
    }
    sub.signal(Signal::TERM);
    sub.wait();
    let mut lines = sub.stdout.lines();
    lines.retain(|line| line != "ready");
    numbers(&lines.join("\n"))
}

#[test]
fn messages_wait_for_an_offline_mosquitto_sub() {
    let sent: Vec<u32> = (0..20).collect();
    for version in VERSIONS {
        let server = Broker::start();
        publish(&server, version, &["-t", "ready", "-m", "ready", "-r"]);
        // In 5.0, -c alone means a session that never expires. Here -x sets an hour, which counts from the disconnect.
        let ways: &[&[&str]] = if version == "mqttv5" {
            &[&["-c"], &["-c", "-x", "3600"]]
        } else {
            &[&["-c"]]
        };
        for keep in ways {
            for (topic, qos) in [("away/1", "1"), ("away/2", "2"), ("rooms/lobby/x", "2")] {
                let come = |last: Option<u32>| {
                    let arguments = ["-i", "absent", "-t", topic, "-t", "ready", "-q", qos];
                    let mut command = mosquitto("mosquitto_sub", &server, version, &arguments);
                    until(command.args(*keep), last)
                };
                assert!(come(None).is_empty(), "{version} {keep:?}");
                publish_numbers(&server, version, topic, qos, &sent);
                assert_eq!(come(Some(19)), sent, "{version} {keep:?}");
                // No message is repeated.
                publish_numbers(&server, version, topic, qos, &[100]);
                assert_eq!(come(Some(100)), [100], "{version} {keep:?}");
                // A clean start ends the session.
                let arguments = ["-i", "absent", "-t", "none", "-E"];
                let mut command = mosquitto("mosquitto_sub", &server, version, &arguments);
                succeed(&mut command, "");
            }
        }
    }
}

#[test]
fn a_killed_mosquitto_sub_resumes_its_session() {
    for version in VERSIONS {
        let server = Broker::start();
        let arguments = [
            "-i", "victim", "-t", "away/x", "-t", "away/y", "-q", "2", "-c",
        ];
        let start = || {
            Program::start(&mut mosquitto(
                "mosquitto_sub",
                &server,
                version,
                &arguments,
            ))
        };
        publish(&server, version, &["-t", "away/y", "-m", "ready", "-r"]);
        let mut victim = start();
        victim.stdout.line_with("ready");
        publish_numbers(&server, version, "away/x", "2", &[1, 2, 3]);
        victim.stdout.line_with("3");
        victim.kill();
        victim.wait();
        publish_numbers(&server, version, "away/x", "2", &[11, 12, 13]);
        publish(&server, version, &["-t", "away/x", "-m", "end", "-q", "2"]);
        let back = start();
        back.stdout.line_with("end");
        // The retained message comes again, since the client subscribes again.
        let mut lines = back.stdout.lines();
        lines.retain(|line| line != "ready");
        // Messages that the killed process printed but did not acknowledge may be repeated.
        let new: Vec<_> = lines.iter().filter(|line| line.len() > 1).collect();
        assert_eq!(new, ["11", "12", "13", "end"], "{version}: {lines:?}");
    }
}

#[test]
fn a_session_of_mosquitto_sub_expires_and_its_will_is_sent() {
    let server = Broker::start();
    let watcher = sub(&server, "mqttv5", "watcher", "away/will");
    publish(&server, "mqttv5", &["-t", "away/will", "-m", "ready", "-r"]);
    watcher.stdout.line_with("ready");
    let base = ["-i", "brief", "-t", "away/x", "-q", "1", "-c", "-x", "1"];
    let mut command = mosquitto("mosquitto_sub", &server, "mqttv5", &base);
    command
        .args(["--will-topic", "away/will", "--will-payload", "gone"])
        .args(["-D", "will", "will-delay-interval", "3600"]);
    let mut brief = Program::start(&mut command);
    publish(&server, "mqttv5", &["-t", "away/x", "-m", "hello", "-r"]);
    brief.stdout.line_with("hello");
    brief.kill();
    // [MQTT-3.1.2-8]: at the end of the session at the latest.
    watcher.stdout.line_with("gone");
    publish(&server, "mqttv5", &["-t", "away/x", "-m", "", "-r"]);
    publish(
        &server,
        "mqttv5",
        &["-t", "away/x", "-m", "unheard", "-q", "1"],
    );
    publish(
        &server,
        "mqttv5",
        &["-t", "away/x", "-m", "new", "-q", "1", "-r"],
    );
    let back = Program::start(&mut mosquitto("mosquitto_sub", &server, "mqttv5", &base));
    back.stdout.line_with("new");
    assert_eq!(back.stdout.text(), "new", "the session has expired");
}

#[test]
fn a_delayed_will_of_mosquitto_sub_is_dropped_when_it_reconnects() {
    let server = Broker::start();
    let mut watcher = Connect::v5("watcher").to(server.address());
    watcher.subscribe("away/#", 1);
    let arguments = ["-i", "doomed", "-t", "ready", "-c", "-q", "1"];
    let start = |delay: &str, payload: &str| {
        let mut command = mosquitto("mosquitto_sub", &server, "mqttv5", &arguments);
        command
            .args(["--will-topic", "away/will", "--will-payload", payload])
            .args(["-D", "will", "will-delay-interval", delay]);
        let doomed = Program::start(&mut command);
        doomed.stdout.line_with("ready");
        doomed
    };
    publish(&server, "mqttv5", &["-t", "ready", "-m", "ready", "-r"]);
    let mut doomed = start("3600", "never");
    doomed.kill();
    doomed.wait();
    let mut doomed = start("1", "a second later");
    doomed.kill();
    assert_eq!(watcher.message().text(), "a second later");
}

#[test]
fn mosquitto_subs_share_a_subscription() {
    for version in VERSIONS {
        let server = Broker::start();
        publish(&server, version, &["-t", "jobs/x/end", "-m", "ready", "-r"]);
        let members = ["one", "two"].map(|id| {
            let arguments = [
                "-i",
                id,
                "-q",
                "2",
                "-t",
                "$share/team/jobs/x/work",
                "-t",
                "jobs/x/end",
            ];
            Program::start(&mut mosquitto(
                "mosquitto_sub",
                &server,
                version,
                &arguments,
            ))
        });
        for member in &members {
            member.stdout.line_with("ready");
        }
        let sent: Vec<u32> = (0..20).collect();
        publish_numbers(&server, version, "jobs/x/work", "2", &sent);
        publish(
            &server,
            version,
            &["-t", "jobs/x/end", "-m", "end", "-q", "2"],
        );
        let mut got = Vec::new();
        for member in &members {
            member.stdout.line_with("end");
            let mut lines = member.stdout.lines();
            lines.retain(|line| line != "ready" && line != "end");
            assert!(
                !lines.is_empty(),
                "{version}: a group member received nothing"
            );
            got.extend(numbers(&lines.join("\n")));
        }
        got.sort_unstable();
        assert_eq!(got, sent, "{version}");
    }
}

/// `mosquitto_rr` takes the response topic from its user and does not ask for response information; how a server gives
/// that is tested on the wire.
#[test]
fn mosquitto_rr_receives_its_response() {
    let server = Broker::start();
    let mut answerer = Connect::v5("answerer").to(server.address());
    answerer.subscribe("rooms/lobby/questions", 1);
    for version in ["mqttv311", "mqttv5"] {
        for (topic, answers) in [
            ("rooms/lobby/questions", "rooms/lobby/answers"),
            ("rooms/lobby/questions", "inbox/~asker/dm/~answerer"),
        ] {
            let arguments = ["-i", "asker", "-t", topic, "-e", answers, "-q", "1"];
            let mut command = mosquitto("mosquitto_rr", &server, version, &arguments);
            let mut asker = Program::start(command.args(["-m", "how late?"]));
            let question = answerer.message();
            assert_eq!(question.text(), "how late?", "{version}");
            let response = question.properties.text(property::RESPONSE_TOPIC);
            let expected = (version == "mqttv5").then_some(answers);
            assert_eq!(response, expected, "{version}");
            let mut answer = Message::new(answers, "late").qos(1);
            answer.properties = question.properties.clone();
            let correlation = property::CORRELATION_DATA;
            answer.properties.0.retain(|(id, _)| *id == correlation);
            let sent = answerer.publish(&answer);
            assert_eq!(sent.0, 0, "{version} {answers}: {sent:?}");
            asker.stdout.line_with("late");
            assert!(asker.wait().success());
        }
    }
    answerer.ping();
}
