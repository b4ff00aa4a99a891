//! The configuration that decides outcomes in a lane. It takes its place in the lane's order by an
//! entry, so that every node decides each other entry by the same rules.

use super::entry::{BatchError, as_bytes};
use super::host::LaneHost;
use super::lane::Lane;
use super::retained::RetainedLimits;
use crate::packet::ReasonCode;
use crate::policy::{Actor, Message, Refusal, Request, RulesError, Verdict};
use serde::{Deserialize, Serialize};

/// The body of [`Entry::Rules`](super::entry::Entry::Rules).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LaneRules<'a> {
    /// This lane's share, for messages that the hook does not limit itself.
    pub retained: RetainedLimits,
    /// The rules of the lane's hook, encoded by their owner.
    #[serde(serialize_with = "as_bytes")]
    pub hook: &'a [u8],
}

/// What a lane knows of its rules.
#[derive(Debug, Default)]
pub(super) enum Rules {
    /// No entry has brought rules.
    #[default]
    Missing,
    /// The lane follows the rules of this version.
    Version(u64),
    /// The rules cannot be read, so that the lane must stop.
    Unreadable(RulesError),
}

impl LaneRules<'_> {
    /// The encoded rules.
    ///
    /// # Errors
    /// Encoding fails, which is a bug.
    pub(crate) fn to_bytes(self) -> Result<Vec<u8>, postcard::Error> {
        postcard::to_stdvec(&self)
    }

    fn from_bytes(body: &[u8]) -> Result<LaneRules<'_>, RulesError> {
        match postcard::take_from_bytes(body) {
            Ok((rules, [])) => Ok(rules),
            Ok((_, rest)) => Err(RulesError::new(format!("{} bytes too many", rest.len()))),
            Err(error) => Err(RulesError::new(error.to_string())),
        }
    }
}

impl Lane {
    /// Applies new rules. Subscriptions and retained messages that they would not allow stay.
    pub(super) fn take_rules(&mut self, version: u64, body: &[u8], host: &mut dyn LaneHost) {
        if matches!(self.rules, Rules::Version(present) if version <= present) {
            return;
        }
        self.rules = match self.read_rules(version, body) {
            Ok(()) => Rules::Version(version),
            Err(error) => Rules::Unreadable(error),
        };
        self.perform_effects(host);
    }

    fn read_rules(&mut self, version: u64, body: &[u8]) -> Result<(), RulesError> {
        let rules = LaneRules::from_bytes(body)?;
        self.with_hook(|hook, cx| hook.rules(cx, version, rules.hook))?;
        self.retained.set_limits(rules.retained);
        Ok(())
    }

    /// Checks that the last entry brought no rules that cannot be read.
    ///
    /// # Errors
    /// It did. The lane must apply no further entry.
    pub(crate) fn check_rules(&self) -> Result<(), BatchError> {
        match &self.rules {
            Rules::Unreadable(error) => Err(BatchError::Rules(error.clone())),
            Rules::Missing | Rules::Version(_) => Ok(()),
        }
    }

    fn has_rules(&self) -> bool {
        matches!(self.rules, Rules::Version(_))
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

#[cfg(test)]
pub(crate) mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::policy::LaneHook;

    /// A lane with rules: these limits, and nothing for its hook.
    pub(crate) fn lane_with(
        number: u16,
        hook: Box<dyn LaneHook>,
        retained: RetainedLimits,
    ) -> Lane {
        let mut lane = Lane::new(number, hook);
        let body = LaneRules {
            retained,
            hook: b"",
        }
        .to_bytes()
        .unwrap();
        lane.read_rules(1, &body).unwrap();
        lane.rules = Rules::Version(1);
        lane
    }
}
