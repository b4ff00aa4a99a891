//! `roommq passwd`: many at once, and whose file it is.

use roommq_tests::program::{Program, roommq};
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
