//! Values that are one of a few words.

use super::{Hint, text};
use crate::settings::{
    ClientCertificates, LogFormat, Permission, PublishRule, RoomCreation, SysReaders, Transport,
    UserFrom,
};
use config::ValueKind;

/// A type whose values are words.
pub(crate) trait Word: Copy + PartialEq + 'static {
    /// Each value with its word.
    const WORDS: &'static [(&'static str, Self)];
}

/// `room.access`: whether everybody or only listed users may join.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum RoomAccessWord {
    #[default]
    Open,
    List,
}

impl Word for RoomAccessWord {
    const WORDS: &'static [(&'static str, Self)] = &[("open", Self::Open), ("list", Self::List)];
}

impl Word for Permission {
    const WORDS: &'static [(&'static str, Self)] = &[("allow", Self::Allow), ("deny", Self::Deny)];
}

impl Word for PublishRule {
    const WORDS: &'static [(&'static str, Self)] =
        &[("anyone", Self::Anyone), ("members", Self::Members)];
}

impl Word for RoomCreation {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("anyone", Self::Anyone),
        ("authenticated", Self::Authenticated),
        ("nobody", Self::Nobody),
    ];
}

impl Word for SysReaders {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("anyone", Self::Anyone),
        ("authenticated", Self::Authenticated),
        ("nobody", Self::Nobody),
    ];
}

impl Word for LogFormat {
    const WORDS: &'static [(&'static str, Self)] = &[("human", Self::Human), ("json", Self::Json)];
}

impl Word for Transport {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("tcp", Self::Tcp),
        ("tls", Self::Tls),
        ("ws", Self::Ws),
        ("wss", Self::Wss),
        ("unix", Self::Unix),
    ];
}

impl Word for ClientCertificates {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("off", Self::Off),
        ("optional", Self::Optional),
        ("required", Self::Required),
    ];
}

impl Word for UserFrom {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("none", Self::Nothing),
        ("common_name", Self::CommonName),
        ("email", Self::Email),
        ("dns", Self::Dns),
    ];
}

pub(crate) fn read<T: Word>(value: &ValueKind, (): ()) -> Result<T, Hint> {
    let word = text(value);
    T::WORDS
        .iter()
        .find(|(name, _)| word == Some(name))
        .map(|(_, meaning)| *meaning)
        .ok_or_else(|| {
            let names: Vec<_> = T::WORDS.iter().map(|(n, _)| format!("`{n}`")).collect();
            format!("give {}", names.join(" or "))
        })
}

pub(crate) fn show<T: Word>(word: &T) -> Option<toml::Value> {
    let (name, _) = T::WORDS.iter().find(|(_, meaning)| meaning == word)?;
    Some(toml::Value::String((*name).to_owned()))
}

/// Words that may be left out.
pub(crate) mod optional {
    use super::{Hint, ValueKind, Word};

    pub(crate) fn read<T: Word>(value: &ValueKind, (): ()) -> Result<Option<T>, Hint> {
        super::read(value, ()).map(Some)
    }

    pub(crate) fn show<T: Word>(word: &Option<T>) -> Option<toml::Value> {
        super::show(word.as_ref()?)
    }
}
