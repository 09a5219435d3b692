use super::*;
use crate::record::{GroupChanged, GroupState, SnapshotEdge};
use crate::{Assignor, GroupEpoch, GroupId, Mode};

fn group(name: &str, epoch: u32) -> Record {
    let state = GroupState {
        mode: Mode::Partitioned,
        assignor: Assignor::Sticky,
        epoch: GroupEpoch(epoch),
        next_join_number: 0,
        empty_since_ms: Some(0),
    };
    Record::GroupChanged(GroupChanged { group_id: GroupId(name.into()), state })
}

fn replay(log_start: u64, batches: &[&[Record]]) -> Result<Image, ReplayError> {
    let mut replay = Replay::new(Offset(log_start));
    for records in batches {
        replay.on_batch(&Batch { records: records.to_vec() })?;
    }
    replay.finish()
}

#[test]
fn a_log_begins_at_0_or_with_a_whole_snapshot() {
    let edge = |group_count| SnapshotEdge { group_count };
    let (begun, ended) = (Record::SnapshotBegun(edge(1)), Record::SnapshotEnded(edge(1)));
    let (one, begin) = (group("g", 1), [begun.clone()]);
    let missing = Err(ReplayError::NoSnapshot { log_start: Offset(3) });
    let whole: &[Record] = &[begun, one.clone(), ended.clone()];
    let image = replay(0, &[std::slice::from_ref(&one)]);
    assert_eq!(image.as_ref().map(Image::group_count), Ok(1));
    let table: [(u64, &[&[Record]], _); 8] = [
        (0, &[], Ok(Image::default())),
        (3, &[], missing.clone()),
        (3, &[std::slice::from_ref(&one)], missing.clone()),
        (3, &[&begin, std::slice::from_ref(&one)], missing.clone()),
        (3, &[std::slice::from_ref(&one), whole], missing),
        (3, &[whole], image.clone()),
        (3, &[&begin, std::slice::from_ref(&one), &[ended]], image.clone()),
        (0, &[whole, whole], image),
    ];
    for (number, (log_start, batches, expected)) in table.into_iter().enumerate() {
        assert_eq!(replay(log_start, batches), expected, "row {number}");
    }
}

#[test]
fn a_snapshot_that_lacks_a_group_is_refused() {
    let edge = SnapshotEdge { group_count: 2 };
    let error = replay(3, &[&[Record::SnapshotBegun(edge), group("g", 1), Record::SnapshotEnded(edge)]]).unwrap_err();
    assert_eq!(error, ReplayError::Apply(ApplyError::SnapshotGroups { got: 1, expected: 2 }));
    assert!(error.to_string().contains("a snapshot of 2 groups leaves 1"));
}
