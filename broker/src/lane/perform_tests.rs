#![allow(clippy::unwrap_used)]
use super::super::scene::lane_with;
use super::*;
use crate::lane::Mailboxes;
use crate::packet::{QoS, RetainHandling, SubscribeOptions, TopicFilter, TopicName};
use crate::policy::{
    Actor, AllowAll, BoxFuture, ConnectRequest, Effect, EndReason, HookContext, LaneHook,
    LaneHooks, Limit, Mark, Message, Mount, Notice, Policy, Principal, PublishPermit, Request,
    RestoreError, Stamps, SubscribeGrant, Verdict, WallTime,
};
use crate::session::MessageNo;
use crate::session::{Answer, OutboundLimits};
use crate::sessions::Sessions;
use parking_lot::Mutex;
use roommq_lane::{
    DisconnectEntry, FilterEntry, PropertiesEntry, RetainedLimits, UnsubscribeEntry,
};

const RETAINED_LIMITS: RetainedLimits = RetainedLimits {
    messages: 4,
    bytes: 2_000,
};

/// Notes which refusals the sender would be told.
#[derive(Default)]
struct Refusals(Mutex<Vec<String>>);

impl Policy for Refusals {
    fn connect(&self, request: ConnectRequest) -> BoxFuture<'_, Result<Principal, Refusal>> {
        AllowAll.connect(request)
    }
    fn resolve(&self, who: &Principal, filter: &TopicFilter) -> TopicFilter {
        AllowAll.resolve(who, filter)
    }
    fn subscribe<'a>(
        &'a self,
        who: &'a Principal,
        filter: &'a TopicFilter,
    ) -> BoxFuture<'a, Result<SubscribeGrant, Refusal>> {
        AllowAll.subscribe(who, filter)
    }
    fn publish(
        &self,
        who: &Principal,
        topic: &TopicName,
        retain: bool,
    ) -> Result<PublishPermit, Refusal> {
        Policy::publish(&AllowAll, who, topic, retain)
    }
    fn notice(
        &self,
        who: &Principal,
        attempt: Attempt<'_>,
        refusal: &Refusal,
        _: u64,
        _: WallTime,
    ) -> Option<Notice> {
        let refused = format!("{} {attempt:?} {refusal}", who.user);
        self.0.lock().push(refused);
        None
    }
}

/// Refuses topics and filters that end in `no`, sets user properties, and hides topics that end in
/// `secret` from guarded subscriptions.
struct Picky;

impl LaneHook for Picky {
    fn judge(
        &mut self,
        _: &mut HookContext<'_>,
        _: Actor<'_>,
        requests: &[Request<'_>],
    ) -> Vec<Result<(), Refusal>> {
        let answer = |r: &Request<'_>| {
            if r.filter.ends_with("no") {
                Err(no())
            } else {
                Ok(())
            }
        };
        requests.iter().map(answer).collect()
    }
    fn subscribed(&mut self, cx: &mut HookContext<'_>, who: Actor<'_>, _: &[Request<'_>]) {
        cx.effects.push(Effect::Publish {
            topic: "t/joined".into(),
            payload: who.user.to_owned().into(),
            retain: true,
        });
    }
    fn disconnected(&mut self, cx: &mut HookContext<'_>, who: Actor<'_>, reason: &EndReason) {
        cx.effects.push(Effect::Publish {
            topic: "t/gone".into(),
            payload: format!("{} {reason:?}", who.user).into(),
            retain: false,
        });
    }
    fn publish(
        &mut self,
        _: &mut HookContext<'_>,
        _: Actor<'_>,
        message: Message<'_>,
    ) -> Result<Verdict, Refusal> {
        if message.topic.ends_with("no") {
            return Err(no());
        }
        let keep = message.retain;
        Ok(Verdict {
            mark: Mark(1, 2),
            keep,
            limit: Limit::OfLane,
        })
    }
    fn stamps(&self, who: Actor<'_>, _: &str, mark: Mark, _: WallTime) -> Stamps {
        vec![
            ("from", Some(format!("{}{}", who.user, mark.1))),
            ("fake", None),
        ]
    }
    fn may_see(&self, _: Actor<'_>, topic: &str) -> bool {
        !topic.ends_with("secret")
    }
    fn snapshot(&self, _: &mut Vec<u8>) -> u16 {
        0
    }
    fn restore(&mut self, _: u16, _: &[u8]) -> Result<(), RestoreError> {
        Ok(())
    }
}

fn no() -> Refusal {
    Refusal {
        code: ReasonCode::NotAuthorized,
        reason: "no".into(),
    }
}

const ALICE: Actor<'static> = origin(1, 1, "alice");
const BOB: Actor<'static> = origin(2, 1, "bob");

const fn origin(n: u64, connection: u32, user: &'static str) -> Actor<'static> {
    Actor {
        session: SessionId { term: 1, n },
        connection,
        user,
    }
}

/// A lane of a node with a few sessions.
struct Scene {
    running: Running,
    context: NodeContext,
    refusals: Arc<Refusals>,
}

impl Scene {
    /// Alice's client uses 3.1.1, Bob's 5.0.
    fn new(hook: Box<dyn LaneHook>) -> Self {
        let refusals: Arc<Refusals> = Arc::default();
        let scene = Scene {
            running: Running::new(lane_with(0, hook, RETAINED_LIMITS)),
            context: NodeContext {
                sessions: Arc::new(Sessions::new(1, 0)),
                mailboxes: Mailboxes::new(1).0,
                limits: Arc::default(),
                timers: Arc::default(),
                policy: refusals.clone(),
            },
            refusals,
        };
        for (who, version) in [(ALICE, Version::V3), (BOB, Version::V5)] {
            scene.connect(who, &outbox(version));
        }
        scene
    }

    /// Gives a session its outbox.
    fn connect(&self, who: Actor<'_>, outbox: &Arc<Outbox>) {
        self.context.sessions.put(who.session, outbox);
    }

    fn outbox(&self, who: Actor<'_>) -> Arc<Outbox> {
        self.context.sessions.outbox(who.session).unwrap()
    }

    fn apply(&mut self, entry: &Entry<'_>) {
        let to_flush = &mut Vec::new();
        // Rules that cannot be read are an error.
        let node = (&self.context, &mut *to_flush);
        let applied = self
            .running
            .apply([entry], node, &mut usize::MAX.clone(), |_| {});
        let mut applied = applied.map(|_| ());
        while applied.is_ok() && self.running.is_unfinished() {
            applied = self.running.go_on(&self.context, to_flush);
        }
    }

    fn refused(&self) -> Vec<String> {
        self.refusals.0.lock().clone()
    }

    /// Whether the lane and its links have forgotten these sessions.
    fn has_forgotten(&self, sessions: &[Actor<'_>]) -> bool {
        let lane = &self.running.lane;
        let mut slots = sessions.iter().map(|who| lane.slot_of(who.session));
        let Links { leaving, .. } = &self.running.links;
        slots.all(|slot| slot.is_none())
            && self.running.links.iter().next().is_none()
            && leaving.is_empty()
    }

    fn subscribe(
        &mut self,
        who: Actor<'_>,
        filters: &[&str],
        change: impl Fn(&mut FilterEntry<'_>),
    ) {
        let outbox = self.outbox(who);
        let codes = vec![ReasonCode::Success; filters.len()];
        outbox.queue(|o| {
            o.expect_answer(
                1,
                Answer::SubAck(9.try_into().unwrap(), Vec::new()),
                codes,
                None,
                1,
                0,
            );
        });
        let filters = (0..).zip(filters).map(|(position, filter)| {
            let mut entry = FilterEntry {
                position,
                filter,
                options: SubscribeOptions {
                    qos: QoS::AtLeastOnce,
                    no_local: false,
                    retain_as_published: false,
                    retain_handling: RetainHandling::Send,
                },
                mount: None,
                guarded: false,
                proof: &[],
            };
            change(&mut entry);
            entry
        });
        self.apply(&Entry::Subscribe(SubscribeEntry {
            who,
            request_id: 1,
            keeps: false,
            identifier: 0,
            filters: filters.collect(),
        }));
    }

    fn publish(&mut self, who: Actor<'_>, topic: &str, retain: bool) {
        self.apply(&Entry::Publish(message(Some(who), topic, b"m", retain)));
    }

    /// The packets that a session was sent: the first byte of each, and what follows the length.
    fn sent(&mut self, who: Actor<'_>) -> Vec<(u8, Vec<u8>)> {
        let bytes = self.outbox(who).take_bytes();
        let mut rest = &bytes[..];
        let mut packets = Vec::new();
        while let [first, length, ..] = rest {
            let end = 2 + usize::from(*length);
            packets.push((*first, rest[2..end].to_vec()));
            rest = &rest[end..];
        }
        packets
    }

    /// The topics of the PUBLISH packets that a session was sent.
    fn topics(&mut self, who: Actor<'_>) -> Vec<String> {
        let publishes = self
            .sent(who)
            .into_iter()
            .filter(|(first, _)| first >> 4 == 3);
        let topic = |b: &[u8]| String::from_utf8(b[2..2 + usize::from(b[1])].to_vec()).unwrap();
        publishes.map(|(_, body)| topic(&body)).collect()
    }
}

fn outbox(version: Version) -> Arc<Outbox> {
    let limits = OutboundLimits {
        bytes: 10_000,
        messages: 10,
        receive_maximum: 100,
        maximum_packet_size: None,
        problem_information: true,
        topic_aliases: 0,
        age: u64::MAX,
    };
    Arc::new(Outbox::connected(version, limits))
}

fn message<'a>(
    origin: Option<Actor<'a>>,
    topic: &'a str,
    payload: &'a [u8],
    retain: bool,
) -> PublishEntry<'a> {
    PublishEntry {
        origin,
        topic,
        payload,
        qos: QoS::AtMostOnce,
        retain,
        properties: None,
    }
}

fn allow_all() -> Scene {
    Scene::new(AllowAll.open(0))
}

#[test]
fn suback_then_retained_messages_then_the_hooks_effects() {
    let mut s = Scene::new(Box::new(Picky));
    s.publish(BOB, "t/old", true);
    s.subscribe(ALICE, &["t/#", "t/no"], |_| ());
    let sent = s.sent(ALICE);
    assert_eq!(
        sent[0],
        (0x90, vec![0, 9, 1, 0x80]),
        "3.1.1 has one failure code"
    );
    assert_eq!(
        sent[1],
        (0x31, b"\0\x05t/oldm".to_vec()),
        "retained, flag set"
    );
    assert_eq!(sent[2].0 & 0xF1, 0x30, "live: flag clear");
    assert_eq!(&sent[2].1[2..10], b"t/joined");
    assert_eq!(sent.len(), 3);
    assert_eq!(s.refused(), ["alice Subscribe(\"t/no\") no"]);
}

/// The message that the hook publishes about Alice replaces the one about Bob.
#[test]
fn a_retained_message_that_the_join_replaces_comes_live_only() {
    let mut s = Scene::new(Box::new(Picky));
    s.subscribe(BOB, &["t/#"], |_| ());
    s.subscribe(ALICE, &["t/#"], |_| ());
    let live = [
        (0x90, vec![0, 9, 1]),
        (0x32, b"\0\x08t/joined\0\x01alice".to_vec()),
    ];
    assert_eq!(s.sent(ALICE), live);
}

#[test]
fn with_5_0_the_suback_alone_carries_a_refusal() {
    let mut s = Scene::new(Box::new(Picky));
    s.subscribe(BOB, &["t/no"], |_| ());
    let suback = vec![0, 9, 5, 0x1F, 0, 2, b'n', b'o', 0x87];
    assert_eq!(s.sent(BOB), [(0x90, suback)]);
    assert!(s.refused().is_empty());
    s.publish(BOB, "t/no", true);
    assert_eq!(s.refused(), ["bob Publish(\"t/no\") no"]);
    s.subscribe(ALICE, &["t/#"], |_| ());
    assert!(
        !s.topics(ALICE).contains(&"t/no".to_owned()),
        "a refused message is not retained"
    );
}

/// The first is written without a frame, the second is too large for that.
#[test]
fn a_message_of_one_receiver_is_flushed_whatever_its_size() {
    let mut s = allow_all();
    s.subscribe(BOB, &["t"], |_| ());
    for payload in [&b"m"[..], &[b'x'; 5_000]] {
        s.outbox(BOB).take_bytes();
        let (entry, mut to_flush) = (message(None, "t", payload, false), Vec::new());
        s.running
            .apply(
                [Entry::Publish(entry)],
                (&s.context, &mut to_flush),
                &mut usize::MAX.clone(),
                |_| {},
            )
            .unwrap();
        assert_eq!(to_flush.len(), 1, "{} bytes", payload.len());
        assert!(s.outbox(BOB).take_bytes().ends_with(payload));
    }
}

#[test]
fn the_hooks_user_properties_replace_those_that_a_client_forged() {
    let mut s = Scene::new(Box::new(Picky));
    s.subscribe(BOB, &["t/a"], |_| ());
    s.sent(BOB);
    let properties = PropertiesEntry {
        payload_format_indicator: None,
        message_expiry: None,
        content_type: None,
        response_topic: None,
        correlation_data: None,
        user_properties: [("from", "mallory"), ("fake", "x"), ("own", "y")]
            .map(|(n, v)| (n.into(), v.into()))
            .to_vec()
            .into(),
    };
    s.apply(&Entry::Publish(PublishEntry {
        properties: Some(Box::new(properties)),
        ..message(Some(ALICE), "t/a", b"", false)
    }));
    let sent = s.sent(BOB);
    let text = String::from_utf8_lossy(&sent[0].1).into_owned();
    assert!(text.contains("alice2") && text.contains("own"), "{text:?}");
    assert!(
        !text.contains("mallory") && !text.contains("fake"),
        "{text:?}"
    );
}

#[test]
fn overlapping_filters_give_one_copy_at_the_highest_qos() {
    let mut s = allow_all();
    let low = |f: &mut FilterEntry<'_>| {
        if f.position == 0 {
            f.options.qos = QoS::AtMostOnce;
        }
    };
    s.subscribe(ALICE, &["t/+", "t/a", "t/#"], low);
    s.sent(ALICE);
    let publish = PublishEntry {
        qos: QoS::ExactlyOnce,
        ..message(Some(BOB), "t/a", b"", false)
    };
    s.apply(&Entry::Publish(publish));
    assert_eq!(s.sent(ALICE), [(0x32, b"\0\x03t/a\0\x01".to_vec())]);
}

#[test]
fn a_filter_named_twice_brings_retained_messages_at_each_qos() {
    let mut s = allow_all();
    s.apply(&Entry::Publish(PublishEntry {
        qos: QoS::AtLeastOnce,
        ..message(Some(BOB), "t/a", b"m", true)
    }));
    s.subscribe(ALICE, &["t/a", "t/a"], |f| {
        if f.position == 1 {
            f.options.qos = QoS::AtMostOnce;
        }
    });
    let kinds: Vec<u8> = s.sent(ALICE).iter().map(|(first, _)| *first).collect();
    assert_eq!(kinds, [0x90, 0x33, 0x31]);
}

#[test]
fn subscription_options_take_effect() {
    let mut s = allow_all();
    s.publish(ALICE, "t/a", true);
    s.subscribe(BOB, &["t/a"], |f| {
        f.options.no_local = true;
        f.options.retain_as_published = true;
        f.options.retain_handling = RetainHandling::SendIfNew;
    });
    assert_eq!(s.topics(BOB), ["t/a"]);
    s.publish(BOB, "t/a", false);
    assert!(s.topics(BOB).is_empty(), "no local");
    s.publish(ALICE, "t/a", true);
    assert_eq!(s.sent(BOB)[0].0, 0x31, "retain as published");
    s.subscribe(BOB, &["t/a"], |f| {
        f.options.retain_handling = RetainHandling::SendIfNew;
    });
    assert!(s.topics(BOB).is_empty(), "not new");
    s.subscribe(BOB, &["t/a"], |f| {
        f.options.retain_handling = RetainHandling::DoNotSend;
    });
    assert!(s.topics(BOB).is_empty());
}

#[test]
fn guarded_and_mounted_subscriptions() {
    let mut s = Scene::new(Box::new(Picky));
    s.publish(ALICE, "t/old-secret", true);
    s.subscribe(BOB, &["#"], |f| f.guarded = true);
    assert_eq!(s.topics(BOB), ["t/joined"]);
    s.publish(ALICE, "t/secret", false);
    s.publish(ALICE, "t/open", false);
    assert_eq!(s.topics(BOB), ["t/open"]);
    s.subscribe(ALICE, &["t/x/#"], |f| {
        f.mount = Some(Mount {
            real: "t/x/".into(),
            shown: "me/".into(),
        });
    });
    s.sent(ALICE);
    s.publish(BOB, "t/x/y", false);
    assert_eq!(s.topics(ALICE), ["me/y"]);
}

#[test]
fn past_the_limits_a_message_is_delivered_but_not_retained_and_its_sender_told() {
    let mut s = allow_all();
    s.subscribe(BOB, &["live/#"], |f| f.options.qos = QoS::AtMostOnce);
    s.sent(BOB);
    for n in 0..5 {
        s.publish(ALICE, &format!("live/{n}"), true);
    }
    assert_eq!(s.topics(BOB).len(), 5, "all are delivered");
    assert_eq!(s.refused().len(), 1);
    assert!(s.refused()[0].starts_with("alice Publish(\"live/4\") delivered but not kept"));
    // The server's own messages are not limited.
    s.apply(&Entry::Publish(message(None, "live/own", b"m", true)));
    s.subscribe(ALICE, &["+/+"], |_| ());
    let retained = s.topics(ALICE);
    assert_eq!(
        retained,
        ["live/0", "live/1", "live/2", "live/3", "live/own"]
    );
}

#[test]
fn an_empty_payload_clears_only_with_the_retain_flag() {
    let mut s = allow_all();
    s.publish(ALICE, "t/a", true);
    for (retain, left) in [(false, 1), (true, 0)] {
        s.apply(&Entry::Publish(message(Some(ALICE), "t/a", b"", retain)));
        s.subscribe(BOB, &["t/a"], |_| ());
        let retained = s
            .sent(BOB)
            .iter()
            .filter(|(first, _)| *first == 0x31)
            .count();
        assert_eq!(retained, left);
    }
}

#[test]
fn entries_of_an_earlier_connection_are_ignored() {
    let mut s = Scene::new(Box::new(Picky));
    let later = origin(1, 3, "alice");
    s.subscribe(ALICE, &["t/old"], |_| ());
    s.subscribe(later, &["t/new"], |_| ());
    s.subscribe(ALICE, &["t/late"], |_| ());
    s.sent(ALICE);
    s.publish(BOB, "t/old", false);
    s.publish(BOB, "t/late", false);
    assert!(s.topics(ALICE).is_empty(), "its subscriptions were removed");
    s.subscribe(BOB, &["t/gone"], |_| ());
    s.sent(BOB);
    s.apply(&Entry::Ended(DisconnectEntry {
        who: ALICE,
        reason: EndReason::Orderly,
        sent: MessageNo::NONE,
        authenticated: false,
    }));
    assert_eq!(s.topics(BOB), ["t/gone"], "the hook is told");
    s.publish(BOB, "t/new", false);
    assert_eq!(s.topics(later), ["t/new"]);
    s.apply(&Entry::Ended(DisconnectEntry {
        who: later,
        reason: EndReason::Orderly,
        sent: MessageNo::NONE,
        authenticated: false,
    }));
    s.publish(BOB, "t/new", false);
    assert!(s.topics(later).is_empty());
}

#[test]
fn the_end_of_a_session_leaves_the_next_one_of_its_client_alone() {
    let mut s = Scene::new(Box::new(Picky));
    let next = origin(3, 1, "alice");
    s.connect(next, &outbox(Version::V3));
    for who in [ALICE, next] {
        s.subscribe(who, &["t/a"], |f| f.options.no_local = true);
        s.sent(who);
    }
    for _ in 0..2 {
        s.apply(&Entry::Ended(DisconnectEntry {
            who: ALICE,
            reason: EndReason::Orderly,
            sent: MessageNo::NONE,
            authenticated: false,
        }));
        s.publish(BOB, "t/a", false);
        assert!(s.topics(ALICE).is_empty());
        assert_eq!(s.topics(next), ["t/a"]);
    }
    s.publish(next, "t/a", false);
    assert!(s.topics(next).is_empty(), "no local");
}

#[test]
fn an_unsubscribe_answers_whether_each_subscription_existed() {
    let mut s = allow_all();
    s.subscribe(BOB, &["t/a"], |_| ());
    s.sent(BOB);
    let outbox = s.outbox(BOB);
    let codes = vec![ReasonCode::Success; 2];
    outbox.queue(|o| {
        o.expect_answer(
            2,
            Answer::UnsubAck(8.try_into().unwrap()),
            codes,
            None,
            1,
            0,
        );
    });
    s.apply(&Entry::Unsubscribe(UnsubscribeEntry {
        who: BOB,
        request_id: 2,
        filters: vec![(0, "t/b"), (1, "t/a")],
    }));
    assert_eq!(s.sent(BOB), [(0xB0, vec![0, 8, 0, 0x11, 0])]);
    s.publish(ALICE, "t/a", false);
    assert!(s.sent(BOB).is_empty());
    assert!(
        s.has_forgotten(&[BOB]),
        "a session without a subscription is removed"
    );
}

#[test]
fn messages_of_a_group_go_to_another_member_before_the_lane_hears_that_one_ended() {
    let mut s = allow_all();
    for who in [ALICE, BOB] {
        s.subscribe(who, &["$share/g/t"], |_| ());
        s.sent(who);
    }
    // Alice's session ends with her connection, Bob's goes offline. The lane has heard of neither.
    s.outbox(ALICE).disconnect(None, false, 0);
    s.outbox(BOB).disconnect(None, true, 0);
    for _ in 0..4 {
        s.apply(&Entry::Publish(PublishEntry {
            qos: QoS::AtLeastOnce,
            ..message(None, "t", b"m", false)
        }));
    }
    let held = |who: Actor<'_>| {
        let outbox = s.outbox(who);
        outbox.queue(|out| out.backlog().messages)
    };
    assert_eq!((held(ALICE), held(BOB)), (None, Some(4)));
}

/// A member stores more than the payload of a message: also the entry with its properties, for
/// other members.
#[test]
fn a_member_needs_capacity_for_a_whole_message_with_its_properties() {
    let mut s = allow_all();
    s.subscribe(ALICE, &["$share/g/t", "$share/own/a"], |_| ());
    s.subscribe(BOB, &["$share/g/t"], |_| ());
    let long = "x".repeat(6_000);
    let properties = Some(Box::new(PropertiesEntry {
        payload_format_indicator: None,
        message_expiry: None,
        content_type: None,
        response_topic: None,
        correlation_data: None,
        user_properties: vec![("k".into(), long.into())].into(),
    }));
    // One of two messages waits, and a third does not fit.
    for topic in ["a", "a", "t", "t"] {
        s.apply(&Entry::Publish(PublishEntry {
            qos: QoS::AtLeastOnce,
            properties: properties.clone(),
            ..message(None, topic, b"m", false)
        }));
        // The socket takes everything.
        for who in [ALICE, BOB] {
            s.outbox(who).take_bytes();
        }
    }
    for who in [ALICE, BOB] {
        let outbox = s.outbox(who);
        let held = outbox.queue(|out| (out.backlog().messages, out.overflowed(), out.dropped()));
        assert_eq!(held, Some((2, false, 0)), "{}", who.user);
    }
}

#[path = "reassign_tests.rs"]
mod reassign;
#[path = "replay_tests.rs"]
mod replay;
#[path = "rules_tests.rs"]
mod rules;
#[path = "slice_tests.rs"]
mod slices;
