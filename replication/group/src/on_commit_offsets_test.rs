use crate::testing::{Desk, commit, tp};
use crate::*;
use sluice_model::{LeaderEpoch, Offset, TopicPartition};

#[test]
fn each_partition_is_answered_for_itself() {
    let mut desk = Desk::new(&[3]);
    desk.join("a", &["t1"]);
    let (long, most) = ("x".repeat(4097), "x".repeat(4096));
    let with = |offset, leader_epoch, metadata: &str| OffsetCommit {
        id: tp(1, 0),
        offset: Offset(offset),
        leader_epoch: LeaderEpoch(leader_epoch),
        metadata: metadata.into(),
    };
    let table: [(&[OffsetCommit], &str); 11] = [
        (&[commit(tp(1, 0), 5), commit(tp(1, 1), 0)], "commit t1/0=5 t1/1=0; -> t1/0 ok, t1/1 ok"),
        // Said again, there is nothing to write.
        (&[commit(tp(1, 0), 5)], "-> t1/0 ok"),
        (&[commit(tp(1, 0), 4), commit(tp(1, 1), 1)], "commit t1/1=1; -> t1/0 Behind { committed: Offset(5) }, t1/1 ok"),
        (&[commit(tp(1, 3), 1)], "-> t1/3 NotOwned"),
        (&[with(6, 1, &long)], "-> t1/0 MetadataTooLong { got: 4097, max: 4096 }"),
        (&[with(6, 1, &most)], "commit t1/0=6; -> t1/0 ok"),
        (&[with(6, 1, "other")], "commit t1/0=6; -> t1/0 ok"),
        // After an unclean election the log goes on below, under a greater leader epoch.
        (&[with(3, 2, "")], "commit t1/0=3; -> t1/0 ok"),
        (&[with(6, 1, "")], "-> t1/0 Behind { committed: Offset(3) }"),
        // Where an epoch is not known, offsets alone count.
        (&[with(2, 0, "")], "-> t1/0 Behind { committed: Offset(3) }"),
        (&[with(9, 0, "")], "commit t1/0=9; -> t1/0 ok"),
    ];
    for (step, (offsets, expected)) in table.into_iter().enumerate() {
        assert_eq!(desk.commits("a", 1, offsets), expected, "step {step}");
    }
}

/// A late commit of an earlier time that the partition was the member's.
#[test]
fn late_commits_are_fenced() {
    let mut desk = Desk::new(&[2]);
    desk.join("a", &["t1"]);
    desk.join("b", &["t1"]);
    desk.beat("a", 1, &[]);
    // While it is being given up it can be committed: under the epoch from before it was told, too.
    assert_eq!(desk.commits("a", 1, &[commit(tp(1, 1), 5)]), "commit t1/1=5; -> t1/1 ok");
    assert_eq!(desk.commits("a", 2, &[commit(tp(1, 1), 6)]), "commit t1/1=6; -> t1/1 ok");
    desk.beat("a", 2, &[tp(1, 1)]);
    let late = [commit(tp(1, 0), 3), commit(tp(1, 1), 9)];
    assert_eq!(desk.commits("a", 2, &late), "commit t1/0=3; -> t1/0 ok, t1/1 NotOwned");
    desk.beat("b", 1, &[]);
    assert_eq!(desk.commits("a", 3, &[commit(tp(1, 1), 9)]), "-> t1/1 NotOwned");
    // And once it has it back.
    desk.leave("b", 2, true);
    assert!(desk.beat("a", 3, &[]).contains("t1/1 since 4"));
    assert_eq!(desk.commits("a", 2, &[commit(tp(1, 1), 9)]), "-> t1/1 FencedMemberEpoch { since: MemberEpoch(4) }");
    assert_eq!(desk.commits("a", 4, &[commit(tp(1, 1), 9)]), "commit t1/1=9; -> t1/1 ok");
}

#[test]
fn what_is_refused() {
    let mut desk = Desk::new(&[2]);
    let one = |id: TopicPartition| [commit(id, 1)];
    let refused = |refusal: Refusal| format!("refused: {refusal:?}");
    let unknown = Refusal::UnknownGroup { group_id: testing::group_id() };
    assert_eq!(desk.commits("a", 1, &one(tp(1, 0))), refused(unknown));
    desk.join("a", &["t1"]);
    let unknown = Refusal::UnknownMember { member_id: testing::member_id("b") };
    assert_eq!(desk.commits("b", 1, &one(tp(1, 0))), refused(unknown));
    for got in [0, 2] {
        let fenced = Refusal::FencedMemberEpoch { got: MemberEpoch(got), current: MemberEpoch(1) };
        assert_eq!(desk.commits("a", got, &one(tp(1, 0))), refused(fenced));
    }
    assert_eq!(desk.commits("a", 1, &[commit(tp(1, 0), 1), commit(tp(1, 0), 2)]), refused(Refusal::NamedTwice));
    let many: Vec<_> = (0..2049).map(|partition| commit(tp(1, partition), 1)).collect();
    assert_eq!(desk.commits("a", 1, &many), refused(Refusal::TooManyAtOnce { got: 2049, max: 2048 }));
    let metadata = |partition| OffsetCommit { metadata: "x".repeat(4096), ..commit(tp(1, partition), 1) };
    let much: Vec<_> = (0..257).map(metadata).collect();
    assert_eq!(desk.commits("a", 1, &much), refused(Refusal::TooManyAtOnce { got: 257 * 4096, max: 1024 * 1024 }));
    assert_eq!(desk.coordinator.image().offset_count(), 0);
}

/// Metadata of all offsets have room for so much, whatever members commit.
#[test]
fn memory_is_bounded() {
    let mut desk = Desk::new(&[10_000, 10_000]);
    desk.join("a", &["t1", "t2"]);
    let commit = |at: u32| OffsetCommit { metadata: "x".repeat(4000), ..commit(tp(1 + u8::from(at >= 10_000), at % 10_000), 1) };
    let mut refusals = 0;
    for from in (0..20_000).step_by(250) {
        let answer = desk.commits("a", 1, &(from..from + 250).map(commit).collect::<Vec<_>>());
        refusals += usize::from(answer.starts_with("refused: TooManyAtOnce"));
        desk.log.clear();
    }
    let (len, max) = (desk.coordinator.image().metadata_len(), limits::METADATA_LEN_PER_COORDINATOR_MAX);
    assert!(refusals > 0 && len <= max && len + 1_000_000 > max, "{refusals} {len}");
    // Without any there is still room.
    assert!(desk.commits("a", 1, &[testing::commit(tp(2, 9_999), 1)]).ends_with("ok"));
}
