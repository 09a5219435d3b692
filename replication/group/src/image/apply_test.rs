use crate::record::*;
use crate::testing::{Desk, commit, group_id, joining, member_id, tp};
use crate::*;
use sluice_model::{LeaderEpoch, Offset};
use std::collections::BTreeMap;

fn apply(image: &Image, records: Vec<Record>) -> Result<Image, ApplyError> {
    let mut image = image.clone();
    image.apply_batch(&Batch { records }).map(|()| image)
}

/// Two members of three partitions; `a` has 0 and 1, `b` has 2.
fn two() -> Image {
    let mut desk = Desk::new(&[3]);
    desk.joins(&JoinGroup { instance_id: Some("x".into()), ..joining("a", &["t1"]) });
    desk.join("b", &["t1"]);
    desk.beat("a", 1, &[]);
    desk.beat("a", 2, &[tp(1, 2)]);
    desk.beat("b", 1, &[]);
    desk.commits("b", 2, &[commit(tp(1, 2), 5)]);
    desk.coordinator.image().clone()
}

fn has(name: &str, member_epoch: u32, held: &[(u32, u32, Option<u32>)]) -> Record {
    let hold = |&(partition, since, revoked_at): &(u32, u32, Option<u32>)| {
        (tp(1, partition), Hold { since: MemberEpoch(since), revoked_at: revoked_at.map(MemberEpoch) })
    };
    let held: BTreeMap<_, _> = held.iter().map(hold).collect();
    let (group_id, member_id, member_epoch) = (group_id(), member_id(name), MemberEpoch(member_epoch));
    Record::MemberAssigned(MemberAssigned { group_id, member_id, member_epoch, held: held_by_topic(&held) })
}

fn target(name: &str, partitions: &[u32]) -> Record {
    let target: Vec<_> = partitions.iter().map(|&partition| tp(1, partition)).collect();
    Record::TargetChanged(TargetChanged { group_id: group_id(), member_id: member_id(name), target: by_topic(&target) })
}

fn offsets(offset: u64, metadata: &str) -> OffsetsWritten {
    let committed =
        CommittedOffset { offset: Offset(offset), leader_epoch: LeaderEpoch(1), metadata: metadata.into(), commit_ms: 0 };
    let written = WrittenOffset { topic_id: tp(1, 2).topic_id, partition: tp(1, 2).partition, committed };
    OffsetsWritten { group_id: group_id(), offsets: vec![written] }
}

/// What no rule decides is refused, whatever a record says.
#[test]
fn what_does_not_apply() {
    let image = two();
    let (a, b) = (member_id("a"), member_id("b"));
    let group = image.group(&group_id()).unwrap();
    let state = |name: &str| group.member(member_id(name)).unwrap().state.clone();
    let member = |name: &str, state| MemberChanged { group_id: group_id(), member_id: member_id(name), state };
    let late = MemberState { join_number: 2, ..state("b") };
    let stolen = MemberState { instance_id: Some("x".into()), ..state("b") };
    let unnamed = MemberState { instance_id: None, ..state("a") };
    let earlier = GroupState { epoch: GroupEpoch(1), ..group.state().clone() };
    let unknown = ApplyError::UnknownGroup { group_id: "h".into() };
    let elsewhere = GroupId("h".into());
    let removed = OffsetsRemoved { group_id: elsewhere.clone(), partitions: Vec::new() };
    let table = [
        (has("b", 3, &[(1, 3, None), (2, 2, None)]), ApplyError::OwnedTwice { id: tp(1, 1), owner: a, other: b }),
        (has("b", 2, &[]), ApplyError::EpochGoesBack),
        (has("b", 1, &[]), ApplyError::EpochGoesBack),
        (has("b", 3, &[(2, 4, None)]), ApplyError::HoldEpoch { member_id: b, id: tp(1, 2) }),
        (has("b", 3, &[(2, 0, None)]), ApplyError::HoldEpoch { member_id: b, id: tp(1, 2) }),
        (has("b", 3, &[(2, 2, Some(1))]), ApplyError::HoldEpoch { member_id: b, id: tp(1, 2) }),
        (has("c", 1, &[]), ApplyError::UnknownMember { member_id: member_id("c") }),
        (target("b", &[0]), ApplyError::TargetTwice { id: tp(1, 0), other: a }),
        (target("c", &[]), ApplyError::UnknownMember { member_id: member_id("c") }),
        (Record::MemberChanged(member("b", late)), ApplyError::JoinNumber { member_id: b }),
        (Record::MemberChanged(member("b", stolen)), ApplyError::InstanceTaken { member_id: b }),
        (Record::MemberChanged(member("a", unnamed)), ApplyError::InstanceTaken { member_id: a }),
        (Record::GroupChanged(GroupChanged { group_id: group_id(), state: earlier }), ApplyError::EpochGoesBack),
        (
            Record::GroupChanged(GroupChanged { group_id: GroupId(String::new()), state: group.state().clone() }),
            ApplyError::InvalidGroupId,
        ),
        (Record::GroupDeleted(GroupDeleted { group_id: group_id() }), ApplyError::NotEmpty { group_id: "g".into() }),
        (Record::GroupDeleted(GroupDeleted { group_id: elsewhere.clone() }), unknown.clone()),
        (Record::OffsetsCommitted(offsets(4, "")), ApplyError::OffsetGoesBack { id: tp(1, 2) }),
        (Record::OffsetsReset(offsets(4, &"x".repeat(4097))), ApplyError::MetadataTooLong { id: tp(1, 2) }),
        (Record::OffsetsReset(OffsetsWritten { group_id: elsewhere, ..offsets(4, "") }), unknown.clone()),
        (Record::OffsetsRemoved(removed), unknown),
    ];
    for (record, expected) in table {
        assert_eq!(apply(&image, vec![record.clone()]), Err(expected), "{record:?}");
    }
}

/// Two members exchange what they are to have: in between it is in no target or in two, at the end in one.
#[test]
fn targets_change_together() {
    let image = two();
    let exchanged = apply(&image, vec![target("a", &[2]), target("b", &[0, 1])]).unwrap();
    let group = exchanged.group(&group_id()).unwrap();
    invariants::check_group(group).unwrap();
    assert_eq!(group.target_owner(tp(1, 0)), Some(member_id("b")));
    let back = apply(&exchanged, vec![target("b", &[2]), target("a", &[0, 1])]);
    assert_eq!(back, Ok(image));
}

#[test]
fn what_is_said_again_changes_nothing() {
    let image = two();
    let again = has("a", 3, &[(0, 1, None), (1, 1, None)]);
    assert_eq!(apply(&image, vec![again, target("b", &[2])]), Ok(image.clone()));
    assert_eq!(apply(&image, vec![Record::OffsetsReset(offsets(5, ""))]), Ok(image.clone()));
    let other = apply(&image, vec![Record::OffsetsReset(offsets(4, "back"))]).unwrap();
    assert_eq!((other.offset_count(), other.metadata_len()), (1, 4));
}
