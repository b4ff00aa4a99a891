//! A lane as bytes, and back.

use super::{
    Lane, LaneHook, Messages, RetainedStore, RulesState, Subscribers, Subscriptions, Writers,
};
use crate::entry::as_bytes;
use crate::snapshot::{Section, SnapshotReader, SnapshotWriter};
use crate::timers::LaneTimers;
use crate::{RestoreError, WallTime};
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
struct ClockImage {
    now: u64,
    wall: u64,
    position: u64,
}

#[derive(Serialize, Deserialize)]
struct RulesImage<'a> {
    version: u64,
    #[serde(serialize_with = "as_bytes")]
    body: &'a [u8],
}

#[derive(Serialize, Deserialize)]
struct HookImage<'a> {
    version: u16,
    #[serde(serialize_with = "as_bytes")]
    state: &'a [u8],
}

impl Lane {
    /// Appends the state between two entries to `out`, and returns its [digest](Self::digest).
    pub fn snapshot(&self, out: &mut Vec<u8>) -> [u8; 16] {
        let Lane {
            number,
            lanes,
            now,
            wall,
            position,
            writers,
            rules,
            subscriptions,
            retained,
            subscribers,
            messages,
            queue_limits: _, // follow from the rules
            share: _,        // follows from the rules and the sessions
            hook,
            effects: _, // empty between entries
            timers,
        } = self;
        let mut writer = SnapshotWriter::begin(out, *number, *lanes);
        let clock = ClockImage {
            now: *now,
            wall: wall.0,
            position: *position,
        };
        let rules = match rules {
            RulesState::Present { version, body } => Some(RulesImage {
                version: *version,
                body,
            }),
            // A lane whose rules are unreadable has stopped.
            RulesState::Missing | RulesState::Unreadable(_) => None,
        };
        let mut state = Vec::new();
        let version = hook.snapshot(&mut state);
        writer.section(Section::Clock, &clock);
        writer.section(Section::Writers, &writers.snapshot());
        writer.section(Section::Rules, &rules);
        writer.section(Section::Sessions, &subscribers.snapshot());
        writer.section(Section::Subscriptions, &subscriptions.snapshot());
        writer.section(Section::Messages, &messages.snapshot());
        writer.section(Section::Retained, &retained.snapshot());
        writer.section(Section::Timers, &timers.snapshot());
        let state = &state;
        writer.section(Section::Hook, &HookImage { version, state });
        writer.finish()
    }

    /// A hash of the state. Lanes that have applied the same entries have equal digests, whatever
    /// their nodes do.
    #[must_use]
    pub fn digest(&self) -> [u8; 16] {
        self.snapshot(&mut Vec::new())
    }

    /// The lane whose state [`snapshot`](Self::snapshot) wrote. `lanes` is the number of lanes of
    /// this server, and `hook` has no state.
    ///
    /// # Errors
    /// The bytes are no whole snapshot, or not one for this server.
    pub fn restore(
        bytes: &[u8],
        lanes: u16,
        hook: Box<dyn LaneHook>,
    ) -> Result<Self, RestoreError> {
        let reader = SnapshotReader::open(bytes, lanes)?;
        let clock: ClockImage = reader.section(Section::Clock)?;
        let mut lane = Lane::new(reader.lane, lanes, hook);
        lane.now = clock.now;
        lane.wall = WallTime(clock.wall);
        lane.position = clock.position;
        lane.writers = Writers::restore(reader.section(Section::Writers)?)?;
        lane.retained = RetainedStore::restore(reader.section(Section::Retained)?)?;
        let rules: Option<RulesImage<'_>> = reader.section(Section::Rules)?;
        if let Some(RulesImage { version, body }) = rules {
            lane.read_rules(version, body)?;
            // What the hook did by them has been done.
            lane.effects.clear();
            let body = body.into();
            lane.rules = RulesState::Present { version, body };
        }
        lane.messages = Messages::restore(reader.section(Section::Messages)?)?;
        let sessions = reader.section(Section::Sessions)?;
        let mut subscribers = Subscribers::restore(sessions, &mut lane.messages, &mut lane.share)?;
        lane.messages.check()?;
        let hold = |slot, filter: &str| {
            subscribers.add_filter(slot, filter);
            subscribers.get(slot).is_some()
        };
        let subscriptions = reader.section(Section::Subscriptions)?;
        lane.subscriptions = Subscriptions::restore(subscriptions, hold)?;
        lane.subscribers = subscribers;
        lane.timers = LaneTimers::restore(reader.section(Section::Timers)?)?;
        let HookImage { version, state } = reader.section(Section::Hook)?;
        lane.hook.restore(version, state)?;
        Ok(lane)
    }

    /// The tags of the sections in which the states of two lanes differ.
    #[must_use]
    pub fn differing_sections(&self, other: &Lane) -> Vec<u8> {
        let (mut one, mut two) = (Vec::new(), Vec::new());
        self.snapshot(&mut one);
        other.snapshot(&mut two);
        let readers = [&one, &two].map(|bytes| SnapshotReader::open(bytes, self.lanes));
        let [Ok(one), Ok(two)] = readers else {
            return Vec::new();
        };
        one.differences(&two)
    }

    /// Key, generation and time of each timer that has not fired, in milliseconds of lane
    /// time. A node sets them when it has restored the lane.
    #[must_use]
    pub fn timers(&self) -> Vec<(&str, u64, u64)> {
        self.timers.snapshot()
    }
}
