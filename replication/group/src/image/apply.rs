//! Applying records. Total: any record either applies or is an error that says why, whatever it contains.

use super::{ApplyError, Image};
use crate::batch::Batch;
use crate::group::Group;
use crate::ids::GroupId;
use crate::limits::METADATA_LEN_MAX;
use crate::record::{
    CommittedOffset, GroupChanged, GroupDeleted, OffsetsRemoved, OffsetsWritten, Record, SnapshotEdge, partitions_of,
};
use sluice_model::TopicPartition;

impl Image {
    /// Applies all records of a batch. After an error the image is good for nothing.
    pub fn apply_batch(&mut self, batch: &Batch) -> Result<(), ApplyError> {
        batch.records.iter().try_for_each(|record| self.apply(record))?;
        // The records of a group stand together.
        let mut checked = None;
        for record in batch.records.iter().filter(|record| matches!(record, Record::TargetChanged(_))) {
            let group_id = record.group_id();
            if checked != group_id
                && let Some(group) = group_id.and_then(|group_id| self.group(group_id))
            {
                group.check_targets()?;
            }
            checked = group_id;
        }
        Ok(())
    }

    fn apply(&mut self, record: &Record) -> Result<(), ApplyError> {
        match record {
            Record::GroupChanged(r) => self.apply_group_changed(r, record),
            Record::GroupDeleted(r) => self.apply_group_deleted(r),
            Record::MemberChanged(_) | Record::MemberRemoved(_) | Record::TargetChanged(_) | Record::MemberAssigned(_) => {
                let Some(group_id) = record.group_id() else { return Ok(()) };
                let group = self.groups.get_mut(group_id).ok_or_else(|| unknown(group_id))?;
                let before = group.member_count();
                group.apply(record)?;
                self.member_count = self.member_count + group.member_count() - before;
                Ok(())
            }
            Record::OffsetsCommitted(r) => self.apply_offsets(r, true),
            Record::OffsetsReset(r) => self.apply_offsets(r, false),
            Record::OffsetsRemoved(r) => self.apply_offsets_removed(r),
            Record::SnapshotBegun(_) => Ok(()),
            Record::SnapshotEnded(SnapshotEdge { group_count }) => match self.groups.len() {
                got if u64::try_from(got) == Ok(*group_count) => Ok(()),
                got => Err(ApplyError::SnapshotGroups { got, expected: *group_count }),
            },
        }
    }

    fn apply_group_changed(&mut self, changed: &GroupChanged, record: &Record) -> Result<(), ApplyError> {
        if let Some(group) = self.groups.get_mut(&changed.group_id) {
            return group.apply(record);
        }
        if !changed.group_id.is_valid() {
            return Err(ApplyError::InvalidGroupId);
        }
        self.groups.insert(changed.group_id.clone(), Group::new(changed.state.clone()));
        Ok(())
    }

    fn apply_group_deleted(&mut self, record: &GroupDeleted) -> Result<(), ApplyError> {
        let group_id = &record.group_id;
        let group = self.groups.get(group_id).ok_or_else(|| unknown(group_id))?;
        if group.member_count() > 0 {
            return Err(ApplyError::NotEmpty { group_id: group_id.0.clone() });
        }
        self.groups.remove(group_id);
        for committed in self.offsets.remove(group_id).into_iter().flatten().map(|(_, committed)| committed) {
            self.forget(&committed);
        }
        Ok(())
    }

    fn apply_offsets(&mut self, record: &OffsetsWritten, goes_on: bool) -> Result<(), ApplyError> {
        let group_id = &record.group_id;
        if !self.groups.contains_key(group_id) {
            return Err(unknown(group_id));
        }
        for written in &record.offsets {
            let id = TopicPartition { topic_id: written.topic_id, partition: written.partition };
            let committed = &written.committed;
            if committed.metadata.len() > METADATA_LEN_MAX {
                return Err(ApplyError::MetadataTooLong { id });
            }
            if goes_on && self.offset(group_id, id).is_some_and(|before| committed.is_behind(before)) {
                return Err(ApplyError::OffsetGoesBack { id });
            }
            let offsets = self.offsets.entry(group_id.clone()).or_default();
            let before = offsets.insert(id, committed.clone());
            self.offset_count += 1;
            self.metadata_len += committed.metadata.len();
            if let Some(before) = before {
                self.forget(&before);
            }
        }
        Ok(())
    }

    fn apply_offsets_removed(&mut self, record: &OffsetsRemoved) -> Result<(), ApplyError> {
        let group_id = &record.group_id;
        if !self.groups.contains_key(group_id) {
            return Err(unknown(group_id));
        }
        let Some(mut offsets) = self.offsets.remove(group_id) else { return Ok(()) };
        for removed in partitions_of(&record.partitions).filter_map(|id| offsets.remove(&id)) {
            self.forget(&removed);
        }
        if !offsets.is_empty() {
            self.offsets.insert(group_id.clone(), offsets);
        }
        Ok(())
    }

    fn forget(&mut self, committed: &CommittedOffset) {
        self.offset_count -= 1;
        self.metadata_len -= committed.metadata.len();
    }
}

impl Record {
    /// The group that it is about; none for the edges of a snapshot.
    #[must_use]
    pub fn group_id(&self) -> Option<&GroupId> {
        match self {
            Self::GroupChanged(r) => Some(&r.group_id),
            Self::GroupDeleted(r) => Some(&r.group_id),
            Self::MemberChanged(r) => Some(&r.group_id),
            Self::MemberRemoved(r) => Some(&r.group_id),
            Self::TargetChanged(r) => Some(&r.group_id),
            Self::MemberAssigned(r) => Some(&r.group_id),
            Self::OffsetsCommitted(r) | Self::OffsetsReset(r) => Some(&r.group_id),
            Self::OffsetsRemoved(r) => Some(&r.group_id),
            Self::SnapshotBegun(_) | Self::SnapshotEnded(_) => None,
        }
    }
}

fn unknown(group_id: &GroupId) -> ApplyError {
    ApplyError::UnknownGroup { group_id: group_id.0.clone() }
}

#[cfg(test)]
#[path = "apply_test.rs"]
mod tests;
