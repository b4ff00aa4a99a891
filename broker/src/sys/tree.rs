//! The topics under `$SYS/broker` and their values. Topics have the names of mosquitto 2.0; some are RoomMQ's own. Pure.

use super::load::{LoadAverages, SPANS};
use crate::metrics::{Metric, Totals};
use crate::session::DropReason;
use crate::sessions::SessionCounts;
use roommq_lane::LaneTotals;
use std::collections::HashMap;
use std::time::Duration;

/// The prefix of each topic.
const ROOT: &str = "$SYS/broker/";

/// The numbers of a server at one time.
#[derive(Debug, Default, Clone)]
pub(super) struct SysSnapshot {
    pub counters: Totals,
    pub clients: SessionCounts,
    pub lanes: LaneTotals,
    /// How often each limit has acted.
    pub limits: Vec<(&'static str, u64)>,
    /// Notices that were dropped because a mailbox between lanes was full.
    pub lost_notices: u64,
}

impl SysSnapshot {
    fn of(&self, metric: Metric) -> u64 {
        self.counters.of(metric)
    }

    fn dropped(&self) -> u64 {
        self.counters.dropped.iter().sum::<u64>() + self.lost_notices
    }

    fn messages_received(&self) -> u64 {
        self.of(Metric::PublishesReceived) + self.of(Metric::OthersReceived)
    }

    fn messages_sent(&self) -> u64 {
        self.of(Metric::PublishesSent) + self.of(Metric::OthersSent)
    }

    fn stored(&self) -> u64 {
        self.of(Metric::Held) + self.lanes.retained
    }
}

/// A topic below [`ROOT`], and its value.
type SysTopic = (&'static str, fn(&SysSnapshot) -> u64);

const NUMBERS: &[SysTopic] = &[
    ("bytes/received", |f| f.of(Metric::BytesReceived)),
    ("bytes/sent", |f| f.of(Metric::BytesSent)),
    ("clients/active", |f| f.clients.connected),
    ("clients/connected", |f| f.clients.connected),
    ("clients/disconnected", |f| f.clients.offline),
    ("clients/expired", |f| f.clients.expired),
    ("clients/expired/kept_bytes", |f| {
        f.clients.evicted_for_bytes
    }),
    ("clients/expired/kept_sessions", |f| {
        f.clients.evicted_for_count
    }),
    ("clients/inactive", |f| f.clients.offline),
    ("clients/maximum", |f| f.clients.maximum),
    ("clients/total", |f| f.clients.connected + f.clients.offline),
    ("connections/refused", |f| f.counters.refused),
    ("connections/socket/count", |f| f.counters.sockets),
    ("messages/inflight", |f| f.of(Metric::InFlight)),
    ("messages/received", SysSnapshot::messages_received),
    ("messages/sent", SysSnapshot::messages_sent),
    ("messages/stored", SysSnapshot::stored),
    ("publish/bytes/dropped", |f| f.of(Metric::DroppedPayload)),
    ("publish/bytes/received", |f| f.of(Metric::PayloadReceived)),
    ("publish/bytes/sent", |f| f.of(Metric::PayloadSent)),
    ("publish/messages/dropped", SysSnapshot::dropped),
    ("publish/messages/received", |f| {
        f.of(Metric::PublishesReceived)
    }),
    ("publish/messages/sent", |f| f.of(Metric::PublishesSent)),
    ("queue/kept/bytes", |f| f.counters.kept + f.lanes.kept),
    ("queue/messages/bytes", |f| f.of(Metric::HeldPayload)),
    ("queue/messages/count", |f| f.of(Metric::Held)),
    ("retained messages/bytes", |f| f.lanes.retained_bytes),
    ("retained messages/count", |f| f.lanes.retained),
    ("shared_subscriptions/count", |f| f.lanes.shared),
    ("store/messages/bytes", |f| {
        f.of(Metric::HeldPayload) + f.lanes.retained_bytes
    }),
    ("store/messages/count", SysSnapshot::stored),
    ("subscriptions/count", |f| f.lanes.subscriptions),
];

const LOADS: [SysTopic; 9] = [
    ("load/bytes/received", |f| f.of(Metric::BytesReceived)),
    ("load/bytes/sent", |f| f.of(Metric::BytesSent)),
    ("load/connections", |f| f.of(Metric::Connects)),
    ("load/messages/received", SysSnapshot::messages_received),
    ("load/messages/sent", SysSnapshot::messages_sent),
    ("load/publish/dropped", SysSnapshot::dropped),
    ("load/publish/received", |f| f.of(Metric::PublishesReceived)),
    ("load/publish/sent", |f| f.of(Metric::PublishesSent)),
    ("load/sockets", |f| f.counters.sockets),
];

/// The published values, so that an update has only those that changed.
#[derive(Debug, Default)]
pub(super) struct SysTree {
    published: HashMap<String, String>,
    loads: [LoadAverages; LOADS.len()],
}

impl SysTree {
    /// The topics whose values have changed, with the new values. `uptime` is the time since the start, `passed` the time
    /// since the last update.
    pub(super) fn update(
        &mut self,
        snapshot: &SysSnapshot,
        uptime: Duration,
        passed: Duration,
    ) -> Vec<(String, String)> {
        let version = concat!("RoomMQ version ", env!("CARGO_PKG_VERSION"));
        let mut all = vec![
            ("version".to_owned(), version.to_owned()),
            ("uptime".to_owned(), format!("{} seconds", uptime.as_secs())),
        ];
        for (topic, number) in NUMBERS {
            all.push(((*topic).to_owned(), number(snapshot).to_string()));
        }
        let reasons = DropReason::ALL.map(DropReason::name).into_iter();
        let dropped = reasons.zip(snapshot.counters.dropped);
        for (reason, count) in dropped.chain([("notice", snapshot.lost_notices)]) {
            let topic = format!("publish/messages/dropped/{reason}");
            all.push((topic, count.to_string()));
        }
        for (code, count) in &snapshot.counters.errors {
            all.push((format!("errors/0x{code:02X}"), count.to_string()));
        }
        for (limit, count) in &snapshot.limits {
            all.push((format!("limits/{limit}"), count.to_string()));
        }
        for (load, (topic, number)) in self.loads.iter_mut().zip(LOADS) {
            load.update(number(snapshot), passed);
            for (average, (span, _)) in load.averages().into_iter().zip(SPANS) {
                all.push((format!("{topic}/{span}"), format!("{average:.2}")));
            }
        }
        all.retain(|(topic, value)| self.is_new(topic, value));
        for (topic, _) in &mut all {
            topic.insert_str(0, ROOT);
        }
        all
    }

    /// Notes a value. Returns whether it differs from the published one.
    fn is_new(&mut self, topic: &str, value: &str) -> bool {
        if self
            .published
            .get(topic)
            .is_some_and(|known| known == value)
        {
            return false;
        }
        self.published.insert(topic.to_owned(), value.to_owned());
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    const SECOND: Duration = Duration::from_secs(1);

    /// The topics of mosquitto 2.0.11 without those of its heap, and `messages/inflight` of its manual.
    const MOSQUITTO: [&str; 25] = [
        "bytes/received",
        "bytes/sent",
        "clients/active",
        "clients/connected",
        "clients/disconnected",
        "clients/expired",
        "clients/inactive",
        "clients/maximum",
        "clients/total",
        "messages/inflight",
        "messages/received",
        "messages/sent",
        "messages/stored",
        "publish/bytes/received",
        "publish/bytes/sent",
        "publish/messages/dropped",
        "publish/messages/received",
        "publish/messages/sent",
        "retained messages/count",
        "shared_subscriptions/count",
        "store/messages/bytes",
        "store/messages/count",
        "subscriptions/count",
        "uptime",
        "version",
    ];

    const MOSQUITTO_LOADS: [&str; 9] = [
        "bytes/received",
        "bytes/sent",
        "connections",
        "messages/received",
        "messages/sent",
        "publish/dropped",
        "publish/received",
        "publish/sent",
        "sockets",
    ];

    #[test]
    fn the_first_update_has_all_topics() {
        let first =
            SysTree::default().update(&SysSnapshot::default(), Duration::ZERO, Duration::ZERO);
        let topics: BTreeSet<&str> = first
            .iter()
            .filter_map(|(topic, _)| topic.strip_prefix(ROOT))
            .collect();
        assert_eq!(topics.len(), first.len(), "each once, under the root");
        for expected in MOSQUITTO {
            assert!(topics.contains(expected), "{expected}");
        }
        for load in MOSQUITTO_LOADS {
            for span in ["1min", "5min", "15min"] {
                let expected = format!("load/{load}/{span}");
                assert!(topics.contains(expected.as_str()), "{expected}");
            }
        }
        let loads = first.iter().filter(|(t, _)| t.contains("/load/"));
        assert!(loads.clone().all(|(_, value)| value == "0.00"));
        assert_eq!(loads.count(), 27);
    }

    #[test]
    fn a_later_update_has_only_changed_values() {
        let mut tree = SysTree::default();
        let mut snapshot = SysSnapshot::default();
        tree.update(&snapshot, Duration::ZERO, Duration::ZERO);
        let again = tree.update(&snapshot, Duration::from_millis(900), Duration::ZERO);
        assert!(again.is_empty(), "{again:?}");

        snapshot.counters.dropped[DropReason::TooOld as usize] = 2;
        snapshot.lost_notices = 1;
        snapshot.counters.errors = vec![(0x8D, 4)];
        let changed = tree.update(&snapshot, SECOND, Duration::ZERO);
        let pair = |topic: &str, value: &str| (format!("{ROOT}{topic}"), value.to_owned());
        let expected = [
            pair("uptime", "1 seconds"),
            pair("publish/messages/dropped", "3"),
            pair("publish/messages/dropped/too_old", "2"),
            pair("publish/messages/dropped/notice", "1"),
            pair("errors/0x8D", "4"),
        ];
        assert_eq!(changed, expected);

        let changed = tree.update(&snapshot, SECOND, SECOND);
        let averages: Vec<_> = changed.iter().map(|(_, value)| value.as_str()).collect();
        assert_eq!(averages, ["2.98", "0.60", "0.20"], "{changed:?}");
    }
}
