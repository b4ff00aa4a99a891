//! The one hash that has to give the same number on every machine and in every version.

/// FNV-1a with 64 bits over `bytes`.
///
/// The value never changes, so it may go into names and decide which lane a topic belongs to. It is
/// no cryptographic hash: a peer can choose bytes that collide. Its last bytes change few of the
/// high bits, so a caller that needs an even spread has to mix the result.
///
/// ```
/// assert_eq!(roommq_mqtt::hash::fnv1a(b"a".iter().copied()), 0xaf63_dc4c_8601_ec8c);
/// ```
pub fn fnv1a(bytes: impl Iterator<Item = u8>) -> u64 {
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}
