//! The texts of refusals: what was refused, why, and what to do.

use crate::shown;
use std::borrow::Cow;

/// A reason code from 0x80 up, and the server's reason string.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ServerRefusal {
    pub code: u8,
    pub reason: Option<String>,
}

impl ServerRefusal {
    /// The text for a SUBSCRIBE that joins a room.
    pub(crate) fn joining(&self, room: &str) -> String {
        let (what, hint) = match self.code {
            0x87 => (
                "it is not open to you",
                "ask the server's operator to add you",
            ),
            0x97 => ("it is full", "try again when somebody has left"),
            0x8f => ("the server does not allow this room name", "try another"),
            _ => (self.meaning(), ""),
        };
        self.text(&format!("you cannot enter {room}"), what, hint)
    }

    /// The text for a SUBSCRIBE that does not join.
    pub(crate) fn looking(&self, room: &str) -> String {
        let (what, hint) = match self.code {
            0x87 => (
                "it is not open to you",
                "ask the server's operator to add you",
            ),
            _ => (self.meaning(), ""),
        };
        self.text(&format!("you cannot look into {room}"), what, hint)
    }

    /// The text for a PUBLISH.
    pub(crate) fn sending(&self, topic: &str) -> String {
        let (what, hint) = match self.code {
            0x87 => (
                "you may not write there",
                "join first, or ask the server's operator",
            ),
            0x90 => (
                "the server does not allow this topic",
                "levels that start with _ are its own",
            ),
            0x97 => ("a limit is reached", "try again later"),
            _ => (self.meaning(), ""),
        };
        self.text(&format!("not sent to {topic}"), what, hint)
    }

    /// The text for a CONNECT. The client library does not pass on the server's reason string here.
    pub(crate) fn connecting(&self) -> String {
        let (what, hint) = match self.code {
            0x84 => (
                "the server does not speak MQTT 5.0",
                "use a server that does",
            ),
            0x85 => (
                "the server does not allow this client id",
                "choose another with --client-id",
            ),
            0x86 => (
                "user and password do not match, or there is no such user",
                "check --user and --password-file",
            ),
            0x87 => (
                "the server does not let you in",
                "name yourself with --user and --password-file; with --cert, as the certificate does",
            ),
            0x88 | 0x89 | 0x97 | 0x9f => ("the server is too busy", "try again later"),
            _ => (self.meaning(), ""),
        };
        self.text("not connected", what, hint)
    }

    /// The text for a DISCONNECT from the server.
    pub(crate) fn ending(&self) -> String {
        let (what, hint) = match self.code {
            0x8b => ("the server is shutting down", "try again when it is back"),
            0x8d => (
                "the server received nothing from this client for too long",
                "try again",
            ),
            0x8e => (
                "another connection uses the same client id",
                "give each its own with --client-id",
            ),
            0x93 | 0x96 | 0x97 => ("too much was sent at once", "send less"),
            0x95 => ("a message was too large", "send smaller ones"),
            0x9b => (
                "it does not support this quality of service",
                "use a lower --qos",
            ),
            _ => (self.meaning(), ""),
        };
        self.text("the server ended the connection", what, hint)
    }

    /// The server's reason string replaces `what`. The hint is added unless the string already has
    /// advice, which follows a `;` or `:`.
    fn text(&self, failed: &str, what: &str, hint: &str) -> String {
        let said = self
            .reason
            .as_deref()
            .map(str::trim)
            .filter(|r| !r.is_empty());
        let what: Cow<'_, str> = said.map_or(Cow::Borrowed(what), shown::line);
        let advises = said.is_some_and(|said| said.contains([';', ':']));
        if hint.is_empty() || advises {
            format!("{failed}: {what}")
        } else {
            format!("{failed}: {what}; {hint}")
        }
    }

    fn meaning(&self) -> &'static str {
        match self.code {
            0x81 => "the packet was malformed",
            0x82 => "a packet violated the protocol",
            0x83 => "the server does not allow it",
            0x87 => "not allowed",
            0x8a => "banned",
            0x90 | 0x8f => "the name is not allowed",
            0x97 => "a limit is reached",
            0x9e => "shared subscriptions are not supported",
            0xa2 => "wildcards are not supported there",
            _ => "the server does not say why",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(code: u8, reason: &str) -> ServerRefusal {
        ServerRefusal {
            code,
            reason: Some(reason.to_owned()).filter(|r| !r.is_empty()),
        }
    }

    #[test]
    fn the_servers_reason_comes_first() {
        assert_eq!(
            refusal(
                0x87,
                "staff-1 is for its members; ask the server's operator to add you"
            )
            .joining("staff-1"),
            "you cannot enter staff-1: staff-1 is for its members; ask the server's operator to add you"
        );
        assert_eq!(
            refusal(0x97, "full, 50 of 50").joining("duo"),
            "you cannot enter duo: full, 50 of 50; try again when somebody has left"
        );
    }

    #[test]
    fn each_text_says_what_to_do() {
        assert_eq!(
            refusal(0x87, "").sending("rooms/x"),
            "not sent to rooms/x: you may not write there; join first, or ask the server's operator"
        );
        assert!(refusal(0x86, "").connecting().contains("--password-file"));
        assert!(refusal(0x8b, " ").ending().contains("shutting down"));
        assert!(refusal(0xff, "").looking("x").ends_with("does not say why"));
    }

    #[test]
    fn reasons_from_the_network_are_escaped() {
        assert!(
            refusal(0x87, "\x1b[2J; x")
                .joining("x")
                .contains("\\u{1b}[2J")
        );
    }
}
