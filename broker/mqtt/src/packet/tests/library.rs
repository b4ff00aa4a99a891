//! Packets as another implementation reads them: the codec library, which shares no code with ours
//! (docs/decisions/0001-packet-codec.md).

use bytes::BytesMut;
use rmqtt_codec::error::DecodeError;
use rmqtt_codec::{v3, v5};
use tokio_util::codec::Decoder;

/// Reads one whole 3.1 or 3.1.1 packet.
pub fn read_v3(packet: &[u8]) -> Result<v3::Packet, DecodeError> {
    let read = v3::Codec::new(0).decode(&mut BytesMut::from(packet))?;
    read.map_or(Err(DecodeError::InvalidLength), |(packet, _)| Ok(packet))
}

/// Reads one whole 5.0 packet.
pub fn read_v5(packet: &[u8]) -> Result<v5::Packet, DecodeError> {
    let read = v5::Codec::new(0, 0).decode(&mut BytesMut::from(packet))?;
    read.map_or(Err(DecodeError::InvalidLength), |(packet, _)| Ok(packet))
}
