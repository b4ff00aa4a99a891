use super::*;
use crate::cursor::Cursor;
use roommq_mqtt::packet::{RetainHandling, SubscribeOptions};
use std::ops::ControlFlow;

impl Scene {
    /// Retains a message whose payload is its text.
    fn retain(&mut self, topic: &str, text: &str) {
        let entry = Entry::Publish(PublishEntry {
            retain: true,
            ..PublishEntry::of_server(topic, text.as_bytes())
        });
        self.lane.apply(&entry, &mut self.outcome);
    }

    fn unsubscribe(&mut self, session: u64, filter: &str) {
        let entry = Entry::Unsubscribe(UnsubscribeEntry {
            who: Actor {
                session: SessionId {
                    term: 1,
                    n: session,
                },
                connection: 1,
                user: "u",
            },
            request_id: 2,
            filters: vec![(0, filter)],
        });
        self.lane.apply(&entry, &mut self.outcome);
    }

    /// The cursor of the SUBSCRIBE that was applied last.
    fn cursor(&mut self) -> Option<Box<Cursor>> {
        let answers = self.outcome.acts.drain(..).find_map(|act| match act {
            Act::Answer { replay, .. } => Some(replay),
            _ => None,
        });
        answers.unwrap()
    }

    /// The next messages, at most `most` of them, with a budget of one topic at a time if `slow`.
    fn read(&self, cursor: &mut Cursor, most: usize, slow: bool) -> (Vec<String>, bool) {
        let mut found = Vec::new();
        loop {
            let mut budget = if slow { 1 } else { 1_000 };
            let mut is_full = false;
            let at_end = self
                .lane
                .replay(cursor, None, &mut budget, |topic, message, _| {
                    if found.len() == most {
                        is_full = true;
                        return ControlFlow::Break(());
                    }
                    let text = String::from_utf8_lossy(&message.payload);
                    found.push(format!("{topic}={text}"));
                    ControlFlow::Continue(())
                });
            if at_end || is_full {
                return (found, at_end);
            }
        }
    }
}

fn retaining() -> Scene {
    let mut s = Scene::new();
    for topic in ["a", "a/b", "a/b/c", "b", "c"] {
        s.retain(topic, "1");
    }
    s
}

#[test]
fn a_replay_reads_current_values_and_passes_over_what_has_come_live() {
    for slow in [false, true] {
        let mut s = retaining();
        s.subscribe(1, 0, &["#"]);
        let mut cursor = s.cursor().unwrap();
        assert_eq!(s.read(&mut cursor, 1, slow).0, ["a=1"]);
        for (topic, text) in [("a", "2"), ("a/b/c", "2"), ("c", ""), ("d", "1")] {
            s.retain(topic, text);
        }
        let (rest, at_end) = s.read(&mut cursor, 10, slow);
        assert_eq!((rest.join(" ").as_str(), at_end), ("a/b=1 b=1", true));
        s.subscribe(1, 0, &["#"]);
        let mut cursor = s.cursor().unwrap();
        let (all, _) = s.read(&mut cursor, 10, slow);
        assert_eq!(all, ["a=2", "a/b=1", "a/b/c=2", "b=1", "d=1"]);
    }
}

#[test]
fn each_filter_of_a_topic_brings_a_copy_and_a_replay_goes_on_between_them() {
    let mut s = retaining();
    s.subscribe(1, 0, &["a/b", "a/#", "+/b"]);
    let mut cursor = s.cursor().unwrap();
    let mut all = Vec::new();
    while let (found, false) = s.read(&mut cursor, 1, false) {
        all.extend(found);
    }
    // The last part has come to the end with what it gave.
    assert_eq!(all.len(), 4);
    let copies = all.iter().filter(|text| *text == "a/b=1").count();
    assert_eq!((all[0].as_str(), copies), ("a=1", 3));
}

#[test]
fn nothing_more_comes_by_a_filter_that_was_unsubscribed_or_after_the_end_of_the_session() {
    let mut s = retaining();
    s.subscribe(1, 0, &["a/#", "b"]);
    let mut cursor = s.cursor().unwrap();
    assert_eq!(s.read(&mut cursor, 1, false).0, ["a=1"]);
    s.unsubscribe(1, "a/#");
    assert_eq!(s.read(&mut cursor, 10, false), (vec!["b=1".into()], true));
    s.subscribe(1, 0, &["a/#"]);
    let mut cursor = s.cursor().unwrap();
    s.unsubscribe(1, "a/#");
    s.unsubscribe(1, "b");
    assert_eq!(s.lane.slot_of(SessionId { term: 1, n: 1 }), None);
    assert_eq!(s.read(&mut cursor, 10, false), (vec![], true));
}

#[test]
fn a_replay_stops_before_a_key() {
    let mut s = retaining();
    s.subscribe(1, 0, &["#"]);
    let mut cursor = s.cursor().unwrap();
    let mut found = Vec::new();
    let at_end = s
        .lane
        .replay(&mut cursor, Some("a\0b"), &mut 100, |topic, _, _| {
            found.push(topic.to_owned());
            ControlFlow::Continue(())
        });
    assert!(!at_end);
    assert_eq!(found, ["a", "a/b"]);
    assert_eq!(cursor.place(), "a\0b\0c");
    assert_eq!(s.read(&mut cursor, 10, false).0.len(), 3);
}

#[test]
fn a_cursor_is_made_if_a_filter_wants_retained_messages() {
    let mut s = Scene::new();
    s.subscribe(1, 0, &["#"]);
    assert!(s.cursor().is_none(), "nothing is retained");
    s.retain("a", "1");
    s.subscribe(1, 0, &["$share/g/a"]);
    assert!(s.cursor().is_none(), "a group receives none");
    let mut options = SubscribeOptions::of(QoS::AtMostOnce);
    options.retain_handling = RetainHandling::SendIfNew;
    for is_new in [true, false] {
        s.subscribe_with(1, false, 0, &["a"], options);
        assert_eq!(s.cursor().is_some(), is_new);
    }
}
