//! May-I answers, as pure functions of the rules. What needs a room's state (full, banned, not there yet)
//! is judged in the lane; what was found out here travels there as proof.

use crate::filters::starts_wild;
use crate::join_proof::JoinProof;
use crate::notice::no_room;
use crate::room_policy::Creators;
use crate::rules::Rules;
use crate::topics::{self, FilterScope, TopicKind};
use roommq_broker::packet::{ReasonCode, TopicFilter, TopicName};
use roommq_broker::policy::{Mount, Principal, PublishPermit, Refusal, SubscribeGrant};
use roommq_config::SysReaders;

/// How a CONNECT says who it is.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum ClaimedIdentity<'a> {
    /// Let in without a password.
    Anonymous(Principal),
    /// The user name, as given; the password is to be checked.
    Password(&'a str),
    /// A certificate that has been verified says who it is.
    Certificate(Principal),
}

fn refused(code: ReasonCode, reason: impl Into<String>) -> Refusal {
    Refusal {
        code,
        reason: reason.into(),
    }
}

/// The same for an unknown user and for a wrong password.
pub(crate) fn wrong_credentials() -> Refusal {
    let code = ReasonCode::BadUserNameOrPassword;
    refused(code, "the user name or the password is wrong")
}

/// As whom a CONNECT asks to be let in. A user name never falls back to anonymous.
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
            let user = topics::anonymous_level(client_id);
            Ok(ClaimedIdentity::Anonymous(Principal::new(user, false)))
        }
        (None, false) => Err(refused(
            ReasonCode::NotAuthorized,
            "connect with a user name and a password; nobody is let in without",
        )),
    }
}

/// As whom somebody is let in whose verified certificate names `certificate`. A CONNECT may name the same user, and no
/// other; a password says nothing beside it.
pub(crate) fn certified<'a>(
    certificate: &str,
    user_name: Option<&str>,
) -> Result<ClaimedIdentity<'a>, Refusal> {
    if let Err(bad) = topics::user_name(certificate) {
        let reason = format!("the certificate's name is no user's: {bad}");
        return Err(refused(ReasonCode::NotAuthorized, reason));
    }
    match user_name {
        Some(name) if name != certificate => Err(refused(
            ReasonCode::NotAuthorized,
            format!(
                "the certificate is that of {certificate}; connect as that user, or without a user name"
            ),
        )),
        _ => Ok(ClaimedIdentity::Certificate(principal(certificate))),
    }
}

/// Who the user is, once that is proved.
pub(crate) fn principal(user_name: &str) -> Principal {
    Principal::new(topics::user_level(user_name), true)
}

/// The filter that `filter` stands for; one that would be too long stands for itself.
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
    let granted = |guarded: bool, proof: Vec<u8>| SubscribeGrant {
        filter: filter.clone(),
        mount: None,
        guarded,
        proof,
    };
    match topics::scope(inner) {
        FilterScope::Outside if topics::is_sys(inner) => {
            tells_of_itself(rules.sys, who).map(|()| granted(false, Vec::new()))
        }
        FilterScope::Outside => {
            rules.access.subscribe(who, filter)?;
            Ok(granted(false, Vec::new()))
        }
        FilterScope::Spanning if starts_wild(inner) => {
            // Of rooms and inboxes a group that spans them gets nothing (see `LaneHook::may_share`); of all else
            // whatever its filter says, since nobody asks which member may see what.
            match filter.share_group() {
                Some(_) => rules.access.subscribe(who, filter)?,
                None => rules.access.span(who, filter)?,
            }
            Ok(granted(true, Vec::new()))
        }
        _ if filter.share_group().is_some() => Err(refused(
            ReasonCode::SharedSubscriptionsNotSupported,
            "shared subscriptions in rooms are off",
        )),
        FilterScope::Nothing => Err(refused(
            ReasonCode::TopicFilterInvalid,
            format!("`{inner}` alone names nothing; SUBSCRIBE to rooms/<room>/# or inbox/me/#"),
        )),
        FilterScope::Spanning => Ok(granted(true, Vec::new())),
        FilterScope::Room { room, peek } => {
            let room = topics::room_name(room)
                .map_err(|bad| refused(ReasonCode::TopicFilterInvalid, bad.to_string()))?;
            let proof = admit(rules, who, room)?;
            let proof = if peek { Vec::new() } else { proof.to_bytes() };
            Ok(granted(false, proof))
        }
        FilterScope::Inbox { user: "me" } => own_inbox(who, filter),
        FilterScope::Inbox { user } if *user == *who.user => Ok(granted(false, Vec::new())),
        FilterScope::Inbox { user } => Err(refused(
            ReasonCode::NotAuthorized,
            format!("inbox/{user} is private; yours is inbox/me/#"),
        )),
    }
}

/// Whether `who` may see what the server tells of itself.
fn tells_of_itself(readers: SysReaders, who: &Principal) -> Result<(), Refusal> {
    let text = match readers {
        SysReaders::Anyone => return Ok(()),
        SysReaders::Authenticated if who.authenticated => return Ok(()),
        SysReaders::Authenticated => "$SYS is for users with a password",
        SysReaders::Nobody => "$SYS is shown to nobody here",
    };
    Err(refused(ReasonCode::NotAuthorized, text))
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

/// May `who` publish to `topic`? Asked for a will too.
pub(crate) fn publish(
    rules: &Rules,
    who: &Principal,
    topic: &TopicName,
) -> Result<PublishPermit, Refusal> {
    let permit = |topic: TopicName| Ok(PublishPermit { topic });
    match topics::kind(topic.as_str()) {
        TopicKind::Room { room, rest } => {
            let room = topics::room_name(room)
                .map_err(|bad| refused(ReasonCode::TopicNameInvalid, bad.to_string()))?;
            if let Some(level) = rest.and_then(topics::reserved_level) {
                return Err(reserved(level));
            }
            admit(rules, who, room)?;
            permit(topic.clone())
        }
        TopicKind::Inbox { user, rest } => {
            if !rest.is_some_and(|rest| topics::is_direct_message(rest, &who.user)) {
                return Err(refused(
                    ReasonCode::NotAuthorized,
                    format!("into an inbox write to inbox/<user>/dm/{} only", who.user),
                ));
            }
            if user == "me" {
                let own = topics::own_inbox(topic.as_str(), &who.user).unwrap_or_default();
                let own = TopicName::new(own.into()).map_err(|error| {
                    let reason = format!("with your user name in it: {error}");
                    refused(ReasonCode::TopicNameInvalid, reason)
                })?;
                permit(own)
            } else {
                permit(topic.clone())
            }
        }
        TopicKind::Rooms | TopicKind::Inboxes => Err(refused(
            ReasonCode::TopicNameInvalid,
            format!("`{topic}` alone names nothing; PUBLISH to rooms/<room>"),
        )),
        TopicKind::Outside => {
            rules.access.publish(who, topic)?;
            permit(topic.clone())
        }
    }
}

/// Whether `who` may be in `room` or write into it, as far as the rules alone say.
fn admit(rules: &Rules, who: &Principal, room: &str) -> Result<JoinProof, Refusal> {
    let policy = rules.rooms.of(room);
    if !policy.admits(&who.user) {
        return Err(refused(
            ReasonCode::NotAuthorized,
            format!("{room} is for its members; ask an owner to be put on it"),
        ));
    }
    if policy.creators == Creators::Nobody {
        return Err(no_room(room, true));
    }
    Ok(JoinProof {
        may_create: policy.may_create(who.authenticated),
    })
}

fn reserved(level: &str) -> Refusal {
    let reason = if topics::is_request(level) {
        "requests under _ctl are not served yet".to_owned()
    } else {
        // Enough to know it by.
        let level: String = level.chars().take(64).collect();
        format!("`{level}` is reserved: levels in rooms that start with `_` are the server's")
    };
    refused(ReasonCode::NotAuthorized, reason)
}

#[cfg(test)]
mod tests;
