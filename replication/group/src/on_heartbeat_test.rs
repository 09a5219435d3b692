use crate::testing::{Desk, heartbeat, tp};
use crate::*;
use sluice_model::TopicPartition;

fn fenced(got: u32, current: u32) -> String {
    format!("refused: {:?}", Refusal::FencedMemberEpoch { got: MemberEpoch(got), current: MemberEpoch(current) })
}

/// Partitions move from `a` to `b`: told, given up, given. Nothing else of `a` is touched.
#[test]
fn a_partition_moves_when_it_is_given_up() {
    let mut desk = Desk::new(&[4]);
    desk.join("a", &["t1"]);
    desk.join("b", &["t1"]);
    let told = "-> @2 assigned [t1/0 since 1, t1/1 since 1] revoking [t1/2 since 1, t1/3 since 1]";
    let table: [(&str, u32, &[TopicPartition], &str); 9] = [
        ("b", 1, &[], "-> @1"),
        ("a", 1, &[], &format!("a@2 has [t1/0 since 1, t1/1 since 1, t1/2 since 1 until 2, t1/3 since 1 until 2]; {told}")),
        // The answer was lost: it hears the same again, and what it names under the old epoch was given up before that.
        ("a", 1, &[tp(1, 2)], told),
        ("b", 1, &[], "-> @1"),
        // One by one; and what it is to keep is not given up by saying so.
        (
            "a",
            2,
            &[tp(1, 3), tp(1, 0)],
            "a@3 has [t1/0 since 1, t1/1 since 1, t1/2 since 1 until 2]; \
             -> @3 assigned [t1/0 since 1, t1/1 since 1] revoking [t1/2 since 1]; news for b",
        ),
        ("b", 1, &[], "b@2 has [t1/3 since 2]; -> @2 assigned [t1/3 since 2] revoking []"),
        (
            "a",
            3,
            &[tp(1, 2), tp(1, 3)],
            "a@4 has [t1/0 since 1, t1/1 since 1]; -> @4 assigned [t1/0 since 1, t1/1 since 1] revoking []; news for b",
        ),
        ("b", 2, &[], "b@3 has [t1/2 since 3, t1/3 since 2]; -> @3 assigned [t1/2 since 3, t1/3 since 2] revoking []"),
        ("b", 3, &[], "-> @3"),
    ];
    for (step, (name, epoch, revoked, expected)) in table.into_iter().enumerate() {
        assert_eq!(desk.beat(name, epoch, revoked), expected, "step {step}");
    }
    // It has named 3: what names less is late, what names more was never told.
    for epoch in [0, 1, 2, 4] {
        assert_eq!(desk.beat("b", epoch, &[]), fenced(epoch, 3));
    }
}

/// What is wanted back while it is being given up is given up first, and given under a new epoch.
#[test]
fn what_is_told_is_not_taken_back() {
    let mut desk = Desk::new(&[2]);
    desk.join("a", &["t1"]);
    desk.join("b", &["t1"]);
    desk.beat("a", 1, &[]);
    assert_eq!(desk.leave("b", 1, true), "b is gone; epoch 3; a is to have [t1/0 t1/1]; -> Left");
    assert_eq!(desk.beat("a", 2, &[]), "-> @2");
    let back = "a@3 has [t1/0 since 1, t1/1 since 3]; -> @3 assigned [t1/0 since 1, t1/1 since 3] revoking []";
    assert_eq!(desk.beat("a", 2, &[tp(1, 1)]), back);
    // The message that gave it up comes again: it is about what was before, even should it be moved once more.
    desk.join("c", &["t1"]);
    desk.beat("a", 3, &[]);
    assert_eq!(desk.beat("a", 3, &[tp(1, 1)]), "-> @4 assigned [t1/0 since 1] revoking [t1/1 since 3]");
    assert_eq!(desk.beat("a", 4, &[tp(1, 1)]), "a@5 has [t1/0 since 1]; -> @5 assigned [t1/0 since 1] revoking []; news for c");
}

#[test]
fn a_subscription_changes_and_late_ones_do_not_count() {
    let mut desk = Desk::new(&[2, 2]);
    desk.join("a", &["t1"]);
    let to = |version, names: &[&str]| Heartbeat {
        subscription: Some(SubscriptionChange { version, subscription: Subscription::to_topics(names) }),
        ..heartbeat("a", 1)
    };
    let both = "a is number 0; epoch 2; a is to have [t1/0 t1/1 t2/0 t2/1]; \
                a@2 has [t1/0 since 1, t1/1 since 1, t2/0 since 2, t2/1 since 2]; \
                -> @2 assigned [t1/0 since 1, t1/1 since 1, t2/0 since 2, t2/1 since 2] revoking []";
    assert_eq!(desk.beats(&to(2, &["t1", "t2"])), both);
    let again = "-> @2 assigned [t1/0 since 1, t1/1 since 1, t2/0 since 2, t2/1 since 2] revoking []";
    assert_eq!(desk.beats(&to(2, &["t1", "t2"])), again);
    assert_eq!(desk.beats(&to(1, &["t2"])), again);
    desk.fail_over();
    assert_eq!(desk.beats(&to(1, &["t2"])), again, "that is in the log");
    let empty = Refusal::InvalidSubscription(SubscriptionFault::Empty);
    assert_eq!(desk.beats(&to(3, &[])), format!("refused: {empty:?}"));
}

#[test]
fn what_is_refused() {
    let mut desk = Desk::new(&[2]);
    let unknown = Refusal::UnknownGroup { group_id: testing::group_id() };
    assert_eq!(desk.beat("a", 1, &[]), format!("refused: {unknown:?}"));
    desk.join("a", &["t1"]);
    let unknown = Refusal::UnknownMember { member_id: testing::member_id("b") };
    assert_eq!(desk.beat("b", 1, &[]), format!("refused: {unknown:?}"));
    let many = vec![tp(1, 0); 2049];
    assert_eq!(desk.beat("a", 1, &many), format!("refused: {:?}", Refusal::TooManyAtOnce { got: 2049, max: 2048 }));
    assert_eq!(desk.coordinator.on_heartbeat(desk.now(), &heartbeat("a", 1)).unwrap().records, []);
}
