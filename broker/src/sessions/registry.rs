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
type Client = (Arc<str>, ByteString);

/// The registry.
#[derive(Debug)]
pub(crate) struct Sessions {
    pub(super) state: Mutex<State>,
    /// Something is due earlier than was known.
    pub(crate) sooner: Notify,
    /// Sessions that may sleep at one time.
    most_asleep: usize,
}

#[derive(Debug, Default)]
pub(super) struct State {
    by_client: HashMap<Client, u64>,
    pub(super) by_number: HashMap<u64, Record>,
    /// Newcomers, who wait in the order in which they came. One is let in by each end of a connection: were all of them
    /// woken each time, a flood of them would cost the square of its number.
    waiting: HashMap<Client, Arc<Notify>>,
    pub(super) order: OfflineOrder,
    last: u64,
    /// Those that have ended and not left yet.
    ending: usize,
    /// The most that were awake at one time.
    most_awake: usize,
    /// Sessions that have ended without their client.
    expired: u64,
    /// Those of them for which there were too many, and for which too much waited.
    for_number: u64,
    pub(super) for_bytes: u64,
    shut: bool,
}

#[derive(Debug)]
pub(super) struct Record {
    client: Client,
    incarnation: u64,
    /// The incarnation that brought the outbox, with which later ones went on.
    first: u64,
    pub(super) outbox: Arc<Outbox>,
    /// None while a connection serves it or ends it; only one that sleeps ends by itself
    /// [MQTT-4.1.0-1, 3.1.1 MQTT-4.1.0-2].
    pub(super) asleep: Option<Box<OfflineSession>>,
    /// It slept, and has ended.
    ending: bool,
    /// Its will is on its way into the log, and it sleeps on: who comes back waits until it is in, and so does the end. Told
    /// then.
    telling: Option<Arc<Notify>>,
}

/// How a newcomer finds its place.
#[derive(Debug)]
pub(crate) enum Registration {
    /// It has the place to itself.
    New(SessionId),
    /// It goes on with a session that slept: its own id, and the one before.
    Resumed(SessionId, SessionId, Arc<Outbox>, Box<OfflineSession>),
    /// A session that slept is over, which the newcomer has to tell: its own id, and the old one's.
    Replaced(SessionId, SessionId, Arc<Outbox>, Box<OfflineSession>),
    /// The server is shutting down.
    Shut,
}

pub(super) enum Placing {
    Done(Registration),
    Wait(OwnedNotified),
}

impl Sessions {
    pub(crate) fn new(most_asleep: usize) -> Self {
        Sessions {
            state: Mutex::default(),
            sooner: Notify::new(),
            most_asleep,
        }
    }

    /// Enters a session that sends from `outbox`, unless an earlier one is woken and goes on with its own: not where its
    /// time is over by `now`, even if nobody has seen to that yet [MQTT-3.1.2-11, 5.0 MQTT-3.1.2-23].
    /// A connection that serves the client now is told to end [MQTT-3.1.4-3] and waited for.
    pub(crate) async fn enter(
        &self,
        user: &Arc<str>,
        id: &ByteString,
        outbox: &Arc<Outbox>,
        resumes: bool,
        now: impl Fn() -> u64,
    ) -> Registration {
        loop {
            match self.try_enter(user, id, outbox, resumes, now()) {
                Placing::Done(entered) => return entered,
                Placing::Wait(over) => over.await,
            }
        }
    }

    pub(super) fn try_enter(
        &self,
        user: &Arc<str>,
        id: &ByteString,
        outbox: &Arc<Outbox>,
        resumes: bool,
        now: u64,
    ) -> Placing {
        let client: Client = (user.clone(), id.clone());
        let mut guard = self.state.lock();
        let state = &mut *guard;
        if state.shut {
            return Placing::Done(Registration::Shut);
        }
        state.last += 1;
        let incarnation = state.last;
        let number = *state.by_client.entry(client.clone()).or_insert(incarnation);
        let session = SessionId {
            client: number,
            incarnation,
        };
        let Some(known) = state.by_number.get_mut(&number) else {
            let registered = Record {
                client,
                incarnation,
                first: incarnation,
                outbox: outbox.clone(),
                asleep: None,
                ending: false,
                telling: None,
            };
            state.by_number.insert(number, registered);
            state.note_awake();
            return Placing::Done(Registration::New(session));
        };
        let asleep = &mut known.asleep;
        let Some(mut asleep) = asleep.take_if(|_| known.telling.is_none()) else {
            known.outbox.close(taken_over());
            let over = state.waiting.entry(client).or_default().clone();
            // Made under the lock, so that the end cannot be missed.
            return Placing::Wait(over.notified_owned());
        };
        state.order.forget(number, &asleep);
        let old = SessionId {
            client: number,
            incarnation: std::mem::replace(&mut known.incarnation, incarnation),
        };
        let theirs = known.outbox.clone();
        let over = asleep.expires <= now;
        state.expired += u64::from(over);
        let entered = if resumes && !over {
            Registration::Resumed(session, old, theirs, asleep)
        } else {
            (known.first, known.outbox) = (incarnation, outbox.clone());
            asleep.leave();
            Registration::Replaced(session, old, theirs, asleep)
        };
        state.note_awake();
        Placing::Done(entered)
    }

    /// A connection has been opened: it ends at once where a newcomer waits for its place already, or the server
    /// is shutting down, which could not be told before.
    pub(crate) fn opened(&self, session: SessionId) {
        let state = self.state.lock();
        let known = state.by_number.get(&session.client);
        let Some(known) = known.filter(|k| k.incarnation == session.incarnation) else {
            return;
        };
        if state.shut {
            known.outbox.stop_reading();
            known.outbox.close(Close {
                reason: ReasonCode::ServerShuttingDown,
                text: "the server is shutting down".to_owned(),
            });
        } else if state.waiting.get(&known.client).is_some_and(is_awaited) {
            known.outbox.close(taken_over());
        }
    }

    /// The connection of a session is over, and the lanes know it; the session sleeps. Gives back one that
    /// has to end for it, where too many sleep: the one that has slept longest, of those without credentials first;
    /// this one itself, where what it costs beside its queue would pass `limits.kept_bytes`.
    pub(super) fn sleep(&self, session: SessionId, asleep: Box<OfflineSession>) -> Option<Due> {
        let mut guard = self.state.lock();
        let state = &mut *guard;
        let own = |r: &&mut Record| r.incarnation == session.incarnation;
        let known = state.by_number.get_mut(&session.client).filter(own)?;
        let (first, fits) = (state.order.add(session.client, &asleep), asleep.fits());
        known.asleep = Some(asleep);
        let client = known.client.clone();
        state.let_in(&client);
        if first {
            self.sooner.notify_one();
        }
        if !fits {
            state.for_bytes += 1;
            return state.end(session.client);
        }
        if state.order.len() <= self.most_asleep {
            return None;
        }
        let number = state.order.first_to_go()?;
        state.for_number += 1;
        state.end(number)
    }

    /// Takes a session out that has ended; a later incarnation stays.
    pub(crate) fn leave(&self, session: SessionId) {
        let mut state = self.state.lock();
        let own = |r: &Record| r.incarnation == session.incarnation;
        if state.by_number.get(&session.client).is_some_and(own)
            && let Some(registered) = state.by_number.remove(&session.client)
        {
            state.by_client.remove(&registered.client);
            state.ending -= usize::from(registered.ending);
            state.let_in(&registered.client);
        }
    }

    /// What is due at `now`, and when the next is. A session that ends is to be told to the lanes and then
    /// [left](Sessions::leave).
    pub(crate) fn due(&self, now: u64) -> (Vec<Due>, Option<u64>) {
        let mut guard = self.state.lock();
        let state = &mut *guard;
        let mut due = Vec::new();
        while let Some(number) = state.order.take_due(now) {
            let Some(known) = state.by_number.get_mut(&number) else {
                continue;
            };
            let id = SessionId {
                client: number,
                incarnation: known.incarnation,
            };
            let Some(asleep) = &mut known.asleep else {
                continue;
            };
            if asleep.expires <= now {
                due.extend(state.end(number));
            } else {
                if let Some(will) = asleep.will.take() {
                    known.telling = Some(Arc::default());
                    due.push(Due::Will(id, asleep.kept.who.clone(), Box::new(will)));
                }
                state.order.again(number, asleep);
            }
        }
        (due, state.order.next())
    }

    /// The will that was [due](Sessions::due) stands in the log, before anything that its client says from now on.
    pub(crate) fn will_is_out(&self, session: SessionId) {
        let mut state = self.state.lock();
        let Some(known) = state.by_number.get_mut(&session.client) else {
            return;
        };
        if let Some(told) = known.telling.take() {
            told.notify_waiters();
            let client = known.client.clone();
            state.let_in(&client);
        }
    }

    /// Waits for that.
    pub(crate) async fn until_will_is_out(&self, session: SessionId) {
        let told = {
            let state = self.state.lock();
            let known = state.by_number.get(&session.client);
            known
                .and_then(|known| known.telling.clone())
                .map(Notify::notified_owned)
        };
        if let Some(told) = told {
            told.await;
        }
    }

    /// The outbox of a session that lives. A lane may come to what an incarnation asked when the next has gone on with its
    /// session already, and the next is to find it there.
    pub(crate) fn outbox(&self, session: SessionId) -> Option<Arc<Outbox>> {
        let state = self.state.lock();
        let registered = state.by_number.get(&session.client)?;
        let lives = registered.first..=registered.incarnation;
        lives
            .contains(&session.incarnation)
            .then(|| registered.outbox.clone())
    }

    /// Lets nobody in any more; all outboxes.
    pub(crate) fn shut(&self) -> Vec<Arc<Outbox>> {
        let mut state = self.state.lock();
        state.shut = true;
        for (_, over) in state.waiting.drain() {
            over.notify_waiters();
        }
        let all = state.by_number.values().map(|r| r.outbox.clone());
        all.collect()
    }

    /// Whether the server is shutting down.
    pub(crate) fn is_shut(&self) -> bool {
        self.state.lock().shut
    }

    /// How many there are, and were.
    pub(crate) fn clients(&self) -> Clients {
        let state = self.state.lock();
        Clients {
            connected: state.awake() as u64,
            asleep: state.order.len() as u64,
            maximum: state.most_awake as u64,
            expired: state.expired,
            for_number: state.for_number,
            for_bytes: state.for_bytes,
        }
    }

    /// Sessions with a connection, and without.
    #[cfg(test)]
    fn count(&self) -> (usize, usize) {
        let state = self.state.lock();
        let asleep = state.order.len();
        (state.by_number.len() - asleep, asleep)
    }
}

/// Sessions in numbers.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Clients {
    /// With a connection.
    pub connected: u64,
    /// Kept for a client that is disconnected.
    pub asleep: u64,
    /// The most that had a connection at one time.
    pub maximum: u64,
    /// Those that ended while their client was away: their time was over, or others needed the room.
    pub expired: u64,
    /// Of them, those that ended for `limits.kept_sessions`.
    pub for_number: u64,
    /// And for `limits.kept_bytes`.
    pub for_bytes: u64,
}

impl State {
    fn awake(&self) -> usize {
        self.by_number.len() - self.order.len() - self.ending
    }

    fn note_awake(&mut self) {
        self.most_awake = self.most_awake.max(self.awake());
    }

    /// A connection of this client is over: the first of those who wait may look.
    fn let_in(&mut self, client: &Client) {
        let Some(over) = self.waiting.get(client) else {
            return;
        };
        if is_awaited(over) {
            over.notify_one();
        } else {
            self.waiting.remove(client);
        }
    }

    /// A session that sleeps is to end: nobody can wake it any more.
    pub(super) fn end(&mut self, number: u64) -> Option<Due> {
        let known = self.by_number.get_mut(&number)?;
        let mut asleep = known.asleep.take()?;
        asleep.leave();
        known.ending = true;
        self.order.forget(number, &asleep);
        (self.ending, self.expired) = (self.ending + 1, self.expired + 1);
        let id = SessionId {
            client: number,
            incarnation: known.incarnation,
        };
        Some(Due::End(id, asleep))
    }
}

/// Whether somebody waits; each who does holds a part of it.
fn is_awaited(over: &Arc<Notify>) -> bool {
    Arc::strong_count(over) > 1
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
