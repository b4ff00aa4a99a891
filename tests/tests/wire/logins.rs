//! Logins while others guess passwords, after a restart, and of devices that come back.
//!
//! 127.0.0.2 and the addresses after it stand for other machines.

use roommq_tests::broker::Broker;
use roommq_tests::program::{Program, roommq};
use roommq_tests::wire::{
    Client, Connect, Message, Packet, SCRAM, Scram, Version, auth, property, tcp_from,
};
use std::collections::VecDeque;
use std::fmt::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};
use tempfile::TempDir;

const PASSWORD: &str = "pencil";
const DATA: u8 = property::AUTHENTICATION_DATA;

/// The devices of a fleet. A long run sets `ROOMMQ_DEVICES=1000`.
fn devices() -> usize {
    std::env::var("ROOMMQ_DEVICES").map_or(100, |text| text.parse().unwrap())
}

/// A users file of users 0, 1, 2 and so on, all with [`PASSWORD`].
fn users(count: usize) -> (TempDir, String) {
    let directory = TempDir::new().unwrap();
    let settings = directory.path().join("settings.toml");
    std::fs::write(&settings, "[auth]\nscram_iterations = 4096\n").unwrap();
    let file = directory.path().join("users.toml");
    let mut command = roommq();
    command.arg("passwd").arg("--config").arg(&settings);
    command.arg(&file).arg("one");
    let made = Program::run(&mut command, &format!("{PASSWORD}\n"));
    assert_eq!(made.code, Some(0), "{}", made.stderr);
    // A hash takes long, so that of one user is everybody's.
    let text = std::fs::read_to_string(&file).unwrap();
    let mut table: toml::Table = text.parse().unwrap();
    for section in ["users", "scram"] {
        let of_one = table[section]["one"].clone();
        let of_all = (0..count).map(|n| (n.to_string(), of_one.clone()));
        table[section] = toml::Value::Table(of_all.collect());
    }
    std::fs::write(&file, table.to_string()).unwrap();
    let mut config = String::from("[auth]\nanonymous = false\n");
    writeln!(config, "users_file = '{}'", file.display()).unwrap();
    (directory, config)
}

fn server(users: usize) -> (TempDir, Broker) {
    let (directory, config) = self::users(users);
    (directory, Broker::with(&config))
}

fn connect(user: usize, password: &str) -> Connect {
    let user = user.to_string();
    Connect::v5(&user).user(&user, password)
}

/// How long a right login from this address takes.
fn login(server: &Broker, user: usize, address: [u8; 4]) -> Duration {
    let begun = Instant::now();
    let stream = tcp_from(Ipv4Addr::from(address), server.address());
    connect(user, PASSWORD).over(stream);
    begun.elapsed()
}

/// Logs in from this address, and then at a server that nobody disturbs. The login must take no more than a second,
/// and what a busy machine needs for it.
fn login_quickly(server: &Broker, calm: &Broker, user: usize, address: [u8; 4]) {
    let took = login(server, user, address);
    let limit = Duration::from_secs(1) + 5 * login(calm, user, address);
    assert!(took <= limit, "user {user}: {took:?}, more than {limit:?}");
}

/// Guesses passwords 300 times a second, until `stop` is dropped at its other end.
fn guess(server: SocketAddr, stop: &Receiver<()>) {
    let (mut open, begun) = (VecDeque::new(), Instant::now());
    for n in 0_u32.. {
        let stream = tcp_from(Ipv4Addr::new(127, 0, 0, 2), server);
        let mut guesser = Client::on(stream, Version::V5);
        guesser.send(&connect((n % 40) as usize, "wrong").bytes());
        open.push_back(guesser);
        if open.len() > 400 {
            open.pop_front();
        }
        let due = begun + n * Duration::from_secs(1) / 300;
        let pause = due.saturating_duration_since(Instant::now());
        if stop.recv_timeout(pause) != Err(RecvTimeoutError::Timeout) {
            return;
        }
    }
}

#[test]
fn right_logins_pass_while_an_address_guesses_passwords() {
    let (_users, server) = server(30);
    let (_calm_users, calm) = self::server(30);
    let (address, (until_dropped, stop)) = (server.address(), mpsc::sync_channel(0));
    let guesser = thread::spawn(move || guess(address, &stop));
    for user in 0..30_u8 {
        login_quickly(&server, &calm, user.into(), [127, 0, 1, user]);
    }
    assert!(!guesser.is_finished());
    drop(until_dropped);
    guesser.join().unwrap();
}

#[test]
fn connects_that_close_at_once_delay_nobody() {
    let (_users, server) = server(5);
    let (_calm_users, calm) = self::server(5);
    for round in 0..4 {
        for _ in 0..300 {
            let mut gone = Client::open(server.address(), Version::V311);
            gone.send(&connect(4, "wrong").bytes());
        }
        login_quickly(&server, &calm, round, [127, 0, 0, 1]);
    }
}

#[test]
fn packets_that_follow_a_login_count_if_the_client_closes_at_once() {
    let (_users, server) = server(2);
    let mut reader = connect(0, PASSWORD).to(server.address());
    reader.subscribe("t", 0);
    let mut writer = Client::open(server.address(), Version::V5);
    let message = Message::new("t", "it counts").bytes(Version::V5);
    writer.send(&[connect(1, PASSWORD).bytes(), message].concat());
    drop(writer);
    assert_eq!(reader.message().text(), "it counts");
}

/// All devices connect at one time, and log in by password. Returns how long it takes.
fn storm(server: &Broker, count: usize) -> Duration {
    let begun = Instant::now();
    let mut clients: Vec<Client> = (0..count)
        .map(|user| {
            let mut client = Client::open(server.address(), Version::V5);
            client.send(&connect(user, PASSWORD).bytes());
            client
        })
        .collect();
    let limit = Duration::from_secs(90);
    for (user, client) in clients.iter_mut().enumerate() {
        let left = limit
            .saturating_sub(begun.elapsed())
            .max(Duration::from_millis(1));
        match client.poll(left) {
            Ok(Packet::ConnAck { code: 0, .. }) => {}
            other => panic!("user {user} after {:?}: {other:?}", begun.elapsed()),
        }
    }
    begun.elapsed()
}

#[test]
fn after_a_restart_every_login_succeeds_and_later_ones_cost_nothing() {
    let count = devices();
    let (_users, server) = server(count);
    let first = storm(&server, count);
    let again = storm(&server, count);
    assert!(again <= Duration::from_secs(5), "{again:?} after {first:?}");
}

#[test]
fn logins_by_scram_are_back_within_seconds() {
    let count = devices();
    let (_users, config) = users(count);
    let server = Broker::with(&format!("{config}[limits]\nconnect_time = '2m'\n"));
    let mut waiting = Vec::new();
    for user in 0..count {
        let mut scram = Scram::new(&user.to_string(), PASSWORD);
        let connect = Connect::v5(&user.to_string()).method(SCRAM, Some(&scram.first()));
        let mut client = Client::open(server.address(), Version::V5);
        client.send(&connect.bytes());
        let Packet::Auth { properties, .. } = client.packet() else {
            panic!("no AUTH");
        };
        let challenge = properties.binary(DATA).unwrap().to_vec();
        let last = scram.last(std::str::from_utf8(&challenge).unwrap());
        waiting.push((client, auth(0x18, SCRAM, Some(&last))));
    }
    // What the clients compute is done.
    let begun = Instant::now();
    for (client, last) in &mut waiting {
        client.send(last);
    }
    for (client, _) in &mut waiting {
        assert!(matches!(client.packet(), Packet::ConnAck { code: 0, .. }));
    }
    let took = begun.elapsed();
    assert!(took <= Duration::from_secs(5), "{took:?}");
}

/// Tries a password by SCRAM. Returns the client, which has not read the answer to its proof.
fn prove(server: &Broker, address: [u8; 4], user: &str, password: &str) -> Client {
    let mut scram = Scram::new(user, password);
    let connect = Connect::v5("c").method(SCRAM, Some(&scram.first()));
    let stream = tcp_from(Ipv4Addr::from(address), server.address());
    let mut client = Client::on(stream, Version::V5);
    client.send(&connect.bytes());
    let Packet::Auth { properties, .. } = client.packet() else {
        panic!("no AUTH");
    };
    let challenge = properties.binary(DATA).unwrap();
    let last = scram.last(std::str::from_utf8(challenge).unwrap());
    client.send(&auth(0x18, SCRAM, Some(&last)));
    client
}

#[test]
fn guesses_by_scram_are_slowed() {
    let (_users, server) = server(2);
    for user in ["0", "nobody"] {
        for n in 0..5 {
            let mut client = prove(&server, [127, 0, 0, 1], user, &format!("guess {n}"));
            assert!(matches!(
                client.packet(),
                Packet::ConnAck { code: 0x86, .. }
            ));
        }
        let mut sixth = prove(&server, [127, 0, 0, 1], user, "guess 5");
        let answer = sixth.poll(Duration::from_secs(1));
        assert!(answer.is_err(), "{user}: {answer:?}");
    }
    // The same user elsewhere, and another user here, need not wait.
    for (address, user) in [([127, 0, 0, 2], "0"), ([127, 0, 0, 1], "1")] {
        let mut client = prove(&server, address, user, PASSWORD);
        assert!(matches!(client.packet(), Packet::ConnAck { code: 0, .. }));
    }
}

#[test]
fn a_password_that_was_changed_is_not_remembered() {
    let (users, server) = server(2);
    for _ in 0..2 {
        connect(0, PASSWORD).to(server.address()).ping();
    }
    let file = users.path().join("users.toml").display().to_string();
    let made = Program::run(&mut server.command(&["passwd", &file, "0"]), "new\n");
    assert_eq!(made.code, Some(0), "{}", made.stderr);
    server.hang_up();
    server.log().line_with("settings have been reloaded");
    connect(0, PASSWORD).refused(server.address(), 0x86);
    connect(0, "new").to(server.address()).ping();
}

#[test]
fn who_waits_too_long_is_told_to_try_again() {
    let (_users, config) = users(1);
    let server = Broker::with(&format!(
        "{config}[limits]\nlogin_time = '300ms'\nlogin_failures = 1\n"
    ));
    connect(0, "wrong").refused(server.address(), 0x86);
    let told = connect(0, "wrong").refused(server.address(), 0x89);
    assert!(told.reason().contains("300ms"), "{}", told.reason());
    let old = Connect::v311("0").user("0", "wrong");
    old.refused(server.address(), 3);
}
