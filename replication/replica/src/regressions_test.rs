//! The mistakes that Kafka's replication made before us, by the number of the proposal that mended each.

use crate::follower::Trouble;
use crate::follower::on_diverging::Diverging;
use crate::follower::on_fetched::FetchedFrames;
use crate::session::follower::FollowerSession;
use crate::session::leader::LeaderSessions;
use crate::session::{FollowerShard, PartitionFetch, SessionRefusal};
use crate::testing::{TestLog, acknowledged, batch, brokers, fetch, incarnation, produce};
use crate::*;
use sluice_model::{BrokerId, LeaderEpoch, Offset, PartitionEpoch, ShardIndex, TopicPartition};
use std::collections::BTreeMap;

/// A follower of broker 1 under `leader_epoch`.
fn following(log: &TestLog, leader_epoch: u32, high_watermark: u64) -> Follower {
    let latest = log.end().last_epoch.map_or(0, |epoch| epoch.0);
    let mut follower = Follower::new(log.start(latest, high_watermark));
    follower.on_leader(LeaderEpoch(leader_epoch), Some(BrokerId(1))).unwrap();
    follower
}

/// Fetches, is cut off and fetches again, until it has what the leader has.
fn catch_up(leader: &mut Leader, leader_log: &TestLog, follower: &mut Follower, log: &mut TestLog) {
    for _ in 0..10 {
        let place = follower.fetch_position().expect("it fetches");
        let request = fetch(2, place.leader_epoch.0, place.position, place.flushed.0);
        let look = leader_log.look_up(place.position.offset);
        let outcome = leader.on_follower_fetch(0, &request, look, &mut Effects::new()).unwrap();
        let (leader_epoch, fetch_offset) = (place.leader_epoch, place.position.offset);
        let mut effects = FollowerEffects::new();
        match outcome {
            FetchOutcome::Serve { from } => {
                let (headers, high_watermark) = (leader_log.from(from), leader.high_watermark());
                let log_start_offset = Offset::ZERO;
                let answer = FetchedFrames { leader_epoch, fetch_offset, headers, high_watermark, log_start_offset };
                follower.on_fetched(answer, &mut effects).unwrap();
            }
            FetchOutcome::Diverging { epoch, end_offset } => {
                assert!(follower.on_diverging(Diverging { leader_epoch, fetch_offset, epoch, end_offset }, &mut effects));
            }
            other => panic!("{other:?}"),
        }
        for effect in effects {
            match effect {
                FollowerEffect::Append { header } => log.frames.push(header),
                FollowerEffect::Truncate { end_offset } => follower.on_truncated(log.truncate(end_offset)).unwrap(),
                _ => {}
            }
        }
        follower.on_local_flush(log.end().offset);
    }
    assert_eq!(log.end(), leader_log.end());
}

/// A follower starts again with a high watermark behind, cuts itself off there and is elected before it could fetch: what
/// was acknowledged is gone.
#[test]
fn kip_101_scenario_1_a_follower_that_starts_again_keeps_what_is_above_its_high_watermark() {
    let log = TestLog::of(&[(1, 1), (1, 1)]);
    let settings = LeaderSettings { isr_times: crate::testing::TIMES, min_insync_replicas: 1, frame_len_max: 1000 };
    let mut replica = Replica::new(BrokerId(2), incarnation(2), settings, log.start(1, 1));
    let state = |leader_epoch: u32, leader| PartitionState {
        leader_epoch: LeaderEpoch(leader_epoch),
        partition_epoch: PartitionEpoch(leader_epoch),
        leader: Some(BrokerId(leader)),
        isr: brokers(&[1, 2]),
        replicas: BTreeMap::from([(BrokerId(1), incarnation(1)), (BrokerId(2), incarnation(2))]),
    };
    let facts = LogFacts { log_start_offset: Offset::ZERO, log_state: LogState::Whole };
    replica.on_partition_state(&state(1, 1), facts, &mut Effects::new()).unwrap();
    replica.on_partition_state(&state(2, 2), facts, &mut Effects::new()).unwrap();
    let Role::Leader(leader) = replica.role() else { panic!("it leads") };
    assert_eq!((leader.log_end_offset(), leader.high_watermark()), (Offset(2), Offset(1)));
}

/// Two replicas have different records at one offset after both have failed, and go on with them.
#[test]
fn kip_101_scenario_2_records_of_a_lost_epoch_give_way_to_those_of_the_elected_leader() {
    let mut leader_log = TestLog::of(&[(1, 1)]);
    let mut log = TestLog::of(&[(1, 1), (1, 1)]);
    let mut leader = leader_log.led(2, &[1, 2], &[1], 1);
    produce(&mut leader, &mut leader_log, Acks::All, 1);
    leader.on_local_flush(Offset(2), &mut Effects::new());
    let mut follower = following(&log, 2, 1);
    catch_up(&mut leader, &leader_log, &mut follower, &mut log);
    let bytes = |log: &TestLog| log.frames.iter().map(|header| *header.as_bytes()).collect::<Vec<_>>();
    assert_eq!(bytes(&log), bytes(&leader_log));
    assert_eq!((follower.high_watermark(), *follower.producers() == log.producers()), (Offset(2), true));
}

/// A new leader that knows a smaller high watermark than the one before told ends that went backward.
#[test]
fn kip_207_a_new_leader_tells_no_end_before_its_high_watermark_has_reached_the_start_of_its_epoch() {
    let mut log = TestLog::of(&[(1, 3)]);
    let mut leader = log.led_from(2, &[1, 2], &[1, 2], 1, 0);
    produce(&mut leader, &mut log, Acks::All, 1);
    leader.on_local_flush(Offset(4), &mut Effects::new());
    assert!(leader.end_offset().is_err());
    leader.on_follower_fetch(0, &fetch(2, 2, log.end(), 3), log.look_up(Offset(4)), &mut Effects::new()).unwrap();
    assert_eq!(leader.end_offset(), Ok(Offset(3)));
}

/// A request that named a change was lost, and the leader went on serving from where the partition had been.
#[test]
fn kip_227_a_lost_change_is_noticed_by_the_number_of_the_next_request() {
    let shard = FollowerShard { broker: BrokerId(2), shard: ShardIndex(0) };
    let sent_by = (shard, incarnation(1));
    let wanted = |offset: u64| {
        let position = LogPosition { offset: Offset(offset), last_epoch: None, last_header_crc: 0 };
        let flushed = Offset::ZERO;
        let fetch = PartitionFetch { leader_epoch: LeaderEpoch(1), position, flushed, log_state: LogState::Whole };
        BTreeMap::from([(TopicPartition::default(), fetch)])
    };
    let (mut follower, mut leader) = (FollowerSession::default(), LeaderSessions::default());
    let full = follower.fetch(&wanted(0)).unwrap();
    leader.on_fetch(sent_by, full.clone()).unwrap();
    assert!(leader.on_answered(shard, full.at, []) && follower.on_answer(full.at));
    let lost = follower.fetch(&wanted(5)).unwrap();
    assert!(follower.on_answer(lost.at), "whatever the follower takes for the answer");
    let next = follower.fetch(&wanted(5)).unwrap();
    assert!(next.named.is_empty(), "the change was named already");
    assert_eq!(leader.on_fetch(sent_by, next.clone()), Err(SessionRefusal::FullAgain));
    assert!(follower.on_lost(next.at.session));
    let again = follower.fetch(&wanted(5)).unwrap();
    assert_eq!(leader.on_fetch(sent_by, again), Ok(wanted(5)));
}

/// A fetch went on behind a truncation that it knew nothing of, over other records.
#[test]
fn kip_320_whoever_fetches_from_a_history_that_is_gone_is_told_where_it_ended() {
    let log = TestLog::of(&[(1, 2), (3, 4)]);
    let mut leader = log.led(4, &[1, 2], &[1], 1);
    let gone = TestLog::of(&[(1, 2), (2, 3)]).end();
    let told = leader.on_follower_fetch(0, &fetch(2, 4, gone, 5), log.look_up(gone.offset), &mut Effects::new());
    assert_eq!(told, Ok(FetchOutcome::Diverging { epoch: Some(LeaderEpoch(1)), end_offset: Offset(2) }));
    assert_eq!(leader.end_offset_for_epoch(LeaderEpoch(2)), Some((LeaderEpoch(1), Offset(2))));
    let fenced = leader.on_follower_fetch(0, &fetch(2, 3, log.end(), 6), log.look_up(Offset(6)), &mut Effects::new());
    assert!(matches!(fenced, Err(FollowerRefusal::FencedLeaderEpoch { .. })));
    // One that had it committed does not give it up for being told.
    let mut follower = following(&TestLog::of(&[(1, 2), (2, 3)]), 4, 5);
    let parts =
        Diverging { leader_epoch: LeaderEpoch(4), fetch_offset: Offset(5), epoch: Some(LeaderEpoch(1)), end_offset: Offset(2) };
    let mut effects = FollowerEffects::new();
    assert!(follower.on_diverging(parts, &mut effects));
    let trouble = Trouble::DivergesBelowHighWatermark { end_offset: Offset(2), high_watermark: Offset(5) };
    assert_eq!(effects, [FollowerEffect::Report { trouble }]);
}

/// A broker lost its disk and started again; a fetch from before that made the leader take it into the in-sync set.
#[test]
fn kip_903_a_fetch_of_an_earlier_incarnation_counts_for_nothing() {
    let mut log = TestLog::default();
    let mut leader = log.led(1, &[1, 2], &[1, 2], 1);
    produce(&mut leader, &mut log, Acks::All, 1);
    leader.on_local_flush(Offset(1), &mut Effects::new());
    leader.on_broker_registered(BrokerId(2), incarnation(2));
    let mut effects = Effects::new();
    let late = leader.on_follower_fetch(0, &fetch(2, 1, log.end(), 1), log.look_up(Offset(1)), &mut effects);
    assert_eq!(late, Err(FollowerRefusal::OtherIncarnation { got: incarnation(1), current: incarnation(2) }));
    assert_eq!((effects, leader.high_watermark(), leader.follower_flushed(BrokerId(2))), (vec![], Offset(0), None));
    assert!(leader.on_isr_decided(PartitionEpoch(2), brokers(&[1]), &mut Effects::new()));
    assert_eq!(leader.on_isr_review(0), None, "and it does not join by it");
}

/// The last member of the in-sync set committed alone, failed, and what it had acknowledged was lost with it.
#[test]
fn kip_966_the_last_replica_standing_commits_nothing_below_min_in_sync() {
    let mut log = TestLog::default();
    let mut leader = log.led(1, &[1, 2, 3], &[1, 2, 3], 2);
    assert!(leader.on_isr_decided(PartitionEpoch(2), brokers(&[1]), &mut Effects::new()));
    let mut effects = produce(&mut leader, &mut log, Acks::Leader, 1);
    leader.on_local_flush(Offset(1), &mut effects);
    assert_eq!(acknowledged(&effects), [1], "durable on the leader, and said to be no more than that");
    assert_eq!(leader.high_watermark(), Offset(0), "nobody reads what may be taken back");
    let header = batch(-1, -1, 1);
    let refused = leader.on_append(0, ProduceBatch { header: &header, acks: Acks::All, token: 2 }, &mut Effects::new());
    assert_eq!(refused, Err(AppendRefusal::NotEnoughReplicas { in_sync: 1, wanted: 2 }));
}
