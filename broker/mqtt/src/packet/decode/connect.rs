//! Decodes CONNECT.

use super::error::{DecodeError, Fault};
use super::level::Level;
use super::properties::{self, Properties, Property};
use super::reader::{Reader, without_controls};
use crate::packet::{Connect, PublishProperties, QoS, TopicName, UserProperties, Version, Will};
use bytestring::ByteString;

const RESERVED: u8 = 0b1;
const CLEAN: u8 = 0b10;
const WILL: u8 = 0b100;
const WILL_QOS: u8 = 0b1_1000;
const WILL_RETAIN: u8 = 0b10_0000;
const PASSWORD: u8 = 0b100_0000;
const USER_NAME: u8 = 0b1000_0000;

/// Reads a CONNECT. The error says whether the server answers it, and in which version.
pub(super) fn connect(first: u8, mut reader: Reader) -> Result<(Level, Connect), DecodeError> {
    let (level, bridge) =
        level(&mut reader).map_err(|fault| DecodeError::in_connect(fault, None))?;
    let connect = check_header(level, first).and_then(|()| fields(level, bridge, reader));
    let connect = connect.map_err(|fault| DecodeError::in_connect(fault, Some(level.version())))?;
    Ok((level, connect))
}

/// Reads the protocol name and level [MQTT-3.1.2-1, MQTT-3.1.2-2], and whether the client is a bridge.
fn level(reader: &mut Reader) -> Result<(Level, bool), Fault> {
    let name = reader.binary()?;
    let level = reader.byte()?;
    match (&name[..], level) {
        (b"MQIsdp", 3) => Ok((Level::V31, false)),
        (b"MQTT", 4) => Ok((Level::V311, false)),
        (b"MQTT", 5) => Ok((Level::V5, false)),
        (b"MQIsdp", level) if level == 3 | Connect::BRIDGE => Ok((Level::V31, true)),
        (b"MQTT", level) if level == 4 | Connect::BRIDGE => Ok((Level::V311, true)),
        (b"MQIsdp" | b"MQTT", level) => Err(Fault::UnknownLevel(level)),
        _ => Err(Fault::NotMqtt),
    }
}

/// Refuses flags in the first byte. 3.1 ignores them (3.1 3.1), later versions reserve them.
fn check_header(level: Level, first: u8) -> Result<(), Fault> {
    if level != Level::V31 && first & 0x0F != 0 {
        return Err(Fault::malformed(
            "the header's reserved flags are wrong",
            "3.1.1 MQTT-2.2.2-2, 5.0 MQTT-2.1.3-1",
        ));
    }
    Ok(())
}

/// Reads all fields after the protocol level.
fn fields(level: Level, bridge: bool, mut reader: Reader) -> Result<Connect, Fault> {
    let version = level.version();
    let mut flags = reader.byte()?;
    if level == Level::V31 {
        flags &= !RESERVED; // 3.1 ignores it and prescribes no value (3.1 3.1)
    }
    check_flags(version, flags)?;
    let mut connect = Connect {
        version,
        client_id: ByteString::new(),
        clean: flags & CLEAN != 0,
        keep_alive: reader.two_bytes()?,
        will: None,
        user_name: None,
        password: None,
        session_expiry: 0,
        receive_maximum: u16::MAX,
        maximum_packet_size: None,
        topic_alias_maximum: 0,
        request_response_information: false,
        request_problem_information: true,
        level: level.number() | if bridge { Connect::BRIDGE } else { 0 },
        authentication_method: None,
        authentication_data: None,
        user_properties: UserProperties::new(),
    };
    if version == Version::V5 {
        read_properties(&mut reader, &mut connect)?;
    }
    connect.client_id = reader.string()?;
    match level {
        Level::V31 if connect.client_id.is_empty() => return Err(Fault::ClientIdEmpty),
        Level::V311 if connect.client_id.is_empty() && !connect.clean => {
            return Err(Fault::ClientIdMissing);
        }
        _ => {} // 5.0 allows it [5.0 MQTT-3.1.3-6]
    }
    if flags & WILL != 0 {
        connect.will = Some(will(version, flags, &mut reader)?);
    }
    if flags & USER_NAME != 0 {
        let name = reader.utf8_by("3.1.1 MQTT-3.1.3-11, 5.0 MQTT-3.1.3-12")?;
        without_controls(&name)?;
        connect.user_name = Some(name);
    }
    if flags & PASSWORD != 0 {
        connect.password = Some(reader.binary()?);
    }
    if !reader.is_empty() {
        return Err(Fault::malformed(
            "CONNECT has more fields than its flags say",
            "3.1.1 MQTT-3.1.2-18, MQTT-3.1.2-20, 5.0 MQTT-3.1.2-16, MQTT-3.1.2-18",
        ));
    }
    Ok(connect)
}

/// Reads the will; user properties keep their order [5.0 MQTT-3.1.3-10].
fn will(version: Version, flags: u8, reader: &mut Reader) -> Result<Will, Fault> {
    let qos = QoS::from_u8((flags & WILL_QOS) >> 3).ok_or(Fault::malformed(
        "will QoS 3",
        "3.1.1 MQTT-3.1.2-14, 5.0 MQTT-3.1.2-12",
    ))?;
    let (mut delay, mut kept) = (0, PublishProperties::default());
    if version == Version::V5 {
        let mut properties = Properties::of(properties::WILL, reader)?;
        while let Some(property) = properties.next()? {
            if let Some(Property::WillDelay(seconds)) = kept.keep(property) {
                delay = seconds;
            }
        }
    }
    Ok(Will {
        topic: TopicName::new(reader.utf8_by("3.1.1 MQTT-3.1.3-10, 5.0 MQTT-3.1.3-11")?)?,
        payload: reader.binary()?,
        qos,
        retain: flags & WILL_RETAIN != 0,
        delay,
        properties: kept,
    })
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

fn read_properties(reader: &mut Reader, into: &mut Connect) -> Result<(), Fault> {
    let mut properties = Properties::of(properties::CONNECT, reader)?;
    while let Some(property) = properties.next()? {
        match property {
            Property::SessionExpiry(seconds) => into.session_expiry = seconds,
            Property::ReceiveMaximum(maximum) => into.receive_maximum = maximum,
            Property::MaximumPacketSize(bytes) => into.maximum_packet_size = Some(bytes),
            Property::TopicAliasMaximum(maximum) => into.topic_alias_maximum = maximum,
            Property::RequestResponseInformation(yes) => into.request_response_information = yes,
            Property::RequestProblemInformation(yes) => into.request_problem_information = yes,
            Property::AuthenticationMethod(name) => into.authentication_method = Some(name),
            Property::AuthenticationData(data) => into.authentication_data = Some(data),
            Property::User(name, value) => into.user_properties.push((name, value)),
            _ => {}
        }
    }
    if into.authentication_data.is_some() && into.authentication_method.is_none() {
        return Err(Fault::protocol(
            "authentication data without a method",
            "5.0 3.1.2.11.10",
        ));
    }
    Ok(())
}
