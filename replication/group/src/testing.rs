//! What the tests of this package share: a coordinator whose log takes everything, and decisions as short texts.
//!
//! Member `a` has sixteen times that letter for an id; topic `t1` has sixteen times a 1, and partition 2 of it is `t1/2`.

use crate::coordinator::{Coordinator, Settings};
use crate::decision::{Answer, Assigned, Decision, Effect};
use crate::ids::{BatchNumber, GroupId, MemberEpoch, MemberId};
use crate::image::Image;
use crate::on_commit_offsets::{CommitOffsets, OffsetCommit};
use crate::on_heartbeat::Heartbeat;
use crate::on_join::JoinGroup;
use crate::on_leave::LeaveGroup;
use crate::record::{Mode, Record, TopicPartitions, partitions_of};
use crate::refusal::Refusal;
use crate::subscription::Subscription;
use crate::topics::Topics;
use crate::{Batch, Replay};
use sluice_model::{LeaderEpoch, Now, Offset, PartitionIndex, TopicId, TopicPartition};
use std::sync::Arc;

pub(crate) fn group_id() -> GroupId {
    GroupId("g".into())
}

pub(crate) fn member_id(name: &str) -> MemberId {
    MemberId([name.as_bytes()[0]; 16])
}

pub(crate) fn tp(topic: u8, partition: u32) -> TopicPartition {
    TopicPartition { topic_id: TopicId([topic; 16]), partition: PartitionIndex(partition) }
}

/// Topics `t1`, `t2` and so on with so many partitions.
pub(crate) fn topics(counts: &[u32]) -> Arc<Topics> {
    let topic = |(number, &count): (u8, &u32)| (format!("t{number}"), TopicId([number; 16]), count);
    Arc::new(Topics::new((1..).zip(counts).map(topic)))
}

pub(crate) fn joining(name: &str, names: &[&str]) -> JoinGroup {
    JoinGroup {
        group_id: group_id(),
        member_id: member_id(name),
        instance_id: None,
        mode: Mode::Partitioned,
        assignor: None,
        subscription: Subscription::to_topics(names),
        client_id: format!("client-{name}"),
        client_host: "host".into(),
        session_timeout_ms: None,
        poll_timeout_ms: None,
    }
}

pub(crate) fn heartbeat(name: &str, epoch: u32) -> Heartbeat {
    Heartbeat {
        group_id: group_id(),
        member_id: member_id(name),
        member_epoch: MemberEpoch(epoch),
        has_polled: true,
        revoked: Vec::new(),
        subscription: None,
    }
}

pub(crate) fn commit(id: TopicPartition, offset: u64) -> OffsetCommit {
    OffsetCommit { id, offset: Offset(offset), leader_epoch: LeaderEpoch(1), metadata: String::new() }
}

pub(crate) struct Desk {
    pub(crate) coordinator: Coordinator,
    pub(crate) now_ms: u64,
    pub(crate) log: Vec<Vec<u8>>,
}

impl Desk {
    pub(crate) fn new(counts: &[u32]) -> Self {
        let coordinator = Coordinator::new(Now::default(), Settings::default(), topics(counts), Image::default());
        Self { coordinator, now_ms: 0, log: Vec::new() }
    }

    pub(crate) fn now(&self) -> Now {
        Now { wall_ms: i64::try_from(self.now_ms).unwrap(), mono_us: self.now_ms * 1000 }
    }

    /// What the decision was, with what followed, in one line.
    pub(crate) fn take(&mut self, decided: Result<Decision, Refusal>) -> String {
        let decision = match decided {
            Ok(decision) => decision,
            Err(refusal) => return format!("refused: {refusal:?}"),
        };
        let mut lines: Vec<String> = decision.records.iter().map(told).collect();
        if !decision.records.is_empty() {
            self.log.push(Batch { records: decision.records.clone() }.encode());
        }
        let before = self.coordinator.appended();
        let gone: Vec<MemberId> = decision.records.iter().filter_map(removed).collect();
        let mut effects = self.coordinator.on_appended(self.now(), decision);
        // Who is gone always hears of it; the lines leave that out.
        for gone in gone {
            let of = effects.len();
            effects.retain(|effect| !matches!(effect, Effect::MemberHasNews { member_id, .. } if *member_id == gone));
            assert_eq!(effects.len() + 1, of, "{gone} does not hear that it is gone");
        }
        let appended = self.coordinator.appended();
        assert_eq!(appended.0 - before.0, u64::from(!lines.is_empty()));
        lines.extend(effects.iter().map(|effect| done(effect, appended)));
        lines.join("; ")
    }

    pub(crate) fn joins(&mut self, request: &JoinGroup) -> String {
        let decided = self.coordinator.on_join(self.now(), request);
        self.take(decided)
    }

    pub(crate) fn join(&mut self, name: &str, names: &[&str]) -> String {
        self.joins(&joining(name, names))
    }

    pub(crate) fn beats(&mut self, request: &Heartbeat) -> String {
        let decided = self.coordinator.on_heartbeat(self.now(), request);
        self.take(decided)
    }

    pub(crate) fn beat(&mut self, name: &str, epoch: u32, revoked: &[TopicPartition]) -> String {
        self.beats(&Heartbeat { revoked: revoked.to_vec(), ..heartbeat(name, epoch) })
    }

    pub(crate) fn leave(&mut self, name: &str, epoch: u32, for_good: bool) -> String {
        let (member_id, member_epoch) = (member_id(name), MemberEpoch(epoch));
        let request = LeaveGroup { group_id: group_id(), member_id, member_epoch, for_good };
        let decided = self.coordinator.on_leave(self.now(), &request);
        self.take(decided)
    }

    pub(crate) fn commits(&mut self, name: &str, epoch: u32, offsets: &[OffsetCommit]) -> String {
        let (member_id, member_epoch) = (member_id(name), MemberEpoch(epoch));
        let request = CommitOffsets { group_id: group_id(), member_id, member_epoch, offsets: offsets.to_vec() };
        let decided = self.coordinator.on_commit_offsets(self.now(), &request);
        self.take(decided)
    }

    /// All that is due after so many milliseconds more, a line each.
    pub(crate) fn pass(&mut self, ms: u64) -> Vec<String> {
        self.now_ms += ms;
        let mut lines = Vec::new();
        loop {
            let now = self.now();
            let Some(decision) = self.coordinator.on_time(now) else { return lines };
            lines.push(self.take(Ok(decision)));
        }
    }

    /// What another coordinator makes of the log; it takes over.
    pub(crate) fn fail_over(&mut self) {
        let mut replay = Replay::new(Offset::ZERO);
        self.log.iter().for_each(|bytes| replay.on_batch(&Batch::decode(bytes).unwrap()).unwrap());
        let image = replay.finish().unwrap();
        assert_eq!(&image, self.coordinator.image());
        let topics = Arc::clone(&self.coordinator.topics);
        self.coordinator = Coordinator::new(self.now(), Settings::default(), topics, image);
    }
}

fn removed(record: &Record) -> Option<MemberId> {
    match record {
        Record::MemberRemoved(removed) => Some(removed.member_id),
        _ => None,
    }
}

fn letter(member_id: MemberId) -> char {
    char::from(member_id.0[0])
}

fn place(id: TopicPartition) -> String {
    format!("t{}/{}", id.topic_id.0[0], id.partition)
}

fn places(ids: impl Iterator<Item = TopicPartition>) -> String {
    ids.map(place).collect::<Vec<_>>().join(" ")
}

fn listed(topics: &[TopicPartitions]) -> String {
    places(partitions_of(topics))
}

pub(crate) fn told(record: &Record) -> String {
    match record {
        Record::GroupChanged(r) => match r.state.empty_since_ms {
            Some(ms) => format!("epoch {} empty since {ms}", r.state.epoch),
            None => format!("epoch {}", r.state.epoch),
        },
        Record::GroupDeleted(_) => "deleted".into(),
        Record::MemberChanged(r) => format!("{} is number {}", letter(r.member_id), r.state.join_number),
        Record::MemberRemoved(r) => format!("{} is gone", letter(r.member_id)),
        Record::TargetChanged(r) => format!("{} is to have [{}]", letter(r.member_id), listed(&r.target)),
        Record::MemberAssigned(r) => {
            let held: Vec<_> = r
                .held
                .iter()
                .flat_map(|topic| topic.partitions.iter().map(|held| (topic.topic_id, held)))
                .map(|(topic_id, held)| {
                    let id = TopicPartition { topic_id, partition: held.partition };
                    let revoked = held.hold.revoked_at.map_or(String::new(), |epoch| format!(" until {epoch}"));
                    format!("{} since {}{revoked}", place(id), held.hold.since)
                })
                .collect();
            format!("{}@{} has [{}]", letter(r.member_id), r.member_epoch, held.join(", "))
        }
        Record::OffsetsCommitted(r) | Record::OffsetsReset(r) => {
            let verb = if matches!(record, Record::OffsetsReset(_)) { "reset" } else { "commit" };
            let offset = |written: &crate::record::WrittenOffset| {
                let id = TopicPartition { topic_id: written.topic_id, partition: written.partition };
                format!("{}={}", place(id), written.committed.offset)
            };
            format!("{verb} {}", r.offsets.iter().map(offset).collect::<Vec<_>>().join(" "))
        }
        Record::OffsetsRemoved(r) => format!("forget {}", listed(&r.partitions)),
        Record::SnapshotBegun(_) => "snapshot".into(),
        Record::SnapshotEnded(_) => "end".into(),
    }
}

fn done(effect: &Effect, appended: BatchNumber) -> String {
    match effect {
        Effect::Answer { after, answer } => {
            assert_eq!(*after, appended, "an answer waits for all that it may show");
            answered(answer)
        }
        Effect::MemberHasNews { member_id, .. } => format!("news for {}", letter(*member_id)),
        Effect::MoveLogStart { to, after } => format!("log start {to} after {after}"),
    }
}

fn answered(answer: &Answer) -> String {
    match answer {
        Answer::Member { member_epoch, assignment: None, .. } => format!("-> @{member_epoch}"),
        Answer::Member { member_epoch, assignment: Some(assignment), .. } => {
            let since = |assigned: &Assigned| format!("{} since {}", place(assigned.id), assigned.since);
            let list = |assigned: &[Assigned]| assigned.iter().map(since).collect::<Vec<_>>().join(", ");
            let (assigned, revoking) = (list(&assignment.assigned), list(&assignment.revoking));
            format!("-> @{member_epoch} assigned [{assigned}] revoking [{revoking}]")
        }
        Answer::Committed(outcomes) => {
            let outcome = |(id, outcome): &(TopicPartition, Result<(), crate::CommitRefusal>)| match outcome {
                Ok(()) => format!("{} ok", place(*id)),
                Err(refusal) => format!("{} {refusal:?}", place(*id)),
            };
            format!("-> {}", outcomes.iter().map(outcome).collect::<Vec<_>>().join(", "))
        }
        other => format!("-> {other:?}"),
    }
}
