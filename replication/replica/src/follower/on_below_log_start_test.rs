use super::*;
use crate::follower::Follower;
use crate::testing::TestLog;
use sluice_model::BrokerId;

/// Offsets 0..4, following broker 1 under epoch 3, whose log begins at 10.
fn follower() -> Follower {
    let mut follower = Follower::new(TestLog::of(&[(1, 4)]).start(1, 4));
    follower.on_leader(LeaderEpoch(3), Some(BrokerId(1))).unwrap();
    follower
}

fn beginning(first_offset: u64, epochs: &[(u32, u64)]) -> LogBeginning {
    let entries = epochs.iter().map(|&(epoch, start)| (LeaderEpoch(epoch), Offset(start))).collect();
    LogBeginning {
        leader_epoch: LeaderEpoch(3),
        first_offset: Offset(first_offset),
        prev_header_crc: 77,
        epochs: LeaderEpochHistory::from_entries(entries).unwrap(),
        producers: ProducerTable::default(),
    }
}

fn asking() -> Follower {
    let (mut follower, mut effects) = (follower(), FollowerEffects::new());
    assert!(follower.on_below_log_start(LeaderEpoch(3), Offset(4), Offset(10), &mut effects));
    assert_eq!(effects, [FollowerEffect::AskBeginning { first_offset: Offset(10) }]);
    assert_eq!(follower.log_end_offset(), Offset(4), "nothing is given up before the leader has said what comes instead");
    follower
}

#[test]
fn it_begins_again_where_the_leaders_log_begins() {
    let (mut follower, mut effects) = (asking(), FollowerEffects::new());
    follower.on_beginning(beginning(12, &[(2, 9)]), &mut effects).unwrap();
    assert_eq!(effects, [FollowerEffect::Replace { first_offset: Offset(12) }]);
    assert_eq!(follower.fetch_position(), None);
    follower.on_replaced();
    let place = follower.fetch_position().unwrap();
    let expected = crate::LogPosition { offset: Offset(12), last_epoch: Some(LeaderEpoch(2)), last_header_crc: 77 };
    assert_eq!((place.position, place.flushed, follower.high_watermark()), (expected, Offset(12), Offset(12)));
}

#[test]
fn golden_table_of_what_is_not_begun_with() {
    let rows = [
        (beginning(9, &[]), BeginningRefusal::Stale),
        (LogBeginning { leader_epoch: LeaderEpoch(2), ..beginning(10, &[]) }, BeginningRefusal::Stale),
        (beginning(10, &[(4, 9)]), BeginningRefusal::Epochs),
        (beginning(10, &[(2, 10)]), BeginningRefusal::Epochs),
    ];
    for (beginning, expected) in rows {
        let mut follower = asking();
        assert_eq!(follower.on_beginning(beginning, &mut FollowerEffects::new()), Err(expected));
        assert_eq!(follower.log_end_offset(), Offset(4));
        follower.on_beginning_failed();
        assert!(follower.fetch_position().is_some(), "it asks again");
    }
    let mut unasked = follower();
    assert_eq!(unasked.on_beginning(beginning(10, &[]), &mut FollowerEffects::new()), Err(BeginningRefusal::Stale));
}

#[test]
fn answers_to_another_fetch_are_thrown_away() {
    for (epoch, fetch_offset, first_offset) in [(2, 4, 10), (3, 3, 10), (3, 4, 4)] {
        let (mut follower, mut effects) = (follower(), FollowerEffects::new());
        assert!(!follower.on_below_log_start(LeaderEpoch(epoch), Offset(fetch_offset), Offset(first_offset), &mut effects));
        assert_eq!(effects, []);
    }
}
