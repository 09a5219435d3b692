//! The image: what all records of a coordinator's log together say.
//!
//! It is changed by [`Image::apply_batch`] and by nothing else, so every holder of the same log has the same image.
//! Deliberately absent: anything that is not in the log (when a session ends, whose heartbeat waits).

mod apply;
mod apply_error;

pub use apply_error::ApplyError;

use crate::group::Group;
use crate::ids::GroupId;
use crate::record::CommittedOffset;
use sluice_model::TopicPartition;
use std::collections::BTreeMap;
use std::ops::Bound;

/// Where a group goes on, by partition.
pub type Offsets = BTreeMap<TopicPartition, CommittedOffset>;

/// All groups of one coordinator as of some record of its log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Image {
    groups: BTreeMap<GroupId, Group>,
    /// Of groups that are in `groups`; none is empty.
    offsets: BTreeMap<GroupId, Offsets>,
    member_count: usize,
    offset_count: usize,
    /// Bytes of metadata of all offsets.
    metadata_len: usize,
}

impl Image {
    #[must_use]
    pub fn group(&self, group_id: &GroupId) -> Option<&Group> {
        self.groups.get(group_id)
    }

    /// Ascending by id.
    pub fn groups(&self) -> impl Iterator<Item = (&GroupId, &Group)> {
        self.groups.iter()
    }

    /// Ascending by id, from there on.
    pub(crate) fn groups_from(&self, from: Bound<GroupId>) -> impl Iterator<Item = (&GroupId, &Group)> {
        self.groups.range((from, Bound::Unbounded))
    }

    #[must_use]
    pub fn group_count(&self) -> usize {
        self.groups.len()
    }

    #[must_use]
    pub fn offset(&self, group_id: &GroupId, id: TopicPartition) -> Option<&CommittedOffset> {
        self.offsets.get(group_id)?.get(&id)
    }

    /// Of one group, ascending by partition.
    pub fn offsets(&self, group_id: &GroupId) -> impl Iterator<Item = (TopicPartition, &CommittedOffset)> {
        self.offsets.get(group_id).into_iter().flatten().map(|(&id, committed)| (id, committed))
    }

    #[must_use]
    pub fn member_count(&self) -> usize {
        self.member_count
    }

    #[must_use]
    pub fn offset_count(&self) -> usize {
        self.offset_count
    }

    #[must_use]
    pub fn metadata_len(&self) -> usize {
        self.metadata_len
    }
}
