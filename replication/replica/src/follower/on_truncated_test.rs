use super::*;
use crate::follower::on_diverging::Diverging;
use crate::follower::{Follower, FollowerEffects};
use crate::testing::{TestLog, batch};
use sluice_model::{BrokerId, LeaderEpoch, ProducerId};

/// Producer 7 has appended a frame of one record under each of epochs 1 to 4.
fn log() -> TestLog {
    let mut log = TestLog::default();
    for epoch in 1..=4u32 {
        log.append(epoch, batch(7, i32::try_from(epoch).unwrap() - 1, 1));
    }
    log
}

/// It is to be cut off at 3.
fn truncating(high_watermark: u64) -> Follower {
    let mut follower = Follower::new(log().start(4, high_watermark));
    follower.on_leader(LeaderEpoch(9), Some(BrokerId(1))).unwrap();
    let (leader_epoch, fetch_offset) = (LeaderEpoch(9), Offset(4));
    let parts = Diverging { leader_epoch, fetch_offset, epoch: Some(LeaderEpoch(3)), end_offset: Offset(3) };
    follower.on_diverging(parts, &mut FollowerEffects::new());
    follower
}

#[test]
fn golden_table() {
    // high watermark, where the log was cut off -> does it go on
    let rows = [(0, 3, true), (2, 3, true), (2, 2, true), (3, 2, false), (2, 1, false), (0, 4, false)];
    for (high_watermark, end_offset, goes_on) in rows {
        let mut follower = truncating(high_watermark);
        let mut log = log();
        let given = follower.on_truncated(log.truncate(Offset(end_offset)));
        assert_eq!(given.is_ok(), goes_on, "{high_watermark} {end_offset}");
        if goes_on {
            assert_eq!((follower.position(), follower.phase()), (log.end(), Phase::Fetching));
            assert_eq!(*follower.producers(), log.producers(), "as the frames that stay make it");
            assert_eq!(*follower.epochs(), log.epochs());
            assert_eq!(follower.producers().get(ProducerId(7)).unwrap().batches.len() as u64, end_offset);
            assert_eq!(follower.flushed(), Offset(end_offset));
        }
    }
}

#[test]
fn nobody_cuts_it_off_unasked() {
    let mut follower = Follower::new(log().start(4, 0));
    assert_eq!(follower.on_truncated(log().truncate(Offset(1))), Err(TruncatedRefusal::NotTruncating));
    assert_eq!(follower.log_end_offset(), Offset(4));
}

#[test]
fn where_nothing_can_be_kept_the_leader_is_asked_and_only_if_the_damage_is_declared() {
    let mut effects = FollowerEffects::new();
    let mut follower = truncating(2);
    follower.on_cut_below_log_start(&mut effects);
    assert_eq!((effects.len(), follower.phase()), (0, Phase::Truncating { end_offset: Offset(3) }));
    follower.on_damage_declared();
    follower.on_cut_below_log_start(&mut effects);
    let first_offset = Offset(0);
    assert_eq!(effects, [FollowerEffect::AskBeginning { first_offset }]);
    assert_eq!(follower.phase(), Phase::AskingBeginning { first_offset });
}
