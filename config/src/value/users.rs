//! Lists of user names.

use super::{Hint, text};
use config::ValueKind;
use std::collections::BTreeSet;

/// User names as in CONNECT. `~<client id>` is an anonymous user.
pub(crate) fn read(value: &ValueKind, (): ()) -> Result<BTreeSet<String>, Hint> {
    let ValueKind::Array(items) = value else {
        return Err(r#"give a list of users, such as ["alice", "bob"]"#.to_owned());
    };
    items
        .iter()
        .map(|item| {
            let name = text(&item.kind).ok_or(r#"give users' names, such as ["alice", "bob"]"#)?;
            match name {
                "" => Err("a user's name is not empty".to_owned()),
                "me" => Err("no user is called `me`; give the names of users".to_owned()),
                _ if name.starts_with('_') => Err(format!(
                    "no user's name starts with `_`, as {name:?} does; give the names of users"
                )),
                _ => Ok(name.to_owned()),
            }
        })
        .collect()
}

pub(crate) fn show(users: &BTreeSet<String>) -> toml::Value {
    Vec::from_iter(users.clone()).into()
}
