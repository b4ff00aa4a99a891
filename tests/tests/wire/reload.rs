//! Settings and users that a running server reads again, on SIGHUP and when a file changes.

use roommq_tests::broker::Broker;
use roommq_tests::program::Program;
use roommq_tests::room;
use roommq_tests::token;
use roommq_tests::wire::{Client, Connect, Message, Version};

const SETTINGS: &str = "\
[auth]
users_file = \"users.toml\"
[limits]
inflight = 50
";

/// Writes the settings file of a server.
fn write(server: &Broker, more: &str) {
    server.file("roommq.toml", &format!("{SETTINGS}{more}"));
}

fn server() -> Broker {
    Broker::with_users(SETTINGS, &[("alice", "pw")])
}

/// Sets a password in the users file of a server.
fn set_password(server: &Broker, name: &str) {
    let file = server.file("unused", "").with_file_name("users.toml");
    let file = file.display().to_string();
    let made = Program::run(&mut server.command(&["passwd", &file, name]), "pw\n");
    assert_eq!(made.code, Some(0), "{}", made.stderr);
}

fn publish(client: &mut Client, topic: &str) -> u8 {
    client.publish(&Message::new(topic, "x").qos(1)).0
}

/// Rules, of which each changes something for the client `eve`.
const RULES: &str = "\
[log]
level = \"debug\"
[lanes]
count = 3
[[room]]
match = \"staff\"
access = \"list\"
members = [\"alice\"]
[[room]]
match = \"talk\"
publish = \"members\"
[[access]]
topics = [\"plans/#\"]
publish = \"deny\"
subscribe = \"deny\"
";

#[test]
fn sighup_takes_users_rooms_access_rules_and_the_log_level() {
    let server = server();
    let address = server.address();
    let mut eve = Connect::v5("eve").to(address);
    let mut member = Connect::v5("member").to(address);
    member.subscribe("rooms/talk/#", 0);
    member.subscribe("rooms/staff/#", 0);
    member.subscribe("plans/#", 0);
    assert_eq!(publish(&mut eve, "plans/a"), 0);
    assert_eq!(publish(&mut eve, "rooms/talk"), 0);
    Connect::v5("b").user("bob", "pw").refused(address, 0x86);

    set_password(&server, "bob");
    write(&server, RULES);
    server.hang_up();
    let line = server.log().line_with("settings have been reloaded");
    let changed = r#"changed=["access", "log.level", "room", "users"]"#;
    assert!(line.contains(changed), "{line}");
    assert!(line.contains(r#"needs_restart=["lanes.count"]"#), "{line}");

    // The permit of the last PUBLISH counts no more.
    assert_eq!(publish(&mut eve, "plans/a"), 0x87);
    assert_eq!(eve.subscribe("plans/a", 0), 0x87);
    assert_eq!(eve.subscribe("rooms/staff/#", 0), 0x87);
    assert_eq!(publish(&mut eve, "rooms/staff"), 0x87);
    assert_eq!(eve.subscribe("inbox/me/error", 0), 0);
    publish(&mut eve, "rooms/talk");
    let refused = eve.message();
    assert_eq!(refused.field("topic"), "rooms/talk", "by its room");
    // Members of this room stay. Other subscriptions have been revoked.
    assert_eq!(publish(&mut member, "rooms/talk"), 0);
    Connect::v5("b").user("bob", "pw").to(address);
    Connect::v5("a").user("alice", "pw").to(address);
    server.log().line_with("client connected");

    // Back to the first settings.
    write(&server, "");
    server.hang_up();
    let back = r#"changed=["access", "log.level", "room"] needs_restart=[]"#;
    server.log().line_with(back);
    assert_eq!(publish(&mut eve, "plans/a"), 0x10);
    assert_eq!(eve.subscribe("rooms/staff/#", 0), 0);
    room::event(&mut eve, "joined", "~eve");
}

#[test]
fn a_reload_takes_all_or_nothing() {
    let server = server();
    let address = server.address();
    let mut eve = Connect::v5("eve").to(address);
    for (more, users, why) in [
        (
            "[[room]]\nmatch = \"a\"\nmax_membres = 3\n",
            true,
            "max_membres",
        ),
        ("[log]\nlevel = \"a=b=c\"\n", true, "log.level"),
        (
            "[[room]]\nmatch = \"x\"\naccess = \"list\"\nmembers = [\"a\"]\n",
            false,
            "users.toml",
        ),
    ] {
        let before = server.log().lines().len();
        write(&server, more);
        set_password(&server, "bob");
        if !users {
            server.file("users.toml", "[users]\nbob = \"no hash\"\n");
        }
        server.hang_up();
        let refused = |line: &str| {
            line.contains("settings cannot be reloaded; the old ones stay") && line.contains(why)
        };
        server.log().line(refused);
        assert!(server.log().lines().len() > before);
        Connect::v5("b").user("bob", "pw").refused(address, 0x86);
        Connect::v5("a").user("alice", "pw").to(address);
        assert!(publish(&mut eve, "rooms/x") < 0x80);
    }
}

#[test]
fn a_changed_file_is_taken_without_a_signal() {
    let server = server();
    let address = server.address();
    let mut eve = Connect::v5("eve").to(address);
    write(&server, RULES);
    server.log().line_with("settings have been reloaded");
    assert_eq!(publish(&mut eve, "plans/a"), 0x87);
    set_password(&server, "bob");
    server.log().line_with(r#"changed=["users"]"#);
    Connect::v5("b").user("bob", "pw").to(address);
}

/// The room `staff` for these members.
fn staff(members: &str) -> String {
    format!("[[room]]\nmatch = \"staff\"\naccess = \"list\"\nmembers = [{members}]\n")
}

fn log_in(server: &Broker, version: Version, id: &str, user: &str) -> Client {
    let connect = Connect::new(version, id).user(user, "pw");
    connect.to(server.address())
}

/// The row `reload`: whoever may not any more is evicted, and all others notice nothing.
#[test]
fn reload() {
    let users = [("alice", "pw"), ("bob", "pw"), ("carol", "pw")];
    let server = Broker::with_users(SETTINGS, &users);
    write(&server, &staff(r#""alice", "bob""#));
    server.hang_up();
    server.log().line_with(r#"changed=["room"]"#);
    let mut alice = log_in(&server, Version::V5, "a", "alice");
    assert_eq!(alice.subscribe("rooms/staff/_events", 0), 0);
    assert_eq!(alice.subscribe("rooms/lobby", 0), 0);
    let mut all = Vec::new();
    for version in [Version::V5, Version::V311] {
        let mut bob = log_in(&server, version, &format!("{version:?}"), "bob");
        for filter in ["inbox/me/error", "rooms/staff", "rooms/lobby"] {
            assert_eq!(bob.subscribe(filter, 1), 1);
        }
        all.push(bob);
    }
    let mut watcher = log_in(&server, Version::V5, "w", "bob");
    assert_eq!(watcher.subscribe("rooms/lobby", 0), 0);

    // Bob leaves the list.
    write(&server, &staff(r#""alice""#));
    server.hang_up();
    room::event(&mut alice, "left", "bob");
    for bob in &mut all {
        let told = bob.message();
        assert_eq!(told.topic, "inbox/me/error");
        assert_eq!(told.field("filter"), "rooms/staff");
    }
    assert_eq!(
        publish(&mut alice, "rooms/staff"),
        0x10,
        "nobody is left who reads it"
    );
    assert_eq!(publish(&mut alice, "rooms/lobby"), 0);
    for bob in &mut all {
        assert_eq!(
            bob.message().topic,
            "rooms/lobby",
            "and nothing of the room"
        );
        assert!(bob.subscribe("rooms/staff", 0) >= 0x80);
    }
    assert_eq!(publish(&mut all[0], "rooms/staff"), 0x87);
    watcher.message_where(|message| message.topic == "rooms/lobby");
    watcher.ping();

    // Bob's password changes, and Carol is deleted. She has an offline session, too.
    let mut carol = log_in(&server, Version::V311, "c", "carol");
    carol.subscribe("rooms/lobby", 1);
    let mut offline = Connect::v311("o")
        .user("carol", "pw")
        .clean(false)
        .to(server.address());
    offline.subscribe("rooms/lobby", 1);
    drop(offline);
    let file = server.file("unused", "").with_file_name("users.toml");
    let file = file.display().to_string();
    let changed = Program::run(&mut server.command(&["passwd", &file, "bob"]), "other\n");
    assert_eq!(changed.code, Some(0), "{}", changed.stderr);
    let deleted = Program::run(
        &mut server.command(&["passwd", &file, "carol", "--delete"]),
        "",
    );
    assert_eq!(deleted.code, Some(0), "{}", deleted.stderr);
    server.hang_up();
    assert_eq!(all.remove(0).closed(), Some(0x87));
    assert_eq!(all.remove(0).closed(), None);
    assert_eq!(watcher.closed(), Some(0x87));
    assert_eq!(carol.closed(), None);
    let mut bob = Connect::v5("b").user("bob", "other").to(server.address());
    // Another reload leaves the new login alone.
    write(&server, &staff(r#""alice", "dave""#));
    server.hang_up();
    server
        .log()
        .line(|line| line.contains(r#"changed=["room"]"#) && !line.contains("users"));
    bob.ping();
    alice.ping();
    log_in(&server, Version::V5, "a2", "alice").ping();
}

#[test]
fn tokens_of_a_key_that_is_taken_away_end() {
    let settings = "[[listener]]\nbind = \"127.0.0.1:0\"\n[jwt]\nkeys = \"keys.json\"\n";
    let server = Broker::listening(settings, &[("keys.json", &token::keys())]);
    let hour = std::time::Duration::from_hours(1);
    let mut client = Connect::v5("c")
        .user("alice", &token::token_of("alice", hour))
        .to(server.address());
    let mut anonymous = Connect::v5("a").to(server.address());
    server.hang_up();
    server.log().line_with("settings have been reloaded");
    client.ping();
    server.file("keys.json", &token::key_set("web", &[7; 32]));
    server.hang_up();
    assert_eq!(client.closed(), Some(0x87));
    anonymous.ping();
}
