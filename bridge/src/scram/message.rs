//! Parses the client's messages (RFC 5802, section 7). The errors say what is expected.

use super::error::ScramError;
use base64ct::{Base64, Encoding as _};

/// The most bytes of a client's nonce. The server sends it back.
const NONCE_BYTES: usize = 256;

/// The first message: the user name and the client's half of the nonce.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ClientFirst<'a> {
    /// The part before the bare message: channel binding and authorization identity.
    pub header: &'a str,
    /// The bare message. The proof signs it.
    pub bare: &'a str,
    /// The authorization identity.
    pub authzid: Option<String>,
    pub name: String,
    pub nonce: &'a str,
}

/// The last message: the proof.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ClientFinal<'a> {
    /// [`ClientFirst::header`], repeated.
    pub binding: Vec<u8>,
    /// Both halves of the nonce.
    pub nonce: &'a str,
    /// The message without the proof. The proof signs it.
    pub without_proof: &'a str,
    pub proof: [u8; 32],
}

impl<'a> ClientFirst<'a> {
    pub fn parse(text: &'a str) -> Result<ClientFirst<'a>, ScramError> {
        let begin = ScramError::BadMessage("the first message begins with `n,,`");
        let (flag, rest) = text.split_once(',').ok_or(begin)?;
        match flag {
            // `y`: the client supports channel binding and thinks that the server does not.
            "n" | "y" => {}
            _ if flag.starts_with("p=") => return Err(ScramError::ChannelBinding),
            _ => return Err(begin),
        }
        let (identity, bare) = rest.split_once(',').ok_or(begin)?;
        let authzid = match identity.strip_prefix("a=") {
            Some(name) => Some(sasl_name(name)?),
            None if identity.is_empty() => None,
            None => return Err(begin),
        };
        let mut fields = bare.split(',');
        let mut field = |letter| value(fields.next().unwrap_or_default(), letter);
        let name = sasl_name(field('n')?)?;
        let nonce = field('r')?;
        if nonce.len() > NONCE_BYTES || !nonce.bytes().all(|b| matches!(b, 0x21..=0x7E)) {
            let what = "a nonce is 1 to 256 printable characters of ASCII";
            return Err(ScramError::BadMessage(what));
        }
        fields.try_for_each(extension)?;
        Ok(ClientFirst {
            header: &text[..text.len() - bare.len()],
            bare,
            authzid,
            name,
            nonce,
        })
    }
}

impl<'a> ClientFinal<'a> {
    pub fn parse(text: &'a str) -> Result<ClientFinal<'a>, ScramError> {
        let no_proof =
            ScramError::BadMessage("the last message ends with `,p=` and the proof in base64");
        let (without_proof, proof) = text.rsplit_once(",p=").ok_or(no_proof)?;
        let mut fields = without_proof.split(',');
        let mut field = |letter| value(fields.next().unwrap_or_default(), letter);
        let (binding, nonce) = (field('c')?, field('r')?);
        fields.try_for_each(extension)?;
        let proof = Base64::decode_vec(proof).map_err(|_| no_proof)?;
        Ok(ClientFinal {
            binding: Base64::decode_vec(binding)
                .map_err(|_| ScramError::BadMessage("`c=` is in base64"))?,
            nonce,
            without_proof,
            proof: proof.try_into().map_err(|_| no_proof)?,
        })
    }
}

/// The value of a required field. It must not be empty.
fn value(field: &str, letter: char) -> Result<&str, ScramError> {
    let value = field
        .strip_prefix(letter)
        .and_then(|rest| rest.strip_prefix('='));
    match value {
        Some(value) if !value.is_empty() => Ok(value),
        _ if field.starts_with("m=") => Err(mandatory()),
        _ => Err(ScramError::BadMessage(match letter {
            'n' => "`n=` and the user name come first",
            'c' => "`c=` comes first",
            _ => "`r=` and the nonce come second",
        })),
    }
}

/// Checks an optional extension. Its value is ignored; a mandatory extension is an error.
fn extension(field: &str) -> Result<(), ScramError> {
    match field.as_bytes() {
        [b'm', b'=', ..] => Err(mandatory()),
        [letter, b'=', _, ..] if letter.is_ascii_alphabetic() => Ok(()),
        _ => Err(ScramError::BadMessage(
            "a field is a letter, `=`, and a value",
        )),
    }
}

fn mandatory() -> ScramError {
    ScramError::BadMessage("no extension (`m=`) is known here")
}

/// Decodes a name: `=2C` is a comma and `=3D` an equals sign.
fn sasl_name(coded: &str) -> Result<String, ScramError> {
    let bad =
        ScramError::BadMessage("a name is not empty, and has `=2C` for a comma and `=3D` for `=`");
    let mut parts = coded.split('=');
    let mut name = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (letter, rest) = match part.split_at_checked(2).ok_or(bad)? {
            ("2C", rest) => (',', rest),
            ("3D", rest) => ('=', rest),
            _ => return Err(bad),
        };
        name.push(letter);
        name.push_str(rest);
    }
    if name.is_empty() || name.contains('\0') {
        return Err(bad);
    }
    Ok(name)
}
