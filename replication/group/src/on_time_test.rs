use crate::testing::{Desk, heartbeat, joining, tp};
use crate::*;

/// Ten seconds without a word, and what it had is another's.
#[test]
fn a_member_that_dies_is_missed() {
    let mut desk = Desk::new(&[2]);
    desk.join("a", &["t1"]);
    desk.join("b", &["t1"]);
    desk.beat("a", 1, &[]);
    assert_eq!(desk.coordinator.next_deadline(), 10_000_000);
    let table = [(4_000, Some(("b", 1))), (4_000, Some(("b", 1))), (1_999, None)];
    for (ms, beats) in table {
        assert_eq!(desk.pass(ms), [""; 0]);
        if let Some((name, epoch)) = beats {
            desk.beat(name, epoch, &[]);
        }
    }
    assert_eq!(desk.pass(1), ["a is gone; epoch 3; b is to have [t1/0 t1/1]; news for b"]);
    let refused = format!("refused: {:?}", Refusal::UnknownMember { member_id: testing::member_id("a") });
    assert_eq!(desk.beat("a", 2, &[]), refused);
    assert_eq!(
        desk.beat("b", 1, &[]),
        "b@2 has [t1/0 since 2, t1/1 since 2]; -> @2 assigned [t1/0 since 2, t1/1 since 2] revoking []"
    );
    assert_eq!(desk.coordinator.next_deadline(), 18_000_000, "an entry that comes too early is looked at and put back");
    assert_eq!(desk.pass(8_000), [""; 0]);
    assert_eq!(desk.coordinator.next_deadline(), 20_000_000);
}

/// It heartbeats, but its application takes no records.
#[test]
fn a_member_that_is_stuck_is_taken_for_gone() {
    let mut desk = Desk::new(&[2]);
    desk.joins(&JoinGroup { poll_timeout_ms: Some(15_000), ..joining("a", &["t1"]) });
    desk.join("b", &["t1"]);
    let a = Heartbeat { has_polled: false, ..heartbeat("a", 1) };
    for _ in 0..3 {
        assert_eq!(desk.pass(4_999), [""; 0]);
        desk.beat("b", 1, &[]);
        desk.beats(&a);
    }
    assert_eq!(desk.pass(3), ["a is gone; epoch 3; b is to have [t1/0 t1/1]; news for b"]);
}

/// A member that knows that it has to give something up has its poll timeout for that, from when it is known to know.
#[test]
fn a_member_that_keeps_what_it_is_to_give_up_is_taken_for_gone() {
    let mut desk = Desk::new(&[2]);
    desk.joins(&JoinGroup { poll_timeout_ms: Some(15_000), ..joining("a", &["t1"]) });
    desk.join("b", &["t1"]);
    assert!(desk.beat("a", 1, &[]).contains("revoking [t1/1 since 1]"));
    let beat = |desk: &mut Desk, epoch| {
        assert_eq!(desk.pass(5_000), [""; 0]);
        desk.beat("a", epoch, &[]);
        desk.beat("b", 1, &[]);
    };
    // It has not heard of it yet.
    (0..5).for_each(|_| beat(&mut desk, 1));
    // It has; what it polls meanwhile does not help.
    (0..3).for_each(|_| beat(&mut desk, 2));
    assert_eq!(desk.pass(4_999), [""; 0]);
    assert_eq!(desk.pass(1), ["a is gone; epoch 3; b is to have [t1/0 t1/1]; news for b"]);
}

/// Nothing ends by a failover: everybody has all their time again.
#[test]
fn sessions_begin_anew_with_a_failover() {
    let mut desk = Desk::new(&[2]);
    desk.join("a", &["t1"]);
    assert_eq!(desk.pass(9_000), [""; 0]);
    desk.fail_over();
    assert_eq!(desk.pass(9_999), [""; 0]);
    assert_eq!(desk.pass(1), ["a is gone; epoch 2 empty since 19000"]);
}

/// Members that end together go together, by one epoch; what the log does not take comes again.
#[test]
fn a_group_goes_as_one() {
    let mut desk = Desk::new(&[4]);
    for name in ["a", "b", "c"] {
        desk.join(name, &["t1"]);
    }
    desk.now_ms = 10_000;
    let now = desk.now();
    let first = desk.coordinator.on_time(now).unwrap();
    assert_eq!(desk.coordinator.next_deadline(), 10_000_000);
    let again = desk.coordinator.on_time(now).unwrap();
    assert_eq!(first, again);
    assert_eq!(desk.take(Ok(again)), "a is gone; b is gone; c is gone; epoch 4 empty since 10000");
    assert_eq!(desk.pass(0), [""; 0]);
    assert_eq!(
        desk.commits("a", 1, &[testing::commit(tp(1, 0), 1)]),
        format!("refused: {:?}", Refusal::UnknownMember { member_id: testing::member_id("a") })
    );
}
