//! A log that cannot be written harms nobody.

use roommq_tests::PATIENCE;
use roommq_tests::broker::Broker;
use roommq_tests::program::roommq;
use roommq_tests::wire::{Connect, Message};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::process::{Pid, Signal, kill_process};
use std::fs::File;
use std::io::{BufRead, BufReader, ErrorKind, PipeReader, PipeWriter, Read, Write, pipe};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::mpsc;
use std::thread;

/// A server with a log of its own.
struct Logging {
    child: Child,
    address: SocketAddr,
}

impl Logging {
    fn to(stderr: impl Into<Stdio>) -> Logging {
        let mut child = roommq()
            .args(["serve", "--json", "--listen", "127.0.0.1:0"])
            .args(["--log-level", "debug"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(stderr)
            .spawn()
            .unwrap();
        let stdout = child.stdout.take().unwrap();
        let (sender, first) = mpsc::sync_channel(1);
        thread::spawn(move || sender.send(BufReader::new(stdout).lines().next()));
        let line = first.recv_timeout(PATIENCE).expect("it starts");
        let line = line.expect("it announces itself").unwrap();
        let event: serde_json::Value = serde_json::from_str(&line).unwrap();
        let address = event["listeners"][0].as_str().unwrap().parse().unwrap();
        Logging { child, address }
    }

    fn signal(&self, signal: Signal) {
        let id = Pid::from_raw(self.child.id().try_into().unwrap()).unwrap();
        kill_process(id, signal).unwrap();
    }

    /// Causes `count` log lines.
    fn log_lines(&self, count: usize) {
        for _ in 0..count {
            let mut peer = std::net::TcpStream::connect(self.address).unwrap();
            peer.write_all(b"nonsense that is logged").unwrap();
            let _ = peer.read_to_end(&mut Vec::new());
        }
    }

    /// Connects, publishes to itself, signals, and shuts the server down.
    fn serves_and_ends_in_order(mut self) {
        self.log_lines(20);
        let mut client = Connect::v5("c").to(self.address);
        client.subscribe("a", 1);
        for signal in [None, Some(Signal::HUP), Some(Signal::USR1)] {
            if let Some(signal) = signal {
                self.signal(signal);
            }
            client.publish(&Message::new("a", "x").qos(1));
            assert_eq!(client.message().text(), "x");
        }
        self.signal(Signal::TERM);
        assert_eq!(client.closed(), Some(0x8B));
        let id = self.child.id();
        let (sender, ended) = mpsc::sync_channel(1);
        thread::spawn(move || sender.send(self.child.wait()));
        let status = ended.recv_timeout(PATIENCE).unwrap_or_else(|_| {
            let id = Pid::from_raw(id.try_into().unwrap()).unwrap();
            kill_process(id, Signal::KILL).unwrap();
            panic!("it does not end");
        });
        assert_eq!(status.unwrap().code(), Some(0));
    }
}

/// A pipe that holds no more bytes.
fn full_pipe(blocking: bool) -> (PipeReader, PipeWriter) {
    let (reader, mut writer) = pipe().unwrap();
    let flags = fcntl_getfl(&writer).unwrap();
    fcntl_setfl(&writer, flags | OFlags::NONBLOCK).unwrap();
    for size in [4096, 1] {
        let full = loop {
            if let Err(error) = writer.write(&vec![b'\n'; size]) {
                break error;
            }
        };
        assert_eq!(full.kind(), ErrorKind::WouldBlock);
    }
    if blocking {
        fcntl_setfl(&writer, flags).unwrap();
    }
    (reader, writer)
}

#[test]
fn a_log_whose_reader_has_closed_harms_no_service() {
    let (reader, writer) = pipe().unwrap();
    drop(reader);
    Logging::to(writer).serves_and_ends_in_order();
}

#[test]
fn a_log_on_a_full_disk_harms_no_service() {
    let full = File::options().write(true).open("/dev/full").unwrap();
    Logging::to(full).serves_and_ends_in_order();
}

#[test]
fn a_log_in_a_full_pipe_harms_no_service() {
    for blocking in [true, false] {
        let (reader, writer) = full_pipe(blocking);
        Logging::to(writer).serves_and_ends_in_order();
        drop(reader);
    }
}

#[test]
fn a_log_in_a_pipe_that_nobody_reads_harms_no_service() {
    let (reader, writer) = pipe().unwrap();
    let server = Logging::to(writer);
    // More than the 64 KiB of a pipe.
    server.log_lines(600);
    server.serves_and_ends_in_order();
    drop(reader);
}

#[test]
fn an_announcement_that_nobody_reads_harms_no_service() {
    let (_reader, writer) = full_pipe(true);
    let (log, stderr) = pipe().unwrap();
    let child = roommq()
        .args(["serve", "--listen", "127.0.0.1:0", "--log-format", "json"])
        .stdin(Stdio::null())
        .stdout(writer)
        .stderr(stderr)
        .spawn()
        .unwrap();
    let line = BufReader::new(log.try_clone().unwrap()).lines().next();
    let line: serde_json::Value = serde_json::from_str(&line.unwrap().unwrap()).unwrap();
    let text = line["listeners"].to_string();
    let address = text.trim_matches(|c: char| !c.is_ascii_digit());
    let address = address.parse().unwrap();
    Logging { child, address }.serves_and_ends_in_order();
    drop(log);
}

#[test]
fn a_log_file_is_opened_again_on_sighup() {
    let directory = tempfile::TempDir::new().unwrap();
    let (file, moved) = (
        directory.path().join("roommq.log"),
        directory.path().join("moved"),
    );
    let config = format!("[log]\nfile = '{}'\nformat = 'json'\n", file.display());
    let server = Broker::with(&config);
    let lines = |path: &Path| -> Vec<serde_json::Value> {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        text.lines()
            .map_while(|l| serde_json::from_str(l).ok())
            .collect()
    };
    let wait_for = |path: &Path, part: &str| loop {
        let found = lines(path)
            .into_iter()
            .find(|line| line.to_string().contains(part));
        if let Some(line) = found {
            break line;
        }
        thread::yield_now();
    };
    let line = wait_for(&file, "listening");
    assert_eq!(
        line["listeners"],
        serde_json::json!([server.address().to_string()]),
        "a list"
    );
    assert_eq!(line["level"], "INFO");
    std::fs::rename(&file, &moved).unwrap();
    server.hang_up();
    wait_for(&file, "SIGHUP");
    assert!(!std::fs::read_to_string(&moved).unwrap().contains("SIGHUP"));
    // A file that cannot be opened leaves the old one in use.
    std::fs::rename(&file, &moved).unwrap();
    std::fs::create_dir(&file).unwrap();
    server.hang_up();
    wait_for(&moved, "could not be opened again");
    server.terminate();
    assert_eq!(server.finish().stderr, "", "the lines are in the file");
    wait_for(&moved, "ended");
}

#[test]
fn log_lines_of_refusals_name_the_user_and_the_filter() {
    let config = "[log]\nlevel = 'debug'\n[auth]\nusers_file = '@users@'\n[[room]]\nmatch = 'staff'\n\
                  access = 'list'\nmembers = ['alice']\n";
    let server = Broker::with_users(config, &[("bob", "secret")]);
    Connect::v5("c1")
        .user("bob", "wrong")
        .attempt(server.address());
    let line = server.log().line_with("connection refused");
    assert!(
        line.contains("user=\"bob\"") && line.contains("client=c1"),
        "{line}"
    );
    for version in roommq_tests::wire::BOTH {
        let mut bob = Connect::new(version, "c2")
            .user("bob", "secret")
            .to(server.address());
        bob.subscribe("rooms/staff/#", 0);
        bob.disconnect(0);
    }
    let line = server.log().line_with("SUBSCRIBE refused");
    assert!(
        line.contains("user=bob") && line.contains("rooms/staff/#"),
        "{line}"
    );
}

#[test]
fn dropped_log_lines_are_counted() {
    let (reader, writer) = full_pipe(true);
    let mut server = Logging::to(writer);
    // A queue holds 4 MiB. Each PUBLISH of 3.1.1 is refused, and the line shows its topic of 60 KiB.
    let mut client = Connect::v311("c").to(server.address);
    let topic = format!("rooms/{}", "x".repeat(60_000));
    for _ in 0..200 {
        client.publish(&Message::new(&topic, "x").qos(1));
    }
    let lines = BufReader::new(reader).lines().map_while(Result::ok);
    let (sender, found) = mpsc::sync_channel(1);
    thread::spawn(move || {
        for line in lines {
            if line.contains("log lines were dropped") {
                let _ = sender.send(line);
            }
        }
    });
    let line = loop {
        // The report follows a line that is written.
        server.log_lines(1);
        match found.recv_timeout(std::time::Duration::from_millis(100)) {
            Ok(line) => break line,
            Err(_) => assert!(server.child.try_wait().unwrap().is_none()),
        }
    };
    let count = line.rsplit_once("lines=").unwrap().1;
    assert!(count.trim().parse::<u32>().unwrap() > 100, "{line}");
    server.child.kill().unwrap();
    server.child.wait().unwrap();
}
