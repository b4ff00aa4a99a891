use super::*;

/// What 20 clients are sent, half of which have small queues. With `slow`, a replay looks at one topic
/// in a turn, and a live message comes before the client reads on.
fn sent_to_all(slice: usize, slow: bool) -> Vec<Vec<u8>> {
    let mut s = Scene::new(Box::new(Picky));
    s.running.slice = slice;
    let clients: Vec<_> = (0..20).map(|n| origin(100 + n, 1, "c")).collect();
    for (n, who) in clients.iter().enumerate() {
        let limits = OutboundLimits {
            bytes: if n % 2 == 0 { 2_000 } else { 1 << 20 },
            messages: 1_000,
            receive_maximum: 1_000,
            maximum_packet_size: None,
            problem_information: true,
            topic_aliases: 0,
            age: u64::MAX,
        };
        let version = [Version::V3, Version::V5][n / 2 % 2];
        s.connect(*who, &Arc::new(Outbox::connected(version, limits)));
    }
    for n in 0..100 {
        let topic = format!("t/{n:03}");
        s.apply(&Entry::Publish(message(None, &topic, b"old", true)));
    }
    let mut sent = vec![Vec::new(); clients.len()];
    for (n, who) in clients.iter().enumerate() {
        s.subscribe(*who, &["t/#", "t/+"], |f| {
            f.options.qos = [QoS::AtMostOnce, QoS::AtLeastOnce][n % 2];
        });
        let live = Entry::Publish(message(Some(BOB), "t/live", b"live", false));
        if slow {
            s.apply(&live);
        }
        let outbox = s.outbox(*who);
        sent[n].extend(outbox.take_bytes());
        while outbox.next_replay().is_some() {
            let mut budget = ReplayBudget::default();
            if slow {
                budget.work = 1;
            }
            take_turn(&s.running.lane, &outbox, &mut budget, 0);
            sent[n].extend(outbox.take_bytes());
        }
        if !slow {
            s.apply(&live);
        }
        let topic = format!("t/{n:03}");
        s.apply(&Entry::Publish(message(None, &topic, b"new", true)));
    }
    for (who, sent) in clients.iter().zip(&mut sent) {
        let outbox = s.outbox(*who);
        sent.extend(outbox.take_bytes());
        let state = outbox.queue(|out| (out.dropped(), out.overflowed()));
        assert_eq!(state, Some((0, false)));
    }
    sent
}

#[test]
fn slices_and_turns_of_any_size_send_each_client_the_same_bytes() {
    let expected = sent_to_all(10_000, false);
    let messages = |sent: &[u8], text: &[u8]| sent.windows(3).filter(|w| w == &text).count();
    // Each filter brings its copies of what did not change before, and all that changes later comes.
    let counts: Vec<_> = expected
        .iter()
        .map(|sent| (messages(sent, b"old"), messages(sent, b"new")))
        .collect();
    let by_client = |n: usize| (2 * (100 - n), 2 * n + 20 - n);
    assert_eq!(counts, (0..20).map(by_client).collect::<Vec<_>>());
    for (slice, slow) in [
        (10_000, true),
        (1_024, false),
        (7, true),
        (1, false),
        (1, true),
    ] {
        assert!(sent_to_all(slice, slow) == expected, "{slice} {slow}");
    }
}

/// The acts of an entry are performed in order, over as many turns as they need.
#[test]
fn an_outcome_is_performed_a_slice_at_a_time() {
    let mut s = allow_all();
    s.running.slice = 2;
    let clients: Vec<_> = (0..5).map(|n| origin(100 + n, 1, "c")).collect();
    for who in &clients {
        s.connect(*who, &outbox(Version::V3));
        s.subscribe(*who, &["t"], |_| ());
        s.sent(*who);
    }
    let entries = ["1", "2"].map(|text| Entry::Publish(message(None, "t", text.as_bytes(), false)));
    let to_flush = &mut Vec::new();
    s.running
        .apply(
            &entries,
            (&s.context, to_flush),
            &mut usize::MAX.clone(),
            |_| {},
        )
        .unwrap();
    let mut performed = vec![to_flush.len()];
    while s.running.is_unfinished() {
        s.running.go_on(&s.context, to_flush).unwrap();
        performed.push(to_flush.len());
    }
    // The second message fills outboxes for which a flush is arranged already.
    assert_eq!(performed, [2, 4, 5, 5, 5]);
    for who in &clients {
        let texts: Vec<u8> = s.sent(*who).iter().map(|(_, body)| body[3]).collect();
        assert_eq!(texts, b"12");
    }
}

/// 64 filters match the first levels of each topic, and none matches a topic.
#[test]
fn a_turn_of_a_replay_is_bounded_by_what_it_looks_at() {
    let mut s = allow_all();
    for n in 0..1_000 {
        let topic = format!("x/a/a/a/a/a/a/{n}");
        s.apply(&Entry::Publish(message(None, &topic, b"m", true)));
    }
    let levels = |n: u32| (0..6).map(move |at| if n >> at & 1 == 0 { "/a" } else { "/+" });
    let filter = |n| format!("x{}/+/none", levels(n).collect::<String>());
    let filters: Vec<String> = (0..64).map(filter).collect();
    let filters: Vec<&str> = filters.iter().map(String::as_str).collect();
    s.subscribe(ALICE, &filters, |_| ());
    let outbox = s.outbox(ALICE);
    let mut turns = 0;
    while outbox.next_replay() == Some(0) {
        take_turn(&s.running.lane, &outbox, &mut ReplayBudget::default(), 0);
        turns += 1;
    }
    assert!((20..60).contains(&turns), "{turns}");
    assert!(outbox.queue(|out| out.has_sent_all()).unwrap());
}
