//! All sessions of this node: takeover, and those that sleep until their client comes back.
//!
//! One connection for one client id of one user. A newcomer waits until the connection before it has told
//! the lanes that it is over, so what one session does has one order. Pure but for [`Sessions::enter`]:
//! `now` is passed in, in milliseconds since the Unix epoch.

use super::offline::{Due, OfflineOrder, OfflineSession};
use crate::outbox::Outbox;
use crate::packet::ReasonCode;
use crate::policy::SessionId;
use crate::session::Close;
use bytestring::ByteString;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use tokio::sync::Notify;
use tokio::sync::futures::OwnedNotified;

/// A client's place [MQTT-3.1.3-2]: client ids are scoped by user, so that nobody can evict a stranger.
type ClientKey = (Arc<str>, ByteString);

/// The registry.
#[derive(Debug)]
pub(crate) struct Sessions {
    pub(super) state: Mutex<State>,
    /// Something is due earlier than was record.
    pub(crate) due_earlier: Notify,
    /// Sessions that may sleep at one time.
    max_offline: usize,
}

#[derive(Debug, Default)]
pub(super) struct State {
    by_client: HashMap<ClientKey, u64>,
    pub(super) by_number: HashMap<u64, Record>,
    /// Newcomers, who wait in the order in which they came. One is let in by each end of a connection: were all of them
    /// woken each time, a flood of them would cost the square of its number.
    waiting: HashMap<ClientKey, Arc<Notify>>,
    pub(super) offline: OfflineOrder,
    last_incarnation: u64,
    /// Those that have ended and not left yet.
    ending: usize,
    /// The most that were awake at one time.
    max_connected: usize,
    /// Sessions that have ended without their client.
    expired: u64,
    /// Those of them for which there were too many, and for which too much waited.
    evicted_for_count: u64,
    pub(super) evicted_for_bytes: u64,
    shutting_down: bool,
}

#[derive(Debug)]
pub(super) struct Record {
    client: ClientKey,
    incarnation: u64,
    /// The incarnation that brought the outbox, with which later ones went on.
    first_incarnation: u64,
    pub(super) outbox: Arc<Outbox>,
    /// None while a connection serves it or ends it; only one that sleeps ends by itself
    /// [MQTT-4.1.0-1, 3.1.1 MQTT-4.1.0-2].
    pub(super) offline: Option<Box<OfflineSession>>,
    /// It slept, and has ended.
    ended: bool,
    /// Its will is on its way into the log, and it sleeps on: who comes back waits until it is in, and so does the end. Told
    /// then.
    will_pending: Option<Arc<Notify>>,
}

/// How a newcomer finds its place.
#[derive(Debug)]
pub(crate) enum Registration {
    /// It has the place to itself.
    New(SessionId),
    /// It goes on with a session that slept: its own id, and the one before.
    Resumed(SessionId, Previous),
    /// A session that slept is over, which the newcomer has to tell: its own id, and the old one's.
    Replaced(SessionId, Previous),
    /// The server is shutting down.
    ShuttingDown,
}

/// The offline session that a newcomer found.
#[derive(Debug)]
pub(crate) struct Previous {
    /// Its id: the same number as the newcomer's, an earlier incarnation.
    pub id: SessionId,
    pub outbox: Arc<Outbox>,
    pub session: Box<OfflineSession>,
}

pub(super) enum TryRegister {
    Done(Registration),
    Wait(OwnedNotified),
}

impl Sessions {
    pub(crate) fn new(max_offline: usize) -> Self {
        Sessions {
            state: Mutex::default(),
            due_earlier: Notify::new(),
            max_offline,
        }
    }

    /// Enters a session that sends from `outbox`, unless an earlier one is woken and goes on with its own: not where its
    /// time is over by `now`, even if nobody has seen to that yet [MQTT-3.1.2-11, 5.0 MQTT-3.1.2-23].
    /// A connection that serves the client now is told to end [MQTT-3.1.4-3] and waited for.
    pub(crate) async fn register(
        &self,
        user: &Arc<str>,
        client_id: &ByteString,
        outbox: &Arc<Outbox>,
        resumes: bool,
        now: impl Fn() -> u64,
    ) -> Registration {
        loop {
            match self.try_register(user, client_id, outbox, resumes, now()) {
                TryRegister::Done(registration) => return registration,
                TryRegister::Wait(ended) => ended.await,
            }
        }
    }

    pub(super) fn try_register(
        &self,
        user: &Arc<str>,
        client_id: &ByteString,
        outbox: &Arc<Outbox>,
        resumes: bool,
        now: u64,
    ) -> TryRegister {
        let client: ClientKey = (user.clone(), client_id.clone());
        let mut guard = self.state.lock();
        let state = &mut *guard;
        if state.shutting_down {
            return TryRegister::Done(Registration::ShuttingDown);
        }
        state.last_incarnation += 1;
        let incarnation = state.last_incarnation;
        let number = *state.by_client.entry(client.clone()).or_insert(incarnation);
        let id = SessionId {
            client: number,
            incarnation,
        };
        let Some(record) = state.by_number.get_mut(&number) else {
            let record = Record {
                client,
                incarnation,
                first_incarnation: incarnation,
                outbox: outbox.clone(),
                offline: None,
                ended: false,
                will_pending: None,
            };
            state.by_number.insert(number, record);
            state.note_connected();
            return TryRegister::Done(Registration::New(id));
        };
        let offline = &mut record.offline;
        let Some(session) = offline.take_if(|_| record.will_pending.is_none()) else {
            record.outbox.close(taken_over());
            let ended = state.waiting.entry(client).or_default().clone();
            // Made under the lock, so that the end cannot be missed.
            return TryRegister::Wait(ended.notified_owned());
        };
        state.offline.remove(number, &session);
        let expired = session.expires <= now;
        state.expired += u64::from(expired);
        let mut previous = Previous {
            id: SessionId {
                client: number,
                incarnation: std::mem::replace(&mut record.incarnation, incarnation),
            },
            outbox: record.outbox.clone(),
            session,
        };
        let registration = if resumes && !expired {
            Registration::Resumed(id, previous)
        } else {
            (record.first_incarnation, record.outbox) = (incarnation, outbox.clone());
            previous.session.mark_ending();
            Registration::Replaced(id, previous)
        };
        state.note_connected();
        TryRegister::Done(registration)
    }

    /// A connection has been opened: it ends at once where a newcomer waits for its place already, or the server
    /// is shutting down, which could not be told before.
    pub(crate) fn on_connected(&self, session: SessionId) {
        let state = self.state.lock();
        let record = state.by_number.get(&session.client);
        let Some(record) = record.filter(|k| k.incarnation == session.incarnation) else {
            return;
        };
        if state.shutting_down {
            record.outbox.stop_reading();
            record.outbox.close(Close {
                reason: ReasonCode::ServerShuttingDown,
                text: "the server is shutting down".to_owned(),
            });
        } else if state.waiting.get(&record.client).is_some_and(has_waiters) {
            record.outbox.close(taken_over());
        }
    }

    /// The connection of a session is over, and the lanes know it; the session sleeps. Gives back one that
    /// has to end for it, where too many sleep: the one that has slept longest, of those without credentials first;
    /// this one itself, where what it costs beside its queue would pass `limits.kept_bytes`.
    pub(super) fn add_offline(
        &self,
        session: SessionId,
        offline: Box<OfflineSession>,
    ) -> Option<Due> {
        let mut guard = self.state.lock();
        let state = &mut *guard;
        let own = |r: &&mut Record| r.incarnation == session.incarnation;
        let record = state.by_number.get_mut(&session.client).filter(own)?;
        let (first, fits) = (state.offline.add(session.client, &offline), offline.fits());
        record.offline = Some(offline);
        let client = record.client.clone();
        state.notify_next(&client);
        if first {
            self.due_earlier.notify_one();
        }
        if !fits {
            state.evicted_for_bytes += 1;
            return state.end(session.client);
        }
        if state.offline.len() <= self.max_offline {
            return None;
        }
        let number = state.offline.first_to_evict()?;
        state.evicted_for_count += 1;
        state.end(number)
    }

    /// Takes a session out that has ended; a later incarnation stays.
    pub(crate) fn remove(&self, session: SessionId) {
        let mut state = self.state.lock();
        let own = |r: &Record| r.incarnation == session.incarnation;
        if state.by_number.get(&session.client).is_some_and(own)
            && let Some(record) = state.by_number.remove(&session.client)
        {
            state.by_client.remove(&record.client);
            state.ending -= usize::from(record.ended);
            state.notify_next(&record.client);
        }
    }

    /// What is due at `now`, and when the next is. A session that ends is to be told to the lanes and then
    /// [left](Sessions::leave).
    pub(crate) fn due(&self, now: u64) -> (Vec<Due>, Option<u64>) {
        let mut guard = self.state.lock();
        let state = &mut *guard;
        let mut due = Vec::new();
        while let Some(number) = state.offline.take_due(now) {
            let Some(record) = state.by_number.get_mut(&number) else {
                continue;
            };
            let id = SessionId {
                client: number,
                incarnation: record.incarnation,
            };
            let Some(offline) = &mut record.offline else {
                continue;
            };
            if offline.expires <= now {
                due.extend(state.end(number));
            } else {
                if let Some(will) = offline.will.take() {
                    record.will_pending = Some(Arc::default());
                    due.push(Due::Will(id, offline.state.who.clone(), Box::new(will)));
                }
                state.offline.reschedule(number, offline);
            }
        }
        (due, state.offline.next_due())
    }

    /// The will that was [due](Sessions::due) stands in the log, before anything that its client says from now on.
    pub(crate) fn will_logged(&self, session: SessionId) {
        let mut state = self.state.lock();
        let Some(record) = state.by_number.get_mut(&session.client) else {
            return;
        };
        if let Some(logged) = record.will_pending.take() {
            logged.notify_waiters();
            let client = record.client.clone();
            state.notify_next(&client);
        }
    }

    /// Waits for that.
    pub(crate) async fn wait_for_will(&self, session: SessionId) {
        let logged = {
            let state = self.state.lock();
            let record = state.by_number.get(&session.client);
            record
                .and_then(|record| record.will_pending.clone())
                .map(Notify::notified_owned)
        };
        if let Some(logged) = logged {
            logged.await;
        }
    }

    /// The outbox of a session that lives. A lane may come to what an incarnation asked when the next has gone on with its
    /// session already, and the next is to find it there.
    pub(crate) fn outbox(&self, session: SessionId) -> Option<Arc<Outbox>> {
        let state = self.state.lock();
        let record = state.by_number.get(&session.client)?;
        let current = record.first_incarnation..=record.incarnation;
        current
            .contains(&session.incarnation)
            .then(|| record.outbox.clone())
    }

    /// Lets nobody in any more; all outboxes.
    pub(crate) fn shut_down(&self) -> Vec<Arc<Outbox>> {
        let mut state = self.state.lock();
        state.shutting_down = true;
        for (_, ended) in state.waiting.drain() {
            ended.notify_waiters();
        }
        let all = state.by_number.values().map(|r| r.outbox.clone());
        all.collect()
    }

    /// Whether the server is shutting down.
    pub(crate) fn is_shutting_down(&self) -> bool {
        self.state.lock().shutting_down
    }

    /// How many there are, and were.
    pub(crate) fn counts(&self) -> SessionCounts {
        let state = self.state.lock();
        SessionCounts {
            connected: state.connected() as u64,
            offline: state.offline.len() as u64,
            maximum: state.max_connected as u64,
            expired: state.expired,
            evicted_for_count: state.evicted_for_count,
            evicted_for_bytes: state.evicted_for_bytes,
        }
    }

    /// Sessions with a connection, and without.
    #[cfg(test)]
    fn count(&self) -> (usize, usize) {
        let state = self.state.lock();
        let offline = state.offline.len();
        (state.by_number.len() - offline, offline)
    }
}

/// Sessions in numbers.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SessionCounts {
    /// With a connection.
    pub connected: u64,
    /// Kept for a client that is disconnected.
    pub offline: u64,
    /// The most that had a connection at one time.
    pub maximum: u64,
    /// Those that ended while their client was away: their time was over, or others needed the room.
    pub expired: u64,
    /// Of them, those that ended for `limits.kept_sessions`.
    pub evicted_for_count: u64,
    /// And for `limits.kept_bytes`.
    pub evicted_for_bytes: u64,
}

impl State {
    fn connected(&self) -> usize {
        self.by_number.len() - self.offline.len() - self.ending
    }

    fn note_connected(&mut self) {
        self.max_connected = self.max_connected.max(self.connected());
    }

    /// A connection of this client is over: the first of those who wait may look.
    fn notify_next(&mut self, client: &ClientKey) {
        let Some(ended) = self.waiting.get(client) else {
            return;
        };
        if has_waiters(ended) {
            ended.notify_one();
        } else {
            self.waiting.remove(client);
        }
    }

    /// A session that sleeps is to end: nobody can wake it any more.
    pub(super) fn end(&mut self, number: u64) -> Option<Due> {
        let record = self.by_number.get_mut(&number)?;
        let mut offline = record.offline.take()?;
        offline.mark_ending();
        record.ended = true;
        self.offline.remove(number, &offline);
        (self.ending, self.expired) = (self.ending + 1, self.expired + 1);
        let id = SessionId {
            client: number,
            incarnation: record.incarnation,
        };
        Some(Due::End(id, offline))
    }
}

/// Whether somebody waits; each who does holds a part of it.
fn has_waiters(ended: &Arc<Notify>) -> bool {
    Arc::strong_count(ended) > 1
}

fn taken_over() -> Close {
    Close {
        reason: ReasonCode::SessionTakenOver,
        text: "another connection uses this client id".to_owned(),
    }
}

#[cfg(test)]
#[path = "registry_tests.rs"]
mod tests;
