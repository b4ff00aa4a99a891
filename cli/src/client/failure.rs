//! Why a connection was not made, or is no more.

use super::codes;
use crate::address::ServerAddress;
use crate::refusal::ServerRefusal;
use crate::tls;
use rumqttc::v5::{ConnectionError, StateError, TlsError, mqttbytes};
use std::fmt;
use std::io::{self, ErrorKind};
use std::time::Duration;

/// For any other answer, counted from the last sign of life.
pub(crate) const ANSWER_TIME: Duration = Duration::from_secs(10);

/// Why a connection was not made, or is no more. The texts say what to do.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum ClientError {
    /// The place, and what else the system says but that nobody listens there.
    NoBroker(ServerAddress, Option<String>),
    /// The place, and why there is no TLS with it.
    NoTls(ServerAddress, String),
    /// What is there closes the connection on a CONNECT, without a word.
    Silent(ServerAddress),
    /// What is there answers, and not in MQTT.
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
                "{at} does not answer within {} seconds: is it an MQTT 5.0 server, and is it well?",
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

/// Before a CONNACK.
pub(super) fn at_first(error: ConnectionError, server: ServerAddress) -> ClientError {
    match error {
        ConnectionError::Io(error) => {
            let why = error.kind() != ErrorKind::ConnectionRefused;
            ClientError::NoBroker(server, why.then(|| error.to_string()))
        }
        ConnectionError::Tls(error) => {
            let why = match &error {
                TlsError::Io(error) => tls::unshaken(error),
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
        other => later(other, &server),
    }
}

/// The socket failed before a whole packet had come.
fn unread(error: &io::Error, server: ServerAddress) -> ClientError {
    match error.kind() {
        // What is left of an answer that never became a packet is an error of the library's framing.
        _ if error.to_string().contains("bytes remaining") => ClientError::NoMqtt(server),
        ErrorKind::ConnectionReset | ErrorKind::BrokenPipe | ErrorKind::UnexpectedEof => {
            ClientError::Silent(server)
        }
        // A server that verifies clients says no only after its part of the handshake.
        _ => match tls::broken(error) {
            Some(why) => ClientError::NoTls(server, why),
            None => ClientError::Lost(error.to_string()),
        },
    }
}

/// Of a connection that stood.
pub(super) fn later(error: ConnectionError, server: &ServerAddress) -> ClientError {
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
        ConnectionError::MqttState(StateError::AwaitPingResp) => lost("the server fell silent"),
        other => lost(&other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn a_port_of_the_other_kind_is_told_by_what_comes_back() {
        let plain: ServerAddress = "h:8883".parse().unwrap();
        let tls: ServerAddress = "mqtts://h:1883".parse().unwrap();
        let aborted = || ConnectionError::MqttState(StateError::ConnectionAborted);
        let told = at_first(aborted(), plain.clone()).to_string();
        assert!(told.contains("named by mqtts://"), "{told}");
        let told = at_first(aborted(), tls.clone()).to_string();
        assert!(told.contains("--cert"), "{told}");
        // An alert of TLS, read as MQTT, is a packet that only a client sends.
        let wrong = mqttbytes::Error::IncorrectPacketFormat;
        let wrong = ConnectionError::MqttState(StateError::Deserialization(wrong));
        let told = at_first(wrong, plain).to_string();
        assert!(
            told.contains("does not speak MQTT") && told.contains("mqtts://"),
            "{told}"
        );
        let eof = TlsError::Io(io::Error::from(ErrorKind::UnexpectedEof));
        let told = at_first(ConnectionError::Tls(eof), tls).to_string();
        assert!(told.starts_with("no TLS with mqtts://h:1883: "), "{told}");
        assert!(told.contains("write mqtt://"), "{told}");
    }
}
