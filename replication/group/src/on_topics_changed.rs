//! Topics were created, got partitions, or were deleted.
//!
//! Groups follow one by one (`on_time`), each by an epoch of its own if that changes somebody's target. Offsets of a topic
//! go only when the caller names it as deleted: a view that is behind, or one of another broker after a failover, may
//! lack a topic that there is.

use crate::coordinator::Coordinator;
use crate::decision::Decision;
use crate::draft::Draft;
use crate::ids::GroupId;
use crate::record::{OffsetsRemoved, Record, by_topic};
use crate::topics::Topics;
use sluice_model::{TopicId, TopicPartition};
use std::sync::Arc;

impl Coordinator {
    /// All topics as they are now, and those that were deleted for good since they were named last.
    pub fn on_topics_changed(&mut self, topics: Arc<Topics>, deleted: &[TopicId]) {
        self.topics = topics;
        self.deleted_topics.extend(deleted);
        self.to_look_at = self.image.groups().map(|(group_id, _)| group_id.clone()).collect();
    }

    /// The next group that the topics concern. It stays to be looked at until there is nothing to be done, so that a
    /// decision which the log does not take is made again.
    pub(crate) fn look_at_topics(&mut self) -> Option<Decision> {
        while let Some(group_id) = self.to_look_at.first() {
            let records = self.following_topics(group_id);
            if !records.is_empty() {
                return Some(Decision::unasked(records));
            }
            self.to_look_at.pop_first();
        }
        self.deleted_topics.clear();
        None
    }

    fn following_topics(&self, group_id: &GroupId) -> Vec<Record> {
        let Some(group) = self.image.group(group_id) else { return Vec::new() };
        let mut draft = Draft::of(group_id, group);
        draft.follow_topics(&self.topics);
        let mut records = draft.records;
        let is_deleted = |id: &TopicPartition| self.deleted_topics.contains(&id.topic_id);
        let deleted: Vec<_> = self.image.offsets(group_id).map(|(id, _)| id).filter(is_deleted).collect();
        if !deleted.is_empty() {
            let partitions = by_topic(&deleted);
            records.push(Record::OffsetsRemoved(OffsetsRemoved { group_id: group_id.clone(), partitions }));
        }
        records
    }
}

#[cfg(test)]
#[path = "on_topics_changed_test.rs"]
mod tests;
