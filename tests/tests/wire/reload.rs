//! Settings and users that a running server reads again, on SIGHUP and when a file changes.

use roommq_tests::broker::Broker;
use roommq_tests::program::Program;
use roommq_tests::room;
use roommq_tests::wire::{Client, Connect, Message};

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
    // Members stay, and so do their other rights.
    assert_eq!(publish(&mut member, "rooms/talk"), 0);
    Connect::v5("b").user("bob", "pw").to(address);
    Connect::v5("a").user("alice", "pw").to(address);
    server.log().line_with("client connected");

    // Back to the first settings.
    write(&server, "");
    server.hang_up();
    let back = r#"changed=["access", "log.level", "room"] needs_restart=[]"#;
    server.log().line_with(back);
    assert_eq!(publish(&mut eve, "plans/a"), 0);
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
