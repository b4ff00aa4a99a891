//! Each problem and its text.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use roommq_config::{Flags, Problem, Sources, load};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// The problems that `load` reports for a file, variables and flags. The file is called `roommq.toml`.
fn problems(toml: &str, environment: &[(&str, &str)], flags: Flags) -> Vec<String> {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("roommq.toml");
    std::fs::write(&file, toml).unwrap();
    let source = Sources {
        file: Some(file),
        flags,
        environment: variables(environment),
    };
    let prefix = format!("{}/", directory.path().display());
    match load(&source) {
        Ok(_) => Vec::new(),
        Err(error) => {
            let lines: Vec<_> = error.problems().iter().map(Problem::to_string).collect();
            assert_eq!(error.to_string(), lines.join("\n"));
            lines.iter().map(|line| line.replace(&prefix, "")).collect()
        }
    }
}

fn variables(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    pairs.iter().map(owned).collect()
}

#[test]
fn whole_texts() {
    type Variables = &'static [(&'static str, &'static str)];
    let table: &[(&str, Variables, &str)] = &[
        (
            "[auth]\nanonymus = true",
            &[],
            "unknown key `auth.anonymus` in roommq.toml:2; did you mean `auth.anonymous`?",
        ),
        (
            "",
            &[("ROOMMQ__AUTH__ANONYMUS", "true")],
            "unknown key `auth.anonymus` in ROOMMQ__AUTH__ANONYMUS; did you mean `auth.anonymous` \
             (ROOMMQ__AUTH__ANONYMOUS)?",
        ),
        (
            "",
            &[("ROOMMQ__PRESENCE__GRACE", "ten")],
            "`presence.grace` in ROOMMQ__PRESENCE__GRACE is `ten`: give a duration such as `10s` or `2m`",
        ),
        (
            "[[listener]]\nbind = '127.0.0.1:1'\n\n[[listener]]\nbind = '127.0.0.1:1'",
            &[],
            "`listener[1].bind` in roommq.toml:5 is `127.0.0.1:1`: `listener[0].bind` in roommq.toml:2 \
             is the same; give another port, or take one of them away",
        ),
    ];
    for (toml, environment, wanted) in table {
        assert_eq!(
            problems(toml, environment, Flags::default()),
            [*wanted],
            "{toml}"
        );
    }
}

/// Each case has exactly one problem, whose text has the given parts.
#[test]
fn wrong_files() {
    let cases = include_str!("wrong_files.txt").split("\n\n");
    let cases: Vec<_> = cases.filter(|case| !case.starts_with('#')).collect();
    assert!(cases.len() > 60, "{}", cases.len());
    for case in cases {
        let (parts, toml): (Vec<&str>, Vec<&str>) =
            case.lines().partition(|line| line.starts_with("=> "));
        let told = problems(&toml.join("\n"), &[], Flags::default());
        assert_eq!(told.len(), 1, "{case}: {told:?}");
        assert!(!parts.is_empty(), "{case}");
        for part in parts {
            assert!(told[0].contains(&part[3..]), "{case}\n{}", told[0]);
        }
    }
}

#[test]
fn wrong_variables() {
    let table = [
        (
            "ROOMMQ_LISTEN",
            ":1",
            "`listener[0].bind` in ROOMMQ_LISTEN is `:1`: give HOST",
        ),
        (
            "ROOMMQ_LISTEN",
            "",
            "in ROOMMQ_LISTEN is ``: give HOST:PORT",
        ),
        (
            "ROOMMQ_LISTEN",
            "0.0.0.0:1",
            "in ROOMMQ_LISTEN is `0.0.0.0:1`, which other machines",
        ),
        (
            "ROOMMQ__LISTENER__BIND",
            "1",
            "ROOMMQ__LISTENER__BIND cannot be set, since `listener` is a list: write `[[listener]]` \
             into a file, or set ROOMMQ_LISTEN",
        ),
        (
            "ROOMMQ__ROOM__MATCH",
            "1",
            "since `room` is a list: write `[[room]]`",
        ),
        (
            "ROOMMQ__LISTENER[4000000000]__BIND",
            "1",
            "unknown key `listener[4000000000].bind`",
        ),
        (
            "ROOMMQ__auth__anonymous",
            "true",
            "write ROOMMQ__AUTH__ANONYMOUS, in capitals",
        ),
        ("ROOMMQ__AUTH", "true", "unknown key `auth` in ROOMMQ__AUTH"),
        ("ROOMMQ__", "true", "unknown key `` in ROOMMQ__"),
        (
            "ROOMMQ__AUTH__ANONYMOUS",
            "yes",
            "`auth.anonymous` in ROOMMQ__AUTH__ANONYMOUS is `yes`: give true or false",
        ),
        (
            "ROOMMQ__AUTH__ANONYMOUS",
            "false",
            "with ROOMMQ__AUTH__ANONYMOUS=false nobody could connect",
        ),
        (
            "ROOMMQ__LANES__COUNT",
            "many",
            "in ROOMMQ__LANES__COUNT is `many`: give a whole number",
        ),
    ];
    for (variable, value, part) in table {
        let told = problems("", &[(variable, value)], Flags::default());
        assert_eq!(told.len(), 1, "{part}: {told:?}");
        assert!(told[0].contains(part), "{part}: {}", told[0]);
    }
}

#[test]
fn wrong_flags() {
    type Field = fn(&mut Flags) -> &mut Option<String>;
    let table: [(Field, &str, &str); 5] = [
        (
            |f| &mut f.listen,
            "x",
            "`listener[0].bind` in --listen is `x`: give HOST:PORT",
        ),
        (
            |f| &mut f.listen,
            "[::]:1",
            "in --listen is `[::]:1`, which other machines",
        ),
        (
            |f| &mut f.users_file,
            "",
            "`auth.users_file` in --users-file is ``: give the name of a file",
        ),
        (
            |f| &mut f.log_level,
            "loud",
            "`log.level` in --log-level is `loud`",
        ),
        (
            |f| &mut f.log_format,
            "xml",
            "`log.format` in --log-format is `xml`",
        ),
    ];
    for (field, value, part) in table {
        let mut flags = Flags::default();
        *field(&mut flags) = Some(value.to_owned());
        let told = problems("", &[], flags);
        assert_eq!(told.len(), 1, "{part}: {told:?}");
        assert!(told[0].contains(part), "{part}: {}", told[0]);
    }
}

#[test]
fn nobody_could_connect() {
    let flags = Flags {
        anonymous: Some(false),
        ..Flags::default()
    };
    let told = problems("", &[], flags);
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(
        told[0].contains("with `--anonymous false` nobody could connect"),
        "{}",
        told[0]
    );
}

#[test]
fn all_problems_are_reported_in_order() {
    let toml = "[presence]\ngrace = 'x'\n[log]\nfromat = 'json'\n[[room]]\nmatch = '/'\n[lanes]\ncount = 0";
    let flags = Flags {
        log_level: Some("loud".to_owned()),
        ..Flags::default()
    };
    let told = problems(toml, &[("ROOMMQ__LIMITS__INFLIGHT", "0")], flags);
    let parts = [
        "toml:2",
        "toml:4",
        "toml:6",
        "toml:8",
        "ROOMMQ__LIMITS__INFLIGHT",
        "--log-level",
    ];
    assert_eq!(told.len(), parts.len(), "{told:?}");
    for (line, part) in told.iter().zip(parts) {
        assert!(line.contains(part), "{line} {part}");
    }
}

#[test]
fn files_that_cannot_be_read() {
    let directory = tempfile::tempdir().unwrap();
    let missing = directory.path().join("missing.toml");
    let latin = directory.path().join("latin.toml");
    std::fs::write(&latin, b"# \xe4").unwrap();
    let told = |file: Option<PathBuf>, environment: &[(&str, &str)]| {
        let source = Sources {
            file,
            environment: variables(environment),
            ..Sources::default()
        };
        load(&source).unwrap_err().to_string()
    };
    let text = told(Some(missing.clone()), &[]);
    assert!(
        text.contains("missing.toml cannot be read: No such file"),
        "{text}"
    );
    let text = told(None, &[("ROOMMQ_CONFIG", missing.to_str().unwrap())]);
    assert!(text.contains("(named by ROOMMQ_CONFIG)"), "{text}");
    let text = told(Some(latin), &[]);
    assert!(text.contains("it is not UTF-8 text"), "{text}");
    let text = told(None, &[("ROOMMQ_CONFIG", "")]);
    assert_eq!(
        text,
        "ROOMMQ_CONFIG is empty: name a TOML file, or unset it"
    );
}

#[test]
fn a_variable_that_means_nothing_is_an_error_with_the_right_name() {
    for (variable, part) in [
        (
            "ROOMMQ_AUTH_ANONYMOUS",
            "did you mean ROOMMQ__AUTH__ANONYMOUS?",
        ),
        ("ROOMMQ_LOG_LEVEL", "did you mean ROOMMQ__LOG__LEVEL?"),
        ("ROOMMQ_LOG_LEVL", "did you mean ROOMMQ__LOG__LEVEL?"),
        ("ROOMMQ_ANONYMOUS", "did you mean ROOMMQ__AUTH__ANONYMOUS?"),
        (
            "ROOMMQ_LIMITS_PACKET_BYTES",
            "ROOMMQ__LIMITS__PACKET_BYTES?",
        ),
        ("ROOMMQ_LISTENER_BIND", "did you mean ROOMMQ_LISTEN?"),
        ("ROOMMQ_LISTEN_ON", "did you mean ROOMMQ_LISTEN?"),
        ("ROOMMQ_PASSWORD_FLE", "did you mean ROOMMQ_PASSWORD_FILE?"),
        ("ROOMMQ_PASSWORD", "did you mean ROOMMQ_PASSWORD_FILE?"),
        ("roommq_listen", "write ROOMMQ_LISTEN, in capitals"),
        (
            "ROOMMQ_XYZZY",
            "ROOMMQ_XYZZY means nothing: settings have two",
        ),
        ("ROOMMQ_PORT", "ROOMMQ_PORT means nothing"),
        ("ROOMMQ__AUTH_ANONYMOUS", "ROOMMQ__AUTH__ANONYMOUS"),
    ] {
        let text = problems("", &[(variable, "1")], Flags::default()).join("\n");
        assert!(text.contains(part), "{variable}: {text}");
    }
}

#[test]
fn variables_of_client_commands_and_container_runtimes_are_no_errors() {
    let names = [
        ("ROOMMQ_SERVER", "h"),
        ("ROOMMQ_PASSWORD_FILE", "p"),
        ("ROOMMQ_SERVICE_HOST", "10.0.0.1"),
        ("ROOMMQ_WS_SERVICE_PORT_MQTT", "1883"),
        ("ROOMMQ_PORT", "tcp://10.0.0.1:1883"),
        ("ROOMMQ_PORT_1883_TCP_ADDR", "10.0.0.1"),
    ];
    assert_eq!(problems("", &names, Flags::default()), [""; 0]);
}

#[test]
fn a_rule_that_an_earlier_one_shadows_is_an_error() {
    let rooms = |first: &str, second: &str| {
        let toml = format!("[[room]]\nmatch = '{first}'\n[[room]]\nmatch = '{second}'\n");
        problems(&toml, &[], Flags::default())
    };
    assert_eq!(
        rooms("*", "staff-*"),
        [
            "`room[1].match` in roommq.toml:4 is `staff-*`: no room is left for it, since `room[0].match` in \
          roommq.toml:2 is `*`, which matches them all, and the first match wins; put this entry before that \
          one, or remove it"
        ]
    );
    assert_eq!(rooms("staff-*", "staff-{a,b}").len(), 1);
    assert_eq!(rooms("staff-*", "*"), [""; 0]);
    assert_eq!(rooms("r[0-4]", "r[3-9]"), [""; 0]);

    let access = |toml: &str| problems(toml, &[], Flags::default()).join("\n");
    let wide = "[[access]]\ntopics = ['a/#', 'b']\n";
    for (first, second, shadowed) in [
        (
            "publish = 'allow'",
            "topics = ['a/b']\npublish = 'deny'",
            true,
        ),
        (
            "publish = 'allow'",
            "topics = ['a/b', 'c']\npublish = 'deny'",
            false,
        ),
        (
            "publish = 'allow'",
            "topics = ['a']\npublish = 'deny'\nsubscribe = 'deny'",
            false,
        ),
        (
            "subscribe = 'deny'",
            "topics = ['b']\nsubscribe = 'allow'",
            true,
        ),
        // A filter such as `+/b` is judged by the second one.
        (
            "subscribe = 'allow'",
            "topics = ['a/b']\nsubscribe = 'deny'",
            false,
        ),
        (
            "publish = 'deny'\nusers = ['al*']",
            "topics = ['b']\npublish = 'allow'\nusers = ['alice']",
            true,
        ),
        (
            "publish = 'deny'\nusers = ['al*']",
            "topics = ['b']\npublish = 'allow'\nusers = ['alice', 'bob']",
            false,
        ),
        (
            "publish = 'deny'\nusers = ['al*']",
            "topics = ['b']\npublish = 'allow'",
            false,
        ),
        (
            "publish = 'deny'",
            "topics = ['b']\npublish = 'allow'\nusers = ['alice']",
            true,
        ),
    ] {
        let text = access(&format!("{wide}{first}\n[[access]]\n{second}\n"));
        assert_eq!(
            text.contains("decides nothing"),
            shadowed,
            "{first}; {second}: {text}"
        );
        assert_eq!(
            text.contains("`access[0]` in roommq.toml:1"),
            shadowed,
            "{text}"
        );
    }
}

#[test]
fn the_text_names_what_was_written_flag_variable_or_key() {
    let flags = |anonymous| Flags {
        anonymous,
        ..Flags::default()
    };
    for (toml, environment, flag, text) in [
        (
            "",
            &[][..],
            Some(false),
            "with `--anonymous false` nobody could connect: add `--users-file users.toml`",
        ),
        (
            "",
            &[("ROOMMQ__AUTH__ANONYMOUS", "false")],
            None,
            "with ROOMMQ__AUTH__ANONYMOUS=false nobody could connect: set ROOMMQ__AUTH__USERS_FILE=users.toml",
        ),
        (
            "[auth]\nanonymous = false\n",
            &[],
            None,
            "with `anonymous = false` nobody could connect; write `users_file",
        ),
    ] {
        let told = problems(toml, environment, flags(flag));
        assert_eq!(told.len(), 1);
        assert!(told[0].contains(text), "{told:?}");
    }
}

#[test]
fn a_packet_that_no_outbox_could_hold_is_refused() {
    let told = |limits: &str, listener: &str| {
        let listener = format!("[[listener]]\nbind = '1'\n{listener}");
        problems(
            &format!("{listener}\n[limits]\n{limits}"),
            &[],
            Flags::default(),
        )
    };
    let refused = told("packet_bytes = '12MiB'", "");
    assert_eq!(
        refused,
        [
            "`limits.packet_bytes` in roommq.toml:5 is 12582912 bytes, and one such message would not fit into \
          `limits.outbox_bytes` in default, 4194304 bytes, so it could not be delivered; give `outbox_bytes` \
          12652543 or more, or lower `packet_bytes`"
        ]
    );
    let fits = "packet_bytes = '12MiB'\noutbox_bytes = 12652543";
    assert_eq!(told(fits, ""), [""; 0]);
    assert_eq!(told(&fits.replace("43", "42"), "").len(), 1);
    assert_eq!(told("outbox_bytes = '512KiB'", "").len(), 1);
    assert_eq!(
        told("outbox_bytes = '512KiB'", "packet_bytes = '64KiB'"),
        [""; 0]
    );
    let own = told("", "packet_bytes = '12MiB'");
    assert!(
        own[0].contains("`listener[0].packet_bytes` in roommq.toml:3"),
        "{own:?}"
    );
    assert_eq!(
        told("packet_bytes = '4092KiB'\ntopic_aliases = 0", ""),
        [""; 0]
    );
}

#[test]
fn all_missing_keys_of_an_entry_are_named_at_once() {
    for (toml, keys) in [
        (
            "[[room]]\naccess = 'list'\n",
            &["room[0].match", "room[0].members"][..],
        ),
        (
            "[[access]]\nusers = ['a']\n",
            &["access[0].topics", "access[0].publish"],
        ),
        (
            "[[listener]]\ntransport = 'tls'\nclient_certificates = 'required'\nws_path = '/'\n",
            &[
                "listener[0].bind",
                "listener[0].certificate",
                "listener[0].key",
                "listener[0].client_ca",
                "listener[0].ws_path",
            ],
        ),
        (
            "[[listener]]\ntransport = 'unix'\nbind = '1'\nkey = 'k'\n",
            &["listener[0].path", "listener[0].bind", "listener[0].key"],
        ),
    ] {
        let text = problems(toml, &[], Flags::default());
        assert_eq!(text.len(), keys.len(), "{text:?}");
        for key in keys {
            assert!(
                text.iter().any(|line| line.contains(&format!("`{key}`"))),
                "{key}: {text:?}"
            );
        }
    }
}
