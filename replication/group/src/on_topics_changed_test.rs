use crate::testing::{Desk, commit, joining, topics, tp};
use crate::*;
use sluice_model::TopicId;

#[test]
fn groups_follow_what_they_subscribe_to() {
    let mut desk = Desk::new(&[2]);
    let subscription = Subscription { topics: vec!["t1".into()], patterns: vec!["t?".into()] };
    desk.joins(&JoinGroup { subscription, ..joining("a", &[]) });
    desk.join("b", &["t1", "t3"]);
    desk.beat("a", 1, &[]);
    let table: [(&[u32], &[&str]); 3] = [
        // Looked at, and nothing to be done.
        (&[2], &[]),
        (&[3], &["epoch 3; a is to have [t1/0 t1/2]; news for a"]),
        (&[3, 1], &["epoch 4; a is to have [t1/2 t2/0]; b is to have [t1/0 t1/1]; news for a"]),
    ];
    for (counts, expected) in table {
        desk.coordinator.on_topics_changed(topics(counts), &[]);
        assert_eq!(desk.coordinator.next_deadline(), 0);
        assert_eq!(desk.pass(0), expected, "{counts:?}");
    }
    // A failover looks once more, and by the same topics decides nothing new.
    desk.fail_over();
    assert_eq!(desk.pass(0), [""; 0]);
}

/// Offsets go with a topic that was deleted, not with one that is missing.
#[test]
fn offsets_of_deleted_topics_go() {
    let mut desk = Desk::new(&[1, 1]);
    desk.join("a", &["t1", "t2"]);
    desk.commits("a", 1, &[commit(tp(1, 0), 5), commit(tp(2, 0), 6)]);
    desk.coordinator.on_topics_changed(topics(&[1]), &[]);
    assert_eq!(desk.pass(0), ["epoch 2; a is to have [t1/0]; news for a"]);
    assert_eq!(desk.coordinator.image().offset_count(), 2);
    desk.coordinator.on_topics_changed(topics(&[1]), &[TopicId([2; 16])]);
    // What the log does not take is decided again.
    let now = desk.now();
    let first = desk.coordinator.on_time(now).unwrap();
    assert_eq!(desk.coordinator.on_time(now), Some(first));
    assert_eq!(desk.pass(0), ["forget t2/0"]);
    assert_eq!(desk.pass(0), [""; 0]);
}

#[test]
fn a_group_waits_for_topics_that_are_not_yet_there() {
    let mut desk = Desk::new(&[]);
    assert_eq!(desk.join("a", &["t1"]), "epoch 0; epoch 0; a is number 0; epoch 1; a@1 has []; -> @1 assigned [] revoking []");
    desk.coordinator.on_topics_changed(topics(&[2]), &[]);
    assert_eq!(desk.pass(0), ["epoch 2; a is to have [t1/0 t1/1]; news for a"]);
}
