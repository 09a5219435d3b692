//! How long partitions without a leader wait for replicas that may have more than those that are there. A rule: time comes
//! in.
//!
//! After a loss of power of all, a replica that has cut off a torn group does not lead while a trusted one may still come
//! that has not. Deliberately absent: who leads then (`sluice_metadata::on_recovery_wait_ended`).

use sluice_metadata::{EndRecoveryWait, Image};
use sluice_model::TopicPartition;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// A start with a large journal to replay takes a few seconds.
pub(crate) const RECOVERY_WAIT: Duration = Duration::from_secs(30);
/// All partitions are looked through this often.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

#[derive(Debug, Default)]
pub(crate) struct RecoveryWaits {
    /// Since when each has been without a leader, as far as this controller knows.
    leaderless: BTreeMap<TopicPartition, Duration>,
    next_look: Duration,
}

impl RecoveryWaits {
    /// This broker has become the controller.
    pub(crate) fn on_leading(&mut self, now: Duration) {
        self.leaderless.clear();
        self.next_look = now;
    }

    pub(crate) fn next_look(&self) -> Duration {
        self.next_look
    }

    /// It is not for this broker to look now.
    pub(crate) fn put_off(&mut self, now: Duration) {
        self.next_look = now + LOOK_INTERVAL;
    }

    /// Partitions that have waited long enough, when it is time to look: all that wait are named again until they are led.
    pub(crate) fn look(&mut self, now: Duration, image: &Image) -> Option<EndRecoveryWait> {
        if now < self.next_look {
            return None;
        }
        self.next_look = now + LOOK_INTERVAL;
        let without = image.partitions().filter(|(_, partition)| partition.leader.is_none());
        self.leaderless = without.map(|(id, _)| (id, self.leaderless.get(&id).copied().unwrap_or(now))).collect();
        let waited = |since: Duration| now.saturating_sub(since) >= RECOVERY_WAIT;
        let named: BTreeSet<_> = self.leaderless.iter().filter(|(_, since)| waited(**since)).map(|(id, _)| *id).collect();
        (!named.is_empty()).then_some(EndRecoveryWait { partitions: Some(named) })
    }
}

#[cfg(test)]
#[path = "recovery_waits_test.rs"]
mod tests;
