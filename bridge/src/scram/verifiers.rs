//! A verifier for every name: that of a user, or a decoy that looks like one.

use super::verifier::{FEWEST_ITERATIONS, Verifier};
use std::collections::{HashMap, HashSet};

/// The key that decoys are derived from. The same key gives a name the same decoy.
#[derive(Clone, Copy)]
pub(crate) struct DecoyKey(pub [u8; 32]);

/// A log must not contain the key.
impl std::fmt::Debug for DecoyKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("DecoyKey")
    }
}

/// The verifiers of all users, and decoys for all other names.
pub(crate) struct Verifiers {
    by_name: HashMap<String, Verifier>,
    /// Users whose passwords were set without SCRAM.
    without: HashSet<String>,
    decoy: DecoyKey,
    /// The iterations of all verifiers, sorted. A decoy takes one of them.
    iterations: Vec<u32>,
}

impl Verifiers {
    /// `iterations`: those of decoys if no user has a verifier.
    pub fn new(
        verifiers: HashMap<String, Verifier>,
        without: HashSet<String>,
        decoy: DecoyKey,
        iterations: u32,
    ) -> Verifiers {
        let mut costs: Vec<u32> = verifiers.values().map(|v| v.iterations).collect();
        costs.sort_unstable();
        if costs.is_empty() {
            costs.push(iterations);
        }
        Verifiers {
            by_name: verifiers,
            without,
            decoy,
            iterations: costs,
        }
    }

    /// The verifier of `name`, and whether it belongs to a user.
    pub fn of(&self, name: &str) -> (Verifier, bool) {
        let cost = |chance: u64| {
            let at = chance % self.iterations.len() as u64;
            usize::try_from(at).map_or(FEWEST_ITERATIONS, |at| self.iterations[at])
        };
        // Always made, so that the time does not tell whether the user exists.
        let decoy = Verifier::decoy(&self.decoy.0, name, cost);
        if let Some(verifier) = self.by_name.get(name) {
            return (verifier.clone(), true);
        }
        if self.without.contains(name) {
            tracing::info!(
                user = name,
                "has no verifier for SCRAM, and can log in by password only; set the password again with `roommq passwd`"
            );
        }
        (decoy, false)
    }
}

/// Only the names: a log must not contain secrets.
impl std::fmt::Debug for Verifiers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.by_name.keys()).finish()
    }
}
