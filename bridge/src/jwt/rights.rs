//! What a token lets its user do, beside or instead of what the rules of the server say.
//!
//! The seam for roles: [`TokenRights::room`] gives the role that a token grants in a room. Access by
//! lists knows only members, so every role above guest joins and publishes as one.

use super::error::TokenError;
use super::keys::KeyDigest;
use crate::filters::{covers, levels, overlaps};
use roommq_broker::packet::TopicFilter;
use roommq_broker::policy::Principal;
use serde::Deserialize;
use std::collections::BTreeMap;

/// The claims about rights, as they come. A restriction that this version does not know makes a token
/// invalid: it must not be ignored.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct RightsClaims {
    #[serde(default)]
    rooms: BTreeMap<String, RoomClaim>,
    #[serde(default)]
    only: bool,
    #[serde(default)]
    acl: Vec<TopicClaim>,
}

/// `"member"`, or `{"role": "member", "publish": false}`.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum RoomClaim {
    Role(TokenRole),
    Grant(RoomGrant),
}

/// What a token grants in a room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RoomGrant {
    #[serde(default)]
    pub role: TokenRole,
    /// Whether the user may publish there.
    #[serde(default = "yes")]
    pub publish: bool,
}

fn yes() -> bool {
    true
}

/// The roles that a token can grant.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum TokenRole {
    Guest,
    #[default]
    Member,
    Moderator,
    Owner,
}

/// `{"permission": "allow", "action": "publish", "topic": "a/#"}`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct TopicClaim {
    permission: TokenPermission,
    action: TokenAction,
    topic: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum TokenPermission {
    Allow,
    Deny,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum TokenAction {
    Publish,
    Subscribe,
    All,
}

/// The rights of one token.
#[derive(Debug, Default)]
pub(crate) struct TokenRights {
    /// The key that has signed the token.
    pub key: KeyDigest,
    /// By name, and by pattern from the longest to the shortest.
    names: BTreeMap<String, RoomGrant>,
    patterns: Vec<(String, RoomGrant)>,
    /// The token grants all that its user may do, beside the user's inbox.
    pub only: bool,
    acl: Vec<TopicClaim>,
}

impl RightsClaims {
    /// The rights, if every pattern and filter is valid.
    pub fn check(self, key: KeyDigest) -> Result<TokenRights, TokenError> {
        let mut rights = TokenRights {
            key,
            only: self.only,
            ..TokenRights::default()
        };
        let mut rooms: Vec<_> = self.rooms.into_iter().collect();
        rooms.sort_by_key(|(pattern, _)| std::cmp::Reverse(pattern.len()));
        for (pattern, claim) in rooms {
            let grant = match claim {
                RoomClaim::Grant(grant) => grant,
                RoomClaim::Role(role) => RoomGrant {
                    role,
                    publish: true,
                },
            };
            if !pattern.bytes().all(is_pattern_byte) {
                return Err(TokenError::Claim("rooms"));
            }
            if pattern.contains(['*', '?']) {
                rights.patterns.push((pattern, grant));
            } else {
                rights.names.insert(pattern, grant);
            }
        }
        for rule in &self.acl {
            // Of EMQX, but not served here: the placeholders, and `eq ` before a topic.
            let other = rule.topic.contains("${") || rule.topic.starts_with("eq ");
            let filter = TopicFilter::new(rule.topic.as_str().into());
            if other || filter.is_ok_and(|filter| filter.share_group().is_some()) {
                return Err(TokenError::Claim("acl"));
            }
            TopicFilter::new(rule.topic.as_str().into()).map_err(|_| TokenError::Claim("acl"))?;
        }
        rights.acl = self.acl;
        Ok(rights)
    }
}

impl TokenRights {
    /// The rights of the token by which `who` has logged in. None: it was no token.
    pub fn of(who: &Principal) -> Option<&TokenRights> {
        who.credential.as_ref()?.claims.downcast_ref()
    }

    /// What the token grants in `room`: by its name, else by the longest pattern that matches.
    pub fn room(&self, room: &str) -> Option<RoomGrant> {
        let by_pattern = || {
            let mut patterns = self.patterns.iter();
            let found = patterns.find(|(pattern, _)| matches(pattern.as_bytes(), room.as_bytes()));
            found.map(|(_, grant)| *grant)
        };
        self.names.get(room).copied().or_else(by_pattern)
    }

    /// Whether the user may publish to `topic`, outside rooms and inboxes. None: the token does not
    /// say.
    pub fn publish(&self, topic: &str) -> Option<bool> {
        let applies = |rule: &&TopicClaim| covers(levels(&rule.topic), topic);
        self.decided(TokenAction::Publish, applies)
    }

    /// Whether the user may subscribe to all that `filter` matches outside rooms and inboxes. None:
    /// the token does not say. A rule that denies a part denies the filter.
    pub fn subscribe(&self, filter: &str) -> Option<bool> {
        let applies = |rule: &&TopicClaim| match rule.permission {
            TokenPermission::Allow => covers(levels(&rule.topic), filter),
            TokenPermission::Deny => overlaps(levels(&rule.topic), filter),
        };
        self.decided(TokenAction::Subscribe, applies)
    }

    /// The permission of the first rule for `action` that applies.
    fn decided(&self, action: TokenAction, applies: impl Fn(&&TopicClaim) -> bool) -> Option<bool> {
        let is_for = |rule: &&TopicClaim| [action, TokenAction::All].contains(&rule.action);
        let mut rules = self.acl.iter().filter(is_for);
        let first = rules.find(applies)?;
        Some(first.permission == TokenPermission::Allow)
    }
}

/// A byte of a room's name, `*` or `?`.
fn is_pattern_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"._~-*?".contains(&byte)
}

/// Whether a pattern with `*` and `?` matches a name. No glob of `[[room]]`: each session with a token
/// keeps its patterns, and a compiled glob takes kilobytes.
fn matches(pattern: &[u8], name: &[u8]) -> bool {
    let (mut at, mut of) = (0, 0);
    // Where the last star stands, and the byte of the name up to which it reaches.
    let mut star = None;
    while of < name.len() {
        match pattern.get(at) {
            Some(b'*') => {
                star = Some((at, of));
                at += 1;
            }
            Some(byte) if *byte == b'?' || *byte == name[of] => {
                at += 1;
                of += 1;
            }
            _ => {
                let Some((position, reached)) = star else {
                    return false;
                };
                star = Some((position, reached + 1));
                (at, of) = (position + 1, reached + 1);
            }
        }
    }
    pattern[at..].iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn patterns_by_table() {
        for (pattern, name, wanted) in [
            ("*", "lobby", true),
            ("ops-*", "ops-", true),
            ("ops-*", "ops", false),
            ("*-1", "a-1-1", true),
            ("*-1", "a-1-2", false),
            ("a*b*c", "abcbc", true),
            ("a*b*c", "abcb", false),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("?", "", false),
            ("**", "", true),
            ("a", "ab", false),
        ] {
            let found = matches(pattern.as_bytes(), name.as_bytes());
            assert_eq!(found, wanted, "{pattern} {name}");
        }
    }
}
