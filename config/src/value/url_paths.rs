//! Paths of URLs: one, or a list. `*` stands for all.

use super::{Hint, text};
use crate::settings::WebSocket;
use config::ValueKind;

pub(crate) fn read(value: &ValueKind, (): ()) -> Result<Vec<String>, Hint> {
    let wanted = || {
        r#"give the path of a URL such as "/mqtt", a list such as ["/mqtt", "/ws"], or "*" for all"#
            .to_owned()
    };
    let paths = match value {
        ValueKind::Array(items) => items.iter().map(|item| path(&item.kind)).collect(),
        one => path(one).map(|path| vec![path]),
    };
    paths
        .filter(|paths: &Vec<_>| !paths.is_empty())
        .ok_or_else(wanted)
}

pub(crate) fn show(paths: &Vec<String>) -> toml::Value {
    match paths.as_slice() {
        [one] => one.clone().into(),
        all => all.to_vec().into(),
    }
}

fn path(value: &ValueKind) -> Option<String> {
    let plain = |c: char| c.is_ascii_graphic() && !"?#".contains(c);
    let good = |path: &str| path.starts_with('/') && path.chars().all(plain);
    text(value)
        .filter(|path| *path == WebSocket::ANY_PATH || good(path))
        .map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths() {
        for (text, good) in [
            ("/", true),
            ("/mqtt/a", true),
            ("*", true),
            ("mqtt", false),
            ("/a?b", false),
        ] {
            let one = read(&ValueKind::from(text), ());
            let list = read(&ValueKind::from(vec!["/x", text]), ());
            assert_eq!((one.is_ok(), list.is_ok()), (good, good), "{text}");
        }
        assert!(read(&ValueKind::from(Vec::<String>::new()), ()).is_err());
        let one = read(&ValueKind::from("/x"), ()).map(|paths| show(&paths));
        assert_eq!(one, Ok("/x".into()));
    }
}
