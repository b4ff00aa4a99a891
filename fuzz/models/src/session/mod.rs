//! One client's session against a model of what MQTT promises.
//!
//! `actions` says what can happen, `machine` is the product, and three models look at it from outside: `sending` sees what the
//! client sends, `receiving` what it receives, `answering` the answers to its SUBSCRIBEs. All that the product puts into
//! its queue is read as a client would read it.

mod actions;
mod answering;
mod flying;
mod machine;
mod published;
mod receiving;
mod sending;
mod terms;
#[cfg(test)]
mod tests;
mod trial;
mod wire;

use super::input::Input;
use actions::Action;
use terms::Setup;
use trial::Trial;

/// Actions in one input: enough to fill every queue and empty it.
const MOST: usize = 400;

pub(super) fn run(bytes: &[u8]) {
    let mut input = Input::new(bytes);
    let setup = Setup::of(&mut input);
    let actions = input.rest().chunks(4).take(MOST).map(|chunk| {
        let mut bytes = [0; 4];
        bytes[..chunk.len()].copy_from_slice(chunk);
        Action::of(bytes)
    });
    play(setup, actions);
}

/// Does all `actions`, then lets the client take and acknowledge everything, and sees what is missing.
pub(super) fn play(setup: Setup, actions: impl IntoIterator<Item = Action>) {
    let mut trial = Trial::new(setup);
    for action in actions {
        trial.act(action);
    }
    trial.finish();
}
