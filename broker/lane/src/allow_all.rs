//! A hook without rules.

use crate::actor::Actor;
use crate::errors::RestoreError;
use crate::hook::{HookContext, LaneHook, LaneHooks, Limit, Message, Request, Verdict};
use roommq_mqtt::Refusal;
use roommq_mqtt::session::Mark;

/// Allows everything to everybody, as a plain MQTT broker does. The broker's own tests use it.
#[derive(Debug, Clone, Copy, Default)]
pub struct AllowAll;

impl LaneHooks for AllowAll {
    fn open(&self, _: u16) -> Box<dyn LaneHook> {
        Box::new(AllowAll)
    }
}

impl LaneHook for AllowAll {
    fn judge(
        &mut self,
        _: &mut HookContext<'_>,
        _: Actor<'_>,
        requests: &[Request<'_>],
    ) -> Vec<Result<(), Refusal>> {
        requests.iter().map(|_| Ok(())).collect()
    }

    fn publish(
        &mut self,
        _: &mut HookContext<'_>,
        _: Actor<'_>,
        message: Message<'_>,
    ) -> Result<Verdict, Refusal> {
        Ok(Verdict {
            mark: Mark::default(),
            keep: message.retain,
            limit: Limit::OfLane,
        })
    }

    fn may_see(&self, _: Actor<'_>, _: &str) -> bool {
        true
    }

    fn snapshot(&self, _: &mut Vec<u8>) -> u16 {
        0
    }

    fn restore(&mut self, _: u16, _: &[u8]) -> Result<(), RestoreError> {
        Ok(())
    }
}
