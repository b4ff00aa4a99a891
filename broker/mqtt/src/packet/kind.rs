//! The first byte of a packet: the packet type in the upper four bits (2.2.1, 2.1.2), flags in the lower four.

pub(super) const CONNECT: u8 = 1;
pub(super) const CONNACK: u8 = 2;
pub(super) const PUBLISH: u8 = 3;
pub(super) const PUBACK: u8 = 4;
pub(super) const PUBREC: u8 = 5;
pub(super) const PUBREL: u8 = 6;
pub(super) const PUBCOMP: u8 = 7;
pub(super) const SUBSCRIBE: u8 = 8;
pub(super) const SUBACK: u8 = 9;
pub(super) const UNSUBSCRIBE: u8 = 10;
pub(super) const UNSUBACK: u8 = 11;
pub(super) const PINGREQ: u8 = 12;
pub(super) const PINGRESP: u8 = 13;
pub(super) const DISCONNECT: u8 = 14;
pub(super) const AUTH: u8 = 15;

/// The DUP flag: the sender may have sent the packet before.
pub(super) const DUP: u8 = 0b1000;

/// The reserved flags of PUBREL, SUBSCRIBE and UNSUBSCRIBE, which have a fixed value.
pub(super) const RESERVED: u8 = 0b0010;
