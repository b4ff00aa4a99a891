//! Reads retained messages without joining a room.

use crate::client::{ClientError, MqttClient, ReceivedMessage, SubscribeRequest};
use crate::connect;
use crate::options::ClientArgs;
use crate::refusal::ServerRefusal;
use std::collections::BTreeMap;

/// The retained messages by topic, or the refusal of the SUBSCRIBE.
type Retained = Result<BTreeMap<String, ReceivedMessage>, ServerRefusal>;

/// The retained messages that match `filter`, read by a client of its own. The server sends them
/// before the UNSUBACK, which marks their end.
pub(crate) fn retained(args: &ClientArgs, filter: &str) -> anyhow::Result<Retained> {
    let options = connect::options(args)?;
    connect::block_on(async {
        let mut client = MqttClient::connect(&options).await?;
        let wanted = SubscribeRequest {
            filter: filter.to_owned(),
            // By default no message waits for an acknowledgement, so none arrives after the UNSUBACK.
            qos: args.qos.unwrap_or(0),
            no_local: false,
        };
        let outcome = read(&mut client, &wanted).await;
        client.disconnect().await;
        Ok(outcome?)
    })
}

async fn read(client: &mut MqttClient, wanted: &SubscribeRequest) -> Result<Retained, ClientError> {
    let mut retained = BTreeMap::new();
    let mut on_message = |message| -> Result<(), ClientError> {
        store(&mut retained, message);
        Ok(())
    };
    let subscribed = client.subscribe(wanted)?;
    if let Err(refusal) = client.answer(subscribed, &mut on_message).await? {
        return Ok(Err(refusal));
    }
    let unsubscribed = client.unsubscribe(&wanted.filter)?;
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
