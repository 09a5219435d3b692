//! The whole state said again, so that the log may begin with it.
//!
//! Every record says all of its subject (`record.rs`), so applied where it is so already it changes nothing, and applied
//! from nothing it is the state. A snapshot that is cut off by a failover is therefore harmless: the log start has not
//! moved. The expensive mistakes are to move it before the last batch is committed (`Effect::MoveLogStart` waits for it),
//! and to append a piece after another decision: what was decided in between would be taken back, for everybody who reads
//! the log. So every piece knows the number of the batch that it has to become (`Coordinator::is_outdated`).

use crate::coordinator::Coordinator;
use crate::decision::{Decision, Piece};
use crate::group::Group;
use crate::ids::{BatchNumber, GroupId, MemberEpoch};
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
    /// To be appended one after the other. Once the log has taken something else in between, or has not taken one of them,
    /// those that are left are outdated (`is_outdated`) and are to be dropped; the snapshot begins anew with this.
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
        let first = self.appended.0 + 1;
        let numbered = (first..).map(|number| Piece { from: BatchNumber(first), number: BatchNumber(number) });
        pieces.full.into_iter().zip(numbered).map(|(records, piece)| Decision::snapshot(records, piece)).collect()
    }

    /// It may not be appended any more: it says what was so before something else was appended. Only pieces of a snapshot
    /// get outdated; every other decision is appended before the next one is made.
    #[must_use]
    pub fn is_outdated(&self, decision: &Decision) -> bool {
        let follows = |piece: Piece| {
            let is_first = piece.number == piece.from;
            piece.number.0 == self.appended.0 + 1 && (is_first || self.snapshot_from == Some(piece.from))
        };
        decision.piece.is_some_and(|piece| !follows(piece))
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
