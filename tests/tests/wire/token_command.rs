//! `roommq token`: keys and tokens from the command line, and a server that takes them.

use roommq_tests::broker::Broker;
use roommq_tests::program::{Finished, Program, roommq};
use roommq_tests::wire::Connect;
use serde_json::Value as Json;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use tempfile::TempDir;

fn token(key: &Path, arguments: &[&str]) -> Finished {
    let mut command = roommq();
    command.arg("token").arg(key).args(arguments);
    Program::run(&mut command, "")
}

#[test]
fn a_token_by_the_command_line_lets_its_user_in() {
    let directory = TempDir::new().unwrap();
    let key = directory.path().join("key.json");
    let made = token(&key, &["--new-key"]);
    assert_eq!(made.code, Some(0), "{}", made.stderr);
    assert!(made.stdout.contains("`jwt.keys`"), "{}", made.stdout);
    let permissions = std::fs::metadata(&key).unwrap().permissions();
    assert_eq!(permissions.mode() & 0o777, 0o600);
    let text = std::fs::read_to_string(&key).unwrap();
    let again = token(&key, &["--new-key"]);
    assert_eq!(again.code, Some(1), "an old key is not replaced");
    assert_eq!(std::fs::read_to_string(&key).unwrap(), text);

    let settings =
        "[[listener]]\nbind = \"127.0.0.1:0\"\n[jwt]\nkeys = \"key.json\"\nissuer = \"me\"\n";
    let server = Broker::listening(settings, &[("key.json", &text)]);
    let arguments = [
        "alice", "--issuer", "me", "--only", "--room", "lobby", "--read", "news-*",
    ];
    let made = token(&key, &arguments);
    assert_eq!(made.code, Some(0), "{}", made.stderr);
    let mut alice = Connect::v311("a")
        .user("_jwt", made.stdout.trim())
        .to(server.address());
    assert_eq!(alice.subscribe("rooms/lobby/#", 0), 0);
    assert_eq!(alice.subscribe("rooms/news-1/#", 0), 0);
    assert_eq!(alice.subscribe("rooms/other/#", 0), 0x80);
    let other = token(&key, &["alice"]);
    Connect::v5("a")
        .user("alice", other.stdout.trim())
        .refused(server.address(), 0x86);
}

#[test]
fn claims_are_shown_as_json_and_faults_by_exit_codes() {
    let directory = TempDir::new().unwrap();
    let key = directory.path().join("key.json");
    assert_eq!(token(&key, &["alice"]).code, Some(1), "there is no key");
    assert_eq!(token(&key, &["--new-key", "--json"]).code, Some(0));
    let made = token(
        &key,
        &[
            "alice",
            "--json",
            "--for",
            "90s",
            "--audience",
            "mqtt",
            "--publish",
            "a/#",
            "--subscribe",
            "b",
        ],
    );
    let json: Json = serde_json::from_str(&made.stdout).unwrap();
    let claims = &json["claims"];
    let life = claims["exp"].as_u64().unwrap() - claims["iat"].as_u64().unwrap();
    assert_eq!(
        (life, &claims["aud"], &claims["sub"]),
        (90, &"mqtt".into(), &"alice".into())
    );
    let topics: Vec<&Json> = claims["acl"]
        .as_array()
        .unwrap()
        .iter()
        .map(|rule| &rule["topic"])
        .collect();
    assert_eq!(topics, ["a/#", "b"]);
    assert_eq!(json["token"].as_str().unwrap().split('.').count(), 3);
    assert_eq!(token(&key, &["alice", "--for", "0s"]).code, Some(1));
    for wrong in [
        &["me"][..],
        &["alice", "--for", "soon"],
        &[],
        &["alice", "--new-key"],
    ] {
        assert_eq!(token(&key, wrong).code, Some(2), "{wrong:?}");
    }
    std::fs::write(&key, "{\"kty\":\"oct\",\"k\":\"c2hvcnQ\"}").unwrap();
    let weak = token(&key, &["alice"]);
    assert_eq!(weak.code, Some(1));
    assert!(
        weak.stderr.contains("32 bytes") && !weak.stderr.contains("c2hvcnQ"),
        "{}",
        weak.stderr
    );
}
