//! The server's address, as typed after `--server`.

use anyhow::{anyhow, bail};
use std::fmt;
use std::net::Ipv6Addr;
use std::path::PathBuf;
use std::str::FromStr;

/// The default port of MQTT.
const PORT: u16 = 1883;
/// The default port of MQTT over TLS.
const TLS_PORT: u16 = 8883;

/// The address of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ServerAddress {
    /// A host and port.
    Host {
        /// A host name or an IP address. IPv6 has no brackets.
        host: String,
        /// The port. Never 0.
        port: u16,
        /// Whether the server speaks TLS.
        tls: bool,
    },
    /// The file of a Unix socket.
    Socket(PathBuf),
}

impl ServerAddress {
    /// Whether the server speaks TLS.
    pub(crate) fn is_tls(&self) -> bool {
        matches!(self, ServerAddress::Host { tls: true, .. })
    }
}

/// The host as before a port: an IPv6 address in brackets, any other host unchanged.
pub(crate) fn bracketed(host: &str) -> String {
    if host.contains(':') {
        format!("[{host}]")
    } else {
        host.to_owned()
    }
}

impl FromStr for ServerAddress {
    type Err = anyhow::Error;

    /// `HOST`, `HOST:PORT`, `[V6]:PORT`, `[V6]` or `V6`, optionally after `mqtt://` or `mqtts://`;
    /// or `unix:PATH`. `tls://` is also accepted, because the server shows its listeners so.
    fn from_str(text: &str) -> anyhow::Result<ServerAddress> {
        if let Some(path) = text.strip_prefix("unix:") {
            // unix:///path is a URL with an empty host.
            let file = path.strip_prefix("//").unwrap_or(path);
            if file.is_empty() || (file.len() < path.len() && !file.starts_with('/')) {
                bail!("write a socket's path like unix:/run/roommq/roommq.sock");
            }
            return Ok(ServerAddress::Socket(file.into()));
        }
        let Some((scheme, address_text)) = text.split_once("://") else {
            return parse_host(text, false);
        };
        let tls = match scheme.to_ascii_lowercase().as_str() {
            "mqtt" => false,
            "mqtts" | "tls" => true,
            "ws" | "wss" => bail!(
                "the command line does not support WebSocket; name a listener for mqtt://, mqtts:// or unix:"
            ),
            _ => bail!("{scheme}:// is not known: write mqtt://, mqtts:// (for TLS) or unix:PATH"),
        };
        if address_text.contains('@') {
            bail!("an address has no user: use --user and --password-file");
        }
        parse_host(address_text.strip_suffix('/').unwrap_or(address_text), tls)
    }
}

fn parse_host(address_text: &str, tls: bool) -> anyhow::Result<ServerAddress> {
    let default = if tls { TLS_PORT } else { PORT };
    let wrong = || {
        let scheme = if tls { "mqtts://" } else { "" };
        anyhow!("write it like {scheme}127.0.0.1:{default}")
    };
    let (host, port) = match address_text.rsplit_once(':') {
        _ if address_text.parse::<Ipv6Addr>().is_ok() => (address_text, default),
        Some((host, port)) if !port.ends_with(']') => (host, port.parse().map_err(|_| wrong())?),
        _ => (address_text, default),
    };
    let inner = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
    let host = match inner {
        Some(address) if address.parse::<Ipv6Addr>().is_ok() => address,
        None if host.parse::<Ipv6Addr>().is_ok() && host == address_text => host,
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
    fn addresses() {
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
    fn a_wrong_address_is_reported_with_a_right_one() {
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
        /// A shown address can be typed again.
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
        fn no_text_panics(text in "(mqtts?://|unix:)?[]\\[a:/@ 0-9]{0,12}") {
            let _ = text.parse::<ServerAddress>();
        }
    }
}
