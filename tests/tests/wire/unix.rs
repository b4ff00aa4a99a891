//! Unix sockets.

use roommq_tests::broker::Broker;
use roommq_tests::program::{Program, roommq};
use roommq_tests::wire::{BOTH, Connect, Message};
use std::net::Shutdown;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};

fn config(path: &str) -> String {
    format!("[[listener]]\ntransport = 'unix'\npath = '{path}'\nmode = '600'\n")
}

#[test]
fn a_socket_left_behind_is_replaced() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("mqtt.sock");
    // Bound and dropped: the file stays, and no process answers.
    drop(UnixListener::bind(&path).unwrap());
    let server = Broker::listening(&config(path.to_str().unwrap()), &[]);
    assert_eq!(server.url(0), format!("unix:{}", path.display()));
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    for version in BOTH {
        let mut client =
            Connect::new(version, "c").over(Box::new(UnixStream::connect(&path).unwrap()));
        client.subscribe("rooms/lobby/t", 2);
        client.start_publish(&Message::new("rooms/lobby/t", "x").qos(0));
        assert_eq!(client.message().text(), "x");
    }
    server.log().line_with("peer=local");
    server.terminate();
    assert_eq!(server.finish().code, Some(0));
    assert!(!path.exists());
}

#[test]
fn a_socket_in_use_is_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("mqtt.sock");
    let server = Broker::listening(&config(path.to_str().unwrap()), &[]);
    let file = directory.path().join("second.toml");
    for (path, part) in [
        (path.clone(), "is in use"),
        (directory.path().join("no/such"), "make the directory"),
    ] {
        std::fs::write(&file, config(path.to_str().unwrap())).unwrap();
        let mut command = roommq();
        command.arg("serve").arg("--config").arg(&file);
        let second = Program::run(&mut command, "");
        assert_eq!(second.code, Some(1));
        assert!(second.stderr.contains(part), "{}", second.stderr);
        assert!(
            second.stderr.contains(path.to_str().unwrap()),
            "{}",
            second.stderr
        );
    }
    Connect::v5("c")
        .over(Box::new(UnixStream::connect(&path).unwrap()))
        .ping();
    drop(server);
}

/// A peer that has closed its reading side may still send. The server closes it when it must write to it.
#[test]
fn a_peer_that_closed_its_reading_side_is_lost() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("mqtt.sock");
    let _server = Broker::listening(&config(path.to_str().unwrap()), &[]);
    let connect = || Box::new(UnixStream::connect(&path).unwrap());
    let mut watcher = Connect::v5("w").over(connect());
    watcher.subscribe("rooms/r/_events", 1);
    for (last, event) in [(&b"\xc0\x00"[..], "lost"), (b"\xc0\x00\xe0\x00", "left")] {
        let socket = UnixStream::connect(&path).unwrap();
        let half = socket.try_clone().unwrap();
        let mut client = Connect::v5(event).over(Box::new(socket));
        client.subscribe("rooms/r/x", 1);
        half.shutdown(Shutdown::Read).unwrap();
        client.send(last);
        let user = format!("\"~{event}\"");
        let ends = |m: &Message| m.text().contains(&user) && !m.text().contains("joined");
        let told = watcher.message_where(ends);
        let told = told.text();
        assert!(told.contains(&format!("\"event\":\"{event}\"")), "{told}");
    }
    watcher.ping();
}
