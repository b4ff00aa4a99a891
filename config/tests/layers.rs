//! The order of the layers, the locations of values, and the files that we ship.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use proptest::prelude::*;
use roommq_config::{
    ClientCertificates, EffectiveValue, Endpoint, Flags, Loaded, Location, LogFormat, RoomAccess,
    Settings, Sources, Transport, UserFrom, load,
};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

fn variables(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    pairs.iter().map(owned).collect()
}

fn origin(loaded: &Loaded, key: &str) -> (String, String) {
    let origin = loaded
        .values
        .iter()
        .find(|origin| origin.key == key)
        .unwrap();
    let value = origin
        .value
        .as_ref()
        .map_or(String::new(), ToString::to_string);
    (value, origin.source.to_string())
}

fn shipped(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

#[test]
fn nothing_given_gives_the_defaults() {
    let loaded = load(&Sources::default()).unwrap();
    assert_eq!(loaded.settings, Settings::default());
    assert!(
        loaded
            .values
            .iter()
            .all(|origin| origin.source == Location::Default)
    );
    assert_eq!(origin(&loaded, "listener[0].bind").0, "\"127.0.0.1:1883\"");
    assert_eq!(origin(&loaded, "limits.packet_bytes").0, "\"1MiB\"");
    assert_eq!(origin(&loaded, "auth.users_file").0, "");
}

#[test]
fn each_layer_wins_over_the_one_below() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("roommq.toml");
    std::fs::write(
        &file,
        "[log]\nlevel = 'warn'\nformat = 'json'\n[presence]\ngrace = '1m'\n",
    )
    .unwrap();
    let path = file.display();
    let mut source = Sources::default();
    let level = |source: &Sources| origin(&load(source).unwrap(), "log.level");
    let is = |value: &str, place: &str| (format!("{value:?}"), place.to_owned());
    assert_eq!(level(&source), is("info", "default"));
    source.environment = variables(&[("ROOMMQ_CONFIG", file.to_str().unwrap())]);
    assert_eq!(level(&source), is("warn", &format!("{path}:2")));
    source
        .environment
        .insert("ROOMMQ__LOG__LEVEL".into(), "debug".into());
    assert_eq!(level(&source), is("debug", "ROOMMQ__LOG__LEVEL"));
    source.flags.log_level = Some("trace".to_owned());
    assert_eq!(level(&source), is("trace", "--log-level"));

    // A value that no higher layer sets stays.
    let settings = load(&source).unwrap().settings;
    assert_eq!(settings.log.format, LogFormat::Json);
    assert_eq!(settings.presence.grace, Duration::from_mins(1));

    // A flag's file wins over the variable's.
    let other = directory.path().join("other.toml");
    std::fs::write(&other, "").unwrap();
    source.file = Some(other);
    assert_eq!(load(&source).unwrap().settings.log.format, LogFormat::Human);
}

#[test]
fn a_file_that_nobody_names_is_not_read() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("roommq.toml"), "nonsense").unwrap();
    // The other tests in this process name files by absolute paths.
    let before = std::env::current_dir().unwrap();
    std::env::set_current_dir(directory.path()).unwrap();
    let loaded = load(&Sources::default());
    std::env::set_current_dir(before).unwrap();
    assert!(loaded.is_ok());
}

#[test]
fn one_listener_replaces_all() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("roommq.toml");
    std::fs::write(
        &file,
        "[[listener]]\nbind = '127.0.0.1:0'\n[[listener]]\nbind = '127.0.0.1:0'",
    )
    .unwrap();
    let mut source = Sources {
        file: Some(file),
        ..Sources::default()
    };
    let binds = |source: &Sources| -> Vec<String> {
        let settings = load(source).unwrap().settings;
        assert!(
            settings
                .listeners
                .iter()
                .all(|l| l.transport() == Transport::Tcp)
        );
        settings
            .listeners
            .iter()
            .map(|l| match &l.at {
                Endpoint::Address(bind) => bind.to_string(),
                Endpoint::Localhost(port) => format!("localhost:{port}"),
                Endpoint::Socket { path, .. } => path.display().to_string(),
            })
            .collect()
    };
    assert_eq!(binds(&source), ["127.0.0.1:0", "127.0.0.1:0"]);
    source.environment = variables(&[("ROOMMQ_LISTEN", "localhost:7")]);
    assert_eq!(binds(&source), ["localhost:7"]);
    source.flags.listen = Some("9".to_owned());
    assert_eq!(binds(&source), ["127.0.0.1:9"]);
    assert_eq!(
        origin(&load(&source).unwrap(), "listener[0].bind").1,
        "--listen"
    );
}

#[test]
fn anonymous_access_beyond_loopback_must_be_written_down() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("roommq.toml");
    std::fs::write(&file, "[auth]\nanonymous = true").unwrap();
    let open = Sources {
        flags: Flags {
            listen: Some("0.0.0.0:1883".to_owned()),
            ..Flags::default()
        },
        ..Sources::default()
    };
    assert!(load(&open).is_err());
    let sources = [
        Sources {
            file: Some(file),
            ..open.clone()
        },
        Sources {
            flags: Flags {
                anonymous: Some(true),
                ..open.flags.clone()
            },
            ..Sources::default()
        },
        Sources {
            flags: Flags {
                anonymous: Some(false),
                users_file: Some("users.toml".to_owned()),
                ..open.flags.clone()
            },
            ..Sources::default()
        },
        Sources {
            environment: variables(&[("ROOMMQ__AUTH__ANONYMOUS", "true")]),
            ..open.clone()
        },
        Sources {
            environment: variables(&[
                ("ROOMMQ__AUTH__ANONYMOUS", "false"),
                ("ROOMMQ__AUTH__USERS_FILE", "users.toml"),
            ]),
            ..open
        },
    ];
    for source in sources {
        assert!(load(&source).is_ok(), "{source:?}");
    }
}

#[test]
fn users_file_is_relative_to_the_file_that_names_it() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("roommq.toml");
    let users = |toml: &str, environment: &[(&str, &str)]| {
        std::fs::write(&file, toml).unwrap();
        let source = Sources {
            file: Some(file.clone()),
            environment: variables(environment),
            ..Sources::default()
        };
        load(&source).unwrap().settings.auth.users_file.unwrap()
    };
    let named = "[auth]\nusers_file = 'u.toml'";
    assert_eq!(users(named, &[]), directory.path().join("u.toml"));
    let absolute = "[auth]\nusers_file = '/etc/u.toml'";
    assert_eq!(users(absolute, &[]), Path::new("/etc/u.toml"));
    let variable = &[("ROOMMQ__AUTH__USERS_FILE", "v.toml")];
    assert_eq!(users(named, variable), Path::new("v.toml"));
}

#[test]
fn every_table_key_can_be_set_by_its_variable() {
    let loaded = load(&Sources::default()).unwrap();
    for origin in &loaded.values {
        if origin.key.contains('[') {
            continue;
        }
        let variable = format!("ROOMMQ__{}", origin.key.to_uppercase().replace('.', "__"));
        let text = match &origin.value {
            Some(toml::Value::String(text)) => text.clone(),
            Some(plain) => plain.to_string(),
            None => "users.toml".to_owned(),
        };
        let source = Sources {
            environment: variables(&[(&variable, &text)]),
            ..Sources::default()
        };
        let again = load(&source).unwrap();
        let set: Vec<_> = again
            .values
            .iter()
            .filter(|o| o.source != Location::Default)
            .collect();
        assert_eq!(set.len(), 1, "{variable}");
        assert_eq!(set[0].source, Location::Environment(variable));
        if origin.value.is_some() {
            assert_eq!(again.settings, loaded.settings, "{}", origin.key);
        }
    }
}

#[test]
fn a_listener_for_clients_with_certificates() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("roommq.toml");
    let text = "[[listener]]\nbind = '[::]:8883'\ntransport = 'wss'\ncertificate = 'tls/server.pem'\n\
                key = '/etc/server.key'\nclient_ca = 'ca.pem'\nclient_certificates = 'required'\n\
                user_from_certificate = 'common_name'\nallowed_origins = ['https://Example.org']\n\
                connect_rate = 50\nhandshake_time = '3s'\npacket_bytes = '64KiB'\nproxy_protocol = true\n\
                [auth]\nanonymous = false\n";
    std::fs::write(&file, text).unwrap();
    let source = Sources {
        file: Some(file),
        ..Sources::default()
    };
    // Clients connect by certificate, so no users file is needed.
    let loaded = load(&source).unwrap();
    let listener = &loaded.settings.listeners[0];
    assert_eq!(listener.transport(), Transport::Wss);
    let tls = listener.tls.as_ref().unwrap();
    assert_eq!(tls.certificate, directory.path().join("tls/server.pem"));
    assert_eq!(tls.key, Path::new("/etc/server.key"));
    assert_eq!(tls.client_certificates, ClientCertificates::Required);
    assert_eq!(tls.user_from, UserFrom::CommonName);
    let websocket = listener.websocket.as_ref().unwrap();
    assert_eq!(websocket.paths, ["/mqtt"]);
    let origins = websocket.allowed_origins.as_deref();
    assert_eq!(origins, Some(&["https://example.org".to_owned()][..]));
    assert!(listener.proxy_protocol);
    assert_eq!(listener.limits.handshake_time, Some(Duration::from_secs(3)));
    assert_eq!(listener.limits.packet_bytes.map(u32::from), Some(65_536));
    let shown = origin(&loaded, "listener[0].certificate").0;
    assert!(shown.ends_with("/tls/server.pem\""), "{shown}");
}

#[test]
fn rules_for_rooms() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("roommq.toml");
    std::fs::write(
        &file,
        "[[room]]\nmatch = 'staff-*'\naccess = 'list'\nmembers = ['bob', '~kiosk']\nmax_members = 3\n",
    )
    .unwrap();
    let source = Sources {
        file: Some(file),
        ..Sources::default()
    };
    let loaded = load(&source).unwrap();
    let rule = &loaded.settings.room_rules[0];
    assert!(rule.pattern.matcher.is_match("staff-1"));
    let members = BTreeSet::from(["bob".to_owned(), "~kiosk".to_owned()]);
    assert_eq!(rule.access, RoomAccess::List(members));
    assert_eq!(rule.max_members.map(u32::from), Some(3));
    assert_eq!(origin(&loaded, "room[0].members").0, r#"["bob", "~kiosk"]"#);
    assert_eq!(origin(&loaded, "room[0].publish").1, "default");
}

/// The shipped file is the built-in layer. Here it is read as a copy.
#[test]
fn the_shipped_defaults_are_the_defaults() {
    let mut source = Sources {
        file: Some(shipped("default.toml")),
        ..Sources::default()
    };
    let loaded = load(&source).unwrap();
    assert_eq!(loaded.settings, Settings::default());
    let unnamed: Vec<_> = loaded
        .values
        .iter()
        .filter(|o| o.source == Location::Default)
        .collect();
    assert!(
        unnamed
            .iter()
            .all(|o| ["auth.users_file", "log.file"].contains(&&*o.key)
                || o.key.starts_with("jwt.")
                || o.key.starts_with("listener[0].")),
        "{unnamed:?}"
    );

    // The lines that are commented out are valid too. All lines together have all keys.
    let text = std::fs::read_to_string(shipped("default.toml")).unwrap();
    let uncommented: Vec<_> = text
        .lines()
        .map(|line| match line.strip_prefix('#') {
            Some(rest) if !rest.starts_with(' ') => rest,
            _ => line,
        })
        .collect();
    let directory = tempfile::tempdir().unwrap();
    let copy = directory.path().join("roommq.toml");
    std::fs::write(&copy, uncommented.join("\n")).unwrap();
    source.file = Some(copy);
    let all = load(&source).unwrap();
    assert_eq!(all.settings.room_rules.len(), 1);
    assert_eq!(all.settings.access_rules.len(), 1);
    let transports: Vec<_> = all
        .settings
        .listeners
        .iter()
        .map(roommq_config::Listener::transport)
        .collect();
    assert_eq!(
        transports,
        [Transport::Tcp, Transport::Wss, Transport::Unix]
    );
    // A listener has the keys of its own transport.
    let key = |o: &EffectiveValue| match o.key.split_once('[').zip(o.key.split_once("].")) {
        Some(((section, _), (_, key))) => format!("{section}.{key}"),
        None => o.key.clone(),
    };
    let is_set = |o: &&EffectiveValue| o.source != Location::Default;
    let set: BTreeSet<_> = all.values.iter().filter(is_set).map(key).collect();
    assert_eq!(set, all.values.iter().map(key).collect());
}

#[test]
fn the_shipped_example_loads() {
    let source = Sources {
        file: Some(shipped("example.toml")),
        ..Sources::default()
    };
    let settings = load(&source).unwrap().settings;
    assert_eq!(settings.auth.users_file, Some(shipped("users.toml")));
    assert!(settings.room_rules.len() > 2 && settings.access_rules.len() > 2);
}

fn toml_like() -> impl Strategy<Value = String> {
    let names = "(auth|topics|access|room|rooms|listener|presence|limits|lanes|log|x)";
    let keys = "(anonymous|users_file|topics|users|publish|match|access|members|bind|grace|packet_bytes|count|level|x)";
    let values = r#"(true|[0-9]{1,20}|-1|1\.5|"[a-z0-9*:.{}\[\]_~/ ]{0,8}"|\["[a-z~_]{0,3}"\]|\{\}|2026-01-01|"1MiB"|"list"|"10s")"#;
    let line = prop_oneof![
        names.prop_map(|name| name),
        names.prop_map(|name| format!("[{name}]")),
        names.prop_map(|name| format!("[[{name}]]")),
        (keys, values).prop_map(|(key, value)| format!("{key} = {value}")),
        (names, keys, values).prop_map(|(name, key, value)| format!("{name}.{key} = {value}")),
    ];
    prop::collection::vec(line, 0..8).prop_map(|lines| lines.join("\n"))
}

proptest! {
    #[test]
    fn no_text_panics(text in prop_oneof![any::<String>(), toml_like()], name in "ROOMMQ__.{0,20}", value in any::<String>()) {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        std::io::Write::write_all(&mut file, text.as_bytes()).unwrap();
        let source = Sources {
            file: Some(file.path().to_owned()),
            environment: variables(&[(&name, &value), ("ROOMMQ_LISTEN", &value)]),
            flags: Flags { listen: Some(value.clone()), log_level: Some(value.clone()), ..Flags::default() },
        };
        if let Err(error) = load(&source) {
            prop_assert!(!error.problems().is_empty());
            prop_assert!(error.problems().iter().all(|problem| !problem.to_string().contains('\n')));
        }
    }
}
