use super::*;
use crate::follower::FollowerEffects;
use crate::follower::on_diverging::Diverging;
use crate::testing::TestLog;
use crate::{Follower, LogPosition};
use sluice_model::Offset;

#[test]
fn golden_table() {
    // From leader epoch 3 of broker 1: epoch, leader -> followed epoch and leader
    let rows = [
        ((2, Some(2)), Err(2)),
        ((3, Some(1)), Ok((3, Some(1)))),
        ((3, Some(2)), Err(3)),
        ((3, None), Err(3)),
        ((4, Some(2)), Ok((4, Some(2)))),
        ((4, None), Ok((4, None))),
    ];
    for ((epoch, leader), expected) in rows {
        let mut follower = Follower::new(TestLog::of(&[(1, 2)]).start(3, 0));
        follower.on_leader(LeaderEpoch(3), Some(BrokerId(1))).unwrap();
        let given = follower.on_leader(LeaderEpoch(epoch), leader.map(BrokerId));
        match expected {
            Ok((epoch, leader)) => {
                assert_eq!(given, Ok(()));
                assert_eq!((follower.leader_epoch(), follower.leader()), (LeaderEpoch(epoch), leader.map(BrokerId)));
                assert_eq!(follower.fetch_position().is_some(), leader.is_some());
            }
            Err(got) => {
                let refusal = LeaderRefusal::StaleEpoch { got: LeaderEpoch(got), current: LeaderEpoch(3) };
                assert_eq!(given, Err(refusal));
                assert_eq!(follower.leader(), Some(BrokerId(1)));
            }
        }
        assert_eq!(follower.log_end_offset(), Offset(2), "nothing is cut off for a leader's sake");
    }
}

#[test]
fn a_cut_that_is_under_way_goes_to_its_end_whoever_leads() {
    let mut log = TestLog::of(&[(1, 2), (2, 2)]);
    let mut follower = Follower::new(log.start(3, 2));
    follower.on_leader(LeaderEpoch(3), Some(BrokerId(1))).unwrap();
    let (leader_epoch, fetch_offset) = (LeaderEpoch(3), Offset(4));
    let parts = Diverging { leader_epoch, fetch_offset, epoch: Some(LeaderEpoch(1)), end_offset: Offset(2) };
    assert!(follower.on_diverging(parts, &mut FollowerEffects::new()));
    follower.on_leader(LeaderEpoch(4), Some(BrokerId(2))).unwrap();
    assert_eq!((follower.phase(), follower.fetch_position()), (Phase::Truncating { end_offset: Offset(2) }, None));
    follower.on_truncated(log.truncate(Offset(2))).unwrap();
    let place = follower.fetch_position().unwrap();
    assert_eq!((place.leader, place.position), (BrokerId(2), LogPosition::after(&log.frames[0])));
}
