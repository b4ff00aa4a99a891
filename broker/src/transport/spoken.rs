//! Recognizes a peer that speaks the protocol of another port, by its first bytes.

use super::listen_address::ListenAddress;
use roommq_config::Transport;
use std::fmt;

/// A protocol that a peer may speak on the wrong port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Spoken {
    Mqtt,
    Tls,
    Http,
    Proxy,
}

impl Spoken {
    /// None: the bytes are of none of these protocols.
    pub(crate) fn of(first: &[u8]) -> Option<Spoken> {
        match first {
            // A TLS record with a handshake message, of version 3.x.
            [0x16] | [0x16, 3, ..] => Some(Spoken::Tls),
            [0x10, ..] => Some(Spoken::Mqtt),
            [b'P', b'R', b'O', b'X', b'Y', ..] | [b'\r', b'\n', b'\r', b'\n', ..] => {
                Some(Spoken::Proxy)
            }
            // A method, such as GET.
            [a, b, c, ..] if [a, b, c].iter().all(|byte| byte.is_ascii_uppercase()) => {
                Some(Spoken::Http)
            }
            _ => None,
        }
    }

    /// The transports of listeners that serve it; `within_tls` if it came inside of TLS.
    fn wanted(self, within_tls: bool) -> &'static [Transport] {
        match (self, within_tls) {
            (Spoken::Mqtt, false) => &[Transport::Tcp],
            (Spoken::Mqtt, true) => &[Transport::Tls],
            (Spoken::Tls, _) => &[Transport::Tls, Transport::Wss],
            (Spoken::Http, false) => &[Transport::Ws],
            (Spoken::Http, true) => &[Transport::Wss],
            (Spoken::Proxy, _) => &[],
        }
    }
}

impl fmt::Display for Spoken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Spoken::Mqtt => "MQTT",
            Spoken::Tls => "TLS",
            Spoken::Http => "HTTP",
            Spoken::Proxy => "PROXY",
        })
    }
}

/// The log's text for a peer that speaks `spoken` to a listener with or without TLS and WebSocket: the
/// right one of `all` listeners, if there is one.
pub(super) fn wrong_protocol(
    (spoken, within_tls): (Spoken, bool),
    (tls, websocket): (bool, bool),
    all: &[ListenAddress],
) -> String {
    let inside = if within_tls { " inside of TLS" } else { "" };
    let expected = match (tls, websocket) {
        (false, false) => "plain MQTT",
        (true, false) => "MQTT over TLS",
        (false, true) => "MQTT over WebSocket (HTTP)",
        (true, true) => "MQTT over WebSocket and TLS (HTTPS)",
    };
    let text = format!(
        "wrong protocol: the peer speaks {spoken}{inside}, and this port serves {expected}"
    );
    if spoken == Spoken::Proxy {
        return format!("{text}; if only proxies reach it, set `proxy_protocol = true` for it");
    }
    let wanted = spoken.wanted(within_tls);
    let serves = |address: &&ListenAddress| match address {
        ListenAddress::Ip { transport, .. } => wanted.contains(transport),
        ListenAddress::Unix(_) => false,
    };
    let right: Vec<String> = all.iter().filter(serves).map(ToString::to_string).collect();
    if right.is_empty() {
        format!("{text}; no listener of this server serves that")
    } else {
        format!("{text}; the right one is {}", right.join(" or "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn protocols_by_their_first_bytes() {
        for (bytes, wanted) in [
            (&b"\x10\x10\x00\x04MQTT"[..], Some(Spoken::Mqtt)),
            (b"\x16\x03\x01\x02\x00", Some(Spoken::Tls)),
            (b"GET / HTTP/1.1\r\n", Some(Spoken::Http)),
            (b"PRI * HTTP/2.0\r\n", Some(Spoken::Http)),
            (b"PROXY TCP4 ", Some(Spoken::Proxy)),
            (b"\r\n\r\n\0\r\nQUIT\n", Some(Spoken::Proxy)),
            (b"\x30\x03", None),
            (b"hello", None),
            (b"", None),
        ] {
            assert_eq!(Spoken::of(bytes), wanted, "{bytes:?}");
        }
    }
}
