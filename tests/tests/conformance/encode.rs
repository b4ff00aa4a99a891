//! From a packet in a row to its bytes. Nothing here checks whether a client may send it.

use crate::field::{Property, Type, property_named};
use crate::step::{Level, Shape};
use crate::word::{Value, Variable, Variables, Word, number};
use roommq_tests::wire::{frame, put_string, put_varint};
use std::collections::{BTreeMap, BTreeSet};

/// The packet ids that a client used last: of sent and of received packets.
#[derive(Debug, Default)]
pub struct Ids {
    next: u16,
    pub sent: BTreeMap<String, u64>,
    pub came: BTreeMap<String, u64>,
    /// The ids of the server's unacknowledged messages. No other message may have them.
    pub in_flight: BTreeSet<u64>,
}

/// The values for encoding a client's packet.
pub struct Writer<'a> {
    pub client: char,
    pub level: Level,
    pub variables: &'a mut Variables,
    pub ids: &'a mut Ids,
}

type Bytes = Result<Vec<u8>, String>;

impl Writer<'_> {
    pub fn bytes(&mut self, shape: &Shape) -> Bytes {
        let words = &shape.words[..];
        let v5 = self.level == Level::V5;
        let (first, flags, body) = match shape.kind.as_str() {
            "hex" => return self.hex(words),
            "connect" => (0x10, 0, self.connect(words)?),
            "publish" => {
                let flags = self.number(words, "dup", 0)? << 3
                    | self.number(words, "qos", 0)? << 1
                    | self.number(words, "retain", 0)?;
                (0x30, flags, self.publish(words)?)
            }
            "puback" => (0x40, 0, self.acknowledge(words, "puback", "publish")?),
            "pubrec" => (0x50, 0, self.acknowledge(words, "pubrec", "publish")?),
            "pubrel" => (0x60, 2, self.acknowledge(words, "pubrel", "pubrec")?),
            "pubcomp" => (0x70, 0, self.acknowledge(words, "pubcomp", "pubrel")?),
            kind @ ("subscribe" | "unsubscribe") => {
                let first = if kind == "subscribe" { 0x80 } else { 0xA0 };
                (first, 2, self.filters(words, kind)?)
            }
            "pingreq" => (0xC0, 0, Vec::new()),
            "disconnect" => (0xE0, 0, self.code(words)?),
            _ if v5 => (0xF0, 0, self.code(words)?),
            other => return Err(format!("{other} is of 5.0")),
        };
        let flags = self.number(words, "flags", flags)?;
        Ok(frame(byte(first | flags)?, &body))
    }

    fn connect(&mut self, words: &[Word]) -> Bytes {
        let (name, level) = match self.level {
            Level::V31 => ("MQIsdp", 3),
            Level::V311 => ("MQTT", 4),
            Level::V5 => ("MQTT", 5),
        };
        let mut body = Vec::new();
        let name = self.text(words, "name")?.unwrap_or(name.into());
        put_string(&mut body, name);
        body.push(byte(self.number(words, "level", level)?)?);
        let keep = words.iter().any(|word| word.bare() == Some("keep"));
        let of_will = |word: &&Word| {
            word.key
                .as_deref()
                .is_some_and(|key| key.starts_with("will"))
        };
        let (will, rest): (Vec<&Word>, Vec<&Word>) = words.iter().partition(of_will);
        let mut flags = self.number(words, "clean", u64::from(!keep))? << 1;
        if !will.is_empty() {
            flags |= 0x04
                | self.number(words, "will-qos", 0)? << 3
                | self.number(words, "will-retain", 0)? << 5;
        }
        let user_name = self.text(words, "username")?;
        let password = self.text(words, "password")?;
        flags |= u64::from(user_name.is_some()) << 7 | u64::from(password.is_some()) << 6;
        body.push(byte(self.number(words, "connect-flags", flags)?)?);
        put_two(&mut body, self.number(words, "keepalive", 0)?)?;
        let mut properties = self.properties(&rest)?;
        if keep
            && self.level == Level::V5
            && !rest
                .iter()
                .any(|w| w.key.as_deref() == Some("session-expiry"))
        {
            properties.extend([0x11, 0, 0, 2, 0x58]);
        }
        self.put_properties(&mut body, &properties)?;
        let client_id = if let Some(id) = self.text(words, "id")? {
            id
        } else {
            let mut id = self.variable("id")?;
            id.extend([b'-', byte(u64::from(u32::from(self.client)))?]);
            id
        };
        put_string(&mut body, client_id);
        if !will.is_empty() {
            let properties = self.properties(&will)?;
            self.put_properties(&mut body, &properties)?;
            put_string(
                &mut body,
                self.text(words, "will-topic")?.unwrap_or_default(),
            );
            put_string(&mut body, self.text(words, "will")?.unwrap_or_default());
        }
        for field in [user_name, password].into_iter().flatten() {
            put_string(&mut body, field);
        }
        Ok(body)
    }

    fn variable(&self, name: &str) -> Bytes {
        match self.variables.get(name) {
            Some(Variable::Bytes(bytes)) => Ok(bytes.clone()),
            _ => Err(format!("nothing is named {name} yet")),
        }
    }

    fn publish(&mut self, words: &[Word]) -> Bytes {
        let mut texts = words.iter().filter(|word| word.key.is_none());
        let mut body = Vec::new();
        put_string(&mut body, self.filled(texts.next())?);
        if self.number(words, "qos", 0)? > 0 {
            let id = self.id(words, None)?;
            self.ids.sent.insert("publish".to_owned(), id);
            put_two(&mut body, id)?;
        }
        let all: Vec<&Word> = words.iter().collect();
        let properties = self.properties(&all)?;
        self.put_properties(&mut body, &properties)?;
        body.extend(self.filled(texts.next())?);
        Ok(body)
    }

    fn acknowledge(&mut self, words: &[Word], kind: &str, of: &str) -> Bytes {
        let answered = self.ids.came.get(of).copied();
        let id = self.id(words, answered)?;
        self.ids.sent.insert(kind.to_owned(), id);
        if ["puback", "pubcomp"].contains(&kind) || self.number(words, "code", 0)? >= 0x80 {
            self.ids.in_flight.remove(&id);
        }
        let mut body = Vec::new();
        put_two(&mut body, id)?;
        body.extend(self.code(words)?);
        Ok(body)
    }

    /// A reason code and properties of 5.0, in the shortest form.
    fn code(&mut self, words: &[Word]) -> Bytes {
        let mut body = Vec::new();
        let all: Vec<&Word> = words.iter().collect();
        let properties = self.properties(&all)?;
        let named = words.iter().any(|word| word.key.as_deref() == Some("code"));
        if named && self.level != Level::V5 {
            return Err("reason codes are of 5.0".to_owned());
        }
        if named || !properties.is_empty() {
            body.push(byte(self.number(words, "code", 0)?)?);
        }
        if !properties.is_empty() {
            self.put_properties(&mut body, &properties)?;
        }
        Ok(body)
    }

    fn filters(&mut self, words: &[Word], kind: &str) -> Bytes {
        let id = self.id(words, None)?;
        self.ids.sent.insert(kind.to_owned(), id);
        let mut body = Vec::new();
        put_two(&mut body, id)?;
        let all: Vec<&Word> = words.iter().collect();
        let properties = self.properties(&all)?;
        self.put_properties(&mut body, &properties)?;
        let starts: Vec<usize> = (0..words.len())
            .filter(|at| {
                matches!(
                    &words[*at],
                    Word {
                        key: None,
                        value: Value::Text(_)
                    }
                )
            })
            .collect();
        for (nth, start) in starts.iter().enumerate() {
            let end = starts.get(nth + 1).copied().unwrap_or(words.len());
            let own = &words[*start..end];
            put_string(&mut body, self.filled(own.first())?);
            if kind == "subscribe" {
                let options = self.number(own, "qos", 0)?
                    | self.number(own, "nl", 0)? << 2
                    | self.number(own, "rap", 0)? << 3
                    | self.number(own, "rh", 0)? << 4;
                body.push(byte(self.number(own, "opts", options)?)?);
            }
        }
        Ok(body)
    }

    /// The packet id in the row, else `usual`, else the next.
    fn id(&mut self, words: &[Word], usual: Option<u64>) -> Result<u64, String> {
        let word = words.iter().find(|word| word.key.as_deref() == Some("id"));
        let mut next = || {
            usual.unwrap_or_else(|| {
                self.ids.next = self.ids.next.checked_add(1).unwrap_or(1);
                u64::from(self.ids.next)
            })
        };
        match word.map(|word| &word.value) {
            None => Ok(next()),
            Some(Value::Bare(text)) => match text.strip_prefix('$') {
                None => number(text),
                Some(name) => match self.variables.get(name) {
                    Some(Variable::Number(n)) => Ok(*n),
                    Some(Variable::Bytes(_)) => Err(format!("{name} is no number")),
                    None => {
                        let id = next();
                        self.variables.insert(name.to_owned(), Variable::Number(id));
                        Ok(id)
                    }
                },
            },
            Some(Value::Text(_)) => Err("a packet id is a number".to_owned()),
        }
    }

    fn number(&self, words: &[Word], key: &str, usual: u64) -> Result<u64, String> {
        match words.iter().find(|word| word.key.as_deref() == Some(key)) {
            None => Ok(usual),
            Some(word) => self.value(word),
        }
    }

    fn value(&self, word: &Word) -> Result<u64, String> {
        match &word.value {
            Value::Bare(text) => match text.strip_prefix('$').map(|n| self.variables.get(n)) {
                None => number(text),
                Some(Some(Variable::Number(n))) => Ok(*n),
                Some(_) => Err(format!("{text} is no number")),
            },
            Value::Text(_) => Err(format!("{:?} is a number", word.key)),
        }
    }

    fn text(&self, words: &[Word], key: &str) -> Result<Option<Vec<u8>>, String> {
        let word = words.iter().find(|word| word.key.as_deref() == Some(key));
        word.map(|word| self.filled(Some(word))).transpose()
    }

    fn filled(&self, word: Option<&Word>) -> Bytes {
        match word.map(|word| &word.value) {
            None => Ok(Vec::new()),
            Some(Value::Text(text)) => text.fill(self.variables),
            Some(Value::Bare(bare)) => match bare.strip_prefix('$') {
                Some(name) => self.variable(name),
                None => Err(format!("{bare} should be in quotes")),
            },
        }
    }

    /// All words that name a property. A prefix `will-` is ignored.
    fn properties(&self, words: &[&Word]) -> Bytes {
        let mut all = Vec::new();
        for word in words {
            let Some(key) = &word.key else { continue };
            if key == "raw" {
                all.extend(self.filled(Some(word))?);
                continue;
            }
            let named =
                property_named(key).or_else(|| key.strip_prefix("will-").and_then(property_named));
            if let Some(property) = named {
                self.put_property(&mut all, property, word)?;
            }
        }
        Ok(all)
    }

    fn put_property(
        &self,
        all: &mut Vec<u8>,
        property: &Property,
        word: &Word,
    ) -> Result<(), String> {
        all.push(property.id);
        match property.is {
            Type::Byte => all.push(byte(self.value(word)?)?),
            Type::Two => put_two(all, self.value(word)?)?,
            Type::Four => {
                let n = u32::try_from(self.value(word)?).map_err(|e| e.to_string())?;
                all.extend(n.to_be_bytes());
            }
            Type::Varint => {
                let n = usize::try_from(self.value(word)?).map_err(|e| e.to_string())?;
                put_varint(all, n);
            }
            Type::Text | Type::Binary => put_string(all, self.filled(Some(word))?),
            Type::Pair => {
                let pair = self.filled(Some(word))?;
                let at = pair.iter().position(|byte| *byte == b'=');
                let at = at.ok_or("a user property is \"name=value\"")?;
                put_string(all, &pair[..at]);
                put_string(all, &pair[at + 1..]);
            }
        }
        Ok(())
    }

    fn put_properties(&self, body: &mut Vec<u8>, properties: &[u8]) -> Result<(), String> {
        if self.level == Level::V5 {
            put_varint(body, properties.len());
            body.extend(properties);
        } else if !properties.is_empty() {
            return Err("properties are of 5.0".to_owned());
        }
        Ok(())
    }

    /// Bytes. `[ ]` adds the length of the bytes between them as two bytes, `( )` as a variable byte integer.
    pub fn hex(&self, words: &[Word]) -> Bytes {
        let mut open: Vec<(&str, Vec<u8>)> = vec![("", Vec::new())];
        for word in words {
            let top = open.len() - 1;
            match &word.value {
                Value::Text(text) => open[top].1.extend(text.fill(self.variables)?),
                Value::Bare(bare) => match bare.as_str() {
                    "[" | "(" => open.push((if bare == "[" { "]" } else { ")" }, Vec::new())),
                    "]" | ")" => {
                        let (closing, inner) = open.pop().unwrap_or_default();
                        let Some((_, outer)) = open.last_mut().filter(|_| closing == bare) else {
                            return Err(format!("{bare} closes nothing"));
                        };
                        if bare == "]" {
                            put_string(outer, inner);
                        } else {
                            put_varint(outer, inner.len());
                            outer.extend(inner);
                        }
                    }
                    _ if bare.starts_with('$') => put_two(&mut open[top].1, self.value(word)?)?,
                    _ => open[top].1.extend(digits(bare)?),
                },
            }
        }
        match &mut open[..] {
            [(_, all)] => Ok(std::mem::take(all)),
            _ => Err("a bracket is not closed".to_owned()),
        }
    }
}

/// `10`, `0d00`, `41*300`.
fn digits(text: &str) -> Bytes {
    let (text, times) = match text.split_once('*') {
        Some((text, times)) => (
            text,
            usize::try_from(number(times)?).map_err(|e| e.to_string())?,
        ),
        None => (text, 1),
    };
    if !text.len().is_multiple_of(2) || !text.is_ascii() {
        return Err(format!("{text:?} is not in pairs of hexadecimal digits"));
    }
    let bytes: Result<Vec<u8>, _> = (0..text.len() / 2)
        .map(|n| u8::from_str_radix(&text[2 * n..2 * n + 2], 16))
        .collect();
    let bytes = bytes.map_err(|_| format!("{text:?} is not hexadecimal"))?;
    Ok(bytes.repeat(times))
}

fn byte(n: u64) -> Result<u8, String> {
    u8::try_from(n).map_err(|_| format!("{n} is no byte"))
}

fn put_two(out: &mut Vec<u8>, n: u64) -> Result<(), String> {
    let n = u16::try_from(n).map_err(|_| format!("{n} has no place in two bytes"))?;
    out.extend(n.to_be_bytes());
    Ok(())
}
