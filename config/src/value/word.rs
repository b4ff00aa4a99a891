//! Values that are one of a few words.

use super::{Hint, text};
use crate::settings::{
    ClientCertificates, LogFormat, Permission, PublishRule, RoomCreation, SysReaders, Transport,
    UserFrom,
};
use config::ValueKind;

/// A type whose values are words.
pub(crate) trait Word: Copy + 'static {
    const VALUES: &'static [Self];
    fn word(self) -> &'static str;
}

macro_rules! words {
    ($($type:ident { $($value:ident = $word:literal),+ })*) => {$(
        impl Word for $type {
            const VALUES: &'static [Self] = &[$(Self::$value),+];

            fn word(self) -> &'static str {
                match self { $(Self::$value => $word),+ }
            }
        }
    )*};
}

words! {
    RoomAccessWord { Open = "open", List = "list" }
    Permission { Allow = "allow", Deny = "deny" }
    PublishRule { Anyone = "anyone", Members = "members" }
    RoomCreation { Anyone = "anyone", Authenticated = "authenticated", Nobody = "nobody" }
    SysReaders { Anyone = "anyone", Authenticated = "authenticated", Nobody = "nobody" }
    LogFormat { Human = "human", Json = "json" }
    Transport { Tcp = "tcp", Tls = "tls", Ws = "ws", Wss = "wss", Unix = "unix" }
    ClientCertificates { Off = "off", Optional = "optional", Required = "required" }
    UserFrom { Nothing = "none", CommonName = "common_name", Email = "email", Dns = "dns" }
}

/// `room.access`: whether everybody or only listed users may join.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum RoomAccessWord {
    #[default]
    Open,
    List,
}

pub(crate) fn read<T: Word>(value: &ValueKind, (): ()) -> Result<T, Hint> {
    let given = text(value);
    let mut values = T::VALUES.iter().copied();
    values
        .find(|value| given == Some(value.word()))
        .ok_or_else(|| {
            let words = T::VALUES.iter().map(|value| format!("`{}`", value.word()));
            format!("give {}", words.collect::<Vec<_>>().join(" or "))
        })
}

pub(crate) fn show<T: Word>(value: &T) -> toml::Value {
    value.word().into()
}
