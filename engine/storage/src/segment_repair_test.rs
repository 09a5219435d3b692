use super::*;
use crate::checkpoint_slots::{SlotFound, read_slots};
use crate::layout::segment_file;
use crate::scrub_finding::ScrubFinding;
use crate::segment_check::tests::{check_all, several_segments};
use crate::testing::executor::block_on;
use crate::testing::fault_disk::{FaultDisk, PowerCut, Unflushed};
use crate::testing::frames::test_partition;
use crate::testing::test_shard::{TEST_SHARD, TestShard, TestSizes, test_layout};

fn newest(disk: &FaultDisk) -> FoundCheckpoint {
    let slots = block_on(read_slots(disk, &test_layout(), TEST_SHARD)).expect("they can be read");
    let good = slots.into_iter().filter_map(|slot| if let SlotFound::Good(found) = slot { Some(*found) } else { None });
    good.max_by_key(|found| found.slot_sequence).expect("one is good")
}

/// What an operator's command does; how many repairs there were.
fn repair(disk: &FaultDisk) -> usize {
    let (found, id) = (newest(disk), test_partition(0));
    let (dir, mut footers, mut count) = (test_layout().partition_dir(id), BTreeSet::new(), 0);
    for (base_offset, checked, _) in check_all(disk, &dir, &found.checkpoint.partitions[0]) {
        for repair in repairs(id, base_offset, &checked) {
            count += 1;
            if repair == Repair::Footer {
                footers.insert((id, base_offset));
            } else if block_on(repair_in_place(disk, &segment_file(&dir, base_offset), &repair)).is_err() {
                return count;
            }
        }
    }
    if !footers.is_empty() {
        let _cut_off = block_on(forget_footers(disk, &test_layout(), &found, &footers));
    }
    count
}

fn findings(disk: &FaultDisk) -> usize {
    let found = newest(disk);
    let checked = check_all(disk, &test_layout().partition_dir(test_partition(0)), &found.checkpoint.partitions[0]);
    checked.iter().map(|(_, checked, _)| checked.findings.len()).sum()
}

/// A shard whose first sealed segment has rot in header, padding, footer and trailer, and all frames of it as they were.
fn rotten(seed: u64) -> (FaultDisk, Vec<Vec<u8>>) {
    let mut shard = several_segments(seed);
    let whole = shard.read_all(test_partition(0));
    let disk = shard.disk.crash(PowerCut { call: shard.disk.call_count(), unflushed: Unflushed::Lost });
    let partition = newest(&disk).checkpoint.partitions[0].clone();
    let dir = test_layout().partition_dir(test_partition(0));
    let info = partition.sealed[0];
    let path = segment_file(&dir, info.base_offset);
    let bytes = disk.files()[&path].clone();
    let end = info.file_len as usize;
    let pad =
        (BLOCK_LEN..end - 2 * BLOCK_LEN).rev().find(|&at| bytes[at] == 0 && bytes[at..].starts_with(&[0; 40])).expect("a pad");
    for position in [40, pad as u64, info.file_len - 2 * BLOCK_LEN as u64 + 9, info.file_len - 100] {
        disk.flip_bit(&path, position, 2);
    }
    // A header alone, and a footer alone.
    disk.flip_bit(&segment_file(&dir, partition.sealed[1].base_offset), 30, 1);
    disk.flip_bit(&segment_file(&dir, partition.sealed[1].base_offset), partition.sealed[1].file_len - 30, 1);
    (disk, whole)
}

fn served(disk: &FaultDisk) -> Vec<Vec<u8>> {
    let mut shard = TestShard::start(disk, 2, TestSizes::default()).expect("it starts");
    assert!(shard.report().is_clean(), "{}", shard.report());
    shard.read_all(test_partition(0))
}

#[test]
fn what_costs_no_record_is_put_right_and_stays_so() {
    let (disk, whole) = rotten(51);
    assert!(findings(&disk) >= 5, "{}", findings(&disk));
    assert!(repair(&disk) >= 5);
    assert_eq!((findings(&disk), repair(&disk)), (0, 0));
    let newest = newest(&disk);
    let footers: Vec<bool> = newest.checkpoint.partitions[0].sealed.iter().map(|info| info.has_footer).collect();
    assert_eq!(footers[..2], [false, false]);
    assert!(footers[2..].iter().all(|has_footer| *has_footer));
    assert_eq!(served(&disk), whole);
}

#[test]
fn a_power_cut_at_any_call_leaves_it_no_worse() {
    let (disk, whole) = rotten(52);
    let before = disk.call_count();
    let repaired = disk.clone();
    repair(&repaired);
    let calls = before..=repaired.call_count();
    let mut images = 0;
    for call in calls {
        for unflushed in [Unflushed::Lost, Unflushed::Kept, Unflushed::Torn(call as u64)] {
            let image = repaired.crash(PowerCut { call, unflushed });
            assert!(repair(&image) <= 8, "what is left is put right by the next try");
            assert_eq!(findings(&image), 0, "cut at call {call}");
            assert_eq!(served(&image), whole, "cut at call {call}");
            images += 1;
        }
    }
    println!("{images} images");
    assert!(images > 30);
}

#[test]
fn nothing_is_put_right_that_frames_do_not_prove() {
    let (id, base_offset) = (test_partition(0), Offset(7));
    let finding = |position, kind, lost| ScrubFinding { file: "a".into(), position, kind, id: Some(id), lost };
    let header = ScrubKind::Header(crate::damage::BlockError::Crc { expected: 1, actual: 2 });
    let footer = ScrubKind::Footer(crate::damage::BlockError::Crc { expected: 1, actual: 2 });
    let of = |findings: &[ScrubFinding], prev_header_crc| {
        let checked = CheckedSegment { findings: findings.to_vec(), prev_header_crc, footer_from: Some(90_000) };
        repairs(id, base_offset, &checked)
    };
    let both = [finding(0, header, None), finding(90_000, footer, None)];
    assert_eq!(of(&both, None), [], "without a header nobody reads a segment that has no footer");
    let rewritten = Repair::Header(SegmentHeader { id, base_offset, prev_header_crc: 5 });
    assert_eq!(of(&both, Some(5)), [rewritten, Repair::Footer]);
    let range = crate::damage::DamagedRange { from: Offset(8), until: Offset(9) };
    assert_eq!(of(&[finding(5000, ScrubKind::Unreadable, Some(range))], Some(5)), []);
    assert_eq!(of(&[finding(5000, ScrubKind::Unreadable, None)], Some(5)), []);
    assert_eq!(of(&[finding(94_096, ScrubKind::Unreadable, None)], Some(5)), [Repair::Footer]);
}
