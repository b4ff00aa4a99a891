//! paho-mqtt for Python: both of its versions, both of the protocol, on each transport that it has.

use crate::{SCENARIOS, play};
use roommq_tests::everywhere::Everywhere;
use roommq_tests::workspace;
use std::process::Command;

/// The directory into which `tests/run` installs the older version. The newer one belongs to the environment.
const OLDER: &str = ".venv/paho-1";

const LIVES: [&str; 4] = ["in_a_room", "a_loss", "away_and_back", "shared_out"];

fn by(protocol: &str, older: bool) {
    let all = Everywhere::start(SCENARIOS);
    let tests = workspace::root().join("tests");
    for transport in ["tcp", "tls", "ws", "wss"] {
        let address = all.address(transport);
        let mut command = Command::new(tests.join(".venv/bin/python"));
        command.env_remove("PYTHONPATH");
        if older {
            command.env("PYTHONPATH", tests.join(OLDER));
        }
        command
            .arg(tests.join("foreign/paho_life.py"))
            .args([protocol, transport, &address.ip().to_string()])
            .args([&address.port().to_string(), &all.root()]);
        play(&mut command, &LIVES);
    }
}

#[test]
fn paho_1_works_in_rooms_with_3_1_1() {
    by("3.1.1", true);
}

#[test]
fn paho_1_works_in_rooms_with_5_0() {
    by("5.0", true);
}

#[test]
fn paho_2_works_in_rooms_with_3_1_1() {
    by("3.1.1", false);
}

#[test]
fn paho_2_works_in_rooms_with_5_0() {
    by("5.0", false);
}
