use super::*;
use crate::effect::{Acks, Durability, Effect};
use crate::testing::{TestLog, acknowledged, appended, brokers, fetch, incarnation, produce};
use sluice_model::PartitionEpoch;

/// The log of the leader: offsets 0..4 of epoch 2, 4..6 of epoch 3, 6..9 of epoch 6; it leads epoch 7.
fn log() -> TestLog {
    TestLog::of(&[(2, 2), (2, 2), (3, 2), (6, 3)])
}

fn judge(leader: &mut Leader, log: &TestLog, fetch: &FollowerFetch) -> Result<FetchOutcome, FollowerRefusal> {
    let look = log.look_up(fetch.position.offset);
    leader.on_follower_fetch(0, fetch, look, &mut Effects::new())
}

fn at(offset: u64, last_epoch: Option<u32>, last_header_crc: u32) -> LogPosition {
    LogPosition { offset: Offset(offset), last_epoch: last_epoch.map(LeaderEpoch), last_header_crc }
}

#[test]
fn golden_table_of_histories() {
    let log = log();
    let [_, b1, b2, b3, b4] = log.boundaries().collect::<Vec<_>>()[..] else { panic!("five boundaries") };
    let diverging =
        |epoch: u32, end: u64| Ok(FetchOutcome::Diverging { epoch: Some(LeaderEpoch(epoch)), end_offset: Offset(end) });
    let serve = |from: u64| Ok(FetchOutcome::Serve { from: Offset(from) });
    let mismatch = |offset: u64| Err(FollowerRefusal::ChainMismatch { offset: Offset(offset) });
    let rows = [
        // The same history, shorter or as long.
        (LogPosition::default(), serve(0)),
        (b1, serve(2)),
        (b2, serve(4)),
        (b3, serve(6)),
        (b4, serve(9)),
        // More of an epoch than the leader has, or an epoch that it never had: they part where its floor ended.
        (at(5, Some(2), 1), diverging(2, 4)),
        (at(8, Some(3), 1), diverging(3, 6)),
        (at(12, Some(6), 1), diverging(6, 9)),
        (at(5, Some(4), 1), diverging(3, 5)),
        (at(9, Some(5), 1), diverging(3, 6)),
        (at(12, Some(9), 1), diverging(6, 9)),
        // Older than all that the leader has.
        (at(3, Some(1), 1), Ok(FetchOutcome::Diverging { epoch: None, end_offset: Offset(0) })),
        // Without any frame, beyond the end.
        (at(11, None, 0), Ok(FetchOutcome::Diverging { epoch: None, end_offset: Offset(9) })),
        // Epochs that agree over frames that do not.
        (at(4, Some(2), b2.last_header_crc ^ 1), mismatch(4)),
        (at(9, Some(6), b4.last_header_crc ^ 1), mismatch(9)),
        (at(3, Some(2), 1), mismatch(3)),
        (at(0, None, 1), mismatch(0)),
    ];
    for (position, expected) in rows {
        let mut leader = log.led(7, &[1, 2], &[1, 2], 1);
        let fetch = fetch(2, 7, position, 0);
        assert_eq!(judge(&mut leader, &log, &fetch), expected, "{position:?}");
        let counts = matches!(expected, Ok(FetchOutcome::Serve { .. }));
        assert_eq!(leader.follower_flushed(BrokerId(2)).is_some(), counts, "{position:?}: what is not proved counts for nothing");
    }
}

/// The leader has deleted all but its last frame, and knows of no epoch before that one's.
#[test]
fn where_a_log_begins_with_its_epochs_the_chain_decides() {
    let whole = log();
    let [_, _, b2, b3, b4] = whole.boundaries().collect::<Vec<_>>()[..] else { panic!("five boundaries") };
    let log = TestLog { frames: whole.frames[3..].to_vec(), base: b3 };
    let parts = |end: u64| Ok(FetchOutcome::Diverging { epoch: None, end_offset: Offset(end) });
    let rows = [
        (b3, Ok(FetchOutcome::Serve { from: Offset(6) })),
        (b4, Ok(FetchOutcome::Serve { from: Offset(9) })),
        (at(6, Some(3), b3.last_header_crc ^ 1), parts(6)),
        (at(8, Some(3), 1), parts(6)),
        (b2, Ok(FetchOutcome::BelowLogStart { first_offset: Offset(6) })),
    ];
    for (position, expected) in rows {
        let mut leader = log.led(7, &[1, 2], &[1, 2], 1);
        assert_eq!(judge(&mut leader, &log, &fetch(2, 7, position, 0)), expected, "{position:?}");
    }
    let mut leader = log.led(7, &[1, 2], &[1, 2], 1);
    let unasked = LeaderLog { first_offset: Offset(6), link: Link::NotLookedUp };
    let asks = leader.on_follower_fetch(0, &fetch(2, 7, b3, 0), unasked, &mut Effects::new());
    assert_eq!(asks, Ok(FetchOutcome::LookUp { offset: Offset(6) }));
}

#[test]
fn golden_table_of_fences() {
    let log = log();
    let end = log.end();
    let good = fetch(2, 7, end, 9);
    let current = LeaderEpoch(7);
    let rows = [
        (
            FollowerFetch { leader_epoch: LeaderEpoch(6), ..good },
            FollowerRefusal::FencedLeaderEpoch { got: LeaderEpoch(6), current },
        ),
        (
            FollowerFetch { leader_epoch: LeaderEpoch(8), ..good },
            FollowerRefusal::UnknownLeaderEpoch { got: LeaderEpoch(8), current },
        ),
        (FollowerFetch { broker: BrokerId(9), ..good }, FollowerRefusal::UnknownReplica(BrokerId(9))),
        (
            FollowerFetch { incarnation: incarnation(2), ..good },
            FollowerRefusal::OtherIncarnation { got: incarnation(2), current: incarnation(1) },
        ),
        (FollowerFetch { flushed: Offset(10), ..good }, FollowerRefusal::FlushedBeyond { flushed: Offset(10), end: Offset(9) }),
    ];
    for (fetch, expected) in rows {
        let mut leader = log.led(7, &[1, 2], &[1, 2], 1);
        assert_eq!(judge(&mut leader, &log, &fetch), Err(expected), "{fetch:?}");
        assert_eq!((leader.follower_flushed(BrokerId(2)), leader.high_watermark()), (None, Offset(0)), "{expected}");
    }
    let mut leader = log.led(7, &[1, 2], &[1, 2], 1);
    assert_eq!(judge(&mut leader, &log, &good), Ok(FetchOutcome::Serve { from: Offset(9) }));
    assert_eq!(leader.high_watermark(), Offset(9));
    let older = fetch(2, 7, log.boundaries().nth(2).unwrap(), 4);
    assert_eq!(judge(&mut leader, &log, &older), Err(FollowerRefusal::Stale { got: Offset(4), known: Offset(9) }));
    let unflushed = FollowerFetch { flushed: Offset(4), ..good };
    assert_eq!(judge(&mut leader, &log, &unflushed), Err(FollowerRefusal::Stale { got: Offset(4), known: Offset(9) }));
}

#[test]
fn a_place_that_is_not_remembered_is_looked_up_first_and_nothing_has_changed_by_then() {
    let mut log = log();
    let mut leader = log.led(7, &[1, 2], &[1, 2], 1);
    let unasked = LeaderLog { first_offset: Offset(0), link: Link::NotLookedUp };
    let fetch_of = |position| fetch(2, 7, position, 4);
    let b2 = log.boundaries().nth(2).unwrap();
    let outcome = leader.on_follower_fetch(0, &fetch_of(b2), unasked, &mut Effects::new());
    assert_eq!(outcome, Ok(FetchOutcome::LookUp { offset: Offset(4) }));
    assert_eq!(leader.follower_flushed(BrokerId(2)), None);
    assert!(judge(&mut leader, &log, &fetch_of(b2)).is_ok());
    // It is remembered since, and so is what was sent, and the log end.
    leader.on_sent(BrokerId(2), incarnation(1), &log.frames[2]);
    produce(&mut leader, &mut log, Acks::All, 1);
    let b3 = log.boundaries().nth(3).unwrap();
    for position in [b2, b3, log.end()] {
        let outcome = leader.on_follower_fetch(0, &fetch_of(position), unasked, &mut Effects::new());
        assert_eq!(outcome, Ok(FetchOutcome::Serve { from: position.offset }));
    }
    // What was sent to another incarnation is not what this one got.
    leader.on_sent(BrokerId(2), incarnation(2), &log.frames[0]);
    assert_eq!(leader.followers[&BrokerId(2)].sent.map(|sent| sent.offset), Some(Offset(6)));
}

#[test]
fn what_is_deleted_is_not_served_and_what_is_said_of_it_does_not_count() {
    let log = log();
    let mut leader = log.led(7, &[1, 2], &[1, 2], 1);
    let deleted = LeaderLog { first_offset: Offset(4), link: Link::NotLookedUp };
    let fetch = fetch(2, 7, log.boundaries().nth(1).unwrap(), 2);
    let outcome = leader.on_follower_fetch(0, &fetch, deleted, &mut Effects::new());
    assert_eq!(outcome, Ok(FetchOutcome::BelowLogStart { first_offset: Offset(4) }));
    assert_eq!(leader.follower_flushed(BrokerId(2)), None);
}

#[test]
fn a_produce_is_answered_when_the_last_member_has_flushed_it() {
    let mut log = TestLog::default();
    let mut leader = log.led(1, &[1, 2, 3], &[1, 2, 3], 2);
    for token in 0..4 {
        assert_eq!(produce(&mut leader, &mut log, Acks::All, token), []);
    }
    let mut effects = Effects::new();
    leader.on_local_flush(Offset(4), &mut effects);
    leader.on_follower_fetch(0, &fetch(2, 1, log.end(), 4), log.look_up(Offset(4)), &mut effects).unwrap();
    assert_eq!(effects, [], "broker 3 has said nothing");
    leader.on_follower_fetch(0, &fetch(3, 1, log.end(), 1), log.look_up(Offset(4)), &mut effects).unwrap();
    let ack = |token: u64| Effect::AckProduce {
        token,
        base_offset: Some(Offset(token)),
        append_time_ms: 50,
        durability: Durability::Committed,
    };
    assert_eq!(effects, [Effect::HighWatermarkMoved { high_watermark: Offset(1) }, ack(0)]);
    effects.clear();
    leader.on_follower_fetch(0, &fetch(3, 1, log.end(), 4), log.look_up(Offset(4)), &mut effects).unwrap();
    assert_eq!(acknowledged(&effects), [1, 2, 3]);
    assert_eq!(appended(&effects).len(), 0);
}

#[test]
fn a_log_that_is_not_whole_holds_nothing_for_anybody() {
    let log = log();
    for log_state in [LogState::Damaged, LogState::PossiblyShort] {
        let mut leader = log.led(7, &[1, 2], &[1, 2], 1);
        judge(&mut leader, &log, &FollowerFetch { log_state, ..fetch(2, 7, log.end(), 9) }).unwrap();
        assert_eq!((leader.follower_flushed(BrokerId(2)), leader.high_watermark()), (None, Offset(0)));
        assert_eq!(leader.follower_position(BrokerId(2)), Some(log.end()), "it is served all the same");
    }
}

#[test]
fn followers_of_another_epoch_or_incarnation_start_with_nothing() {
    let log = log();
    let mut leader = log.led(7, &[1, 2], &[1, 2], 1);
    judge(&mut leader, &log, &fetch(2, 7, log.end(), 9)).unwrap();
    leader.on_broker_registered(BrokerId(2), incarnation(1));
    assert_eq!(leader.follower_flushed(BrokerId(2)), Some(Offset(9)), "the same one");
    leader.on_broker_registered(BrokerId(2), incarnation(2));
    assert_eq!(leader.follower_flushed(BrokerId(2)), None);
    leader.on_broker_registered(BrokerId(2), incarnation(1));
    assert!(judge(&mut leader, &log, &fetch(2, 7, log.end(), 9)).is_err(), "an older registration is old news");
    let again = FollowerFetch { incarnation: incarnation(2), ..fetch(2, 7, log.end(), 9) };
    judge(&mut leader, &log, &again).unwrap();
    leader.on_leader_epoch(LeaderEpoch(8));
    assert_eq!((leader.follower_flushed(BrokerId(2)), leader.high_watermark()), (None, Offset(9)));
    assert_eq!(leader.isr().partition_epoch(), PartitionEpoch(1));
    assert_eq!(*leader.isr().committed(), brokers(&[1, 2]));
}
