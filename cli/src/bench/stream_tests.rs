//! An echo server returns all bytes, with and without TLS.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use super::*;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;
use tokio_rustls::rustls::{ClientConfig, RootCertStore, ServerConfig, ServerConnection};

/// More bytes than sockets, TLS records and the session's buffer hold.
const MUCH: usize = 3 << 20;

fn pair() -> (Arc<ServerConfig>, TlsOptions) {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let certificate = made.cert.der().clone();
    let provider = Arc::new(ring::default_provider());
    let server = ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.clone()], key)
        .unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(certificate).unwrap();
    let client = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let secure = TlsOptions {
        connector: TlsConnector::from(Arc::new(client)),
        name: ServerName::try_from("localhost").unwrap(),
    };
    (Arc::new(server), secure)
}

/// Serves one connection on a thread.
fn echo(tls: Option<Arc<ServerConfig>>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        let (socket, _) = listener.accept().unwrap();
        let copied = match tls {
            None => io::copy(&mut &socket, &mut &socket),
            Some(config) => {
                let session = ServerConnection::new(config).unwrap();
                copy(&mut StreamOwned::new(session, socket))
            }
        };
        // An error is expected: the client closes without close_notify.
        drop(copied);
    });
    address
}

fn copy(stream: &mut StreamOwned<ServerConnection, std::net::TcpStream>) -> io::Result<u64> {
    let mut bytes = [0; 10_000];
    loop {
        let count = stream.read(&mut bytes)?;
        if count == 0 {
            return Ok(0);
        }
        stream.write_all(&bytes[..count])?;
    }
}

fn sample() -> Vec<u8> {
    (0..MUCH).map(|i| u8::try_from(i % 251).unwrap()).collect()
}

fn run(talk: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = { runtime }.enable_all().build().unwrap();
    let limit = Duration::from_secs(30);
    runtime
        .block_on(async { tokio::time::timeout(limit, talk).await })
        .unwrap();
}

async fn open(tls: bool) -> ClientStream {
    let (server, secure) = pair();
    let address = echo(tls.then_some(server));
    let socket = TcpStream::connect(address).await.unwrap();
    ClientStream::on(socket, tls.then_some(&secure))
        .await
        .unwrap()
}

#[test]
fn reader_and_writer_carry_everything() {
    for tls in [false, true] {
        run(async {
            let mut stream = open(tls).await;
            stream.write_all(b"hello").await.unwrap();
            let (mut reader, writer) = stream.split();
            let sent = sample();
            let (read_buffer, mut got) = (read_buffer(), Vec::new());
            let read = async {
                while got.len() < 5 + MUCH {
                    let take = |bytes: &[u8]| {
                        got.extend_from_slice(bytes);
                        Ok(())
                    };
                    reader.read(&read_buffer, take).await.unwrap();
                }
            };
            let ((), written) = tokio::join!(read, writer.write_all(&sent));
            written.unwrap();
            assert!(got[..5] == *b"hello" && got[5..] == sent, "tls: {tls}");
        });
    }
}

#[test]
fn bytes_read_in_the_handshake_are_not_lost_and_a_bad_packet_ends_the_stream() {
    run(async {
        let mut stream = open(true).await;
        stream.write_all(b"hello").await.unwrap();
        let mut first = [0];
        assert_eq!(stream.read(&mut first).await, Ok(1));
        let (mut reader, _writer) = stream.split();
        let mut rest = Vec::new();
        let take = |bytes: &[u8]| {
            rest.extend_from_slice(bytes);
            Err(Malformed)
        };
        let ended = reader.read(&read_buffer(), take).await;
        assert_eq!(ended, Err(Malformed.to_string()));
        assert_eq!([&first[..], &rest].concat(), b"hello");
    });
}

#[test]
fn a_socket_for_a_thread_does_not_block() {
    for tls in [false, true] {
        run(async {
            let mut socket = open(tls).await.into_std().unwrap();
            let mut bytes = [0; 64];
            let nothing = socket.read(&mut bytes).unwrap_err();
            assert_eq!(nothing.kind(), io::ErrorKind::WouldBlock, "tls: {tls}");
            assert_eq!(socket.write(b"hello").unwrap(), 5);
            let deadline = Instant::now() + Duration::from_secs(30);
            let count = loop {
                match socket.read(&mut bytes) {
                    Ok(count) => break count,
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                        assert!(Instant::now() < deadline);
                        thread::yield_now();
                    }
                    Err(error) => panic!("{error}"),
                }
            };
            assert_eq!(&bytes[..count], b"hello");
        });
    }
}
