use super::*;
use crate::follower::Follower;
use crate::testing::TestLog;
use sluice_model::BrokerId;

/// Offsets 0..2 of epoch 1, 2..4 of epoch 3, 4..6 of epoch 5, following broker 1 under epoch 7.
fn follower(high_watermark: u64) -> Follower {
    let mut follower = Follower::new(TestLog::of(&[(1, 2), (3, 2), (5, 2)]).start(5, high_watermark));
    follower.on_leader(LeaderEpoch(7), Some(BrokerId(1))).unwrap();
    follower
}

fn parts(epoch: Option<u32>, end_offset: u64) -> Diverging {
    let (leader_epoch, fetch_offset) = (LeaderEpoch(7), Offset(6));
    Diverging { leader_epoch, fetch_offset, epoch: epoch.map(LeaderEpoch), end_offset: Offset(end_offset) }
}

fn told(follower: &mut Follower, answer: Diverging) -> FollowerEffects {
    let mut effects = FollowerEffects::new();
    assert!(follower.on_diverging(answer, &mut effects));
    effects
}

#[test]
fn golden_table() {
    // what the leader says -> where it is cut off, with a high watermark of 0
    let rows = [
        ((Some(5), 5), 5),
        ((Some(4), 6), 4),
        ((Some(3), 6), 4),
        ((Some(3), 3), 3),
        ((Some(2), 6), 2),
        ((Some(1), 1), 1),
        ((Some(0), 6), 0),
        ((Some(0), 3), 0),
        ((None, 0), 0),
        // As far as the leader's log goes back, and nothing once that is proved to be another one.
        ((None, 3), 3),
        ((None, 6), 0),
    ];
    for ((epoch, end), expected) in rows {
        let mut follower = follower(0);
        let effects = told(&mut follower, parts(epoch, end));
        assert_eq!(effects, [FollowerEffect::Truncate { end_offset: Offset(expected) }], "{epoch:?} {end}");
        assert_eq!((follower.log_end_offset(), follower.fetch_position()), (Offset(6), None), "until the driver has cut it off");
    }
}

#[test]
fn it_is_never_cut_off_below_its_high_watermark_before_the_damage_is_declared() {
    let mut follower = follower(4);
    let trouble = Trouble::DivergesBelowHighWatermark { end_offset: Offset(2), high_watermark: Offset(4) };
    assert_eq!(told(&mut follower, parts(Some(2), 6)), [FollowerEffect::Report { trouble }]);
    assert_eq!((follower.phase(), follower.fetch_position()), (Phase::Stopped(trouble), None));
    assert_eq!((follower.log_end_offset(), follower.high_watermark()), (Offset(6), Offset(4)));
    follower.on_damage_declared();
    assert!(follower.fetch_position().is_some());
    assert_eq!(told(&mut follower, parts(Some(2), 6)), [FollowerEffect::Truncate { end_offset: Offset(2) }]);
    let mut log = TestLog::of(&[(1, 2), (3, 2), (5, 2)]);
    follower.on_truncated(log.truncate(Offset(2))).unwrap();
    assert_eq!((follower.log_end_offset(), follower.high_watermark()), (Offset(2), Offset(2)));
}

#[test]
fn a_leader_that_names_no_place_below_the_end_is_not_asked_for_ever() {
    let mut follower = follower(0);
    let trouble = Trouble::NoProgress { end_offset: Offset(6) };
    assert_eq!(told(&mut follower, parts(Some(5), 6)), [FollowerEffect::Report { trouble }]);
    follower.on_leader(LeaderEpoch(8), Some(BrokerId(2))).unwrap();
    assert!(follower.fetch_position().is_some(), "the next leader is");
}

#[test]
fn frames_that_differ_stop_it_and_are_copied_again_once_the_damage_is_declared() {
    let mut follower = follower(4);
    let mut effects = FollowerEffects::new();
    assert!(!follower.on_chain_mismatch(LeaderEpoch(7), Offset(4), &mut effects), "another fetch");
    assert!(follower.on_chain_mismatch(LeaderEpoch(7), Offset(6), &mut effects));
    assert_eq!(effects, [FollowerEffect::Report { trouble: Trouble::ChainMismatch { offset: Offset(6) } }]);
    follower.on_damage_declared();
    effects.clear();
    assert!(follower.on_chain_mismatch(LeaderEpoch(7), Offset(6), &mut effects));
    assert_eq!(effects, [FollowerEffect::Truncate { end_offset: Offset(0) }]);
}

#[test]
fn answers_to_another_fetch_are_thrown_away() {
    for answer in [
        Diverging { leader_epoch: LeaderEpoch(6), ..parts(Some(1), 2) },
        Diverging { fetch_offset: Offset(4), ..parts(Some(1), 2) },
    ] {
        let (mut follower, mut effects) = (follower(0), FollowerEffects::new());
        assert!(!follower.on_diverging(answer, &mut effects));
        assert_eq!((effects, follower.phase()), (vec![], Phase::Fetching));
    }
}
