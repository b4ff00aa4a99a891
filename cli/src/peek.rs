//! Reads retained messages without joining a room.

use crate::client::{ClientError, ConnectOptions, MqttClient, ReceivedMessage, SubscribeRequest};
use crate::refusal::ServerRefusal;
use std::collections::BTreeMap;

/// The retained messages that match `filter`, by topic. The server sends them before the UNSUBACK,
/// which marks their end.
pub(crate) async fn retained(
    options: &ConnectOptions,
    filter: &str,
    qos: u8,
) -> Result<Result<BTreeMap<String, ReceivedMessage>, ServerRefusal>, ClientError> {
    let mut client = MqttClient::connect(options).await?;
    let outcome = read(&mut client, filter, qos).await;
    client.disconnect().await;
    outcome
}

async fn read(
    client: &mut MqttClient,
    filter: &str,
    qos: u8,
) -> Result<Result<BTreeMap<String, ReceivedMessage>, ServerRefusal>, ClientError> {
    let mut retained = BTreeMap::new();
    let wanted = SubscribeRequest {
        filter: filter.to_owned(),
        qos,
        no_local: false,
    };
    let mut on_message = |message| -> Result<(), ClientError> {
        store(&mut retained, message);
        Ok(())
    };
    let subscribed = client.subscribe(&wanted)?;
    if let Err(refusal) = client.answer(subscribed, &mut on_message).await? {
        return Ok(Err(refusal));
    }
    let unsubscribed = client.unsubscribe(filter)?;
    let _ = client.answer(unsubscribed, &mut on_message).await?;
    Ok(Ok(retained))
}

/// Stores a message. Later ones replace earlier ones; an empty payload clears.
fn store(retained: &mut BTreeMap<String, ReceivedMessage>, message: ReceivedMessage) {
    if message.payload.is_empty() {
        retained.remove(&message.topic);
    } else {
        retained.insert(message.topic.clone(), message);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_message_of_a_topic_counts() {
        let mut retained = BTreeMap::new();
        for (topic, payload) in [("a", "1"), ("b", "1"), ("a", "2"), ("b", "")] {
            let message = ReceivedMessage {
                topic: topic.to_owned(),
                payload: payload.into(),
                ..ReceivedMessage::default()
            };
            store(&mut retained, message);
        }
        assert_eq!(retained.len(), 1);
        assert_eq!(retained["a"].payload, "2");
    }
}
