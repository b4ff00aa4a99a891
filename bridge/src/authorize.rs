//! Authorization as pure functions of the rules: may this client connect, subscribe, publish?
//!
//! The lane decides what needs a room's state (it is full, it does not exist). The results of this
//! file travel to the lane as a proof in the entry.

use crate::filters::starts_wild;
use crate::jwt::TokenRights;
use crate::rules::Rules;
use roommq_broker::packet::{ReasonCode, TopicFilter, TopicName};
use roommq_broker::policy::{Mount, Principal, PublishPermit, Refusal, SubscribeGrant};
use roommq_config::SysReaders;
use roommq_rooms::topics::{self, FilterScope, TopicKind};
use roommq_rooms::{Creators, JoinProof, no_room, not_authorized, refused};

/// The user that a CONNECT claims to be, and by what.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum ClaimedIdentity<'a> {
    /// No user name; anonymous clients are allowed.
    Anonymous(Principal),
    /// The user name as given. The password has yet to be checked.
    Password(&'a str),
    /// The user of a verified certificate.
    Certificate(Principal),
}

/// The same refusal for an unknown user and for a wrong password.
pub(crate) fn wrong_credentials() -> Refusal {
    let code = ReasonCode::BadUserNameOrPassword;
    refused(code, "the user name or the password is wrong")
}

/// The reason to end a connection whose user, password or key is not valid any more.
pub(crate) fn login_revoked() -> Refusal {
    not_authorized(
        "the user, its password or the key of its token has been removed or changed; log in again",
    )
}

/// The identity that a CONNECT claims. A CONNECT with a user name is never anonymous.
pub(crate) fn connect<'a>(
    anonymous: bool,
    client_id: &str,
    user_name: Option<&'a str>,
    has_password: bool,
) -> Result<ClaimedIdentity<'a>, Refusal> {
    match (user_name, has_password) {
        (Some(name), true) => match topics::user_name(name) {
            Ok(user_name) => Ok(ClaimedIdentity::Password(user_name)),
            Err(bad) => Err(refused(ReasonCode::BadUserNameOrPassword, bad.to_string())),
        },
        (Some(_), false) => Err(wrong_credentials()),
        (None, true) => Err(refused(
            ReasonCode::BadUserNameOrPassword,
            "a password needs a user name",
        )),
        (None, false) if anonymous => {
            let user = topics::anonymous_level(client_id)
                .map_err(|bad| refused(ReasonCode::ClientIdentifierNotValid, bad.to_string()))?;
            Ok(ClaimedIdentity::Anonymous(Principal::new(user, false)))
        }
        (None, false) => Err(not_authorized(
            "connect with a user name and a password; nobody is let in without",
        )),
    }
}

/// The identity of a client whose verified certificate names the user `certificate`.
///
/// The server refuses the connection with 0x87 if `certificate` is no valid user name, or if the
/// CONNECT names another user. It ignores a password.
pub(crate) fn certified<'a>(
    certificate: &str,
    user_name: Option<&str>,
) -> Result<ClaimedIdentity<'a>, Refusal> {
    if let Err(bad) = topics::user_name(certificate) {
        let reason = format!("the certificate's name is no user name here: {bad}");
        return Err(not_authorized(reason));
    }
    match user_name {
        Some(name) if name != certificate => Err(not_authorized(format!(
            "the certificate is that of {certificate}; connect as that user, or without a user name"
        ))),
        _ => Ok(ClaimedIdentity::Certificate(principal(certificate))),
    }
}

/// The principal of a user whose identity is proved.
pub(crate) fn principal(user_name: &str) -> Principal {
    Principal::new(topics::user_level(user_name), true)
}

/// `filter` with the user's own name for `inbox/me`; unchanged if the result would be too long.
pub(crate) fn resolve(who: &Principal, filter: &TopicFilter) -> TopicFilter {
    topics::own_inbox(filter.as_str(), &who.user)
        .and_then(|own| TopicFilter::new(own.into()).ok())
        .unwrap_or_else(|| filter.clone())
}

/// May `who` subscribe to `filter`?
pub(crate) fn subscribe(
    rules: &Rules,
    who: &Principal,
    filter: &TopicFilter,
) -> Result<SubscribeGrant, Refusal> {
    let inner = filter.inner();
    let granted = |guarded: bool, proof: Vec<u8>| {
        Ok(SubscribeGrant {
            filter: filter.clone(),
            mount: None,
            guarded,
            proof,
        })
    };
    let rights = TokenRights::of(who);
    let said = rights.and_then(|rights| rights.subscribe(inner));
    match topics::scope(inner) {
        FilterScope::Outside if said == Some(true) && !topics::is_sys(inner) => {
            granted(false, Vec::new())
        }
        // A lane knows the rules of the server, and no token: a filter that spans rooms is refused if
        // the token denies a part of it.
        FilterScope::Outside | FilterScope::Spanning if said == Some(false) => {
            Err(not_by_token("subscribe to this filter"))
        }
        FilterScope::Outside | FilterScope::Spanning
            if rights.is_some_and(|rights| rights.only) =>
        {
            Err(not_by_token("subscribe to this filter; name one room"))
        }
        FilterScope::Outside if topics::is_sys(inner) => {
            read_sys(rules.sys, who)?;
            granted(false, Vec::new())
        }
        FilterScope::Outside => {
            rules.access.subscribe(who, filter)?;
            granted(false, Vec::new())
        }
        FilterScope::Spanning if starts_wild(inner) => {
            // A shared subscription gets no message of rooms and inboxes (see
            // `LaneHook::may_share`). Its other messages are not checked by member, so the whole
            // filter must be allowed.
            match filter.share_group() {
                Some(_) => rules.access.subscribe(who, filter)?,
                None => rules.access.span(who, filter)?,
            }
            granted(true, Vec::new())
        }
        _ if filter.share_group().is_some() => Err(refused(
            ReasonCode::SharedSubscriptionsNotSupported,
            "rooms have no shared subscriptions; subscribe without $share",
        )),
        FilterScope::Nothing => Err(refused(
            ReasonCode::TopicFilterInvalid,
            format!("`{inner}` alone names nothing; SUBSCRIBE to rooms/<room>/# or inbox/me/#"),
        )),
        FilterScope::Spanning => granted(true, Vec::new()),
        FilterScope::Room { room, peek } => {
            let room = topics::room_name(room)
                .map_err(|bad| refused(ReasonCode::TopicFilterInvalid, bad.to_string()))?;
            let proof = admit(rules, who, room)?;
            let proof = if peek { Vec::new() } else { proof.to_bytes() };
            granted(false, proof)
        }
        FilterScope::Inbox { user: "me" } => own_inbox(who, filter),
        FilterScope::Inbox { user } if *user == *who.user => granted(false, Vec::new()),
        FilterScope::Inbox { user } => Err(not_authorized(format!(
            "inbox/{user} is private; yours is inbox/me/#"
        ))),
    }
}

/// May `who` subscribe to `$SYS`?
fn read_sys(readers: SysReaders, who: &Principal) -> Result<(), Refusal> {
    let text = match readers {
        SysReaders::Anyone => return Ok(()),
        SysReaders::Authenticated if who.authenticated => return Ok(()),
        SysReaders::Authenticated => "$SYS is for users with a password",
        SysReaders::Nobody => "$SYS is shown to nobody here",
    };
    Err(not_authorized(text))
}

fn own_inbox(who: &Principal, filter: &TopicFilter) -> Result<SubscribeGrant, Refusal> {
    let own = topics::own_inbox(filter.as_str(), &who.user).unwrap_or_default();
    let own = TopicFilter::new(own.into()).map_err(|error| {
        let reason = format!("with your user name in it: {error}");
        refused(ReasonCode::TopicFilterInvalid, reason)
    })?;
    Ok(SubscribeGrant {
        filter: own,
        mount: Some(Mount {
            real: topics::inbox_prefix(&who.user),
            shown: topics::inbox_prefix("me"),
        }),
        guarded: false,
        proof: Vec::new(),
    })
}

/// May `who` publish to `topic`? Also asked for a will.
pub(crate) fn publish(
    rules: &Rules,
    who: &Principal,
    topic: &TopicName,
) -> Result<PublishPermit, Refusal> {
    let permit = |resolved: Option<TopicName>| Ok(PublishPermit { resolved });
    match topics::kind(topic.as_str()) {
        TopicKind::Room { room, rest } => {
            let room = topics::room_name(room)
                .map_err(|bad| refused(ReasonCode::TopicNameInvalid, bad.to_string()))?;
            if let Some(level) = rest.and_then(topics::reserved_level) {
                return Err(reserved(level));
            }
            admit(rules, who, room)?;
            let granted = TokenRights::of(who).and_then(|rights| rights.room(room));
            if granted.is_some_and(|grant| !grant.publish) {
                return Err(not_by_token("publish in this room"));
            }
            permit(None)
        }
        TopicKind::Inbox { user, rest } => {
            let may = |rest: &str| {
                topics::is_direct_message(rest, &who.user) || topics::is_response(rest)
            };
            if !rest.is_some_and(may) {
                return Err(not_authorized(format!(
                    "into an inbox write to inbox/<user>/dm/{} or inbox/<user>/response only",
                    who.user
                )));
            }
            if user == "me" {
                let own = topics::own_inbox(topic.as_str(), &who.user).unwrap_or_default();
                let own = TopicName::new(own.into()).map_err(|error| {
                    let reason = format!("with your user name in it: {error}");
                    refused(ReasonCode::TopicNameInvalid, reason)
                })?;
                permit(Some(own))
            } else {
                permit(None)
            }
        }
        TopicKind::Rooms | TopicKind::Inboxes => Err(refused(
            ReasonCode::TopicNameInvalid,
            format!("`{topic}` alone names nothing; PUBLISH to rooms/<room>"),
        )),
        TopicKind::Outside => {
            let rights = TokenRights::of(who);
            let said = rights.and_then(|rights| rights.publish(topic.as_str()));
            match said {
                // What the server writes itself is nobody's to grant.
                Some(true) if !topics::is_reserved(topic.as_str()) => {}
                Some(false) => return Err(not_by_token("publish to this topic")),
                None if rights.is_some_and(|rights| rights.only) => {
                    return Err(not_by_token("publish to this topic"));
                }
                _ => rules.access.publish(who, topic)?,
            }
            permit(None)
        }
    }
}

/// May `who` join `room` and publish into it, by the rules alone?
fn admit(rules: &Rules, who: &Principal, room: &str) -> Result<JoinProof, Refusal> {
    let policy = rules.rooms.of(room);
    let rights = TokenRights::of(who);
    let granted = rights.and_then(|rights| rights.room(room));
    if granted.is_none() && rights.is_some_and(|rights| rights.only) {
        return Err(not_by_token(&format!("enter {room}")));
    }
    if granted.is_none() && !policy.admits(&who.user) {
        return Err(not_authorized(format!(
            "{room} is for its members; ask the server's operator to add you"
        )));
    }
    if policy.creators == Creators::Nobody {
        return Err(no_room(room, true));
    }
    Ok(JoinProof {
        may_create: policy.may_create(who.authenticated),
    })
}

fn not_by_token(what: &str) -> Refusal {
    not_authorized(format!("your token does not let you {what}"))
}

fn reserved(level: &str) -> Refusal {
    let reason = if topics::is_request(level) {
        "requests under _ctl are not served yet".to_owned()
    } else {
        // Shortened: enough to recognise the level.
        let level: String = level.chars().take(64).collect();
        format!("`{level}` is reserved: levels in rooms that start with `_` are the server's")
    };
    not_authorized(reason)
}

#[cfg(test)]
mod tests;
