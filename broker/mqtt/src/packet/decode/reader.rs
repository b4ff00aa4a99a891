//! Reads the data types of the standard (1.5) off the front of a packet's body, without copying.

use super::error::Fault;
use crate::packet::text::first_control;
use bytes::{Buf, Bytes};
use bytestring::ByteString;

/// The unread rest of a packet's body.
pub(super) struct Reader {
    rest: Bytes,
    /// The limit on the user properties of the packet.
    pub(super) user_properties: u16,
}

const CUT_OFF: Fault = Fault::Malformed {
    what: "a field goes past the end of the packet",
    clause: "3.1.1 4.8, 5.0 4.13.1",
};

impl Reader {
    pub(super) fn new(body: Bytes, user_properties: u16) -> Reader {
        Reader {
            rest: body,
            user_properties,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The next byte, which stays unread.
    pub(super) fn first(&self) -> Option<u8> {
        self.rest.first().copied()
    }

    pub(super) fn rest(self) -> Bytes {
        self.rest
    }

    pub(super) fn byte(&mut self) -> Result<u8, Fault> {
        self.rest.try_get_u8().map_err(|_| CUT_OFF)
    }

    pub(super) fn two_bytes(&mut self) -> Result<u16, Fault> {
        self.rest.try_get_u16().map_err(|_| CUT_OFF)
    }

    pub(super) fn four_bytes(&mut self) -> Result<u32, Fault> {
        self.rest.try_get_u32().map_err(|_| CUT_OFF)
    }

    /// Reads a Variable Byte Integer (5.0 1.5.5).
    pub(super) fn variable(&mut self) -> Result<u32, Fault> {
        let mut value = 0;
        for at in 0..4 {
            let byte = self.byte()?;
            value |= u32::from(byte & 0x7F) << (7 * at);
            if byte & 0x80 == 0 {
                if at > 0 && byte == 0 {
                    return Err(Fault::malformed(
                        "a number is in more bytes than it needs",
                        "5.0 MQTT-1.5.5-1",
                    ));
                }
                return Ok(value);
            }
        }
        Err(Fault::malformed(
            "a number has more than four bytes",
            "5.0 1.5.5",
        ))
    }

    pub(super) fn take(&mut self, len: usize) -> Result<Bytes, Fault> {
        if self.rest.len() < len {
            return Err(CUT_OFF);
        }
        Ok(self.rest.split_to(len))
    }

    /// Reads Binary Data (5.0 1.5.6), or a string without its checks.
    pub(super) fn binary(&mut self) -> Result<Bytes, Fault> {
        let len = self.two_bytes()?;
        self.take(len.into())
    }

    /// Reads a string; the caller checks it for control characters. No character is removed, U+FEFF neither
    /// [3.1.1 MQTT-1.5.3-3, 5.0 MQTT-1.5.4-3].
    pub(super) fn utf8(&mut self) -> Result<ByteString, Fault> {
        self.utf8_by("3.1.1 MQTT-1.5.3-1, 5.0 MQTT-1.5.4-1")
    }

    /// As [`Reader::utf8`], for a field that has its own `clause` on UTF-8.
    pub(super) fn utf8_by(&mut self, clause: &'static str) -> Result<ByteString, Fault> {
        ByteString::try_from(self.binary()?)
            .map_err(|_| Fault::malformed("a string is not UTF-8", clause))
    }

    pub(super) fn string(&mut self) -> Result<ByteString, Fault> {
        let text = self.utf8()?;
        without_controls(&text)?;
        Ok(text)
    }
}

/// Refuses a string with a control character.
pub(super) fn without_controls(text: &str) -> Result<(), Fault> {
    match first_control(text) {
        None => Ok(()),
        Some((_, '\0')) => Err(Fault::malformed(
            "a string has a null character in it",
            "3.1.1 MQTT-1.5.3-2, 5.0 MQTT-1.5.4-2",
        )),
        Some(_) => Err(Fault::malformed(
            "a string has a control character in it",
            "3.1.1 1.5.3, 5.0 1.5.4",
        )),
    }
}
