use crate::testing::{Desk, commit, joining, member_id, tp};
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

/// A state of several pieces, with a member, a group that can be deleted, and offsets that can change.
fn large() -> Desk {
    let mut desk = Desk::new(&[10_000, 3]);
    desk.join("a", &["t1"]);
    desk.joins(&JoinGroup { group_id: GroupId("z".into()), ..joining("z", &["t2"]) });
    let leave =
        LeaveGroup { group_id: GroupId("z".into()), member_id: member_id("z"), member_epoch: MemberEpoch(1), for_good: true };
    let decided = desk.coordinator.on_leave(desk.now(), &leave);
    desk.take(decided);
    let metadata = "m".repeat(300);
    let one = |partition| OffsetCommit { metadata: metadata.clone(), ..commit(tp(1, partition), 5) };
    desk.commits("a", 1, &(0..2000).map(one).collect::<Vec<_>>());
    desk
}

type Decide = fn(&mut Desk) -> String;

/// What a snapshot that was made before it would take back, or what would not apply any more.
const IN_BETWEEN: [(&str, Decide); 4] = [
    ("an offset is committed", |desk| desk.commits("a", 1, &[commit(tp(1, 0), 6)])),
    ("a group is deleted", |desk| {
        let request = DeleteGroup { group_id: GroupId("z".into()) };
        let decided = desk.coordinator.on_delete_group(&request);
        desk.take(decided)
    }),
    ("a member joins", |desk| desk.join("b", &["t1"])),
    ("a member leaves", |desk| desk.leave("a", 1, true)),
];

/// After a decision between any two pieces the rest is outdated: nothing is taken back, and the next snapshot is whole.
#[test]
fn a_decision_between_two_pieces_stands() {
    let pieces = large().coordinator.on_snapshot().len();
    assert!(pieces > 2, "{pieces}");
    for (what, decide) in IN_BETWEEN {
        for before in 0..=pieces {
            let mut desk = large();
            let mut snapshot = desk.coordinator.on_snapshot().into_iter();
            snapshot.by_ref().take(before).for_each(|piece| drop(desk.take(Ok(piece))));
            let told = decide(&mut desk);
            assert!(!told.contains("refused"), "{what}: {told}");
            let decided = desk.coordinator.image().clone();
            for piece in snapshot {
                assert!(desk.coordinator.is_outdated(&piece), "{what} after {before} of {pieces} pieces");
            }
            assert_eq!(replayed(0, &desk.log).as_ref(), Ok(&decided), "{what} after {before} of {pieces} pieces");
            let from = desk.log.len();
            for piece in desk.coordinator.on_snapshot() {
                assert!(!desk.coordinator.is_outdated(&piece));
                desk.take(Ok(piece));
            }
            assert_eq!(desk.coordinator.image(), &decided);
            assert_eq!(replayed(7, &desk.log[from..]).as_ref(), Ok(&decided), "{what} after {before} of {pieces} pieces");
        }
    }
}

/// A piece that the log did not take leaves a hole.
#[test]
fn a_snapshot_without_one_of_its_pieces_does_not_go_on() {
    let desk = large();
    let snapshot = desk.coordinator.on_snapshot();
    assert!(snapshot[1..].iter().all(|piece| desk.coordinator.is_outdated(piece)));
}

#[test]
#[should_panic(expected = "was appended after")]
fn an_outdated_piece_is_not_taken() {
    let mut desk = large();
    let piece = desk.coordinator.on_snapshot().remove(0);
    desk.commits("a", 1, &[commit(tp(1, 0), 6)]);
    desk.take(Ok(piece));
}

/// What changes nothing, as a heartbeat does, may come at any time.
#[test]
fn what_appends_nothing_outdates_nothing() {
    let mut desk = large();
    let mut told = String::new();
    for piece in desk.coordinator.on_snapshot() {
        assert_eq!(desk.beat("a", 1, &[]), "-> @1");
        told = desk.take(Ok(piece));
    }
    assert!(told.contains("end; log start"), "{told}");
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
