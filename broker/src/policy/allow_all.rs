//! A policy and a hook without rules.

use super::access::{Attempt, BoxFuture, Notice, Policy, PublishPermit, SubscribeGrant};
use super::hook::{HookContext, LaneHook, LaneHooks, Limit, Message, Request, Verdict};
use super::identity::{Actor, ConnectRequest, Principal};
use crate::packet::{TopicFilter, TopicName};
use roommq_mqtt::Refusal;
use roommq_mqtt::session::Mark;

/// Allows everything to everybody, as a plain MQTT broker does. The broker's own tests use it.
#[derive(Debug, Clone, Copy, Default)]
pub struct AllowAll;

impl Policy for AllowAll {
    fn connect(&self, request: ConnectRequest) -> BoxFuture<'_, Result<Principal, Refusal>> {
        let name = request.certificate_user.or(request.user_name);
        let authenticated = name.is_some();
        let user = name.unwrap_or(request.client_id);
        Box::pin(async move { Ok(Principal::new(user, authenticated)) })
    }

    fn resolve(&self, _: &Principal, filter: &TopicFilter) -> TopicFilter {
        filter.clone()
    }

    fn subscribe<'a>(
        &'a self,
        _: &'a Principal,
        filter: &'a TopicFilter,
    ) -> BoxFuture<'a, Result<SubscribeGrant, Refusal>> {
        Box::pin(async move {
            Ok(SubscribeGrant {
                filter: filter.clone(),
                mount: None,
                guarded: false,
                proof: Vec::new(),
            })
        })
    }

    fn publish(&self, _: &Principal, topic: &TopicName, _: bool) -> Result<PublishPermit, Refusal> {
        Ok(PublishPermit {
            topic: topic.clone(),
        })
    }

    fn notice(&self, _: &Principal, _: Attempt<'_>, _: &Refusal, _: u64) -> Option<Notice> {
        None
    }
}

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
}
