//! Every bit of a small shard is flipped, one at a time: the scrubber finds it, and names exactly the offsets it
//! costs. An untouched shard has no findings, whatever goes on between the pieces.

use super::*;
use crate::damage::DamageKind;
use crate::damage::DamagedRange;
use crate::disk::DiskFile;
use crate::layout::segment_file;
use crate::scrub_finding::ScrubKind;
use crate::scrub_journal::JournalScrub;
use crate::testing::executor::block_on;
use crate::testing::fault_disk::{FaultDisk, FaultKind};
use crate::testing::frames::{FrameSource, TestFrame, test_partition};
use crate::testing::random::Random;
use crate::testing::test_shard::{TestShard, TestSizes};
use crate::write_back::WriteBackKind;
use sluice_model::LeaderEpoch;
use std::ops::Range;
use std::path::PathBuf;

/// The scrub of all segments of a log, or of the one at `only`.
pub(crate) fn scrub_log(log: &mut Log<FaultDisk>, only: Option<Offset>) -> Vec<ScrubFinding> {
    let mut scrub = LogScrub { next: only.unwrap_or_default(), segment: None };
    let mut findings = Vec::new();
    while let Some(plan) = log.plan_scrub(&mut scrub) {
        let base_offset = scrub.segment.as_ref().map(|segment| segment.scrub.expected.base_offset);
        if only.is_some() && base_offset != only {
            break;
        }
        let scrubbed = block_on(plan.run());
        findings.extend(log.on_scrubbed(&mut scrub, scrubbed));
    }
    findings
}

pub(super) fn scrub_journal(shard: &TestShard) -> Vec<ScrubFinding> {
    let (journal, mut scrub, mut findings) = (&shard.shard.journal, JournalScrub::default(), Vec::new());
    while let Some(plan) = journal.plan_scrub(&mut scrub) {
        let scrubbed = block_on(plan.run());
        findings.extend(journal.on_scrubbed(&mut scrub, scrubbed));
    }
    findings
}

pub(super) fn scrub_slots(shard: &TestShard) -> Vec<ScrubFinding> {
    [scrub_slot(shard, 0), scrub_slot(shard, 1)].concat()
}

pub(super) fn scrub_slot(shard: &TestShard, slot: usize) -> Vec<ScrubFinding> {
    let (checkpoints, mut findings) = (&shard.shard.checkpoints, Vec::new());
    {
        let mut scrub = checkpoints.scrub_slot(slot).expect("both slots were written");
        while let Some(plan) = scrub.plan() {
            findings.extend(scrub.on_read(block_on(plan.run())));
        }
        assert!(checkpoints.is_unchanged(&scrub));
    }
    findings
}

/// A frame in a segment file.
pub(super) struct Placed {
    pub(super) bytes: Range<u64>,
    pub(super) offsets: DamagedRange,
}

/// A segment file: base offset, end of what it holds, frames.
pub(super) type SegmentBytes = (PathBuf, Offset, u64, Vec<Placed>);

/// One partition with sealed segments that have pads and epochs in them, and an active one with the first part of a
/// frame below its recovery point.
pub(super) fn small_shard(seed: u64) -> (TestShard, Vec<SegmentBytes>) {
    let sizes = TestSizes { segment_len: 11 * 1024, ..TestSizes::default() };
    let mut shard = TestShard::start(&FaultDisk::new(seed), 1, sizes).expect("a new shard");
    let id = test_partition(0);
    let mut source = shard.source(id, seed);
    for n in 0..18u32 {
        source.leader_epoch = LeaderEpoch(1 + n / 5);
        shard.append(&source.next(1 + n % 3, 400 + 97 * (n as usize % 7)));
        shard.commit();
        if n % 6 == 2 && n < 12 {
            shard.write_back(WriteBackKind::Everything);
        }
    }
    shard.write_back(WriteBackKind::WholeBlocks { at_least: 1 });
    shard.flush();
    shard.checkpoint();
    let log = shard.log(id);
    let point = *log.held.point();
    assert!(point.next_frame_position < point.position && !log.sealed.is_empty(), "{point:?}, {} sealed", log.sealed.len());
    let mut files = Vec::new();
    for base_offset in log.sealed.iter().map(|segment| segment.info.base_offset).chain([point.segment_base]) {
        let path = segment_file(log.dir(), base_offset);
        let bytes = log.disk.files()[&path].clone();
        let end = log.sealed.iter().find(|s| s.info.base_offset == base_offset).map_or(point.position, |s| s.info.file_len);
        files.push((path, base_offset, end, placed_frames(&bytes)));
    }
    (shard, files)
}

pub(super) fn placed_frames(bytes: &[u8]) -> Vec<Placed> {
    let (mut placed, mut position) = (Vec::new(), BLOCK_LEN);
    while position < bytes.len() {
        match sluice_model::FrameHeader::parse_frame(&bytes[position..]) {
            Ok((header, _)) => {
                let end = position + header.frame_len();
                let offsets = DamagedRange { from: header.base_offset(), until: header.next_offset() };
                placed.push(Placed { bytes: position as u64..end as u64, offsets });
                position = end;
            }
            Err(_) if position.is_multiple_of(BLOCK_LEN) => break,
            Err(_) => position = position.next_multiple_of(BLOCK_LEN),
        }
    }
    placed
}

#[test]
fn every_bit_of_every_segment_is_found_with_the_offsets_it_costs() {
    let (mut shard, files) = small_shard(31);
    let id = test_partition(0);
    assert_eq!(scrub_log(shard.log(id), None), []);
    let disk = shard.disk.clone();
    disk.set_turns_max(0);
    let mut flipped = 0;
    for (path, base_offset, end, placed) in &files {
        for position in 0..*end {
            let frame = placed.iter().find(|frame| frame.bytes.contains(&position));
            for bit in 0..8 {
                let what = format!("bit {bit} of byte {position} of segment {base_offset}");
                disk.flip_bit(path, position, bit);
                let findings = scrub_log(shard.log(id), Some(*base_offset));
                disk.flip_bit(path, position, bit);
                assert!(!findings.is_empty(), "{what} is not found");
                let lost: Vec<DamagedRange> = findings.iter().filter_map(|finding| finding.lost).collect();
                assert_eq!(lost, Vec::from_iter(frame.map(|frame| frame.offsets)), "{what}: {findings:?}");
                assert!(findings.iter().all(|finding| finding.file == *path && finding.id == Some(id)), "{what}: {findings:?}");
                let quarantined = shard.log(id).damaged() == lost;
                shard.log(id).forget_damage();
                assert!(quarantined && findings.len() == 1, "{what}: {findings:?}");
                flipped += 1;
            }
        }
    }
    println!("{flipped} bits of {} segments, all found", files.len());
    assert!(flipped > 200_000);
    assert_eq!(scrub_log(shard.log(id), None), []);
}

/// A frame whose one record holds whole sealed frames of the same partition, at offsets above its own; one of them with a
/// bad body, when that is asked for.
fn imitating_frame(source: &mut FrameSource, seed: u64, is_bad: bool) -> TestFrame {
    let mut forger = FrameSource::new(source.id, seed);
    forger.next_offset = Offset(source.next_offset.0 + 2);
    let mut forged: Vec<u8> = (0..3).flat_map(|_| forger.next(1, 40).bytes()).collect();
    forged[140 + 120] ^= u8::from(is_bad);
    let body = [&[7; 60][..], &forged, &[9; 80]].concat();
    let batch = sluice_model::ProducerBatch {
        topic_partition: source.id,
        attributes: 0,
        producer_id: sluice_model::ProducerId(-1),
        producer_epoch: sluice_model::ProducerEpoch(-1),
        base_sequence: sluice_model::Sequence(-1),
        record_count: 1,
        base_timestamp_ms: 5,
        max_timestamp_ms: 5,
    };
    let seal = sluice_model::frame::LeaderSeal {
        base_offset: source.next_offset,
        leader_epoch: source.leader_epoch,
        append_time_ms: 5,
        prev_header_crc: source.prev_header_crc,
    };
    let header = sluice_model::FrameHeader::new(batch, &body).sealed(seal);
    (source.next_offset, source.prev_header_crc) = (header.next_offset(), header.header_crc.to_native());
    TestFrame { header, body }
}

#[test]
fn a_record_that_imitates_frames_is_never_taken_for_them() {
    let mut shard = TestShard::start(&FaultDisk::new(38), 1, TestSizes { segment_len: 11 * 1024, ..TestSizes::default() })
        .expect("a new shard");
    let id = test_partition(0);
    let mut source = shard.source(id, 38);
    for n in 0..24 {
        let frame = if n % 4 == 2 { imitating_frame(&mut source, n, n % 8 == 2) } else { source.next(1, 700) };
        shard.append(&frame);
        shard.commit();
    }
    shard.write_back(WriteBackKind::Everything);
    shard.flush();
    let disk = shard.disk.clone();
    let (mut flipped, mut sealed) = (0, 0);
    let segments: Vec<_> = shard.log(id).sealed.iter().map(|segment| segment.info).collect();
    for info in segments {
        sealed += 1;
        let path = segment_file(shard.log(id).dir(), info.base_offset);
        let placed = placed_frames(&disk.files()[&path]);
        for footer_is_good in [true, false] {
            if !footer_is_good {
                disk.flip_bit(&path, info.file_len - 20, 2);
            }
            for frame in &placed {
                for position in frame.bytes.start..frame.bytes.start + 100 {
                    disk.flip_bit(&path, position, 4);
                    let findings = scrub_log(shard.log(id), Some(info.base_offset));
                    disk.flip_bit(&path, position, 4);
                    let lost: Vec<DamagedRange> = findings.iter().filter_map(|finding| finding.lost).collect();
                    assert_eq!(lost, [frame.offsets], "byte {position}, good footer: {footer_is_good}: {findings:?}");
                    shard.log(id).forget_damage();
                    flipped += 1;
                }
            }
        }
    }
    assert!(sealed > 1 && flipped > 2000, "{sealed} {flipped}");
}

#[test]
fn readers_pass_a_pad_that_rots() {
    let (mut shard, files) = small_shard(37);
    let id = test_partition(0);
    let whole = shard.read_all(id);
    let mut pads = 0;
    for (path, _, _, placed) in &files {
        for pair in placed.windows(2).filter(|pair| pair[0].bytes.end < pair[1].bytes.start) {
            shard.disk.flip_bit(path, pair[0].bytes.end, 6);
            assert!(shard.read_all(id) == whole, "a pad at {} of {}", pair[0].bytes.end, path.display());
            pads += 1;
        }
    }
    assert!(pads > 0);
    assert_eq!(scrub_log(shard.log(id), None).len(), pads, "and the scrubber finds each");
    assert!(shard.log(id).damaged().is_empty());
}

#[test]
fn what_goes_on_between_the_pieces_is_no_damage() {
    let mut pieces = 0;
    for seed in 0..60 {
        let mut random = Random::new(seed);
        let sizes = TestSizes { segment_len: 16 * 1024, ..TestSizes::default() };
        let mut shard = TestShard::start(&FaultDisk::new(seed), 1, sizes).expect("a new shard");
        let id = test_partition(0);
        let mut source = shard.source(id, seed);
        let mut scrub = LogScrub::default();
        for _ in 0..120 {
            let plan = shard.log(id).plan_scrub(&mut scrub);
            for _ in 0..random.below(3) {
                go_on(&mut shard, &mut source, &mut random);
            }
            let Some(plan) = plan else {
                scrub = LogScrub::default();
                continue;
            };
            let scrubbed = block_on(plan.run());
            for _ in 0..random.below(2) {
                go_on(&mut shard, &mut source, &mut random);
            }
            let findings = shard.log(id).on_scrubbed(&mut scrub, scrubbed);
            assert_eq!(findings, [], "seed {seed}");
            pieces += 1;
        }
        assert_eq!((scrub_log(shard.log(id), None), scrub_slots(&shard)), (vec![], vec![]), "seed {seed}");
    }
    println!("{pieces} pieces");
    assert!(pieces > 2000, "{pieces}");
}

/// One thing that happens to a log in operation.
fn go_on(shard: &mut TestShard, source: &mut FrameSource, random: &mut Random) {
    let id = source.id;
    match random.below(12) {
        0..5 => {
            source.leader_epoch = LeaderEpoch(source.leader_epoch.0 + u32::from(random.below(8) == 0));
            let (records, len) = (1 + u32::try_from(random.below(4)).expect("small"), random.below(3000));
            shard.append(&source.next(records, usize::try_from(len).expect("small")));
            shard.commit();
        }
        5 => shard.write_back(WriteBackKind::WholeBlocks { at_least: 1 }),
        6 => shard.write_back(WriteBackKind::Everything),
        7 => shard.flush(),
        8 => {
            shard.flush();
            shard.checkpoint();
        }
        9 => {
            let log = shard.log(id);
            let (start, end) = (log.log_start_offset().0, log.log_end_offset().0);
            let offset = end - random.below(end - start + 1) / 2;
            if offset < start + 4 {
                // The boundary at or below it might lie below the log start.
                return;
            }
            shard.truncate(id, Offset(offset));
            source.next_offset = shard.log(id).log_end_offset();
            source.prev_header_crc = shard.log(id).last_header_crc();
        }
        _ => {
            let log = shard.log(id);
            let (start, end) = (log.log_start_offset().0, log.log_end_offset().0);
            let offset = Offset(start + random.below(end - start + 1) / 3);
            shard.set_log_start(id, offset);
            while random.coin() && shard.log(id).evict_oldest_clean() > 0 {}
        }
    }
    shard.make_room();
}

#[test]
fn a_device_that_fails_a_read_is_asked_again_and_reported() {
    let (mut shard, files) = small_shard(34);
    let id = test_partition(0);
    // The first read fails once: everything is good when it is asked again.
    shard.disk.fail(FaultKind::Read, 0);
    let findings = scrub_log(shard.log(id), None);
    assert!(matches!(&findings[..], [one] if one.kind == ScrubKind::Unreadable && one.lost.is_none()), "{findings:?}");
    assert!(shard.log(id).damaged().is_empty());
    // Trailer and footer are read first; then the frames, whose second block fails again.
    shard.disk.fail(FaultKind::Read, 2);
    shard.disk.fail(FaultKind::Read, 4);
    let findings = scrub_log(shard.log(id), None);
    let (path, _, _, placed) = &files[0];
    let hit: Vec<&Placed> = placed.iter().filter(|frame| frame.bytes.start < 8192 && frame.bytes.end > 4096).collect();
    let lost = DamagedRange { from: hit[0].offsets.from, until: hit.last().expect("frames are there").offsets.until };
    assert!(findings.iter().all(|finding| finding.file == *path), "{findings:?}");
    assert!(findings.iter().any(|finding| finding.kind == ScrubKind::Unreadable && finding.lost == Some(lost)), "{findings:?}");
    assert_eq!(shard.log(id).damaged(), [lost]);
}

#[test]
fn what_a_later_pass_proves_good_is_served_again_and_what_it_does_not_is_not() {
    let (mut shard, files) = small_shard(39);
    let (id, disk) = (test_partition(0), shard.disk.clone());
    let whole = shard.read_all(id);
    for (path, base_offset, _, placed) in &files {
        let offsets = |frames: &[Placed]| DamagedRange {
            from: frames.first().expect("frames are there").offsets.from,
            until: frames.last().expect("frames are there").offsets.until,
        };
        let all = offsets(placed);
        // The device gives nothing of the file for a while, and rot stays in one frame.
        disk.make_unreadable(path, 0..1 << 20);
        scrub_log(shard.log(id), Some(*base_offset));
        assert_eq!(shard.log(id).damaged(), [all], "segment {base_offset}");
        disk.clear_faults();
        disk.flip_bit(path, placed[1].bytes.start + 150, 3);
        scrub_log(shard.log(id), Some(*base_offset));
        assert_eq!(shard.log(id).damaged(), [all], "segment {base_offset}: it did not prove good");
        disk.flip_bit(path, placed[1].bytes.start + 150, 3);
        assert_eq!(scrub_log(shard.log(id), Some(*base_offset)), []);
        assert_eq!(shard.log(id).damaged(), [], "segment {base_offset}");
        // What lies in no segment stays damaged, whatever is proved good around it.
        let far = DamagedRange { from: Offset(all.until.0 - 1), until: Offset(1000) };
        shard.log(id).quarantine(far);
        scrub_log(shard.log(id), Some(*base_offset));
        assert_eq!(shard.log(id).damaged(), [DamagedRange { from: all.until, ..far }], "segment {base_offset}");
        shard.log(id).forget_damage();
    }
    assert!(shard.read_all(id) == whole);
}

#[test]
fn a_file_that_is_gone_or_cut_short_costs_what_it_held() {
    let (mut shard, files) = small_shard(35);
    let id = test_partition(0);
    let (path, base_offset, end, placed) = &files[0];
    let disk = shard.disk.clone();
    let handle = block_on(disk.open(path, OpenMode::Existing)).expect("it is there");
    block_on(handle.truncate(8192)).expect("it can be cut");
    let findings = scrub_log(shard.log(id), Some(*base_offset));
    let kept = placed.iter().filter(|frame| frame.bytes.end <= 8192).map(|frame| frame.offsets.until).next_back();
    let end_offset = placed.last().expect("frames are there").offsets.until;
    let lost = DamagedRange { from: kept.unwrap_or(*base_offset), until: end_offset };
    assert_eq!(findings.iter().filter_map(|finding| finding.lost).collect::<Vec<_>>(), [lost], "{findings:?}, {end}");
    shard.log(id).forget_damage();
    block_on(disk.remove_file(path)).expect("it can be removed");
    let findings = scrub_log(shard.log(id), Some(*base_offset));
    let lost = Some(DamagedRange { from: *base_offset, until: end_offset });
    let kind = ScrubKind::Segment(DamageKind::FileMissing);
    assert_eq!(findings, [ScrubFinding { file: path.clone(), position: 0, kind, id: Some(id), lost }]);
}

#[test]
fn bad_bodies_behind_damage_cost_their_own_frames() {
    let (mut shard, files) = small_shard(41);
    let id = test_partition(0);
    let (path, base_offset, end, placed) = files.first().expect("a sealed segment");
    let disk = shard.disk.clone();
    for footer_is_good in [true, false] {
        if !footer_is_good {
            disk.flip_bit(path, end - 20, 2);
        }
        for (header, body) in (0..placed.len()).flat_map(|at| (at + 1..placed.len()).map(move |body| (at, body))) {
            disk.flip_bit(path, placed[header].bytes.start + 30, 1);
            disk.flip_bit(path, placed[body].bytes.start + 130, 1);
            let findings = scrub_log(shard.log(id), Some(*base_offset));
            let what = format!("frames {header} and {body}, good footer: {footer_is_good}: {findings:?}");
            let lost: Vec<DamagedRange> = findings.iter().filter_map(|finding| finding.lost).collect();
            // Right behind the damage a bad body is one with it, unless an index vouches for its header.
            let one = DamagedRange { from: placed[header].offsets.from, until: placed[body].offsets.until };
            let apart = [placed[header].offsets, placed[body].offsets];
            assert!(lost == apart || lost == [one] && body == header + 1, "{what}");
            disk.flip_bit(path, placed[header].bytes.start + 30, 1);
            disk.flip_bit(path, placed[body].bytes.start + 130, 1);
            shard.log(id).forget_damage();
        }
    }
}
