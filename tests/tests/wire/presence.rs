//! Presence: lost connections, returns, devices of one user.

use crate::ONE_LANE;
use roommq_tests::broker::Broker;
use roommq_tests::program::Program;
use roommq_tests::room;
use roommq_tests::wire::{BOTH, Client, Connect, Message, Version, frame};
use std::time::{Duration, Instant};

fn watcher(server: &Broker) -> Client {
    let mut client = Connect::v5("watcher").to(server.address());
    client.subscribe("rooms/lobby/#", 0);
    room::event(&mut client, "joined", "~watcher");
    client
}

fn bob(server: &Broker, version: Version) -> Client {
    let mut client = Connect::new(version, "bob").to(server.address());
    client.subscribe("rooms/lobby/#", 0);
    client
}

#[test]
fn a_loss_is_announced_with_its_reason_and_the_grace_period_ends_membership() {
    let server = Broker::with("[presence]\ngrace = \"300ms\"\n");
    let mut watcher = watcher(&server);
    for version in BOTH {
        let client = bob(&server, version);
        room::event(&mut watcher, "joined", "~bob");
        drop(client);
        let dropped = Instant::now();
        let entry = room::presence(&mut watcher, "~bob", "lost", 0);
        assert!(!entry["reason"].as_str().unwrap().is_empty());
        let event = room::event(&mut watcher, "lost", "~bob");
        assert_eq!(event["reason"], entry["reason"]);
        room::presence_cleared(&mut watcher, "~bob");
        let left = room::event(&mut watcher, "left", "~bob");
        assert_eq!(left["reason"], "lost");
        assert!(
            dropped.elapsed() >= Duration::from_millis(250),
            "not before the grace period"
        );
    }
}

#[test]
fn a_return_within_the_grace_period_is_announced_as_back() {
    let server = Broker::with("[presence]\ngrace = \"1h\"\n");
    let mut watcher = watcher(&server);
    drop(bob(&server, Version::V311));
    room::event(&mut watcher, "lost", "~bob");
    for version in BOTH {
        let client = bob(&server, version);
        room::presence(&mut watcher, "~bob", "online", 1);
        room::event(&mut watcher, "back", "~bob");
        drop(client);
        room::event(&mut watcher, "lost", "~bob");
    }
    // No member received a departure or an arrival.
    watcher.publish(&Message::new("rooms/lobby/t", "end").qos(1));
    let told = watcher.messages_until("end");
    assert!(
        !told.iter().any(|m| m.topic.ends_with("_events")),
        "{told:#?}"
    );
}

#[test]
fn every_end_without_disconnect_is_a_loss_with_its_reason() {
    let server = Broker::with("[presence]\ngrace = \"50ms\"\n");
    let mut watcher = watcher(&server);
    let mut lost = |client: Client, part: &str| {
        let event = room::event(&mut watcher, "lost", "~bob");
        let reason = event["reason"].as_str().unwrap();
        assert!(reason.contains(part), "{reason} does not speak of {part}");
        drop(client);
        room::event(&mut watcher, "left", "~bob");
    };
    let mut client = bob(&server, Version::V5);
    client.send(&Connect::v5("bob").bytes());
    lost(client, "CONNECT");
    let mut client = bob(&server, Version::V311);
    client.send(&frame(0xF3, &[1, 2, 3]));
    lost(client, "");
    let mut client = Connect::v311("bob").keep_alive(1).to(server.address());
    client.subscribe("rooms/lobby", 0);
    lost(client, "keep-alive");
}

#[test]
fn a_client_killed_with_sigkill_is_announced_within_a_second() {
    let server = Broker::with("[presence]\ngrace = \"200ms\"\n");
    let mut watcher = watcher(&server);
    let mut command = server.command(&["join", "lobby", "--client-id", "victim"]);
    let mut victim = Program::start(&mut command);
    room::event(&mut watcher, "joined", "~victim");
    victim.kill();
    let killed = Instant::now();
    let event = room::event(&mut watcher, "lost", "~victim");
    let told_after = killed.elapsed();
    assert!(told_after < Duration::from_secs(1), "{told_after:?}");
    assert!(!event["reason"].as_str().unwrap().is_empty());
    room::presence_cleared(&mut watcher, "~victim");
    room::event(&mut watcher, "left", "~victim");
}

#[test]
fn devices_of_one_user_are_one_member() {
    let config = "[auth]\nusers_file = \"@users@\"\n[presence]\ngrace = \"100ms\"\n";
    let server = Broker::with_users(config, &[("alice", "pw")]);
    let mut watcher = watcher(&server);
    let device = |version, id| {
        let mut client = Connect::new(version, id)
            .user("alice", "pw")
            .to(server.address());
        client.subscribe("rooms/lobby/#", 0);
        client
    };
    let phone = device(Version::V311, "phone");
    room::presence(&mut watcher, "alice", "online", 1);
    room::event(&mut watcher, "joined", "alice");
    let laptop = device(Version::V5, "laptop");
    room::presence(&mut watcher, "alice", "online", 2);
    // The user is not lost while one of two devices is connected.
    drop(phone);
    room::presence(&mut watcher, "alice", "online", 1);
    watcher.publish(&Message::new("rooms/lobby/t", "end").qos(1));
    assert_eq!(watcher.messages_until("end"), []);
    laptop.disconnect(0);
    room::presence_cleared(&mut watcher, "alice");
    room::event(&mut watcher, "left", "alice");
}

#[test]
fn two_anonymous_clients_are_two_members() {
    let server = Broker::start();
    let mut watcher = watcher(&server);
    let _one = bob(&server, Version::V5);
    let mut two = Connect::v5("eve").to(server.address());
    two.subscribe("rooms/lobby/#", 0);
    room::event(&mut watcher, "joined", "~bob");
    room::event(&mut watcher, "joined", "~eve");
}

#[test]
fn names_that_a_level_cannot_hold_are_encoded() {
    let server = Broker::with_users(
        "[auth]\nusers_file = \"@users@\"\n",
        &[("a/b+c#%", "pw"), ("Zoë", "pw")],
    );
    let mut watcher = watcher(&server);
    for (name, level) in [("a/b+c#%", "a%2Fb%2Bc%23%25"), ("Zoë", "Zoë")] {
        let mut client = Connect::v5("x").user(name, "pw").to(server.address());
        client.subscribe("rooms/lobby", 0);
        room::presence(&mut watcher, level, "online", 1);
    }
}

#[test]
fn a_restarted_server_has_no_old_presence() {
    let first = Broker::with(ONE_LANE);
    let _member = bob(&first, Version::V5);
    drop(first); // SIGKILL
    let second = Broker::with(ONE_LANE);
    let mut looker = Connect::v5("looker").to(second.address());
    looker.subscribe("rooms/lobby/_presence/+", 0);
    looker.subscribe("looker/end", 0);
    looker.publish(&Message::new("looker/end", "end"));
    assert_eq!(looker.messages_until("end"), []);
}

#[test]
fn a_hundred_joins_and_leaves_make_an_exact_roster() {
    // The card counts each change at once, so that it says when the roster is whole.
    let config = "[presence]\ngrace = \"100ms\"\n[rooms]\ninfo_interval = \"0s\"\n";
    let server = Broker::with(config);
    let mut watcher = watcher(&server);
    for n in 0..100 {
        let mut client = Connect::new(BOTH[n % 2], &format!("c{n}")).to(server.address());
        client.subscribe("rooms/lobby/#", 0);
        if n % 3 == 0 {
            client.disconnect(0);
        }
    }
    for n in 0..100 {
        room::event(&mut watcher, "joined", &format!("~c{n}"));
    }
    let mut looker = Connect::v5("looker").to(server.address());
    let mut roster = std::collections::BTreeSet::new();
    looker.subscribe("rooms/lobby/_presence/+", 0);
    looker.subscribe("rooms/lobby/_info", 0);
    let entries =
        looker.messages_where_until(|m| m.topic.ends_with("_info") && m.json()["count"] == 1);
    for entry in entries {
        if entry.topic.ends_with("_info") {
            continue;
        }
        if entry.payload.is_empty() {
            roster.remove(&entry.topic);
        } else {
            roster.insert(entry.topic);
        }
    }
    let left: Vec<String> = roster.into_iter().collect();
    assert_eq!(left, ["rooms/lobby/_presence/~watcher"]);
}
