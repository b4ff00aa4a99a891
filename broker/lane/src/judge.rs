//! Applying new rules, and asking the lane's hook by them. The rules take their place in the lane's
//! order by an entry, so that every node decides each other entry by the same rules.

use super::batch::BatchError;
use super::lane::Lane;
use super::outcome::Outcome;
use super::rules::{LaneRules, RulesState};
use crate::{Actor, Message, Refusal, Request, RulesError, Verdict};
use roommq_mqtt::packet::ReasonCode;

impl Lane {
    /// Applies new rules. Subscriptions and retained messages that they would not allow stay.
    pub(super) fn take_rules(&mut self, version: u64, body: &[u8], outcome: &mut Outcome) {
        if matches!(self.rules, RulesState::Present { version: present, .. } if version <= present)
        {
            return;
        }
        self.rules = match self.read_rules(version, body) {
            Ok(()) => RulesState::Present {
                version,
                body: body.into(),
            },
            Err(error) => RulesState::Unreadable(error),
        };
        self.perform_effects(outcome);
    }

    pub(super) fn read_rules(&mut self, version: u64, body: &[u8]) -> Result<(), RulesError> {
        let rules = LaneRules::from_bytes(body)?;
        self.with_hook(|hook, cx| hook.rules(cx, version, rules.hook))?;
        self.retained.set_limits(rules.retained);
        self.queue_limits = rules.queue;
        self.share.set_limit(rules.offline_bytes);
        Ok(())
    }

    /// Checks that the last entry brought no rules that cannot be read.
    ///
    /// # Errors
    /// It did. The lane must apply no further entry.
    pub fn check_rules(&self) -> Result<(), BatchError> {
        match &self.rules {
            RulesState::Unreadable(error) => Err(BatchError::Rules(error.clone())),
            RulesState::Missing | RulesState::Present { .. } => Ok(()),
        }
    }

    fn has_rules(&self) -> bool {
        matches!(self.rules, RulesState::Present { .. })
    }

    /// Asks the hook about subscriptions; refuses all of them if the lane has no rules.
    pub(super) fn judge(
        &mut self,
        who: Actor<'_>,
        requests: &[Request<'_>],
    ) -> Vec<Result<(), Refusal>> {
        if !self.has_rules() {
            return requests.iter().map(|_| Err(no_rules())).collect();
        }
        self.with_hook(|hook, cx| hook.judge(cx, who, requests))
    }

    /// Asks the hook about a client's message; refuses it if the lane has no rules.
    pub(super) fn judge_message(
        &mut self,
        who: Actor<'_>,
        message: Message<'_>,
    ) -> Result<Verdict, Refusal> {
        if !self.has_rules() {
            return Err(no_rules());
        }
        self.with_hook(|hook, cx| hook.publish(cx, who, message))
    }
}

/// A server gives each lane its rules before it listens, so that no client should ever read this.
fn no_rules() -> Refusal {
    let text = "the server has no rules for this topic yet; report this to its operator";
    Refusal::new(ReasonCode::ImplementationSpecificError, text)
}
