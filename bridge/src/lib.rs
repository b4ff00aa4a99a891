//! Rooms on top of the broker: authorization, membership, presence and notices.
//!
//! The crate implements two traits of the broker. The broker asks [`Policy`] before it appends an
//! entry, and [`LaneHooks`] in the order of a lane. Only `logins`, `random`,
//! `users`, `jwt/keys`, `jwt/sign` and `locked_file` use a runtime, the operating system or files.
//!
//! The folder `rooms` knows only rooms, and no settings, users or locks.

mod access;
mod authorize;
mod filters;
mod inbox_error;
mod jwt;
mod locked_file;
mod login;
mod logins;
mod mosquitto_hash;
mod random;
mod rules;
mod scram;
mod users;

pub use jwt::{SignError, TokenKeys, TokenKeysError, load_token_keys, new_token_key, sign_token};
pub use roommq_rooms::{EventKind, PresenceState, RoomEvent, RoomInfo, RosterEntry, topics};
pub use users::{
    Imported, ListedUser, Users, UsersError, delete_user, import_passwords, list_users, load_users,
    set_password,
};

use authorize::ClaimedIdentity;
use inbox_error::ErrorLimiters;
use jwt::{TokenExchange, TokenRights, TokenVerifier};
use login::ScramLogin;
use logins::{Accounts, LoginGate};
use parking_lot::{Mutex, RwLock};
use random::random_bytes;
use roommq_broker::packet::{TopicFilter, TopicName};
use roommq_broker::policy::{
    Attempt, AuthExchange, BoxFuture, ConnectRequest, Credential, LaneHook, LaneHooks, Notice,
    Policy, Principal, PublishPermit, Refusal, SubscribeGrant, WallTime,
};
use roommq_config::Settings;
use roommq_rooms::LaneRooms;
use rules::{Rules, RulesMemo};
use scram::{DecoyKey, Exchange, Verifiers};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The policy of a server, and the hook of each of its lanes.
#[derive(Debug)]
pub struct Bridge {
    current: RwLock<Arc<Current>>,
    /// Grows with each [reload](Bridge::reload).
    version: AtomicU64,
    lane_rules: Arc<RulesMemo>,
    logins: Arc<LoginGate>,
    /// None: the operating system gave no random bytes for it.
    decoy: Option<DecoyKey>,
    /// By user, as in a topic level: the version since which its earlier logins by password do not count.
    revoked: RwLock<HashMap<String, u64>>,
    /// Limits the error messages to inboxes.
    errors: Mutex<ErrorLimiters>,
}

/// What clients prove their identity by. It comes from files, and a reload replaces it.
#[derive(Debug, Default)]
pub struct Credentials {
    /// Users and their passwords.
    pub users: Users,
    /// The keys of tokens.
    pub token_keys: TokenKeys,
}

impl From<Users> for Credentials {
    fn from(users: Users) -> Credentials {
        Credentials {
            users,
            token_keys: TokenKeys::default(),
        }
    }
}

/// The settings and the users that a reload replaces.
#[derive(Debug)]
struct Current {
    rules: Rules,
    anonymous: bool,
    accounts: Arc<Accounts>,
    tokens: Arc<TokenVerifier>,
    /// None: there is no decoy key.
    verifiers: Option<Arc<Verifiers>>,
}

impl Current {
    fn new(
        settings: &Settings,
        credentials: Credentials,
        decoy: Option<DecoyKey>,
        logins: &LoginGate,
    ) -> Arc<Current> {
        let Credentials { users, token_keys } = credentials;
        let jwt = &settings.jwt;
        let verifiers = |key| users.verifiers(key, settings.auth.scram_iterations);
        Arc::new(Current {
            rules: Rules::new(settings),
            anonymous: settings.auth.anonymous,
            verifiers: decoy.map(verifiers).map(Arc::new),
            accounts: logins.accounts(users),
            tokens: Arc::new(TokenVerifier::new(
                token_keys,
                jwt.issuer.clone(),
                jwt.audience.clone(),
            )),
        })
    }
}

impl Bridge {
    /// Rooms by the rules of `settings`, for clients with these credentials, and for anonymous
    /// clients if the settings allow.
    pub fn new(settings: &Settings, credentials: impl Into<Credentials>) -> Arc<Bridge> {
        let decoy = random_bytes().ok().map(DecoyKey);
        let logins = LoginGate::new(&settings.limits);
        let current = Current::new(settings, credentials.into(), decoy, &logins);
        Arc::new(Bridge {
            lane_rules: Arc::new(RulesMemo::new(&current.rules)),
            current: RwLock::new(current),
            version: AtomicU64::new(0),
            logins,
            decoy,
            revoked: RwLock::default(),
            errors: Mutex::default(),
        })
    }

    /// Answers by these credentials, and by the rules of these settings, from now on. Lanes follow the rules
    /// once the server has appended them. Verified passwords are forgotten.
    pub fn reload(&self, settings: &Settings, credentials: impl Into<Credentials>) {
        let new = Current::new(settings, credentials.into(), self.decoy, &self.logins);
        let changed = self
            .current()
            .accounts
            .users()
            .changed(new.accounts.users());
        let version = self.version.load(Ordering::Acquire) + 1;
        let levels = changed.iter().map(|name| topics::user_level(name));
        self.revoked
            .write()
            .extend(levels.map(|level| (level, version)));
        *self.current.write() = new;
        self.version.fetch_add(1, Ordering::Release);
    }

    fn current(&self) -> Arc<Current> {
        Arc::clone(&self.current.read())
    }
}

impl Policy for Bridge {
    fn connect(&self, request: ConnectRequest) -> BoxFuture<'_, Result<Principal, Refusal>> {
        Box::pin(async move {
            let current = self.current();
            // Devices with fixed flags send both fields empty, and mean that they have none.
            let user_name = request.user_name.as_deref().filter(|name| !name.is_empty());
            let token = request.password.as_deref().filter(|text| !text.is_empty());
            if let (None, Some(token)) = (&request.certificate_user, token)
                && current.tokens.is_on()
                && jwt::login::is_token(user_name, token)
            {
                return jwt::login::principal(&current.tokens, user_name, token, request.now);
            }
            let claim = match &request.certificate_user {
                Some(certificate) => authorize::certified(certificate, user_name)?,
                None => authorize::connect(
                    current.anonymous,
                    &request.client_id,
                    user_name,
                    request
                        .password
                        .as_ref()
                        .is_some_and(|text| !text.is_empty()),
                )?,
            };
            match claim {
                ClaimedIdentity::Anonymous(principal) => Ok(principal),
                ClaimedIdentity::Certificate(mut principal) => {
                    // The users file does not decide about it.
                    principal.credential = Some(Arc::new(Credential {
                        expires: None,
                        claims: Box::new(()),
                    }));
                    Ok(principal)
                }
                ClaimedIdentity::Password(name) => {
                    let password = request.password.clone().unwrap_or_default();
                    let key = self.logins.key(name, request.peer);
                    // A reload may come before this login's turn.
                    let accounts = || self.current().accounts.clone();
                    let checked = self.logins.check(key, accounts, name.to_owned(), password);
                    match checked.await {
                        Ok(true) => Ok(authorize::principal(name)),
                        Ok(false) => Err(authorize::wrong_credentials()),
                        Err(refused) => Err(login::too_many_wait(refused)),
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
        let tokens = self.current.read().tokens.clone();
        let by_token = method == jwt::METHOD && tokens.is_on();
        if !by_token {
            login::check_method(method)?;
        }
        // A client with a certificate can only be the user of that certificate.
        let expected = match request.certificate_user {
            Some(certificate) => {
                let user_name = request.user_name.as_deref().filter(|name| !name.is_empty());
                authorize::certified(&certificate, user_name)?;
                Some(certificate)
            }
            None => request.user_name.filter(|name| !name.is_empty()),
        };
        if by_token {
            return Ok(Box::new(TokenExchange::new(tokens, expected, request.now)));
        }
        let verifiers = self.current.read().verifiers.clone();
        let (Some(verifiers), Ok(nonce)) = (verifiers, random_bytes()) else {
            tracing::error!("SCRAM: the system gives no random bytes");
            return Err(login::no_random_bytes());
        };
        Ok(Box::new(ScramLogin {
            exchange: Exchange::new(verifiers, expected, nonce),
            gate: self.logins.clone(),
            peer: request.peer,
        }))
    }

    fn response_information(&self, who: &Principal) -> Option<String> {
        Some(topics::inbox_response(&who.user))
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
            &self.current.read().rules,
            who,
            filter,
        )))
    }

    fn recheck(&self, who: &Principal) -> Result<(), Refusal> {
        let is_gone = match TokenRights::of(who) {
            Some(rights) => !self.current.read().tokens.has_key(rights.key),
            // Logged in by password.
            None if who.authenticated && who.credential.is_none() => {
                let revoked = self.revoked.read();
                let since = revoked.get(&*who.user);
                since.is_some_and(|since| who.generation < *since)
            }
            None => false,
        };
        if is_gone {
            return Err(authorize::login_revoked());
        }
        Ok(())
    }

    fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    fn publish(
        &self,
        who: &Principal,
        topic: &TopicName,
        _: bool,
    ) -> Result<PublishPermit, Refusal> {
        authorize::publish(&self.current.read().rules, who, topic)
    }

    fn notice(
        &self,
        who: &Principal,
        attempt: Attempt<'_>,
        refusal: &Refusal,
        now: u64,
        wall: WallTime,
    ) -> Option<Notice> {
        let mut errors = self.errors.lock();
        let suppressed = errors.admit(&who.user, attempt, refusal.code, now)?;
        drop(errors);
        let error = inbox_error::error(&who.user, attempt, refusal, suppressed, wall);
        Some(error)
    }
}

impl LaneHooks for Bridge {
    fn open(&self, _: u16) -> Box<dyn LaneHook> {
        Box::new(LaneRooms::new(self.lane_rules.clone()))
    }

    fn rules(&self) -> Vec<u8> {
        self.current.read().rules.encoded.clone()
    }
}

#[cfg(test)]
mod tests;
