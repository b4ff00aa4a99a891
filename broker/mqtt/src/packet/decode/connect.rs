//! CONNECT: which version it is, the checks that the library leaves out, then the library.

use super::error::{DecodeError, Fault};
use super::level::Level;
use super::properties::{self, Properties, Property};
use super::reader::{Reader, without_controls};
use crate::packet::{
    Connect, PublishProperties, QoS, TopicName, UserProperties, Version, Will, library,
};
use bytes::Bytes;
use bytestring::ByteString;
use rmqtt_codec::{v3, v5};
use std::ops::Range;

const RESERVED: u8 = 0b1;
const CLEAN: u8 = 0b10;
const WILL: u8 = 0b100;
const WILL_QOS: u8 = 0b1_1000;
const WILL_RETAIN: u8 = 0b10_0000;
const PASSWORD: u8 = 0b100_0000;
const USER_NAME: u8 = 0b1000_0000;

/// Reads a CONNECT. The error says whether, and how, it is answered.
pub(super) fn connect(first: u8, body: &Bytes) -> Result<(Level, Connect), DecodeError> {
    let level = level(body).map_err(|fault| DecodeError::in_connect(fault, None))?;
    let read = header_flags(level, first).and_then(|first| match level {
        Level::V31 | Level::V311 => connect_v3(level, first, body),
        Level::V5 => connect_v5(first, body),
    });
    let connect = read.map_err(|fault| DecodeError::in_connect(fault, Some(level.version())))?;
    Ok((level, connect))
}

/// The first byte without flags, which 3.1 does not use (3.1 3.1) and later versions reserve.
fn header_flags(level: Level, first: u8) -> Result<u8, Fault> {
    if level != Level::V31 && first & 0x0F != 0 {
        return Err(Fault::malformed(
            "the header's reserved flags are wrong",
            "3.1.1 MQTT-2.2.2-2, 5.0 MQTT-2.1.3-1",
        ));
    }
    Ok(first & 0xF0)
}

/// The version by name and level [MQTT-3.1.2-1, MQTT-3.1.2-2].
fn level(body: &Bytes) -> Result<Level, Fault> {
    let mut reader = Reader::new(body.clone());
    let name = reader.binary()?;
    let level = reader.byte()?;
    match (&name[..], level) {
        (b"MQIsdp", 3) => Ok(Level::V31),
        (b"MQTT", 4) => Ok(Level::V311),
        (b"MQTT", 5) => Ok(Level::V5),
        (b"MQIsdp" | b"MQTT", level) => Err(Fault::UnknownLevel(level)),
        _ => Err(Fault::NotMqtt),
    }
}

fn connect_v3(level: Level, first: u8, body: &Bytes) -> Result<Connect, Fault> {
    let outline = Outline::of(level, body)?;
    let v3::Packet::Connect(read) = outline.read_v3(first, body)? else {
        return Err(Fault::NotMqtt);
    };
    check_strings(&read.client_id, read.username.as_deref())?;
    let will = read.last_will.map(|will| {
        Ok::<_, Fault>(Will {
            topic: TopicName::new(will.topic)?,
            payload: will.message,
            qos: outline.will_qos()?,
            retain: will.retain,
            delay: 0,
            properties: PublishProperties::default(),
        })
    });
    Ok(Connect {
        version: Version::V3,
        client_id: read.client_id,
        clean: outline.clean(),
        keep_alive: read.keep_alive,
        will: will.transpose()?,
        user_name: read.username,
        password: read.password,
        session_expiry: 0,
        receive_maximum: u16::MAX,
        maximum_packet_size: None,
        topic_alias_maximum: 0,
        request_response_information: false,
        request_problem_information: true,
        level: if level == Level::V31 { 3 } else { 4 },
        authentication_method: None,
        authentication_data: None,
        user_properties: UserProperties::new(),
    })
}

fn connect_v5(first: u8, body: &Bytes) -> Result<Connect, Fault> {
    let outline = Outline::of(Level::V5, body)?;
    let v5::Packet::Connect(read) = outline.read_v5(first, body)? else {
        return Err(Fault::NotMqtt);
    };
    check_strings(&read.client_id, read.username.as_deref())?;
    let will = match read.last_will {
        None => None,
        Some(will) => {
            let (delay, properties) = outline.will_properties(body)?;
            Some(Will {
                topic: TopicName::new(will.topic)?,
                payload: will.message,
                qos: outline.will_qos()?,
                retain: will.retain,
                delay,
                properties,
            })
        }
    };
    Ok(Connect {
        version: Version::V5,
        client_id: read.client_id,
        clean: outline.clean(),
        keep_alive: read.keep_alive,
        will,
        user_name: read.username,
        password: read.password,
        session_expiry: read.session_expiry_interval_secs,
        receive_maximum: read.receive_max.map_or(u16::MAX, Into::into),
        maximum_packet_size: read.max_packet_size.map(Into::into),
        topic_alias_maximum: read.topic_alias_max,
        request_response_information: read.request_response_info,
        request_problem_information: read.request_problem_info,
        level: 5,
        authentication_method: read.auth_method,
        authentication_data: read.auth_data,
        user_properties: read.user_properties,
    })
}

fn check_strings(client_id: &ByteString, user_name: Option<&str>) -> Result<(), Fault> {
    without_controls(client_id)?;
    without_controls(user_name.unwrap_or_default())
}

/// Where the parts of a CONNECT lie, once its flags and its length are known to agree.
struct Outline {
    flags: u8,
    flags_at: usize,
    /// With their length before them; empty where there are none.
    will_properties: Range<usize>,
}

impl Outline {
    fn of(level: Level, body: &Bytes) -> Result<Outline, Fault> {
        let mut reader = Reader::new(body.clone());
        let at = |reader: &Reader| body.len() - reader.left();
        reader.binary()?;
        reader.byte()?;
        let flags_at = at(&reader);
        let mut flags = reader.byte()?;
        if level == Level::V31 {
            flags &= !RESERVED; // 3.1 does not use it, and does not say what it has to be (3.1 3.1)
        }
        check_flags(level.version(), flags)?;
        reader.two_bytes()?;
        if level == Level::V5 {
            check_properties(&mut reader)?;
        }
        let client_id = reader.binary()?;
        match level {
            Level::V31 if client_id.is_empty() => return Err(Fault::ClientIdEmpty),
            Level::V311 if client_id.is_empty() && flags & CLEAN == 0 => {
                return Err(Fault::ClientIdMissing);
            }
            _ => {}
        }
        let mut will_properties = 0..0;
        if flags & WILL != 0 {
            if level == Level::V5 {
                let start = at(&reader);
                Properties::of(properties::WILL, &mut reader)?;
                will_properties = start..at(&reader);
            }
            reader.binary()?;
            reader.binary()?;
        }
        for flag in [USER_NAME, PASSWORD] {
            if flags & flag != 0 {
                reader.binary()?;
            }
        }
        if !reader.is_empty() {
            return Err(Fault::malformed(
                "CONNECT has more fields than its flags say",
                "3.1.1 MQTT-3.1.2-18, MQTT-3.1.2-20, 5.0 MQTT-3.1.2-16, MQTT-3.1.2-18",
            ));
        }
        Ok(Outline {
            flags,
            flags_at,
            will_properties,
        })
    }

    fn clean(&self) -> bool {
        self.flags & CLEAN != 0
    }

    fn will_qos(&self) -> Result<QoS, Fault> {
        QoS::from_u8((self.flags & WILL_QOS) >> 3).ok_or(Fault::malformed(
            "will QoS 3",
            "3.1.1 MQTT-3.1.2-14, 5.0 MQTT-3.1.2-12",
        ))
    }

    /// As the library knows 3.1: with the flag clear that 3.1.1 has reserved.
    fn read_v3(&self, first: u8, body: &[u8]) -> Result<v3::Packet, Fault> {
        let (before, after) = (&body[..self.flags_at], &body[self.flags_at + 1..]);
        Ok(library::read_v3(first, &[before, &[self.flags], after])?)
    }

    /// The library refuses an empty client id without clean start, which 5.0 allows [5.0 MQTT-3.1.3-6], and a
    /// will that expires at once. So it is shown a clean start, and no will properties; we read both.
    fn read_v5(&self, first: u8, body: &[u8]) -> Result<v5::Packet, Fault> {
        let (before, after) = (&body[..self.flags_at], &body[self.flags_at + 1..]);
        let flags = [self.flags | CLEAN];
        let packet = if self.will_properties.is_empty() {
            library::read_v5(first, &[before, &flags, after])
        } else {
            let to_will = &body[self.flags_at + 1..self.will_properties.start];
            let from_topic = &body[self.will_properties.end..];
            library::read_v5(first, &[before, &flags, to_will, &[0], from_topic])
        };
        Ok(packet?)
    }

    /// The will's delay and its message's properties, those of the user in their order [5.0 MQTT-3.1.3-10].
    fn will_properties(&self, body: &Bytes) -> Result<(u32, PublishProperties), Fault> {
        // A copy: a will is kept as long as its session, the read buffer should not be.
        let bytes = Bytes::copy_from_slice(&body[self.will_properties.clone()]);
        let mut delay = 0;
        let mut kept = PublishProperties::default();
        let mut properties = Properties::of(properties::WILL, &mut Reader::new(bytes))?;
        while let Some(property) = properties.next()? {
            if let Some(Property::WillDelay(seconds)) = kept.keep(property) {
                delay = seconds;
            }
        }
        Ok((delay, kept))
    }
}

fn check_flags(version: Version, flags: u8) -> Result<(), Fault> {
    if flags & RESERVED != 0 {
        return Err(Fault::malformed(
            "CONNECT's reserved flag is set",
            "MQTT-3.1.2-3",
        ));
    }
    if flags & WILL == 0 && flags & WILL_QOS != 0 {
        return Err(Fault::malformed(
            "a will QoS without a will",
            "3.1.1 MQTT-3.1.2-13, 5.0 MQTT-3.1.2-11",
        ));
    }
    if flags & WILL == 0 && flags & WILL_RETAIN != 0 {
        return Err(Fault::malformed(
            "will retain without a will",
            "3.1.1 MQTT-3.1.2-15, 5.0 MQTT-3.1.2-13",
        ));
    }
    if version == Version::V3 && flags & (USER_NAME | PASSWORD) == PASSWORD {
        return Err(Fault::malformed(
            "a password without a user name",
            "3.1.1 MQTT-3.1.2-22",
        ));
    }
    Ok(())
}

fn check_properties(reader: &mut Reader) -> Result<(), Fault> {
    let mut properties = Properties::of(properties::CONNECT, reader)?;
    let (mut method, mut data) = (false, false);
    while let Some(property) = properties.next()? {
        match property {
            Property::AuthenticationMethod => method = true,
            Property::AuthenticationData => data = true,
            _ => {}
        }
    }
    if data && !method {
        return Err(Fault::protocol(
            "authentication data without a method",
            "5.0 3.1.2.11.10",
        ));
    }
    Ok(())
}
