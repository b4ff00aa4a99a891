//! Copies of a will, which the session stores after its CONNECT, and their cost in bytes.

use super::{PublishProperties, Will};
use crate::cost::string_cost;
use bytes::Bytes;
use bytestring::ByteString;

impl Will {
    /// A copy with memory of its own. The decoded fields are slices of the whole CONNECT, its password included.
    #[must_use]
    pub fn detached(&self) -> Will {
        let text = |text: &ByteString| ByteString::from(&**text);
        let properties = &self.properties;
        let pairs = properties.user_properties.iter();
        Will {
            topic: self.topic.detached(),
            payload: Bytes::copy_from_slice(&self.payload),
            qos: self.qos,
            retain: self.retain,
            delay: self.delay,
            properties: PublishProperties {
                payload_format_indicator: properties.payload_format_indicator,
                message_expiry: properties.message_expiry,
                content_type: properties.content_type.as_ref().map(text),
                response_topic: properties.response_topic.as_ref().map(text),
                correlation_data: properties
                    .correlation_data
                    .as_deref()
                    .map(Bytes::copy_from_slice),
                user_properties: pairs.map(|(k, v)| (text(k), text(v))).collect(),
            },
        }
    }

    /// Bytes that a [copy](Will::detached) of the will takes: for each string or payload its length and its overhead.
    pub fn cost(&self) -> usize {
        let own = [self.topic.as_str().len(), self.payload.len()];
        own.map(string_cost).iter().sum::<usize>() + self.properties.cost()
    }
}

impl PublishProperties {
    /// Bytes that stored properties take: for each string its length and its overhead.
    pub fn cost(&self) -> usize {
        let texts = [&self.content_type, &self.response_topic];
        let texts = texts.into_iter().flatten().map(|t| t.len());
        let data = self.correlation_data.iter().map(Bytes::len);
        let pairs = self.user_properties.iter();
        let pairs = pairs.flat_map(|(name, value)| [name.len(), value.len()]);
        texts.chain(data).chain(pairs).map(string_cost).sum()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::cost::STRING_COST;
    use crate::packet::{QoS, TopicName};

    fn slice(of: &Bytes, text: &str) -> ByteString {
        let at = of.windows(text.len()).position(|w| w == text.as_bytes());
        ByteString::try_from(of.slice(at.unwrap()..at.unwrap() + text.len())).unwrap()
    }

    #[test]
    fn a_copy_holds_on_to_nothing_else_and_costs_what_it_says() {
        let connect = Bytes::from_static(b"password topic payload type answer data name value");
        let will = Will {
            topic: TopicName::new(slice(&connect, "topic")).unwrap(),
            payload: slice(&connect, "payload").into_bytes(),
            qos: QoS::ExactlyOnce,
            retain: true,
            delay: 5,
            properties: PublishProperties {
                payload_format_indicator: Some(true),
                message_expiry: Some(7),
                content_type: Some(slice(&connect, "type")),
                response_topic: Some(slice(&connect, "answer")),
                correlation_data: Some(slice(&connect, "data").into_bytes()),
                user_properties: vec![(slice(&connect, "name"), slice(&connect, "value"))],
            },
        };
        let copy = will.detached();
        assert_eq!(copy, will);
        let inside = |bytes: &[u8]| connect.as_ptr_range().contains(&bytes.as_ptr());
        assert!(inside(&will.payload) && inside(will.topic.as_str().as_bytes()));
        let properties = &copy.properties;
        let (name, value) = &properties.user_properties[0];
        let parts: [&[u8]; 7] = [
            copy.topic.as_str().as_bytes(),
            &copy.payload,
            properties.content_type.as_ref().unwrap().as_bytes(),
            properties.response_topic.as_ref().unwrap().as_bytes(),
            properties.correlation_data.as_ref().unwrap(),
            name.as_bytes(),
            value.as_bytes(),
        ];
        assert!(!parts.iter().any(|part| inside(part)));
        let bytes: usize = parts.iter().map(|part| part.len()).sum();
        assert_eq!(copy.cost(), bytes + 7 * STRING_COST);
    }
}
