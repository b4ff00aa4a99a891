use super::*;
use crate::policy::RulesError;
use roommq_lane::{LaneRules, QueueLimits};

/// Its rules are the one topic that guarded subscriptions see.
struct OneTopic(Vec<u8>);

impl LaneHook for OneTopic {
    fn rules(&mut self, cx: &mut HookContext<'_>, _: u64, rules: &[u8]) -> Result<(), RulesError> {
        if rules == b"unknown" {
            return Err(RulesError::new("format 9"));
        }
        self.0 = rules.to_vec();
        cx.effects.push(Effect::Publish {
            topic: "rules".into(),
            payload: rules.to_vec().into(),
            retain: false,
        });
        Ok(())
    }
    fn judge(
        &mut self,
        cx: &mut HookContext<'_>,
        who: Actor<'_>,
        requests: &[Request<'_>],
    ) -> Vec<Result<(), Refusal>> {
        AllowAll.judge(cx, who, requests)
    }
    fn publish(
        &mut self,
        cx: &mut HookContext<'_>,
        who: Actor<'_>,
        message: Message<'_>,
    ) -> Result<Verdict, Refusal> {
        LaneHook::publish(&mut AllowAll, cx, who, message)
    }
    fn may_see(&self, _: Actor<'_>, topic: &str) -> bool {
        self.0 == topic.as_bytes()
    }
    fn snapshot(&self, _: &mut Vec<u8>) -> u16 {
        0
    }
    fn restore(&mut self, _: u16, _: &[u8]) -> Result<(), RestoreError> {
        Ok(())
    }
}

/// A lane without rules.
fn without_rules() -> Scene {
    let mut s = allow_all();
    s.running = Running::new(Lane::new(0, 1, Box::new(OneTopic(Vec::new()))));
    s
}

impl Scene {
    fn rules(&mut self, version: u64, messages: usize, hook: &[u8]) {
        let retained = RetainedLimits {
            messages,
            bytes: 2_000,
        };
        let body = LaneRules {
            retained,
            queue: QueueLimits::default(),
            offline_bytes: 0,
            hook,
        }
        .to_bytes()
        .unwrap();
        self.apply(&Entry::Rules {
            version,
            body: &body,
        });
    }
}

#[test]
fn a_lane_without_rules_refuses_every_subscribe_and_publish_of_a_client() {
    let mut s = without_rules();
    s.subscribe(ALICE, &["t/#", "$share/g/t"], |_| ());
    assert_eq!(s.sent(ALICE), [(0x90, vec![0, 9, 0x80, 0x80])]);
    s.publish(BOB, "t/a", true);
    let refused = s.refused();
    assert!(refused.iter().all(|text| text.contains("no rules")));
    assert_eq!((s.running.lane.counts(), refused.len()), ([0; 7], 3));
    // What the server itself says is not refused.
    s.apply(&Entry::Publish(message(None, "t/up", b"m", true)));
    assert_eq!(s.running.lane.counts()[0], 1);

    s.rules(1, 4, b"");
    s.subscribe(ALICE, &["t/#"], |_| ());
    s.publish(BOB, "t/a", false);
    assert_eq!(s.topics(ALICE), ["t/up", "t/a"]);
}

#[test]
fn rules_hold_from_their_place_in_the_order() {
    let mut s = without_rules();
    s.rules(1, 1, b"t/1");
    s.subscribe(BOB, &["t/+"], |f| f.guarded = true);
    s.subscribe(BOB, &["rules"], |_| ());
    for topic in ["t/1", "t/2"] {
        s.publish(ALICE, topic, true);
    }
    let second = s.refused().pop().unwrap();
    assert!(second.contains("1 retained messages of"), "{second}");
    s.rules(2, 2, b"t/2");
    for topic in ["t/1", "t/2"] {
        s.publish(ALICE, topic, true);
    }
    assert_eq!(s.topics(BOB), ["t/1", "rules", "t/2"]);
    assert_eq!((s.refused().len(), s.running.lane.counts()[0]), (1, 2));
    // Rules that are not newer change nothing.
    s.rules(2, 0, b"t/1");
    s.rules(1, 0, b"t/1");
    s.publish(ALICE, "t/2", true);
    assert_eq!(
        (s.topics(BOB), s.running.lane.counts()[0]),
        (vec!["t/2".to_owned()], 2)
    );
}

#[test]
fn rules_that_cannot_be_read_stop_the_lane() {
    let retained = RETAINED_LIMITS;
    let unknown = LaneRules {
        retained,
        queue: QueueLimits::default(),
        offline_bytes: 0,
        hook: b"unknown",
    };
    let unknown = unknown.to_bytes().unwrap();
    let longer = [
        LaneRules {
            retained,
            queue: QueueLimits::default(),
            offline_bytes: 0,
            hook: b"",
        }
        .to_bytes()
        .unwrap(),
        vec![0],
    ]
    .concat();
    for (body, reason) in [
        (&unknown[..], "format 9"),
        (&longer, "1 bytes too many"),
        (&[], "Hit the end of buffer"),
    ] {
        let mut s = without_rules();
        s.rules(1, 1, b"t");
        assert!(s.running.lane.check_rules().is_ok());
        s.apply(&Entry::Rules { version: 2, body });
        let error = s.running.lane.check_rules().unwrap_err().to_string();
        assert!(error.contains(reason), "{error}");
        assert!(
            error.starts_with("the rules of a lane cannot be read: ")
                && error.ends_with("restart the server with the version that wrote these rules"),
            "{error}"
        );
        s.publish(ALICE, "t", false);
        assert_eq!(s.refused().len(), 1);
    }
}
