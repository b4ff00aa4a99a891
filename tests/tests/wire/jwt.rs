//! JSON Web Tokens as passwords.

use roommq_tests::broker::Broker;
use roommq_tests::token::{SECRET, key_set, keys, signed, token, token_of};
use roommq_tests::wire::{Connect, Version};
use serde_json::{Value as Json, json};
use std::time::Duration;

const HOUR: Duration = Duration::from_hours(1);

const SETTINGS: &str = "\
[[listener]]
bind = \"127.0.0.1:0\"
[auth]
anonymous = false
[log]
level = \"trace\"
[jwt]
keys = \"keys.json\"
";

/// A public key for RS256.
const RSA_PUBLIC: &str = "-----BEGIN PUBLIC KEY-----
MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAoKsZqgOGVTa7EMNnNYbV
fMMNsrJIXRMqN1R2cmXBhT5UftcWIC8QxiOjKHBSUMIGt3zmjZjv9XxmedMdU2Hk
+U4JS8Jt4gHXtUwQtxbWetxEuxjCIfgI7vsW3peb05QhgR2jC2dKyyp1RGlQslov
6VRggwZHxOsUZIykJGdAdBh0O8yx2URr66D3DdkP86X+dM81rdZ+IYDxzfHie5WY
TLAYJwyuz4l7LK8x5fz1P7kgPayD//GZYFSbMOE7Un9k5JN2iVqdhC8UtAfLoUZw
lZVE/GQ58yWym11z45MZgJYw4bUQy+ahsaBNYa3o1YO2uPlB5JNA2Wn7PtQGxveo
KwIDAQAB
-----END PUBLIC KEY-----";

fn server(more: &str, keys: &str) -> Broker {
    Broker::listening(&format!("{SETTINGS}{more}"), &[("keys.json", keys)])
}

fn far() -> Json {
    json!({"sub": "alice", "exp": 99_999_999_999_u64})
}

/// A CONNECT with a password alone (5.0), or with the user name that means the same (3.1.1).
fn with(version: Version, token: &str) -> Connect {
    let connect = Connect::new(version, "c").user("_jwt", token);
    match version {
        Version::V5 => Connect {
            user_name: None,
            ..connect
        },
        _ => connect,
    }
}

/// The server must refuse the token in both versions, and log no part of it.
fn refused(server: &Broker, token: &str, why: &str) {
    let reason = with(Version::V5, token).refused(server.address(), 0x86);
    assert!(reason.reason().contains(why), "{reason:?}: {why}");
    with(Version::V311, token).refused(server.address(), 4);
    server.log().line_with(why);
    let log = server.log().text();
    for part in token.split('.').filter(|part| part.len() > 8) {
        assert!(!log.contains(part), "{part} is in the log");
    }
}

#[test]
fn jwt() {
    let server = server("issuer = \"us\"\naudience = \"mqtt\"\n", &keys());
    let claims = |more: Json| {
        let mut all =
            json!({"sub": "alice", "exp": 99_999_999_999_u64, "iss": "us", "aud": "mqtt"});
        for (name, value) in more.as_object().unwrap() {
            all[name] = value.clone();
        }
        all
    };
    let header = json!({"alg": "HS256", "kid": "web"});
    let good = token(&claims(json!({})));
    for version in [Version::V5, Version::V311] {
        let mut client = with(version, &good).to(server.address());
        assert_eq!(client.subscribe("inbox/alice/#", 0), 0);
        let named = Connect::new(version, "d").user("alice", &good);
        named.to(server.address()).ping();
        let other = Connect::new(version, "e").user("bob", &good);
        other.refused(
            server.address(),
            if version == Version::V5 { 0x86 } else { 4 },
        );
    }
    let unsigned = |alg: &str| {
        let whole = signed(
            &json!({"alg": alg, "kid": "web"}),
            &claims(json!({})),
            SECRET,
        );
        let (message, _) = whole.rsplit_once('.').unwrap();
        format!("{message}.")
    };
    refused(&server, &unsigned("none"), "no JWT");
    refused(&server, &unsigned("HS256"), "signature");
    refused(
        &server,
        &signed(&header, &claims(json!({})), b"another"),
        "signature",
    );
    let wrong_id = signed(
        &json!({"alg": "HS256", "kid": "x"}),
        &claims(json!({})),
        SECRET,
    );
    refused(&server, &wrong_id, "`kid`");
    refused(&server, &token(&claims(json!({"iss": "them"}))), "`iss`");
    refused(&server, &token(&claims(json!({"aud": "web"}))), "`aud`");
    refused(
        &server,
        &token(&claims(json!({"exp": 1_000_000_000}))),
        "`exp`",
    );
    refused(
        &server,
        &token(&claims(json!({"nbf": 99_999_999_998_u64}))),
        "`nbf`",
    );
    refused(&server, &token(&claims(json!({"sub": "~x"}))), "`sub`");
    assert!(!server.log().text().contains(&good));
}

#[test]
fn a_public_key_is_no_shared_secret() {
    let server = server("", RSA_PUBLIC);
    for secret in [RSA_PUBLIC, &format!("{RSA_PUBLIC}\n")] {
        let confused = signed(&json!({"alg": "HS256"}), &far(), secret.as_bytes());
        refused(&server, &confused, "no key of this server");
        let forged = signed(&json!({"alg": "RS256"}), &far(), secret.as_bytes());
        refused(&server, &forged, "signature");
    }
}

#[test]
fn passwords_and_tokens_work_side_by_side() {
    let users = "[auth]\nusers_file = \"users.toml\"\n";
    let server = Broker::with_users(users, &[("bob", "builder")]);
    server.file("keys.json", &keys());
    server.file(
        "roommq.toml",
        &format!("{users}[jwt]\nkeys = \"keys.json\"\n"),
    );
    server.hang_up();
    let changed = r#"changed=["jwt.keys", "token keys"]"#;
    server.log().line_with(changed);
    Connect::v5("a").user("bob", "builder").to(server.address());
    let mut token = Connect::v5("a")
        .user("bob", &token_of("bob", HOUR))
        .to(server.address());
    token.ping();
    Connect::v5("anonymous").to(server.address()).ping();
}

#[test]
fn a_changed_key_file_is_taken_and_a_bad_one_is_not() {
    let server = server("", &keys());
    let old = token_of("alice", HOUR);
    with(Version::V5, &old).to(server.address()).ping();
    server.file("keys.json", "{}");
    server.hang_up();
    let kept = |line: &str| line.contains("the old ones stay") && line.contains("keys.json");
    server.log().line(kept);
    with(Version::V5, &old).to(server.address()).ping();
    // Without a signal.
    server.file("keys.json", &key_set("new", &[9; 32]));
    server.log().line_with(r#"changed=["token keys"]"#);
    refused(&server, &old, "`kid`");
    let new = signed(&json!({"alg": "HS256", "kid": "new"}), &far(), &[9; 32]);
    with(Version::V5, &new).to(server.address()).ping();
}
