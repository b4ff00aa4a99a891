//! Enhanced authentication (4.12) by SCRAM-SHA-256, before CONNACK and later.

use roommq_tests::broker::Broker;
use roommq_tests::program::{Program, roommq};
use roommq_tests::wire::{
    BOTH, Client, Connect, Message, Packet, Properties, SCRAM, Scram, Version, auth, property,
};

const CONFIG: &str = "[auth]\nusers_file = \"@users@\"\n[limits]\nconnect_time = \"1s\"\n";
const USERS: [(&str, &str); 2] = [("alice", "pencil"), ("bob", "p=,é")];
const GO_ON: u8 = 0x18;
const AGAIN: u8 = 0x19;

fn server() -> Broker {
    // A loaded machine must not cause a timeout, except where a test is about it.
    Broker::with_users(&CONFIG.replace("1s", "20s"), &USERS)
}

fn text_of(properties: &Properties) -> String {
    assert_eq!(
        properties.text(property::AUTHENTICATION_METHOD),
        Some(SCRAM),
        "[MQTT-4.12.0-5]"
    );
    let data = properties.binary(property::AUTHENTICATION_DATA);
    String::from_utf8(data.unwrap_or_default().to_vec()).unwrap()
}

/// The data of the next packet, which must be an AUTH with this code.
fn told(client: &mut Client, expected: u8) -> String {
    match client.packet() {
        Packet::Auth { code, properties } => {
            assert_eq!(code, expected, "{properties:?}");
            text_of(&properties)
        }
        other => panic!("instead of an AUTH came {other:?}"),
    }
}

/// A client that has received a challenge, and the answer to it.
fn challenged(server: &Broker, id: &str, scram: &mut Scram) -> (Client, String) {
    let connect = Connect::v5(id).method(SCRAM, Some(&scram.first()));
    let mut client = Client::open(server.address(), Version::V5);
    client.send(&connect.bytes());
    // [MQTT-4.12.0-2]
    let challenge = told(&mut client, GO_ON);
    let last = scram.last(&challenge);
    (client, last)
}

fn login(server: &Broker, id: &str, user: &str, password: &str) -> Client {
    let mut scram = Scram::new(user, password);
    let (mut client, last) = challenged(server, id, &mut scram);
    client.send(&auth(GO_ON, SCRAM, Some(&last)));
    match client.packet() {
        Packet::ConnAck {
            code: 0,
            properties,
            ..
        } => assert_eq!(text_of(&properties), scram.signature()),
        other => panic!("{user}: {other:?}"),
    }
    client
}

/// The server must refuse by CONNACK, and close.
fn refused(mut client: Client, expected: u8) -> String {
    let reason = match client.packet() {
        Packet::ConnAck {
            code,
            properties,
            session_present: false,
        } => {
            assert_eq!(code, expected, "{properties:?}");
            properties.reason().to_owned()
        }
        other => panic!("{other:?}"),
    };
    assert_eq!(client.closed(), None, "nothing after a refusal");
    reason
}

#[test]
fn a_client_that_proves_the_password_is_authenticated() {
    let server = server();
    for (user, password) in USERS {
        let mut client = login(&server, "a", user, password);
        assert_eq!(client.subscribe(&format!("inbox/{user}/#"), 0), 0);
        assert_eq!(client.subscribe("inbox/eve/#", 0), 0x87);
    }
    // SCRAM and a password lead to the same user, so to the same session.
    let mut first = login(&server, "a", "alice", "pencil");
    let mut second = Connect::v5("a")
        .user("alice", "pencil")
        .to(server.address());
    assert_eq!(first.closed(), Some(0x8E));
    second.ping();
}

#[test]
fn a_client_may_send_its_first_message_in_auth() {
    let server = server();
    let mut scram = Scram::new("alice", "pencil");
    let mut client = Client::open(server.address(), Version::V5);
    client.send(&Connect::v5("a").method(SCRAM, None).bytes());
    assert_eq!(told(&mut client, GO_ON), "");
    client.send(&auth(GO_ON, SCRAM, Some(&scram.first())));
    let last = scram.last(&told(&mut client, GO_ON));
    client.send(&auth(GO_ON, SCRAM, Some(&last)));
    assert!(matches!(client.packet(), Packet::ConnAck { code: 0, .. }));
}

#[test]
fn wrong_passwords_and_unknown_users_get_the_same_refusal() {
    let server = server();
    let mut reasons = Vec::new();
    for (user, password) in [("alice", "pencil "), ("eve", "pencil"), ("alice", "")] {
        let mut scram = Scram::new(user, password);
        let (mut client, last) = challenged(&server, "a", &mut scram);
        client.send(&auth(GO_ON, SCRAM, Some(&last)));
        reasons.push(refused(client, 0x86));
    }
    assert!(reasons.iter().all(|r| *r == reasons[0]), "{reasons:?}");
    // The challenge for an unknown user looks like a real one, and does not change.
    let mut salts = Vec::new();
    for user in ["alice", "eve", "eve", "alice"] {
        let connect = Connect::v5("a").method(SCRAM, Some(&Scram::new(user, "").first()));
        let mut client = Client::open(server.address(), Version::V5);
        client.send(&connect.bytes());
        let challenge = told(&mut client, GO_ON);
        let (_, salt) = challenge.split_once(',').unwrap();
        salts.push(salt.to_owned());
    }
    assert_eq!((&salts[0], &salts[1]), (&salts[3], &salts[2]));
    assert_ne!(salts[0], salts[1]);
    assert_eq!(salts[0].len(), salts[1].len());
}

#[test]
fn tampered_messages_are_refused() {
    let server = server();
    for (from, to, code) in [
        ("r=fyko", "r=fykp", 0x87),
        ("c=biws", "c=eSws", 0x87),
        (",p=", ",x=y,p=", 0x86),
        (",p=", ",p=AAAA", 0x87),
    ] {
        let mut scram = Scram::new("alice", "pencil");
        let (mut client, last) = challenged(&server, "a", &mut scram);
        let last = last.replacen(from, to, 1);
        client.send(&auth(GO_ON, SCRAM, Some(&last)));
        refused(client, code);
    }
    // The proof of another exchange.
    let (_client, stale) = challenged(&server, "a", &mut Scram::new("alice", "pencil"));
    let (mut client, _) = challenged(&server, "b", &mut Scram::new("alice", "pencil"));
    client.send(&auth(GO_ON, SCRAM, Some(&stale)));
    refused(client, 0x87);
    // Data that is no SCRAM message.
    for first in [
        "",
        "n,,",
        "p=tls-unique,,n=alice,r=x",
        "n,a=bob,n=alice,r=x",
    ] {
        let connect = Connect::v5("a").method(SCRAM, Some(first));
        if !first.is_empty() {
            connect.refused(server.address(), 0x87);
        }
    }
    let name_of_nobody = Connect::v5("a").method(SCRAM, Some("n,,n=me,r=x"));
    name_of_nobody.refused(server.address(), 0x86);
}

#[test]
fn names_in_connect_and_scram_must_agree() {
    let server = server();
    for (name, agrees) in [("alice", true), ("bob", false)] {
        let mut scram = Scram::new("alice", "pencil");
        let mut connect = Connect::v5("a").method(SCRAM, Some(&scram.first()));
        connect.user_name = Some(name.to_owned());
        if !agrees {
            connect.refused(server.address(), 0x87);
            continue;
        }
        let mut client = Client::open(server.address(), Version::V5);
        client.send(&connect.bytes());
        let last = scram.last(&told(&mut client, GO_ON));
        client.send(&auth(GO_ON, SCRAM, Some(&last)));
        assert!(matches!(client.packet(), Packet::ConnAck { code: 0, .. }));
    }
}

#[test]
fn another_method_is_refused() {
    let server = server();
    for method in ["SCRAM-SHA-1", "SCRAM-SHA-256-PLUS", "PLAIN", ""] {
        let connect = Connect::v5("a").method(method, Some("n,,n=alice,r=x"));
        // [MQTT-4.12.0-1]
        let told = connect.refused(server.address(), 0x8C);
        assert!(told.reason().contains(SCRAM), "{told:?}");
        // [MQTT-4.12.0-5]
        let mut scram = Scram::new("alice", "pencil");
        let (mut client, last) = challenged(&server, "a", &mut scram);
        client.send(&auth(GO_ON, method, Some(&last)));
        refused(client, 0x8C);
    }
}

#[test]
fn without_a_method_there_is_no_auth() {
    let server = server();
    for code in [GO_ON, AGAIN] {
        let (mut client, connack) = Connect::v5("a").attempt(server.address());
        let Packet::ConnAck { properties, .. } = connack else {
            panic!("{connack:?}");
        };
        // [MQTT-4.12.0-6]
        assert_eq!(properties.text(property::AUTHENTICATION_METHOD), None);
        // [MQTT-4.12.0-7]
        client.send(&auth(code, SCRAM, None));
        assert_eq!(client.closed(), Some(0x82));
    }
    let mut client = Connect::v311("a").to(server.address());
    client.send(&auth(AGAIN, SCRAM, None));
    assert_eq!(client.closed(), None);
}

#[test]
fn before_connack_only_auth_and_disconnect_may_come() {
    let server = server();
    let begin = || challenged(&server, "a", &mut Scram::new("alice", "pencil"));
    let early: [(&str, Vec<u8>, u8); 6] = [
        // [MQTT-3.1.2-30]
        ("PUBLISH", Message::new("a", "x").bytes(Version::V5), 0x82),
        ("PINGREQ", vec![0xC0, 0], 0x82),
        ("CONNECT", Connect::v5("a").bytes(), 0x82),
        (
            "AUTH again",
            auth(AGAIN, SCRAM, Some("n,,n=alice,r=x")),
            0x82,
        ),
        ("AUTH at the end", auth(0, SCRAM, None), 0x82),
        ("nonsense", vec![0xF1, 0], 0x81),
    ];
    for (what, bytes, code) in early {
        let (mut client, _) = begin();
        client.send(&bytes);
        assert!(!refused(client, code).is_empty(), "{what}");
    }
    let (mut client, _) = begin();
    client.send(&[0xE0, 0]);
    assert_eq!(
        client.raw_until_closed(),
        b"",
        "no CONNACK for a client that left"
    );
    // A client that closes its socket leaves nothing behind.
    drop(begin());
    login(&server, "a", "alice", "pencil").ping();
}

#[test]
fn a_silent_client_loses_its_exchange() {
    let server = Broker::with_users(CONFIG, &USERS);
    let mut silent = Client::open(server.address(), Version::V5);
    let scram = Scram::new("alice", "pencil");
    let connect = Connect::v5("a").method(SCRAM, Some(&scram.first()));
    silent.send(&connect.bytes());
    told(&mut silent, GO_ON);
    let reason = refused(silent, 0x87);
    assert!(
        reason.contains("the client did not answer by AUTH") && reason.contains("1s"),
        "{reason}"
    );
    server.log().line_with("the client did not answer by AUTH");
}

#[test]
fn a_flood_of_auth_ends_at_the_first_wrong_packet() {
    let server = server();
    let (mut client, _) = challenged(&server, "a", &mut Scram::new("alice", "x"));
    let _ = client.try_send(&auth(GO_ON, SCRAM, Some("flood")).repeat(1_000));
    refused(client, 0x87);
    let mut client = login(&server, "a", "alice", "pencil");
    let begin = auth(AGAIN, SCRAM, Some(&Scram::new("alice", "x").first()));
    let _ = client.try_send(&begin.repeat(1_000));
    told(&mut client, GO_ON);
    assert_eq!(client.closed(), Some(0x82));
    login(&server, "a", "alice", "pencil").ping();
}

#[test]
fn messages_flow_during_reauthentication() {
    let server = server();
    let mut client = login(&server, "a", "alice", "pencil");
    client.subscribe("t", 1);
    for round in 0..3 {
        let mut scram = Scram::new("alice", "pencil");
        // [MQTT-4.12.1-1]
        client.send(&auth(AGAIN, SCRAM, Some(&scram.first())));
        let last = scram.last(&told(&mut client, GO_ON));
        let message = Message::new("t", format!("{round}")).qos(1);
        assert_eq!(client.publish(&message).0 & 0x80, 0);
        assert_eq!(client.message().payload, message.payload);
        client.send(&auth(GO_ON, SCRAM, Some(&last)));
        assert_eq!(told(&mut client, 0), scram.signature());
    }
    assert_eq!(client.subscribe("inbox/alice/#", 0), 0);
}

#[test]
fn a_failed_reauthentication_closes_the_connection() {
    let server = server();
    for (user, password) in [("alice", "x"), ("eve", "pencil"), ("bob", "p=,é")] {
        let mut watcher = Connect::v5("w").to(server.address());
        watcher.subscribe("will", 0);
        let mut scram = Scram::new("alice", "pencil");
        let connect = Connect::v5("a")
            .method(SCRAM, Some(&scram.first()))
            .will(Message::new("will", user));
        let mut client = Client::open(server.address(), Version::V5);
        client.send(&connect.bytes());
        let last = scram.last(&told(&mut client, GO_ON));
        client.send(&auth(GO_ON, SCRAM, Some(&last)));
        assert!(matches!(client.packet(), Packet::ConnAck { code: 0, .. }));

        let mut scram = Scram::new(user, password);
        client.send(&auth(AGAIN, SCRAM, Some(&scram.first())));
        let last = scram.last(&told(&mut client, GO_ON));
        client.send(&auth(GO_ON, SCRAM, Some(&last)));
        // [MQTT-4.12.1-2]
        assert_eq!(client.closed(), Some(0x87), "{user}");
        assert_eq!(watcher.message().text(), user, "the will is sent");
    }
}

#[test]
fn an_unexpected_auth_is_a_protocol_error() {
    let server = server();
    let first = Scram::new("alice", "pencil").first();
    for (what, bytes) in [
        (
            "[MQTT-4.12.1-1] another method",
            auth(AGAIN, "PLAIN", Some(&first)),
        ),
        ("nothing to continue", auth(GO_ON, SCRAM, Some(&first))),
        ("success from a client", auth(0, SCRAM, None)),
    ] {
        let mut client = login(&server, "a", "alice", "pencil");
        client.send(&bytes);
        assert_eq!(client.closed(), Some(0x82), "{what}");
    }
}

#[test]
fn a_user_without_a_scram_verifier_logs_in_by_password_only() {
    let directory = tempfile::TempDir::new().unwrap();
    let file = directory.path().join("users.toml");
    for (user, arguments) in [("alice", ["--no-scram"].as_slice()), ("bob", &[])] {
        let mut command = roommq();
        command.arg("passwd").arg(&file).arg(user).args(arguments);
        let made = Program::run(&mut command, "pencil\n");
        assert_eq!(made.code, Some(0), "{}", made.stderr);
    }
    let config = format!("[auth]\nusers_file = {:?}\n", file.display().to_string());
    let refused_by_scram = |server: &Broker, user: &str| {
        let (mut client, last) = challenged(server, "a", &mut Scram::new(user, "pencil"));
        client.send(&auth(GO_ON, SCRAM, Some(&last)));
        let reason = refused(client, 0x86);
        assert!(!reason.contains("SCRAM"), "{reason}");
        server.log().line_with("has no verifier for SCRAM");
        let connect = Connect::v5("a").user(user, "pencil");
        connect.to(server.address()).ping();
    };
    let server = Broker::with(&config);
    refused_by_scram(&server, "alice");
    login(&server, "a", "bob", "pencil").ping();
    // A file of the time before SCRAM.
    let text = std::fs::read_to_string(&file).unwrap();
    let hashes = text.lines().filter(|line| line.contains("argon2"));
    let old = hashes.fold("[users]\n".to_owned(), |text, line| text + line + "\n");
    std::fs::write(&file, old).unwrap();
    refused_by_scram(&Broker::with(&config), "bob");
}

/// Many devices have fixed CONNECT flags.
#[test]
fn an_empty_user_name_and_password_count_as_none() {
    let server = |anonymous: bool| {
        let config = format!("[auth]\nanonymous = {anonymous}\nusers_file = '@users@'\n");
        Broker::with_users(&config, &[("alice", "secret")])
    };
    let (open, closed) = (server(true), server(false));
    let empty = |version, password: Option<&str>| Connect {
        password: password.map(str::to_owned),
        ..Connect::new(version, "device").user("", "")
    };
    for version in BOTH {
        let codes = if version == Version::V5 {
            (0x87, 0x86)
        } else {
            (5, 4)
        };
        let refused = |connect: Connect, server: &Broker, wanted| {
            let answer = connect.attempt(server.address()).1;
            assert!(
                matches!(answer, Packet::ConnAck { code, .. } if code == wanted),
                "{answer:?}"
            );
        };
        for password in [Some(""), None] {
            let mut device = empty(version, password).to(open.address());
            device.subscribe("inbox/~device/#", 0);
            device.publish(&Message::new("inbox/me/dm/~device", "anonymous"));
            assert_eq!(device.message().text(), "anonymous");
            refused(empty(version, password), &closed, codes.0);
        }
        // A password alone claims something, as does a name.
        refused(empty(version, Some("x")), &open, codes.1);
        refused(
            Connect::new(version, "device").user("alice", ""),
            &open,
            codes.1,
        );
    }
}
