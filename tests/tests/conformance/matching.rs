//! Compares a packet with the one that a row expects.

use crate::encode::Ids;
use crate::field::{Field, property_named};
use crate::packet::Packet;
use crate::step::{Level, Shape};
use crate::word::{Value, Variables, Word, fits};

/// The expected values of fields that a row does not name. Other fields may have any value.
const USUAL: [(&str, &str, &str); 13] = [
    ("connack", "present", "0"),
    ("connack", "code", "0"),
    ("publish", "dup", "0"),
    ("publish", "qos", "0"),
    ("publish", "retain", "0"),
    // 0x10: no subscriber matches.
    ("puback", "code", "0|0x10"),
    ("pubrec", "code", "0|0x10"),
    ("pubrel", "code", "0"),
    ("pubcomp", "code", "0"),
    ("suback", "code", "<0x80"),
    ("unsuback", "code", "<0x80"),
    ("disconnect", "code", ">=0x80"),
    ("auth", "code", "0x18"),
];

/// The packet that an answer acknowledges. Its packet id is that of the last such packet.
const ANSWERS: [(&str, &str); 6] = [
    ("puback", "publish"),
    ("pubrec", "publish"),
    ("pubrel", "pubrec"),
    ("pubcomp", "pubrel"),
    ("suback", "subscribe"),
    ("unsuback", "unsubscribe"),
];

/// The differences of the packet; none if it matches. Unbound names are bound.
pub fn difference(
    shape: &Shape,
    packet: &Packet,
    level: Level,
    ids: &Ids,
    variables: &mut Variables,
) -> Result<(), String> {
    if shape.kind != packet.kind {
        return Err(format!("it is no {}", shape.kind));
    }
    let mut named = vec![];
    for (name, words) in grouped(shape) {
        let values: Vec<&Field> = packet
            .fields
            .iter()
            .filter(|(n, _)| *n == name)
            .map(|(_, field)| field)
            .collect();
        // 3.1.1 has no codes in UNSUBACK. A row for both versions has those of 5.0.
        let without = packet.kind == "unsuback" && name == "code" && level != Level::V5;
        if !without {
            all_fit(&name, &words, &values, variables)?;
        }
        named.push(name);
    }
    for (kind, name, pattern) in USUAL {
        if kind == packet.kind && !named.iter().any(|n| n == name) {
            for (_, field) in packet.fields.iter().filter(|(n, _)| *n == name) {
                if let Field::Number(n) = field
                    && !fits(pattern, *n)?
                {
                    return Err(format!("{name} is {n} and should be {pattern}"));
                }
            }
        }
    }
    if !named.iter().any(|name| name == "id") {
        let asked = ANSWERS.iter().find(|(kind, _)| *kind == packet.kind);
        let expected = asked.and_then(|(_, of)| ids.sent.get(*of)).copied();
        if expected.is_some() && packet.number("id") != expected {
            return Err(format!("the packet id should be {}", expected.unwrap_or(0)));
        }
    }
    for word in shape.words.iter().filter_map(Word::bare) {
        if let Some(name) = word.strip_prefix('!')
            && packet.fields.iter().any(|(n, _)| *n == name)
        {
            return Err(format!("{name} should not be there"));
        }
        if word == "exact" {
            let more = packet
                .fields
                .iter()
                .find(|(n, _)| property_named(n).is_some() && !named.iter().any(|name| name == n));
            if let Some((name, _)) = more {
                return Err(format!("{name} should not be there"));
            }
        }
    }
    Ok(())
}

/// The words for each field: those with a key, and those that are known by their position.
fn grouped(shape: &Shape) -> Vec<(String, Vec<&Word>)> {
    let mut groups: Vec<(String, Vec<&Word>)> = Vec::new();
    let mut places = match shape.kind.as_str() {
        "publish" => vec!["payload", "topic"],
        _ => vec![],
    };
    for word in &shape.words {
        let name = match (&word.key, word.bare()) {
            (Some(key), _) => key.clone(),
            (None, Some(bare)) if bare == "exact" || bare.starts_with('!') => continue,
            (None, _) => places.pop().unwrap_or("code").to_owned(),
        };
        match groups.iter_mut().find(|(n, _)| *n == name) {
            Some((_, words)) => words.push(word),
            None => groups.push((name, vec![word])),
        }
    }
    groups
}

fn all_fit(
    name: &str,
    words: &[&Word],
    values: &[&Field],
    variables: &mut Variables,
) -> Result<(), String> {
    if words.len() != values.len() {
        let found = values.len();
        return Err(format!("{name}: {found} and not {} of it", words.len()));
    }
    let mut left = values.to_vec();
    for word in words {
        // The order of subscription identifiers means nothing [5.0 MQTT-3.3.4-4].
        let candidates = if name == "subscription-id" {
            left.len()
        } else {
            1
        };
        let mut found = None;
        for (at, field) in left.iter().enumerate().take(candidates) {
            if one_fits(word, field, variables)? {
                found = Some(at);
                break;
            }
        }
        let Some(at) = found else {
            return Err(format!("{name} is {}", left[0].shown()));
        };
        left.remove(at);
    }
    Ok(())
}

fn one_fits(word: &Word, field: &Field, variables: &mut Variables) -> Result<bool, String> {
    match (&word.value, field) {
        (Value::Bare(bare), _) if bare == "*" => Ok(true),
        (Value::Bare(bare), _) if bare.starts_with('$') => {
            let name = bare[1..].to_owned();
            let value = field.variable();
            Ok(*variables.entry(name).or_insert_with(|| value.clone()) == value)
        }
        (Value::Bare(pattern), Field::Number(n)) => fits(pattern, *n),
        (Value::Text(text), Field::Bytes(bytes)) => Ok(text.fill(variables)? == *bytes),
        (Value::Bare(bare), Field::Bytes(_)) => Err(format!("{bare} should be in quotes")),
        (Value::Text(_), Field::Number(_)) => Err("a number should not be in quotes".to_owned()),
    }
}
