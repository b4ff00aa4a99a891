//! The commands for people, as processes.

use roommq_tests::broker::Broker;
use roommq_tests::program::{Program, roommq};
use roommq_tests::room;
use roommq_tests::wire::{Connect, Message};
use serde_json::Value as Json;

const STAFF: &str = "
[auth]
users_file = \"@users@\"
[[room]]
match = \"staff-*\"
access = \"list\"
members = [\"alice\"]
[[room]]
match = \"one\"
max_members = 1
";

#[test]
fn join_sends_its_input_and_prints_messages() {
    let server = Broker::start();
    let mut alice = Program::start(&mut server.command(&["join", "lobby", "--client-id", "alice"]));
    let mut bob = Connect::v311("bob").to(server.address());
    bob.subscribe("rooms/lobby/#", 0);
    room::presence(&mut bob, "~alice", "online", 1);
    alice.write("hello from a pipe\n");
    let heard = bob.message_where(|m| m.topic == "rooms/lobby");
    assert_eq!(heard.text(), "hello from a pipe");
    bob.publish(&Message::new("rooms/lobby", "hello from the wire").qos(1));
    let line = alice.stdout.line_with("hello from the wire");
    assert!(line.contains("~bob"), "{line}");
    bob.disconnect(0);
    let line = alice.stdout.line_with("left");
    assert!(line.contains("~bob"), "{line}");
}

#[test]
fn join_in_json_prints_one_object_a_line() {
    let server = Broker::start();
    let mut command = server.command(&["join", "lobby", "--json", "--client-id", "alice"]);
    let alice = Program::start(&mut command);
    alice.stdout.line_with("entered");
    let mut bob = Connect::v5("bob").to(server.address());
    bob.publish(&Message::new("rooms/lobby/t", "x").qos(1));
    let line = alice.stdout.line_with("rooms/lobby/t");
    let said: Json = serde_json::from_str(&line).unwrap();
    assert_eq!(said["type"], "message");
    assert_eq!(said["from"], "~bob");
    assert_eq!(said["text"], "x");
    for line in alice.stdout.lines() {
        serde_json::from_str::<Json>(&line).unwrap();
    }
}

#[test]
fn join_can_leave_at_the_end_of_its_input() {
    let server = Broker::start();
    let mut watcher = Connect::v5("watcher").to(server.address());
    watcher.subscribe("rooms/lobby/#", 0);
    let mut command = server.command(&["join", "lobby", "--leave-at-eof", "--client-id", "alice"]);
    let done = Program::run(&mut command, "one\ntwo\n");
    assert_eq!(done.code, Some(0), "{}", done.stderr);
    for text in ["one", "two"] {
        assert_eq!(
            watcher.message_where(|m| m.topic == "rooms/lobby").text(),
            text
        );
    }
    let left = room::event(&mut watcher, "left", "~alice");
    assert_eq!(left["reason"], "left");
}

#[test]
fn join_on_a_terminal_sends_lines_and_shows_the_room() {
    let server = Broker::start();
    let mut bob = Connect::v311("bob").to(server.address());
    bob.subscribe("rooms/lobby/#", 0);
    let mut command = server.command(&["join", "lobby", "--plain", "--client-id", "alice"]);
    let mut alice = Program::on_terminal(&mut command);
    alice.stdout.line_with("* you are in lobby on ");
    // At once, like pasted text: each line is sent, and none is lost.
    alice.write("one\rtwo\r//three\r/what\r");
    for text in ["one", "two", "/three"] {
        assert_eq!(bob.message_where(|m| m.topic == "rooms/lobby").text(), text);
    }
    alice.stdout.line_with("* /who shows who is here");
    bob.publish(&Message::new("rooms/lobby", "hello from the wire").qos(1));
    alice.stdout.line_with("~bob: hello from the wire");
    drop(bob);
    alice.stdout.line_with("* ~bob lost (");
    alice.write("/quit\r");
    let done = alice.finish();
    assert_eq!(done.code, Some(0), "{}", done.stderr);
}

#[test]
fn an_interrupted_join_leaves_in_order() {
    let server = Broker::start();
    let mut watcher = Connect::v5("watcher").to(server.address());
    watcher.subscribe("rooms/lobby/#", 0);
    let alice = Program::start(&mut server.command(&["join", "lobby", "--client-id", "alice"]));
    room::event(&mut watcher, "joined", "~alice");
    alice.signal(rustix::process::Signal::INT);
    room::event(&mut watcher, "left", "~alice");
}

#[test]
fn send_sends_its_words_or_the_lines_of_its_input() {
    let server = Broker::start();
    let mut watcher = Connect::v5("watcher").to(server.address());
    watcher.subscribe("rooms/lobby/#", 1);
    let sent = Program::run(
        &mut server.command(&["send", "lobby", "hello", "there"]),
        "",
    );
    assert_eq!(sent.code, Some(0), "{}", sent.stderr);
    let said = |m: &Message| !room::is_reserved(m);
    assert_eq!(watcher.message_where(said).text(), "hello there");
    let sent = Program::run(&mut server.command(&["send", "lobby"]), "a\nb\n");
    assert_eq!(sent.code, Some(0), "{}", sent.stderr);
    assert_eq!(watcher.message_where(said).text(), "a");
    assert_eq!(watcher.message_where(said).text(), "b");
    let mut command = server.command(&[
        "send",
        "lobby",
        "--topic",
        "sensors/door",
        "--retain",
        "open",
    ]);
    assert_eq!(Program::run(&mut command, "").code, Some(0));
    let got = watcher.message_where(said);
    assert_eq!(
        (got.topic.as_str(), got.text()),
        ("rooms/lobby/sensors/door", "open")
    );
    let mut later = Connect::v311("later").to(server.address());
    later.subscribe("rooms/lobby/sensors/door", 0);
    assert!(later.message().retain);
}

#[test]
fn the_commands_who_and_rooms_join_no_room() {
    let server = Broker::with(STAFF.replace("users_file = \"@users@\"", "").as_str());
    let nobody = Program::run(&mut server.command(&["who", "lobby", "--json"]), "");
    assert_eq!((nobody.code, nobody.stdout.as_str()), (Some(0), "[]"));
    let mut alice = Connect::v311("alice").to(server.address());
    alice.subscribe("rooms/lobby/#", 0);
    room::event(&mut alice, "joined", "~alice");
    let who = Program::run(&mut server.command(&["who", "lobby", "--json"]), "");
    let who: Json = serde_json::from_str(&who.stdout).unwrap();
    assert_eq!(who[0]["user"], "~alice");
    assert_eq!(who[0]["state"], "online");
    assert_eq!(who.as_array().unwrap().len(), 1);
    let table = Program::run(&mut server.command(&["who", "lobby"]), "");
    assert!(
        table.stdout.contains("~alice") && table.stdout.contains("online"),
        "{}",
        table.stdout
    );
    let rooms = Program::run(&mut server.command(&["rooms", "--json"]), "");
    let rooms: Json = serde_json::from_str(&rooms.stdout).unwrap();
    assert_eq!(rooms[0]["room"], "lobby");
    assert_eq!(rooms[0]["count"], 1);
    let table = Program::run(&mut server.command(&["rooms"]), "");
    assert!(table.stdout.contains("lobby"), "{}", table.stdout);
    alice.publish(&Message::new("rooms/lobby/t", "end").qos(1));
    assert_eq!(room::said_until(&mut alice, "end"), []);
}

#[test]
fn refusals_name_a_remedy_and_exit_with_an_error() {
    let server = Broker::with_users(STAFF, &[("alice", "pw"), ("eve", "pw")]);
    let password = server.file("password", "pw\n").display().to_string();
    let as_eve = ["--user", "eve", "--password-file", &password];
    for command in ["join", "who", "send"] {
        let mut arguments = vec![command, "staff-1"];
        if command == "send" {
            arguments.push("x");
        }
        arguments.extend(as_eve);
        let refused = Program::run(&mut server.command(&arguments), "");
        assert_eq!(refused.code, Some(1), "{command}");
        let told = "staff-1 is for its members; ask the server's operator to add you";
        assert!(
            refused.stderr.contains(told),
            "{command}: {}",
            refused.stderr
        );
        assert_eq!(refused.stdout, "", "{command}");
    }
    let mut first = Connect::v5("first").to(server.address());
    first.subscribe("rooms/one/#", 0);
    let full = Program::run(&mut server.command(&["join", "one"]), "");
    assert_eq!(full.code, Some(1));
    assert!(full.stderr.contains("full, 1 of 1"), "{}", full.stderr);
    let wrong = server.file("wrong", "no\n").display().to_string();
    let arguments = ["who", "lobby", "--user", "alice", "--password-file", &wrong];
    let refused = Program::run(&mut server.command(&arguments), "");
    assert_eq!(refused.code, Some(1));
    assert!(refused.stderr.contains("password"), "{}", refused.stderr);
    let bad = Program::run(&mut server.command(&["join", "no/room"]), "");
    assert_eq!(bad.code, Some(2));
    assert!(bad.stderr.contains("no room name"), "{}", bad.stderr);
}

#[test]
fn join_logs_in_with_a_password() {
    let server = Broker::with_users(STAFF, &[("alice", "pw")]);
    let password = server.file("password", "pw\n").display().to_string();
    let arguments = [
        "send",
        "staff-1",
        "x",
        "--retain",
        "--user",
        "alice",
        "--password-file",
        &password,
    ];
    let sent = Program::run(&mut server.command(&arguments), "");
    assert_eq!(sent.code, Some(0), "{}", sent.stderr);
}

#[test]
fn an_unreachable_server_is_named() {
    let mut command = roommq();
    // No server listens on port 1 of loopback.
    command.args(["who", "lobby", "--server", "127.0.0.1:1"]);
    let failed = Program::run(&mut command, "");
    assert_eq!(failed.code, Some(1));
    assert!(failed.stderr.contains("127.0.0.1:1"), "{}", failed.stderr);
}

#[test]
fn passwords_are_stored_as_hashes() {
    let directory = tempfile::TempDir::new().unwrap();
    let file = directory.path().join("users.toml");
    for (user, password) in [
        ("alice", "correct horse"),
        ("bob", "x"),
        ("alice", "new one"),
    ] {
        let mut command = roommq();
        command.arg("passwd").arg(&file).arg(user);
        let made = Program::run(&mut command, &format!("{password}\n"));
        assert_eq!(made.code, Some(0), "{}", made.stderr);
    }
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(!text.contains("horse") && !text.contains("new one"));
    assert_eq!(text.matches("$argon2id$").count(), 2, "{text}");
    assert_eq!(text.matches("SCRAM-SHA-256$16384:").count(), 2, "{text}");
    let config = directory.path().join("roommq.toml");
    std::fs::write(&config, "[auth]\nscram_iterations = 5000\n").unwrap();
    for (arguments, before, after) in [
        (["--config", config.to_str().unwrap()].as_slice(), 5_000, 1),
        (["--no-scram"].as_slice(), 5_000, 0),
    ] {
        let mut command = roommq();
        command.arg("passwd").arg(&file).arg("bob").args(arguments);
        let made = Program::run(&mut command, "pw\n");
        assert_eq!(made.code, Some(0), "{}", made.stderr);
        let text = std::fs::read_to_string(&file).unwrap();
        let found = text.matches(&format!("SCRAM-SHA-256${before}:")).count();
        assert_eq!(found, after, "{arguments:?}: {text}");
    }
    let mut command = roommq();
    command.arg("passwd").arg(&file).arg("bob");
    let refused = Program::run(&mut command, "a\u{7}b\n");
    assert_eq!(refused.code, Some(1));
    assert!(refused.stderr.contains("--no-scram"), "{}", refused.stderr);
    for bad in ["~x", "_x", "me", ""] {
        let mut command = roommq();
        command.arg("passwd").arg(&file).arg(bad);
        assert_eq!(Program::run(&mut command, "pw\n").code, Some(2), "{bad:?}");
    }
    let mode =
        std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&file).unwrap().permissions());
    assert_eq!(mode & 0o077, 0, "only the owner may read the file");
}

#[test]
fn roommq_without_arguments_serves_and_prints_a_command_to_try() {
    let mut command = roommq();
    command.args(["--listen", "127.0.0.1:0"]);
    let server = Program::start(&mut command);
    let line = server.stdout.line_with("listens on");
    let address = line.rsplit(' ').next().unwrap();
    let port = address.rsplit(':').next().unwrap();
    let line = server.stdout.line_with("mosquitto_sub");
    assert!(
        line.contains(port) && line.contains("rooms/lobby/#"),
        "{line}"
    );
    Connect::v5("a").to(address.parse().unwrap()).ping();
}
