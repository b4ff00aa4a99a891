//! The client's side of SCRAM-SHA-256 (RFC 5802, RFC 7677), and AUTH.

use super::bytes::frame;
use super::{Connect, Properties, Value, property};
use base64ct::{Base64, Encoding as _};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha256};

/// The method's name.
pub const SCRAM: &str = "SCRAM-SHA-256";

/// AUTH with this reason code.
pub fn auth(code: u8, method: &str, data: Option<&str>) -> Vec<u8> {
    let mut body = vec![code];
    by_method(method, data).put(&mut body);
    frame(0xF0, &body)
}

fn by_method(method: &str, data: Option<&str>) -> Properties {
    let method = (
        property::AUTHENTICATION_METHOD,
        Value::Text(method.to_owned()),
    );
    let data = data.map(|data| {
        let data = Value::Binary(data.as_bytes().to_vec());
        (property::AUTHENTICATION_DATA, data)
    });
    Properties(std::iter::once(method).chain(data).collect())
}

impl Connect {
    /// With an authentication method and its first data.
    #[must_use]
    pub fn method(mut self, method: &str, data: Option<&str>) -> Connect {
        self.properties.0.extend(by_method(method, data).0);
        self
    }
}

/// A client that proves a password.
#[derive(Debug, Clone)]
pub struct Scram {
    password: String,
    /// The first message without its channel binding.
    bare: String,
    /// The signature by which the server must prove itself.
    signature: String,
}

impl Scram {
    /// The name must have neither a comma nor an equals sign.
    pub fn new(user: &str, password: &str) -> Scram {
        Scram {
            password: password.to_owned(),
            bare: format!("n={user},r=fyko+d2lbbFgONRv9qkxdawL"),
            signature: String::new(),
        }
    }

    /// The first message.
    pub fn first(&self) -> String {
        format!("n,,{}", self.bare)
    }

    /// The last message, the answer to the server's `challenge`.
    pub fn last(&mut self, challenge: &str) -> String {
        let mut fields = challenge.splitn(3, ',').map(|field| &field[2..]);
        let mut field = || fields.next().expect("three fields");
        let (nonce, salt, iterations) = (field(), field(), field());
        let salt = Base64::decode_vec(salt).expect("base64");
        let iterations = iterations.parse().expect("a number");
        let mut salted = [0; 32];
        pbkdf2::pbkdf2_hmac::<Sha256>(self.password.as_bytes(), &salt, iterations, &mut salted);
        let without_proof = format!("c=biws,r={nonce}");
        let signed = format!("{},{challenge},{without_proof}", self.bare);
        let mut proof = mac(&salted, b"Client Key");
        let by_client = mac(&Sha256::digest(proof), signed.as_bytes());
        proof.iter_mut().zip(by_client).for_each(|(a, b)| *a ^= b);
        let by_server = mac(&mac(&salted, b"Server Key"), signed.as_bytes());
        self.signature = format!("v={}", Base64::encode_string(&by_server));
        format!("{without_proof},p={}", Base64::encode_string(&proof))
    }

    /// The last message of a server that knows the password.
    pub fn signature(&self) -> &str {
        &self.signature
    }
}

fn mac(key: &[u8], data: &[u8]) -> [u8; 32] {
    let mac = Hmac::<Sha256>::new_from_slice(key).expect("a key of any length");
    mac.chain_update(data).finalize().into_bytes().into()
}
