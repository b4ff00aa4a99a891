//! TLS to a server: its configuration, and the texts of its errors.

use crate::options::LoginArgs;
use anyhow::{Context, anyhow, bail};
use jiff::Timestamp;
use std::io;
use std::path::Path;
use std::sync::Arc;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::{self, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use tokio_rustls::rustls::{
    AlertDescription, CertificateError, ClientConfig, Error, RootCertStore,
};

/// The configuration for `--ca`, `--cert` and `--key`. None: the server is without TLS.
///
/// Without `--ca` it trusts the roots of this system and not a compiled-in list. The machine's
/// owner keeps the system's roots up to date, and may have added a CA.
pub(crate) fn config(login: &LoginArgs) -> anyhow::Result<Option<ClientConfig>> {
    if !login.server.is_tls() {
        return Ok(None);
    }
    let roots = match &login.ca {
        Some(file) => roots_in(file)?,
        None => roots_of_the_system()?,
    };
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots);
    let (Some(cert), Some(key)) = (&login.cert, &login.key) else {
        return Ok(Some(builder.with_no_client_auth()));
    };
    let chain = certificates(cert, "--cert", "your certificate")?;
    if let Some(fault) = roommq_broker::key_fault(key) {
        bail!("--key {}: {fault}", key.display());
    }
    let secret = PrivateKeyDer::from_pem_file(key)
        .map_err(|error| unusable("--key", key, "private key", "its private key", &error))?;
    let config = builder.with_client_auth_cert(chain, secret);
    let config = config.map_err(|error| {
        let pair = format!("--cert {} and --key {}", cert.display(), key.display());
        match error {
            Error::InconsistentKeys(_) => anyhow!("{pair} do not belong together"),
            _ => anyhow!("{pair} cannot be used: {error}"),
        }
    })?;
    Ok(Some(config))
}

fn roots_in(file: &Path) -> anyhow::Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    for root in certificates(file, "--ca", "the CA's certificate")? {
        let added = roots.add(root);
        added.with_context(|| format!("--ca {} cannot be used", file.display()))?;
    }
    Ok(roots)
}

fn roots_of_the_system() -> anyhow::Result<RootCertStore> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    // Many systems have old roots that verifiers no longer accept. They are skipped.
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        let why = found.errors.first().map(|e| format!(" ({e})"));
        let why = why.unwrap_or_default();
        bail!(
            "this system trusts no CA{why}: name the server's with --ca, or install the system's (ca-certificates)"
        );
    }
    Ok(roots)
}

/// The certificates of a file, at least one.
fn certificates(
    file: &Path,
    option: &str,
    wanted: &str,
) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    let found: Vec<_> = CertificateDer::pem_file_iter(file)
        .and_then(Iterator::collect)
        .map_err(|error| unusable(option, file, "certificate", wanted, &error))?;
    if found.is_empty() {
        let none = pem::Error::NoItemsFound;
        return Err(unusable(option, file, "certificate", wanted, &none));
    }
    Ok(found)
}

fn unusable(
    option: &str,
    file: &Path,
    item: &str,
    wanted: &str,
    error: &pem::Error,
) -> anyhow::Error {
    let why = match error {
        pem::Error::Io(error) => error.to_string(),
        pem::Error::NoItemsFound => format!("there is no {item} in it"),
        // The error's text could contain a part of the key.
        _ => "it is not PEM".to_owned(),
    };
    let cure = match error {
        pem::Error::Io(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            "let yourself read it".to_owned()
        }
        _ => format!("give a PEM file with {wanted}"),
    };
    anyhow!("{option} {}: {why}; {cure}", file.display())
}

/// Why the handshake failed, and what to do. None: the error is not about TLS.
pub(crate) fn handshake_error(error: &io::Error) -> Option<String> {
    let closed = matches!(
        error.kind(),
        io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe
    );
    tls_error(error).or(closed.then(|| {
        "it closed the connection instead; if it is a plain MQTT server, write mqtt:// in place of mqtts://"
            .to_owned()
    }))
}

/// Why TLS ended a connection, and what to do. None: the error is not about TLS.
pub(crate) fn tls_error(error: &io::Error) -> Option<String> {
    let inner = error.get_ref()?.downcast_ref::<Error>()?;
    Some(error_text(inner))
}

/// The same text for the library's error.
pub(crate) fn error_text(error: &Error) -> String {
    match error {
        Error::InvalidCertificate(error) => certificate(error),
        Error::InvalidMessage(_) => {
            "the server does not speak TLS; if it is a plain MQTT server, write mqtt:// in place of mqtts://"
                .to_owned()
        }
        Error::AlertReceived(alert) => alert_text(*alert),
        Error::PeerIncompatible(_) => format!("the server is too old for TLS 1.2 and 1.3 ({error})"),
        _ => error.to_string(),
    }
}

fn certificate(error: &CertificateError) -> String {
    use CertificateError as Bad;
    match error {
        Bad::UnknownIssuer | Bad::BadSignature => {
            "the server's certificate comes from a CA that is not trusted here; name that CA's certificate with --ca"
                .to_owned()
        }
        Bad::NotValidForName => {
            "the server's certificate is for another name; use that one with --server".to_owned()
        }
        Bad::NotValidForNameContext {
            expected,
            presented,
        } => {
            let names: Vec<&str> = presented.iter().map(|name| bare(name)).collect();
            format!(
                "the server's certificate is not for {} but for {}; use such a name with --server",
                expected.to_str(),
                if names.is_empty() { "no name".to_owned() } else { names.join(", ") }
            )
        }
        Bad::Expired => expired(None),
        Bad::ExpiredContext { not_after, .. } => expired(Some(*not_after)),
        Bad::NotValidYet | Bad::NotValidYetContext { .. } => {
            "the server's certificate is not valid yet; is the clock of this machine right?".to_owned()
        }
        // The public error type has no variant for it.
        Bad::Other(other) if other.to_string().contains("CaUsedAsEndEntity") => {
            "the server shows a CA's certificate as its own; sign one for it that is no CA's (basicConstraints CA:FALSE)"
                .to_owned()
        }
        Bad::Other(other) if other.to_string().contains("UnsupportedCertVersion") => {
            "the server's certificate is of an old version; make one of version 3, with subjectAltName".to_owned()
        }
        other => format!("the server's certificate is not valid: {other}"),
    }
}

fn expired(at: Option<UnixTime>) -> String {
    let at = at.and_then(|at| Timestamp::from_second(i64::try_from(at.as_secs()).ok()?).ok());
    let at = at.map_or(String::new(), |at| {
        format!(" on {}", at.strftime("%Y-%m-%d"))
    });
    format!("the server's certificate has expired{at}; it needs a new one")
}

/// The name inside `DnsName("x")` and the like, which is the verifier's form.
fn bare(name: &str) -> &str {
    let inner = name.split_once('(').map_or(name, |(_, rest)| rest);
    inner.trim_end_matches(')').trim_matches('"')
}

/// The text for the server's alert.
fn alert_text(alert: AlertDescription) -> String {
    use AlertDescription as Alert;
    match alert {
        Alert::CertificateRequired | Alert::NoCertificate => {
            "the server wants a certificate of yours: name it with --cert and --key".to_owned()
        }
        Alert::BadCertificate
        | Alert::UnsupportedCertificate
        | Alert::CertificateRevoked
        | Alert::CertificateExpired
        | Alert::CertificateUnknown
        | Alert::UnknownCA
        | Alert::AccessDenied
        | Alert::DecryptError => {
            format!("the server does not take your certificate ({alert:?}): check --cert and --key")
        }
        Alert::HandshakeFailure => {
            "the server refuses; it may want a certificate of yours (--cert and --key)".to_owned()
        }
        Alert::UnrecognisedName => {
            "the server has no certificate for this name; use another with --server".to_owned()
        }
        other => format!("the server refuses ({other:?})"),
    }
}

#[cfg(test)]
#[path = "tls_tests.rs"]
mod tests;
