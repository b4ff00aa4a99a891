//! Ranges of IP addresses: one, or a list.

use super::{Hint, text};
use crate::settings::IpNetwork;
use config::ValueKind;

pub(crate) fn read(value: &ValueKind, (): ()) -> Result<Vec<IpNetwork>, Hint> {
    let wanted = || {
        r#"give an address or a range of addresses such as "10.0.0.0/8", or a list such as ["10.0.0.0/8", "::1"]"#
            .to_owned()
    };
    let network = |value: &ValueKind| text(value)?.parse().ok();
    let networks = match value {
        ValueKind::Array(items) => items.iter().map(|item| network(&item.kind)).collect(),
        one => network(one).map(|network| vec![network]),
    };
    networks
        .filter(|networks: &Vec<_>| !networks.is_empty())
        .ok_or_else(wanted)
}

pub(crate) fn show(networks: &Vec<IpNetwork>) -> toml::Value {
    let mut all: Vec<toml::Value> = networks.iter().map(|n| n.to_string().into()).collect();
    match all.len() {
        1 => all.remove(0),
        _ => all.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_or_several() {
        let one = read(&ValueKind::from("10.0.0.0/8"), ());
        assert_eq!(one.map(|networks| show(&networks)), Ok("10.0.0.0/8".into()));
        let list = read(&ValueKind::from(vec!["10.0.0.0/8", "::1"]), ());
        assert_eq!(list.map(|networks| networks.len()), Ok(2));
        assert!(read(&ValueKind::from(Vec::<String>::new()), ()).is_err());
        assert!(read(&ValueKind::from(vec!["::1", "proxy"]), ()).is_err());
    }
}
