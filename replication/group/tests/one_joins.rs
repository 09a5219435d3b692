//! Fifty members share a thousand partitions, and one joins, leaves, dies: what moves, and what is touched at all.
//!
//! Counted at the coordinator, member by member, heartbeat by heartbeat: nothing that stays is ever told to be given up,
//! and nobody but those who give or get hears anything.

use sluice_group::*;
use sluice_model::{Now, Offset, TopicId, TopicPartition};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

const MEMBERS: u8 = 50;
const PARTITIONS: u32 = 1000;

fn group_id() -> GroupId {
    GroupId("g".into())
}

struct Desk {
    coordinator: Coordinator,
    members: BTreeMap<MemberId, Told>,
    /// Partitions that were ever told to be given up, each time.
    revoked: Vec<TopicPartition>,
    /// Members whose heartbeat was answered with something new.
    disturbed: BTreeSet<MemberId>,
}

#[derive(Default)]
struct Told {
    epoch: MemberEpoch,
    assigned: BTreeSet<TopicPartition>,
    revoking: Vec<TopicPartition>,
}

impl Desk {
    fn new() -> Self {
        let topic = |number: u8| (format!("t{number}"), TopicId([number; 16]), PARTITIONS / 4);
        let topics = Arc::new(Topics::new((1..=4).map(topic)));
        let coordinator = Coordinator::new(Now::default(), Settings::default(), topics, Image::default());
        Self { coordinator, members: BTreeMap::new(), revoked: Vec::new(), disturbed: BTreeSet::new() }
    }

    fn take(&mut self, member_id: MemberId, decision: Decision) {
        for effect in self.coordinator.on_appended(Now::default(), decision) {
            let Effect::Answer { answer: Answer::Member { member_epoch, assignment: Some(told), .. }, .. } = effect else {
                continue;
            };
            self.disturbed.insert(member_id);
            let assigned: BTreeSet<_> = told.assigned.iter().map(|assigned| assigned.id).collect();
            let member = self.members.entry(member_id).or_default();
            let revoking: Vec<_> = told.revoking.iter().map(|assigned| assigned.id).collect();
            self.revoked.extend(revoking.iter().filter(|id| member.assigned.contains(id)));
            let kept = member.assigned.iter().all(|id| assigned.contains(id) || revoking.contains(id));
            assert!(kept, "something is gone without a word");
            (member.epoch, member.assigned, member.revoking) = (member_epoch, assigned, revoking);
        }
    }

    fn join(&mut self, number: u8) {
        let member_id = MemberId([number; 16]);
        let request = JoinGroup {
            group_id: group_id(),
            member_id,
            instance_id: None,
            mode: Mode::Partitioned,
            assignor: None,
            subscription: Subscription { topics: Vec::new(), patterns: vec!["t*".into()] },
            client_id: String::new(),
            client_host: String::new(),
            session_timeout_ms: None,
            poll_timeout_ms: None,
        };
        let decision = self.coordinator.on_join(Now::default(), &request).unwrap();
        self.take(member_id, decision);
    }

    /// Everybody heartbeats and gives up what they were told, until nothing is new; how many rounds that took.
    fn settle(&mut self) -> usize {
        for round in 0.. {
            let mut is_quiet = true;
            for member_id in self.members.keys().copied().collect::<Vec<_>>() {
                let told = &self.members[&member_id];
                let (member_epoch, revoked) = (told.epoch, told.revoking.clone());
                let group_id = group_id();
                let request = Heartbeat { group_id, member_id, member_epoch, has_polled: true, revoked, subscription: None };
                let decision = self.coordinator.on_heartbeat(Now::default(), &request).unwrap();
                is_quiet &= decision.records.is_empty();
                self.take(member_id, decision);
            }
            if is_quiet {
                let group = self.coordinator.image().group(&group_id()).unwrap();
                invariants::check_settled(group, self.coordinator.topics()).unwrap();
                return round;
            }
        }
        unreachable!("it ends or the test does not")
    }

    fn owners(&self) -> BTreeMap<TopicPartition, MemberId> {
        self.members.iter().flat_map(|(&member_id, told)| told.assigned.iter().map(move |&id| (id, member_id))).collect()
    }

    fn clear(&mut self) {
        self.revoked.clear();
        self.disturbed.clear();
    }
}

/// Partitions that are another member's.
fn moved(before: &BTreeMap<TopicPartition, MemberId>, after: &BTreeMap<TopicPartition, MemberId>) -> usize {
    after.iter().filter(|(id, member)| before.get(id) != Some(member)).count()
}

#[test]
fn only_what_moves_is_touched() {
    let mut desk = Desk::new();
    (1..=MEMBERS).for_each(|number| desk.join(number));
    desk.settle();
    desk.clear();
    let before = desk.owners();
    assert_eq!(before.len(), PARTITIONS as usize);

    // 1000 over 51 is 19 and some: the one that joins gets 19, and no other partition moves.
    desk.join(MEMBERS + 1);
    let rounds = desk.settle();
    let joined = desk.owners();
    let revoked: BTreeSet<_> = desk.revoked.iter().copied().collect();
    println!(
        "one joins: {} moved, {} revoked, {} of {MEMBERS} members disturbed, {rounds} rounds of heartbeats",
        moved(&before, &joined),
        revoked.len(),
        desk.disturbed.len() - 1
    );
    assert_eq!(moved(&before, &joined), 19);
    assert!(revoked.iter().all(|id| before[id] != joined[id]) && revoked.len() == desk.revoked.len());
    assert_eq!((revoked.len(), desk.disturbed.len()), (19, 20), "each of 19 gives one to the one that joined");
    assert!(rounds <= 3, "{rounds}");

    // It leaves: what it had goes to those who have the least, and nobody gives anything up.
    desk.clear();
    let member_id = MemberId([MEMBERS + 1; 16]);
    let member_epoch = desk.members.remove(&member_id).unwrap().epoch;
    let leave = LeaveGroup { group_id: group_id(), member_id, member_epoch, for_good: true };
    let decision = desk.coordinator.on_leave(Now::default(), &leave).unwrap();
    desk.take(member_id, decision);
    desk.settle();
    let left = desk.owners();
    assert_eq!((moved(&joined, &left), desk.revoked.len(), desk.disturbed.len()), (19, 0, 19));

    // One dies: the same, once it is missed.
    desk.clear();
    let dead = MemberId([1; 16]);
    let had = desk.members.remove(&dead).unwrap().assigned.len();
    let later = Now { wall_ms: 0, mono_us: 9_999_999 };
    for (&member_id, told) in &desk.members {
        let member_epoch = told.epoch;
        let (group_id, revoked) = (group_id(), Vec::new());
        let request = Heartbeat { group_id, member_id, member_epoch, has_polled: true, revoked, subscription: None };
        let decision = desk.coordinator.on_heartbeat(later, &request).unwrap();
        assert_eq!(desk.coordinator.on_appended(later, decision).len(), 1);
    }
    let missed = Now { wall_ms: 0, mono_us: 10_000_000 };
    let decision = desk.coordinator.on_time(missed).expect("the dead one is missed");
    let effects = desk.coordinator.on_appended(missed, decision);
    let news = effects.iter().filter(|effect| matches!(effect, Effect::MemberHasNews { .. })).count();
    assert_eq!(news, had + 1, "one partition more for each of so many, and the dead one would be told that it is none any more");
    desk.settle();
    assert_eq!((moved(&left, &desk.owners()), desk.revoked.len()), (had, 0));

    // And what was there all along was never given anew: a commit from before is still good.
    let (&member_id, told) = desk.members.iter().next().unwrap();
    let id = *told.assigned.iter().find(|id| before[id] == member_id).unwrap();
    let offsets =
        vec![OffsetCommit { id, offset: Offset(7), leader_epoch: sluice_model::LeaderEpoch(1), metadata: String::new() }];
    let group = desk.coordinator.image().group(&group_id()).unwrap();
    let member_epoch = group.member(member_id).unwrap().held[&id].since;
    let request = CommitOffsets { group_id: group_id(), member_id, member_epoch, offsets };
    let decision = desk.coordinator.on_commit_offsets(Now::default(), &request).unwrap();
    assert_eq!(decision.answer, Some(Answer::Committed(vec![(id, Ok(()))])));
}
