//! The PROXY header, versions 1 and 2: a proxy tells whose connection it passes on.

use crate::policy::Peer;
use ppp::{HeaderResult, v1, v2};
use std::io;
use std::net::SocketAddr;
use tokio::io::{AsyncRead, AsyncReadExt};

/// The signature of version 2, and less than the shortest header of version 1.
const START: usize = v2::PROTOCOL_PREFIX.len();

/// The part of version 2 that is always there; its last two bytes say how much follows.
const FIXED: usize = START + 4;

/// Version 2 and LOCAL, in one byte.
const LOCAL: u8 = 0x20;

/// The longest header of version 1, CR and LF included.
const LONGEST_V1: usize = 107;

/// The longest header of version 2 that is taken: addresses take 216 bytes at the most, the rest is what proxies tell
/// beside them.
const LONGEST_V2: usize = 4096;

/// Why it is none.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ProxyError {
    #[error("the connection ended: {0}")]
    Io(#[from] io::Error),
    #[error("the first bytes are none, and this listener needs one")]
    Missing,
    #[error("longer than {0} bytes")]
    Long(usize),
    #[error("{0}")]
    Bad(String),
}

/// Takes the header from the stream, and not a byte more. None where the proxy speaks for itself, as health checks
/// do, or does not know.
pub(super) async fn read(
    stream: &mut (impl AsyncRead + Unpin),
) -> Result<Option<Peer>, ProxyError> {
    let mut header = vec![0; START];
    stream.read_exact(&mut header).await?;
    if header == v2::PROTOCOL_PREFIX {
        header.resize(FIXED, 0);
        stream.read_exact(&mut header[START..]).await?;
        let rest = usize::from(u16::from_be_bytes([header[14], header[15]]));
        if rest > LONGEST_V2 - FIXED {
            return Err(ProxyError::Long(LONGEST_V2));
        }
        header.resize(FIXED + rest, 0);
        stream.read_exact(&mut header[FIXED..]).await?;
        // Whatever is in such a header is to be passed over, its family included (2.2 of the protocol).
        if header[START] == LOCAL {
            return Ok(None);
        }
    } else if header.starts_with(b"PROXY ") {
        // Nothing tells where the line ends but its end; what follows is not ours to take.
        while !header.ends_with(b"\r\n") {
            if header.len() == LONGEST_V1 {
                return Err(ProxyError::Long(LONGEST_V1));
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
    // A proxy that listens on IPv6 may show IPv4 as a part of it.
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

    fn taken(bytes: &[u8]) -> (Result<Option<String>, String>, usize) {
        let mut rest = bytes;
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        let result = runtime.unwrap().block_on(read(&mut rest));
        let told = result.map(|peer| peer.map(|p| p.to_string()));
        (told.map_err(|e| e.to_string()), bytes.len() - rest.len())
    }

    fn v2(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
        let length = u16::try_from(body.len()).unwrap().to_be_bytes();
        [v2::PROTOCOL_PREFIX, &[command, family], &length, body].concat()
    }

    #[test]
    fn whose_connection_it_is() {
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
            let (told, length) = taken(&[&header[..], b"\x10\x00"].concat());
            let shown = String::from_utf8_lossy(&header).into_owned();
            assert_eq!(told.unwrap().as_deref(), wanted, "{shown}");
            assert_eq!(length, header.len(), "not a byte more: {shown}");
        }
    }

    #[test]
    fn what_is_none() {
        let long = [b"PROXY TCP4 ".to_vec(), vec![b'1'; 200]].concat();
        let table: Vec<(Vec<u8>, &str)> = vec![
            (
                b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x00\x00\x01a".to_vec(),
                "this listener needs one",
            ),
            (
                b"GET / HTTP/1.1\r\n\r\n".to_vec(),
                "this listener needs one",
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
            let told = taken(&header).0.unwrap_err();
            assert!(told.contains(wanted), "{shown}: {told}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes: Vec<u8>, v2: bool, v1: bool) {
            let front: &[u8] = if v2 { v2::PROTOCOL_PREFIX } else if v1 { b"PROXY TCP4 " } else { b"" };
            let _ = taken(&[front, &bytes].concat());
        }
    }
}
