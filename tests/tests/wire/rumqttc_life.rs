//! Scenarios with rumqttc, over TCP and TLS.

use crate::rumqttc_client::{Member, Options};
use roommq_tests::everywhere::Everywhere;
use roommq_tests::wire::{BOTH, Version};

const STAFF: &str = "[presence]\ngrace = '300ms'\n\
                     [[room]]\nmatch = 'staff'\naccess = 'list'\nmembers = ['~boss']\n";

/// Runs a scenario in both versions over both transports, each with its own server.
fn lives(life: impl Fn(&Everywhere, &dyn Fn(&'static str) -> Options<'static>, Version)) {
    for version in BOTH {
        for tls in [false, true] {
            let server = Everywhere::start(STAFF);
            let options = |id| {
                let mut options = Options::new(version, id);
                options.tls = tls;
                options
            };
            life(&server, &options, version);
        }
    }
}

fn numbers(texts: &[String]) -> Vec<u32> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

#[test]
fn rumqttc_clients_of_both_versions_share_a_room() {
    let server = Everywhere::start(STAFF);
    let mut old = Member::connect(&server, &Options::new(Version::V311, "old"));
    let mut new = Member::connect(&server, &Options::new(Version::V5, "new"));
    assert!(old.subscribe("rooms/lobby/#", 2).0);
    old.message(|heard| heard.topic.ends_with("_presence/~old"));
    assert!(new.subscribe("rooms/lobby/#", 2).0);
    let roster = new.message(|heard| heard.topic.ends_with("_presence/~old"));
    assert!(roster.retain);
    old.event("joined", "~new");
    for qos in 0..=2 {
        let text = format!("from 3.1.1 {qos}");
        old.publish("rooms/lobby", &text, qos, false);
        old.said(&text);
        let heard = new.said(&text);
        assert_eq!(heard.qos, qos);
        let from = ("from".to_owned(), "~old".to_owned());
        assert!(heard.properties.contains(&from), "{heard:?}");
        let text = format!("from 5.0 {qos}");
        new.publish("rooms/lobby", &text, qos, false);
        new.said(&text);
        assert_eq!(old.said(&text).qos, qos);
    }
    new.vanish();
    old.event("lost", "~new");
    old.event("left", "~new");
    old.leave();
}

#[test]
fn rumqttc_handles_retained_messages_refusals_and_wills() {
    lives(|server, options, version| {
        let mut watcher = Member::connect(server, &options("watcher"));
        watcher.publish("rooms/lobby/sign", "kept", 1, true);
        assert!(watcher.subscribe("rooms/lobby/#", 1).0);
        assert!(watcher.said("kept").retain);
        assert!(watcher.subscribe("inbox/me/#", 1).0);
        let (granted, code) = watcher.subscribe("rooms/staff/#", 1);
        assert!(!granted);
        if version == Version::V5 {
            assert_eq!(code, "NotAuthorized");
        } else {
            let told = watcher.message(|heard| heard.topic == "inbox/me/error");
            assert!(told.text.contains("staff"), "{told:?}");
        }
        let mut doomed = options("doomed");
        doomed.will = Some(("rooms/lobby/will", "farewell"));
        let doomed = Member::connect(server, &doomed);
        doomed.vanish();
        assert_eq!(watcher.said("farewell").topic, "rooms/lobby/will");
        watcher.leave();
    });
}

#[test]
fn messages_wait_for_an_offline_rumqttc_client() {
    lives(|server, options, _| {
        let mut sender = Member::connect(server, &options("sender"));
        let mut wanted = options("absent");
        wanted.keep = true;
        for topic in ["away/x", "rooms/lobby/x"] {
            let mut absent = Member::connect(server, &wanted);
            assert!(!absent.present);
            assert!(absent.subscribe(topic, 2).0);
            let mut here = Some(absent);
            for round in 0..4 {
                let mut absent = here.take().unwrap();
                // The client sends its last PUBCOMP before the PUBACK comes. rumqttc treats a PUBREL as an error if another
                // process of the client must answer it.
                absent.publish("settled", "", 1, false);
                if round % 2 == 0 {
                    absent.leave();
                } else {
                    absent.vanish();
                }
                for n in 0..20 {
                    sender.publish(topic, &n.to_string(), 1 + (round + n) % 2, false);
                }
                let mut absent = Member::connect(server, &wanted);
                assert!(absent.present);
                let end = format!("end {round}");
                sender.publish(topic, &end, 2, false);
                let got = numbers(&absent.said_until(&end));
                assert_eq!(got, (0..20).collect::<Vec<_>>());
                here = Some(absent);
            }
            here.unwrap().leave();
            Member::connect(server, &options("absent")).leave();
        }
        sender.leave();
    });
}

#[test]
fn rumqttc_members_share_a_subscription() {
    lives(|server, options, _| {
        let mut members = ["one", "two"].map(|id| Member::connect(server, &options(id)));
        for member in &mut members {
            // One lane: the end comes after all earlier messages.
            assert!(member.subscribe("$share/team/jobs/x/work", 2).0);
            assert!(member.subscribe("jobs/x/end", 2).0);
        }
        let mut sender = Member::connect(server, &options("boss"));
        for n in 0..20 {
            sender.publish("jobs/x/work", &n.to_string(), 2, false);
        }
        sender.publish("jobs/x/end", "end", 2, false);
        let mut got = Vec::new();
        for member in &mut members {
            let own = member.said_until("end");
            assert!(!own.is_empty());
            got.extend(numbers(&own));
        }
        got.sort_unstable();
        assert_eq!(got, (0..20).collect::<Vec<_>>());
        for member in members {
            member.leave();
        }
        sender.leave();
    });
}
