//! Two connections with one client id.

use crate::ONE_LANE;
use roommq_tests::broker::Broker;
use roommq_tests::room;
use roommq_tests::wire::{BOTH, Connect, Message, Version};

#[test]
fn the_newer_connection_takes_over() {
    let server = Broker::start();
    for (version, code) in [(Version::V311, None), (Version::V5, Some(0x8E))] {
        let mut old = Connect::new(version, "same").to(server.address());
        let mut new = Connect::v5("same").to(server.address());
        // [MQTT-3.1.4-3]
        assert_eq!(old.closed(), code);
        new.ping();
    }
}

#[test]
fn a_clean_takeover_ends_old_subscriptions() {
    let server = Broker::with(ONE_LANE);
    let mut old = Connect::v311("same").to(server.address());
    old.subscribe("old/news", 0);
    let mut new = Connect::v311("same").to(server.address());
    old.closed();
    new.subscribe("old/end", 0);
    let mut sender = Connect::v5("s").to(server.address());
    sender.publish(&Message::new("old/news", "x"));
    sender.publish(&Message::new("old/end", "end"));
    assert_eq!(new.messages_until("end"), []);
}

#[test]
fn a_client_id_belongs_to_its_user() {
    let users = [("alice", "a"), ("bob", "b")];
    let server = Broker::with_users("[auth]\nusers_file = \"@users@\"\n", &users);
    let mut alice = Connect::v5("phone").user("alice", "a").to(server.address());
    let mut bob = Connect::v311("phone").user("bob", "b").to(server.address());
    let mut stranger = Connect::v5("phone").to(server.address());
    alice.ping();
    bob.ping();
    stranger.ping();
}

#[test]
fn a_takeover_keeps_membership() {
    let server = Broker::with("[presence]\ngrace = \"1h\"\n");
    for version in BOTH {
        let mut watcher = Connect::v5("watcher").to(server.address());
        watcher.subscribe("rooms/lobby/#", 0);
        let mut old = Connect::new(version, "same").to(server.address());
        old.subscribe("rooms/lobby/#", 0);
        room::presence(&mut watcher, "~same", "online", 1);
        let mut new = Connect::new(version, "same").to(server.address());
        old.closed();
        new.subscribe("rooms/lobby/#", 0);
        watcher.publish(&Message::new("rooms/lobby", "end").qos(1));
        let told = watcher.messages_until("end");
        let left = told.iter().find(|m| room::is_event(m, "left", "~same"));
        assert_eq!(left, None);
        // The last presence message says online.
        let entry = told.iter().rfind(|m| room::is_presence(m, "~same"));
        if let Some(entry) = entry {
            assert_eq!(entry.field("state"), "online");
            assert_eq!(entry.json()["devices"], 1);
        }
        new.unsubscribe("rooms/lobby/#");
        room::event(&mut watcher, "left", "~same");
    }
}

#[test]
fn a_storm_of_takeovers_leaves_one_connection() {
    let server = Broker::with("[presence]\ngrace = \"100ms\"\n");
    let mut watcher = Connect::v5("watcher").to(server.address());
    watcher.subscribe("rooms/lobby/_presence/+", 0);
    for _ in 0..20 {
        let mut client = Connect::v5("same").to(server.address());
        client.start_subscribe("rooms/lobby/#", 0);
    }
    let mut last = Connect::v5("same").to(server.address());
    last.subscribe("rooms/lobby/#", 0);
    last.subscribe("inbox/me/#", 0);
    room::presence(&mut last, "~same", "online", 1);
    // If the end of an older connection counted, the roster would be cleared after the grace period.
    let mut fence = Connect::v5("fence").to(server.address());
    fence.subscribe("rooms/lobby", 0);
    drop(fence);
    room::presence_cleared(&mut watcher, "~fence");
    let mut looker = Connect::v5("looker").to(server.address());
    looker.subscribe("rooms/lobby/_presence/+", 0);
    room::presence(&mut looker, "~same", "online", 1);
}
