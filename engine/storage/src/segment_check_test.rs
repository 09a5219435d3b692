use super::*;
use crate::damage::DamagedRange;
use crate::disk::{Disk, OpenMode};
use crate::layout::segment_file;
use crate::log::Log;
use crate::scrub::LogScrub;
use crate::testing::executor::block_on;
use crate::testing::fault_disk::FaultDisk;
use crate::testing::frames::test_partition;
use crate::testing::test_shard::{TestShard, TestSizes};
use crate::write_back::WriteBackKind;

/// Sealed segments with pads in them, and an active one that ends with the first part of a frame.
pub(crate) fn several_segments(seed: u64) -> TestShard {
    let sizes = TestSizes { segment_len: 11 * 1024, ..TestSizes::default() };
    let mut shard = TestShard::start(&FaultDisk::new(seed), 1, sizes).expect("a new shard");
    let mut source = shard.source(test_partition(0), seed);
    for n in 0..18u32 {
        shard.append(&source.next(1 + n % 3, 400 + 97 * (n as usize % 7)));
        shard.commit();
        if n % 6 == 2 && n < 12 {
            shard.write_back(WriteBackKind::Everything);
        }
    }
    shard.write_back(WriteBackKind::WholeBlocks { at_least: 1 });
    shard.flush();
    shard.checkpoint();
    shard
}

fn scrubbed(log: &mut Log<FaultDisk>) -> Vec<ScrubFinding> {
    let (mut scrub, mut findings) = (LogScrub::default(), Vec::new());
    while let Some(plan) = log.plan_scrub(&mut scrub) {
        let read = block_on(plan.run());
        findings.extend(log.on_scrubbed(&mut scrub, read));
    }
    findings
}

/// Every segment that the checkpoint names: its base offset, what is wrong with it, and the offsets of its good frames.
pub(crate) fn check_all(
    disk: &FaultDisk,
    dir: &Path,
    checkpoint: &PartitionCheckpoint,
) -> Vec<(Offset, CheckedSegment, Vec<Offset>)> {
    let bases = checkpoint.sealed.iter().map(|info| info.base_offset).chain([checkpoint.recovery_point.segment_base]);
    let check = |base_offset| {
        let path = segment_file(dir, base_offset);
        let check = SegmentCheck::by_checkpoint(&path, checkpoint, base_offset)?;
        let file = block_on(disk.open(&path, OpenMode::Existing)).expect("it is there");
        let mut offsets = Vec::new();
        let checked = block_on(check.run(&file, &mut |frame| offsets.push(frame.header.base_offset())));
        Some((base_offset, checked, offsets))
    };
    bases.filter_map(check).collect()
}

#[test]
fn it_finds_what_the_scrubber_finds_and_gives_every_other_frame() {
    let mut shard = several_segments(41);
    let (id, disk) = (test_partition(0), shard.disk.clone());
    disk.set_turns_max(0);
    let checkpoint = shard.log(id).checkpoint(Offset::ZERO);
    let dir = shard.log(id).dir().to_owned();
    let whole = check_all(&disk, &dir, &checkpoint);
    assert!(whole.len() > 2 && whole.iter().all(|(_, checked, _)| checked.findings.is_empty()), "{whole:?}");
    let frames: Vec<Offset> = whole.iter().flat_map(|(_, _, offsets)| offsets.clone()).collect();
    assert_eq!(frames.first(), Some(&Offset::ZERO));
    let files = disk.files();
    let (mut flipped, mut missed) = (0, 0);
    for (base_offset, _, _) in &whole {
        let path = segment_file(&dir, *base_offset);
        for position in (0..files[&path].len() as u64).step_by(61) {
            disk.flip_bit(&path, position, 3);
            let by_scrub = scrubbed(shard.log(id));
            let by_check = check_all(&disk, &dir, &checkpoint);
            disk.flip_bit(&path, position, 3);
            shard.log(id).forget_damage();
            let findings: Vec<ScrubFinding> = by_check.iter().flat_map(|(_, checked, _)| checked.findings.clone()).collect();
            // Only a running broker knows from memory how the frame begins that its file does not hold wholly yet.
            let in_straddle = findings.is_empty() && *base_offset == checkpoint.recovery_point.segment_base;
            assert!(in_straddle || findings == by_scrub, "byte {position} of {base_offset}: {findings:?}, {by_scrub:?}");
            missed += usize::from(in_straddle && !by_scrub.is_empty());
            let lost: Vec<DamagedRange> = findings.iter().filter_map(|finding| finding.lost).collect();
            let good: Vec<Offset> = by_check.iter().flat_map(|(_, _, offsets)| offsets.clone()).collect();
            let expected = frames.iter().filter(|offset| !lost.iter().any(|lost| lost.from <= **offset && **offset < lost.until));
            assert_eq!(good, expected.copied().collect::<Vec<_>>(), "byte {position} of {base_offset}: {findings:?}");
            flipped += 1;
        }
    }
    println!("{flipped} bits, {missed} of them in the beginning of a frame");
    assert!(flipped > 400 && missed < flipped / 20);
}

#[test]
fn what_rots_below_the_log_start_is_no_news() {
    let mut shard = several_segments(42);
    let (id, disk) = (test_partition(0), shard.disk.clone());
    let path = segment_file(shard.log(id).dir(), Offset::ZERO);
    shard.set_log_start(id, Offset(2));
    // The body of the first frame, which has one record; then that of the second, which has two.
    disk.flip_bit(&path, 4096 + 150, 2);
    assert_eq!(scrubbed(shard.log(id)), []);
    let checkpoint = shard.log(id).checkpoint(Offset::ZERO);
    let second = check_all(&disk, shard.log(id).dir(), &checkpoint)[0].1.findings[0].clone();
    assert_eq!(second.lost, Some(DamagedRange { from: Offset(0), until: Offset(1) }), "whoever looks at the file sees it");
    disk.flip_bit(&path, 4096 + 100 + 400 + 100 + 50, 2);
    let lost: Vec<_> = scrubbed(shard.log(id)).iter().filter_map(|finding| finding.lost).collect();
    assert_eq!(lost, [DamagedRange { from: Offset(2), until: Offset(3) }], "what is left of it");
}
