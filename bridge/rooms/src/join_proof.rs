//! What authorization found out about a joining SUBSCRIBE. It travels in the lane's entry.

/// What a subscription's entry says of the user who joins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JoinProof {
    /// Whether the join creates a room that does not exist.
    pub may_create: bool,
}

impl JoinProof {
    /// One byte. The bits that have no meaning yet are 0.
    #[must_use]
    pub fn to_bytes(self) -> Vec<u8> {
        vec![u8::from(self.may_create)]
    }

    /// An empty proof proves nothing.
    #[must_use]
    pub fn from_bytes(proof: &[u8]) -> JoinProof {
        JoinProof {
            may_create: proof.first().is_some_and(|bits| bits & 1 == 1),
        }
    }
}
