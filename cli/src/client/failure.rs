//! Why a connection failed.

use super::codes;
use crate::address::ServerAddress;
use crate::refusal::ServerRefusal;
use crate::tls;
use rumqttc::v5::{ConnectionError, StateError, TlsError, mqttbytes};
use std::fmt;
use std::io::{self, ErrorKind};
use std::time::Duration;

/// The time limit for an answer to a request, counted from the last event.
pub(crate) const ANSWER_TIME: Duration = Duration::from_secs(10);

/// Why a connection failed or ended. The texts say what to do.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum ClientError {
    /// The server cannot be reached. The text: the system's error, unless it is "connection
    /// refused".
    NoBroker(ServerAddress, Option<String>),
    /// The TLS handshake failed, and why.
    NoTls(ServerAddress, String),
    /// The server closed the connection without an answer to CONNECT.
    Silent(ServerAddress),
    /// The server answered, but not in MQTT.
    NoMqtt(ServerAddress),
    NoAnswer(ServerAddress),
    Refused(ServerRefusal),
    Ended(ServerRefusal),
    Lost(String),
    TooLarge {
        bytes: usize,
        limit: u32,
    },
    QosTooHigh {
        limit: u8,
    },
}

impl std::error::Error for ClientError {}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ClientError::NoBroker(at, None) => write!(
                f,
                "no broker at {at}: start one with `roommq serve`, or name another with --server"
            ),
            ClientError::NoBroker(at, Some(why)) => write!(
                f,
                "{at} cannot be reached ({why}): is the name right, and is it an MQTT server?"
            ),
            ClientError::NoTls(at, why) => write!(f, "no TLS with {at}: {why}"),
            ClientError::Silent(at) if at.is_tls() => write!(
                f,
                "{at} closed the connection without an answer: is it an MQTT server, and does it want a certificate \
                 of yours (--cert and --key)?"
            ),
            ClientError::Silent(at) => write!(
                f,
                "{at} closed the connection without an answer: is it an MQTT server? One that speaks TLS there is \
                 named by mqtts://"
            ),
            ClientError::NoMqtt(at) if at.is_tls() => write!(
                f,
                "what answers at {at} does not speak MQTT in TLS: is it the right port?"
            ),
            ClientError::NoMqtt(at) => write!(
                f,
                "what answers at {at} does not speak MQTT: is it the right port? One for TLS is named by mqtts://"
            ),
            ClientError::NoAnswer(at) => write!(
                f,
                "{at} does not answer within {} seconds: is it an MQTT 5.0 server, and does it run normally?",
                ANSWER_TIME.as_secs()
            ),
            ClientError::Refused(refusal) => f.write_str(&refusal.connecting()),
            ClientError::Ended(refusal) => f.write_str(&refusal.ending()),
            ClientError::Lost(why) => write!(f, "the connection was lost ({why}): try again"),
            ClientError::TooLarge { bytes, limit } => write!(
                f,
                "a message of {bytes} bytes is too large: the server takes packets of at most {limit} bytes, topic included"
            ),
            ClientError::QosTooHigh { limit } => write!(
                f,
                "the server takes messages up to quality of service {limit}: use --qos {limit}"
            ),
        }
    }
}

/// The error of a connection before CONNACK.
pub(super) fn before_connack(error: ConnectionError, server: ServerAddress) -> ClientError {
    match error {
        ConnectionError::Io(error) => {
            let why = error.kind() != ErrorKind::ConnectionRefused;
            ClientError::NoBroker(server, why.then(|| error.to_string()))
        }
        ConnectionError::Tls(error) => {
            let why = match &error {
                TlsError::Io(error) => tls::handshake_error(error),
                TlsError::DNSName(_) => Some("a certificate cannot be for such a name".to_owned()),
                _ => None,
            };
            ClientError::NoTls(server, why.unwrap_or_else(|| error.to_string()))
        }
        ConnectionError::MqttState(StateError::ConnectionAborted) => ClientError::Silent(server),
        ConnectionError::MqttState(StateError::Deserialization(mqttbytes::Error::Io(error))) => {
            unread(&error, server)
        }
        ConnectionError::MqttState(StateError::Deserialization(_))
        | ConnectionError::NotConnAck(_) => ClientError::NoMqtt(server),
        other => after_connack(other, &server),
    }
}

/// The error of a socket that failed before the first whole packet.
fn unread(error: &io::Error, server: ServerAddress) -> ClientError {
    match error.kind() {
        // The library reports bytes that never became a packet like this.
        _ if error.to_string().contains("bytes remaining") => ClientError::NoMqtt(server),
        ErrorKind::ConnectionReset | ErrorKind::BrokenPipe | ErrorKind::UnexpectedEof => {
            ClientError::Silent(server)
        }
        // With TLS 1.3 a server refuses a client's certificate after the client's handshake has
        // ended.
        _ => match tls::tls_error(error) {
            Some(why) => ClientError::NoTls(server, why),
            None => ClientError::Lost(error.to_string()),
        },
    }
}

/// The error of a connection after CONNACK.
pub(super) fn after_connack(error: ConnectionError, server: &ServerAddress) -> ClientError {
    let lost = |why: &str| ClientError::Lost(why.to_owned());
    match error {
        ConnectionError::ConnectionRefused(code) => ClientError::Refused(ServerRefusal {
            code: codes::connack(code),
            reason: None,
        }),
        ConnectionError::MqttState(StateError::ServerDisconnect {
            reason_code,
            reason_string,
        }) => ClientError::Ended(ServerRefusal {
            code: reason_code as u8,
            reason: reason_string,
        }),
        ConnectionError::Timeout(_) => ClientError::NoAnswer(server.clone()),
        ConnectionError::MqttState(StateError::ConnectionAborted) => lost("the server closed it"),
        ConnectionError::Io(io) => lost(&io.to_string()),
        ConnectionError::MqttState(StateError::AwaitPingResp) => {
            lost("the server stopped answering")
        }
        other => lost(&other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn the_wrong_scheme_is_recognised_by_the_answer() {
        let plain: ServerAddress = "h:8883".parse().unwrap();
        let tls: ServerAddress = "mqtts://h:1883".parse().unwrap();
        let aborted = || ConnectionError::MqttState(StateError::ConnectionAborted);
        let told = before_connack(aborted(), plain.clone()).to_string();
        assert!(told.contains("named by mqtts://"), "{told}");
        let told = before_connack(aborted(), tls.clone()).to_string();
        assert!(told.contains("--cert"), "{told}");
        // Read as MQTT, a TLS alert is a packet that only a client sends.
        let wrong = mqttbytes::Error::IncorrectPacketFormat;
        let wrong = ConnectionError::MqttState(StateError::Deserialization(wrong));
        let told = before_connack(wrong, plain).to_string();
        assert!(
            told.contains("does not speak MQTT") && told.contains("mqtts://"),
            "{told}"
        );
        let eof = TlsError::Io(io::Error::from(ErrorKind::UnexpectedEof));
        let told = before_connack(ConnectionError::Tls(eof), tls).to_string();
        assert!(told.starts_with("no TLS with mqtts://h:1883: "), "{told}");
        assert!(told.contains("write mqtt://"), "{told}");
    }
}
