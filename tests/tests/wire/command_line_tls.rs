//! The commands as processes, over TLS and Unix sockets.

use roommq_tests::broker::Broker;
use roommq_tests::program::{Finished, Program, roommq};
use roommq_tests::room;
use roommq_tests::tls::{Authority, Identity};
use roommq_tests::wire::{Connect, Message};
use serde_json::Value as Json;

/// A plain listener, one with TLS, and one with TLS that takes users from certificates.
const LISTENERS: &str = "
[[listener]]
bind = '127.0.0.1:0'
[[listener]]
bind = '127.0.0.1:0'
transport = 'tls'
certificate = 'server.pem'
key = 'server.key'
[[listener]]
bind = '127.0.0.1:0'
transport = 'tls'
certificate = 'server.pem'
key = 'server.key'
client_ca = 'ca.pem'
client_certificates = 'required'
user_from_certificate = 'common_name'
[auth]
anonymous = true
";

struct Server {
    broker: Broker,
    authority: Authority,
}

impl Server {
    fn start() -> Server {
        Server::with(LISTENERS)
    }

    fn with(config: &str) -> Server {
        let authority = Authority::new();
        let Identity { certificate, key } = authority.server();
        let files = [
            ("server.pem", &*certificate),
            ("server.key", &*key),
            ("ca.pem", &*authority.root()),
        ];
        Server {
            broker: Broker::listening(config, &files),
            authority,
        }
    }

    /// `arguments`, the address of this listener with `mqtts://`, and `authority` as the trusted CA.
    fn run(&self, listener: usize, authority: &Authority, arguments: &[&str]) -> Finished {
        Program::run(&mut self.command(listener, authority, arguments), "")
    }

    fn command(
        &self,
        listener: usize,
        authority: &Authority,
        arguments: &[&str],
    ) -> std::process::Command {
        let mut command = roommq();
        let place = format!("mqtts://{}", self.broker.place(listener));
        let ca = self.broker.file("trusted.pem", &authority.root());
        command
            .args(arguments)
            .args(["--server", &place, "--ca"])
            .arg(ca);
        command
    }
}

#[test]
fn commands_connect_by_tls() {
    let server = Server::start();
    let mut bob = Connect::v5("bob").to(server.broker.place(0));
    bob.subscribe("rooms/lobby/#", 1);
    let arguments = ["join", "lobby", "--client-id", "alice"];
    let mut alice = Program::start(&mut server.command(1, &server.authority, &arguments));
    room::event(&mut bob, "joined", "~alice");
    alice.write("hello in TLS\n");
    assert_eq!(
        bob.message_where(|m| m.topic == "rooms/lobby").text(),
        "hello in TLS"
    );
    bob.publish(&Message::new("rooms/lobby", "hello in the clear").qos(1));
    alice.stdout.line_with("~bob: hello in the clear");
    let who = server.run(1, &server.authority, &["who", "lobby"]);
    assert!(who.stdout.contains("~alice"), "{who:?}");
    let sent = server.run(1, &server.authority, &["send", "lobby", "by", "name"]);
    assert_eq!(sent.code, Some(0), "{}", sent.stderr);
    alice.stdout.line_with("by name");
    alice.signal(rustix::process::Signal::INT);
    let left = room::event(&mut bob, "left", "~alice");
    assert_eq!(left["reason"], "left", "TLS has an orderly end too");
}

#[test]
fn options_may_come_from_the_environment() {
    let server = Server::start();
    let ca = server.broker.file("trusted.pem", &server.authority.root());
    let mut command = roommq();
    // The address in the form that the server prints.
    let place = server.broker.url(1);
    assert!(place.starts_with("tls://"), "{place}");
    command.env("ROOMMQ_SERVER", place).env("ROOMMQ_CA", ca);
    let rooms = Program::run(command.arg("rooms"), "");
    assert_eq!(rooms.code, Some(0), "{}", rooms.stderr);
}

#[test]
fn a_client_certificate_is_a_login() {
    let server = Server::start();
    let identity = server.authority.client("alice");
    let cert = server.broker.file("alice.pem", &identity.certificate);
    let key = server.broker.file("alice.key", &identity.key);
    let pair = [
        "--cert",
        cert.to_str().unwrap(),
        "--key",
        key.to_str().unwrap(),
    ];
    let mut bob = Connect::v5("bob").to(server.broker.place(0));
    bob.subscribe("rooms/lobby/#", 0);
    let arguments = [&["join", "lobby", "--leave-at-eof"][..], &pair].concat();
    let joined = server.run(2, &server.authority, &arguments);
    assert_eq!(joined.code, Some(0), "{}", joined.stderr);
    room::event(&mut bob, "joined", "alice");
}

#[test]
fn tls_errors_name_a_remedy() {
    let server = Server::start();
    let stranger = Authority::new();
    let own = stranger.client("eve");
    let cert = server.broker.file("eve.pem", &own.certificate);
    let key = server.broker.file("eve.key", &own.key);
    let pair = [
        "--cert",
        cert.to_str().unwrap(),
        "--key",
        key.to_str().unwrap(),
    ];
    let who = &["who", "lobby"][..];
    let with_pair = [who, &pair].concat();
    let table = [
        // A CA that is not trusted.
        (1, &stranger, who, "name that CA's certificate with --ca"),
        // The server requires a certificate, and does not trust this one.
        (2, &server.authority, who, "with --cert and --key"),
        (
            2,
            &server.authority,
            &with_pair,
            "does not take your certificate",
        ),
        // A plain server.
        (
            0,
            &server.authority,
            who,
            "write mqtt:// in place of mqtts://",
        ),
    ];
    for (listener, authority, arguments, told) in table {
        let failed = server.run(listener, authority, arguments);
        assert_eq!(failed.code, Some(1), "{told}");
        assert!(failed.stderr.contains(told), "{told}: {}", failed.stderr);
    }
    // A TLS server, by a plain connection.
    let mut command = roommq();
    let place = server.broker.place(1).to_string();
    let failed = Program::run(command.args(who).args(["--server", &place]), "");
    assert!(failed.stderr.contains("mqtts://"), "{}", failed.stderr);
}

#[test]
fn a_certificate_for_another_name_is_refused() {
    // The certificate is for 127.0.0.1, and the client uses another address of loopback.
    let server = Server::with(
        "[[listener]]\nbind = '127.0.0.2:0'\ntransport = 'tls'\n\
         certificate = 'server.pem'\nkey = 'server.key'\n",
    );
    let failed = server.run(0, &server.authority, &["rooms"]);
    let told = "is not for 127.0.0.2 but for localhost, 127.0.0.1";
    assert!(failed.stderr.contains(told), "{}", failed.stderr);
}

#[test]
fn the_load_generator_connects_by_tls() {
    let server = Server::start();
    let counted = ["bench", "fanout", "--members", "5", "--messages", "200"];
    let counted = [&counted[..], &["--qos", "1", "--payload", "3000"]].concat();
    let paced = ["bench", "paced", "--members", "3", "--seconds", "0.2"].to_vec();
    for mut arguments in [counted, paced] {
        arguments.push("--json");
        let done = server.run(1, &server.authority, &arguments);
        assert_eq!(done.code, Some(0), "{}", done.stderr);
        let outcome: Json = serde_json::from_str(&done.stdout).unwrap();
        assert_eq!(outcome["tls"], true);
        let result = &outcome["results"][0];
        for fault in [
            "lost",
            "extra",
            "out_of_order",
            "corrupt",
            "closed_connections",
        ] {
            assert_eq!(result[fault], 0, "{result}");
        }
        assert!(result["delivered"].as_u64() > Some(0), "{result}");
    }
    let arguments = ["bench", "connect", "--clients", "20", "--seconds", "0.1"];
    let done = server.run(1, &server.authority, &arguments);
    assert_eq!(done.code, Some(0), "{}", done.stderr);
    let refused = server.run(1, &Authority::new(), &arguments);
    assert!(refused.stdout.contains("--ca"), "{refused:?}");
}

#[test]
fn commands_connect_by_a_unix_socket() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("mqtt.sock");
    let config = format!(
        "[[listener]]\ntransport = 'unix'\npath = '{}'\n",
        path.display()
    );
    let server = Broker::listening(&config, &[]);
    let mut command = roommq();
    command.env("ROOMMQ_SERVER", server.url(0));
    let sent = Program::run(command.args(["send", "lobby", "--retain", "kept"]), "");
    assert_eq!(sent.code, Some(0), "{}", sent.stderr);
    let mut command = roommq();
    command.args([
        "who",
        "lobby",
        "--server",
        &format!("unix:{}x", path.display()),
    ]);
    let failed = Program::run(&mut command, "");
    assert_eq!(failed.code, Some(1));
    assert!(failed.stderr.contains("mqtt.sockx"), "{}", failed.stderr);
}
