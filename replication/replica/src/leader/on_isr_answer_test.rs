use super::*;
use crate::effect::Acks;
use crate::leader::on_append::AppendRefusal;
use crate::testing::{TestLog, acknowledged, batch, brokers, fetch, produce};
use crate::{IsrProposal, ProduceBatch};
use sluice_model::Offset;

/// Broker 1 alone is in sync, broker 2 holds what there is: its joining is proposed.
fn joining(log: &TestLog) -> (Leader, IsrProposal) {
    let mut leader = log.led(2, &[1, 2], &[1], 1);
    leader
        .on_follower_fetch(0, &fetch(2, 2, log.end(), log.end().offset.0), log.look_up(log.end().offset), &mut Effects::new())
        .unwrap();
    let proposal = leader.on_isr_review(0).unwrap();
    (leader, proposal)
}

fn answer(leader: &mut Leader, now_us: u64, epoch: u32, number: u64, answer: IsrAnswer) -> Effects {
    let mut effects = Effects::new();
    leader.on_isr_answer(now_us, LeaderEpoch(epoch), number, answer, &mut effects);
    effects
}

fn decided(partition_epoch: u32, members: &[u32]) -> IsrAnswer {
    IsrAnswer::Decided { partition_epoch: PartitionEpoch(partition_epoch), members: brokers(members) }
}

#[test]
fn golden_table() {
    // leader epoch and number of the answer -> committed set, whether a record that only the leader has is acknowledged
    type Row = (u32, u64, IsrAnswer, &'static [u32], bool);
    let rows: [Row; 8] = [
        (2, 1, decided(2, &[1, 2]), &[1, 2], false),
        (2, 1, IsrAnswer::Refused, &[1], true),
        (2, 1, IsrAnswer::Unknown, &[1], false),
        // Answers to something else.
        (2, 7, IsrAnswer::Refused, &[1], false),
        (1, 1, IsrAnswer::Refused, &[1], false),
        (1, 1, decided(2, &[1, 2]), &[1], false),
        (2, 1, decided(1, &[1, 2]), &[1], false),
        // A set without this leader is not for it.
        (2, 1, decided(2, &[2]), &[1], false),
    ];
    for (epoch, number, given, committed, is_acknowledged) in rows {
        let mut log = TestLog::of(&[(1, 2)]);
        let (mut leader, _) = joining(&log);
        produce(&mut leader, &mut log, Acks::All, 1);
        let mut effects = Effects::new();
        leader.on_local_flush(Offset(3), &mut effects);
        assert_eq!(effects, [], "who is about to join counts already");
        let effects = answer(&mut leader, 10, epoch, number, given.clone());
        assert_eq!(acknowledged(&effects).len(), usize::from(is_acknowledged), "{epoch} {number} {given:?}");
        assert_eq!(*leader.isr().committed(), brokers(committed), "{epoch} {number} {given:?}");
    }
}

#[test]
fn a_refused_or_lost_change_is_asked_for_again_after_a_while_on_the_epoch_that_is_known_then() {
    for given in [IsrAnswer::Refused, IsrAnswer::Unknown] {
        let log = TestLog::of(&[(1, 2)]);
        let (mut leader, first) = joining(&log);
        answer(&mut leader, 10, 2, first.number, given);
        assert_eq!(leader.on_isr_review(59), None);
        assert!(leader.on_isr_decided(PartitionEpoch(6), brokers(&[1]), &mut Effects::new()));
        let again = leader.on_isr_review(60).unwrap();
        assert_eq!((again.number, again.partition_epoch), (2, PartitionEpoch(6)));
    }
}

#[test]
fn what_nobody_knows_is_made_void_by_asking_for_the_set_there_is() {
    let log = TestLog::of(&[(1, 2)]);
    let (mut leader, first) = joining(&log);
    answer(&mut leader, 0, 2, first.number, IsrAnswer::Unknown);
    // Broker 2 turns out to be damaged; it may be a member all the same, by the change that nobody knows of.
    let damaged = crate::FollowerFetch { log_state: crate::LogState::Damaged, ..fetch(2, 2, log.end(), 2) };
    leader.on_follower_fetch(20, &damaged, log.look_up(Offset(2)), &mut Effects::new()).unwrap();
    let settling = leader.on_isr_review(60).unwrap();
    assert!(settling.followers.is_empty() && settling.partition_epoch == PartitionEpoch(1));
    answer(&mut leader, 70, 2, settling.number, decided(2, &[1]));
    assert!(!leader.isr().has_undecided());
    assert_eq!(leader.on_isr_review(1000), None);
    // The first one's answer comes after all, too late to be true.
    answer(&mut leader, 80, 2, first.number, decided(2, &[1, 2]));
    assert_eq!(*leader.isr().committed(), brokers(&[1]));
}

#[test]
fn below_min_in_sync_a_produce_is_refused_before_it_is_appended_and_those_before_wait() {
    let mut log = TestLog::default();
    let mut leader = log.led(1, &[1, 2], &[1, 2], 2);
    produce(&mut leader, &mut log, Acks::All, 1);
    leader.on_local_flush(Offset(1), &mut Effects::new());
    let mut effects = Effects::new();
    assert!(leader.on_isr_decided(PartitionEpoch(2), brokers(&[1]), &mut effects));
    assert_eq!((effects, leader.high_watermark()), (vec![], Offset(0)), "the high watermark stands still");
    let header = batch(-1, -1, 1);
    let refused = leader.on_append(0, ProduceBatch { header: &header, acks: Acks::All, token: 2 }, &mut Effects::new());
    assert_eq!(refused, Err(AppendRefusal::NotEnoughReplicas { in_sync: 1, wanted: 2 }));
    assert_eq!((leader.log_end_offset(), leader.pending().len()), (Offset(1), 1));
    // With the follower back it is committed; with the leadership lost it would be unknown.
    let mut lost = leader.clone();
    assert_eq!(lost.on_newer_leader_epoch(LeaderEpoch(2)), [1]);
    let mut effects = Effects::new();
    assert!(leader.on_isr_decided(PartitionEpoch(3), brokers(&[1, 2]), &mut effects));
    leader.on_follower_fetch(0, &fetch(2, 1, log.end(), 1), log.look_up(Offset(1)), &mut effects).unwrap();
    assert_eq!(acknowledged(&effects), [1]);
}
