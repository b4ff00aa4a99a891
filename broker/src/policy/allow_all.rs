//! A policy without rules.

use super::access::{Attempt, BoxFuture, Policy, PublishPermit, SubscribeGrant};
use super::identity::{ConnectRequest, Principal};
use crate::packet::{TopicFilter, TopicName};
use roommq_lane::{AllowAll, Notice, WallTime};
use roommq_mqtt::Refusal;

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

    fn publish(&self, _: &Principal, _: &TopicName, _: bool) -> Result<PublishPermit, Refusal> {
        Ok(PublishPermit::default())
    }

    fn notice(
        &self,
        _: &Principal,
        _: Attempt<'_>,
        _: &Refusal,
        _: u64,
        _: WallTime,
    ) -> Option<Notice> {
        None
    }
}
