//! What becomes of sessions whose client does not come back: their wills, and their ends.

use super::Shared;
use super::ending::{send_will, tell_lanes};
use crate::clock;
use crate::lane::Origin;
use crate::policy::{GoneReason, SessionId};
use crate::sessions::{Asleep, Due};
use std::sync::Arc;
use std::time::Duration;

/// The one task that looks after sessions that sleep.
pub(crate) struct Sleepers {
    pub shared: Arc<Shared>,
}

impl Sleepers {
    /// Does what is due, for ever.
    pub(crate) async fn run(self) {
        let sessions = &self.shared.sessions;
        loop {
            let (due, next) = sessions.due(clock::now_ms());
            for due in due {
                settle(&self.shared, due).await;
            }
            let sooner = sessions.sooner.notified();
            match next {
                Some(at) => {
                    let left = at.saturating_sub(clock::now_ms());
                    let wait = tokio::time::sleep(Duration::from_millis(left));
                    tokio::select! { () = wait => {}, () = sooner => {} }
                }
                None => sooner.await,
            }
        }
    }
}

/// Sends a will that is due, or ends a session.
pub(super) async fn settle(shared: &Shared, due: Due) {
    match due {
        Due::Will(id, who, will) => send_will(shared, id, &who, &will).await,
        Due::End(id, asleep) => {
            let (user, client) = (asleep.kept.who.user.clone(), asleep.kept.client_id.clone());
            tracing::debug!(%user, %client, "a session has ended without its client");
            bury(shared, id, *asleep).await;
            shared.sessions.leave(id);
        }
    }
}

/// The end of a session that slept [MQTT-3.1.2-8]: a will that is not sent yet is sent now.
pub(super) async fn bury(shared: &Shared, id: SessionId, asleep: Asleep) {
    let kept = &asleep.kept;
    if let Some((will, _)) = &asleep.will {
        send_will(shared, id, &kept.who, will).await;
    }
    let who = Origin {
        session: id,
        user: &kept.who.user,
    };
    let reason = GoneReason::Lost("the session has ended".to_owned());
    tell_lanes(shared, who, &kept.lanes, &reason, false).await;
}
