//! Offsets that nobody has come back for, and groups of which nothing is left.
//!
//! Only a group without members loses offsets by age, counted from when its last member went or from the commit,
//! whichever is later. While a group has members none of its offsets expires, not even those of topics that it does not
//! subscribe to just now: a consumer of a quiet topic commits once in a month, and a subscription may be changed back
//! (Kafka counts those from the commit, KIP-211).

use crate::coordinator::Coordinator;
use crate::decision::Decision;
use crate::group::Group;
use crate::ids::GroupId;
use crate::record::{CommittedOffset, GroupDeleted, OffsetsRemoved, Record, by_topic};
use sluice_model::Now;
use std::ops::Bound::{Excluded, Unbounded};

impl Coordinator {
    /// The next group in this round of which something has expired.
    pub(crate) fn expire_next(&mut self, now: Now) -> Option<Decision> {
        let from = self.expired_to.take().map_or(Unbounded, Excluded);
        let expired = self.image.groups_from(from).find_map(|(group_id, group)| {
            let record = self.expired(now.wall_ms, group_id, group)?;
            Some((group_id.clone(), record))
        });
        let (group_id, record) = expired?;
        self.expired_to = Some(group_id);
        Some(Decision::unasked(vec![record]))
    }

    fn expired(&self, now_ms: i64, group_id: &GroupId, group: &Group) -> Option<Record> {
        let empty_since_ms = group.state().empty_since_ms?;
        let is_old = |since_ms: i64| now_ms.saturating_sub(since_ms) >= self.settings.offsets_retention_ms;
        if !is_old(empty_since_ms) {
            return None;
        }
        let is_expired = |committed: &CommittedOffset| is_old(committed.commit_ms);
        let group_id = group_id.clone();
        if self.image.offsets(&group_id).all(|(_, committed)| is_expired(committed)) {
            return Some(Record::GroupDeleted(GroupDeleted { group_id }));
        }
        let expired: Vec<_> =
            self.image.offsets(&group_id).filter(|(_, committed)| is_expired(committed)).map(|(id, _)| id).collect();
        let partitions = by_topic(&expired);
        (!expired.is_empty()).then_some(Record::OffsetsRemoved(OffsetsRemoved { group_id, partitions }))
    }
}

#[cfg(test)]
#[path = "on_expiry_test.rs"]
mod tests;
