#![allow(clippy::unwrap_used, clippy::expect_used)]
use super::error::TokenError;
use super::error::TokenError::{Audience, Claim, Claims, Expired, Issuer, NotYet};
use super::keys::parse;
use super::*;
use base64ct::{Base64UrlUnpadded, Encoding as _};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use roommq_broker::policy::WallTime;
use serde_json::{Value, json};

const NOW: u64 = 1_800_000_000;

/// Made by `openssl genpkey` for these tests alone.
const RSA: &str = "-----BEGIN PRIVATE KEY-----
MIIEvgIBADANBgkqhkiG9w0BAQEFAASCBKgwggSkAgEAAoIBAQCgqxmqA4ZVNrsQ
w2c1htV8ww2yskhdEyo3VHZyZcGFPlR+1xYgLxDGI6MocFJQwga3fOaNmO/1fGZ5
0x1TYeT5TglLwm3iAde1TBC3FtZ63ES7GMIh+Aju+xbel5vTlCGBHaMLZ0rLKnVE
aVCyWi/pVGCDBkfE6xRkjKQkZ0B0GHQ7zLHZRGvroPcN2Q/zpf50zzWt1n4hgPHN
8eJ7lZhMsBgnDK7PiXssrzHl/PU/uSA9rIP/8ZlgVJsw4TtSf2Tkk3aJWp2ELxS0
B8uhRnCVlUT8ZDnzJbKbXXPjkxmAljDhtRDL5qGxoE1hrejVg7a4+UHkk0DZafs+
1AbG96grAgMBAAECggEACZPu7Y/UkBDkBEL5zJroms2P6/wCd1X0pCQWBDTPsq89
X0BYMnv2c9wHq8SiYOu9dcPC2g8TbZ7IXHEljuUc6XBppR6xPpIIjLy87wU0AlKj
iu8WEkCp26vpOETGcSL5VQFHc8m+ZNp3miftu8FyQ2ZtyHHKkSZzFUQTEZPRfPoo
pMHWKXwgsHdcwmfYfnz68uvSxHHegU/PaaZPMcs2a8QkzehohflBDLTKNEhMH9sy
0panC/fGEzbYW3rXwuFvRX+wBIhbQFUJyStXEoJTBT3pvIXH6scv+yMfVp+W8pRA
ZFvpucFgEIKjZj9/8BXONMQbJWZh0TQ/lo4ms120yQKBgQDZqNuJAUPjuAt2OJl1
oPw0XEfD41MUQAG0eZZUS8qRF5wLuGVufnD+IQfyGlK2VL8M5d98cqA1LcJAw0Go
ePhp2ugSM/TwlMpbXEQ4bbHrOibhuxl1MnfId9uZ6FAMUE7vFFB+e9/UyRcMtNG2
1b3Do9cPcIgnGn5D5er7nMQDWQKBgQC8+EeVPyo/+XsPP2ITgK+ofMFj3C9/6FtL
bmPHOz6Rzr50rlpLkrwYT/8rXlWdJTr3saZe//IrBtaSf1L6wniWcANhsrb5lqQc
5XTGWsWIWF3jMDMS6R+/2l+KCMlw7iY71QoYm8Ssp7TdwouFNjs+hTeyCE40/8Ex
P/ZAkU1rIwKBgQCsFHDER0jKL0Z4h9Tjh4v9RXvDZeTX3Ka8bWgpauZSgYzwQy+G
BNcGQ00J3j/IQQXuh4qB1AnPIUczdmtha4pR/ix9v7AFyEyXoEGbLzZ7lzUIP6in
3GeRCRmH+3/VzGQrZi8hYIQcsYLUm9w1JZTqqIytezVZXPu4aHy3wj/BuQKBgBtt
TbZzvIYch6fm4y1BeD1UHh2IT7yY1OdV1lWMW8B96Va2F5Twbyx4L+jzgCmWxcA9
oJAZReTI0Uvh/wE2SJpNF7COZ9BB9P/crd48Pn9TlAztafxMqbcG0ucN727cod/9
Q8HemeUVUkL9gZKMFH02iKbmXbODi17CkdM9Q6dRAoGBAJPe6EoknZp4b107Ekib
j4DfNuum5saI4FMoAPH14kcBFwNQyKcMO+UOVV2y3RhHIllHXE5heDNCIUpPDJ8y
zUYDzXRgwn4fFPmhXA1BoY1Fwf5r682yLZTT5eJLwY0jcMwk11dWmIpHUDAx3Ve2
sbkhFXp+sM+EqAkZhEPD4xNr
-----END PRIVATE KEY-----";
const RSA_PUBLIC: &str = "-----BEGIN PUBLIC KEY-----
MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAoKsZqgOGVTa7EMNnNYbV
fMMNsrJIXRMqN1R2cmXBhT5UftcWIC8QxiOjKHBSUMIGt3zmjZjv9XxmedMdU2Hk
+U4JS8Jt4gHXtUwQtxbWetxEuxjCIfgI7vsW3peb05QhgR2jC2dKyyp1RGlQslov
6VRggwZHxOsUZIykJGdAdBh0O8yx2URr66D3DdkP86X+dM81rdZ+IYDxzfHie5WY
TLAYJwyuz4l7LK8x5fz1P7kgPayD//GZYFSbMOE7Un9k5JN2iVqdhC8UtAfLoUZw
lZVE/GQ58yWym11z45MZgJYw4bUQy+ahsaBNYa3o1YO2uPlB5JNA2Wn7PtQGxveo
KwIDAQAB
-----END PUBLIC KEY-----";
const EC: &str = "-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgaYwzGtpXjyqtHg7P
xA8JSkgPQ8LZ71Ql7vAGmi+PGoShRANCAAR6vJ2dERLHW97MPsaOHTQfznr5gQyL
fHHpAlCO7fHIQK1+ZAd47l3M9P0IZxnz3AOW+NcJgagwEzjDQxH6AMi/
-----END PRIVATE KEY-----";
const EC_PUBLIC: &str = "-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEerydnRESx1vezD7Gjh00H856+YEM
i3xx6QJQju3xyECtfmQHeO5dzPT9CGcZ89wDlvjXCYGoMBM4w0MR+gDIvw==
-----END PUBLIC KEY-----";
const ED: &str = "-----BEGIN PRIVATE KEY-----
MC4CAQAwBQYDK2VwBCIEIMD2u2cDk5JJp9ZiRMtu/a+MqBo4tx5G/yqtCXEGfdhf
-----END PRIVATE KEY-----";
const ED_PUBLIC: &str = "-----BEGIN PUBLIC KEY-----
MCowBQYDK2VwAyEACKx2LfPVM4ENgLAAuTvcyVzvVSZvjffrbBAJRdVDZW0=
-----END PUBLIC KEY-----";

const SECRET: &str = "0123456789abcdef0123456789abcdef";

/// A set with one key of each kind that a set can hold here.
fn set() -> String {
    let text = |bytes: &[u8]| Base64UrlUnpadded::encode_string(bytes);
    let raw = |pem: &str| {
        let key = jsonwebtoken::DecodingKey::from_ed_pem(pem.as_bytes());
        let key = key.or_else(|_| jsonwebtoken::DecodingKey::from_ec_pem(pem.as_bytes()));
        key.unwrap().try_get_as_bytes().unwrap().to_vec()
    };
    let point = raw(EC_PUBLIC);
    json!({"keys": [
        {"kty": "oct", "kid": "web", "k": text(SECRET.as_bytes())},
        {"kty": "EC", "kid": "ec", "crv": "P-256", "x": text(&point[1..33]), "y": text(&point[33..])},
        {"kty": "OKP", "kid": "ed", "alg": "EdDSA", "crv": "Ed25519", "x": text(&raw(ED_PUBLIC))},
        {"kty": "RSA", "kid": "other", "use": "enc", "n": "AQAB", "e": "AQAB"},
        {"kty": "oct", "kid": "weak", "k": "c2hvcnQ"},
    ]})
    .to_string()
}

fn verifier(keys: &str) -> TokenVerifier {
    TokenVerifier::new(parse(keys).unwrap(), None, None)
}

fn claims() -> Value {
    json!({"sub": "alice", "exp": NOW + 60})
}

fn signed(id: Option<&str>, algorithm: Algorithm, key: &EncodingKey, claims: &Value) -> String {
    let mut header = Header::new(algorithm);
    header.kid = id.map(str::to_owned);
    encode(&header, claims, key).unwrap()
}

fn secret() -> EncodingKey {
    EncodingKey::from_secret(SECRET.as_bytes()).unwrap()
}

/// Signed by the key `web` of [`set`].
fn web(claims: &Value) -> String {
    signed(Some("web"), Algorithm::HS256, &secret(), claims)
}

fn error(verifier: &TokenVerifier, token: &str) -> TokenError {
    verifier.verify(token.as_bytes(), NOW).unwrap_err()
}

#[test]
fn each_kind_of_key_verifies_its_own_tokens() {
    let keys = [
        (
            Algorithm::RS256,
            EncodingKey::from_rsa_pem(RSA.as_bytes()),
            RSA_PUBLIC,
        ),
        (
            Algorithm::ES256,
            EncodingKey::from_ec_pem(EC.as_bytes()),
            EC_PUBLIC,
        ),
        (
            Algorithm::EdDSA,
            EncodingKey::from_ed_pem(ED.as_bytes()),
            ED_PUBLIC,
        ),
    ];
    for (algorithm, key, public) in &keys {
        let token = signed(None, *algorithm, key.as_ref().unwrap(), &claims());
        for (other, _, file) in &keys {
            let verified = verifier(file).verify(token.as_bytes(), NOW);
            assert_eq!(
                verified.is_ok(),
                algorithm == other,
                "{algorithm:?} by {other:?}"
            );
        }
        // A name does not count where no key has one.
        let named = signed(Some("x"), *algorithm, key.as_ref().unwrap(), &claims());
        let verified = verifier(public).verify(named.as_bytes(), NOW).unwrap();
        assert_eq!(verified.claims.sub.as_deref(), Some("alice"));
        assert_eq!(verified.expires, NOW + 60);
    }
    let set = verifier(&set());
    for (id, (algorithm, key, _)) in [("ec", &keys[1]), ("ed", &keys[2])] {
        let token = signed(Some(id), *algorithm, key.as_ref().unwrap(), &claims());
        assert!(set.verify(token.as_bytes(), NOW).is_ok(), "{id}");
    }
    assert!(set.verify(web(&claims()).as_bytes(), NOW).is_ok());
    let unnamed = signed(None, Algorithm::HS256, &secret(), &claims());
    assert!(
        set.verify(unnamed.as_bytes(), NOW).is_ok(),
        "the only one of its algorithm"
    );
}

#[test]
fn a_header_chooses_no_algorithm() {
    let set_verifier = verifier(&set());
    let part = |value: &Value| Base64UrlUnpadded::encode_string(value.to_string().as_bytes());
    for alg in ["none", "None", "HS384", "", "RS256 "] {
        let head = part(&json!({"alg": alg, "kid": "web"}));
        let body = part(&claims());
        for signature in ["", "AAAA"] {
            let token = format!("{head}.{body}.{signature}");
            assert!(set_verifier.verify(token.as_bytes(), NOW).is_err(), "{alg}");
        }
        assert!(
            set_verifier
                .verify(format!("{head}.{body}").as_bytes(), NOW)
                .is_err()
        );
    }
    // The public key as a shared secret.
    let confused = EncodingKey::from_secret(RSA_PUBLIC.as_bytes()).unwrap();
    let token = signed(None, Algorithm::HS256, &confused, &claims());
    assert_eq!(error(&verifier(RSA_PUBLIC), &token), TokenError::Key);
    let token = signed(Some("ec"), Algorithm::HS256, &secret(), &claims());
    assert_eq!(error(&set_verifier, &token), TokenError::Algorithm);
}

#[test]
fn wrong_keys_and_signatures_are_refused() {
    let set = verifier(&set());
    let other = EncodingKey::from_secret(&[7; 32]).unwrap();
    let token = signed(Some("web"), Algorithm::HS256, &other, &claims());
    assert_eq!(error(&set, &token), TokenError::Signature);
    let token = signed(Some("nobody"), Algorithm::HS256, &secret(), &claims());
    assert_eq!(error(&set, &token), TokenError::Key);
    let token = signed(Some("weak"), Algorithm::HS256, &secret(), &claims());
    assert_eq!(
        error(&set, &token),
        TokenError::Key,
        "a short secret is left out"
    );
    let good = web(&claims());
    let (head, rest) = good.split_once('.').unwrap();
    let (_, signature) = rest.split_once('.').unwrap();
    let forged = Base64UrlUnpadded::encode_string(br#"{"sub":"root","exp":99999999999}"#);
    assert_eq!(
        error(&set, &format!("{head}.{forged}.{signature}")),
        TokenError::Signature
    );
    assert_eq!(error(&set, "a.b.c"), TokenError::Malformed);
    assert_eq!(error(&set, ""), TokenError::Malformed);
    assert_eq!(error(&set, &"x".repeat(20_000)), TokenError::TooLong);
    assert!(verifier_of_none().verify(good.as_bytes(), NOW).is_err());
}

fn verifier_of_none() -> TokenVerifier {
    TokenVerifier::default()
}

#[test]
fn claims_are_checked_by_the_servers_clock_and_settings() {
    let plain = verifier(&set());
    let name = |name: &str| Some(name.to_owned());
    let strict = TokenVerifier::new(parse(&set()).unwrap(), name("us"), name("mqtt"));
    let with = |more: Value| {
        let mut all = claims();
        for (name, value) in more.as_object().unwrap() {
            all[name] = value.clone();
        }
        web(&all)
    };
    for (more, in_plain, in_strict) in [
        (json!({}), None, Some(Issuer)),
        (json!({"iss": "us", "aud": "mqtt"}), Some(Audience), None),
        (
            json!({"iss": "us", "aud": ["a", "mqtt"]}),
            Some(Audience),
            None,
        ),
        (
            json!({"iss": "us", "aud": []}),
            Some(Audience),
            Some(Audience),
        ),
        (
            json!({"iss": "us", "aud": "other"}),
            Some(Audience),
            Some(Audience),
        ),
        (json!({"iss": "them"}), None, Some(Issuer)),
        (json!({"iss": ["us"]}), Some(Claims), Some(Claims)),
        (json!({"exp": NOW}), Some(Expired), Some(Expired)),
        (json!({"exp": NOW - 1}), Some(Expired), Some(Expired)),
        (json!({"exp": -1}), Some(Claim("exp")), Some(Claim("exp"))),
        (
            json!({"exp": 1e300}),
            Some(Claim("exp")),
            Some(Claim("exp")),
        ),
        (json!({"exp": null}), Some(Claim("exp")), Some(Claim("exp"))),
        (json!({"exp": "9"}), Some(Claims), Some(Claims)),
        (json!({"nbf": NOW + 11}), Some(NotYet), Some(NotYet)),
        (json!({"nbf": NOW + 10}), None, Some(Issuer)),
        (json!({"nbf": 1.5}), None, Some(Issuer)),
    ] {
        let token = with(more.clone());
        let result = |verifier: &TokenVerifier| verifier.verify(token.as_bytes(), NOW).err();
        assert_eq!(result(&plain), in_plain, "{more}");
        assert_eq!(result(&strict), in_strict, "{more}");
    }
    assert_eq!(
        plain
            .verify(with(json!({"exp": 1_800_000_001.5})).as_bytes(), NOW)
            .unwrap()
            .expires,
        NOW + 1
    );
}

#[test]
fn a_token_is_for_its_subject() {
    let set = verifier(&set());
    let login = |name, claims: &Value| {
        login::principal(&set, name, web(claims).as_bytes(), WallTime(NOW * 1000))
    };
    for name in [None, Some("_jwt"), Some("alice")] {
        let who = login(name, &claims()).unwrap();
        assert_eq!((&*who.user, who.authenticated), ("alice", true));
    }
    for (name, subject, why) in [
        (Some("bob"), json!("alice"), "another user"),
        (None, json!("~x"), "`sub`"),
        (None, json!("me"), "`sub`"),
        (None, json!("x".repeat(129)), "`sub`"),
        (None, Value::Null, "`sub`"),
    ] {
        let refusal = login(name, &json!({"sub": subject, "exp": NOW + 1})).unwrap_err();
        assert!(refusal.reason.contains(why), "{refusal}");
        assert_eq!(
            refusal.code,
            roommq_broker::packet::ReasonCode::BadUserNameOrPassword
        );
    }
}

#[test]
fn tokens_are_told_from_passwords() {
    let token = web(&claims());
    for (name, password, is) in [
        (Some("alice"), &*token, true),
        (Some("alice"), "eyJ.a.b", true),
        (None, "anything", true),
        (Some("_jwt"), "anything", true),
        (Some("alice"), "secret", false),
        (Some("alice"), "eyJ.a", false),
        (Some("alice"), "eyJ.a.b.c", false),
        (Some("alice"), "eyJ.a b.c", false),
    ] {
        assert_eq!(login::is_token(name, password.as_bytes()), is, "{password}");
    }
}

#[test]
fn key_files_say_what_is_wrong_and_never_a_key() {
    let secret = "dG9wLXNlY3JldA";
    for (text, why) in [
        ("", "line 1 is neither"),
        ("{\n\"keys\": [}", "line 2 is neither"),
        (SECRET, "is neither JSON"),
        (r#"{"keys": []}"#, "the set is empty"),
        (
            &format!(r#"{{"kty":"oct","k":"{secret}"}}"#),
            "`k`: base64url of 32 bytes",
        ),
        (
            r#"{"keys":[{"kty":"EC","crv":"P-384"}]}"#,
            "key 1: a key of `kty` \"EC\" needs `crv` \"P-256\"",
        ),
        (r#"{"kty":"RSA","n":"AQAB","e":"AQAB"}"#, "`n`"),
        (r#"{"kty":"XYZ"}"#, "is not known"),
        (RSA, "private key"),
        (
            "-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----",
            "no public key",
        ),
    ] {
        let error = parse(text).unwrap_err();
        assert!(error.contains(why), "{text}: {error}");
        assert!(!error.contains(secret) && !error.contains(SECRET));
    }
    let one = json!({"kty": "oct", "kid": "a", "k": Base64UrlUnpadded::encode_string(&[1; 32])});
    let error = parse(&json!({"keys": [one, one]}).to_string()).unwrap_err();
    assert!(error.contains("\"a\""), "{error}");
    let mut other = one.clone();
    other["alg"] = "RS256".into();
    assert!(parse(&other.to_string()).unwrap_err().contains("HS256"));
    let shown = format!("{:?}", parse(&one.to_string()).unwrap());
    assert!(
        !shown.contains("AQEB") && !shown.contains("[1, 1"),
        "{shown}"
    );
}

#[test]
fn tokens_that_are_made_here_are_valid_here() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("key");
    let made = new_token_key().unwrap().to_string();
    for (private, public) in [
        (&*made, &*made),
        (RSA, RSA_PUBLIC),
        (EC, EC_PUBLIC),
        (ED, ED_PUBLIC),
        (&set(), &set()),
    ] {
        std::fs::write(&path, private).unwrap();
        let token = sign_token(&path, &claims()).unwrap();
        let verified = verifier(public).verify(token.as_bytes(), NOW).unwrap();
        assert_eq!(verified.claims.sub.as_deref(), Some("alice"));
    }
    for (text, why) in [
        (RSA_PUBLIC, "no private key"),
        ("x", "neither"),
        (r#"{"kty":"oct","k":"c2hvcnQ"}"#, "32 bytes"),
        (r#"{"kty":"EC"}"#, "private key as PEM"),
    ] {
        std::fs::write(&path, text).unwrap();
        let error = sign_token(&path, &claims()).unwrap_err().to_string();
        assert!(error.contains(why) && error.contains("key"), "{error}");
    }
}
