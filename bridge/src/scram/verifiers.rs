//! The verifier of every name: that of a user, or one that looks like it.

use super::verifier::{FEWEST_ITERATIONS, Verifier};
use std::collections::{HashMap, HashSet};

/// What makes decoys: they are the same as long as it is.
#[derive(Clone, Copy)]
pub(crate) struct DecoyKey(pub [u8; 32]);

/// Verifiers of all users, and of nobody.
pub(crate) struct Verifiers {
    by_name: HashMap<String, Verifier>,
    /// Users whose passwords were set without SCRAM.
    without: HashSet<String>,
    decoy: DecoyKey,
    /// What the verifiers cost, in order, so that a decoy costs what one of them does.
    iterations: Vec<u32>,
}

impl Verifiers {
    /// `iterations` is what a decoy costs where nobody has a verifier.
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

    /// The verifier of `name`, and whether it is a user's.
    pub fn of(&self, name: &str) -> (Verifier, bool) {
        let cost = |chance: u64| {
            let at = chance % self.iterations.len() as u64;
            usize::try_from(at).map_or(FEWEST_ITERATIONS, |at| self.iterations[at])
        };
        // Made in any case: who asks shall not see the difference in the time either.
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

/// Names only, and how many.
impl std::fmt::Debug for Verifiers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.by_name.keys()).finish()
    }
}
