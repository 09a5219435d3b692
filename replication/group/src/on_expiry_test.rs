use crate::testing::{Desk, commit, tp};
use crate::*;

const DAY: u64 = 24 * 3600 * 1000;

fn day(desk: &mut Desk) -> Vec<String> {
    desk.pass(DAY)
}

#[test]
fn an_empty_group_expires() {
    let mut desk = Desk::new(&[2]);
    desk.join("a", &["t1"]);
    desk.commits("a", 1, &[commit(tp(1, 0), 5), commit(tp(1, 1), 6)]);
    assert_eq!(desk.leave("a", 1, true), "a is gone; epoch 2 empty since 0; -> Left");
    (0..6).for_each(|_| assert_eq!(day(&mut desk), [""; 0]));
    assert_eq!(day(&mut desk), ["deleted"]);
    assert_eq!(desk.coordinator.image(), &Image::default());
}

/// Counted from the later of both: what an operator has set is kept for as long as what a member committed.
#[test]
fn offsets_expire_by_their_own_time() {
    let mut desk = Desk::new(&[2]);
    desk.join("a", &["t1"]);
    desk.commits("a", 1, &[commit(tp(1, 0), 5), commit(tp(1, 1), 6)]);
    desk.leave("a", 1, true);
    (0..3).for_each(|_| assert_eq!(day(&mut desk), [""; 0]));
    let offsets = vec![OffsetReset { id: tp(1, 1), to: Some(sluice_model::Offset(2)) }];
    let reset = ResetOffsets { group_id: testing::group_id(), offsets, is_forced: false, is_dry_run: false };
    let decided = desk.coordinator.on_reset_offsets(desk.now(), &reset);
    assert!(desk.take(decided).starts_with("reset t1/1=2;"));
    (0..3).for_each(|_| assert_eq!(day(&mut desk), [""; 0]));
    assert_eq!(day(&mut desk), ["forget t1/0"]);
    (0..2).for_each(|_| assert_eq!(day(&mut desk), [""; 0]));
    assert_eq!(day(&mut desk), ["deleted"]);
}

/// While there is a member nothing expires, however long ago it was committed.
#[test]
fn a_group_with_members_keeps_its_offsets() {
    let mut desk = Desk::new(&[2]);
    desk.join("a", &["t1"]);
    desk.commits("a", 1, &[commit(tp(1, 0), 5)]);
    desk.now_ms = 30 * DAY;
    // It is heard of just before anything is looked at.
    desk.beat("a", 1, &[]);
    assert_eq!(desk.pass(0), [""; 0]);
    assert_eq!(desk.coordinator.image().offset_count(), 1);
    assert_eq!(desk.pass(10_000), ["a is gone; epoch 2 empty since 2592010000"]);
    (0..6).for_each(|_| assert_eq!(day(&mut desk), [""; 0]));
    assert_eq!(day(&mut desk), ["deleted"]);
}

/// One group after the other; one that the log does not take is looked at in the next round.
#[test]
fn groups_expire_in_turn() {
    let mut desk = Desk::new(&[1]);
    for name in ["x", "y", "z"] {
        let request = JoinGroup { group_id: GroupId(name.into()), ..testing::joining("a", &["t1"]) };
        desk.joins(&request);
        let (group_id, member_id, member_epoch) = (request.group_id, request.member_id, MemberEpoch(1));
        let leave = LeaveGroup { group_id, member_id, member_epoch, for_good: true };
        let decided = desk.coordinator.on_leave(desk.now(), &leave);
        assert_eq!(desk.take(decided), "a is gone; epoch 2 empty since 0; -> Left");
    }
    desk.now_ms = 7 * DAY;
    let now = desk.now();
    assert!(desk.coordinator.on_time(now).is_some(), "dropped");
    assert_eq!(desk.pass(0), ["deleted", "deleted"]);
    assert_eq!(desk.pass(599_999), [""; 0]);
    assert_eq!(desk.pass(1), ["deleted"]);
    assert_eq!(desk.coordinator.image().group_count(), 0);
}
