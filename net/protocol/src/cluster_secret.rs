//! The secret that the brokers of a cluster share, and how one of them proves to another that it knows it.
//!
//! Each side draws a nonce for this one connection; a proof is HMAC-SHA-256 under the secret over everything that both
//! have said of themselves ([`Introduction`]) and over whose proof it is. So neither side ever sends the secret, a proof
//! holds for no other connection, pair of brokers, incarnation or role, and no side can be told its own proof back. The
//! side that connects proves first: a stranger who connects learns nothing that was made with the secret.
//!
//! The expensive mistake is a comparison that ends at the first byte that differs, because its time tells how far a
//! guess was right; proofs are compared in constant time. Deliberately absent: secrecy and integrity of what follows.
//! Whoever can change bytes on the way between two brokers can pass their proofs on and speak after them, so that way has
//! to be one that nobody else writes to. Randomness comes in as an argument.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use sluice_model::limits::{CLUSTER_SECRET_LEN_MAX, CLUSTER_SECRET_LEN_MIN};
use sluice_model::{BrokerId, Incarnation, ShardIndex};
use std::fmt;

/// Random bytes, drawn by each side for one connection.
pub type Nonce = [u8; 32];
/// What shows that a side knows the secret.
pub type Proof = [u8; 32];

/// Keeps these proofs apart from anything else that may ever be made with the same secret.
const LABEL: &[u8; 24] = b"sluice broker proof v0  ";

/// The bytes that all brokers of a cluster have and nobody else. `Debug` does not show them.
#[derive(Clone, PartialEq, Eq)]
pub struct ClusterSecret {
    bytes: Vec<u8>,
}

/// A secret that is too short to be one, or longer than anybody needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SecretLenError {
    pub got: usize,
}

impl fmt::Display for SecretLenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a cluster secret has {CLUSTER_SECRET_LEN_MIN} to {CLUSTER_SECRET_LEN_MAX} bytes, this one has {}", self.got)
    }
}

impl std::error::Error for SecretLenError {}

impl fmt::Debug for ClusterSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ClusterSecret({} bytes)", self.bytes.len())
    }
}

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum BrokerRole {
    /// A shard that fetches, as a follower, from a shard that leads.
    Follower = 0,
    /// Raft, and what is asked of the controller.
    Controller = 1,
}

impl BrokerRole {
    #[must_use]
    pub fn from_u8(value: u8) -> Option<Self> {
        match value {
            0 => Some(Self::Follower),
            1 => Some(Self::Controller),
            _ => None,
        }
    }
}

/// Which of the two sides makes a proof.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum ProofOf {
    /// The one that opened the connection.
    Connecting = 0,
    /// The one that listens.
    Accepting = 1,
}

/// One broker, as it introduces itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BrokerName {
    pub broker: BrokerId,
    pub incarnation: Incarnation,
    /// The shard that speaks; 0 for a control thread.
    pub shard: ShardIndex,
    pub nonce: Nonce,
}

/// All that both sides of a connection have said before the proofs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Introduction {
    pub role: BrokerRole,
    pub connecting: BrokerName,
    pub accepting: BrokerName,
}

impl ClusterSecret {
    /// # Errors
    /// A length outside [`CLUSTER_SECRET_LEN_MIN`] to [`CLUSTER_SECRET_LEN_MAX`].
    pub fn new(bytes: &[u8]) -> Result<Self, SecretLenError> {
        if !(CLUSTER_SECRET_LEN_MIN..=CLUSTER_SECRET_LEN_MAX).contains(&bytes.len()) {
            return Err(SecretLenError { got: bytes.len() });
        }
        Ok(Self { bytes: bytes.to_vec() })
    }

    /// The proof of one side.
    #[must_use]
    pub fn prove(&self, side: ProofOf, introduction: &Introduction) -> Proof {
        self.mac(side, introduction).finalize().into_bytes().into()
    }

    /// Whether `proof` is that side's, compared in constant time.
    #[must_use]
    pub fn is_proof(&self, side: ProofOf, introduction: &Introduction, proof: &Proof) -> bool {
        self.mac(side, introduction).verify_slice(proof).is_ok()
    }

    /// Every field has a fixed length, so no two introductions have the same bytes.
    fn mac(&self, side: ProofOf, introduction: &Introduction) -> Hmac<Sha256> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.bytes).expect("HMAC takes a key of any length");
        mac.update(LABEL);
        mac.update(&[side as u8, introduction.role as u8]);
        for name in [&introduction.connecting, &introduction.accepting] {
            mac.update(&name.broker.0.to_le_bytes());
            mac.update(&name.incarnation.number.to_le_bytes());
            mac.update(&name.incarnation.random.to_le_bytes());
            mac.update(&name.shard.0.to_le_bytes());
            mac.update(&name.nonce);
        }
        mac
    }
}

#[cfg(test)]
#[path = "cluster_secret_test.rs"]
mod tests;
