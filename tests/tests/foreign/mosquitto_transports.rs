//! Debian's mosquitto clients over TLS, with and without a certificate of their own, and over a Unix socket.
//! WebSocket is missing: Debian's version, 2.0.11, does not support it.

use crate::{VERSIONS, succeed};
use roommq_tests::broker::Broker;
use roommq_tests::everywhere::Everywhere;
use roommq_tests::program::Program;
use roommq_tests::room;
use roommq_tests::tls::Authority;
use roommq_tests::wire::Connect;
use std::process::Command;

/// A client, and the options by which it connects.
fn by(program: &str, version: &str, id: &str, way: &[String]) -> Command {
    let mut command = Command::new(program);
    command.args(["-V", version, "-i", id]).args(way);
    command
}

/// Both clients, at each QoS, and a room.
fn meet(version: &str, way: &[String]) {
    let mut command = by("mosquitto_sub", version, &format!("bob-{version}"), way);
    command.args(["-t", "rooms/lobby/#", "-q", "2", "-F", "%q %p"]);
    let bob = Program::start(&mut command);
    bob.stdout.line_with("\"joined\"");
    for qos in ["0", "1", "2"] {
        let mut command = by("mosquitto_pub", version, "alice", way);
        succeed(
            command.args(["-t", "rooms/lobby", "-m", "hello", "-q", qos]),
            "",
        );
        bob.stdout.line_with(&format!("{qos} hello"));
    }
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|&word| word.to_owned()).collect()
}

#[test]
fn mosquitto_clients_connect_by_tls() {
    let all = Everywhere::start("");
    let port = all.address("tls").port().to_string();
    let way = words(&["-h", "127.0.0.1", "-p", &port, "--cafile", &all.root()]);
    for version in VERSIONS {
        meet(version, &way);
    }
    // This client trusts another CA.
    let stranger = all.server.file("stranger.pem", &Authority::new().root());
    let stranger = stranger.display().to_string();
    let mut command = by("mosquitto_pub", "mqttv5", "carol", &[]);
    command.args(["-h", "127.0.0.1", "-p", &port, "--cafile", &stranger]);
    let done = Program::run(command.args(["-t", "rooms/lobby", "-m", "x"]), "");
    assert_ne!(done.code, Some(0));
}

#[test]
fn mosquitto_clients_authenticate_by_certificate() {
    let (servers, clients) = (Authority::new(), Authority::new());
    let (identity, alice) = (servers.server(), clients.client("alice"));
    let config = "[auth]\nanonymous = false\nusers_file = 'users.toml'\n\
        [[listener]]\nbind = '127.0.0.1:0'\ntransport = 'tls'\ncertificate = 'server.pem'\nkey = 'server.key'\n\
        client_certificates = 'required'\nclient_ca = 'clients.pem'\nuser_from_certificate = 'common_name'\n";
    let files = [
        ("server.pem", &*identity.certificate),
        ("server.key", &*identity.key),
        ("clients.pem", &*clients.root()),
        ("users.toml", ""),
    ];
    let server = Broker::listening(config, &files);
    let file = |name: &str, text: &str| server.file(name, text).display().to_string();
    let root = file("root.pem", &servers.root());
    let (certificate, key) = (
        file("alice.pem", &alice.certificate),
        file("alice.key", &alice.key),
    );
    let port = server.address().port().to_string();
    let way = words(&["-h", "127.0.0.1", "-p", &port, "--cafile", &root]);
    for version in VERSIONS {
        let mut command = by("mosquitto_sub", version, "laptop", &way);
        command.args(["--cert", &certificate, "--key", &key]);
        let sub = Program::start(command.args(["-t", "rooms/lobby/#", "-v"]));
        sub.stdout.line_with("rooms/lobby/_presence/alice ");
        let mut command = by("mosquitto_pub", version, "nobody", &way);
        let refused = Program::run(command.args(["-t", "rooms/lobby", "-m", "x"]), "");
        assert_ne!(refused.code, Some(0), "{version} without a certificate");
    }
}

#[test]
fn mosquitto_clients_connect_by_a_unix_socket() {
    let all = Everywhere::start("");
    let mut watcher = Connect::v5("watcher").to(all.address("tcp"));
    watcher.subscribe("rooms/lobby/#", 0);
    for version in VERSIONS {
        meet(version, &words(&["--unix", all.socket()]));
        // mosquitto_sub was killed.
        room::event(&mut watcher, "lost", &format!("~bob-{version}"));
    }
}
