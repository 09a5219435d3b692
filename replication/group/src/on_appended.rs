//! The log has taken a decision, or there was nothing to take: it is so now, and some are to be told.
//!
//! The expensive mistake is to decide an event against something else than the log: so nothing changes before the log
//! has taken the records, and what it takes is applied at once, committed or not. What is told waits until it is
//! committed.

use crate::batch::Batch;
use crate::coordinator::Coordinator;
use crate::decision::{Decision, Effect, Piece};
use crate::ids::{BatchNumber, GroupId, MemberId};
use crate::invariants::check_group;
use crate::reconcile::has_news;
use crate::record::Record;
use sluice_model::{Now, TopicPartition};
use std::collections::BTreeSet;

impl Coordinator {
    /// The log has taken the decision's records as one batch, or there were none. Says what is to be done now; the
    /// batch's number is `appended` afterwards. Panics when the decision was outdated: the log says by now what is not so.
    #[must_use]
    pub fn on_appended(&mut self, now: Now, decision: Decision) -> Vec<Effect> {
        assert!(!self.is_outdated(&decision), "{:?} was appended after {}", decision.piece, self.appended);
        let Decision { records, answer, renewal, piece } = decision;
        let mut effects = Vec::new();
        let mut concerned = Concerned::default();
        if !records.is_empty() {
            self.appended = BatchNumber(self.appended.0 + 1);
            self.snapshot_from = piece.map(|piece| piece.from);
            effects.extend(piece.and_then(|piece| self.follow_snapshot(&records, piece)));
            concerned = self.apply(now, Batch { records });
            let answered = renewal.as_ref().map(|renewal| (renewal.group_id.clone(), renewal.member_id));
            concerned.told_otherwise.retain(|member| Some(member) != answered.as_ref());
        }
        if let Some(renewal) = renewal
            && let Some(member) = self.image.group(&renewal.group_id).and_then(|group| group.member(renewal.member_id))
        {
            self.sessions.renew(now.mono_us, member, &renewal);
        }
        if let Some(answer) = answer {
            effects.push(Effect::Answer { after: self.appended, answer });
        }
        if piece.is_none() {
            self.tell_news(concerned, &mut effects);
        }
        effects
    }

    fn apply(&mut self, now: Now, batch: Batch) -> Concerned {
        let mut concerned = Concerned::default();
        for record in &batch.records {
            concerned.follow(self, record);
        }
        if let Err(error) = self.image.apply_batch(&batch) {
            panic!("a decision does not apply: {error}: {batch:?}");
        }
        let is_about_members =
            |record: &&Record| matches!(record, Record::MemberChanged(_) | Record::MemberRemoved(_) | Record::GroupDeleted(_));
        let groups: BTreeSet<_> = batch.records.iter().filter(is_about_members).filter_map(Record::group_id).collect();
        for group_id in groups {
            self.sessions.follow(now.mono_us, group_id, self.image.group(group_id));
            if let Some(group) = self.image.group(group_id) {
                check_group(group).unwrap_or_else(|broken| panic!("group {group_id}: {broken}"));
            }
        }
        concerned
    }

    /// Those who are to get or to give up something, and those who are gone.
    fn tell_news(&self, concerned: Concerned, effects: &mut Vec<Effect>) {
        let Concerned { mut members, released, told_otherwise } = concerned;
        for (group_id, id) in released {
            let owner = self.image.group(&group_id).and_then(|group| group.target_owner(id));
            members.extend(owner.map(|member_id| (group_id, member_id)));
        }
        members.extend(told_otherwise.iter().cloned());
        for (group_id, member_id) in members {
            let is_told_otherwise = told_otherwise.contains(&(group_id.clone(), member_id));
            let group = self.image.group(&group_id);
            let member = group.and_then(|group| group.member(member_id));
            if group.is_some_and(|group| member.is_none_or(|member| is_told_otherwise || has_news(group, member))) {
                effects.push(Effect::MemberHasNews { group_id, member_id });
            }
        }
    }

    /// With its last piece a snapshot is whole: nothing has come in between.
    fn follow_snapshot(&mut self, records: &[Record], piece: Piece) -> Option<Effect> {
        let is_last = records.iter().any(|record| matches!(record, Record::SnapshotEnded(_)));
        is_last.then(|| {
            self.snapshot_at = self.appended;
            Effect::MoveLogStart { to: piece.from, after: self.appended }
        })
    }
}

/// Who may have news after a batch: found before it is applied, looked at afterwards.
#[derive(Default)]
struct Concerned {
    members: BTreeSet<(GroupId, MemberId)>,
    /// Partitions that may be free afterwards.
    released: BTreeSet<(GroupId, TopicPartition)>,
    /// What they have was changed without their asking.
    told_otherwise: BTreeSet<(GroupId, MemberId)>,
}

impl Concerned {
    fn follow(&mut self, coordinator: &Coordinator, record: &Record) {
        let (group_id, member_id, releases) = match record {
            Record::TargetChanged(r) => (&r.group_id, r.member_id, false),
            Record::MemberRemoved(r) => (&r.group_id, r.member_id, true),
            Record::MemberAssigned(r) => (&r.group_id, r.member_id, true),
            _ => return,
        };
        let member = coordinator.image.group(group_id).and_then(|group| group.member(member_id));
        if releases {
            let held = member.into_iter().flat_map(|member| member.held.keys());
            self.released.extend(held.map(|&id| (group_id.clone(), id)));
        }
        let is_assigned = matches!(record, Record::MemberAssigned(_));
        let set = if is_assigned { &mut self.told_otherwise } else { &mut self.members };
        set.insert((group_id.clone(), member_id));
    }
}

#[cfg(test)]
#[path = "on_appended_test.rs"]
mod tests;
