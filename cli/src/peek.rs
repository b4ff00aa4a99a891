//! Retained messages, read without becoming a member.

use crate::client::{ClientError, ConnectOptions, MqttClient, ReceivedMessage, SubscribeRequest};
use crate::refusal::ServerRefusal;
use std::collections::BTreeMap;

/// The retained messages that match `filter`, by topic. The server answers in order, so the UNSUBACK
/// marks the end of what is kept.
pub(crate) async fn retained(
    endpoint: &ConnectOptions,
    filter: &str,
    qos: u8,
) -> Result<Result<BTreeMap<String, ReceivedMessage>, ServerRefusal>, ClientError> {
    let mut client = MqttClient::connect(endpoint).await?;
    let outcome = read(&mut client, filter, qos).await;
    client.disconnect().await;
    outcome
}

async fn read(
    client: &mut MqttClient,
    filter: &str,
    qos: u8,
) -> Result<Result<BTreeMap<String, ReceivedMessage>, ServerRefusal>, ClientError> {
    let mut kept = BTreeMap::new();
    let wanted = SubscribeRequest {
        filter: filter.to_owned(),
        qos,
        no_local: false,
    };
    let mut note = |message| -> Result<(), ClientError> {
        keep(&mut kept, message);
        Ok(())
    };
    let subscribed = client.subscribe(&wanted)?;
    if let Err(refusal) = client.answer(subscribed, &mut note).await? {
        return Ok(Err(refusal));
    }
    let unsubscribed = client.unsubscribe(filter)?;
    let _ = client.answer(unsubscribed, &mut note).await?;
    Ok(Ok(kept))
}

/// A change while we look counts too; an empty payload clears.
fn keep(kept: &mut BTreeMap<String, ReceivedMessage>, message: ReceivedMessage) {
    if message.payload.is_empty() {
        kept.remove(&message.topic);
    } else {
        kept.insert(message.topic.clone(), message);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_word_counts() {
        let mut kept = BTreeMap::new();
        for (topic, payload) in [("a", "1"), ("b", "1"), ("a", "2"), ("b", "")] {
            let message = ReceivedMessage {
                topic: topic.to_owned(),
                payload: payload.into(),
                ..ReceivedMessage::default()
            };
            keep(&mut kept, message);
        }
        assert_eq!(kept.len(), 1);
        assert_eq!(kept["a"].payload, "2");
    }
}
