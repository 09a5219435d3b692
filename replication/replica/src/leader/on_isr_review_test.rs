use super::*;
use crate::effect::{Acks, Effects};
use crate::leader::on_isr_answer::IsrAnswer;
use crate::testing::{TestLog, brokers, fetch, incarnation, produce};
use crate::{FollowerFetch, LogPosition};
use sluice_model::Offset;

fn report(leader: &mut Leader, log: &TestLog, now_us: u64, fetch: &FollowerFetch) {
    leader.on_follower_fetch(now_us, fetch, log.look_up(fetch.position.offset), &mut Effects::new()).unwrap();
}

fn proposed(proposal: Option<IsrProposal>) -> Option<Vec<u32>> {
    proposal.map(|proposal| proposal.followers.keys().map(|broker| broker.0).collect())
}

#[test]
fn golden_table_of_joining() {
    let log = TestLog::of(&[(1, 2), (1, 2), (2, 2)]);
    let [b0, b1, b2, b3] = log.boundaries().collect::<Vec<_>>()[..] else { panic!("four boundaries") };
    let whole = LogState::Whole;
    // The leader's epoch starts at 6 and its high watermark is 6 as well: broker 3's log end, flushed offset, state.
    let rows = [
        (b3, 6, whole, true),
        (b3, 4, whole, false),
        (b2, 4, whole, false),
        (b1, 2, whole, false),
        (b0, 0, whole, false),
        (b3, 6, LogState::PossiblyShort, false),
        (b3, 6, LogState::Damaged, false),
    ];
    for (position, flushed, log_state, joins) in rows {
        for known in [2, 6] {
            let mut leader = log.led_from(3, &[1, 2, 3], &[1, 2], 1, known);
            report(&mut leader, &log, 0, &FollowerFetch { log_state, ..fetch(3, 3, position, flushed) });
            let proposal = leader.on_isr_review(1);
            assert_eq!(proposed(proposal), joins.then(|| vec![2, 3]), "{position:?} {flushed} {log_state:?} {known}");
        }
    }
}

#[test]
fn a_proposal_names_what_it_is_based_on_and_the_incarnations_it_means() {
    let log = TestLog::of(&[(1, 2)]);
    let mut leader = log.led(3, &[1, 2, 3], &[1, 2], 1);
    leader.on_broker_registered(BrokerId(3), incarnation(5));
    report(&mut leader, &log, 0, &FollowerFetch { incarnation: incarnation(5), ..fetch(3, 3, log.end(), 2) });
    let proposal = leader.on_isr_review(0).unwrap();
    assert_eq!(
        proposal,
        IsrProposal {
            id: TopicPartition::default(),
            number: 1,
            leader_epoch: LeaderEpoch(3),
            partition_epoch: PartitionEpoch(1),
            followers: BTreeMap::from([(BrokerId(2), incarnation(1)), (BrokerId(3), incarnation(5))]),
        }
    );
    assert_eq!(leader.on_isr_review(10), None, "one change is in flight");
    // Without an answer it is asked for again, and what became of the first stays open.
    assert_eq!(leader.on_isr_review(50).unwrap().number, 2);
    assert!(leader.isr().has_undecided());
}

/// Broker 1 leads, `slow` and `quick` followers fetch every 20 us for 1 ms, the slow ones 200 us late.
fn paced(replicas: &[u32], slow: &[u32], min_insync_replicas: u32) -> (Leader, Vec<Vec<u32>>) {
    let mut log = TestLog::default();
    let mut leader = log.led(1, replicas, replicas, min_insync_replicas);
    let mut proposals = Vec::new();
    let mut ends: Vec<LogPosition> = Vec::new();
    for step in 0..60 {
        let now_us = step * 20;
        let mut effects = Effects::new();
        let header = crate::testing::batch(-1, -1, 1);
        let batch = crate::ProduceBatch { header: &header, acks: Acks::Leader, token: step };
        leader.on_append(0, batch, &mut effects).unwrap();
        log.frames.extend(crate::testing::appended(&effects));
        leader.on_local_flush(log.end().offset, &mut effects);
        ends.push(log.end());
        for &broker in replicas.iter().filter(|&&broker| broker != 1) {
            let late = if slow.contains(&broker) { 10 } else { 0 };
            let flushed = ends.len().checked_sub(1 + late).map_or(0, |at| ends[at].offset.0);
            report(&mut leader, &log, now_us, &fetch(broker, 1, log.end(), flushed));
        }
        if let Some(proposal) = leader.on_isr_review(now_us) {
            let members: Vec<u32> = std::iter::once(1).chain(proposal.followers.keys().map(|broker| broker.0)).collect();
            let decided = IsrAnswer::Decided {
                partition_epoch: PartitionEpoch(proposal.partition_epoch.0 + 1),
                members: brokers(&members),
            };
            leader.on_isr_answer(now_us, LeaderEpoch(1), proposal.number, decided, &mut effects);
            proposals.push(members);
        }
    }
    (leader, proposals)
}

#[test]
fn golden_table_of_slow_flushes() {
    // replicas, slow ones, min in-sync -> the sets that were asked for, one after the other
    type Row = (&'static [u32], &'static [u32], u32, &'static [&'static [u32]]);
    let rows: [Row; 6] = [
        (&[1, 2, 3], &[], 2, &[]),
        (&[1, 2, 3], &[3], 2, &[&[1, 2]]),
        (&[1, 2, 3], &[2, 3], 2, &[&[1, 3]]),
        (&[1, 2, 3], &[2, 3], 1, &[&[1]]),
        (&[1, 2, 3], &[3], 3, &[]),
        (&[1, 2], &[2], 2, &[]),
    ];
    for (replicas, slow, min, expected) in rows {
        let (leader, proposals) = paced(replicas, slow, min);
        assert_eq!(proposals, expected, "{replicas:?} {slow:?} {min}");
        assert!(leader.isr().committed().len() >= min as usize);
    }
}

#[test]
fn who_does_not_hold_everything_for_too_long_leaves_whatever_the_size_of_the_set() {
    let mut log = TestLog::default();
    let mut leader = log.led(1, &[1, 2], &[1, 2], 2);
    report(&mut leader, &log, 0, &fetch(2, 1, log.end(), 0));
    assert_eq!(leader.on_isr_review(900_000), None, "there is nothing that it could lack");
    produce(&mut leader, &mut log, Acks::All, 1);
    assert_eq!(leader.on_isr_review(901_000), None);
    assert_eq!(proposed(leader.on_isr_review(901_001)), Some(vec![]));
    assert!(!leader.isr().satisfies(2), "from the moment it is proposed");
}

#[test]
fn a_member_whose_log_is_not_whole_leaves_at_once() {
    for log_state in [LogState::Damaged, LogState::PossiblyShort] {
        let log = TestLog::of(&[(1, 2)]);
        let mut leader = log.led(2, &[1, 2], &[1, 2], 2);
        report(&mut leader, &log, 0, &FollowerFetch { log_state, ..fetch(2, 2, log.end(), 2) });
        assert_eq!(proposed(leader.on_isr_review(0)), Some(vec![]), "{log_state:?}");
    }
}

#[test]
fn who_does_not_lead_asks_for_nothing() {
    let log = TestLog::of(&[(1, 2)]);
    let mut leader = log.led(2, &[1, 2], &[1], 1);
    report(&mut leader, &log, 0, &fetch(2, 2, log.end(), 2));
    assert_eq!(leader.on_lease_lost(), [0u64; 0]);
    assert_eq!(leader.on_isr_review(0), None);
    leader.on_lease_regained(&mut Effects::new());
    assert_eq!(proposed(leader.on_isr_review(0)), Some(vec![2]));
    assert_eq!(leader.high_watermark(), Offset(2));
}
