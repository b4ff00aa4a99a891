//! TLS: certificates of the server and of clients.

use roommq_tests::broker::Broker;
use roommq_tests::tls::{self, Authority, Identity};
use roommq_tests::wire::{Client, Connect, Message, Packet, Version};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::mpsc;
use std::thread;
use std::time::Instant;

const TLS: &str = "[[listener]]\nbind = '127.0.0.1:0'\ntransport = 'tls'\n\
                   certificate = 'server.pem'\nkey = 'server.key'\n";

/// A TLS server. `more` is the rest of its configuration, and `ca.pem` has the CA of its clients.
fn server(authority: &Authority, more: &str) -> Broker {
    let Identity { certificate, key } = authority.server();
    let files = [
        ("server.pem", &*certificate),
        ("server.key", &*key),
        ("ca.pem", &*authority.root()),
    ];
    Broker::listening(&format!("{TLS}{more}"), &files)
}

/// Whether a client that trusts only `authority` can connect.
fn trusts(authority: &Authority, server: &Broker) -> bool {
    let mut stream = tls::to(server.address(), &authority.trusted_by(None));
    let bytes = Connect::v5("probe").bytes();
    stream.write_all(&bytes).is_ok() && stream.read(&mut [0; 1]).is_ok_and(|n| n == 1)
}

#[test]
fn a_client_that_does_not_trust_the_server_does_not_connect() {
    let authority = Authority::new();
    let server = server(&authority, "");
    assert!(trusts(&authority, &server));
    assert!(!trusts(&Authority::new(), &server));
}

#[test]
fn bytes_that_are_no_tls_close_the_connection_and_are_logged() {
    let server = server(&Authority::new(), "");
    let mut plain = Client::open(server.address(), Version::V5);
    plain.send(b"hello, which is no TLS and no other protocol of a listener");
    let _alert = plain.raw_until_closed();
    server
        .log()
        .line(|line| line.contains("handshake failed") && line.contains("TLS: "));
}

#[test]
fn sighup_reloads_files_and_a_broken_one_changes_nothing() {
    let (old, new) = (Authority::new(), Authority::new());
    let server = server(&old, "");
    let mut before = Connect::v5("before").over(tls::to(server.address(), &old.trusted_by(None)));
    server.file("server.key", "not a key");
    server.hang_up();
    let line = server.log().line_with("TLS files cannot be used");
    assert!(
        line.contains("server.key") && line.contains("the old ones stay"),
        "{line}"
    );
    assert!(trusts(&old, &server));
    let identity = new.server();
    server.file("server.pem", &identity.certificate);
    server.file("server.key", &identity.key);
    server.hang_up();
    server.log().line_with("TLS files have been read again");
    assert!(trusts(&new, &server) && !trusts(&old, &server));
    // Open connections continue.
    before.ping();
}

/// `openssl x509 -req` makes such certificates where it is given no extensions.
#[test]
fn a_server_certificate_of_x509_version_1_is_served_and_a_clients_is_named_in_the_log() {
    let ca = include_str!("v1/ca.pem");
    let own = |key| {
        [
            ("server.pem", include_str!("v1/server.pem")),
            ("server.key", key),
            ("ca.pem", ca),
        ]
    };
    let key = include_str!("v1/server.key");
    let asking = "client_ca = 'ca.pem'\nclient_certificates = 'optional'\n";
    let server = Broker::listening(&format!("{TLS}{asking}"), &own(key));
    // The server leaves it to clients what to think of its certificate.
    Connect::v5("c")
        .over(tls::to(server.address(), &tls::trusting(None)))
        .ping();
    let client = Identity {
        certificate: include_str!("v1/client.pem").to_owned(),
        key: include_str!("v1/client.key").to_owned(),
    };
    let mut refused = tls::to(server.address(), &tls::trusting(Some(&client)));
    let _ = refused.write_all(&Connect::v5("c").bytes());
    assert!(refused.read_exact(&mut [0; 4]).is_err());
    let line = server.log().line_with("handshake failed");
    assert!(
        line.contains("X.509 v1") && line.contains("-extfile"),
        "{line}"
    );
    // A key of another certificate is refused for version 1 as well.
    let other = std::panic::catch_unwind(|| {
        Broker::listening(TLS, &own(include_str!("v1/client.key")));
    });
    let told = other.unwrap_err().downcast::<String>().unwrap();
    assert!(told.contains("do not belong together"), "{told}");
}

#[test]
fn changed_files_are_reloaded() {
    let (old, new) = (Authority::new(), Authority::new());
    let server = server(&old, "");
    assert!(trusts(&old, &server));
    let identity = new.server();
    // One file after the other. Between the two writes they do not belong together.
    server.file("server.pem", &identity.certificate);
    server.file("server.key", &identity.key);
    server.log().line_with("TLS files have been read again");
    assert!(trusts(&new, &server));
}

#[test]
fn a_tls_session_is_resumed() {
    use tokio_rustls::rustls::HandshakeKind;
    use tokio_rustls::rustls::pki_types::ServerName;
    use tokio_rustls::rustls::{ClientConnection, StreamOwned};
    let authority = Authority::new();
    let server = server(&authority, "");
    let config = authority.trusted_by(None);
    let mut kinds = Vec::new();
    for _ in 0..2 {
        let name = ServerName::try_from("localhost").unwrap();
        let tls = ClientConnection::new(config.clone(), name).unwrap();
        let mut stream = StreamOwned::new(tls, tls::tcp(server.address()));
        stream.write_all(&Connect::v311("c").bytes()).unwrap();
        stream.read_exact(&mut [0; 4]).unwrap();
        kinds.push(stream.conn.handshake_kind());
    }
    assert_eq!(
        kinds,
        [Some(HandshakeKind::Full), Some(HandshakeKind::Resumed)]
    );
}

/// Passes bytes on, and reports the length of each TLS record to the client.
fn relay(server: SocketAddr) -> (SocketAddr, mpsc::Receiver<usize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (sender, lengths) = mpsc::sync_channel(10_000);
    thread::spawn(move || {
        let mut client = listener.accept().unwrap().0;
        let mut from = tls::tcp(server);
        let (mut to, mut back) = (from.try_clone().unwrap(), client.try_clone().unwrap());
        thread::spawn(move || std::io::copy(&mut back, &mut to));
        loop {
            let mut head = [0; 5];
            if from.read_exact(&mut head).is_err() {
                return;
            }
            let length = usize::from(u16::from_be_bytes([head[3], head[4]]));
            let mut body = vec![0; length];
            from.read_exact(&mut body).unwrap();
            client.write_all(&[&head[..], &body].concat()).unwrap();
            sender.send(length).unwrap();
        }
    });
    (address, lengths)
}

#[test]
fn tls_records_to_clients_are_as_small_as_set() {
    let authority = Authority::new();
    // The cipher adds a type and a tag to the data.
    let overhead = 17;
    for (set, least, most) in [("", 16_000, 16_384), ("tls_record_bytes = 512\n", 500, 512)] {
        let server = server(&authority, set);
        let (address, lengths) = relay(server.address());
        let mut client = Connect::v5("c").over(tls::to(address, &authority.trusted_by(None)));
        client.subscribe("a", 0);
        client.publish(&Message::new("a", vec![b'x'; 100_000]));
        assert_eq!(client.message().payload.len(), 100_000);
        let longest = lengths.try_iter().max().unwrap();
        assert!(
            (least..=most + overhead).contains(&longest),
            "{longest} of {most}"
        );
    }
}

const USERS: &str = "client_ca = 'ca.pem'\nclient_certificates = 'required'\n\
                     user_from_certificate = 'common_name'\n[auth]\nanonymous = false\n";

#[test]
fn the_user_is_taken_from_the_certificate() {
    let authority = Authority::new();
    let plain = "[[listener]]\nbind = '127.0.0.1:0'\n[auth]\nanonymous = true\n";
    let (tls, _) = USERS.split_once("[auth]").unwrap();
    let server = server(&authority, &format!("{tls}{plain}"));
    let mut hearer = Connect::v5("hearer").to(server.place(1));
    hearer.subscribe("rooms/lobby/t", 1);
    let alice = authority.trusted_by(Some(&authority.client("alice")));
    for (n, connect) in [
        Connect::v5("phone"),
        Connect::v5("tablet").user("alice", "whatever"),
        Connect::v311("watch"),
    ]
    .into_iter()
    .enumerate()
    {
        let mut client = connect.over(tls::to(server.address(), &alice));
        client.publish(&Message::new("rooms/lobby/t", n.to_string()).qos(1));
        let heard = hearer.message();
        assert_eq!(heard.properties.user("from"), Some("alice"), "{connect:?}");
    }
    let connect = Connect::v5("thief").user("bob", "secret");
    let (mut client, connack) = connect.attempt_over(tls::to(server.address(), &alice));
    let Packet::ConnAck {
        code: 0x87,
        properties,
        ..
    } = connack
    else {
        panic!("{connack:?}");
    };
    assert!(
        properties.reason().contains("that of alice"),
        "{}",
        properties.reason()
    );
    assert_eq!(client.closed(), None);
    // The certificate's user is a user like any other.
    let odd = authority.trusted_by(Some(&authority.client("~alice")));
    let (_, connack) = Connect::v5("x").attempt_over(tls::to(server.address(), &odd));
    assert!(
        matches!(connack, Packet::ConnAck { code: 0x87, .. }),
        "{connack:?}"
    );
}

/// Clients of each version receive the refusal of an invalid user name.
#[test]
fn a_certificate_without_a_valid_user_is_refused_by_connack() {
    let authority = Authority::new();
    let nobody = authority.trusted_by(Some(&authority.client_without_a_name()));
    let more = "client_ca = 'ca.pem'\nclient_certificates = 'optional'\n\
                user_from_certificate = 'common_name'\n";
    let server = server(&authority, more);
    for (connect, wanted) in [
        (Connect::v5("a"), 0x87),
        (Connect::v5("a").user("alice", "secret"), 0x87),
        (Connect::v311("a"), 5),
    ] {
        let (mut client, connack) = connect.attempt_over(tls::to(server.address(), &nobody));
        let Packet::ConnAck {
            code, properties, ..
        } = connack
        else {
            panic!("{connack:?}");
        };
        assert_eq!(code, wanted);
        if wanted == 0x87 {
            let reason = properties.reason();
            assert!(reason.contains("has no common name"), "{reason}");
        }
        assert_eq!(client.closed(), None);
    }
    server.log().line_with("has no common name");
}

#[test]
fn a_required_certificate_is_verified() {
    let authority = Authority::new();
    let server = server(&authority, USERS);
    let enters = |identity: Option<&Identity>| {
        let mut stream = tls::to(server.address(), &authority.trusted_by(identity));
        let bytes = Connect::v5("c").bytes();
        stream.write_all(&bytes).is_ok() && stream.read(&mut [0; 1]).is_ok_and(|n| n == 1)
    };
    assert!(enters(Some(&authority.client("alice"))));
    assert!(!enters(None));
    server.log().line_with("TLS: peer sent no certificates");
    assert!(
        !enters(Some(&Authority::new().client("alice"))),
        "of another authority"
    );
    server.log().line_with("TLS: invalid peer certificate");
    assert!(
        !enters(Some(&authority.server())),
        "a certificate for servers"
    );
}

#[test]
fn an_optional_certificate_is_verified_and_a_password_works_without_one() {
    let authority = Authority::new();
    let more = "client_ca = 'ca.pem'\nclient_certificates = 'optional'\n\
                user_from_certificate = 'common_name'\n";
    let server = server(&authority, more);
    let mut without = Connect::v5("c").over(tls::to(server.address(), &authority.trusted_by(None)));
    without.subscribe("rooms/lobby/t", 1);
    let alice = authority.trusted_by(Some(&authority.client("alice")));
    let mut with = Connect::v5("c").over(tls::to(server.address(), &alice));
    for (sender, user) in [(0, "alice"), (1, "~c")] {
        let message = Message::new("rooms/lobby/t", "x");
        if sender == 0 {
            with.publish(&message);
        } else {
            without.publish(&message);
        }
        assert_eq!(without.message().properties.user("from"), Some(user));
    }
    let stranger = authority.trusted_by(Some(&Authority::new().client("alice")));
    let mut stream = tls::to(server.address(), &stranger);
    let sent = stream.write_all(&Connect::v5("c").bytes());
    assert!(sent.is_err() || !stream.read(&mut [0; 1]).is_ok_and(|n| n == 1));
}

#[test]
fn unusable_files_are_named_at_the_start() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("roommq.toml");
    std::fs::write(&file, TLS).unwrap();
    let mut command = roommq_tests::program::roommq();
    command.arg("serve").arg("--config").arg(&file);
    let started = Instant::now();
    let finished = roommq_tests::program::Program::run(&mut command, "");
    assert_eq!(finished.code, Some(1));
    assert!(
        finished.stderr.contains("/server.pem: No such file"),
        "{}",
        finished.stderr
    );
    assert!(started.elapsed() < roommq_tests::PATIENCE);
}

/// An attacker may have cut a stream that ends without `close_notify`. rustls reports it as an error.
#[test]
fn every_close_sends_close_notify() {
    let authority = Authority::new();
    let server = server(&authority, "[limits]\nkeep_alive = '1s'\n");
    let trust = authority.trusted_by(None);
    let rest = |client: &mut Client| {
        let mut rest = Vec::new();
        let ended = client.stream().read_to_end(&mut rest);
        ended.unwrap_or_else(|error| panic!("{error}, after {rest:?}"));
        rest
    };
    let connected = || Connect::v311("c").over(tls::to(server.address(), &trust));
    let mut leaves = connected();
    leaves.send(&[0xE0, 0]);
    assert!(rest(&mut leaves).is_empty());
    let mut errs = connected();
    errs.send(&[0x00, 0]);
    assert!(rest(&mut errs).is_empty());
    let mut silent = Connect::v5("s").over(tls::to(server.address(), &trust));
    assert_eq!(rest(&mut silent).first(), Some(&0xE0), "DISCONNECT");
    let mut refused = Client::on(tls::to(server.address(), &trust), Version::V311);
    refused.send(&Connect::v311("").clean(false).bytes());
    assert_eq!(rest(&mut refused), [0x20, 2, 0, 2]);
}
