//! The whole state said again, so that the log may begin with it.
//!
//! Every record says all of its subject (`record.rs`), so applied where it is so already it changes nothing, and applied
//! from nothing it is the state. A snapshot that is cut off by a failover is therefore harmless: the log start has not
//! moved. The expensive mistake is to move it before the last batch is committed (`Effect::MoveLogStart` waits for it),
//! or with a decision in between, which would be lost: such a snapshot counts for nothing (`on_appended.rs`).

use crate::coordinator::Coordinator;
use crate::decision::Decision;
use crate::group::Group;
use crate::ids::{GroupId, MemberEpoch};
use crate::image::Image;
use crate::limits::SNAPSHOT_BATCH_LEN_TARGET;
use crate::reconcile::Holding;
use crate::record::{
    CommittedOffset, GroupChanged, MemberChanged, OffsetsWritten, Record, SnapshotEdge, TargetChanged, WrittenOffset, by_topic,
};
use sluice_model::TopicPartition;

/// Offsets in one record.
const OFFSETS_PER_RECORD: usize = 1000;

impl Coordinator {
    /// To be appended one after the other, with nothing in between.
    pub fn on_snapshot(&self) -> Vec<Decision> {
        let group_count = u64::try_from(self.image.group_count()).expect("GROUPS_PER_COORDINATOR_MAX fits");
        let mut pieces = Pieces::default();
        pieces.push(Record::SnapshotBegun(SnapshotEdge { group_count }), 64);
        for (group_id, group) in self.image.groups() {
            push_members(group_id, group, &mut pieces);
            push_offsets(group_id, &self.image, &mut pieces);
        }
        pieces.push(Record::SnapshotEnded(SnapshotEdge { group_count }), 64);
        pieces.full.push(pieces.open);
        pieces.full.into_iter().map(Decision::snapshot).collect()
    }
}

#[derive(Default)]
struct Pieces {
    full: Vec<Vec<Record>>,
    open: Vec<Record>,
    open_len: usize,
}

impl Pieces {
    /// `len` is about what the record takes, bytes.
    fn push(&mut self, record: Record, len: usize) {
        if self.open_len + len > SNAPSHOT_BATCH_LEN_TARGET && !self.open.is_empty() {
            self.full.push(std::mem::take(&mut self.open));
            self.open_len = 0;
        }
        self.open.push(record);
        self.open_len += len;
    }
}

fn push_members(group_id: &GroupId, group: &Group, pieces: &mut Pieces) {
    let changed = GroupChanged { group_id: group_id.clone(), state: group.state().clone() };
    pieces.push(Record::GroupChanged(changed), 512);
    for (member_id, member) in group.members() {
        let (state, target) = (member.state.clone(), by_topic(&member.target));
        let names = state.subscription.topics.iter().chain(&state.subscription.patterns);
        let len = 1024 + names.map(|name| name.len() + 16).sum::<usize>();
        pieces.push(Record::MemberChanged(MemberChanged { group_id: group_id.clone(), member_id, state }), len);
        let len = 512 + member.target.len() * 8;
        pieces.push(Record::TargetChanged(TargetChanged { group_id: group_id.clone(), member_id, target }), len);
        if member.epoch > MemberEpoch(0) {
            let len = 512 + member.held.len() * 20;
            pieces.push(Holding::of(member).record(group_id, member_id), len);
        }
    }
}

fn push_offsets(group_id: &GroupId, image: &Image, pieces: &mut Pieces) {
    let written = |(id, committed): (TopicPartition, &CommittedOffset)| WrittenOffset {
        topic_id: id.topic_id,
        partition: id.partition,
        committed: committed.clone(),
    };
    let mut offsets: Vec<WrittenOffset> = Vec::new();
    let mut len = 0;
    let mut close = |offsets: &mut Vec<WrittenOffset>, len: &mut usize| {
        let offsets = std::mem::take(offsets);
        pieces.push(Record::OffsetsReset(OffsetsWritten { group_id: group_id.clone(), offsets }), std::mem::take(len));
    };
    for offset in image.offsets(group_id).map(written) {
        len += 64 + offset.committed.metadata.len();
        offsets.push(offset);
        if offsets.len() == OFFSETS_PER_RECORD || len >= SNAPSHOT_BATCH_LEN_TARGET {
            close(&mut offsets, &mut len);
        }
    }
    if !offsets.is_empty() {
        close(&mut offsets, &mut len);
    }
}

#[cfg(test)]
#[path = "on_snapshot_test.rs"]
mod tests;
