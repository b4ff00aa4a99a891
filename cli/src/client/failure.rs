//! Why a connection failed.

use super::codes;
use crate::address::ServerAddress;
use crate::refusal::ServerRefusal;
use crate::tls;
use rumqttc::v5::{ConnectionError, StateError, TlsError, mqttbytes};
use std::io::{self, ErrorKind};
use std::time::Duration;

/// The time limit for an answer to a request, counted from the last event.
pub(crate) const ANSWER_TIME: Duration = Duration::from_secs(10);

/// Why a connection failed or ended. The texts say what to do.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ClientError {
    /// The server refuses connections.
    #[error("no broker at {0}: start one with `roommq serve`, or name another with --server")]
    NoBroker(ServerAddress),
    /// The server cannot be reached. The text: the system's error.
    #[error("{0} cannot be reached ({1}): is the name right, and is it an MQTT server?")]
    Unreachable(ServerAddress, String),
    /// The TLS handshake failed, and why.
    #[error("no TLS with {0}: {1}")]
    NoTls(ServerAddress, String),
    /// The server closed the connection without an answer to CONNECT.
    #[error("{0} closed the connection without an answer: is it an MQTT server{hint}", hint = silent_hint(.0))]
    Silent(ServerAddress),
    /// The server answered, but not in MQTT.
    #[error("what answers at {0} does not speak MQTT{hint}", hint = no_mqtt_hint(.0))]
    NoMqtt(ServerAddress),
    #[error(
        "{0} does not answer within {seconds} seconds: is it an MQTT 5.0 server, and does it run normally?",
        seconds = ANSWER_TIME.as_secs()
    )]
    NoAnswer(ServerAddress),
    #[error("{}", .0.connecting())]
    Refused(ServerRefusal),
    #[error("{}", .0.ending())]
    Ended(ServerRefusal),
    #[error("the connection was lost ({0}): try again")]
    Lost(String),
    #[error(
        "a message of {bytes} bytes is too large: the server takes packets of at most {limit} bytes, topic included"
    )]
    TooLarge { bytes: usize, limit: u32 },
    #[error("the server takes messages up to quality of service {limit}: use --qos {limit}")]
    QosTooHigh { limit: u8 },
}

impl ClientError {
    /// Whether a later attempt to connect may succeed, and harms nobody: a client that was replaced by
    /// another with its client id would replace that one in turn.
    pub(crate) fn may_pass(&self) -> bool {
        match self {
            ClientError::NoBroker(_)
            | ClientError::Unreachable(..)
            | ClientError::Silent(_)
            | ClientError::NoAnswer(_)
            | ClientError::Lost(_) => true,
            ClientError::Refused(refusal) | ClientError::Ended(refusal) => {
                // Server unavailable, busy, shutting down, keep alive timeout, quota, use another server.
                matches!(refusal.code, 0x88 | 0x89 | 0x8b | 0x8d | 0x97 | 0x9f)
            }
            ClientError::NoTls(..)
            | ClientError::NoMqtt(_)
            | ClientError::TooLarge { .. }
            | ClientError::QosTooHigh { .. } => false,
        }
    }
}

fn silent_hint(at: &ServerAddress) -> &'static str {
    if at.is_tls() {
        ", and does it want a certificate of yours (--cert and --key)?"
    } else {
        "? One that speaks TLS there is named by mqtts://"
    }
}

fn no_mqtt_hint(at: &ServerAddress) -> &'static str {
    if at.is_tls() {
        " in TLS: is it the right port?"
    } else {
        ": is it the right port? One for TLS is named by mqtts://"
    }
}

/// The error of a connection before CONNACK.
pub(super) fn before_connack(error: ConnectionError, server: ServerAddress) -> ClientError {
    match error {
        ConnectionError::Io(error) if error.kind() == ErrorKind::ConnectionRefused => {
            ClientError::NoBroker(server)
        }
        ConnectionError::Io(error) => ClientError::Unreachable(server, error.to_string()),
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
