//! What a node is told when it is opened, and the times it keeps.
//!
//! The arithmetic, with every figure at its worst. A broker dies right after a heartbeat: its lease ends `LEASE_MS` later,
//! the entry that elects other leaders is committed a round trip and two flushes after that: 1.1 s, of 1.5 s promised.
//! When the controller died with it, the others notice after `2 * ELECTION_MS_MAX` (they trust the last word of a leader
//! for one of them, then wait a random part of the other) and one tick of the engine (1.5 heartbeats), vote within a round
//! trip, and give every broker a full lease: 0.7 + 0.23 + 1.1 = 2.0 s of 3 s promised. A split vote costs one more
//! `ELECTION_MS_MAX` and tick, 0.6 s. Two heartbeats in a row may be lost, or a flush take 300 ms, before anybody doubts a
//! leader.

use sluice_metadata::{ClusterId, FolderId};
use sluice_model::BrokerId;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

/// A broker that has not been heard for so long is fenced, milliseconds.
pub const LEASE_MS: u64 = 1000;
/// How often a broker should renew its lease, milliseconds.
pub const LEASE_RENEWAL_MS: u64 = 300;
/// The engine sends one per one and a half of these, milliseconds. An answer to entries is waited for so long.
pub(crate) const HEARTBEAT_MS: u64 = 150;
pub(crate) const ELECTION_MS_MIN: u64 = 200;
pub(crate) const ELECTION_MS_MAX: u64 = 350;
/// A controller that has not heard a majority for so long may have been replaced: it grants no lease and takes no command,
/// milliseconds.
pub(crate) const QUORUM_SILENCE_MS_MAX: u64 = ELECTION_MS_MIN + ELECTION_MS_MAX;
/// Bytes.
pub const SNAPSHOT_AFTER_LEN: u64 = 16 * 1024 * 1024;
/// Nobody waits longer for a proposal, milliseconds.
pub(crate) const PROPOSAL_MS_MAX: u64 = 5000;

const _: () = assert!(HEARTBEAT_MS < ELECTION_MS_MIN && 3 * HEARTBEAT_MS < QUORUM_SILENCE_MS_MAX);
const _: () = assert!(LEASE_RENEWAL_MS * 3 < LEASE_MS);

/// Settings of one broker's controller.
#[derive(Clone, Debug)]
pub struct NodeConfig {
    /// The metadata log.
    pub path: PathBuf,
    pub folder_id: FolderId,
    pub broker: BrokerId,
    /// Who votes and where each can be reached, the same on every broker; with this one alone it is a cluster of one.
    pub voters: BTreeMap<BrokerId, String>,
    /// Where this broker's controller can be reached; of no use to a broker that is alone.
    pub address: String,
    /// For a new log: the id that the cluster gets if this broker founds it. `None`: there has to be a log already. A log
    /// that is there keeps what it was made with.
    pub founding: Option<ClusterId>,
    /// `None`: no broker's lease ends, for a broker that is alone.
    pub lease: Option<Duration>,
    /// Bytes of entries after which a snapshot stands for them: a start reads about as much. `SNAPSHOT_AFTER_LEN` unless
    /// there is a reason.
    pub snapshot_after_len: u64,
}

impl NodeConfig {
    /// A broker without others.
    #[must_use]
    pub fn alone(path: PathBuf, folder_id: FolderId, broker: BrokerId, founding: Option<ClusterId>) -> Self {
        let voters = BTreeMap::from([(broker, String::new())]);
        Self {
            path,
            folder_id,
            broker,
            voters,
            address: String::new(),
            founding,
            lease: None,
            snapshot_after_len: SNAPSHOT_AFTER_LEN,
        }
    }

    pub(crate) fn is_alone(&self) -> bool {
        self.voters.len() == 1 && self.voters.contains_key(&self.broker)
    }
}
