#![allow(clippy::unwrap_used, clippy::expect_used)]
use super::*;

const SCRAM: Option<u32> = Some(4_096);

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

#[test]
fn only_the_last_password_set_is_right() {
    let folder = folder();
    let path = folder.path().join("users.toml");
    set_password(&path, "al/ice", "one", SCRAM).unwrap();
    set_password(&path, "bob", "two", SCRAM).unwrap();
    set_password(&path, "al/ice", "three", SCRAM).unwrap();
    let users = load_users(&path).unwrap();
    assert_eq!(users.count(), 2);
    assert!(users.verify("al/ice", b"three"));
    assert!(!users.verify("al/ice", b"one"));
    assert!(users.verify("bob", b"two"));
    assert!(!users.verify("eve", b"two"));
    assert!(!Users::default().verify("eve", b"two"));
    let shown = format!("{users:?}");
    assert!(
        shown.contains("bob") && !shown.contains("argon2"),
        "{shown}"
    );
}

#[test]
fn a_verifier_is_stored_beside_the_hash_unless_switched_off() {
    let folder = folder();
    let path = folder.path().join("users.toml");
    let read = || std::fs::read_to_string(&path).unwrap();
    let of = |name: &str| {
        let users = load_users(&path).unwrap();
        let verifiers = users.verifiers(DecoyKey([0; 32]), 9_999);
        verifiers.of(name)
    };
    set_password(&path, "al", "x", None).unwrap();
    assert!(!read().contains("SCRAM") && !read().contains("decoy"));
    let decoy = of("al");
    assert_eq!((decoy.0.iterations, decoy.1), (9_999, false));
    set_password(&path, "bob", "x", Some(5_000)).unwrap();
    let key = read()
        .lines()
        .find(|l| l.contains("decoy_key"))
        .map(str::to_owned);
    assert!(key.is_some());
    assert!(of("bob").1 && !of("al").1);
    assert_eq!(of("eve").0.iterations, 5_000, "as the existing verifiers");
    assert_eq!(
        of("eve").0,
        of("eve").0,
        "the same when the server has started again"
    );
    assert!(!format!("{:?}", of("bob")).contains("stored"));
    set_password(&path, "al", "y", SCRAM).unwrap();
    assert!(of("al").1);
    set_password(&path, "bob", "y", None).unwrap();
    assert!(!of("bob").1);
    assert!(read().contains(&key.unwrap()));
    // A verifier from another program can be alone.
    let alone: String = read()
        .lines()
        .filter(|l| !l.contains("argon2"))
        .fold(String::new(), |text, line| text + line + "\n");
    std::fs::write(&path, alone).unwrap();
    let users = load_users(&path).unwrap();
    assert_eq!(users.count(), 1);
    assert!(of("al").1 && !users.verify("al", b"y"));
}

#[test]
fn names_and_passwords_that_scram_does_not_allow_are_reported() {
    let folder = folder();
    let path = folder.path().join("users.toml");
    for (user, password) in [
        ("al", "a\u{7}"),
        ("a\u{7}l", "x"),
        ("a\u{a0}l", "x"),
        ("al", "\u{ad}"),
    ] {
        let error = set_password(&path, user, password, SCRAM).unwrap_err();
        assert!(matches!(error, UsersError::NotPrepared(_)), "{user:?}");
        assert!(error.to_string().contains("--no-scram"));
        set_password(&path, user, password, None).unwrap();
    }
    let users = load_users(&path).unwrap();
    assert!(users.verify("al", "\u{ad}".as_bytes()));
}

#[test]
fn nobodys_hash_costs_as_much_as_a_users() {
    let nobodys = PasswordHash::new(NOBODYS).unwrap();
    assert!(is_usable(&nobodys));
    let real: PasswordHash = Argon2::default().hash_password(b"x").unwrap();
    assert_eq!(nobodys.params, real.params);
    assert_eq!(nobodys.algorithm, real.algorithm);
}

#[cfg(unix)]
#[test]
fn the_file_keeps_its_mode_and_no_temporary_file_is_left() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = folder();
    let path = folder.path().join("users.toml");
    std::fs::write(&path, "").unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    let link = folder.path().join("link.toml");
    std::os::unix::fs::symlink(&path, &link).unwrap();
    set_password(&link, "al", "x", SCRAM).unwrap();
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o644);
    assert!(std::fs::symlink_metadata(&link).unwrap().is_symlink());
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2);
}

#[test]
fn errors_name_the_file_and_the_line_or_key() {
    let folder = folder();
    let path = folder.path().join("users.toml");
    let load = |text: &str| {
        std::fs::write(&path, text).unwrap();
        load_users(&path).unwrap_err().to_string()
    };
    let name = path.display().to_string();
    let error = load("[users]\nal = 5\n");
    assert!(error.starts_with(&format!("{name}, line 2: ")), "{error}");
    let error = load("\n\n[user]\n");
    assert!(
        error.contains("line 3") && error.contains("user"),
        "{error}"
    );
    let error = load("[users]\nal = \"$argon2id$secret\n");
    assert!(
        error.contains("line 2") && !error.contains("secret"),
        "{error}"
    );
    for phc in [
        "",
        "plain",
        "$argon2id$v=19$m=1,t=1,p=1$AAAA$AAAA",
        "$scrypt$ln=1$AAAAAAAA$AAAA",
    ] {
        let error = load(&format!("[users]\nal = \"{phc}\"\n"));
        assert_eq!(
            error,
            format!(
                "{name}, key `users.al`: no argon2 hash, and none of mosquitto's ($6$, $7$); set it with `roommq passwd`"
            )
        );
    }
    let error = load("[users]\n\"~al\" = \"x\"\n");
    assert!(error.contains("key `users.~al`"), "{error}");
    let verifier = |iterations, salt, key: &str| {
        let keys = format!("{key}:{key}");
        format!("[scram]\nal = \"SCRAM-SHA-256${iterations}:{salt}${keys}\"\n")
    };
    let key = Base64::encode_string(&[1; 32]);
    std::fs::write(&path, verifier(4_096, "AAAA", &key)).unwrap();
    load_users(&path).unwrap();
    for text in [
        verifier(4_095, "AAAA", &key),
        verifier(10_000_001, "AAAA", &key),
        verifier(4_096, "", &key),
        verifier(4_096, "AAAA", "AAAA"),
        verifier(4_096, "AAA", &key),
        verifier(4_096, "AAAA", &key).replace("al", "\"a\u{a0}l\""),
        "[scram]\nal = \"md5\"\n".to_owned(),
    ] {
        let error = load(&text);
        assert!(
            error.starts_with(&format!("{name}, key `scram.a")),
            "{error}"
        );
        assert!(!error.contains("AAAA"), "{error}");
    }
    let error = load("decoy_key = \"AAAA\"\n");
    assert!(
        error.contains("key `decoy_key`") && !error.contains("AAAA"),
        "{error}"
    );
    let missing = folder.path().join("none.toml");
    let error = load_users(&missing).unwrap_err().to_string();
    assert!(
        error.contains("none.toml") && error.contains("roommq passwd"),
        "{error}"
    );
}

#[test]
fn an_error_leaves_the_file_unchanged() {
    let folder = folder();
    let path = folder.path().join("users.toml");
    for (user, password) in [("", "x"), ("me", "x"), ("~a", "x"), ("_a", "x"), ("a", "")] {
        assert!(
            set_password(&path, user, password, SCRAM).is_err(),
            "{user}"
        );
    }
    assert!(!path.exists());
    std::fs::write(&path, "not toml").unwrap();
    assert!(set_password(&path, "al", "x", SCRAM).is_err());
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "not toml");
    assert!(set_password(&folder.path().join("no/users.toml"), "al", "x", SCRAM).is_err());
}
