//! What is kept for longer than a read: it has memory of its own, so that a short filter does not hold a long read buffer.

use super::values::*;
use super::{MOST, connected};
use crate::packet::Decoder;
use bytes::Bytes;

/// The packet, and whether a part of it lies in the memory that it was read from.
fn read(mut decoder: Decoder, bytes: &'static [u8]) -> (Packet, impl Fn(&[u8]) -> bool) {
    let mut read = Bytes::from_static(bytes);
    let packet = decoder.decode(&mut read).unwrap().unwrap();
    let inside = |part: &[u8]| !part.is_empty() && bytes.as_ptr_range().contains(&part.as_ptr());
    (packet, inside)
}

#[test]
fn names_and_wills_do_not_hold_the_read_buffer() {
    let bytes = b"\x10\x49\x00\x04MQTT\x05\xee\x00<\x13\x15\x00\x01m\x16\x00\x01d&\x00\x03key\x00\x03val\x00\x02id\
        \x13\x03\x00\x01t\x08\x00\x01r\x09\x00\x01c&\x00\x01k\x00\x01w\x00\x04will\x00\x03bye\x00\x02me\x00\x02pw";
    let (packet, inside) = read(Decoder::new(MOST), bytes);
    let Packet::Connect(connect) = packet else {
        panic!("{packet:?}");
    };
    let will = connect.will.unwrap();
    let properties = will.properties;
    let (name, value) = &connect.user_properties[0];
    let (of_will, for_will) = &properties.user_properties[0];
    let parts: [&[u8]; 14] = [
        connect.client_id.as_bytes(),
        connect.user_name.as_ref().unwrap().as_bytes(),
        connect.password.as_ref().unwrap(),
        connect.authentication_method.as_ref().unwrap().as_bytes(),
        connect.authentication_data.as_ref().unwrap(),
        name.as_bytes(),
        value.as_bytes(),
        will.topic.as_str().as_bytes(),
        &will.payload,
        properties.content_type.as_ref().unwrap().as_bytes(),
        properties.response_topic.as_ref().unwrap().as_bytes(),
        properties.correlation_data.as_ref().unwrap(),
        of_will.as_bytes(),
        for_will.as_bytes(),
    ];
    assert!(parts.iter().all(|part| !part.is_empty()));
    assert!(!parts.iter().any(|part| inside(part)));
}

#[test]
fn filters_do_not_hold_the_read_buffer() {
    let rows: [(Version, &[u8]); 4] = [
        (V3, b"\x82\x08\x00\x01\x00\x03a/b\x01"),
        (V5, b"\x82\x09\x00\x01\x00\x00\x03a/b\x01"),
        (V3, b"\xa2\x07\x00\x01\x00\x03a/b"),
        (V5, b"\xa2\x08\x00\x01\x00\x00\x03a/b"),
    ];
    for (version, bytes) in rows {
        let (packet, inside) = read(connected(version), bytes);
        let filter = match packet {
            Packet::Subscribe(mut subscribe) => subscribe.filters.remove(0).0,
            Packet::Unsubscribe(mut unsubscribe) => unsubscribe.filters.remove(0),
            other => panic!("{other:?}"),
        };
        let filter = filter.unwrap();
        assert_eq!(filter.as_str(), "a/b");
        assert!(!inside(filter.as_str().as_bytes()), "{version:?}");
    }
}

#[test]
fn authentication_does_not_hold_the_read_buffer() {
    let bytes = b"\xf0\x0a\x18\x08\x15\x00\x01m\x16\x00\x01d";
    let (packet, inside) = read(connected(V5), bytes);
    let Packet::Auth(auth) = packet else {
        panic!("{packet:?}");
    };
    let (method, data) = (auth.method.unwrap(), auth.data.unwrap());
    assert_eq!((&method[..], &data[..]), ("m", &b"d"[..]));
    assert!(!inside(method.as_bytes()) && !inside(&data));
}
