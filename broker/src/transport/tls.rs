//! TLS for a listener: its certificate, renewed while it runs, and who its clients are by theirs.

use super::established::CertificateUserError;
use super::link::FramedStream;
use parking_lot::{Mutex, RwLock};
use roommq_config::{ClientCertificates, UserFrom};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
use tokio_rustls::rustls::pki_types::pem::{self, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::{VerifierBuilderError, WebPkiClientVerifier};
use tokio_rustls::rustls::{Error, RootCertStore, ServerConfig};
use tokio_rustls::server::TlsStream;
use x509_parser::extensions::GeneralName;

impl FramedStream for TlsStream<TcpStream> {}

/// What is wrong with a listener's files.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file is not what it should be.
    #[error("{}: {error}; give a PEM file with {wanted}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What should be in it.
        wanted: &'static str,
        /// What the system or the parser says.
        error: String,
    },
    /// Certificate and key do not belong together, or are of a kind that is not supported.
    #[error("{} with {}: {}", certificate.display(), key.display(), of_pair(error))]
    Pair {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// Why.
        error: Error,
    },
    /// The roots of clients' certificates cannot be used.
    #[error("{}: {error}", path.display())]
    Roots {
        /// The file.
        path: PathBuf,
        /// Why.
        error: VerifierBuilderError,
    },
    /// The system gives no random numbers, for one.
    #[error("TLS: {0}")]
    Library(#[from] Error),
}

fn of_pair(error: &Error) -> String {
    match error {
        Error::InconsistentKeys(_) => {
            "they do not belong together; give the key that the certificate was made for".to_owned()
        }
        other => other.to_string(),
    }
}

/// One listener's TLS.
#[derive(Debug)]
pub(crate) struct Tls {
    files: roommq_config::Tls,
    current: RwLock<Arc<ServerConfig>>,
    read: Mutex<LastRead>,
}

/// What is known of the files since they were read last.
#[derive(Debug)]
struct LastRead {
    stamps: Vec<Option<FileStamp>>,
    /// Why they could not be used, as it was logged.
    failure: Option<String>,
}

/// By what a changed file is told: time, length and inode.
type FileStamp = (SystemTime, u64, u64);

impl Tls {
    /// Reads the files.
    pub(crate) fn load(files: &roommq_config::Tls) -> Result<Tls, TlsError> {
        // Before they are read: what changes meanwhile is read again.
        let stamps = stamps(files);
        Ok(Tls {
            current: RwLock::new(Arc::new(server_config(files)?)),
            files: files.clone(),
            read: Mutex::new(LastRead {
                stamps,
                failure: None,
            }),
        })
    }

    /// Reads the files again, where they have changed, could not be used the last time (a stamp may stay while the rest of
    /// a file comes, or while its rights change), or `always`. Connections go on with what they began with; what
    /// cannot be used changes nothing. A new configuration knows no earlier TLS sessions: who lost the right
    /// to connect cannot resume one.
    ///
    /// Blocks for the files.
    pub(crate) fn reload(&self, always: bool) {
        let mut known = self.read.lock();
        let stamps = stamps(&self.files);
        let changed = known.stamps != stamps;
        if !always && !changed && known.failure.is_none() {
            return;
        }
        known.stamps = stamps;
        let certificate = self.files.certificate.display();
        match server_config(&self.files) {
            Ok(config) => {
                *self.current.write() = Arc::new(config);
                known.failure = None;
                tracing::info!(%certificate, "TLS files have been read again");
            }
            Err(error) => {
                let error = error.to_string();
                // Told once, not each time that they are looked at.
                if always || changed || known.failure.as_ref() != Some(&error) {
                    tracing::error!(%error, "TLS files cannot be used; the old ones stay");
                }
                known.failure = Some(error);
            }
        }
    }

    /// The handshake; the library tells the peer of a failure by an alert.
    pub(crate) async fn accept(&self, socket: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        let config = self.current.read().clone();
        TlsAcceptor::from(config).accept(socket).await
    }

    /// The user whom the verified certificate of a client names; none where there is no certificate, or it does
    /// not matter. An error names what the certificate lacks.
    pub(crate) fn user(
        &self,
        stream: &TlsStream<TcpStream>,
    ) -> Result<Option<String>, CertificateUserError> {
        let shown = stream.get_ref().1.peer_certificates();
        match shown.and_then(<[_]>::first) {
            Some(certificate) if self.files.user_from != UserFrom::Nothing => {
                user(certificate, self.files.user_from).map(Some)
            }
            _ => Ok(None),
        }
    }
}

fn user(certificate: &CertificateDer<'_>, from: UserFrom) -> Result<String, CertificateUserError> {
    let wanted = match from {
        UserFrom::Nothing | UserFrom::CommonName => "common name",
        UserFrom::Email => "e-mail address",
        UserFrom::Dns => "DNS name",
    };
    let (_, certificate) = x509_parser::parse_x509_certificate(certificate)
        .map_err(|_| CertificateUserError(wanted))?;
    let alternatives = certificate.subject_alternative_name();
    let alternatives = alternatives
        .ok()
        .flatten()
        .map(|names| &names.value.general_names);
    let mut alternatives = alternatives.into_iter().flatten();
    let name = match from {
        UserFrom::Nothing | UserFrom::CommonName => {
            let mut names = certificate.subject().iter_common_name();
            names.next().and_then(|name| name.as_str().ok())
        }
        UserFrom::Email => alternatives.find_map(|name| match name {
            GeneralName::RFC822Name(name) => Some(*name),
            _ => None,
        }),
        UserFrom::Dns => alternatives.find_map(|name| match name {
            GeneralName::DNSName(name) => Some(*name),
            _ => None,
        }),
    };
    name.map(str::to_owned).ok_or(CertificateUserError(wanted))
}

fn stamps(files: &roommq_config::Tls) -> Vec<Option<FileStamp>> {
    let stamp = |path: &Path| {
        let file = std::fs::metadata(path).ok()?;
        Some((file.modified().ok()?, file.len(), file.ino()))
    };
    let paths = [
        Some(&files.certificate),
        Some(&files.key),
        files.client_ca.as_ref(),
    ];
    paths
        .into_iter()
        .flatten()
        .map(|path| stamp(path))
        .collect()
}

fn server_config(files: &roommq_config::Tls) -> Result<ServerConfig, TlsError> {
    let provider = Arc::new(ring::default_provider());
    let builder = ServerConfig::builder_with_provider(provider.clone());
    let builder = builder.with_safe_default_protocol_versions()?;
    let builder = match &files.client_ca {
        Some(path) if files.client_certificates != ClientCertificates::Off => {
            let verifier = client_verifier(path, files.client_certificates, provider)?;
            builder.with_client_cert_verifier(verifier)
        }
        _ => builder.with_no_client_auth(),
    };
    let chain = certificates(
        &files.certificate,
        "the server's certificate and what leads to its root",
    )?;
    let key = PrivateKeyDer::from_pem_file(&files.key)
        .map_err(|error| unusable(&files.key, "private key", "a private key", &error))?;
    let mut config = builder
        .with_single_cert(chain, key)
        .map_err(|error| TlsError::Pair {
            certificate: files.certificate.clone(),
            key: files.key.clone(),
            error,
        })?;
    // Sessions are resumed by what clients keep, and cost nothing here.
    config.ticketer = ring::Ticketer::new()?;
    Ok(config)
}

fn client_verifier(
    path: &Path,
    asked: ClientCertificates,
    provider: Arc<CryptoProvider>,
) -> Result<Arc<dyn tokio_rustls::rustls::server::danger::ClientCertVerifier>, TlsError> {
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
    let verifier = match asked {
        ClientCertificates::Required => verifier,
        ClientCertificates::Off | ClientCertificates::Optional => verifier.allow_unauthenticated(),
    };
    verifier.build().map_err(|error| TlsError::Roots {
        path: path.to_owned(),
        error,
    })
}

/// At least one.
fn certificates(
    path: &Path,
    wanted: &'static str,
) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let found: Vec<_> = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect)
        .map_err(|error| unusable(path, "certificate", wanted, &error))?;
    if found.is_empty() {
        return Err(unusable(
            path,
            "certificate",
            wanted,
            &pem::Error::NoItemsFound,
        ));
    }
    Ok(found)
}

/// A file of which no `item` can be read.
fn unusable(path: &Path, item: &str, wanted: &'static str, error: &pem::Error) -> TlsError {
    let error = match error {
        pem::Error::Io(error) => error.to_string(),
        pem::Error::NoItemsFound => format!("there is no {item} in it"),
        // A debug form that could hold a part of the key.
        _ => "it is not PEM".to_owned(),
    };
    TlsError::File {
        path: path.to_owned(),
        wanted,
        error,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use rcgen::{CertificateParams, DnType, KeyPair, SanType};

    fn pair(name: &str) -> (String, String, CertificateDer<'static>) {
        let mut params = CertificateParams::new(vec!["host.example".to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        let email = SanType::Rfc822Name("a@b.example".try_into().unwrap());
        params.subject_alt_names.push(email);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        (
            certificate.pem(),
            key.serialize_pem(),
            certificate.der().clone(),
        )
    }

    fn files(directory: &Path) -> roommq_config::Tls {
        roommq_config::Tls {
            certificate: directory.join("server.pem"),
            key: directory.join("server.key"),
            client_ca: None,
            client_certificates: ClientCertificates::Off,
            user_from: UserFrom::Nothing,
        }
    }

    #[test]
    fn a_certificate_names_a_user() {
        let (_, _, certificate) = pair("alice");
        let table = [
            (UserFrom::CommonName, "alice"),
            (UserFrom::Email, "a@b.example"),
            (UserFrom::Dns, "host.example"),
        ];
        for (from, wanted) in table {
            assert_eq!(user(&certificate, from), Ok(wanted.to_owned()));
        }
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(Vec::new()).unwrap();
        let bare = params.self_signed(&key).unwrap();
        assert_eq!(
            user(bare.der(), UserFrom::Email),
            Err(CertificateUserError("e-mail address"))
        );
    }

    #[test]
    fn files_that_cannot_be_used_change_nothing_and_are_named() {
        let directory = tempfile::tempdir().unwrap();
        let files = files(directory.path());
        let told = |files| Tls::load(files).map(drop).unwrap_err().to_string();
        assert!(
            told(&files).contains("server.pem: No such file"),
            "{}",
            told(&files)
        );
        let (certificate, key, _) = pair("a");
        std::fs::write(&files.certificate, "").unwrap();
        assert!(
            told(&files)
                .contains("there is no certificate in it; give a PEM file with the server's")
        );
        std::fs::write(&files.certificate, &certificate).unwrap();
        std::fs::write(&files.key, &certificate).unwrap();
        assert!(
            told(&files).contains(
                "server.key: there is no private key in it; give a PEM file with a private"
            )
        );
        std::fs::write(&files.key, pair("b").1).unwrap();
        let mixed = told(&files);
        let texts = ["server.pem with ", "do not belong together"];
        assert!(texts.iter().all(|text| mixed.contains(text)), "{mixed}");
        std::fs::write(&files.key, &key).unwrap();
        let tls = Tls::load(&files).unwrap();
        let config = || Arc::as_ptr(&tls.current.read());
        let before = config();
        tls.reload(false);
        assert_eq!(config(), before, "nothing has changed");
        std::fs::write(&files.key, "nonsense").unwrap();
        tls.reload(false);
        assert_eq!(config(), before, "it cannot be used");
        std::fs::write(&files.key, &key).unwrap();
        tls.reload(true);
        assert_ne!(config(), before);
    }

    #[test]
    fn files_that_could_not_be_used_are_read_again_though_their_stamps_stay() {
        let directory = tempfile::tempdir().unwrap();
        let files = files(directory.path());
        let (certificate, key, _) = pair("a");
        std::fs::write(&files.certificate, &certificate).unwrap();
        std::fs::write(&files.key, &key).unwrap();
        let tls = Tls::load(&files).unwrap();
        let config = || Arc::as_ptr(&tls.current.read());
        let before = config();
        let write = |text: &str| {
            std::fs::write(&files.key, text).unwrap();
            let file = std::fs::File::options().write(true).open(&files.key);
            file.unwrap().set_modified(SystemTime::UNIX_EPOCH).unwrap();
            tls.reload(false);
        };
        write(&"n".repeat(key.len()));
        assert_eq!(config(), before, "it cannot be used");
        write(&key);
        assert_ne!(config(), before, "whole now, and with the same stamp");
        let good = config();
        tls.reload(false);
        assert_eq!(config(), good);
    }
}
