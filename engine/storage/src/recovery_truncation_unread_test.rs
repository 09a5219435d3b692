//! A truncation that could not read the batch which ends at the cut, and the start after it.

use super::tests::Scenario;
use crate::damage::DamagedRange;
use crate::scrub::tests::scrub_log;
use crate::testing::fault_disk::{FaultDisk, PowerCut, Unflushed};
use crate::testing::frames::{TestFrame, test_partition};
use crate::testing::test_shard::{TestShard, TestSizes};
use crate::write_back::WriteBackKind;
use sluice_model::{FrameHeader, LeaderEpoch, Offset};

/// What was appended since follows an earlier one. The journal has that batch; a start that went on with it would have to refuse all that was acknowledged behind the cut.
#[test]
fn what_was_appended_behind_a_cut_is_not_given_up_for_a_batch_that_the_cut_could_not_read() {
    let id = test_partition(0);
    let disk = FaultDisk::new(1);
    let mut shard = TestShard::start(&disk, 1, TestSizes::default()).unwrap();
    let mut source = shard.source(id, 5);
    let frames: Vec<_> = (0..6).map(|_| source.next(4, 300)).collect();
    for frame in &frames[..2] {
        shard.append(frame);
    }
    shard.commit();
    shard.write_back(WriteBackKind::Everything);
    for frame in &frames[2..] {
        shard.append(frame);
    }
    shard.commit();
    disk.lose_write(0, ".log");
    assert_eq!(shard.truncate(id, Offset(16)), Offset(16));
    let mut source = shard.source(id, 6);
    source.leader_epoch = LeaderEpoch(9);
    let later: Vec<_> = (0..3).map(|_| source.next(2, 500)).collect();
    for frame in &later {
        shard.append(frame);
    }
    shard.commit();
    let bytes = |frames: &[TestFrame]| frames.iter().map(|frame| frame.bytes()).collect::<Vec<_>>();
    assert_eq!(shard.read_good(id).0, [bytes(&frames[..2]), bytes(&later)].concat());

    let mut disk = disk.crash(PowerCut { call: disk.call_count(), unflushed: Unflushed::Lost });
    for number in 2..4 {
        let mut shard = TestShard::start(&disk, number, TestSizes::default()).unwrap();
        let what = format!("start {number}: {}", shard.report());
        let (good, refused) = shard.read_good(id);
        assert_eq!(good, [bytes(&frames[..3]), bytes(&later)].concat(), "{what}");
        assert_eq!(refused, [DamagedRange { from: Offset(12), until: Offset(16) }], "{what}");
        assert_eq!((shard.report().out_of_place, shard.report().possibly_short.len()), (0, 0), "{what}");
        assert_eq!(scrub_log(shard.log(id), None), [], "{what}");
        disk = shard.disk.crash(PowerCut { call: shard.disk.call_count(), unflushed: Unflushed::Lost });
    }
}

/// The same where segments hold that batch by the time of the start, and can be read.
#[test]
fn a_cut_that_could_not_read_the_batch_before_it_is_replayed_as_it_was() {
    let mut scenario = Scenario::new(3, TestSizes::default());
    let id = test_partition(0);
    for _ in 0..6 {
        scenario.append_and_commit(0, 500);
    }
    let frames = scenario.shard.read_all(id);
    let headers: Vec<_> = frames.iter().map(|frame| *FrameHeader::parse(frame).unwrap()).collect();
    scenario.shard.write_back(WriteBackKind::Everything);
    scenario.shard.flush();
    scenario.shard.checkpoint();
    let (boundary, end_offset) = (headers[3].base_offset(), headers[3].next_offset());
    let last_header_crc = headers[2].header_crc.to_native();
    scenario.shard.shard.journal.append(crate::commit_group::JournalEntry::Truncate { id, end_offset, last_header_crc });
    scenario.shard.commit();
    let disk = &scenario.shard.disk;
    let mut disk = disk.crash(PowerCut { call: disk.call_count(), unflushed: Unflushed::Lost });
    for number in 2..4 {
        let mut shard = TestShard::start(&disk, number, TestSizes::default()).unwrap();
        let what = format!("start {number}: {}", shard.report());
        let log = shard.log(id);
        assert_eq!((log.log_end_offset(), log.last_header_crc()), (end_offset, last_header_crc), "{what}");
        assert_eq!(log.damaged(), [DamagedRange { from: boundary, until: end_offset }], "{what}");
        assert_eq!(shard.read_good(id).0, frames[..3], "{what}");
        disk = shard.disk.crash(PowerCut { call: shard.disk.call_count(), unflushed: Unflushed::Lost });
    }
}
