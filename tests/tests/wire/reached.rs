//! Acknowledgements that say whether a message reached anybody.

use roommq_tests::broker::Broker;
use roommq_tests::program::Program;
use roommq_tests::wire::{Client, Connect, Message, Packet, Subscribe, Value, Version, property};

const NOBODY: u8 = 0x10;

const NO_LOCAL: u8 = 0b101;

#[test]
fn puback_and_pubrec_say_that_no_subscriber_matched() {
    let server = Broker::start();
    let mut sender = Connect::v5("sender").to(server.address());
    for qos in [1, 2] {
        let code =
            |sender: &mut Client, topic: &str| sender.publish(&Message::new(topic, "x").qos(qos)).0;
        assert_eq!(code(&mut sender, "reach/nobody"), NOBODY);
        assert_eq!(code(&mut sender, "rooms/lobbby"), NOBODY);
        for filter in ["reach/one", "#", "$share/group/reach/one"] {
            let mut receiver = Connect::v311("receiver").to(server.address());
            receiver.subscribe(filter, 0);
            assert_eq!(code(&mut sender, "reach/one"), 0, "{filter}, QoS {qos}");
            receiver.disconnect(0);
        }
        let offline = Connect::v5("offline").property(property::SESSION_EXPIRY, Value::Four(60));
        let mut receiver = offline.to(server.address());
        receiver.subscribe("reach/one", 1);
        receiver.disconnect(0);
        assert_eq!(code(&mut sender, "reach/one"), 0, "offline, QoS {qos}");
        // This ends the session.
        Connect::v5("offline").to(server.address()).disconnect(0);
        assert_eq!(code(&mut sender, "reach/one"), NOBODY);
        let retained = Message::new("reach/kept", "x").qos(qos).retained();
        assert_eq!(sender.publish(&retained).0, NOBODY, "retained, QoS {qos}");
    }
    let mut later = Connect::v311("later").to(server.address());
    later.subscribe("reach/kept", 0);
    assert!(later.message().retain);
    // A client that receives nothing of its own.
    sender.subscribe_with(&Subscribe::to("reach/own", NO_LOCAL));
    assert_eq!(
        sender.publish(&Message::new("reach/own", "x").qos(1)).0,
        NOBODY
    );
}

#[test]
fn each_of_many_acknowledgements_has_the_code_of_its_message() {
    let server = Broker::start();
    let mut receiver = Connect::v311("receiver").to(server.address());
    receiver.subscribe("many/heard", 0);
    let mut sender = Connect::v5("sender").to(server.address());
    let all = (1..=20_u16).flat_map(|id| {
        let topic = ["many/heard", "many/not", "else/where", "rooms/b_d/_x"][usize::from(id % 4)];
        let mut message = Message::new(topic, "x").qos(1 + u8::from(id % 3 == 0));
        message.id = id;
        message.bytes(Version::V5)
    });
    sender.send(&all.collect::<Vec<u8>>());
    for n in 1..=20 {
        let (id, code) = match sender.packet() {
            Packet::PubAck { id, code, .. } | Packet::PubRec { id, code, .. } => (id, code),
            other => panic!("{other:?}"),
        };
        let expected = [0, NOBODY, NOBODY, 0x87][usize::from(n % 4)];
        assert_eq!((id, code), (n, expected));
    }
}

const TALK: &str = "[[room]]\nmatch = \"talk\"\npublish = \"members\"\n";

/// Only the room knows who its members are, so its refusal comes to the inbox.
#[test]
fn a_message_that_a_room_refuses_reaches_nobody() {
    let server = Broker::with(TALK);
    let mut member = Connect::v311("member").to(server.address());
    member.subscribe("rooms/talk/#", 0);
    let mut sender = Connect::v5("sender").to(server.address());
    sender.subscribe("inbox/me/error", 0);
    assert_eq!(
        sender.publish(&Message::new("rooms/talk", "x").qos(1)).0,
        NOBODY
    );
    let sent = Program::run(&mut server.command(&["send", "talk", "x"]), "");
    assert_eq!(sent.code, Some(1), "{}", sent.stderr);
    assert!(
        sent.stderr.contains("not sent to rooms/talk: "),
        "{}",
        sent.stderr
    );
    assert!(!sent.stderr.contains("nobody is in"), "{}", sent.stderr);
}

#[test]
fn send_fails_if_a_message_reaches_nobody() {
    let server = Broker::start();
    let send = |arguments: &[&str], input: &str| {
        let arguments: Vec<&str> = ["send", "lobbby"]
            .iter()
            .chain(arguments)
            .copied()
            .collect();
        let sent = Program::run(&mut server.command(&arguments), input);
        (sent.code, sent.stderr)
    };
    for (arguments, input, told) in [
        (&["hello"][..], "", "nobody is in lobbby"),
        (&["hello", "--qos", "2"], "", "nobody is in lobbby"),
        (&[], "a\nb\n", "nobody is in lobbby: 2 of 2 messages"),
        (
            &["x", "--topic", "a/b"],
            "",
            "nobody in lobbby subscribes to rooms/lobbby/a/b",
        ),
    ] {
        let (code, stderr) = send(arguments, input);
        assert_eq!(code, Some(1), "{arguments:?}");
        assert!(stderr.contains(told), "{arguments:?}: {stderr}");
    }
    // It is there for those who come later.
    assert_eq!(send(&["x", "--retain"], ""), (Some(0), String::new()));
    let mut member = Connect::v311("member").to(server.address());
    member.subscribe("rooms/lobbby/#", 0);
    assert_eq!(send(&["x"], ""), (Some(0), String::new()));
}
