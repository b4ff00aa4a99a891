//! The files of a listener's TLS, read into a configuration for rustls.

use super::key_fault::key_fault;
use roommq_config::ClientCertificates;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;
use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
use tokio_rustls::rustls::pki_types::pem::{self, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::danger::ClientCertVerifier;
use tokio_rustls::rustls::server::{VerifierBuilderError, WebPkiClientVerifier};
use tokio_rustls::rustls::sign::{CertifiedKey, SingleCertAndKey};
use tokio_rustls::rustls::{
    CertificateError, Error, InconsistentKeys, RootCertStore, ServerConfig,
};

/// The reason that a listener's files cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read, or holds something else.
    #[error("{}: {error}; {}", path.display(), cure(error, wanted))]
    File {
        /// The file.
        path: PathBuf,
        /// The expected content.
        wanted: &'static str,
        /// The error of the system or of the parser.
        error: String,
    },
    /// The private key is encrypted, or on a curve that is not supported.
    #[error("{}: {fault}", path.display())]
    Key {
        /// The file.
        path: PathBuf,
        /// The text.
        fault: String,
    },
    /// Certificate and key do not belong together, or are of an unsupported kind.
    #[error("{} with {}: {}", certificate.display(), key.display(), of_pair(error))]
    Pair {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// The error of rustls.
        error: Error,
    },
    /// The roots for client certificates cannot be used.
    #[error("{}: {error}", path.display())]
    Roots {
        /// The file.
        path: PathBuf,
        /// The error of rustls.
        error: VerifierBuilderError,
    },
    /// Any other error of rustls, such as a system without random numbers.
    #[error("TLS: {0}")]
    Library(#[from] Error),
}

fn cure(error: &str, wanted: &str) -> String {
    if error.starts_with("Permission denied") {
        "let the user that runs roommq read it".to_owned()
    } else {
        format!("give a PEM file with {wanted}")
    }
}

/// Whoever reads the key can pretend to be the server. A group may read it, as on Debian.
fn warn_if_readable_by_others(key: &Path) {
    if std::fs::metadata(key).is_ok_and(|file| file.mode() & 0o004 != 0) {
        let path = key.display();
        tracing::warn!(
            "every user of this machine may read the private key {path}: chmod o-rwx {path}"
        );
    }
}

fn of_pair(error: &Error) -> String {
    match error {
        Error::InconsistentKeys(_) => {
            "they do not belong together; give the key that the certificate was made for".to_owned()
        }
        other => other.to_string(),
    }
}

/// Shows whether a file has changed: its time, length and inode.
pub(super) type FileStamp = (SystemTime, u64, u64);

/// The stamps of all files in `files`, in a fixed order. None for a file that cannot be examined.
pub(super) fn stamps(files: &roommq_config::Tls) -> Vec<Option<FileStamp>> {
    let stamp = |path: &Path| {
        let file = std::fs::metadata(path).ok()?;
        Some((file.modified().ok()?, file.len(), file.ino()))
    };
    let paths = [&files.certificate, &files.key];
    let paths = paths.into_iter().chain(&files.client_ca);
    paths.map(|path| stamp(path)).collect()
}

/// Reads all files.
pub(super) fn server_config(files: &roommq_config::Tls) -> Result<ServerConfig, TlsError> {
    let provider = Arc::new(ring::default_provider());
    let builder = ServerConfig::builder_with_provider(provider.clone());
    let builder = builder.with_safe_default_protocol_versions()?;
    let builder = match &files.client_ca {
        Some(path) if files.client_certificates != ClientCertificates::Off => {
            let verifier = client_verifier(path, files.client_certificates, provider.clone())?;
            builder.with_client_cert_verifier(verifier)
        }
        _ => builder.with_no_client_auth(),
    };
    let wanted = "the server's certificate and what leads to its root";
    let chain = certificates(&files.certificate, wanted)?;
    if let Some(fault) = key_fault(&files.key) {
        let path = files.key.clone();
        return Err(TlsError::Key { path, fault });
    }
    warn_if_readable_by_others(&files.key);
    let key = PrivateKeyDer::from_pem_file(&files.key)
        .map_err(|error| unusable(&files.key, "private key", "a private key", &error))?;
    let pair = pair(chain, key, &provider).map_err(|error| TlsError::Pair {
        certificate: files.certificate.clone(),
        key: files.key.clone(),
        error,
    })?;
    let mut config = builder.with_cert_resolver(Arc::new(SingleCertAndKey::from(pair)));
    // A few bytes below the limit: rustls counts the record's header too.
    config.max_fragment_size = Some(files.record_bytes.into());
    // Clients hold the tickets for session resumption, so the server needs no memory for them.
    config.ticketer = ring::Ticketer::new()?;
    Ok(config)
}

/// Certificate and key, if they belong together.
///
/// rustls would compare them too, but it refuses X.509 v1, which `openssl x509 -req` makes without
/// extensions. Whether the server's certificate is good enough is for clients to judge.
fn pair(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    provider: &CryptoProvider,
) -> Result<CertifiedKey, Error> {
    let key = provider.key_provider.load_private_key(key)?;
    let certificate = chain.first().ok_or(Error::NoCertificatesPresented)?;
    let (_, certificate) = x509_parser::parse_x509_certificate(certificate)
        .map_err(|_| Error::InvalidCertificate(CertificateError::BadEncoding))?;
    let public = key.public_key();
    if public.is_some_and(|key| key.as_ref() != certificate.public_key().raw) {
        return Err(InconsistentKeys::KeyMismatch.into());
    }
    Ok(CertifiedKey::new(chain, key))
}

fn client_verifier(
    path: &Path,
    required: ClientCertificates,
    provider: Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
    let wanted = "the roots of clients' certificates";
    let mut roots = RootCertStore::empty();
    for root in certificates(path, wanted)? {
        roots.add(root).map_err(|error| TlsError::File {
            path: path.to_owned(),
            wanted,
            error: error.to_string(),
        })?;
    }
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
    let verifier = match required {
        ClientCertificates::Required => verifier,
        ClientCertificates::Off | ClientCertificates::Optional => verifier.allow_unauthenticated(),
    };
    verifier.build().map_err(|error| TlsError::Roots {
        path: path.to_owned(),
        error,
    })
}

/// The certificates in a file, at least one.
fn certificates(
    path: &Path,
    wanted: &'static str,
) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let found: Vec<_> = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect)
        .map_err(|error| unusable(path, "certificate", wanted, &error))?;
    if found.is_empty() {
        let error = pem::Error::NoItemsFound;
        return Err(unusable(path, "certificate", wanted, &error));
    }
    Ok(found)
}

/// The error for a file from which no `item` can be read.
fn unusable(path: &Path, item: &str, wanted: &'static str, error: &pem::Error) -> TlsError {
    let error = match error {
        pem::Error::Io(error) => error.to_string(),
        pem::Error::NoItemsFound => format!("there is no {item} in it"),
        // The error itself is not shown: its debug form could hold a part of the key.
        _ => "it is not PEM".to_owned(),
    };
    TlsError::File {
        path: path.to_owned(),
        wanted,
        error,
    }
}
