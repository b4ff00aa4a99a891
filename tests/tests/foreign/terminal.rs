//! The full-screen client in tmux, which is a terminal: its screens are compared.

use roommq_tests::broker::Broker;
use roommq_tests::program::Program;
use roommq_tests::room;
use roommq_tests::wire::{Client, Connect, Message};
use std::process::Command;
use tempfile::TempDir;

/// A tmux server of its own with one session of 76 columns and 14 rows.
struct Tmux {
    directory: TempDir,
    /// A client in control mode: it writes a line whenever the program has written something.
    changes: Option<Program>,
}

impl Tmux {
    /// Starts a shell that runs the command, and then prints its exit code.
    fn running(command: &Command, environment: &[(&str, &str)]) -> Tmux {
        let mut tmux = Tmux {
            directory: TempDir::new().unwrap(),
            changes: None,
        };
        let words = std::iter::once(command.get_program()).chain(command.get_args());
        let words: Vec<_> = words.map(|word| word.to_string_lossy()).collect();
        let run = format!("{}; echo ended with $?; read -r _", words.join(" "));
        let mut start = tmux.command(&["new-session", "-d", "-x", "76", "-y", "14"]);
        for (name, value) in command.get_envs() {
            let value = value.unwrap_or_default().to_string_lossy().into_owned();
            start
                .arg("-e")
                .arg(format!("{}={value}", name.to_string_lossy()));
        }
        for (name, value) in environment {
            start.arg("-e").arg(format!("{name}={value}"));
        }
        super::succeed(start.arg(run), "");
        let mut follow = tmux.command(&["-C", "attach-session", "-f", "ignore-size,read-only"]);
        tmux.changes = Some(Program::start(&mut follow));
        tmux
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("tmux");
        command
            .args(["-f", "/dev/null", "-S"])
            .arg(self.directory.path().join("socket"))
            .args(arguments);
        command
    }

    /// Sends keys by tmux's names, or text.
    fn keys(&self, keys: &[&str]) {
        super::succeed(self.command(&["send-keys"]).args(keys), "");
    }

    /// The screen, without blanks at the ends of rows. Times of day and dates are masked.
    fn screen(&self) -> Vec<String> {
        let shown = super::succeed(&mut self.command(&["capture-pane", "-p"]), "");
        shown.lines().map(|row| masked(row.trim_end())).collect()
    }

    /// Waits for a screen with a row that contains `part`.
    fn screen_with(&self, part: &str) -> Vec<String> {
        let has_part = |screen: &[String]| screen.iter().any(|row| row.contains(part));
        let mut screen = self.screen();
        if has_part(&screen) {
            return screen;
        }
        let changes = &self.changes.as_ref().unwrap().stdout;
        let found = changes.until(|_| {
            screen = self.screen();
            has_part(&screen)
        });
        assert!(found, "no {part:?} in:\n{}", screen.join("\n"));
        screen
    }
}

impl Drop for Tmux {
    fn drop(&mut self) {
        let _ = Program::run(&mut self.command(&["kill-server"]), "");
    }
}

/// `12:03:04` becomes `hh:mm:ss`, and `2026-12-01` becomes `yyyy-mm-dd`.
fn masked(row: &str) -> String {
    let mut masked = String::new();
    let mut rest = row;
    while let Some(c) = rest.chars().next() {
        let shape: String = rest
            .chars()
            .take(10)
            .map(|c| if c.is_ascii_digit() { '0' } else { c })
            .collect();
        let (mask, bytes) = if shape.starts_with("00:00:00") {
            ("hh:mm:ss", 8)
        } else if shape == "0000-00-00" {
            ("yyyy-mm-dd", 10)
        } else {
            masked.push(c);
            rest = &rest[c.len_utf8()..];
            continue;
        };
        masked.push_str(mask);
        rest = &rest[bytes..];
    }
    masked
}

fn join(server: &Broker, rooms: &[&str], environment: &[(&str, &str)]) -> Tmux {
    let arguments = [&["join"], rooms, &["--client-id", "alice"]].concat();
    Tmux::running(&server.command(&arguments), environment)
}

fn member(server: &Broker, id: &str, rooms: &[&str]) -> Client {
    let mut client = Connect::v5(id).to(server.address());
    for room in rooms {
        assert_eq!(client.subscribe(&format!("rooms/{room}/#"), 0), 0);
    }
    client
}

#[test]
fn a_person_chats_in_two_rooms() {
    let server = Broker::start();
    let mut bob = member(&server, "bob", &["lobby", "dev"]);
    bob.publish(
        &Message::new("rooms/lobby/plan", "ship it")
            .qos(1)
            .retained(),
    );
    let screen = join(&server, &["lobby", "dev"], &[]);
    room::event(&mut bob, "joined", "~alice");
    screen.screen_with("~alice on");
    screen.keys(&["hello bob", "Enter"]);
    assert_eq!(
        bob.message_where(|m| m.topic == "rooms/lobby").text(),
        "hello bob"
    );
    screen.screen_with("~alice: hello bob");
    bob.publish(&Message::new("rooms/dev", "over here").qos(1));
    screen.screen_with("dev (1)");
    screen.keys(&["/qiut", "Enter"]);
    let shown = screen.screen_with("is it /quit?");
    assert_eq!(
        shown,
        [
            " lobby  dev (1)",
            "                                                      │ HERE 2",
            "                                                      │ ~alice",
            "                                                      │ ~bob",
            "                                                      │",
            "                                                      │",
            "                                                      │",
            "                                                      │",
            "── yyyy-mm-dd ────────────────────────────────────────│",
            "hh:mm:ss * you are in lobby                           │",
            "hh:mm:ss (retained) ~bob [plan]: ship it              │",
            "hh:mm:ss ~alice: hello bob                            │",
            "there is no command /qiut: is it /quit?",
            "lobby> /qiut",
        ]
    );
    screen.keys(&["C-u", "C-n"]);
    let shown = screen.screen_with("dev>");
    assert!(
        shown.iter().any(|row| row.starts_with("── new ")),
        "{shown:?}"
    );
    assert!(
        shown.iter().any(|row| row.contains("~bob: over here")),
        "{shown:?}"
    );
    screen.keys(&["/msg ~b", "Tab", "psst", "Enter"]);
    screen.screen_with("* to ~bob alone: psst");
    screen.keys(&["/quit", "Enter"]);
    screen.screen_with("ended with 0");
    assert_eq!(room::event(&mut bob, "left", "~alice")["reason"], "left");
}

#[test]
fn a_lost_connection_keeps_the_typed_line_and_comes_back() {
    let server = Broker::start();
    let address = server.address();
    let screen = join(&server, &["lobby"], &[]);
    screen.screen_with("* you are in lobby");
    screen.keys(&["half a sen"]);
    screen.screen_with("lobby> half a sen");
    drop(server);
    let shown = screen.screen_with("Enter: now; ");
    assert!(shown.iter().any(|row| row.contains("! ")), "{shown:?}");
    assert!(
        shown.iter().any(|row| row == "lobby> half a sen"),
        "{shown:?}"
    );
    screen.keys(&["tence"]);
    screen.screen_with("lobby> half a sentence");
    let server = Broker::listening(&format!("[[listener]]\nbind = \"{address}\"\n"), &[]);
    let mut bob = member(&server, "bob", &["lobby"]);
    room::event(&mut bob, "joined", "~alice");
    screen.screen_with("~alice on");
    screen.keys(&["Enter"]);
    assert_eq!(
        bob.message_where(|m| m.topic == "rooms/lobby").text(),
        "half a sentence"
    );
    screen.keys(&["C-c"]);
    screen.screen_with("ended with 0");
}

#[test]
fn a_refused_room_ends_it_with_the_reason() {
    let server =
        Broker::with("[[room]]\nmatch = \"staff\"\naccess = \"list\"\nmembers = [\"boss\"]\n");
    let screen = join(&server, &["staff"], &[]);
    let shown = screen.screen_with("ended with 1");
    assert!(
        shown
            .iter()
            .any(|row| row.contains("you cannot enter staff")),
        "{shown:?}"
    );
}

#[test]
fn a_dumb_terminal_gets_lines() {
    let server = Broker::start();
    let arguments = ["join", "lobby", "--client-id", "alice"];
    let mut command = Command::new("env");
    command.args(["-u", "TMUX", "TERM=dumb"]);
    let plain = server.command(&arguments);
    command.arg(plain.get_program()).args(plain.get_args());
    for (name, value) in plain.get_envs() {
        command.env(name, value.unwrap_or_default());
    }
    let screen = Tmux::running(&command, &[]);
    let shown = screen.screen_with("* you are in lobby on ");
    assert!(!shown.iter().any(|row| row.contains("HERE")), "{shown:?}");
    screen.keys(&["C-d"]);
    screen.screen_with("ended with 0");
}
