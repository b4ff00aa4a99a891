//! The words of a step: bare ones, quoted texts, and `key=` before either.

use std::collections::BTreeMap;

/// The values that steps have named: packet ids, and texts from the server.
pub type Variables = BTreeMap<String, Variable>;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Variable {
    Number(u64),
    Bytes(Vec<u8>),
}

/// A part of a quoted text.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Bytes(Vec<u8>),
    Named(String),
}

/// A quoted text: bytes, which need not be UTF-8, and `{names}` that are replaced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Text(Vec<Piece>);

impl Text {
    pub fn names(&self, name: &str) -> bool {
        self.0
            .iter()
            .any(|piece| matches!(piece, Piece::Named(n) if n == name))
    }

    pub fn fill(&self, variables: &Variables) -> Result<Vec<u8>, String> {
        let mut all = Vec::new();
        for piece in &self.0 {
            match piece {
                Piece::Bytes(bytes) => all.extend(bytes),
                Piece::Named(name) => match variables.get(name) {
                    Some(Variable::Bytes(bytes)) => all.extend(bytes),
                    Some(Variable::Number(n)) => all.extend(n.to_string().bytes()),
                    None => return Err(format!("nothing is named {name} yet")),
                },
            }
        }
        Ok(all)
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    Bare(String),
    Text(Text),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Word {
    pub key: Option<String>,
    pub value: Value,
}

impl Word {
    /// A bare word without a key.
    pub fn bare(&self) -> Option<&str> {
        match (&self.key, &self.value) {
            (None, Value::Bare(word)) => Some(word),
            _ => None,
        }
    }
}

const ALONE: [char; 5] = ['[', ']', '(', ')', ';'];

/// Splits a line into words.
pub fn words(line: &str) -> Result<Vec<Word>, String> {
    let mut rest = line.trim_start();
    let mut all = Vec::new();
    while let Some(first) = rest.chars().next() {
        if ALONE.contains(&first) {
            all.push(plain(None, Value::Bare(first.to_string())));
            rest = &rest[1..];
        } else if first == '"' {
            let (text, after) = quoted(&rest[1..])?;
            all.push(plain(None, Value::Text(text)));
            rest = after;
        } else {
            let end = rest
                .find(|c: char| c.is_whitespace() || c == '"' || ALONE.contains(&c))
                .unwrap_or(rest.len());
            let (word, after) = rest.split_at(end);
            rest = after;
            match word.split_once('=') {
                Some((key, "")) if is_key(key) && rest.starts_with('"') => {
                    let (text, after) = quoted(&rest[1..])?;
                    all.push(plain(Some(key), Value::Text(text)));
                    rest = after;
                }
                Some((key, value)) if is_key(key) => {
                    all.push(plain(Some(key), Value::Bare(value.to_owned())));
                }
                _ => all.push(plain(None, Value::Bare(word.to_owned()))),
            }
        }
        rest = rest.trim_start();
    }
    Ok(all)
}

fn plain(key: Option<&str>, value: Value) -> Word {
    Word {
        key: key.map(str::to_owned),
        value,
    }
}

fn is_key(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_lowercase())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
}

/// The text up to the closing quote, and the rest of the line.
fn quoted(rest: &str) -> Result<(Text, &str), String> {
    let mut pieces = Vec::new();
    let mut bytes = Vec::new();
    let mut left = rest.char_indices();
    while let Some((at, c)) = left.next() {
        match c {
            '"' => {
                pieces.push(Piece::Bytes(bytes));
                return Ok((Text(pieces), &rest[at + 1..]));
            }
            '\\' => {
                let escaped = left.next().map(|(_, c)| c);
                bytes.push(match escaped {
                    Some('n') => b'\n',
                    Some('t') => b'\t',
                    Some('0') => 0,
                    Some(c @ ('"' | '\\' | '{' | '}')) => c as u8,
                    Some('x') => {
                        let digits: String = left.by_ref().take(2).map(|(_, c)| c).collect();
                        u8::from_str_radix(&digits, 16).map_err(|e| format!("\\x{digits}: {e}"))?
                    }
                    other => return Err(format!("no escape: \\{other:?}")),
                });
            }
            '{' => {
                let name: String = left
                    .by_ref()
                    .map(|(_, c)| c)
                    .take_while(|c| *c != '}')
                    .collect();
                if let Some((what, times)) = name.split_once('*') {
                    let times = times.parse().map_err(|e| format!("{{{name}}}: {e}"))?;
                    bytes.extend(what.repeat(times).bytes());
                } else {
                    pieces.push(Piece::Bytes(std::mem::take(&mut bytes)));
                    pieces.push(Piece::Named(name));
                }
            }
            c => bytes.extend(c.encode_utf8(&mut [0; 4]).bytes()),
        }
    }
    Err("a quote is not closed".to_owned())
}

/// A number, decimal or hexadecimal.
pub fn number(text: &str) -> Result<u64, String> {
    let parsed = match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16),
        None => text.parse(),
    };
    parsed.map_err(|_| format!("{text:?} is no number"))
}

/// Whether a number fits a pattern: `5`, `0x05`, `*`, `1..9`, `>=5`, `>5`, `<=5`, `<5`, or several with `|`.
pub fn fits(pattern: &str, n: u64) -> Result<bool, String> {
    for part in pattern.split('|') {
        let yes = if part == "*" {
            true
        } else if let Some(least) = part.strip_prefix(">=") {
            n >= number(least)?
        } else if let Some(most) = part.strip_prefix("<=") {
            n <= number(most)?
        } else if let Some(below) = part.strip_prefix('>') {
            n > number(below)?
        } else if let Some(above) = part.strip_prefix('<') {
            n < number(above)?
        } else if let Some((least, most)) = part.split_once("..") {
            (number(least)?..=number(most)?).contains(&n)
        } else {
            n == number(part)?
        };
        if yes {
            return Ok(true);
        }
    }
    Ok(false)
}

#[test]
fn lines_are_split_into_words() {
    let line = r#"publish "{id}/t" payload="a\x00\"b{x*3}" qos=1 id=$p >=0x80 [ 10 ]"#;
    let all = words(line).unwrap();
    let named = Variables::from([("id".to_owned(), Variable::Bytes(b"r1".to_vec()))]);
    let texts: Vec<Vec<u8>> = all
        .iter()
        .filter_map(|word| match &word.value {
            Value::Text(text) => Some(text.fill(&named).unwrap()),
            Value::Bare(_) => None,
        })
        .collect();
    assert_eq!(texts, [b"r1/t".to_vec(), b"a\0\"bxxx".to_vec()]);
    let keys: Vec<Option<&str>> = all.iter().map(|word| word.key.as_deref()).collect();
    assert_eq!(keys[2..6], [Some("payload"), Some("qos"), Some("id"), None]);
    assert!(words("\"open").is_err());
    assert_eq!(fits("0|0x80..0x82", 0x81), Ok(true));
    assert_eq!(fits(">=0x80", 1), Ok(false));
}
