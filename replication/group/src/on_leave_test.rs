use crate::testing::{Desk, joining};
use crate::*;

#[test]
fn what_a_member_had_is_free_at_once() {
    let mut desk = Desk::new(&[4]);
    desk.join("a", &["t1"]);
    desk.join("b", &["t1"]);
    desk.now_ms = 77;
    let table = [
        (1, "a", "a is gone; epoch 3; b is to have [t1/0 t1/1 t1/2 t1/3]; -> Left; news for b"),
        (1, "b", "b is gone; epoch 4 empty since 77; -> Left"),
    ];
    for (epoch, name, expected) in table {
        assert_eq!(desk.leave(name, epoch, false), expected);
    }
    let unknown = Refusal::UnknownMember { member_id: testing::member_id("b") };
    assert_eq!(desk.leave("b", 1, false), format!("refused: {unknown:?}"));
}

#[test]
fn a_static_member_goes_for_a_while_or_for_good() {
    let mut desk = Desk::new(&[2]);
    let instance = |name: &str| JoinGroup { instance_id: Some("x".into()), ..joining(name, &["t1"]) };
    desk.joins(&instance("a"));
    assert_eq!(desk.leave("a", 1, false), "-> Left");
    assert_eq!(desk.pass(9_999), [""; 0]);
    assert!(desk.joins(&instance("b")).ends_with("-> @2 assigned [t1/0 since 2, t1/1 since 2] revoking []"));
    assert_eq!(desk.leave("b", 2, false), "-> Left");
    assert_eq!(desk.pass(10_000), ["b is gone; epoch 3 empty since 19999"]);
    desk.joins(&instance("c"));
    assert_eq!(desk.leave("c", 1, true), "c is gone; epoch 5 empty since 19999; -> Left");
}

#[test]
fn a_late_leave_counts_for_nothing() {
    let mut desk = Desk::new(&[2]);
    desk.join("a", &["t1"]);
    desk.join("b", &["t1"]);
    desk.beat("a", 1, &[]);
    desk.beat("a", 2, &[testing::tp(1, 1)]);
    let fenced = Refusal::FencedMemberEpoch { got: MemberEpoch(1), current: MemberEpoch(3) };
    assert_eq!(desk.leave("a", 1, true), format!("refused: {fenced:?}"));
}
