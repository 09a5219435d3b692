use super::*;
use crate::record::*;
use crate::testing::{Desk, commit, joining, tp};
use crate::{GroupId, Image, JoinGroup, Mode, OffsetReset, ResetOffsets, testing};
use proptest::prelude::*;
use sluice_model::Offset;

/// A batch with every kind of record, all fields in use.
fn one_of_each() -> Batch {
    let mut desk = Desk::new(&[2, 1]);
    let mut join = JoinGroup { instance_id: Some("x".into()), mode: Mode::Failover, ..joining("a", &["t1", "t2"]) };
    join.subscription.patterns.push("t*".into());
    desk.joins(&join);
    desk.joins(&JoinGroup { member_id: testing::member_id("b"), ..join });
    desk.commits("b", 2, &[commit(tp(1, 0), 5), commit(tp(2, 0), 1 << 40)]);
    let offsets = vec![OffsetReset { id: tp(1, 0), to: Some(Offset(3)) }, OffsetReset { id: tp(1, 1), to: None }];
    let reset = ResetOffsets { group_id: testing::group_id(), offsets, is_forced: true, is_dry_run: false };
    let decided = desk.coordinator.on_reset_offsets(desk.now(), &reset);
    desk.take(decided);
    desk.leave("b", 3, true);
    let decided = desk.coordinator.on_delete_group(&crate::DeleteGroup { group_id: testing::group_id() });
    desk.take(decided);
    let mut records: Vec<_> = desk.log.iter().flat_map(|bytes| Batch::decode(bytes).unwrap().records).collect();
    let edge = SnapshotEdge { group_count: 0 };
    records.extend([Record::SnapshotBegun(edge), Record::SnapshotEnded(edge)]);
    Batch { records }
}

#[test]
fn a_batch_reads_back() {
    for batch in [Batch::default(), one_of_each()] {
        assert_eq!(Batch::decode(&batch.encode()), Ok(batch));
    }
}

/// FNV-1a, so that a change of any byte shows.
fn digest(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |sum, &byte| (sum ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// Every kind of record, by hand: what the rules decide may change, these may not.
fn frozen() -> Batch {
    let (group_id, member_id) = (GroupId("g".into()), crate::MemberId([7; 16]));
    let (topic_id, partition) = (tp(9, 0).topic_id, sluice_model::PartitionIndex(3));
    let state = GroupState {
        mode: Mode::Failover,
        assignor: crate::Assignor::RoundRobin,
        epoch: crate::GroupEpoch(5),
        next_join_number: 6,
        empty_since_ms: Some(-7),
    };
    let member = MemberState {
        join_number: 4,
        instance_id: Some("instance".into()),
        predecessor: Some(crate::MemberId([8; 16])),
        client_id: "client".into(),
        client_host: "host".into(),
        subscription: crate::Subscription { topics: vec!["topic".into()], patterns: vec!["pat*".into()] },
        subscription_version: 2,
        session_timeout_ms: 10_000,
        poll_timeout_ms: 300_000,
    };
    let partitions = vec![TopicPartitions { topic_id, partitions: vec![partition] }];
    let hold = Hold { since: crate::MemberEpoch(2), revoked_at: Some(crate::MemberEpoch(3)) };
    let held = vec![HeldTopic { topic_id, partitions: vec![HeldPartition { partition, hold }] }];
    let leader_epoch = sluice_model::LeaderEpoch(11);
    let committed = CommittedOffset { offset: Offset(1 << 40), leader_epoch, metadata: "done".into(), commit_ms: 12 };
    let written = OffsetsWritten { group_id: group_id.clone(), offsets: vec![WrittenOffset { topic_id, partition, committed }] };
    let edge = SnapshotEdge { group_count: 13 };
    let group = || group_id.clone();
    Batch {
        records: vec![
            Record::GroupChanged(GroupChanged { group_id: group(), state }),
            Record::GroupDeleted(GroupDeleted { group_id: group() }),
            Record::MemberChanged(MemberChanged { group_id: group(), member_id, state: member }),
            Record::MemberRemoved(MemberRemoved { group_id: group(), member_id }),
            Record::TargetChanged(TargetChanged { group_id: group(), member_id, target: partitions.clone() }),
            Record::MemberAssigned(MemberAssigned { group_id: group(), member_id, member_epoch: crate::MemberEpoch(3), held }),
            Record::OffsetsCommitted(written.clone()),
            Record::OffsetsReset(written),
            Record::OffsetsRemoved(OffsetsRemoved { group_id: group(), partitions }),
            Record::SnapshotBegun(edge),
            Record::SnapshotEnded(edge),
        ],
    }
}

/// The bytes as this version writes them. When this test fails, the format has changed: raise the version.
#[test]
fn the_bytes_of_version_1_never_change() {
    let bytes = frozen().encode();
    assert_eq!(bytes[..4], [b'S', b'L', b'G', 1]);
    assert_eq!((bytes.len(), digest(&bytes)), (GOLDEN_LEN, GOLDEN_DIGEST));
    let small = Batch { records: vec![Record::GroupDeleted(GroupDeleted { group_id: GroupId("g".into()) })] };
    let hex: String = small.encode().iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hex, GOLDEN_SMALL);
}

const GOLDEN_LEN: usize = 573;
const GOLDEN_DIGEST: u64 = 7_975_974_309_852_868_419;
const GOLDEN_SMALL: &str = "534c47011d00000067ffffffffffffff01f7fffffffbffffff01000000";

#[test]
fn every_cut_is_found() {
    let bytes = one_of_each().encode();
    for len in 0..bytes.len() {
        assert!(Batch::decode(&bytes[..len]).is_err(), "cut at {len}");
    }
}

#[test]
fn what_is_no_batch_is_refused() {
    let table: [(&[u8], BatchError); 4] = [
        (b"SL", BatchError::Truncated { got: 2 }),
        (b"SLM\x01xxxxxxxx", BatchError::Magic { got: *b"SLM" }),
        (b"SLG\x02whatever it is", BatchError::NewerVersion { got: 2, known: BATCH_VERSION }),
        (b"SLG\x01\x08\0\0\0", BatchError::Unreadable),
    ];
    for (bytes, expected) in table {
        assert_eq!(Batch::decode(bytes), Err(expected));
    }
    assert!(BatchError::NewerVersion { got: 2, known: 1 }.to_string().contains("from a newer version"));
    let long = vec![0; BATCH_LEN_MAX + 1];
    assert_eq!(Batch::decode(&long), Err(BatchError::TooLong { got: long.len(), max: BATCH_LEN_MAX }));
}

proptest! {
    /// What is an archive can be read, and applied or refused; what is none is refused. Nothing panics.
    #[test]
    fn changed_bytes_never_panic(changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4)) {
        let mut bytes = one_of_each_once().clone();
        for (at, byte) in changes {
            let at = 8 + at.index(bytes.len() - 8);
            bytes[at] = byte;
        }
        if let Ok(batch) = Batch::decode(&bytes) {
            let mut image = Image::default();
            if image.apply_batch(&batch).is_ok() {
                let _ = crate::invariants::check(&image);
            }
        }
    }

    #[test]
    fn random_bodies_never_panic(body in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = Batch::decode(&body);
        let len = u32::try_from(8 + body.len()).unwrap().to_le_bytes();
        let _ = Batch::decode(&[&b"SLG\x01"[..], &len, &body].concat());
    }
}

fn one_of_each_once() -> &'static Vec<u8> {
    static BYTES: std::sync::OnceLock<Vec<u8>> = std::sync::OnceLock::new();
    BYTES.get_or_init(|| one_of_each().encode())
}
