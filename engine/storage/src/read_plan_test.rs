use super::*;
use crate::layout::segment_file;
use crate::log::tests::{Bench, dir};
use crate::scrub_footer::FooterCheck;
use crate::segment_format::SegmentTrailer;
use crate::testing::executor::block_on;
use crate::testing::random::Random;
use crate::write_back::WriteBackKind;
use sluice_model::limits::BLOCK_LEN;

fn on_disk(seed: u64, count: u64) -> Bench {
    let mut random = Random::new(seed);
    let mut bench = Bench::new(seed, 200_000);
    for _ in 0..count {
        let body_len = if random.below(30) == 0 { 30_000 + random.below(90_000) } else { random.below(2500) };
        bench.append(1 + random.below(5) as u32, usize::try_from(body_len).unwrap());
        if random.below(25) == 0 {
            bench.write_all_and_evict();
        }
    }
    bench
}

fn run(plan: ReadPlan<crate::testing::fault_disk::FaultDisk>) -> Result<ReadFrames, DiskReadError> {
    match plan {
        ReadPlan::Memory(frames) => Ok(frames),
        ReadPlan::Disk(read) => block_on(read.run()),
        ReadPlan::Empty => Ok(ReadFrames::default()),
    }
}

#[test]
fn memory_and_disk_give_the_same_frames_at_every_offset() {
    for seed in 0..6 {
        let mut memory = Bench::new(seed, 200_000);
        let mut disk = on_disk(seed, 200);
        disk.write_all_and_evict();
        for (at, frame) in disk.frames.iter().enumerate() {
            memory.log.append(&frame.header, &frame.body, crate::log::tests::address(at));
        }
        let mut random = Random::new(seed);
        let end = disk.log.log_end_offset();
        for _ in 0..150 {
            let offset = Offset(random.below(end.0));
            let len_max = usize::try_from(200_000 + random.below(100_000)).unwrap();
            let a = run(memory.log.read(offset, len_max, end).unwrap()).unwrap();
            let b = run(disk.log.read(offset, len_max, end).unwrap()).unwrap();
            let (a_bytes, b_bytes) = (a.slices.concat(), b.slices.concat());
            // A read of a file ends with its segment; one of memory does not.
            assert!(!b_bytes.is_empty() && a_bytes.starts_with(&b_bytes), "seed {seed}, offset {offset}");
            assert!(b.next_offset <= a.next_offset && (b_bytes.len() < a_bytes.len()) == (b.next_offset < a.next_offset));
        }
    }
}

#[test]
fn every_flipped_bit_of_a_frame_is_refused_and_the_rest_served() {
    let mut bench = Bench::new(3, 1 << 20);
    for _ in 0..200 {
        bench.append(1, 1000);
    }
    bench.write_all_and_evict();
    let path = segment_file(&dir(), Offset::ZERO);
    let start = 4096 + 10 * 1100;
    for bit in (0..1100 * 8).step_by(41) {
        bench.disk.flip_bit(&path, start + bit / 8, (bit % 8) as u8);
        let before = run(bench.log.read(Offset(5), 1 << 20, Offset(200)).unwrap()).unwrap();
        assert_eq!(before.next_offset, Offset(10), "bit {bit}: frames before the bad one are served");
        let Err(DiskReadError::Damaged(damage)) = run(bench.log.read(Offset(10), 1 << 20, Offset(200)).unwrap()) else {
            panic!("bit {bit} flipped and not noticed");
        };
        assert!(
            damage.range.from == Offset(10) && damage.range.until > Offset(10) && damage.range.until <= Offset(75),
            "{damage}"
        );
        let after = run(bench.log.read(damage.range.until, 1 << 20, Offset(200)).unwrap()).unwrap();
        assert_eq!(after.next_offset, Offset(200));
        bench.disk.flip_bit(&path, start + bit / 8, (bit % 8) as u8);
    }
}

#[test]
fn a_quarantined_range_is_refused_without_a_read() {
    let mut bench = Bench::new(4, 1 << 20);
    for _ in 0..50 {
        bench.append(1, 1000);
    }
    bench.write_all_and_evict();
    bench.log.quarantine(DamagedRange { from: Offset(10), until: Offset(12) });
    assert!(matches!(bench.log.read(Offset(11), 5000, Offset(50)), Err(ReadRefusal::Damaged { until: Offset(12), .. })));
    let before = run(bench.log.read(Offset(8), 1 << 20, Offset(50)).unwrap()).unwrap();
    assert_eq!(before.next_offset, Offset(10), "a read ends where the quarantine begins");
}

#[test]
fn a_damaged_footer_costs_a_walk_and_no_data() {
    let mut bench = on_disk(5, 200);
    bench.write_all_and_evict();
    let checkpoint = bench.log.checkpoint(Offset::ZERO);
    let info = checkpoint.sealed[0];
    for position in [info.file_len - 4000, info.file_len - 4096 - 4000] {
        bench.disk.flip_bit(&segment_file(&dir(), info.base_offset), position, 2);
    }
    bench.restart();
    assert_eq!(bench.read_all(Offset::ZERO, 200_000), bench.bytes_from(0));
    // The header block too: a log begins after nothing, and the frames chain to the recorded end.
    bench.disk.flip_bit(&segment_file(&dir(), info.base_offset), 40, 2);
    bench.restart();
    assert_eq!(bench.read_all(Offset::ZERO, 200_000), bench.bytes_from(0));
}

#[test]
fn a_segment_removed_under_a_read_stays_readable_or_says_so() {
    let mut bench = on_disk(6, 200);
    bench.write_all_and_evict();
    let plan = |bench: &Bench| bench.log.read(Offset::ZERO, 200_000, bench.log.log_end_offset()).unwrap();
    let (first, second) = (plan(&bench), plan(&bench));
    let wanted = run(first).unwrap();
    bench.log.set_log_start(wanted.next_offset.advanced(400));
    let paths = bench.log.plan_remove_segments();
    assert!(!paths.is_empty());
    for path in paths {
        block_on(bench.disk.remove_file(&path)).unwrap();
    }
    assert_eq!(run(second).unwrap().slices.concat(), wanted.slices.concat(), "the file was open");
    let mut bench = on_disk(6, 200);
    bench.write_all_and_evict();
    bench.restart();
    let (late, later) = (plan(&bench), plan(&bench));
    block_on(bench.disk.remove_file(&segment_file(&dir(), Offset::ZERO))).unwrap();
    let Err(DiskReadError::Damaged(damage)) = run(late) else { panic!("a file that nobody removed is missed") };
    assert_eq!(damage.kind, crate::damage::DamageKind::FileMissing);
    bench.log.set_log_start(bench.log.log_end_offset());
    assert!(!bench.log.plan_remove_segments().is_empty());
    assert!(matches!(run(later), Err(DiskReadError::Removed)));
}

#[test]
fn behind_damage_in_a_segment_without_an_index_the_rest_is_found_again() {
    for (rolled, bad) in [(false, 30), (true, 30), (false, 299)] {
        let mut bench = Bench::new(8, 1 << 20);
        for _ in 0..300 {
            bench.append(1, 1000);
        }
        bench.write_all_and_evict();
        let position = 4096 + bad * 1100 + 10;
        bench.disk.flip_bit(&segment_file(&dir(), Offset::ZERO), position, 1);
        bench.restart();
        if rolled {
            bench.append(1, 1_000_000);
            bench.append(1, 10);
            bench.write_all_and_evict();
            bench.restart();
            assert_eq!(bench.log.checkpoint(Offset::ZERO).sealed.len(), 1);
        }
        let end = bench.log.log_end_offset();
        let Err(DiskReadError::Damaged(damage)) = run(bench.log.read(Offset(bad), 1 << 20, end).unwrap()) else {
            panic!("damage at {bad} is not noticed");
        };
        assert_eq!((damage.range.from, damage.range.until), (Offset(bad), Offset(bad + 1)), "{damage}");
        let rest = usize::try_from(bad + 1).unwrap();
        assert_eq!(bench.read_all(Offset(bad + 1), 2 << 20), bench.bytes_from(rest));
    }
}

#[test]
fn after_a_restart_what_was_there_before_is_found_without_an_index() {
    let mut bench = Bench::new(8, 1 << 20);
    for _ in 0..300 {
        bench.append(1, 1000);
    }
    bench.write_back(WriteBackKind::WholeBlocks { at_least: 1 });
    bench.flush();
    bench.restart();
    for _ in 0..300 {
        bench.append(1, 1000);
    }
    bench.write_all_and_evict();
    for frame in [0, 150, 290, 299, 300, 301, 599] {
        assert_eq!(bench.read_all(Offset(frame as u64), 50_000), bench.bytes_from(frame));
    }
    // Rolled, its footer covers both lives.
    bench.append(1, 600_000);
    bench.write_all_and_evict();
    bench.restart();
    assert_eq!(bench.log.checkpoint(Offset::ZERO).sealed.len(), 1);
    assert_eq!(bench.log.checkpoint(Offset::ZERO).sealed[0].append_time_ms_max, 5990);
    for frame in [0, 299, 300, 599] {
        assert_eq!(bench.read_all(Offset(frame as u64), 1 << 20), bench.bytes_from(frame));
    }
}

#[test]
fn timestamps_are_found_in_segments_and_in_memory() {
    let mut bench = on_disk(9, 300);
    for step in 0..3 {
        match step {
            0 => {}
            1 => bench.write_all_and_evict(),
            _ => bench.restart(),
        }
        for n in (0..300).step_by(17) {
            let wanted = bench.frames[n].header;
            if wanted.base_offset() < bench.log.log_start_offset() {
                continue;
            }
            let lookup = bench.log.offset_for_timestamp(wanted.max_timestamp_ms.to_native() - 3);
            let found = block_on(lookup.run()).unwrap().unwrap();
            assert_eq!((found.offset, found.timestamp_ms), (wanted.base_offset(), wanted.max_timestamp_ms.to_native()));
        }
        let past_the_end = i64::try_from(bench.log.log_end_offset().0).unwrap() * 10;
        assert_eq!(block_on(bench.log.offset_for_timestamp(past_the_end).run()).unwrap(), None);
        let mut log_start = bench.frames[40 + step * 30].header.base_offset();
        log_start.0 += 1;
        bench.log.set_log_start(log_start);
        let first = bench.frames.iter().find(|frame| frame.header.next_offset() > log_start).unwrap();
        let found = block_on(bench.log.offset_for_timestamp(0).run()).unwrap().unwrap();
        assert_eq!(found.offset, log_start.max(first.header.base_offset()));
    }
}

#[test]
fn whatever_rots_what_is_served_is_what_was_appended() {
    for seed in 0..30 {
        let mut random = Random::new(seed);
        let mut bench = on_disk(seed, 120);
        bench.write_all_and_evict();
        bench.restart();
        for (path, bytes) in bench.disk.files() {
            for _ in 0..random.below(6) {
                bench.disk.flip_bit(&path, random.below(bytes.len() as u64), random.below(8) as u8);
            }
        }
        let end = bench.log.log_end_offset();
        let (mut offset, mut served) = (Offset::ZERO, 0);
        while offset < end {
            match bench.log.read(offset, 150_000, end).map(run) {
                Ok(Ok(frames)) => {
                    let first = bench.frames.iter().position(|frame| frame.header.next_offset() > offset).unwrap();
                    let (given, wanted) = (frames.slices.concat(), bench.bytes_from(first));
                    assert!(!given.is_empty() && wanted.starts_with(&given), "seed {seed}, offset {offset}");
                    served += given.len();
                    offset = frames.next_offset;
                }
                Ok(Err(DiskReadError::Damaged(damage))) => {
                    let range = damage.range;
                    assert!(
                        range.from <= offset && offset < range.until && range.until <= end,
                        "seed {seed}, offset {offset}: {damage}"
                    );
                    bench.log.quarantine(range);
                }
                Err(ReadRefusal::Damaged { until, .. }) => offset = until,
                other => panic!("seed {seed}, offset {offset}: {:?}", other.map(|read| read.map(|frames| frames.next_offset))),
            }
        }
        assert!(served > 0, "seed {seed}");
        let _ = block_on(bench.log.offset_for_timestamp(i64::try_from(end.0).unwrap() * 5).run());
    }
}

#[test]
fn after_a_restart_a_segment_is_walked_as_far_as_its_readers_come() {
    for seed in 0..2 {
        let mut bench = Bench::new(seed, 64 << 20);
        for _ in 0..600 {
            bench.append(2, 4000);
        }
        bench.write_all_and_evict();
        bench.restart();
        let segment = bench.log.open.front().unwrap().file.clone();
        let (end, file_len) = (bench.log.log_end_offset(), 600 * 4000);
        let read = |offset: Offset| run(bench.log.read(offset, 10_000, end).unwrap()).unwrap();
        assert_eq!(segment.walked_to(), None, "a restart walks nothing");
        read(Offset::ZERO);
        assert!(segment.walked_to().unwrap() < 16 * 1024, "the first frame is all that its reader needs");
        read(Offset(end.0 / 2));
        let half = segment.walked_to().unwrap();
        assert!((file_len / 3..file_len * 2 / 3).contains(&half), "{half} of {file_len} bytes");
        // Readers here and there: what was walked is not walked again, and every frame is the right one.
        let mut random = Random::new(seed);
        for _ in 0..200 {
            let offset = Offset(random.below(end.0 - 1));
            let at = bench.frames.iter().position(|frame| frame.header.next_offset() > offset).unwrap();
            let given = read(offset).slices.concat();
            assert!(!given.is_empty() && bench.bytes_from(at).starts_with(&given), "seed {seed}, offset {offset}");
            assert!(segment.walked_to().unwrap() >= half);
        }
        // Damage behind all that was read changes nothing for those who read before it.
        let (path, bytes) = bench.disk.files().into_iter().find(|(path, _)| path == segment.path()).unwrap();
        bench.restart();
        bench.disk.flip_bit(&path, bytes.len() as u64 * 3 / 4, 3);
        let given = run(bench.log.read(Offset(end.0 / 4), 10_000, end).unwrap()).unwrap().slices.concat();
        assert!(bench.bytes_from(bench.frames.len() / 4).starts_with(&given) && !given.is_empty());
    }
}

#[test]
fn a_segment_that_ends_in_a_restart_is_not_walked_for_its_index() {
    {
        let seed = 1;
        let mut bench = Bench::new(seed, 12 << 20);
        for _ in 0..240 {
            bench.append(2, 40_000);
        }
        bench.write_all_and_evict();
        // These are in the journal only, and fill the segment while they are replayed.
        for _ in 0..80 {
            bench.append(2, 40_000);
        }
        let checkpoint = bench.log.checkpoint(Offset::ZERO);
        bench.log = Log::restore(bench.disk.clone(), dir(), &checkpoint, bench.config, bench.memory.clone());
        bench.replay();
        bench.write_all_and_evict();
        let (segment, extent) = (bench.log.sealed[0].file.clone(), bench.log.sealed[0].extent());
        let epochs = LeaderEpochHistory::default();
        let reading = Reading { turns: &Turns::UNPACED, epochs: &epochs };
        let index = block_on(segment.index(&extent, reading)).unwrap();
        assert!(index.offsets.unread_at(Offset::ZERO).is_some(), "seed {seed}: the part before the restart was left unread");
        assert!(index.is_partial() && bench.log.sealed[0].info.has_footer, "its times may be any, and it has a footer");

        // The scrubber holds what the footer says against the frames, and nothing that it leaves open.
        let (info, bytes) = (bench.log.sealed[0].info, bench.disk.files()[segment.path()].clone());
        let block = &bytes[bytes.len() - BLOCK_LEN..];
        let trailer = SegmentTrailer::decode_expecting(block, info.file_len, segment.id, Offset::ZERO).unwrap();
        let mut check = FooterCheck::new(trailer, block_on(segment.footer(&extent, &Turns::UNPACED)).unwrap(), info);
        let file = block_on(segment.open(extent.end_offset)).unwrap();
        let range = block_on(segment.walk_from_start(&file, &extent, reading)).unwrap();
        let mut reader = reading.reader(file, range, Offset::ZERO, 1 << 20);
        let mut end_position = 0;
        while let Some(frame) = block_on(reader.next()).unwrap() {
            check.on_frame(&frame);
            end_position = frame.position + frame.header.frame_len() as u64;
        }
        assert_eq!(check.finish(end_position), None, "seed {seed}");

        let end = bench.log.log_end_offset();
        let read = |log: &Log<_>, offset: Offset| run(log.read(offset, 50_000, end).unwrap()).unwrap().slices.concat();
        read(&bench.log, Offset::ZERO);
        assert!(segment.walked_to().unwrap() < 64 * 1024, "seed {seed}: the first frame is all that its reader needs");
        let mut random = Random::new(seed);
        for _ in 0..100 {
            let offset = Offset(random.below(end.0));
            let at = bench.frames.iter().position(|frame| frame.header.next_offset() > offset).unwrap();
            let given = read(&bench.log, offset);
            assert!(!given.is_empty() && bench.bytes_from(at).starts_with(&given), "seed {seed}, offset {offset}");
        }
        for n in [0, 70, 239, 240, 310] {
            let wanted = bench.frames[n].header;
            let lookup = bench.log.offset_for_timestamp(wanted.max_timestamp_ms.to_native() - 3);
            let found = block_on(lookup.run()).unwrap().unwrap();
            assert_eq!((found.offset, found.timestamp_ms), (wanted.base_offset(), wanted.max_timestamp_ms.to_native()));
        }
        // Damage in the part that was left unread takes its own frame and nothing behind it, whoever meets it first.
        let bad = bench.frames[100].header;
        bench.disk.flip_bit(segment.path(), 100 * 40_200, 3);
        let found =
            bench.frames.iter().position(|frame| run(bench.log.read(frame.header.base_offset(), 50_000, end).unwrap()).is_err());
        let damaged = &bench.frames[found.expect("the flipped bit is in a frame")].header;
        assert!(
            damaged.base_offset().0.abs_diff(bad.base_offset().0) < 8,
            "{} near {}",
            damaged.base_offset(),
            bad.base_offset()
        );
        let error = run(bench.log.read(damaged.base_offset(), 50_000, end).unwrap()).expect_err("still damaged");
        let DiskReadError::Damaged(damage) = error else { panic!("{error}") };
        assert_eq!((damage.range.from, damage.range.until), (damaged.base_offset(), damaged.next_offset()));
    }
}
