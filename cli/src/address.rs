//! Where a server is, as it is typed behind `--server`.

use anyhow::{anyhow, bail};
use std::fmt;
use std::net::Ipv6Addr;
use std::path::PathBuf;
use std::str::FromStr;

/// MQTT's port.
const PORT: u16 = 1883;
/// The one of MQTT over TLS.
const TLS_PORT: u16 = 8883;

/// A server's place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ServerAddress {
    /// By IP.
    Host {
        /// A name or an address, IPv6 without brackets.
        host: String,
        /// Never 0.
        port: u16,
        /// Whether TLS is spoken there.
        tls: bool,
    },
    /// A Unix socket's file.
    Socket(PathBuf),
}

impl ServerAddress {
    /// Whether TLS is spoken there.
    pub(crate) fn is_tls(&self) -> bool {
        matches!(self, ServerAddress::Host { tls: true, .. })
    }
}

/// An IPv6 address in brackets, as it stands before a port; anything else as it is.
pub(crate) fn bracketed(host: &str) -> String {
    if host.contains(':') {
        format!("[{host}]")
    } else {
        host.to_owned()
    }
}

impl FromStr for ServerAddress {
    type Err = anyhow::Error;

    /// `HOST`, `HOST:PORT`, `[V6]:PORT`, `[V6]` or `V6`, with `mqtt://`, `mqtts://` or nothing before it; or
    /// `unix:PATH`. `tls://` is what the server calls its listener.
    fn from_str(text: &str) -> anyhow::Result<ServerAddress> {
        if let Some(path) = text.strip_prefix("unix:") {
            // unix:///path is an URL with an empty host.
            let file = path.strip_prefix("//").unwrap_or(path);
            if file.is_empty() || (file.len() < path.len() && !file.starts_with('/')) {
                bail!("write a socket's path like unix:/run/roommq/roommq.sock");
            }
            return Ok(ServerAddress::Socket(file.into()));
        }
        let Some((scheme, place)) = text.split_once("://") else {
            return at(text, false);
        };
        let tls = match scheme.to_ascii_lowercase().as_str() {
            "mqtt" => false,
            "mqtts" | "tls" => true,
            "ws" | "wss" => bail!(
                "the command line does not go by WebSocket; name a listener for mqtt://, mqtts:// or unix:"
            ),
            _ => bail!("{scheme}:// is not known: write mqtt://, mqtts:// (for TLS) or unix:PATH"),
        };
        if place.contains('@') {
            bail!("no user stands in a place: use --user and --password-file");
        }
        at(place.strip_suffix('/').unwrap_or(place), tls)
    }
}

fn at(place: &str, tls: bool) -> anyhow::Result<ServerAddress> {
    let default = if tls { TLS_PORT } else { PORT };
    let wrong = || {
        let scheme = if tls { "mqtts://" } else { "" };
        anyhow!("write it like {scheme}127.0.0.1:{default}")
    };
    let (host, port) = match place.rsplit_once(':') {
        _ if place.parse::<Ipv6Addr>().is_ok() => (place, default),
        Some((host, port)) if !port.ends_with(']') => (host, port.parse().map_err(|_| wrong())?),
        _ => (place, default),
    };
    let inner = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
    let host = match inner {
        Some(address) if address.parse::<Ipv6Addr>().is_ok() => address,
        None if host.parse::<Ipv6Addr>().is_ok() && host == place => host,
        None if !host.is_empty() && !host.contains([':', '/', '[', ']']) => host,
        _ => return Err(wrong()),
    };
    if port == 0 || host.contains(char::is_whitespace) {
        return Err(wrong());
    }
    Ok(ServerAddress::Host {
        host: host.to_owned(),
        port,
        tls,
    })
}

impl fmt::Display for ServerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ServerAddress::Host { host, port, tls } => {
                let scheme = if *tls { "mqtts://" } else { "" };
                write!(f, "{scheme}{}:{port}", bracketed(host))
            }
            ServerAddress::Socket(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn places() {
        for (text, host, port, tls) in [
            ("127.0.0.1:1883", "127.0.0.1", 1883, false),
            ("broker.example:8883", "broker.example", 8883, false),
            ("localhost", "localhost", 1883, false),
            ("[::1]:7", "::1", 7, false),
            ("[::1]", "::1", 1883, false),
            ("::1", "::1", 1883, false),
            ("mqtt://h", "h", 1883, false),
            ("mqtt://h:7/", "h", 7, false),
            ("mqtts://broker.example", "broker.example", 8883, true),
            ("MQTTS://h:7", "h", 7, true),
            ("mqtts://[::1]", "::1", 8883, true),
            ("mqtts://::1", "::1", 8883, true),
            ("tls://127.0.0.1:8883", "127.0.0.1", 8883, true),
        ] {
            let host = host.to_owned();
            let wanted = ServerAddress::Host { host, port, tls };
            assert_eq!(text.parse::<ServerAddress>().unwrap(), wanted, "{text}");
        }
        for text in ["unix:/run/r.sock", "unix:///run/r.sock"] {
            let wanted = ServerAddress::Socket("/run/r.sock".into());
            assert_eq!(text.parse::<ServerAddress>().unwrap(), wanted, "{text}");
        }
        let here = ServerAddress::Socket("r.sock".into());
        assert_eq!("unix:r.sock".parse::<ServerAddress>().unwrap(), here);
    }

    #[test]
    fn what_is_no_place_says_what_would_be() {
        for (text, told) in [
            ("", "127.0.0.1:1883"),
            (":1883", "127.0.0.1:1883"),
            ("host:", "127.0.0.1:1883"),
            ("host:port", "127.0.0.1:1883"),
            ("host:70000", "127.0.0.1:1883"),
            ("host:0", "127.0.0.1:1883"),
            ("a b:1", "127.0.0.1:1883"),
            ("a:b:1", "127.0.0.1:1883"),
            ("[host]:1", "127.0.0.1:1883"),
            ("host/mqtt", "127.0.0.1:1883"),
            ("mqtts://", "mqtts://127.0.0.1:8883"),
            ("mqtts://h:x", "mqtts://127.0.0.1:8883"),
            ("mqtts://h/mqtt", "mqtts://127.0.0.1:8883"),
            ("mqtts://user:pw@h", "--password-file"),
            ("http://h", "mqtts://"),
            ("wss://h/mqtt", "WebSocket"),
            ("unix://r.sock", "unix:/run"),
            ("unix:", "unix:/run"),
        ] {
            let error = text.parse::<ServerAddress>().unwrap_err().to_string();
            assert!(error.contains(told), "{text}: {error}");
            assert!(!error.contains("pw"), "{error}");
        }
    }

    proptest! {
        /// What is shown can be typed again.
        #[test]
        fn shown_and_read_back(
            host in prop_oneof![
                "[a-z][a-z0-9.-]{0,20}",
                any::<Ipv6Addr>().prop_map(|a| a.to_string()),
            ],
            port in 1_u16..,
            tls: bool,
        ) {
            let address = ServerAddress::Host { host, port, tls };
            prop_assert_eq!(address.to_string().parse::<ServerAddress>().unwrap(), address);
        }

        #[test]
        fn any_text_is_answered(text in "(mqtts?://|unix:)?[]\\[a:/@ 0-9]{0,12}") {
            let _ = text.parse::<ServerAddress>();
        }
    }
}
