//! The session registry: one connection at a time for each client id of each user.
//!
//! All times are in milliseconds of lane time and are passed in. Only
//! [`Sessions::register`] and [`Sessions::wait_for_will`] wait.

use super::offline::{Due, OfflineOrder, OfflineSession};
use crate::outbox::Outbox;
use crate::packet::ReasonCode;
use crate::policy::{Principal, SessionId};
use crate::session::Close;
use ahash::RandomState;
use bytestring::ByteString;
use parking_lot::Mutex;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use tokio::sync::Notify;
use tokio::sync::futures::OwnedNotified;

/// User and client id [MQTT-3.1.3-2]. With the user in the key no user can take over another's
/// session.
type ClientKey = (Arc<str>, ByteString);

/// The registry.
///
/// ```text
///              register                    go_offline
/// newcomer -------------> connected ----------------------> offline
///                          |     ^                           |   |
///                   remove |     '------ register -----------'   | expired or evicted:
///                          v                                     v
///                        ended <---- remove ---- carry_out(Due::End)
/// ```
///
/// A connection calls `register`, [`Outbox::connect`], `on_connected`, and at its end `go_offline`
/// or `remove`. A newcomer waits in `register` until the connection before it has made that last
/// call, and has told the lanes: in every lane the end of one connection precedes the beginning of
/// the next.
///
/// A resumed session keeps its [`SessionId`]. A session that replaces another has a new one.
#[derive(Debug)]
pub(crate) struct Sessions {
    pub(super) state: Mutex<State>,
    /// Notified when a will or an end has become due earlier than [`Sessions::due`] said.
    pub(crate) due_earlier: Notify,
    /// Offline sessions, at most (`limits.kept_sessions`).
    max_offline: usize,
}

#[derive(Debug, Default)]
pub(super) struct State {
    /// The term of all ids that this registry gives.
    term: u64,
    /// The numbers of all sessions, each behind the hash of its client: the client's name is in its
    /// record only, since there may be many.
    by_client: BTreeSet<(u64, u64)>,
    hasher: RandomState,
    pub(super) by_number: HashMap<u64, Record, RandomState>,
    /// Newcomers that wait for the connection before them, in their order. The end of a connection
    /// notifies one of them: if it notified all, n newcomers would cost n² steps.
    waiting: HashMap<ClientKey, Arc<Notify>>,
    pub(super) offline: OfflineOrder,
    last_number: u64,
    /// Ended sessions that are not removed yet.
    ending: usize,
    /// Sessions that lanes have evicted, to be carried out.
    evicted: Vec<Due>,
    /// All but the numbers of sessions now.
    pub(super) counts: SessionCounts,
    shutting_down: bool,
}

/// One session.
#[derive(Debug)]
pub(super) struct Record {
    client: ClientKey,
    pub(super) outbox: Arc<Outbox>,
    /// None while the session has a connection, so it cannot expire then
    /// [MQTT-4.1.0-1, 3.1.1 MQTT-4.1.0-2]. None, too, once it has ended.
    pub(super) offline: Option<Box<OfflineSession>>,
    /// The session was offline, and has ended.
    ended: bool,
    /// A lane has evicted the session before it was registered as offline, or while it was being
    /// resumed.
    evicted: bool,
    /// The session is offline, and its delayed will is being appended to the log. Its client and
    /// its end must wait until that is done; then they are notified.
    will_pending: Option<Arc<Notify>>,
}

/// The result of a registration.
#[derive(Debug)]
pub(crate) enum Registration {
    /// The client had no session.
    New(SessionId),
    /// The newcomer resumes the previous session, with its id and its outbox.
    Resumed(Previous),
    /// The newcomer has a new session. The previous one has ended: the newcomer must send its will
    /// and tell the lanes.
    Replaced(SessionId, Previous),
    /// The server is shutting down.
    ShuttingDown,
}

/// The offline session that a newcomer resumes or replaces.
#[derive(Debug)]
pub(crate) struct Previous {
    pub id: SessionId,
    pub outbox: Arc<Outbox>,
    pub session: Box<OfflineSession>,
}

impl Sessions {
    /// An empty registry. Every registry needs its own `term`, see [`new_term`](super::new_term).
    pub(crate) fn new(term: u64, max_offline: usize) -> Self {
        let state = State {
            term,
            ..State::default()
        };
        Sessions {
            state: Mutex::new(state),
            due_earlier: Notify::new(),
            max_offline,
        }
    }

    /// Registers a connection of a client. `outbox` is that of the new session, unless the
    /// connection `resumes` an offline one.
    ///
    /// A session whose time has passed by `now` is not resumed, even if its end has not been
    /// carried out [MQTT-3.1.2-11, 5.0 MQTT-3.1.2-23]. If the client has a connection already, that
    /// is closed [MQTT-3.1.4-3], and this call waits for its end.
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
                Ok(registration) => return registration,
                Err(ended) => ended.await,
            }
        }
    }

    /// One attempt.
    ///
    /// # Errors
    /// The client has a connection: the notification to wait for before the next attempt.
    pub(super) fn try_register(
        &self,
        user: &Arc<str>,
        client_id: &ByteString,
        outbox: &Arc<Outbox>,
        resumes: bool,
        now: u64,
    ) -> Result<Registration, OwnedNotified> {
        let client: ClientKey = (user.clone(), client_id.clone());
        let mut guard = self.state.lock();
        let state = &mut *guard;
        if state.shutting_down {
            return Ok(Registration::ShuttingDown);
        }
        let known = state.find(&client);
        let Some((number, record)) = known.and_then(|n| Some((n, state.by_number.get_mut(&n)?)))
        else {
            let id = state.add(client, outbox);
            state.note_connected();
            return Ok(Registration::New(id));
        };
        let offline = &mut record.offline;
        let Some(session) = offline.take_if(|_| record.will_pending.is_none()) else {
            record.outbox.close(taken_over());
            let ended = state.waiting.entry(client).or_default().clone();
            // Created under the lock, so that the notification cannot be missed.
            return Err(ended.notified_owned());
        };
        state.offline.remove(number, &session);
        let expired = session.expires <= now;
        state.counts.expired += u64::from(expired);
        let mut previous = Previous {
            id: SessionId {
                term: state.term,
                n: number,
            },
            outbox: record.outbox.clone(),
            session,
        };
        let registration = if resumes && !expired {
            Registration::Resumed(previous)
        } else {
            previous.session.mark_ending();
            state.take(number);
            Registration::Replaced(state.add(client, outbox), previous)
        };
        state.note_connected();
        Ok(registration)
    }

    /// Whether a client has a connection, which a further one would take over from.
    pub(crate) fn is_connected(&self, user: &Arc<str>, client_id: &ByteString) -> bool {
        let state = self.state.lock();
        let number = state.find(&(user.clone(), client_id.clone()));
        let record = number.and_then(|number| state.by_number.get(&number));
        record.is_some_and(|record| record.offline.is_none())
    }

    /// Call it after [`Outbox::connect`]. Closes the connection if a newcomer waits for it, or if
    /// the server is shutting down: before `connect` there was no connection to close.
    pub(crate) fn on_connected(&self, session: SessionId) {
        let mut guard = self.state.lock();
        let state = &mut *guard;
        let Some(record) = state.by_number.get_mut(&session.n) else {
            return;
        };
        if state.shutting_down {
            record.outbox.start_draining();
            record.outbox.close(shutting_down());
        } else if state.waiting.get(&record.client).is_some_and(has_waiters) {
            record.outbox.close(taken_over());
        }
    }

    /// Adds a session whose connection has ended, after the lanes have been told. Returns a session
    /// that must end for it:
    ///
    /// - this one, if its own cost exceeds `limits.kept_bytes`, or if a lane has evicted it;
    /// - above `limits.kept_sessions` one without credentials first, of the user who has most of
    ///   them the one that has been offline longest.
    pub(super) fn add_offline(
        &self,
        session: SessionId,
        offline: Box<OfflineSession>,
    ) -> Option<Due> {
        let mut guard = self.state.lock();
        let state = &mut *guard;
        let record = state.by_number.get_mut(&session.n)?;
        let fits = offline.fits() && !std::mem::take(&mut record.evicted);
        let first = state.offline.add(session.n, &offline);
        record.offline = Some(offline);
        let client = record.client.clone();
        state.notify_next(&client);
        if first {
            self.due_earlier.notify_one();
        }
        if !fits {
            state.counts.evicted_for_bytes += 1;
            return state.end(session.n);
        }
        if state.offline.len() <= self.max_offline {
            return None;
        }
        let number = state.offline.first_to_evict()?;
        state.counts.evicted_for_count += 1;
        state.end(number)
    }

    /// A lane has evicted a session. It ends if it is offline, or as soon as it is registered as
    /// offline. If its client is returning, see [`is_evicted`](Self::is_evicted).
    pub(crate) fn evict_for_lane(&self, session: SessionId) {
        let mut guard = self.state.lock();
        let state = &mut *guard;
        let Some(record) = state.by_number.get_mut(&session.n) else {
            return;
        };
        if session.term != state.term {
            return;
        }
        if record.offline.is_none() {
            record.evicted = true;
        } else if let Some(due) = state.end(session.n) {
            state.counts.evicted_for_bytes += 1;
            state.evicted.push(due);
            self.due_earlier.notify_one();
        }
    }

    /// Whether a lane has evicted a session that was offline there until all lanes have resumed it.
    /// It must go offline then, which ends it.
    pub(crate) fn is_evicted(&self, session: SessionId) -> bool {
        let state = self.state.lock();
        let record = state.by_number.get(&session.n);
        record.is_some_and(|record| record.evicted)
    }

    /// Takes the sessions that lanes have evicted. [`carry_out`](super::carry_out) their ends.
    pub(crate) fn take_evicted(&self) -> Vec<Due> {
        std::mem::take(&mut self.state.lock().evicted)
    }

    /// Removes a session that has ended. Nothing happens if another has replaced it.
    pub(crate) fn remove(&self, session: SessionId) {
        let mut state = self.state.lock();
        if let Some(record) = state.take(session.n) {
            state.ending -= usize::from(record.ended);
            state.notify_next(&record.client);
        }
    }

    /// The wills and ends that are due at `now`, and the time of the next one. [`carry_out`] each
    /// of them.
    ///
    /// [`carry_out`]: super::carry_out
    pub(crate) fn due(&self, now: u64) -> (Vec<Due>, Option<u64>) {
        let mut guard = self.state.lock();
        let state = &mut *guard;
        let (mut due, term) = (Vec::new(), state.term);
        while let Some(number) = state.offline.take_due(now) {
            let Some(record) = state.by_number.get_mut(&number) else {
                continue;
            };
            let Some(offline) = &mut record.offline else {
                continue;
            };
            if offline.expires <= now {
                due.extend(state.end(number));
            } else {
                if let Some(will) = offline.will.take() {
                    record.will_pending = Some(Arc::default());
                    let (connection, who) = (offline.state.connection, &offline.state.who);
                    let will = Box::new(will);
                    let id = SessionId { term, n: number };
                    due.push(Due::Will(id, connection, who.clone(), will));
                }
                state.offline.reschedule(number, offline);
            }
        }
        (due, state.offline.next_due())
    }

    /// Call it when a will that was [due](Sessions::due) has been appended to the log: its client
    /// may return now.
    pub(crate) fn will_logged(&self, session: SessionId) {
        let mut state = self.state.lock();
        let Some(record) = state.by_number.get_mut(&session.n) else {
            return;
        };
        if let Some(logged) = record.will_pending.take() {
            logged.notify_waiters();
            let client = record.client.clone();
            state.notify_next(&client);
        }
    }

    /// Waits until no will of this session is being appended.
    pub(crate) async fn wait_for_will(&self, session: SessionId) {
        let logged = {
            let state = self.state.lock();
            let record = state.by_number.get(&session.n);
            record
                .and_then(|record| record.will_pending.clone())
                .map(Notify::notified_owned)
        };
        if let Some(logged) = logged {
            logged.await;
        }
    }

    /// The outbox of a session that has not ended, whether it has a connection or not. None for a
    /// session of another term: no process has its outbox any more.
    pub(crate) fn outbox(&self, session: SessionId) -> Option<Arc<Outbox>> {
        let state = self.state.lock();
        let record = state.by_number.get(&session.n)?;
        (session.term == state.term).then(|| record.outbox.clone())
    }

    /// Lets each connected client be checked again by its connection. Returns the ends of the offline sessions whose
    /// user may not stay: [`carry_out`](super::carry_out) them.
    pub(crate) fn recheck(&self, may_stay: impl Fn(&Principal) -> bool) -> Vec<Due> {
        let mut guard = self.state.lock();
        let state = &mut *guard;
        let (mut connected, mut gone) = (Vec::new(), Vec::new());
        for (number, record) in &state.by_number {
            match &record.offline {
                None => connected.push(record.outbox.clone()),
                Some(_) if record.will_pending.is_some() => {}
                Some(offline) if may_stay(&offline.state.who) => {}
                Some(_) => gone.push(*number),
            }
        }
        let ended = gone.into_iter().filter_map(|number| state.end(number));
        let ended = ended.collect();
        drop(guard);
        for outbox in connected {
            outbox.recheck();
        }
        ended
    }

    /// Refuses all registrations from now on. Returns all outboxes.
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

    /// The numbers that `$SYS` shows.
    pub(crate) fn counts(&self) -> SessionCounts {
        let state = self.state.lock();
        SessionCounts {
            connected: state.connected() as u64,
            offline: state.offline.len() as u64,
            ..state.counts
        }
    }

    /// Sessions with and without a connection.
    #[cfg(test)]
    fn connected_and_offline(&self) -> (usize, usize) {
        let state = self.state.lock();
        let offline = state.offline.len();
        (state.by_number.len() - offline, offline)
    }
}

/// Numbers of sessions.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SessionCounts {
    /// Sessions that have a connection.
    pub connected: u64,
    /// Sessions whose client is disconnected.
    pub offline: u64,
    /// The most that had a connection at one time.
    pub maximum: u64,
    /// Sessions that have ended while offline: expired and evicted ones.
    pub expired: u64,
    /// Those of them that were evicted for `limits.kept_sessions`.
    pub evicted_for_count: u64,
    /// Those of them that were evicted for `limits.kept_bytes`.
    pub evicted_for_bytes: u64,
}

impl State {
    /// Adds a session with a new id. It has a connection.
    fn add(&mut self, client: ClientKey, outbox: &Arc<Outbox>) -> SessionId {
        self.last_number += 1;
        let id = self.id(self.last_number);
        let hash = self.hasher.hash_one(&client);
        self.by_client.insert((hash, id.n));
        let record = Record {
            client,
            outbox: outbox.clone(),
            offline: None,
            ended: false,
            evicted: false,
            will_pending: None,
        };
        self.by_number.insert(id.n, record);
        id
    }

    fn id(&self, n: u64) -> SessionId {
        let term = self.term;
        SessionId { term, n }
    }

    /// The number of the client's session.
    fn find(&self, client: &ClientKey) -> Option<u64> {
        let hash = self.hasher.hash_one(client);
        let same_hash = self.by_client.range((hash, 0)..=(hash, u64::MAX));
        let is_of = |n: &u64| self.by_number.get(n).is_some_and(|r| r.client == *client);
        same_hash.map(|(_, number)| *number).find(is_of)
    }

    /// Takes a session out.
    fn take(&mut self, number: u64) -> Option<Record> {
        let record = self.by_number.remove(&number)?;
        let hash = self.hasher.hash_one(&record.client);
        self.by_client.remove(&(hash, number));
        Some(record)
    }

    fn connected(&self) -> usize {
        self.by_number.len() - self.offline.len() - self.ending
    }

    fn note_connected(&mut self) {
        self.counts.maximum = self.counts.maximum.max(self.connected() as u64);
    }

    /// Notifies the first newcomer that waits for this client.
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

    /// Ends an offline session: it cannot be resumed any more.
    pub(super) fn end(&mut self, number: u64) -> Option<Due> {
        let record = self.by_number.get_mut(&number)?;
        let mut offline = record.offline.take()?;
        offline.mark_ending();
        record.ended = true;
        self.offline.remove(number, &offline);
        self.ending += 1;
        self.counts.expired += 1;
        let id = self.id(number);
        Some(Due::End(id, offline))
    }
}

/// Whether a newcomer waits: each holds a reference.
fn has_waiters(ended: &Arc<Notify>) -> bool {
    Arc::strong_count(ended) > 1
}

fn taken_over() -> Close {
    let text = "another connection uses this client id".to_owned();
    let reason = ReasonCode::SessionTakenOver;
    Close { reason, text }
}

/// The reason to close all connections at a shutdown.
pub(crate) fn shutting_down() -> Close {
    let text = "the server is shutting down".to_owned();
    let reason = ReasonCode::ServerShuttingDown;
    Close { reason, text }
}

#[cfg(test)]
#[path = "registry_tests.rs"]
mod tests;
