//! TLS for a listener: handshakes, a certificate that is renewed while the server runs, and users from client
//! certificates.

mod certificate_user;
mod files;
mod key_fault;
mod record_tracker;

pub(crate) use certificate_user::CertificateUserError;
pub use files::TlsError;
pub use key_fault::key_fault;

use super::link::FramedStream;
use certificate_user::certificate_user;
use files::{FileStamp, server_config, stamps};
use parking_lot::{Mutex, RwLock};
use record_tracker::RecordStream;
use roommq_config::UserFrom;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::server::TlsStream;

/// The time between two checks whether a file has changed.
const CHECK_INTERVAL: Duration = Duration::from_secs(2);

/// A socket with TLS.
pub(crate) type TlsSocket = TlsStream<RecordStream<TcpStream>>;

impl FramedStream for TlsSocket {
    fn has_partial_message(&self) -> bool {
        self.pending() > 0
    }

    fn pending(&self) -> u64 {
        self.get_ref().0.pending() as u64
    }
}

/// One listener's TLS.
#[derive(Debug)]
pub(crate) struct Tls {
    files: roommq_config::Tls,
    current: RwLock<Arc<ServerConfig>>,
    last_read: Mutex<LastRead>,
}

/// The files as they were read last.
#[derive(Debug)]
struct LastRead {
    stamps: Vec<Option<FileStamp>>,
    /// The error that was logged, if they could not be used.
    failure: Option<String>,
}

impl Tls {
    /// Reads the files.
    pub(crate) fn load(files: &roommq_config::Tls) -> Result<Tls, TlsError> {
        // The stamps are taken first, so that a file that changes meanwhile is read again.
        let stamps = stamps(files);
        Ok(Tls {
            current: RwLock::new(Arc::new(server_config(files)?)),
            files: files.clone(),
            last_read: Mutex::new(LastRead {
                stamps,
                failure: None,
            }),
        })
    }

    /// Reads the files again if they have changed, or if they could not be used the last time: a file may become
    /// complete or readable without a new stamp. Files that cannot be used are logged and change nothing.
    ///
    /// Blocks while it reads.
    fn reload(&self) {
        let (stamps, failure) = {
            let last = self.last_read.lock();
            (stamps(&self.files), last.failure.clone())
        };
        let changed = self.last_read.lock().stamps != stamps;
        if !changed && failure.is_none() {
            return;
        }
        match self.read() {
            Ok(config) => self.replace(config),
            // The same error is logged once, and not at each check.
            Err(error) => {
                if changed || failure != Some(error.to_string()) {
                    log_failure(&error);
                }
            }
        }
    }

    /// Reads the files. Nothing changes until the result is passed to [`replace`](Self::replace).
    ///
    /// Blocks while it reads.
    pub(crate) fn read(&self) -> Result<ServerConfig, TlsError> {
        let mut last = self.last_read.lock();
        last.stamps = stamps(&self.files);
        let read = server_config(&self.files);
        last.failure = read.as_ref().err().map(ToString::to_string);
        read
    }

    /// Uses files that were [read](Self::read). Open connections keep their configuration. A new configuration accepts
    /// no earlier TLS session, so a client that lost its rights cannot resume one.
    pub(crate) fn replace(&self, config: ServerConfig) {
        *self.current.write() = Arc::new(config);
        tracing::info!(certificate = %self.files.certificate.display(), "TLS files have been read again");
    }

    /// Performs the handshake. If it fails, rustls sends the peer an alert.
    pub(crate) async fn accept(&self, socket: TcpStream) -> io::Result<TlsSocket> {
        let config = self.current.read().clone();
        let accepted = TlsAcceptor::from(config)
            .accept(RecordStream::new(socket))
            .await;
        accepted.map_err(|error| {
            if version_1(&error) {
                let cure = "the client's certificate is X.509 v1; issue it with extensions, such as by `openssl x509 -req` \
                            with `-extfile` and a file that says `extendedKeyUsage = clientAuth`";
                io::Error::new(error.kind(), cure)
            } else {
                error
            }
        })
    }

    /// The user that the client's verified certificate names. None if the client sent no certificate, or if the listener
    /// takes no users from certificates.
    pub(crate) fn user(&self, stream: &TlsSocket) -> Result<Option<String>, CertificateUserError> {
        let chain = stream.get_ref().1.peer_certificates();
        match chain.and_then(<[_]>::first) {
            Some(certificate) if self.files.user_from != UserFrom::Nothing => {
                certificate_user(certificate, self.files.user_from).map(Some)
            }
            _ => Ok(None),
        }
    }
}

/// Whether the handshake failed because the peer's certificate is X.509 v1. rustls has no variant for it.
fn version_1(error: &io::Error) -> bool {
    error.to_string().contains("UnsupportedCertVersion")
}

/// Logs that files cannot be used.
pub(crate) fn log_failure(error: &TlsError) {
    tracing::error!(%error, "TLS files cannot be used; the old ones stay");
}

/// Reloads the files that change, and never returns. `all` are the listeners with TLS.
pub(crate) async fn watch_tls_files(all: Vec<Arc<Tls>>) {
    loop {
        tokio::time::sleep(CHECK_INTERVAL).await;
        for tls in &all {
            let tls = tls.clone();
            // On a thread of its own, since it blocks.
            let checked = tokio::task::spawn_blocking(move || tls.reload()).await;
            if let Err(error) = checked {
                tracing::error!(%error, "the check of TLS files failed");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use rcgen::{CertificateParams, KeyPair};
    use roommq_config::ClientCertificates;
    use std::path::Path;
    use std::time::SystemTime;

    /// A certificate and its key, as PEM.
    fn pair() -> (String, String) {
        let params = CertificateParams::new(vec!["host.example".to_owned()]).unwrap();
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        (certificate.pem(), key.serialize_pem())
    }

    fn files(directory: &Path) -> roommq_config::Tls {
        roommq_config::Tls {
            certificate: directory.join("server.pem"),
            key: directory.join("server.key"),
            client_ca: None,
            client_certificates: ClientCertificates::Off,
            user_from: UserFrom::Nothing,
            record_bytes: 16_384,
        }
    }

    #[test]
    fn the_error_names_the_file_and_the_old_configuration_stays() {
        let directory = tempfile::tempdir().unwrap();
        let files = files(directory.path());
        let error_of = |files| Tls::load(files).map(drop).unwrap_err().to_string();
        assert!(
            error_of(&files).contains("server.pem: No such file"),
            "{}",
            error_of(&files)
        );
        let (certificate, key) = pair();
        std::fs::write(&files.certificate, "").unwrap();
        assert!(
            error_of(&files)
                .contains("there is no certificate in it; give a PEM file with the server's")
        );
        std::fs::write(&files.certificate, &certificate).unwrap();
        std::fs::write(&files.key, &certificate).unwrap();
        assert!(
            error_of(&files).contains(
                "server.key: there is no private key in it; give a PEM file with a private"
            )
        );
        std::fs::write(&files.key, pair().1).unwrap();
        let mixed = error_of(&files);
        let texts = ["server.pem with ", "do not belong together"];
        assert!(texts.iter().all(|text| mixed.contains(text)), "{mixed}");
        std::fs::write(&files.key, &key).unwrap();
        let tls = Tls::load(&files).unwrap();
        let config = || Arc::as_ptr(&tls.current.read());
        let before = config();
        tls.reload();
        assert_eq!(config(), before, "nothing has changed");
        std::fs::write(&files.key, "nonsense").unwrap();
        tls.reload();
        assert_eq!(config(), before, "the key cannot be used");
        std::fs::write(&files.key, &key).unwrap();
        tls.replace(tls.read().unwrap());
        assert_ne!(config(), before);
    }

    #[test]
    fn unusable_files_are_read_again_even_if_their_stamps_stay() {
        let directory = tempfile::tempdir().unwrap();
        let files = files(directory.path());
        let (certificate, key) = pair();
        std::fs::write(&files.certificate, &certificate).unwrap();
        std::fs::write(&files.key, &key).unwrap();
        let tls = Tls::load(&files).unwrap();
        let config = || Arc::as_ptr(&tls.current.read());
        let before = config();
        let write = |text: &str| {
            std::fs::write(&files.key, text).unwrap();
            let file = std::fs::File::options().write(true).open(&files.key);
            file.unwrap().set_modified(SystemTime::UNIX_EPOCH).unwrap();
            tls.reload();
        };
        write(&"n".repeat(key.len()));
        assert_eq!(config(), before, "the key cannot be used");
        write(&key);
        assert_ne!(
            config(),
            before,
            "the key is complete, and its stamp is the same"
        );
        let good = config();
        tls.reload();
        assert_eq!(config(), good);
    }
}
