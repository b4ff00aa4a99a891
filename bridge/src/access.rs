//! The access rules of the settings: who may publish and subscribe outside rooms and inboxes.
//!
//! The first `[[access]]` for the user, the topic and the action decides. If none applies,
//! `topics.outside_rooms` and `topics.dollar` decide.
//!
//! A SUBSCRIBE is checked with its whole filter, so the messages of a granted filter need no check.
//! The exception is a filter that starts with a wildcard: it is guarded, and each message is
//! checked, as for rooms ([decision 14](../../docs/decisions/0014-access-rules.md)).

use crate::filters::{covers, levels, overlaps};
use roommq_broker::packet::{TopicFilter, TopicName};
use roommq_broker::policy::{Principal, Refusal};
use roommq_config::{AccessRule, NamePattern, Permission, Settings};
use roommq_rooms::topics;
use roommq_rooms::{OutsideTopics, not_authorized};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::str::Split;

/// All rules in their order, and the defaults. They travel in the log of a lane, with patterns as
/// text.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct AccessRules {
    rules: Vec<TopicRule>,
    /// Whether topics to which no rule applies are allowed.
    outside: bool,
    /// The same for topics that start with `$`.
    dollar: bool,
}

/// One `[[access]]`.
#[derive(Debug, Serialize, Deserialize)]
struct TopicRule {
    patterns: Vec<FilterPattern>,
    /// The users that the rule is for. None: everybody.
    users: Option<Vec<UserPattern>>,
    publish: Option<Permission>,
    subscribe: Option<Permission>,
}

/// The refusal of a bridge that is no user.
const BRIDGE_STATE: &str = "only users with a password tell the state of a bridge; give it a user (remote_username), allow the \
     topic by [[access]], or turn it off (notifications false)";

/// A glob that matches user names.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
struct UserPattern(NamePattern);

/// A topic filter that may contain `%u` and `%c`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
struct FilterPattern {
    text: Box<str>,
    has_client: bool,
}

/// The levels of a pattern with `%u` and `%c` replaced.
///
/// It allocates only if such a word is a part of a level, which is rare: rules are checked for each
/// message to each subscriber of `#`.
struct FilledLevels<'a> {
    texts: Split<'a, char>,
    who: &'a Requester<'a>,
}

/// Whether a filter of a rule applies to a topic or filter.
type FilterTest<'a> = fn(FilledLevels<'a>, &str) -> bool;

/// The user and the client id of a request, as in topic levels.
struct Requester<'a> {
    user: &'a str,
    /// None if it is not known, as in a lane, or if its level has more than 128 bytes.
    client: Option<String>,
}

impl<'a> Requester<'a> {
    fn of(who: &'a Principal) -> Self {
        let id = &*who.client_id;
        let level = (id.len() <= topics::USER_NAME_BYTES).then(|| topics::user_level(id));
        Requester {
            user: &who.user,
            client: level.filter(|level| level.len() <= topics::USER_NAME_BYTES),
        }
    }
}

impl TryFrom<String> for UserPattern {
    type Error = globset::Error;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        NamePattern::of_users(&text).map(UserPattern)
    }
}

impl From<UserPattern> for String {
    fn from(pattern: UserPattern) -> String {
        pattern.0.text
    }
}

impl From<String> for FilterPattern {
    fn from(text: String) -> FilterPattern {
        FilterPattern {
            has_client: text.contains("%c"),
            text: text.into(),
        }
    }
}

impl From<FilterPattern> for String {
    fn from(pattern: FilterPattern) -> String {
        pattern.text.into()
    }
}

impl FilterPattern {
    /// The filter for `who`. If the pattern contains `%c` and the client id is not known, a rule
    /// that denies matches every client id, and a rule that allows matches none.
    fn of<'a>(
        &'a self,
        who: &'a Requester<'a>,
        permission: Permission,
    ) -> Option<FilledLevels<'a>> {
        let filled = || FilledLevels {
            texts: levels(&self.text),
            who,
        };
        if permission == Permission::Deny {
            return Some(filled());
        }
        // Like a wildcard, a name never matches a level that starts with `$`.
        let opens = || filled().next().is_some_and(|first| first.starts_with('$'));
        let by_name = self.text.starts_with('%') && opens();
        let unknown = self.has_client && who.client.is_none();
        (!by_name && !unknown).then(filled)
    }
}

impl<'a> Iterator for FilledLevels<'a> {
    type Item = Cow<'a, str>;

    fn next(&mut self) -> Option<Cow<'a, str>> {
        let level = self.texts.next()?;
        let Requester { user, client } = self.who;
        Some(match (level, client) {
            ("%u", _) => Cow::Borrowed(user),
            ("%c", Some(client)) => Cow::Borrowed(client),
            _ if !level.contains('%') => Cow::Borrowed(level),
            (_, None) if level.contains("%c") => Cow::Borrowed("+"),
            _ => fill(level, user, client.as_deref().unwrap_or_default()).into(),
        })
    }
}

/// Replaces the words in one pass, because an encoded name may itself contain `%c` or `%u`.
fn fill(level: &str, user: &str, client: &str) -> String {
    let mut filled = String::with_capacity(level.len() + user.len());
    let mut rest = level;
    while let Some(at) = rest.find('%') {
        filled.push_str(&rest[..at]);
        let (word, skip) = match rest.as_bytes().get(at + 1) {
            Some(b'u') => (user, 2),
            Some(b'c') => (client, 2),
            _ => ("%", 1),
        };
        filled.push_str(word);
        rest = &rest[at + skip..];
    }
    filled + rest
}

impl TopicRule {
    fn new(rule: &AccessRule) -> TopicRule {
        let users = rule.users.as_ref();
        TopicRule {
            patterns: rule.topics.iter().cloned().map(Into::into).collect(),
            users: users.map(|users| users.iter().cloned().map(UserPattern).collect()),
            publish: rule.publish,
            subscribe: rule.subscribe,
        }
    }

    /// Whether the rule is for `who`, and `test` is true for one of its filters and `name`.
    fn holds<'a>(
        &'a self,
        who: &'a Requester<'a>,
        permission: Permission,
        name: &str,
        test: FilterTest<'a>,
    ) -> bool {
        let pattern = |pattern: &'a FilterPattern| {
            let filter = pattern.of(who, permission);
            filter.is_some_and(|filter| test(filter, name))
        };
        // Globs are slower than filters.
        self.patterns.iter().any(pattern) && self.is_for(who.user)
    }

    fn is_for(&self, user: &str) -> bool {
        let Some(users) = &self.users else {
            return true;
        };
        let name = topics::name_of_level(user);
        users.iter().any(|user| user.0.matcher.is_match(&*name))
    }
}

impl AccessRules {
    pub fn new(settings: &Settings) -> AccessRules {
        let outside = settings.topics.outside_rooms == Permission::Allow;
        AccessRules {
            rules: settings.access_rules.iter().map(TopicRule::new).collect(),
            outside,
            dollar: outside && settings.topics.dollar == Permission::Allow,
        }
    }

    /// The permission of the first rule that applies to `name` and has one for the action.
    ///
    /// A rule that allows applies by the test `allow`, one that denies by `deny`.
    fn permission<'a>(
        &'a self,
        action: fn(&TopicRule) -> Option<Permission>,
        who: &'a Requester<'a>,
        name: &str,
        (allow, deny): (FilterTest<'a>, FilterTest<'a>),
    ) -> Option<Permission> {
        self.rules.iter().find_map(|rule| {
            let permission = action(rule)?;
            let test = match permission {
                Permission::Allow => allow,
                Permission::Deny => deny,
            };
            let holds = rule.holds(who, permission, name, test);
            holds.then_some(permission)
        })
    }

    /// May `who` publish to `topic`, which lies outside rooms and inboxes?
    pub fn publish(&self, who: &Principal, topic: &TopicName) -> Result<(), Refusal> {
        let topic = topic.as_str();
        let bridge_state = topics::is_bridge_state(topic);
        if topics::is_reserved(topic) && !bridge_state {
            let reason = "topics under `$SYS` and `$share` are the server's";
            return Err(not_authorized(reason));
        }
        if self.rules.is_empty() && !bridge_state && self.serves(topic) {
            return Ok(());
        }
        let authenticated = who.authenticated;
        let who = Requester::of(who);
        let said = self.permission(|rule| rule.publish, &who, topic, (covers, covers));
        if bridge_state && said.is_none() {
            return authenticated
                .then_some(())
                .ok_or_else(|| not_authorized(BRIDGE_STATE));
        }
        self.answer(said, topic, "publish to this topic")
    }

    /// May `who` see every topic outside rooms and inboxes that `filter` matches? A rule that
    /// denies a part of them denies the filter.
    pub fn subscribe(&self, who: &Principal, filter: &TopicFilter) -> Result<(), Refusal> {
        let (filter, who) = (filter.inner(), Requester::of(who));
        let said = self.permission(|rule| rule.subscribe, &who, filter, (covers, overlaps));
        self.answer(said, filter, "subscribe to all that this filter matches")
    }

    /// May `who` subscribe to `filter`, which starts with a wildcard and is guarded by
    /// [`AccessRules::may_see`]? It is refused only if a rule denies all of it and no rule before
    /// that one allows a part.
    pub fn span(&self, who: &Principal, filter: &TopicFilter) -> Result<(), Refusal> {
        let (filter, who) = (filter.inner(), Requester::of(who));
        match self.permission(|rule| rule.subscribe, &who, filter, (overlaps, covers)) {
            Some(Permission::Deny) => Err(ruled_out("subscribe to this filter")),
            _ => Ok(()),
        }
    }

    fn answer(&self, said: Option<Permission>, name: &str, what: &str) -> Result<(), Refusal> {
        match said {
            Some(Permission::Allow) => Ok(()),
            Some(Permission::Deny) => Err(ruled_out(what)),
            None if self.serves(name) => Ok(()),
            None => Err(self.not_served(what)),
        }
    }

    /// Whether a topic or filter is allowed if no rule applies.
    fn serves(&self, name: &str) -> bool {
        if name.starts_with('$') {
            self.dollar
        } else {
            self.outside
        }
    }

    fn not_served(&self, what: &str) -> Refusal {
        if !self.rules.is_empty() {
            return ruled_out(what);
        }
        not_authorized(if self.outside {
            "topics that start with `$` are not served here"
        } else {
            "only topics under rooms/ and inbox/ are served here"
        })
    }
}

impl OutsideTopics for AccessRules {
    /// The answer holds for every session of the user: the client id is not known here.
    fn may_see(&self, user: &str, topic: &str) -> bool {
        let who = Requester { user, client: None };
        match self.permission(|rule| rule.subscribe, &who, topic, (covers, covers)) {
            Some(permission) => permission == Permission::Allow,
            None => self.serves(topic),
        }
    }
}

/// The text does not say which rule it was: the rules are not the client's to know.
fn ruled_out(what: &str) -> Refusal {
    not_authorized(format!("the access rules do not let you {what}"))
}

#[cfg(test)]
mod tests;
