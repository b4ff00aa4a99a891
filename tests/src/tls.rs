//! Certificates made for a test, and the client's side of TLS.

use crate::PATIENCE;
use crate::wire::Stream;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, KeyPair,
};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use tokio_rustls::rustls::client::danger::{
    HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier,
};
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use tokio_rustls::rustls::sign::{CertifiedKey, SingleCertAndKey};
use tokio_rustls::rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
    StreamOwned,
};

/// A CA, which signs certificates.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// A certificate and its key, as PEM.
#[derive(Debug, Clone)]
pub struct Identity {
    /// The certificate.
    pub certificate: String,
    /// Its private key.
    pub key: String,
}

impl Authority {
    /// A new CA.
    pub fn new() -> Authority {
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let issuer = CertifiedIssuer::self_signed(params, key).expect("a certificate");
        Authority { issuer }
    }

    /// Its own certificate, as PEM.
    pub fn root(&self) -> String {
        self.issuer.pem()
    }

    /// For a server on this machine.
    pub fn server(&self) -> Identity {
        let names = ["localhost", "127.0.0.1", "::1"].map(str::to_owned);
        self.sign(
            "server",
            names.to_vec(),
            ExtendedKeyUsagePurpose::ServerAuth,
        )
    }

    /// For a client of this common name.
    pub fn client(&self, name: &str) -> Identity {
        self.sign(name, Vec::new(), ExtendedKeyUsagePurpose::ClientAuth)
    }

    /// For a client, without a name.
    pub fn client_without_a_name(&self) -> Identity {
        self.sign_for(Vec::new(), ExtendedKeyUsagePurpose::ClientAuth, |params| {
            params.distinguished_name = DistinguishedName::new();
        })
    }

    fn sign(&self, name: &str, names: Vec<String>, usage: ExtendedKeyUsagePurpose) -> Identity {
        self.sign_for(names, usage, |params| {
            params.distinguished_name.push(DnType::CommonName, name);
        })
    }

    fn sign_for(
        &self,
        names: Vec<String>,
        usage: ExtendedKeyUsagePurpose,
        subject: impl FnOnce(&mut CertificateParams),
    ) -> Identity {
        let mut params = CertificateParams::new(names).expect("good names");
        subject(&mut params);
        params.extended_key_usages.push(usage);
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        Identity {
            certificate: certificate.pem(),
            key: key.serialize_pem(),
        }
    }

    /// The TLS configuration of a client that trusts this CA and presents `identity`.
    pub fn trusted_by(&self, identity: Option<&Identity>) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(self.issuer.der().clone()).expect("a root");
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots);
        let config = match identity {
            None => builder.with_no_client_auth(),
            Some(identity) => {
                let chain = CertificateDer::pem_slice_iter(identity.certificate.as_bytes());
                let chain = chain.collect::<Result<_, _>>().expect("PEM");
                let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes()).expect("PEM");
                builder.with_client_auth_cert(chain, key).expect("a pair")
            }
        };
        Arc::new(config)
    }
}

/// A client that accepts any certificate of a server.
pub fn trusting(identity: Option<&Identity>) -> Arc<ClientConfig> {
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Trusting));
    Arc::new(match identity {
        None => builder.with_no_client_auth(),
        Some(identity) => {
            let chain = CertificateDer::pem_slice_iter(identity.certificate.as_bytes());
            let chain = chain.collect::<Result<_, _>>().expect("PEM");
            let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes()).expect("PEM");
            let key = ring::sign::any_supported_type(&key).expect("a key");
            let pair = SingleCertAndKey::from(CertifiedKey::new(chain, key));
            builder.with_client_cert_resolver(Arc::new(pair))
        }
    })
}

#[derive(Debug)]
struct Trusting;

impl ServerCertVerifier for Trusting {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ECDSA_NISTP256_SHA256]
    }
}

impl Default for Authority {
    fn default() -> Self {
        Authority::new()
    }
}

/// TLS on a socket; the handshake happens with the first byte.
pub fn on(socket: TcpStream, config: &Arc<ClientConfig>) -> Box<dyn Stream> {
    let name = ServerName::try_from("localhost").expect("a name");
    let tls = ClientConnection::new(config.clone(), name).expect("a good configuration");
    Box::new(StreamOwned::new(tls, socket))
}

/// TLS to a server.
pub fn to(server: SocketAddr, config: &Arc<ClientConfig>) -> Box<dyn Stream> {
    on(tcp(server), config)
}

/// A socket to a server.
pub fn tcp(server: SocketAddr) -> TcpStream {
    let socket = TcpStream::connect(server).expect("the server accepts");
    socket.set_nodelay(true).expect("an open socket");
    socket
        .set_write_timeout(Some(PATIENCE))
        .expect("an open socket");
    socket.wait_for(PATIENCE);
    socket
}
