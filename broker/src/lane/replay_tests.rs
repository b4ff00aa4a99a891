use super::*;

/// Allows everything, and counts the calls of `may_see`.
#[derive(Default)]
struct Asked(Arc<std::sync::atomic::AtomicUsize>);

impl LaneHook for Asked {
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
    fn may_see(&self, _: Actor<'_>, _: &str) -> bool {
        self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        true
    }
    fn snapshot(&self, _: &mut Vec<u8>) -> u16 {
        0
    }
    fn restore(&mut self, _: u16, _: &[u8]) -> Result<(), RestoreError> {
        Ok(())
    }
}

#[test]
fn no_retained_message_is_looked_at_for_a_session_that_closes_or_has_ended() {
    let asked = Asked::default();
    let count = asked.0.clone();
    let mut s = Scene::new(Box::new(asked));
    for n in 0..200 {
        let topic = format!("t/{n}");
        s.apply(&Entry::Publish(PublishEntry {
            qos: QoS::AtLeastOnce,
            ..message(Some(BOB), &topic, b"m", true)
        }));
    }
    // 100 messages may be in flight, and ten may wait.
    s.subscribe(ALICE, &["#"; 50], |f| f.guarded = true);
    let asked = |wanted: usize| {
        let asked = count.swap(0, std::sync::atomic::Ordering::Relaxed);
        assert!(asked <= wanted, "{asked}");
    };
    asked(120 + 50);
    s.outbox(BOB).disconnect(None, false, 0);
    s.subscribe(BOB, &["#"; 50], |f| f.guarded = true);
    asked(50);
}
