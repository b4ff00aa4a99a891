//! Rooms on top of the broker: authorization, membership, presence and notices.
//!
//! The crate implements two traits of the broker. The broker asks [`Policy`] before it appends an
//! entry, and [`LaneHooks`] in the order of a lane. Only `credentials`, `random` and `users` use a
//! runtime, the operating system or files.
//!
//! The folder `rooms` knows only rooms, and no settings, users or locks.

mod access;
mod authorize;
mod credentials;
mod filters;
mod inbox_error;
mod login;
mod random;
mod rules;
mod scram;
mod users;

pub use roommq_rooms::{EventKind, PresenceState, RoomEvent, RoomInfo, RosterEntry, topics};
pub use users::{Users, UsersError, load_users, set_password};

use authorize::ClaimedIdentity;
use credentials::PasswordChecks;
use parking_lot::Mutex;
use random::random_bytes;
use roommq_broker::packet::{TopicFilter, TopicName};
use roommq_broker::policy::{
    Attempt, AuthExchange, BoxFuture, ConnectRequest, LaneHook, LaneHooks, Notice, Policy,
    Principal, PublishPermit, Refusal, SubscribeGrant, WallTime,
};
use roommq_broker::rate_limiter::RateLimiters;
use roommq_config::Settings;
use roommq_rooms::LaneRooms;
use rules::{Rules, RulesMemo};
use scram::{DecoyKey, Exchange, Verifiers};
use std::sync::Arc;

/// The policy of a server, and the hook of each of its lanes.
#[derive(Debug)]
pub struct Bridge {
    rules: Rules,
    lane_rules: Arc<RulesMemo>,
    anonymous: bool,
    passwords: PasswordChecks,
    /// None: the operating system gave no random bytes for decoys.
    verifiers: Option<Arc<Verifiers>>,
    /// Limits the error messages to inboxes.
    errors: Mutex<RateLimiters<String>>,
}

impl Bridge {
    /// Rooms by the rules of `settings`, for `users`, and for anonymous clients if the settings
    /// allow.
    pub fn new(settings: &Settings, users: Users) -> Arc<Bridge> {
        let verifiers = random_bytes()
            .map(|key| users.verifiers(DecoyKey(key), settings.auth.scram_iterations));
        let rules = Rules::new(settings);
        Arc::new(Bridge {
            lane_rules: Arc::new(RulesMemo::new(&rules)),
            rules,
            anonymous: settings.auth.anonymous,
            verifiers: verifiers.ok().map(Arc::new),
            passwords: PasswordChecks::new(users, settings.limits.password_checks),
            errors: Mutex::new(inbox_error::error_limiters()),
        })
    }
}

impl Policy for Bridge {
    fn connect(&self, request: ConnectRequest) -> BoxFuture<'_, Result<Principal, Refusal>> {
        Box::pin(async move {
            // Devices with fixed flags send both fields empty, and mean that they have none.
            let user_name = request.user_name.as_deref().filter(|name| !name.is_empty());
            let claim = match &request.certificate_user {
                Some(certificate) => authorize::certified(certificate, user_name)?,
                None => authorize::connect(
                    self.anonymous,
                    &request.client_id,
                    user_name,
                    request
                        .password
                        .as_ref()
                        .is_some_and(|text| !text.is_empty()),
                )?,
            };
            match claim {
                ClaimedIdentity::Anonymous(principal) | ClaimedIdentity::Certificate(principal) => {
                    Ok(principal)
                }
                ClaimedIdentity::Password(name) => {
                    let password = request.password.clone().unwrap_or_default();
                    if self.passwords.check(name.to_owned(), password).await {
                        Ok(authorize::principal(name))
                    } else {
                        Err(authorize::wrong_credentials())
                    }
                }
            }
        })
    }

    fn authenticate(
        &self,
        method: &str,
        request: ConnectRequest,
    ) -> Result<Box<dyn AuthExchange>, Refusal> {
        login::check_method(method)?;
        let (Some(verifiers), Ok(nonce)) = (&self.verifiers, random_bytes()) else {
            tracing::error!("SCRAM: the system gives no random bytes");
            return Err(login::no_random_bytes());
        };
        // A client with a certificate can only be the user of that certificate.
        let expected = match request.certificate_user {
            Some(certificate) => {
                let user_name = request.user_name.as_deref().filter(|name| !name.is_empty());
                authorize::certified(&certificate, user_name)?;
                Some(certificate)
            }
            None => request.user_name.filter(|name| !name.is_empty()),
        };
        let exchange = Exchange::new(Arc::clone(verifiers), expected, nonce);
        Ok(Box::new(exchange))
    }

    fn response_information(&self, who: &Principal) -> Option<String> {
        Some(topics::inbox_reply(&who.user))
    }

    fn resolve(&self, who: &Principal, filter: &TopicFilter) -> TopicFilter {
        authorize::resolve(who, filter)
    }

    fn subscribe<'a>(
        &'a self,
        who: &'a Principal,
        filter: &'a TopicFilter,
    ) -> BoxFuture<'a, Result<SubscribeGrant, Refusal>> {
        Box::pin(std::future::ready(authorize::subscribe(
            &self.rules,
            who,
            filter,
        )))
    }

    fn publish(
        &self,
        who: &Principal,
        topic: &TopicName,
        _: bool,
    ) -> Result<PublishPermit, Refusal> {
        authorize::publish(&self.rules, who, topic)
    }

    fn notice(
        &self,
        who: &Principal,
        attempt: Attempt<'_>,
        refusal: &Refusal,
        now: u64,
        wall: WallTime,
    ) -> Option<Notice> {
        let (Attempt::Subscribe(name) | Attempt::Publish(name)) = attempt;
        let key = inbox_error::error_key(&who.user, name, refusal.code);
        let admitted = self.errors.lock().admit(key, now).is_some();
        admitted.then(|| inbox_error::error(&who.user, attempt, refusal, wall))
    }
}

impl LaneHooks for Bridge {
    fn open(&self, _: u16) -> Box<dyn LaneHook> {
        Box::new(LaneRooms::new(self.lane_rules.clone()))
    }

    fn rules(&self) -> Vec<u8> {
        self.rules.encoded.clone()
    }
}

#[cfg(test)]
mod tests;
