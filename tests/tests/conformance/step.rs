//! One line of a row: an action, or an expected packet.

use crate::clause::Version;
use crate::field::property_named;
use crate::word::{Value, Word, number, words};
use std::time::Duration;

#[derive(Debug, Clone)]
pub struct Step {
    pub line: usize,
    /// Only in a run of this version.
    pub only: Option<Version>,
    pub text: String,
    pub does: Act,
}

#[derive(Debug, Clone)]
pub enum Act {
    /// In one write.
    Send(char, Vec<Shape>),
    /// At one of these clients.
    Expect(Vec<char>, Expected),
    /// The server closes, in 5.0 with this code. No other packet comes before.
    Closed(char, Closing, Timing),
    Nothing(char),
    Drop(char),
    /// The client's protocol version from here on.
    Speak(char, Level),
    Wait(Duration),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    V31,
    V311,
    V5,
}

/// A packet in a row.
#[derive(Debug, Clone)]
pub struct Shape {
    pub kind: String,
    pub words: Vec<Word>,
}

#[derive(Debug, Clone)]
pub struct Expected {
    pub shape: Shape,
    pub timing: Timing,
    /// In any order with adjacent lines of the same kind.
    pub any_order: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Closing {
    /// With any DISCONNECT or none.
    Any,
    /// Without a byte.
    Silent,
    /// In 5.0 with a DISCONNECT of this code.
    Code(String),
}

/// The time since the previous step.
#[derive(Debug, Clone, Copy, Default)]
pub struct Timing {
    pub after: Option<Duration>,
    pub before: Option<Duration>,
}

const SENT: [&str; 12] = [
    "connect",
    "publish",
    "puback",
    "pubrec",
    "pubrel",
    "pubcomp",
    "subscribe",
    "unsubscribe",
    "pingreq",
    "disconnect",
    "auth",
    "hex",
];

const RECEIVED: [&str; 12] = [
    "connack",
    "publish",
    "puback",
    "pubrec",
    "pubrel",
    "pubcomp",
    "suback",
    "unsuback",
    "pingresp",
    "disconnect",
    "auth",
    "hex",
];

const SENT_FIELDS: &str = "version keepalive clean id username password will will-topic will-qos will-retain name level \
    connect-flags flags qos retain dup code nl rap rh opts raw";
const SENT_WORDS: &str = "keep anywhere";
const RECEIVED_FIELDS: &str = "present code id qos retain dup";

impl Step {
    pub fn parse(line: usize, text: &str) -> Result<Step, String> {
        let (only, rest) = match text.split_once(' ') {
            Some((first, rest)) if Version::from_name(first).is_some() => {
                (Version::from_name(first), rest.trim_start())
            }
            _ => (None, text),
        };
        Ok(Step {
            line,
            only,
            text: text.to_owned(),
            does: act(rest)?,
        })
    }

    /// Whether it names a topic that another row could name as well.
    pub fn names_a_topic_of_all(&self) -> bool {
        let Act::Send(_, shapes) = &self.does else {
            return false;
        };
        shapes.iter().any(|shape| {
            let topics = ["publish", "subscribe", "unsubscribe"].contains(&shape.kind.as_str());
            let first = shape.words.iter().find(|word| word.key.is_none());
            let will = shape
                .words
                .iter()
                .find(|word| word.key.as_deref() == Some("will-topic"));
            let alike = |word: Option<&Word>| match word.map(|word| &word.value) {
                Some(Value::Text(text)) => !text.names("id"),
                _ => false,
            };
            let anywhere = shape
                .words
                .iter()
                .any(|word| word.bare() == Some("anywhere"));
            !anywhere && (topics && alike(first) || alike(will))
        })
    }
}

fn act(text: &str) -> Result<Act, String> {
    let (who, rest) = text.split_once(' ').unwrap_or((text, ""));
    let rest = rest.trim();
    if who == "wait" {
        return Ok(Act::Wait(seconds(rest)?));
    }
    if let Some(name) = who.strip_suffix('>') {
        return sending(client(name)?, rest);
    }
    if let Some(names) = who.strip_suffix("<~") {
        let clients = vec![client(names)?];
        return expecting(clients, rest, true);
    }
    if let Some(names) = who.strip_suffix('<') {
        let clients: Result<Vec<char>, String> = names.split('|').map(client).collect();
        return expecting(clients?, rest, false);
    }
    let name = client(who)?;
    match rest {
        "drop" => Ok(Act::Drop(name)),
        "is 3.1" => Ok(Act::Speak(name, Level::V31)),
        "is 3.1.1" => Ok(Act::Speak(name, Level::V311)),
        "is 5.0" => Ok(Act::Speak(name, Level::V5)),
        _ => Err(format!(
            "{text:?} is no step: a> …, a< …, a<~ …, a|b< …, a drop, a is 3.1.1, wait 1s"
        )),
    }
}

fn client(name: &str) -> Result<char, String> {
    match name.chars().collect::<Vec<char>>()[..] {
        [c @ 'a'..='z'] => Ok(c),
        _ => Err(format!("{name:?} is no client; they are a to z")),
    }
}

fn sending(client: char, text: &str) -> Result<Act, String> {
    let mut shapes = Vec::new();
    for part in words(text)?.split(|word| word.bare() == Some(";")) {
        let shape = shape(part, &SENT)?;
        if shape.kind != "hex" {
            for word in &shape.words {
                check(word, SENT_FIELDS, SENT_WORDS, true)?;
            }
        }
        shapes.push(shape);
    }
    Ok(Act::Send(client, shapes))
}

fn expecting(clients: Vec<char>, text: &str, any_order: bool) -> Result<Act, String> {
    let mut all = words(text)?;
    let mut timing = Timing::default();
    for word in &all {
        if let (Some(key @ ("after" | "before")), Value::Bare(value)) =
            (word.key.as_deref(), &word.value)
        {
            let time = Some(seconds(value)?);
            match key {
                "after" => timing.after = time,
                _ => timing.before = time,
            }
        }
    }
    all.retain(|word| !matches!(word.key.as_deref(), Some("after" | "before")));
    let bare: Vec<Option<&str>> = all.iter().map(Word::bare).collect();
    match (&clients[..], &bare[..]) {
        ([one], [Some("nothing")]) => return Ok(Act::Nothing(*one)),
        ([one], [Some("closed"), rest @ ..]) => {
            let closing = match rest {
                [] => Closing::Any,
                [Some("silently")] => Closing::Silent,
                [Some(code)] => Closing::Code((*code).to_owned()),
                _ => {
                    return Err(
                        "closed has one word after it: a code, silently, or none".to_owned()
                    );
                }
            };
            return Ok(Act::Closed(*one, closing, timing));
        }
        _ => {}
    }
    let shape = shape(&all, &RECEIVED)?;
    if shape.kind != "hex" {
        for word in &shape.words {
            check(word, RECEIVED_FIELDS, "exact", false)?;
        }
    }
    Ok(Act::Expect(
        clients,
        Expected {
            shape,
            timing,
            any_order,
        },
    ))
}

fn shape(words: &[Word], kinds: &[&str]) -> Result<Shape, String> {
    let Some((first, rest)) = words.split_first() else {
        return Err("there is no packet".to_owned());
    };
    let kind = first.bare().unwrap_or_default();
    if !kinds.contains(&kind) {
        return Err(format!(
            "{kind:?} is no packet; there are {}",
            kinds.join(", ")
        ));
    }
    Ok(Shape {
        kind: kind.to_owned(),
        words: rest.to_vec(),
    })
}

/// Misspelt words are found before anything is played.
fn check(word: &Word, fields: &str, alone: &str, sent: bool) -> Result<(), String> {
    let is_in = |list: &str, name: &str| list.split_whitespace().any(|known| known == name);
    if let Some(key) = &word.key {
        let of_will = key.strip_prefix("will-").filter(|_| sent);
        let known = is_in(fields, key)
            || property_named(key).is_some()
            || of_will.is_some_and(|name| property_named(name).is_some());
        return known
            .then_some(())
            .ok_or_else(|| format!("no field is called {key}"));
    }
    let Some(bare) = word.bare() else {
        return Ok(());
    };
    let absent = bare
        .strip_prefix('!')
        .is_some_and(|name| property_named(name).is_some());
    let is_number =
        bare == "*" || bare.starts_with(|c: char| c.is_ascii_digit() || "<>".contains(c));
    if absent && !sent || is_in(alone, bare) || is_number {
        Ok(())
    } else {
        Err(format!("{bare:?} means nothing here"))
    }
}

/// `1s`, `1.5s`, `200ms`.
fn seconds(text: &str) -> Result<Duration, String> {
    if let Some(millis) = text.strip_suffix("ms") {
        return Ok(Duration::from_millis(number(millis)?));
    }
    let seconds = text.strip_suffix('s').and_then(|s| s.parse::<f64>().ok());
    seconds
        .map(Duration::from_secs_f64)
        .ok_or_else(|| format!("{text:?} is no time; write 1.5s or 200ms"))
}

#[test]
fn misspelt_steps_are_refused() {
    for wrong in [
        "a> conect",
        "a> publish \"{id}/t\" qoss=1",
        "a< publish \"{id}/t\" !nonsense",
        "ab> pingreq",
        "wait 3",
        "a sleeps",
        "a< closed 0x81 0x82",
    ] {
        assert!(Step::parse(1, wrong).is_err(), "{wrong}");
    }
    let step = Step::parse(1, "5.0 b|c< publish * \"x\" !alias before=2s").unwrap();
    assert_eq!(step.only, Some(Version::V5));
    assert!(matches!(step.does, Act::Expect(clients, _) if clients == ['b', 'c']));
}
