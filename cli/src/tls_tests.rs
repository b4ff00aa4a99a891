//! Files that cannot be used, and the texts of errors. Other tests do handshakes over real sockets.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use super::*;
use clap::Parser;
use std::fs;
use std::path::PathBuf;
use tokio_rustls::rustls::InvalidMessage;
use tokio_rustls::rustls::pki_types::ServerName;

#[derive(Parser)]
struct CommandLine {
    #[command(flatten)]
    login: LoginArgs,
}

fn login(words: &[&str]) -> LoginArgs {
    CommandLine::try_parse_from(["x"].iter().chain(words))
        .unwrap()
        .login
}

/// A directory for one test. The caller removes it.
fn directory(name: &str) -> PathBuf {
    let path = std::env::temp_dir().join(format!("roommq-tls-{name}-{}", std::process::id()));
    fs::create_dir_all(&path).unwrap();
    path
}

#[test]
fn servers_without_tls_need_no_files() {
    for server in ["127.0.0.1:1883", "mqtt://h", "unix:/x"] {
        assert!(config(&login(&["--server", server])).unwrap().is_none());
    }
}

#[test]
fn files_that_cannot_be_used_are_named() {
    let directory = directory("files");
    let file = |name: &str, text: &str| {
        let path = directory.join(name);
        fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let told = |words: &[&str]| {
        let all: Vec<&str> = ["--server", "mqtts://h"]
            .iter()
            .chain(words)
            .copied()
            .collect();
        format!("{:#}", config(&login(&all)).unwrap_err())
    };
    let absent = directory.join("absent").display().to_string();
    assert!(told(&["--ca", &absent]).contains("absent: No such file"));
    let empty = file("empty", "");
    let text = told(&["--ca", &empty]);
    assert!(
        text.contains("there is no certificate in it; give a PEM file with the CA's"),
        "{text}"
    );
    let broken = file(
        "broken",
        "-----BEGIN CERTIFICATE-----\n!secret!\n-----END CERTIFICATE-----\n",
    );
    let text = told(&["--ca", &broken]);
    assert!(
        text.contains("broken: it is not PEM") && !text.contains("secret"),
        "{text}"
    );
    let no_certificate = file(
        "odd",
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    );
    assert!(told(&["--ca", &no_certificate]).contains("odd cannot be used"));
    fs::remove_dir_all(&directory).unwrap();
}

#[test]
fn each_failure_says_what_to_do() {
    let expected = ServerName::try_from("b.example").unwrap();
    let presented = vec![
        "DnsName(\"a.example\")".to_owned(),
        "IpAddress(127.0.0.1)".to_owned(),
    ];
    let other_name = CertificateError::NotValidForNameContext {
        expected,
        presented,
    };
    let day = |seconds| UnixTime::since_unix_epoch(std::time::Duration::from_secs(seconds));
    let (time, not_after) = (day(86_400 * 9), day(86_400));
    let table = [
        (
            Error::InvalidCertificate(CertificateError::UnknownIssuer),
            "--ca",
        ),
        (
            Error::InvalidCertificate(other_name),
            "is not for b.example but for a.example, 127.0.0.1; use",
        ),
        (
            Error::InvalidCertificate(CertificateError::ExpiredContext { time, not_after }),
            "expired on 1970-01-02",
        ),
        (
            Error::InvalidCertificate(CertificateError::NotValidYet),
            "clock",
        ),
        (
            Error::InvalidMessage(InvalidMessage::InvalidContentType),
            "mqtt://",
        ),
        (
            Error::AlertReceived(AlertDescription::CertificateRequired),
            "--cert",
        ),
        (Error::AlertReceived(AlertDescription::UnknownCA), "--cert"),
    ];
    for (error, part) in table {
        let wrapped = io::Error::new(io::ErrorKind::InvalidData, error);
        let told = tls_error(&wrapped).unwrap();
        assert!(told.contains(part), "{told}");
    }
    let gone = io::Error::from(io::ErrorKind::UnexpectedEof);
    assert!(handshake_error(&gone).unwrap().contains("mqtt://"));
    assert_eq!(tls_error(&gone), None);
    assert_eq!(
        handshake_error(&io::Error::from(io::ErrorKind::StorageFull)),
        None
    );
}
