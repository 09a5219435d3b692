//! An operator sets where a group goes on, forward or back: the only way back.
//!
//! Only a group without members, unless it is forced. A member that has a partition which is reset under it is given it
//! anew, under a new epoch: what it commits of before is fenced, and it hears that it has to begin at the committed offset.
//! A dry run says what would change and changes nothing.

use crate::coordinator::Coordinator;
use crate::decision::{Answer, Decision};
use crate::group::Group;
use crate::ids::{GroupId, MemberId};
use crate::reconcile::Holding;
use crate::record::{CommittedOffset, Hold, OffsetsRemoved, OffsetsWritten, Record, WrittenOffset, by_topic};
use crate::refusal::Refusal;
use sluice_model::limits::PARTITIONS_PER_REQUEST_MAX;
use sluice_model::{LeaderEpoch, Now, Offset, TopicPartition};
use std::collections::BTreeSet;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResetOffsets {
    pub group_id: GroupId,
    /// At most `PARTITIONS_PER_REQUEST_MAX`, no partition twice.
    pub offsets: Vec<OffsetReset>,
    /// Under the hands of its members.
    pub is_forced: bool,
    pub is_dry_run: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OffsetReset {
    pub id: TopicPartition,
    /// None: nothing is committed any more, and the members' reset policy decides.
    pub to: Option<Offset>,
}

/// What a reset does to one partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OffsetChange {
    pub id: TopicPartition,
    pub from: Option<Offset>,
    pub to: Option<Offset>,
    /// Who has it now and is made to begin again.
    pub member_id: Option<MemberId>,
}

impl Coordinator {
    pub fn on_reset_offsets(&self, now: Now, request: &ResetOffsets) -> Result<Decision, Refusal> {
        let ResetOffsets { group_id, offsets, is_forced, is_dry_run } = request;
        let group = self.known_group(group_id)?;
        if offsets.len() > PARTITIONS_PER_REQUEST_MAX {
            return Err(Refusal::TooManyAtOnce { got: offsets.len(), max: PARTITIONS_PER_REQUEST_MAX });
        }
        let partitions: BTreeSet<TopicPartition> = offsets.iter().map(|reset| reset.id).collect();
        if partitions.len() < offsets.len() {
            return Err(Refusal::NamedTwice);
        }
        let members = group.member_count();
        if members > 0 && !is_forced && !is_dry_run {
            return Err(Refusal::GroupNotEmpty { members });
        }
        let new = offsets.iter().filter(|reset| reset.to.is_some() && self.image.offset(group_id, reset.id).is_none()).count();
        self.check_offset_room(new, 0)?;
        let change = |&OffsetReset { id, to }: &OffsetReset| {
            let from = self.image.offset(group_id, id).map(|committed| committed.offset);
            OffsetChange { id, from, to, member_id: group.owner(id) }
        };
        let answer = Answer::Reset(offsets.iter().map(change).collect());
        let records = if *is_dry_run { Vec::new() } else { records(now.wall_ms, group, request) };
        Ok(Decision::answered(records, answer))
    }
}

fn records(now_ms: i64, group: &Group, request: &ResetOffsets) -> Vec<Record> {
    let ResetOffsets { group_id, offsets, .. } = request;
    let mut records = Vec::new();
    let written: Vec<_> = offsets.iter().filter_map(|reset| written(reset, now_ms)).collect();
    if !written.is_empty() {
        records.push(Record::OffsetsReset(OffsetsWritten { group_id: group_id.clone(), offsets: written }));
    }
    let removed: BTreeSet<_> = offsets.iter().filter(|reset| reset.to.is_none()).map(|reset| reset.id).collect();
    if !removed.is_empty() {
        let partitions = by_topic(&removed);
        records.push(Record::OffsetsRemoved(OffsetsRemoved { group_id: group_id.clone(), partitions }));
    }
    let owners: BTreeSet<MemberId> = offsets.iter().filter_map(|reset| group.owner(reset.id)).collect();
    for (member_id, member) in group.members().filter(|(member_id, _)| owners.contains(member_id)) {
        let next = member.epoch.next();
        let mut holding = Holding { epoch: next, held: member.held.clone() };
        for reset in offsets {
            if let Some(hold) = holding.held.get_mut(&reset.id) {
                // What is being given up is to be given up once more: what it commits before it hears of this is fenced.
                *hold = Hold { since: next, revoked_at: hold.revoked_at.map(|_| next) };
            }
        }
        records.push(holding.record(group_id, member_id));
    }
    records
}

fn written(reset: &OffsetReset, now_ms: i64) -> Option<WrittenOffset> {
    let TopicPartition { topic_id, partition } = reset.id;
    let committed =
        CommittedOffset { offset: reset.to?, leader_epoch: LeaderEpoch(0), metadata: String::new(), commit_ms: now_ms };
    Some(WrittenOffset { topic_id, partition, committed })
}

#[cfg(test)]
#[path = "on_reset_offsets_test.rs"]
mod tests;
