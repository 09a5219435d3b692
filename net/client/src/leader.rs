//! Where the leader of one partition is believed to be.
//!
//! Two sources say so. A description of the topic carries a leader epoch, and an older epoch never replaces a newer one:
//! brokers learn of a leader change at different times, and one that is behind would send a client back to a leader that is
//! gone. A broker that does not lead the partition may name who does, without an epoch: that is a *hint*. It is newer than
//! the description that led to the broker that gave it, so for a while it stands against descriptions of the same epoch;
//! not for ever, because who gave it may be behind too. The expensive mistake is to go to and fro without a pause between
//! two brokers that name each other.

use crate::address::Address;
use crate::metadata_cache::PartitionInfo;
use sluice_protocol::ShardAddress;

/// How long a hint stands against a description of the same leader epoch; and of hints closer together than this, only the
/// first is followed at once. Milliseconds.
const HINT_MS: u64 = 500;

/// Times are milliseconds on any clock that never goes back.
#[derive(Clone, Debug, Default)]
pub(crate) struct Leader {
    address: Option<Address>,
    epoch: u32,
    /// The address is a hint.
    hinted: bool,
    /// When a hint was last taken.
    hinted_ms: Option<u64>,
}

impl Leader {
    pub(crate) fn new(described: &PartitionInfo) -> Self {
        Self { address: described.address.clone(), epoch: described.leader_epoch, ..Self::default() }
    }

    /// `None` while nobody leads the partition.
    pub(crate) fn address(&self) -> Option<&Address> {
        self.address.as_ref()
    }

    /// Takes in a description. True when it names the leader of a newer epoch: whatever the last one said of waiting does
    /// not bind the new one.
    pub(crate) fn on_described(&mut self, now_ms: u64, described: &PartitionInfo) -> bool {
        let hint_stands = self.hinted && self.hinted_ms.is_some_and(|at_ms| now_ms < at_ms + HINT_MS);
        if described.leader_epoch < self.epoch || described.leader_epoch == self.epoch && hint_stands {
            return false;
        }
        let is_newer = described.leader_epoch > self.epoch && described.address.is_some();
        (self.epoch, self.hinted) = (described.leader_epoch, false);
        self.address.clone_from(&described.address);
        is_newer
    }

    /// A broker says that it does not lead the partition, and perhaps who does. True when to go there without a pause.
    pub(crate) fn on_not_leader(&mut self, now_ms: u64, named: Option<&ShardAddress>) -> bool {
        let named = named.map(|named| Address::new(&named.host, named.port));
        if named.is_none() || named == self.address {
            self.hinted = false;
            return false;
        }
        let at_once = self.hinted_ms.is_none_or(|at_ms| now_ms >= at_ms + HINT_MS);
        self.address = named;
        (self.hinted, self.hinted_ms) = (true, Some(now_ms));
        at_once
    }

    /// The broker there cannot be reached, or cannot serve the partition now: what is described counts again.
    pub(crate) fn on_failure(&mut self) {
        self.hinted = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn described(epoch: u32, host: Option<&str>) -> PartitionInfo {
        let address = host.map(|host| Address::new(host, 1));
        PartitionInfo { partition: 0, leader: None, leader_epoch: epoch, shard: 0, isr: vec![], address }
    }

    fn named(host: &str) -> Option<ShardAddress> {
        Some(ShardAddress { broker_id: 9, shard: 0, host: host.into(), port: 1 })
    }

    fn host(leader: &Leader) -> Option<&str> {
        leader.address().map(|address| &*address.host)
    }

    #[test]
    fn an_older_epoch_changes_nothing() {
        let mut leader = Leader::new(&described(5, Some("a")));
        assert!(!leader.on_described(0, &described(4, Some("b"))));
        assert!(!leader.on_described(0, &described(4, None)));
        assert_eq!(host(&leader), Some("a"));
        assert!(leader.on_described(0, &described(6, Some("b"))));
        assert_eq!(host(&leader), Some("b"));
        assert!(!leader.on_described(0, &described(6, Some("c"))), "the same leader at another address");
        assert_eq!(host(&leader), Some("c"));
        assert!(!leader.on_described(0, &described(7, None)), "nobody leads it");
        assert_eq!(host(&leader), None);
    }

    #[test]
    fn a_hint_stands_for_a_while_against_its_own_epoch_and_never_against_a_newer_one() {
        let mut leader = Leader::new(&described(5, Some("a")));
        assert!(leader.on_not_leader(100, named("b").as_ref()));
        leader.on_described(101, &described(5, Some("a")));
        assert_eq!(host(&leader), Some("b"));
        leader.on_described(600, &described(5, Some("a")));
        assert_eq!(host(&leader), Some("a"), "who named b may have been behind");
        assert!(leader.on_not_leader(700, named("b").as_ref()));
        leader.on_failure();
        leader.on_described(701, &described(5, Some("a")));
        assert_eq!(host(&leader), Some("a"), "b cannot be reached");
        assert!(leader.on_not_leader(1300, named("b").as_ref()));
        assert!(leader.on_described(1301, &described(6, Some("c"))));
        assert_eq!(host(&leader), Some("c"));
    }

    #[test]
    fn two_brokers_that_name_each_other_are_not_asked_in_turns_without_a_pause() {
        let mut leader = Leader::new(&described(5, Some("a")));
        assert!(leader.on_not_leader(100, named("b").as_ref()));
        assert!(!leader.on_not_leader(101, named("a").as_ref()));
        assert_eq!(host(&leader), Some("a"), "followed, but not at once");
        assert!(!leader.on_not_leader(102, named("a").as_ref()), "who names itself has nothing to say");
        assert!(!leader.on_not_leader(103, None));
    }
}
