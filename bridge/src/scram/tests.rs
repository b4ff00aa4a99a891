#![allow(clippy::unwrap_used, clippy::expect_used)]
use super::*;
use proptest::prelude::*;
use roommq_rooms::topics::BadUserName;
use std::collections::{HashMap, HashSet};
use std::sync::LazyLock;

/// The exchange of RFC 7677, section 3.
const FIRST: &str = "n,,n=user,r=rOprNGfwEbeRWgbNEkqO";
const NONCES: &str = "rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
const SERVER_FIRST: &str =
    "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
const PROOF: &str = "dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
const SIGNATURE: &str = "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=";

fn rfc_verifier() -> Verifier {
    static VERIFIER: LazyLock<Verifier> = LazyLock::new(|| {
        let salt = Base64::decode_vec("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap();
        Verifier::of("pencil", salt, 4_096)
    });
    VERIFIER.clone()
}

/// `user` with the password `pencil`, and `old`, whose password was set without SCRAM.
fn verifiers() -> Arc<Verifiers> {
    let verifiers = HashMap::from([("user".to_owned(), rfc_verifier())]);
    let without = HashSet::from(["old".to_owned()]);
    Arc::new(Verifiers::new(verifiers, without, DecoyKey([7; 32]), 4_096))
}

fn exchange(expected: Option<&str>) -> Exchange {
    Exchange::new(verifiers(), expected.map(str::to_owned), [5; NONCE])
}

fn challenge(exchange: &mut Exchange, first: &str) -> String {
    match exchange.step(first.as_bytes()) {
        Ok(ScramReply::Challenge(text)) => text,
        other => panic!("{first}: {other:?}"),
    }
}

/// The client's last message of an exchange that began with `first` and `answer`.
fn last(first: &str, answer: &str, password: &str) -> String {
    let bare = first.splitn(3, ',').nth(2).unwrap();
    let header = &first[..first.len() - bare.len()];
    let mut fields = answer.split(',').map(|field| &field[2..]);
    let (nonce, salt, iterations) = (
        fields.next().unwrap(),
        fields.next().unwrap(),
        fields.next().unwrap(),
    );
    let salt = Base64::decode_vec(salt).unwrap();
    let binding = Base64::encode_string(header.as_bytes());
    let without_proof = format!("c={binding},r={nonce}");
    let signed = format!("{bare},{answer},{without_proof}");
    let proof = client_proof(password, &salt, iterations.parse().unwrap(), &signed);
    format!("{without_proof},p={}", Base64::encode_string(&proof))
}

/// The client's computation of RFC 5802, section 3.
fn client_proof(password: &str, salt: &[u8], iterations: u32, signed: &str) -> [u8; 32] {
    use hmac::{Hmac, KeyInit, Mac};
    use sha2::{Digest, Sha256};
    let mac = |key: &[u8], data: &[u8]| -> [u8; 32] {
        let mac = Hmac::<Sha256>::new_from_slice(key).unwrap();
        mac.chain_update(data).finalize().into_bytes().into()
    };
    let mut salted = [0; 32];
    pbkdf2::pbkdf2_hmac::<Sha256>(password.as_bytes(), salt, iterations, &mut salted);
    let mut proof = mac(&salted, b"Client Key");
    let signature = mac(&Sha256::digest(proof), signed.as_bytes());
    proof.iter_mut().zip(signature).for_each(|(a, b)| *a ^= b);
    proof
}

#[test]
fn the_exchange_of_the_rfc() {
    let verifier = rfc_verifier();
    let without_proof = format!("c=biws,r={NONCES}");
    let bare = &FIRST["n,,".len()..];
    let signed = format!("{bare},{SERVER_FIRST},{without_proof}");
    let proof = Base64::decode_vec(PROOF).unwrap().try_into().unwrap();
    assert!(verifier.proves(signed.as_bytes(), &proof));
    let signature = Base64::encode_string(&verifier.sign(signed.as_bytes()));
    assert_eq!(format!("v={signature}"), SIGNATURE);

    // The same from the challenge on: the RFC's nonce has characters that ours never has.
    let challenged = |proof: &str| {
        let challenged = PendingProof {
            user: "user".to_owned(),
            verifier: rfc_verifier(),
            known: true,
            nonce: NONCES.to_owned(),
            header: "n,,".to_owned(),
            so_far: format!("{bare},{SERVER_FIRST}"),
        };
        challenged.check(format!("{without_proof},p={proof}").as_bytes())
    };
    let proven = ScramReply::Proved {
        user: "user".to_owned(),
        signature: SIGNATURE.to_owned(),
    };
    assert_eq!(challenged(PROOF), Ok(proven));
    let other = PROOF.replace("dHzb", "eHzb");
    assert_eq!(challenged(&other), Err(ScramError::WrongCredentials));
    assert_eq!(
        client_proof("pencil", &rfc_verifier().salt, 4_096, &signed),
        proof
    );
}

#[test]
fn a_verifier_is_written_and_read() {
    let text = rfc_verifier().to_string();
    assert!(text.starts_with("SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$"));
    assert!(text.parse::<Verifier>().is_ok_and(|v| v == rfc_verifier()));
}

#[test]
fn only_the_right_password_is_proved() {
    for (first, password, user) in [
        (FIRST, "pencil", Some("user")),
        ("y,,n=user,r=abc", "pencil", Some("user")),
        ("n,a=user,n=user,r=abc,x=more", "pencil", Some("user")),
        ("n,,n=us\u{ad}er,r=abc", "pencil", Some("user")),
        (FIRST, "pencil ", None),
        (FIRST, "", None),
        ("n,,n=old,r=abc", "pencil", None),
        ("n,,n=eve,r=abc", "pencil", None),
    ] {
        let mut exchange = exchange(None);
        let answer = challenge(&mut exchange, first);
        let last = last(first, &answer, password);
        let result = exchange.step(last.as_bytes());
        match (user, result) {
            (Some(name), Ok(ScramReply::Proved { user, .. })) => assert_eq!(user, name),
            (None, Err(ScramError::WrongCredentials)) => {}
            (_, other) => panic!("{first}: {other:?}"),
        }
        assert!(matches!(
            exchange.step(last.as_bytes()),
            Err(ScramError::BadMessage(_))
        ));
    }
}

/// A client cannot find out which names exist.
#[test]
fn an_unknown_user_is_challenged_like_a_user() {
    let mut seen = HashSet::new();
    for name in ["user", "old", "eve", "eve2"] {
        let first = format!("n,,n={name},r=abc");
        let answer = challenge(&mut exchange(None), &first);
        let again = challenge(&mut exchange(None), &first);
        assert_eq!(answer, again, "the same salt each time");
        assert!(answer.ends_with(",i=4096"), "{answer}");
        assert_eq!(
            answer.len(),
            challenge(&mut exchange(None), FIRST).len() - 17
        );
        assert!(seen.insert(answer), "a salt for each name");
    }
}

#[test]
fn names_must_agree() {
    let with = |first: &str, expected| exchange(expected).step(first.as_bytes());
    assert!(with(FIRST, Some("user")).is_ok());
    assert!(with(FIRST, Some("us\u{ad}er")).is_ok(), "prepared too");
    assert_eq!(with(FIRST, Some("User")), Err(ScramError::OtherUserName));
    assert_eq!(with(FIRST, Some("")), Err(ScramError::OtherUserName));
    let other = "n,a=root,n=user,r=abc";
    assert_eq!(with(other, None), Err(ScramError::OtherIdentity));
    for reserved in ["me", "~x", "_x"] {
        let first = format!("n,,n={reserved},r=abc");
        assert_eq!(
            with(&first, None),
            Err(ScramError::BadName(BadUserName::Reserved))
        );
    }
}

#[test]
fn a_name_may_have_commas_and_equals_signs() {
    let first = ClientFirst::parse("n,,n==2Ca=3D=2C,r=x").unwrap();
    assert_eq!(
        (first.name.as_str(), first.bare),
        (",a=,", "n==2Ca=3D=2C,r=x")
    );
    for bad in ["=", "=2", "=2c", "a=3D=", "=2é", "a\0"] {
        let first = format!("n,,n={bad},r=x");
        assert!(ClientFirst::parse(&first).is_err(), "{bad}");
    }
}

#[test]
fn a_client_may_send_its_first_message_when_asked_and_only_once() {
    let mut exchange = exchange(None);
    assert_eq!(challenge(&mut exchange, ""), "");
    assert!(challenge(&mut exchange, FIRST).starts_with("r="));
    let mut silent = self::exchange(None);
    assert_eq!(challenge(&mut silent, ""), "");
    assert!(matches!(silent.step(b""), Err(ScramError::BadMessage(_))));
}

#[test]
fn invalid_first_messages() {
    for bad in [
        "",
        "n",
        "n,,",
        "n,,n=user",
        "n,,r=abc,n=user",
        "n,,n=user,r=",
        "n,,n=,r=abc",
        "n,,n=user,r=a b",
        "n,,n=user,r=\u{e9}",
        "n,x,n=user,r=abc",
        "n,a=,n=user,r=abc",
        "N,,n=user,r=abc",
        "n,,m=x,n=user,r=abc",
        "n,,n=user,r=abc,m=x",
        "n,,n=user,r=abc,",
        "n,,n=user,r=abc,x",
        &format!("n,,n=user,r={}", "x".repeat(257)),
    ] {
        let failed = ClientFirst::parse(bad);
        assert!(matches!(failed, Err(ScramError::BadMessage(_))), "{bad}");
    }
    for bound in ["p=tls-unique,,n=user,r=abc", "p=,,n=user,r=abc"] {
        assert_eq!(ClientFirst::parse(bound), Err(ScramError::ChannelBinding));
    }
}

#[test]
fn invalid_last_messages() {
    let answer = challenge(&mut exchange(None), FIRST);
    let good = last(FIRST, &answer, "pencil");
    let judge = |last: &str| {
        let mut exchange = exchange(None);
        challenge(&mut exchange, FIRST);
        exchange.step(last.as_bytes())
    };
    assert!(judge(&good).is_ok());
    for bad in [
        String::new(),
        good.replace("c=biws", "c=eSws"),
        good.replace("c=biws", "c=biws=="),
        good.replace("r=rOpr", "r=xOpr"),
        good.replace(",p=", ",q="),
        good.replace(",p=", ",m=x,p="),
        good.replace(",p=", ",p=AAAA,p="),
        good.replace("c=biws,", ""),
        format!("{good}="),
        format!("{good},x=y"),
    ] {
        assert!(judge(&bad).is_err(), "{bad}");
    }
    // The proof signs the whole exchange.
    let extended = good.replace(",p=", ",x=y,p=");
    assert_eq!(judge(&extended), Err(ScramError::WrongCredentials));
}

proptest! {
    #[test]
    fn no_bytes_panic(first: Vec<u8>, last: Vec<u8>) {
        let mut exchange = exchange(None);
        let _ = exchange.step(&first);
        let _ = exchange.step(&last);
    }

    #[test]
    fn no_nearly_valid_text_panics(first in "[nyp]?=?,?(a=)?[a-z=,2CD3]{0,9},?n?=[a-z=23CDé\\x00]{0,9},?r?=?[!-~]{0,9}", last in "(c=)?[A-Za-z+=]{0,9},?(r=)?[!-~]{0,9}(,p=)?[A-Za-z0-9/=]{0,50}") {
        let mut exchange = exchange(None);
        let _ = exchange.step(first.as_bytes());
        let proven = matches!(exchange.step(last.as_bytes()), Ok(ScramReply::Proved { .. }));
        prop_assert!(!proven);
    }

    #[test]
    fn random_bytes_prove_nobody(last: [u8; 32]) {
        let mut exchange = exchange(None);
        let answer = challenge(&mut exchange, FIRST);
        let nonce = answer.split(',').next().unwrap();
        let proof = Base64::encode_string(&last);
        let last = format!("c=biws,{nonce},p={proof}");
        prop_assert_eq!(exchange.step(last.as_bytes()), Err(ScramError::WrongCredentials));
    }

    #[test]
    fn any_verifier_text_is_read_or_refused(text in "(SCRAM-SHA-256)?\\$?[0-9]{0,12}:?[A-Za-z=]{0,12}\\$?[A-Za-z0-9+/=]{0,50}:?[A-Za-z0-9+/=]{0,50}") {
        let _ = text.parse::<Verifier>();
    }
}
