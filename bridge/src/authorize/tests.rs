#![allow(clippy::unwrap_used, clippy::expect_used)]
use super::*;
use crate::rules::tests::settings;
use roommq_config::{Permission, RoomCreation, Settings};

fn alice() -> Principal {
    principal("alice")
}

fn probe() -> Principal {
    Principal::new("~probe", false)
}

fn rules() -> Rules {
    Rules::new(&settings())
}

fn with(change: impl FnOnce(&mut Settings)) -> Rules {
    let mut settings = settings();
    change(&mut settings);
    Rules::new(&settings)
}

fn ask(rules: &Rules, who: &Principal, filter: &str) -> Result<SubscribeGrant, Refusal> {
    subscribe(rules, who, &filter.parse().unwrap())
}

fn send(rules: &Rules, who: &Principal, topic: &str) -> Result<String, Refusal> {
    let topic = topic.parse().unwrap();
    let permit = publish(rules, who, &topic)?;
    Ok(permit.resolved.unwrap_or(topic).as_str().to_owned())
}

#[track_caller]
fn assert_refused<T: std::fmt::Debug>(answer: Result<T, Refusal>, code: ReasonCode, part: &str) {
    let refusal = answer.unwrap_err();
    assert_eq!(refusal.code, code, "{refusal}");
    assert!(refusal.reason.contains(part), "{refusal}");
}

#[test]
fn a_connect_has_an_identity_or_is_refused() {
    use ReasonCode::{BadUserNameOrPassword as Bad, NotAuthorized as Not};
    let anonymous = connect(true, "c/1", None, false).unwrap();
    let principal = Principal::new("~c%2F1", false);
    assert_eq!(anonymous, ClaimedIdentity::Anonymous(principal));
    let claim = connect(false, "c", Some("al"), true).unwrap();
    assert_eq!(claim, ClaimedIdentity::Password("al"));
    assert_refused(
        connect(false, "c", None, false),
        Not,
        "user name and a password",
    );
    assert_refused(connect(true, "c", None, true), Bad, "needs a user name");
    // A CONNECT with a user name is never anonymous.
    assert_refused(connect(true, "c", Some("al"), false), Bad, "wrong");
    for kept in ["", "~c", "_x", "me"] {
        let answer = connect(true, "c", Some(kept), true);
        assert_refused(answer, Bad, "does not start with");
    }
}

#[test]
fn a_certificate_is_an_identity() {
    use ReasonCode::NotAuthorized as Not;
    for user_name in [None, Some("a/l")] {
        let claim = certified("a/l", user_name).unwrap();
        let principal = Principal::new("a%2Fl", true);
        assert_eq!(claim, ClaimedIdentity::Certificate(principal));
    }
    assert_refused(certified("al", Some("bob")), Not, "that of al;");
    for kept in ["", "~c", "_x", "me"] {
        assert_refused(certified(kept, None), Not, "the certificate's name");
    }
}

#[test]
fn open_rooms_are_joined_and_peeked() {
    let grant = ask(&rules(), &probe(), "rooms/lobby/#").unwrap();
    assert!(JoinProof::from_bytes(&grant.proof).may_create && !grant.guarded);
    assert_eq!(grant.filter.as_str(), "rooms/lobby/#");
    assert!(grant.mount.is_none());
    let peek = ask(&rules(), &probe(), "rooms/lobby/_presence/+").unwrap();
    assert!(peek.proof.is_empty() && !peek.guarded);
}

#[test]
fn listed_rooms_are_for_those_on_the_list() {
    let not = ReasonCode::NotAuthorized;
    let text = "staff-1 is for its members; ask the server's operator to add you";
    for filter in [
        "rooms/staff-1/#",
        "rooms/staff-1/_info",
        "rooms/staff-1/_presence/#",
    ] {
        assert!(ask(&rules(), &alice(), filter).is_ok());
        assert!(
            ask(&rules(), &probe(), filter).is_ok(),
            "~probe is listed as such"
        );
        assert_refused(ask(&rules(), &principal("probe"), filter), not, text);
    }
    assert!(send(&rules(), &alice(), "rooms/staff-1").is_ok());
    assert_refused(
        send(&rules(), &principal("eve"), "rooms/staff-1/x"),
        not,
        text,
    );
}

#[test]
fn rooms_create_applies_to_rooms_that_no_rule_matches() {
    let closed = with(|s| s.rooms.create = RoomCreation::Nobody);
    let not = ReasonCode::NotAuthorized;
    for filter in ["rooms/lobby/#", "rooms/lobby/_info"] {
        assert_refused(
            ask(&closed, &alice(), filter),
            not,
            "there is no room `lobby`",
        );
    }
    assert_refused(
        send(&closed, &alice(), "rooms/lobby"),
        not,
        "there is no room `lobby`",
    );
    assert!(ask(&closed, &alice(), "rooms/duo").is_ok());
    // Only the lane knows whether the room exists. The proof says whether the client may create it.
    let known = with(|s| s.rooms.create = RoomCreation::Authenticated);
    let may = |who: &Principal, filter: &str| {
        JoinProof::from_bytes(&ask(&known, who, filter).unwrap().proof).may_create
    };
    assert!(may(&alice(), "rooms/lobby") && !may(&probe(), "rooms/lobby"));
    assert!(may(&probe(), "rooms/duo"));
    assert!(send(&known, &probe(), "rooms/lobby").is_ok());
}

#[test]
fn refusals_of_bad_room_names_list_the_allowed_characters() {
    let bad = ReasonCode::TopicFilterInvalid;
    for filter in ["rooms/", "rooms//x", "rooms/a b/#", "rooms/_x", "rooms/é"] {
        assert_refused(ask(&rules(), &alice(), filter), bad, "A-Z a-z 0-9 . _ ~ -");
        let topic = filter.trim_end_matches('#');
        assert_refused(
            send(&rules(), &alice(), topic),
            ReasonCode::TopicNameInvalid,
            "A-Z",
        );
    }
    assert_refused(ask(&rules(), &alice(), "rooms"), bad, "rooms/<room>/#");
    assert_refused(ask(&rules(), &alice(), "inbox"), bad, "inbox/me/#");
    for alone in ["rooms", "inbox"] {
        let answer = send(&rules(), &alice(), alone);
        assert_refused(answer, ReasonCode::TopicNameInvalid, "rooms/<room>");
    }
}

#[test]
fn spanning_filters_are_guarded_and_never_join() {
    let denied = with(|s| s.topics.outside_rooms = Permission::Deny);
    for rules in [&rules(), &denied] {
        for filter in [
            "#",
            "+",
            "+/#",
            "+/lobby/x",
            "rooms/#",
            "rooms/+",
            "rooms/+/_info",
            "inbox/#",
            "inbox/+/error",
        ] {
            let grant = ask(rules, &probe(), filter).unwrap();
            assert!(grant.guarded && grant.proof.is_empty(), "{filter}");
        }
    }
}

#[test]
fn shared_subscriptions_stay_out_of_rooms_and_inboxes() {
    let off = ReasonCode::SharedSubscriptionsNotSupported;
    for inner in [
        "rooms/lobby/#",
        "rooms/#",
        "inbox/me/#",
        "inbox/bob/#",
        "rooms",
    ] {
        let answer = ask(&rules(), &alice(), &format!("$share/g/{inner}"));
        assert_refused(
            answer,
            off,
            "rooms have no shared subscriptions; subscribe without $share",
        );
    }
    let grant = ask(&rules(), &alice(), "$share/g/sensors/#").unwrap();
    assert!(!grant.guarded && grant.filter.share_group() == Some("g"));
    assert!(ask(&rules(), &alice(), "$share/g/#").is_ok());
}

#[test]
fn inboxes_are_private() {
    let grant = ask(&rules(), &alice(), "inbox/me/#").unwrap();
    assert_eq!(grant.filter.as_str(), "inbox/alice/#");
    let mount = Mount {
        real: "inbox/alice/".to_owned(),
        shown: "inbox/me/".to_owned(),
    };
    assert_eq!(grant.mount, Some(mount));
    assert!(!grant.guarded);
    assert_eq!(
        ask(&rules(), &alice(), "inbox/me").unwrap().filter.as_str(),
        "inbox/alice"
    );
    let named = ask(&rules(), &alice(), "inbox/alice/error").unwrap();
    assert!(named.mount.is_none() && !named.guarded);
    let not = ReasonCode::NotAuthorized;
    for filter in ["inbox/bob/#", "inbox/alicea", "inbox/"] {
        assert_refused(ask(&rules(), &alice(), filter), not, "inbox/me/#");
    }
    let own = format!("inbox/me/{}", "x".repeat(65_526));
    let answer = ask(&rules(), &alice(), &own);
    assert_refused(answer, ReasonCode::TopicFilterInvalid, "65,535");
}

#[test]
fn an_unsubscribe_resolves_as_a_subscribe_does() {
    let resolved = |filter: &str| resolve(&alice(), &filter.parse().unwrap());
    assert_eq!(resolved("inbox/me/#").as_str(), "inbox/alice/#");
    assert_eq!(resolved("inbox/me").as_str(), "inbox/alice");
    for same in ["inbox/mel", "rooms/me/#", "#", "$share/g/inbox/me/#"] {
        assert_eq!(resolved(same).as_str(), same);
    }
}

#[test]
fn direct_messages_carry_the_senders_own_name() {
    let dm = send(&rules(), &alice(), "inbox/bob/dm/alice");
    assert_eq!(dm.as_deref(), Ok("inbox/bob/dm/alice"));
    let own = send(&rules(), &alice(), "inbox/me/dm/alice");
    assert_eq!(own.as_deref(), Ok("inbox/alice/dm/alice"));
    for topic in ["inbox/bob/response", "inbox/bob/response/7/x"] {
        assert_eq!(send(&rules(), &alice(), topic).as_deref(), Ok(topic));
    }
    for topic in [
        "inbox/bob",
        "inbox/bob/responses",
        "inbox/bob/error",
        "inbox/bob/dm",
        "inbox/bob/dm/eve",
        "inbox/alice/reply",
        "inbox/bob/dm/alice/x",
        "inbox/me/error",
    ] {
        let answer = send(&rules(), &alice(), topic);
        assert_refused(answer, ReasonCode::NotAuthorized, "inbox/<user>/dm/alice");
    }
}

#[test]
fn reserved_levels_are_the_servers() {
    let not = ReasonCode::NotAuthorized;
    for (topic, part) in [
        ("rooms/lobby/_presence/alice", "`_presence` is reserved"),
        ("rooms/lobby/_events", "`_events` is reserved"),
        ("rooms/lobby/x/_y/z", "`_y` is reserved"),
        (
            "rooms/lobby/_ctl/kick",
            "requests under _ctl are not served yet",
        ),
    ] {
        assert_refused(send(&rules(), &alice(), topic), not, part);
    }
    assert!(send(&rules(), &alice(), "rooms/lobby/x_y/a_").is_ok());
    assert!(send(&rules(), &alice(), "rooms/lobby").is_ok());
}

#[test]
fn topics_outside_rooms_follow_the_settings() {
    let denied = with(|s| s.topics.outside_rooms = Permission::Deny);
    let not = ReasonCode::NotAuthorized;
    assert!(!ask(&rules(), &probe(), "sensors/+").unwrap().guarded);
    assert!(send(&rules(), &probe(), "sensors/1").is_ok());
    assert_refused(
        ask(&denied, &probe(), "sensors/+"),
        not,
        "rooms/ and inbox/",
    );
    assert_refused(
        send(&denied, &probe(), "sensors/1"),
        not,
        "rooms/ and inbox/",
    );
    assert!(ask(&denied, &probe(), "$SYS/#").is_ok());
    for topic in ["$SYS/x", "$SYS", "$share/g/a", "$share"] {
        assert_refused(send(&rules(), &alice(), topic), not, "`$SYS` and `$share`");
    }
}

#[test]
fn topics_that_start_with_dollar_follow_the_settings() {
    let not = ReasonCode::NotAuthorized;
    let no_dollar = with(|s| s.topics.dollar = Permission::Deny);
    let denied = with(|s| s.topics.outside_rooms = Permission::Deny);
    for topic in ["$aws/things/x", "$queue/a", "$SYSTEM", "$"] {
        assert!(send(&rules(), &probe(), topic).is_ok(), "{topic}");
        assert!(!ask(&rules(), &probe(), topic).unwrap().guarded, "{topic}");
        assert_refused(send(&no_dollar, &probe(), topic), not, "start with `$`");
        assert_refused(ask(&no_dollar, &probe(), topic), not, "start with `$`");
        // If only rooms are allowed, `topics.dollar` has no effect.
        assert_refused(send(&denied, &probe(), topic), not, "only topics under");
        assert_refused(ask(&denied, &probe(), topic), not, "only topics under");
    }
    assert!(send(&no_dollar, &probe(), "a/$b").is_ok());
    assert!(ask(&no_dollar, &probe(), "$SYS/#").is_ok());
}

#[test]
fn spanning_shared_subscriptions_need_the_whole_filter_allowed() {
    let denied = with(|s| s.topics.outside_rooms = Permission::Deny);
    let not = ReasonCode::NotAuthorized;
    assert_refused(ask(&denied, &probe(), "$share/g/#"), not, "rooms/ and");
    assert!(ask(&denied, &probe(), "#").is_ok());
}

#[test]
fn subscriptions_to_sys_follow_the_settings() {
    let not = ReasonCode::NotAuthorized;
    let filters = ["$SYS", "$SYS/#", "$SYS/broker/uptime", "$share/g/$SYS/#"];
    for (read, stranger, user) in [
        (SysReaders::Anyone, true, true),
        (SysReaders::Authenticated, false, true),
        (SysReaders::Nobody, false, false),
    ] {
        let rules = with(|s| s.sys.read = read);
        for filter in filters {
            for (who, may) in [(probe(), stranger), (alice(), user)] {
                let answer = ask(&rules, &who, filter);
                if may {
                    assert!(!answer.unwrap().guarded, "{read:?} {filter}");
                } else {
                    assert_refused(answer, not, "$SYS");
                }
            }
        }
        // Other topics that start with `$` are not `$SYS`, and wildcards do not match it
        // [MQTT-4.7.2-1].
        for filter in ["$SYSTEM/#", "$other", "#", "+/broker/#"] {
            assert!(ask(&rules, &probe(), filter).is_ok(), "{filter}");
        }
    }
}
