use crate::testing::{Desk, commit, group_id, joining, member_id, tp};
use crate::*;

/// A decision that the log does not take has changed nothing.
#[test]
fn what_is_not_appended_has_not_happened() {
    let mut desk = Desk::new(&[2]);
    desk.join("a", &["t1"]);
    let (image, deadline) = (desk.coordinator.image().clone(), desk.coordinator.next_deadline());
    desk.now_ms = 1_000;
    let now = desk.now();
    let join = desk.coordinator.on_join(now, &joining("b", &["t1"])).unwrap();
    assert!(!join.records.is_empty());
    drop(join);
    let offsets = vec![commit(tp(1, 0), 5)];
    let request = CommitOffsets { group_id: group_id(), member_id: member_id("a"), member_epoch: MemberEpoch(1), offsets };
    drop(desk.coordinator.on_commit_offsets(now, &request).unwrap());
    assert_eq!((desk.coordinator.image(), desk.coordinator.next_deadline()), (&image, deadline));
    assert_eq!(desk.coordinator.appended(), BatchNumber(1));
    assert!(desk.join("b", &["t1"]).contains("b is number 1; epoch 2;"));
}

/// An answer waits for the last batch before it, whose effect it may show: nothing is told that a failover takes back.
#[test]
fn answers_wait_for_what_they_show() {
    let mut desk = Desk::new(&[2]);
    desk.join("a", &["t1"]);
    desk.commits("a", 1, &[commit(tp(1, 0), 5)]);
    let now = desk.now();
    let heartbeat = desk.coordinator.on_heartbeat(now, &testing::heartbeat("a", 1)).unwrap();
    let effects = desk.coordinator.on_appended(now, heartbeat);
    let [Effect::Answer { after, answer: Answer::Member { heartbeat_interval_ms, .. } }] = &effects[..] else {
        panic!("{effects:?}")
    };
    assert_eq!((*after, *heartbeat_interval_ms), (BatchNumber(2), 3_333));
}
