use crate::testing::{Desk, commit, joining, tp};
use crate::*;
use sluice_model::Offset;

fn busy() -> Desk {
    let mut desk = Desk::new(&[40, 3]);
    desk.joins(&JoinGroup { instance_id: Some("x".into()), ..joining("a", &["t1", "t2"]) });
    desk.join("b", &["t1"]);
    desk.joins(&JoinGroup { group_id: GroupId("other".into()), mode: Mode::Failover, ..joining("c", &["t2"]) });
    desk.beat("a", 1, &[]);
    desk.beat("a", 2, &[tp(1, 39)]);
    desk.beat("b", 1, &[]);
    let metadata = "m".repeat(4000);
    let commits: Vec<_> =
        (0..10).map(|partition| OffsetCommit { metadata: metadata.clone(), ..commit(tp(1, partition), 5) }).collect();
    desk.commits("a", 3, &commits);
    // Members and epochs that are not where they began.
    desk.joins(&JoinGroup { instance_id: Some("x".into()), ..joining("d", &["t1", "t2"]) });
    desk.leave("b", 2, true);
    desk
}

fn replayed(log_start: u64, log: &[Vec<u8>]) -> Result<Image, ReplayError> {
    let mut replay = Replay::new(Offset(log_start));
    for bytes in log {
        replay.on_batch(&Batch::decode(bytes).unwrap())?;
    }
    replay.finish()
}

#[test]
fn a_snapshot_is_the_whole_state_and_changes_nothing() {
    let mut desk = busy();
    let before = desk.coordinator.image().clone();
    let decisions = desk.coordinator.on_snapshot();
    let from = desk.log.len();
    let told: Vec<String> = decisions.into_iter().map(|decision| desk.take(Ok(decision))).collect();
    assert_eq!(desk.coordinator.image(), &before);
    let number = desk.coordinator.appended();
    assert!(told[0].starts_with("snapshot; epoch "), "{}", told[0]);
    let moved = format!("end; log start {} after {number}", from + 1);
    assert!(told.last().unwrap().ends_with(&moved), "{told:?}");
    // From there on, from the beginning, and with all that follows.
    desk.join("e", &["t1"]);
    assert_eq!(replayed(9, &desk.log[from..]).as_ref(), Ok(desk.coordinator.image()));
    assert_eq!(replayed(0, &desk.log).as_ref(), Ok(desk.coordinator.image()));
}

#[test]
fn a_large_state_is_several_batches() {
    let mut desk = Desk::new(&[10_000, 3]);
    desk.join("a", &["t1", "t2"]);
    let metadata = "m".repeat(300);
    for from in (0..10_000).step_by(2000) {
        let one = |partition| OffsetCommit { metadata: metadata.clone(), ..commit(tp(1, partition), 5) };
        desk.commits("a", 1, &(from..from + 2000).map(one).collect::<Vec<_>>());
    }
    let from = desk.log.len();
    let decisions = desk.coordinator.on_snapshot();
    assert!(decisions.len() > 8, "{}", decisions.len());
    decisions.into_iter().for_each(|decision| drop(desk.take(Ok(decision))));
    assert!(desk.log[from..].iter().all(|bytes| bytes.len() < 2 * limits::SNAPSHOT_BATCH_LEN_TARGET));
    assert_eq!(replayed(7, &desk.log[from..]).as_ref(), Ok(desk.coordinator.image()));
    // Cut off anywhere it is no snapshot, and where the whole log is there it does no harm.
    for len in 1..desk.log.len() - from {
        let cut = replayed(7, &desk.log[from..from + len]);
        assert_eq!(cut, Err(ReplayError::NoSnapshot { log_start: Offset(7) }));
        assert_eq!(replayed(0, &desk.log[..from + len]).as_ref(), Ok(desk.coordinator.image()));
    }
}

/// A decision in between would be lost with what stands before the snapshot: it counts for nothing.
#[test]
fn a_snapshot_with_something_in_between_moves_nothing() {
    let mut desk = Desk::new(&[10_000]);
    desk.join("a", &["t1"]);
    let metadata = "m".repeat(300);
    let one = |partition| OffsetCommit { metadata: metadata.clone(), ..commit(tp(1, partition), 5) };
    desk.commits("a", 1, &(0..2000).map(one).collect::<Vec<_>>());
    let mut told = String::new();
    for (number, decision) in desk.coordinator.on_snapshot().into_iter().enumerate() {
        told = desk.take(Ok(decision));
        if number == 0 {
            desk.commits("a", 1, &[commit(tp(1, 0), 6)]);
        }
    }
    assert!(told.ends_with("end"), "{told}");
}

#[test]
fn a_snapshot_is_due_after_so_many_batches() {
    let mut desk = busy();
    desk.coordinator.settings.snapshot_interval = 20;
    assert!(!desk.coordinator.is_snapshot_due());
    let group = desk.coordinator.image().group(&crate::testing::group_id()).unwrap();
    let epoch = group.member(crate::testing::member_id("d")).unwrap().epoch.0;
    for offset in 0..20 {
        let told = desk.commits("d", epoch, &[commit(tp(2, 0), 10 + offset)]);
        assert!(told.ends_with("ok"), "{told}");
    }
    assert!(desk.coordinator.is_snapshot_due());
    desk.coordinator.on_snapshot().into_iter().for_each(|decision| drop(desk.take(Ok(decision))));
    assert!(!desk.coordinator.is_snapshot_due());
}
