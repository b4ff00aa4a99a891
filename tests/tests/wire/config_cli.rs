//! `roommq config`, and the messages about an invalid configuration.

use roommq_tests::broker::Broker;
use roommq_tests::program::{Finished, Program, roommq};
use roommq_tests::tls::Authority;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use tempfile::TempDir;

struct File {
    path: PathBuf,
    // Removed when this is dropped.
    _directory: TempDir,
}

fn file(text: &str) -> File {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("roommq.toml");
    std::fs::write(&path, text).unwrap();
    File {
        path,
        _directory: directory,
    }
}

fn check(text: &str) -> Finished {
    let file = file(text);
    let mut command = roommq();
    command.args(["config", "check"]).arg(&file.path);
    Program::run(&mut command, "")
}

#[test]
fn a_valid_file_passes_the_check() {
    let good = check(
        "[[listener]]\nbind = \"127.0.0.1:1883\"\ntransport = \"tcp\"\n\
         [auth]\nanonymous = true\n[topics]\noutside_rooms = \"deny\"\n\
         [[room]]\nmatch = \"staff-*\"\naccess = \"list\"\nmembers = [\"alice\"]\nmax_members = 50\n\
         publish = \"members\"\n[rooms]\ncreate = \"nobody\"\n[presence]\ngrace = \"10s\"\n",
    );
    assert_eq!(good.code, Some(0), "{}", good.stderr);
    assert_eq!(check("").code, Some(0));
}

#[test]
fn every_error_names_its_key_and_the_allowed_values() {
    for (text, parts) in [
        (
            "[auth]\nanonymus = true\n",
            &["auth.anonymus", "auth.anonymous"][..],
        ),
        (
            "[presence]\ngrace = \"soon\"\n",
            &["presence.grace", "soon"],
        ),
        (
            "[topics]\noutside_rooms = \"maybe\"\n",
            &["topics.outside_rooms", "allow", "deny"],
        ),
        ("[[listener]]\nbind = \"nonsense\"\n", &["listener", "bind"]),
        ("[[room]]\naccess = \"open\"\n", &["room", "match"]),
        (
            "[[access]]\ntopics = [\"a/#/b\"]\npublish = \"deny\"\n",
            &["access[0].topics", "a/#/b", "roommq.toml:2"],
        ),
        (
            "[[access]]\ntopics = [\"a\"]\n",
            &["access[0].publish", "subscribe"],
        ),
        ("[limits]\npacket_bytes = -1\n", &["limits.packet_bytes"]),
        ("[colour]\n", &["colour"]),
        ("not toml", &["roommq.toml"]),
    ] {
        let bad = check(text);
        assert_eq!(bad.code, Some(1), "{text}");
        let said = format!("{}{}", bad.stdout, bad.stderr);
        for part in parts {
            assert!(said.contains(part), "{text}: {said}");
        }
    }
}

#[test]
fn the_server_does_not_start_with_an_invalid_file() {
    let file = file("[auth]\nanonymus = true\n");
    let mut command = roommq();
    command
        .args(["serve", "--listen", "127.0.0.1:0", "--config"])
        .arg(&file.path);
    let failed = Program::run(&mut command, "");
    assert_eq!(failed.code, Some(1));
    assert!(
        failed.stderr.contains("auth.anonymous"),
        "{}",
        failed.stderr
    );
    let mut command = roommq();
    command.args(["serve", "--config", "/nonexistent/roommq.toml"]);
    let failed = Program::run(&mut command, "");
    assert_eq!(failed.code, Some(1));
    assert!(
        failed.stderr.contains("/nonexistent/roommq.toml"),
        "{}",
        failed.stderr
    );
}

/// What `config check` and `serve --dry-run` say of a file, and whether `serve` starts with it.
fn checked_and_served(directory: &Path, text: &str) -> (String, String, Finished) {
    let path = directory.join("roommq.toml");
    std::fs::write(&path, text).unwrap();
    let run = |arguments: &[&str]| {
        let mut command = roommq();
        Program::run(command.args(arguments).arg(&path), "")
    };
    let check = run(&["config", "check"]);
    let dry = run(&["serve", "--dry-run", "--config"]);
    assert_eq!(check.code, dry.code);
    let mut command = roommq();
    command.args(["serve", "--json", "--config"]).arg(&path);
    let mut server = Program::start(&mut command);
    let line = server.stdout.line_within(roommq_tests::PATIENCE, |_| true);
    if line.is_some() {
        server.kill();
    }
    let finished = server.finish();
    assert_eq!(check.code == Some(0), line.is_some(), "{}", check.stdout);
    (check.stdout, dry.stdout, finished)
}

#[test]
fn config_check_and_dry_run_refuse_what_cannot_start() {
    let directory = TempDir::new().unwrap();
    let path = directory.path();
    let authority = Authority::new();
    let (one, other) = (authority.server(), authority.server());
    for (name, text) in [
        ("one.pem", &one.certificate),
        ("one.key", &one.key),
        ("other.key", &other.key),
        ("bad.toml", &"users = 1".to_owned()),
    ] {
        std::fs::write(path.join(name), text).unwrap();
    }
    let listener = "[[listener]]\nbind = '127.0.0.1:0'\n";
    let tls = |certificate: &str, key: &str| {
        format!("{listener}transport = 'tls'\ncertificate = '{certificate}'\nkey = '{key}'\n")
    };
    let asking = "client_certificates = 'required'\nclient_ca = ";
    let table = [
        (tls("none.pem", "one.key"), "none.pem: No such file"),
        (tls("one.pem", "none.key"), "none.key: No such file"),
        (tls("one.pem", "other.key"), "do not belong together"),
        (tls("one.pem", "one.pem"), "there is no private key in it"),
        (
            format!("{}{asking}'none.pem'\n", tls("one.pem", "one.key")),
            "none.pem: No such file",
        ),
        (
            format!("{listener}[auth]\nusers_file = 'none.toml'\n"),
            "none.toml: No such file",
        ),
        (
            format!("{listener}[auth]\nusers_file = 'bad.toml'\n"),
            "bad.toml, line 1",
        ),
        (
            "[[listener]]\nbind = '192.0.2.7:0'\n[auth]\nanonymous = true\n".to_owned(),
            "192.0.2.7 is no address of this machine",
        ),
        (
            "[[listener]]\ntransport = 'unix'\npath = 'none/sock'\n".to_owned(),
            "make the directory",
        ),
        (
            "[[listener]]\ntransport = 'unix'\npath = 'one.pem'\n".to_owned(),
            "it is no socket",
        ),
    ];
    for (text, part) in table {
        let (check, dry, served) = checked_and_served(path, &text);
        assert!(check.contains(part), "{text}: {check}");
        assert_eq!(check, dry);
        assert!(served.stderr.contains(part), "{text}: {}", served.stderr);
    }
    let log = format!("{listener}[log]\nfile = 'none/roommq.log'\n");
    let (check, _, served) = checked_and_served(path, &log);
    let wanted = "none/roommq.log: No such file";
    assert!(
        check.contains(wanted) && served.stderr.contains(wanted),
        "{check}"
    );
    // All problems at once.
    let all = format!(
        "{}[auth]\nusers_file = 'none.toml'\n",
        tls("none.pem", "one.key")
    );
    assert_eq!(checked_and_served(path, &all).0.lines().count(), 2);
    let (check, dry, _) = checked_and_served(path, &tls("one.pem", "one.key"));
    assert_eq!((&*check, &*dry), ("ok", "ok"));
}

#[test]
fn a_check_beside_the_running_server_passes() {
    let server = Broker::start();
    let checked = check(&format!("[[listener]]\nbind = '{}'\n", server.address()));
    assert_eq!(checked.code, Some(0), "{}", checked.stdout);
}

#[test]
fn a_listener_beyond_loopback_requires_a_choice_about_anonymous_clients() {
    let serve = |text: &str| {
        let file = file(text);
        let mut command = roommq();
        command
            .args(["serve", "--listen", "0.0.0.0:0", "--json", "--config"])
            .arg(&file.path);
        let mut server = Program::start(&mut command);
        let line = server.stdout.line_within(roommq_tests::PATIENCE, |_| true);
        if line.is_some() {
            server.kill();
        }
        (line, server.finish())
    };
    let (line, failed) = serve("");
    assert_eq!(line, None);
    assert_eq!(failed.code, Some(1));
    assert!(failed.stderr.contains("auth"), "{}", failed.stderr);
    let (line, _) = serve("[auth]\nanonymous = true\n");
    assert!(line.is_some_and(|line| line.contains("listening")));
}

#[test]
fn a_variable_that_is_nearly_right_ends_every_command() {
    for arguments in [
        &["serve", "--listen", "127.0.0.1:0"][..],
        &["config", "show"],
        &["send", "lobby", "x"],
        &["who", "lobby"],
    ] {
        let mut command = roommq();
        command.env("ROOMMQ_AUTH_ANONYMOUS", "false");
        let failed = Program::run(command.args(arguments), "");
        assert_eq!(failed.code, Some(1), "{arguments:?}");
        let wanted = "did you mean ROOMMQ__AUTH__ANONYMOUS?";
        assert!(failed.stderr.contains(wanted), "{}", failed.stderr);
    }
}

#[test]
fn show_prints_every_value_and_its_source() {
    let file = file("[presence]\ngrace = \"7s\"\n");
    let mut command = roommq();
    command
        .env("ROOMMQ__ROOMS__CREATE", "nobody")
        .args(["config", "show", "--listen", "127.0.0.1:2883", "--config"])
        .arg(&file.path);
    let shown = Program::run(&mut command, "");
    assert_eq!(shown.code, Some(0), "{}", shown.stderr);
    let line = |part: &str| {
        let found = shown.stdout.lines().find(|line| line.contains(part));
        found.unwrap_or_else(|| panic!("no {part} in {}", shown.stdout))
    };
    assert!(line("7s").contains("roommq.toml"), "{}", line("7s"));
    assert!(
        line("nobody").contains("ROOMMQ__ROOMS__CREATE"),
        "{}",
        line("nobody")
    );
    assert!(
        line("127.0.0.1:2883").contains("--listen"),
        "{}",
        line("127.0.0.1:2883")
    );
    assert!(
        line("outside_rooms").contains("default"),
        "{}",
        line("outside_rooms")
    );
}

#[test]
fn show_in_json_is_json() {
    let mut command = roommq();
    command.args(["config", "show", "--json"]);
    let shown = Program::run(&mut command, "");
    assert_eq!(shown.code, Some(0), "{}", shown.stderr);
    let all: serde_json::Value = serde_json::from_str(&shown.stdout).unwrap();
    assert!(all.as_array().unwrap().iter().any(|entry| {
        entry["key"] == "presence.grace" && entry["value"] == "10s" && entry["source"] == "default"
    }));
}

#[test]
fn wrong_usage_has_its_own_exit_code() {
    for arguments in [
        &["fly"][..],
        &["join"],
        &["config"],
        &["send", "lobby", "--qos", "3", "x"],
        &["serve", "--no-such-flag"],
        &["serve", "--listen", "nowhere"],
        &["serve", "--log-level", "loud"],
    ] {
        let mut command = roommq();
        command.args(arguments);
        let wrong = Program::run(&mut command, "");
        assert_eq!(wrong.code, Some(2), "{arguments:?}");
        assert!(!wrong.stderr.is_empty());
    }
    let mut command = roommq();
    command.arg("--version");
    assert_eq!(Program::run(&mut command, "").code, Some(0));
}

#[test]
fn help_and_version_are_found_and_unknown_options_have_tips() {
    let run = |line: &str| {
        let mut command = roommq();
        Program::run(command.args(line.split_whitespace()), "")
    };
    let version = run("--version");
    for part in ["(debug build)", "MQTT 5.0", "TLS 1.3", "SCRAM-SHA-256"] {
        assert!(version.stdout.contains(part), "{}", version.stdout);
    }
    assert_eq!(run("-V").stdout.lines().count(), 1);
    assert!(run("help").stdout.contains("passwd"));
    assert!(run("help serve").stdout.contains("--listen"));
    for (line, tip) in [
        ("--port 1884", "--listen"),
        ("serve -p 1884", "--listen"),
        ("send lobby --port 1884 x", "--server HOST:PORT"),
        ("serve -c roommq.toml", "--config FILE"),
        ("who lobby -P secret", "--password-file"),
        ("serve -d", "service manager"),
    ] {
        let wrong = run(line);
        assert_eq!(wrong.code, Some(2), "{line}");
        assert!(wrong.stderr.contains(tip), "{line}: {}", wrong.stderr);
    }
}

#[test]
fn a_file_that_may_not_be_read_is_told_apart_from_one_that_is_not_there() {
    let directory = TempDir::new().unwrap();
    let path = directory.path();
    let identity = Authority::new().server();
    let config = "[[listener]]\nbind = '127.0.0.1:0'\ntransport = 'tls'\ncertificate = 'one.pem'\nkey = 'one.key'\n\
                  [auth]\nusers_file = 'users.toml'\n";
    for (name, text, mode) in [
        ("one.pem", &*identity.certificate, 0o644),
        ("one.key", &identity.key, 0o000),
        ("users.toml", "", 0o000),
        ("roommq.toml", config, 0o644),
    ] {
        std::fs::write(path.join(name), text).unwrap();
        set_mode(&path.join(name), mode);
    }
    set_mode(path, 0o755);
    let mut command = roommq();
    command
        .args(["config", "check"])
        .arg(path.join("roommq.toml"));
    if rustix::process::geteuid().is_root() {
        // Root may read everything.
        command.uid(65_534).gid(65_534);
    }
    let checked = Program::run(&mut command, "");
    for file in ["users.toml", "one.key"] {
        let line = checked.stdout.lines().find(|line| line.contains(file));
        let line = line.unwrap_or_else(|| panic!("{checked:?}"));
        assert!(
            line.contains("Permission denied") && line.contains("roommq read it"),
            "{line}"
        );
        assert!(!line.contains("passwd") && !line.contains("PEM"), "{line}");
    }
}

fn set_mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn keys_that_cannot_be_used_are_named_and_open_ones_warned_about() {
    let directory = TempDir::new().unwrap();
    let path = directory.path();
    let identity = Authority::new().server();
    std::fs::write(path.join("one.pem"), &identity.certificate).unwrap();
    let config = path.join("roommq.toml");
    let tls = "[[listener]]\nbind = '127.0.0.1:0'\ntransport = 'tls'\ncertificate = 'one.pem'\nkey = 'one.key'\n";
    std::fs::write(&config, tls).unwrap();
    let key = path.join("one.key");
    let checked = |text: &str, mode| {
        std::fs::write(&key, text).unwrap();
        set_mode(&key, mode);
        let mut command = roommq();
        Program::run(command.args(["config", "check"]).arg(&config), "")
    };
    for encrypted in [
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMIIB\n-----END ENCRYPTED PRIVATE KEY-----\n",
        "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\nMIIB\n-----END RSA PRIVATE KEY-----\n",
    ] {
        let told = checked(encrypted, 0o600).stdout;
        assert!(
            told.contains("is encrypted") && told.contains("openssl pkey -in"),
            "{told}"
        );
    }
    let made = std::process::Command::new("openssl")
        .args(["ecparam", "-name", "secp521r1", "-genkey", "-noout"])
        .output()
        .expect("openssl");
    let told = checked(&String::from_utf8(made.stdout).unwrap(), 0o600).stdout;
    assert!(
        told.contains("P-521") && told.contains("P-256 or P-384"),
        "{told}"
    );
    let open = checked(&identity.key, 0o644);
    assert_eq!(open.code, Some(0));
    assert!(open.stderr.contains("chmod o-rwx"), "{}", open.stderr);
    assert_eq!(checked(&identity.key, 0o640).stderr, "");
}

#[test]
fn an_empty_users_file_without_anonymous_clients_is_warned_about() {
    let directory = TempDir::new().unwrap();
    let users = directory.path().join("users.toml");
    std::fs::write(&users, "").unwrap();
    set_mode(&users, 0o600);
    let run = |anonymous| {
        let mut command = roommq();
        command.args([
            "serve",
            "--dry-run",
            "--anonymous",
            anonymous,
            "--users-file",
        ]);
        Program::run(command.arg(&users), "")
    };
    let warned = run("false");
    assert_eq!(warned.code, Some(0));
    assert!(
        warned.stderr.contains("nobody can connect"),
        "{}",
        warned.stderr
    );
    assert_eq!(run("true").stderr, "");
}

#[test]
fn a_closed_output_pipe_is_no_error() {
    for arguments in [
        &["config", "show"][..],
        &["config", "show", "--json"],
        &["--help"],
    ] {
        let mut child = roommq()
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        drop(child.stdout.take());
        let done = child.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&done.stderr).into_owned();
        assert_eq!(
            (done.status.code(), said.as_str()),
            (Some(0), ""),
            "{arguments:?}"
        );
    }
}
