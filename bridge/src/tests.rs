#![allow(clippy::unwrap_used, clippy::expect_used)]
use super::*;
use bytes::Bytes;
use roommq_broker::packet::ReasonCode;
use roommq_broker::policy::{Actor, AuthStep, HookContext, SessionId, WallTime};
use roommq_config::Permission;

fn request(user_name: Option<&str>, password: Option<&'static [u8]>) -> ConnectRequest {
    ConnectRequest {
        client_id: "c".to_owned(),
        user_name: user_name.map(str::to_owned),
        password: password.map(Bytes::from_static),
        certificate_user: None,
        peer: std::net::SocketAddr::from(([127, 0, 0, 1], 1)).into(),
        now: WallTime(0),
    }
}

fn bridge_with_al() -> Arc<Bridge> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("users.toml");
    set_password(&path, "a/l", "right", Some(4_096)).unwrap();
    Bridge::new(&Settings::default(), load_users(&path).unwrap())
}

#[tokio::test]
async fn a_password_proves_the_user() {
    let bridge = bridge_with_al();
    let al = bridge
        .connect(request(Some("a/l"), Some(b"right")))
        .await
        .unwrap();
    assert_eq!((&*al.user, al.authenticated), ("a%2Fl", true));
    let nobody = bridge.connect(request(None, None)).await.unwrap();
    assert_eq!((&*nobody.user, nobody.authenticated), ("~c", false));
}

#[tokio::test]
async fn a_verified_certificate_needs_no_password() {
    let bridge = bridge_with_al();
    let mut certified = request(None, None);
    certified.certificate_user = Some("carol".to_owned());
    let carol = bridge.connect(certified.clone()).await.unwrap();
    assert_eq!((&*carol.user, carol.authenticated), ("carol", true));
    // A right password of another user does not count.
    certified.user_name = Some("a/l".to_owned());
    certified.password = Some(Bytes::from_static(b"right"));
    let refusal = bridge.connect(certified).await.unwrap_err();
    assert_eq!(refusal.code, ReasonCode::NotAuthorized);
}

#[tokio::test]
async fn an_unknown_user_and_a_wrong_password_get_the_same_answer() {
    let bridge = bridge_with_al();
    let wrong = bridge
        .connect(request(Some("a/l"), Some(b"wrong")))
        .await
        .unwrap_err();
    let unknown = bridge
        .connect(request(Some("eve"), Some(b"right")))
        .await
        .unwrap_err();
    assert_eq!(wrong, unknown);
    assert_eq!(wrong.code, ReasonCode::BadUserNameOrPassword);
}

#[tokio::test]
async fn names_that_are_too_long_for_a_topic_are_refused() {
    let bridge = bridge_with_al();
    let (longest, longer) = ("x".repeat(128), "x".repeat(129));
    let refusal = |user_name, client_id: &str| {
        let request = ConnectRequest {
            client_id: client_id.to_owned(),
            ..request(user_name, user_name.map(|_| &b"pw"[..]))
        };
        bridge.connect(request)
    };
    let long_name = refusal(Some(&longer), "c").await.unwrap_err();
    assert_eq!(long_name.code, ReasonCode::BadUserNameOrPassword);
    assert!(
        long_name.reason.contains("this one has 129"),
        "{long_name:?}"
    );
    let wrong = refusal(Some(&longest), "c").await.unwrap_err();
    assert_eq!(wrong, authorize::wrong_credentials());
    let long_id = refusal(None, &longest).await.unwrap_err();
    assert_eq!(long_id.code, ReasonCode::ClientIdentifierNotValid);
    assert!(refusal(None, &longest[1..]).await.is_ok());
}

#[tokio::test]
async fn anonymous_clients_are_refused_if_the_settings_say_so() {
    let mut settings = Settings::default();
    settings.auth.anonymous = false;
    let bridge = Bridge::new(&settings, Users::default());
    let refusal = bridge.connect(request(None, None)).await.unwrap_err();
    assert_eq!(refusal.code, ReasonCode::NotAuthorized);
}

#[test]
fn an_error_message_is_sent_once_a_second() {
    let bridge = Bridge::new(&Settings::default(), Users::default());
    let who = authorize::principal("al");
    let refusal = authorize::wrong_credentials();
    let tell = |now| {
        bridge.notice(
            &who,
            Attempt::Publish("rooms/a"),
            &refusal,
            now,
            WallTime(0),
        )
    };
    assert_eq!(tell(1_000).unwrap().topic, "inbox/al/error");
    assert!(tell(1_500).is_none());
    assert!(tell(2_000).is_some());
}

#[tokio::test]
async fn scram_sha_256_is_the_only_method() {
    let bridge = bridge_with_al();
    let begin = |method, name| bridge.authenticate(method, request(name, None));
    for other in ["SCRAM-SHA-1", "SCRAM-SHA-256-PLUS", "scram-sha-256", ""] {
        let refusal = begin(other, None).err().unwrap();
        assert_eq!(refusal.code, ReasonCode::BadAuthenticationMethod);
        assert!(refusal.reason.contains("SCRAM-SHA-256"));
    }
    let step = async |name, data: &'static str| {
        let mut exchange = begin("SCRAM-SHA-256", name).unwrap();
        exchange.step(Bytes::from(data)).await
    };
    for (name, first) in [
        (None, "n,,n=a/l,r=x"),
        (Some("a/l"), "n,,n=a/l,r=x"),
        (None, "n,,n=eve,r=x"),
    ] {
        let answer = step(name, first).await;
        assert!(matches!(answer, Ok(AuthStep::Continue(text)) if text.starts_with(b"r=x")));
    }
    for (name, first, code) in [
        (None, "n,,n=me,r=x", ReasonCode::BadUserNameOrPassword),
        (Some("eve"), "n,,n=a/l,r=x", ReasonCode::NotAuthorized),
        (None, "p=tls-exporter,,n=a/l,r=x", ReasonCode::NotAuthorized),
    ] {
        assert_eq!(step(name, first).await.unwrap_err().code, code, "{first}");
    }
}

#[test]
fn response_information_is_the_users_own_inbox() {
    let bridge = Bridge::new(&Settings::default(), Users::default());
    let who = authorize::principal("a/l");
    let told = bridge.response_information(&who);
    assert_eq!(told.as_deref(), Some("inbox/a%2Fl/response"));
}

#[test]
fn a_lane_shows_topics_outside_rooms_as_the_settings_say() {
    let mut settings = Settings::default();
    let bob = Actor {
        session: SessionId { term: 1, n: 1 },
        connection: 1,
        user: "bob",
    };
    let sees = |settings: &Settings, topic| {
        let bridge = Bridge::new(settings, Users::default());
        let mut hook = bridge.open(0);
        let mut cx = HookContext {
            now: 0,
            wall: WallTime(0),
            position: 1,
            effects: &mut Vec::new(),
        };
        hook.rules(&mut cx, 1, &bridge.rules()).unwrap();
        hook.may_see(bob, topic)
    };
    assert!(sees(&settings, "sensors/1"));
    settings.topics.outside_rooms = Permission::Deny;
    assert!(!sees(&settings, "sensors/1") && sees(&settings, "inbox/bob/error"));
}
