//! MQTT.js: both versions of the protocol, on each transport that it has.

use crate::{SCENARIOS, play};
use roommq_tests::everywhere::Everywhere;
use roommq_tests::workspace;
use std::process::Command;

const LIVES: [&str; 5] = ["inARoom", "aLoss", "awayAndBack", "cutShort", "sharedOut"];

fn by(protocol: &str) {
    let all = Everywhere::start(SCENARIOS);
    for transport in ["tcp", "tls", "ws", "wss"] {
        let shown = all.url(transport);
        // Plain TCP has an address only, and MQTT.js knows TLS by another name.
        let url = match shown.split_once("://") {
            None => format!("mqtt://{shown}"),
            Some(("tls", rest)) => format!("mqtts://{rest}"),
            Some(_) => shown.to_owned(),
        };
        let mut command = Command::new("node");
        command
            .arg(workspace::root().join("tests/foreign/mqttjs_life.mjs"))
            .args([protocol, transport, &url, &all.root()]);
        play(&mut command, &LIVES);
    }
}

#[test]
fn mqttjs_works_in_rooms_with_3_1_1() {
    by("3.1.1");
}

#[test]
fn mqttjs_works_in_rooms_with_5_0() {
    by("5.0");
}
