//! The origin of a web page, such as `https://example.org`.

use super::{Hint, text};
use config::ValueKind;

/// Origins as browsers send them: in lower case, without the default port of the scheme.
pub(crate) fn read(value: &ValueKind, (): ()) -> Result<Vec<String>, Hint> {
    let wanted = || r#"give a list of origins, such as ["https://example.org"]"#.to_owned();
    let ValueKind::Array(items) = value else {
        return Err(wanted());
    };
    let origin = |item: &config::Value| {
        let given = text(&item.kind).ok_or_else(wanted)?;
        origin(given).ok_or_else(|| match given.split_once("://") {
            Some((scheme, rest)) if rest.contains('/') => {
                let host = rest.split('/').next().unwrap_or_default();
                format!(
                    "an origin has no path and no slash at its end: write \"{scheme}://{host}\""
                )
            }
            Some((_, rest)) if rest.contains('*') => {
                "an origin has no wildcard: list each one, or leave the key out for all".to_owned()
            }
            None if !given.is_empty() => {
                format!("an origin begins with its scheme: write \"https://{given}\"")
            }
            _ => wanted(),
        })
    };
    items.iter().map(origin).collect()
}

/// Scheme, host and port without a path; or `null`, which a page without an origin sends.
fn origin(text: &str) -> Option<String> {
    let host = text.split_once("://").map(|(_, host)| host);
    let plain = |host: &str| !host.is_empty() && !host.contains(['/', ' ', '*', '?', '#']);
    if text != "null" && !host.is_some_and(plain) {
        return None;
    }
    let text = text.to_ascii_lowercase();
    let own_port = match text.split_once(':') {
        Some(("https", _)) => ":443",
        Some(("http", _)) => ":80",
        _ => return Some(text),
    };
    Some(text.strip_suffix(own_port).unwrap_or(&text).to_owned())
}

pub(crate) fn show(origins: &Vec<String>) -> toml::Value {
    origins.clone().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_have_no_path() {
        let table = [
            ("https://Example.org", Some("https://example.org")),
            ("http://[::1]:8080", Some("http://[::1]:8080")),
            ("https://example.org:443", Some("https://example.org")),
            ("http://example.org:80", Some("http://example.org")),
            ("http://example.org:443", Some("http://example.org:443")),
            ("null", Some("null")),
            ("https://example.org/", None),
            ("https://*.example.org", None),
            ("example.org", None),
            ("https://", None),
            ("", None),
        ];
        for (text, wanted) in table {
            assert_eq!(origin(text).as_deref(), wanted, "{text}");
        }
    }

    #[test]
    fn a_wrong_origin_is_told_what_is_wrong() {
        for (wrong, part) in [
            ("https://example.org/", "write \"https://example.org\""),
            ("https://example.org/chat", "write \"https://example.org\""),
            ("https://*.example.org", "no wildcard"),
            ("example.org", "write \"https://example.org\""),
            ("", "give a list of origins"),
        ] {
            let told = read(&ValueKind::from(vec![wrong]), ());
            assert!(told.is_err_and(|told| told.contains(part)), "{wrong}");
        }
    }
}
