//! Independent clients that are no Rust crates: Debian's mosquitto and its clients, paho-mqtt and MQTT.js. `tests/run` installs
//! them, and tmux. The tests in `tests/tests/wire` have rumqttc and rust-mqtt.

#![allow(clippy::unwrap_used, clippy::expect_used)] // test code

mod clock;
mod mosquitto;
mod mosquitto_bridges;
mod mosquitto_sessions;
mod mosquitto_transports;
mod mqttjs;
mod paho;
mod terminal;

use roommq_tests::PATIENCE;
use roommq_tests::broker::Broker;
use roommq_tests::program::Program;
use std::process::Command;

/// The versions that mosquitto's clients support.
const VERSIONS: [&str; 3] = ["mqttv31", "mqttv311", "mqttv5"];

const SHORT_GRACE: &str = "[presence]\ngrace = \"300ms\"\n";

/// The configuration for the scripts: a room that none of them may join, and a short grace period.
const SCENARIOS: &str = "[presence]\ngrace = \"300ms\"\n\
                    [[room]]\nmatch = \"staff\"\naccess = \"list\"\nmembers = [\"~boss\"]\n";

fn mosquitto(program: &str, server: &Broker, version: &str, arguments: &[&str]) -> Command {
    let address = server.address();
    let mut command = Command::new(program);
    command
        .args(["-h", &address.ip().to_string()])
        .args(["-p", &address.port().to_string()])
        .args(["-V", version])
        .args(arguments);
    command
}

fn sub(server: &Broker, version: &str, id: &str, filter: &str) -> Program {
    let arguments = ["-i", id, "-t", filter, "-v"];
    Program::start(&mut mosquitto("mosquitto_sub", server, version, &arguments))
}

fn publish(server: &Broker, version: &str, arguments: &[&str]) {
    let mut command = mosquitto("mosquitto_pub", server, version, arguments);
    succeed(&mut command, "");
}

/// Runs a program that must succeed, with this input. Returns its output.
fn succeed(command: &mut Command, input: &str) -> String {
    let done = Program::run(command, input);
    let said = format!("{command:?}\n{}\n{}", done.stdout, done.stderr);
    assert_eq!(done.code, Some(0), "{said}");
    done.stdout
}

/// Runs a script with these scenarios. The script prints a line after each.
fn play(command: &mut Command, scenarios: &[&str]) {
    let mut script = Program::start(command);
    for scenario in scenarios {
        let well = format!("{scenario}: well");
        let said = script.stdout.line_within(3 * PATIENCE, |line| line == well);
        let (stdout, stderr) = (&script.stdout, &script.stderr);
        let all = || {
            format!(
                "{command:?}: {scenario}\n{}\n{}",
                stdout.text(),
                stderr.text()
            )
        };
        assert!(said.is_some(), "{}", all());
    }
    assert!(script.wait().success());
}
