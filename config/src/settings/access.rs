//! Who may publish and subscribe to what, outside rooms and inboxes.

use globset::GlobMatcher;

/// What holds for some topics and some users. Of an action that it leaves out it says nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessRule {
    /// MQTT filters, well formed, at least one. `%u` stands for the user's name and `%c` for the client id, both as
    /// in a topic level. None is for rooms, inboxes or `$SYS`, and none is shared.
    pub topics: Vec<String>,
    /// For whom it is; none: for everybody. Never empty.
    pub users: Option<Vec<UserPattern>>,
    /// Whether they may publish.
    pub publish: Option<Permission>,
    /// Whether they may subscribe.
    pub subscribe: Option<Permission>,
}

/// A yes or a no that somebody wrote down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Permission {
    /// They may.
    Allow,
    /// They may not.
    Deny,
}

/// A glob on users' names as they connect, `~<client id>` for those without credentials.
#[derive(Debug, Clone)]
pub struct UserPattern {
    /// As it stands in the file.
    pub text: String,
    /// As it matches.
    pub matcher: GlobMatcher,
}

/// Two patterns are the same when they are written the same.
impl PartialEq for UserPattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for UserPattern {}
