//! `roommq passwd`: many at once, and whose file it is.

use roommq_tests::broker::Broker;
use roommq_tests::program::{Finished, Program, roommq};
use roommq_tests::wire::Connect;
use std::collections::BTreeSet;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;
use tempfile::TempDir;

/// Commands that run at one time.
const AT_ONCE: usize = 24;

fn passwd(file: &Path, user: &str) -> Program {
    let mut program = Program::start(roommq().arg("passwd").arg(file).arg(user));
    program.write("secret\n");
    program
}

#[test]
fn commands_at_one_time_lose_no_user() {
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("users.toml");
    let names: Vec<String> = (0..AT_ONCE).map(|n| format!("user-{n}")).collect();
    let running: Vec<Program> = names.iter().map(|name| passwd(&file, name)).collect();
    for program in running {
        let finished = program.finish();
        assert_eq!(finished.code, Some(0), "{}", finished.stderr);
    }
    let text = std::fs::read_to_string(&file).unwrap();
    let table: toml::Table = text.parse().unwrap();
    for section in ["users", "scram"] {
        let found: BTreeSet<&String> = table[section].as_table().unwrap().keys().collect();
        assert_eq!(found, names.iter().collect(), "[{section}]");
    }
    // Neither a lock nor a temporary file stays.
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
}

#[test]
fn a_users_file_keeps_its_owner_and_its_mode() {
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("users.toml");
    let properties = || {
        let file = std::fs::metadata(&file).unwrap();
        (file.uid(), file.gid(), file.mode() & 0o7777)
    };
    assert_eq!(passwd(&file, "alice").finish().code, Some(0));
    assert_eq!(properties().2, 0o600, "a new file is for its owner alone");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o640)).unwrap();
    // Only root may give a file to a service's user; for others the mode is what can change.
    let _ = chown(&file, Some(12_345), Some(23_456));
    let before = properties();
    assert_eq!(passwd(&file, "bob").finish().code, Some(0));
    assert_eq!(properties(), before);
}

/// As `mosquitto_passwd` makes them, for the password "correct horse".
const SIX: &str = "$6$AQIDBAUGBwgJCgsM$k4h6DJTPKKgPqwiLW87w0j5t6eo2nkDOCc72xNQ6goxbMrAMEDvsnYteF9SSd1cyXtc8SuF5I0GVPt7YRi6Wdw==";
const SEVEN: &str = "$7$101$AQIDBAUGBwgJCgsM$mIOMyf0G01/LkKvFuu6raA+sJydkdh2qDZD+cyTDcrMk08Rnc3N+vIiTgRJqnolJL9TU+/R/F+mbz31mQG16jg==";

#[test]
fn passwords_of_mosquitto_are_imported_and_replaced_at_the_next_login() {
    let server = Broker::with_users(
        "[auth]\nanonymous = false\nusers_file = '@users@'\n",
        &[("carol", "hers")],
    );
    let old = server.file(
        "passwords",
        &format!("# by mosquitto\nalice:{SIX}\nbob:{SEVEN}\ncarol:{SIX}\n"),
    );
    let users = server.file("more.toml", "");
    let import = |from: &Path| {
        let mut command = roommq();
        command.arg("passwd").arg(&users).arg("--import").arg(from);
        Program::run(&mut command, "")
    };
    let plain = server.file("plain", "dave:secret\n");
    let wrong = import(&plain);
    assert_eq!(wrong.code, Some(1));
    assert!(
        wrong.stderr.contains("plain, line 1: no hash of mosquitto")
            && !wrong.stderr.contains("secret"),
        "{}",
        wrong.stderr
    );
    let done = import(&old);
    assert_eq!(done.code, Some(0), "{}", done.stderr);
    assert!(
        done.stdout.contains("3 users were imported"),
        "{}",
        done.stdout
    );
    let again = import(&old);
    assert!(
        again.stdout.contains("0 users") && again.stdout.contains("alice, bob, carol"),
        "{}",
        again.stdout
    );

    let config = format!(
        "[auth]\nanonymous = false\nusers_file = '{}'\n",
        users.display()
    );
    let server = Broker::with(&config);
    let text = || std::fs::read_to_string(&users).unwrap();
    for (user, hash) in [("alice", SIX), ("bob", SEVEN)] {
        Connect::v5("c")
            .user(user, "wrong")
            .refused(server.address(), 0x86);
        assert!(text().contains(hash), "a wrong password replaces nothing");
        for _ in 0..2 {
            Connect::v5("c")
                .user(user, "correct horse")
                .to(server.address())
                .ping();
        }
        server
            .log()
            .line(|line| line.contains("hash was replaced") && line.contains(user));
        assert!(
            text().contains(&format!("{user} = \"$argon2id$")),
            "{}",
            text()
        );
    }
    // Carol has not logged in. A password that was set meanwhile stays.
    assert_eq!(passwd(&users, "carol").finish().code, Some(0));
    let before = text();
    Connect::v5("c")
        .user("carol", "correct horse")
        .to(server.address())
        .ping();
    server
        .log()
        .line(|line| line.contains("hash was replaced") && line.contains("carol"));
    assert_eq!(text(), before);
    // The new hashes are those of the same passwords.
    let server = Broker::with(&config);
    for user in ["alice", "bob"] {
        Connect::v311("c")
            .user(user, "correct horse")
            .to(server.address())
            .ping();
    }
}

fn run(arguments: &[&str], file: &Path) -> Finished {
    let mut command = roommq();
    command.arg("passwd").arg(file).args(arguments);
    Program::run(&mut command, "")
}

#[test]
fn users_are_listed_and_deleted() {
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("users.toml");
    let none = run(&["alice", "--delete"], &file);
    assert_eq!(none.code, Some(1), "there is no file");
    assert!(!file.exists());
    for user in ["alice", "bob"] {
        assert_eq!(passwd(&file, user).finish().code, Some(0));
    }
    let mut command = roommq();
    command
        .arg("passwd")
        .arg(&file)
        .args(["carol", "--no-scram"]);
    assert_eq!(Program::run(&mut command, "pw\n").code, Some(0));
    let listed = run(&["--list"], &file);
    assert_eq!(
        listed.stdout,
        "USER   PASSWORD  SCRAM\nalice  yes       yes\nbob    yes       yes\ncarol  yes       no"
    );
    let deleted = run(&["alice", "--delete"], &file);
    assert_eq!(deleted.code, Some(0), "{}", deleted.stderr);
    assert!(deleted.stdout.starts_with("alice is deleted from "));
    let again = run(&["alice", "--delete"], &file);
    assert_eq!(again.code, Some(1));
    assert!(
        again.stderr.contains("has no user alice"),
        "{}",
        again.stderr
    );
    let listed = run(&["--list", "--json"], &file);
    let json = r#"[{"password":true,"scram":true,"user":"bob"},{"password":true,"scram":false,"user":"carol"}]"#;
    assert_eq!(listed.stdout.trim(), json);
    assert!(!std::fs::read_to_string(&file).unwrap().contains("alice"));
}
