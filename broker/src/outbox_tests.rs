use super::*;

fn outbox() -> Outbox {
    let limits = OutboundLimits {
        bytes: 10,
        messages: 1,
        receive_maximum: 1,
        maximum_packet_size: None,
        problem_information: true,
        topic_aliases: 0,
        age: 1_000,
    };
    Outbox::awake(Version::V5, limits)
}

#[test]
fn nothing_follows_a_goodbye() {
    for stays in [false, true] {
        let outbox = outbox();
        let taken_over = Close {
            reason: ReasonCode::SessionTakenOver,
            text: String::new(),
        };
        let rest = outbox.part(Some(&taken_over), stays, 0);
        assert!(!outbox.fill(|out| out.reply(&Reply::PingResp)));
        outbox.queue(|out| out.reply(&Reply::PingResp));
        let bytes = rest.take_bytes();
        let length = bytes.get(1).copied().map_or(0, usize::from);
        assert_eq!((bytes.first(), bytes.len()), (Some(&0xE0), 2 + length));
    }
}

#[test]
fn who_asks_and_does_not_read_chokes() {
    let outbox = outbox();
    let ask = || outbox.queue(|out| out.reply(&Reply::PingResp));
    outbox.state.lock().blocked = true;
    (0..5).for_each(|_| assert!(ask().is_some()));
    assert!(!outbox.condition().choked, "10 of 10 bytes");
    ask();
    assert!(outbox.condition().choked);
    outbox.take_bytes();
    assert!(!outbox.condition().choked);
}
