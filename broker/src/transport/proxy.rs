//! The PROXY header, versions 1 and 2, by which a proxy reports the address of its client.

use crate::policy::Peer;
use ppp::{HeaderResult, v1, v2};
use std::io;
use std::net::SocketAddr;
use tokio::io::{AsyncRead, AsyncReadExt};

/// The signature of version 2, and less than the shortest header of version 1.
const START: usize = v2::PROTOCOL_PREFIX.len();

/// The fixed part of version 2, in bytes. Its last two bytes hold the length of the rest.
const FIXED: usize = START + 4;

/// The byte for version 2 and the command LOCAL.
const LOCAL: u8 = 0x20;

/// The longest header of version 1 with CR and LF, in bytes.
const MAX_V1: usize = 107;

/// The longest header of version 2 that the server accepts, in bytes. Addresses need 216 at most; proxies may add other
/// fields.
const MAX_V2: usize = 4096;

/// The reason that a header is not accepted.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ProxyError {
    #[error("the connection ended: {0}")]
    Io(#[from] io::Error),
    #[error(
        "missing, and this listener requires one; connect through the proxy, or set `proxy_protocol = false`"
    )]
    Missing,
    #[error("the peer's address is not in `trusted_proxies` of this listener")]
    Untrusted,
    #[error("longer than {0} bytes")]
    Long(usize),
    #[error("{0}")]
    Bad(String),
}

/// Reads the header from the stream, and not a byte more. None if the connection is the proxy's own, such as a health
/// check, or if the proxy does not know the address.
pub(super) async fn read(
    stream: &mut (impl AsyncRead + Unpin),
) -> Result<Option<Peer>, ProxyError> {
    let mut header = vec![0; START];
    stream.read_exact(&mut header).await?;
    if header == v2::PROTOCOL_PREFIX {
        header.resize(FIXED, 0);
        stream.read_exact(&mut header[START..]).await?;
        let rest = usize::from(u16::from_be_bytes([header[14], header[15]]));
        if rest > MAX_V2 - FIXED {
            return Err(ProxyError::Long(MAX_V2));
        }
        header.resize(FIXED + rest, 0);
        stream.read_exact(&mut header[FIXED..]).await?;
        // The rest of a LOCAL header is ignored, its address family included (2.2 of the protocol).
        if header[START] == LOCAL {
            return Ok(None);
        }
    } else if header.starts_with(b"PROXY ") {
        // A line has no length field, so it is read byte by byte. The bytes after it belong to the next layer.
        while !header.ends_with(b"\r\n") {
            if header.len() == MAX_V1 {
                return Err(ProxyError::Long(MAX_V1));
            }
            header.push(stream.read_u8().await?);
        }
    } else {
        return Err(ProxyError::Missing);
    }
    address(&header)
}

fn address(header: &[u8]) -> Result<Option<Peer>, ProxyError> {
    let bad = |error: &dyn std::fmt::Display| ProxyError::Bad(error.to_string());
    // A proxy that listens on IPv6 may report IPv4 addresses as `::ffff:…`.
    let peer = |from: SocketAddr| {
        let address = SocketAddr::new(from.ip().to_canonical(), from.port());
        Some(Peer::from(address))
    };
    Ok(match HeaderResult::parse(header) {
        HeaderResult::V1(header) => match header.map_err(|e| bad(&e))?.addresses {
            v1::Addresses::Unknown => None,
            v1::Addresses::Tcp4(from) => peer((from.source_address, from.source_port).into()),
            v1::Addresses::Tcp6(from) => peer((from.source_address, from.source_port).into()),
        },
        HeaderResult::V2(header) => {
            let header = header.map_err(|e| bad(&e))?;
            match header.addresses {
                v2::Addresses::Unspecified => None,
                v2::Addresses::IPv4(from) => peer((from.source_address, from.source_port).into()),
                v2::Addresses::IPv6(from) => peer((from.source_address, from.source_port).into()),
                v2::Addresses::Unix(_) => Some(Peer::Local),
            }
        }
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    fn parsed(bytes: &[u8]) -> (Result<Option<String>, String>, usize) {
        let mut rest = bytes;
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        let result = runtime.unwrap().block_on(read(&mut rest));
        let peer = result.map(|peer| peer.map(|p| p.to_string()));
        (peer.map_err(|e| e.to_string()), bytes.len() - rest.len())
    }

    fn v2(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
        let length = u16::try_from(body.len()).unwrap().to_be_bytes();
        [v2::PROTOCOL_PREFIX, &[command, family], &length, body].concat()
    }

    #[test]
    fn the_header_reports_the_peer() {
        let four = [192, 0, 2, 7, 127, 0, 0, 1, 0x12, 0x34, 0, 80];
        let with_more = [&four[..], &[0x04, 0, 2, 9, 9]].concat();
        let mut six = [0; 36];
        (six[15], six[33]) = (1, 9);
        let table: Vec<(Vec<u8>, Option<&str>)> = vec![
            (
                b"PROXY TCP4 192.0.2.7 127.0.0.1 4660 80\r\n".to_vec(),
                Some("192.0.2.7:4660"),
            ),
            (b"PROXY TCP6 ::1 ::1 9 80\r\n".to_vec(), Some("[::1]:9")),
            (
                b"PROXY TCP6 ::ffff:10.0.0.1 ::1 9 80\r\n".to_vec(),
                Some("10.0.0.1:9"),
            ),
            (b"PROXY UNKNOWN\r\n".to_vec(), None),
            (b"PROXY UNKNOWN ::1 ::1 9 80\r\n".to_vec(), None),
            (v2(0x21, 0x11, &four), Some("192.0.2.7:4660")),
            (v2(0x21, 0x11, &with_more), Some("192.0.2.7:4660")),
            (v2(0x21, 0x21, &six), Some("[::1]:9")),
            (v2(0x21, 0x31, &[0; 216]), Some("local")),
            (v2(0x20, 0x00, &[]), None),
            (v2(0x20, 0x11, &four), None),
            (v2(0x20, 0x11, &[0; 3]), None),
            (v2(0x20, 0xFF, &[7; 9]), None),
            (v2(0x21, 0x00, &[]), None),
        ];
        for (header, wanted) in table {
            let (peer, length) = parsed(&[&header[..], b"\x10\x00"].concat());
            let shown = String::from_utf8_lossy(&header).into_owned();
            assert_eq!(peer.unwrap().as_deref(), wanted, "{shown}");
            assert_eq!(length, header.len(), "not a byte more: {shown}");
        }
    }

    #[test]
    fn invalid_headers_are_refused() {
        let long = [b"PROXY TCP4 ".to_vec(), vec![b'1'; 200]].concat();
        let table: Vec<(Vec<u8>, &str)> = vec![
            (
                b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x00\x00\x01a".to_vec(),
                "this listener requires one",
            ),
            (
                b"GET / HTTP/1.1\r\n\r\n".to_vec(),
                "this listener requires one",
            ),
            (b"PROXY TCP4 1.2.3.4".to_vec(), "the connection ended"),
            (b"PROXY TCP4 1.2.3 127.0.0.1 1 2\r\n".to_vec(), ""),
            (b"PROXY TCP4 1.2.3.4 127.0.0.1 1\r\n".to_vec(), ""),
            (b"PROXY UDP4 1.2.3.4 127.0.0.1 1 2\r\n".to_vec(), ""),
            (long, "longer than 107 bytes"),
            (v2(0x21, 0x11, &[0; 5000]), "longer than 4096 bytes"),
            (v2(0x21, 0x11, &[0; 3]), ""),
            (v2(0x31, 0x11, &[0; 12]), ""),
            (v2(0x2F, 0x11, &[0; 12]), ""),
        ];
        for (header, wanted) in table {
            let shown = String::from_utf8_lossy(&header).into_owned();
            let error = parsed(&header).0.unwrap_err();
            assert!(error.contains(wanted), "{shown}: {error}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes: Vec<u8>, v2: bool, v1: bool) {
            let front: &[u8] = if v2 { v2::PROTOCOL_PREFIX } else if v1 { b"PROXY TCP4 " } else { b"" };
            let _ = parsed(&[front, &bytes].concat());
        }
    }
}
