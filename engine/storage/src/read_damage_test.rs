//! What damage costs a reader, from a device that fails to read as from one whose bytes rot: the frames in it, and no
//! others.

use super::*;
use crate::damage::DamageKind;
use crate::layout::segment_file;
use crate::log::tests::{Bench, address, dir};
use crate::testing::executor::block_on;
use crate::testing::fault_disk::{FaultDisk, FaultKind};
use crate::testing::frames::{FrameSource, TestFrame};
use crate::write_back::WriteBackKind;
use sluice_model::limits::BLOCK_LEN;
use std::ops::Range;

const BLOCK: u64 = BLOCK_LEN as u64;

/// Reads everything as a consumer does that goes on behind what is damaged; gives back the frames that it got, and
/// what is quarantined for it.
fn read_around(bench: &mut Bench) -> (Vec<u8>, Vec<DamagedRange>) {
    let (mut offset, end, mut bytes) = (bench.log.log_start_offset(), bench.log.log_end_offset(), Vec::new());
    while offset < end {
        match bench.log.read(offset, 150_000, end) {
            Ok(ReadPlan::Disk(read)) => match block_on(read.run()) {
                Ok(frames) => {
                    assert!(frames.next_offset > offset, "no progress at {offset}");
                    bytes.extend(frames.slices.concat());
                    offset = frames.next_offset;
                }
                Err(DiskReadError::Damaged(damage)) => {
                    let DamagedRange { from, until } = damage.range;
                    assert!(from <= offset && offset < until, "at {offset}: {damage}");
                    bench.log.quarantine(damage.range);
                }
                Err(error) => panic!("at {offset}: {error}"),
            },
            Ok(ReadPlan::Memory(frames)) => {
                bytes.extend(frames.slices.concat());
                offset = frames.next_offset;
            }
            Ok(ReadPlan::Empty) => panic!("nothing at {offset} below {end}"),
            Err(ReadRefusal::Damaged { until, .. }) => offset = until,
            Err(refusal) => panic!("at {offset}: {refusal:?}"),
        }
    }
    (bytes, bench.log.damaged().to_vec())
}

/// Where each frame stands in the first segment.
fn placed(disk: &FaultDisk, frames: &[TestFrame]) -> Vec<Range<u64>> {
    let bytes = disk.files()[&segment_file(&dir(), Offset::ZERO)].clone();
    let mut position = BLOCK_LEN;
    let place = |frame: &TestFrame| {
        let wanted = frame.header.as_bytes();
        if !bytes[position..].starts_with(wanted) {
            position = position.next_multiple_of(BLOCK_LEN);
        }
        assert!(bytes[position..].starts_with(wanted), "{:?} stands at {position}", frame.header);
        let placed = position as u64..(position + frame.header.frame_len()) as u64;
        position = placed.end as usize;
        placed
    };
    frames.iter().map(place).collect()
}

/// A log in one segment on disk, a few frames to a block and some of many blocks.
fn one_segment(seed: u64, restarted: bool) -> Bench {
    let mut bench = Bench::new(seed, 64 << 20);
    for n in 0..160 {
        bench.append(1 + n % 3, [700, 1500, 90, 9000][n as usize % 4]);
    }
    bench.write_all_and_evict();
    if restarted {
        bench.restart();
    }
    bench
}

/// The frames with a byte in `bad`, and the others.
fn split(bench: &Bench, bad: &Range<u64>) -> (Vec<DamagedRange>, Vec<u8>) {
    let (mut lost, mut rest) = (Vec::new(), Vec::new());
    for (frame, at) in bench.frames.iter().zip(placed(&bench.disk, &bench.frames)) {
        if at.start < bad.end && bad.start < at.end {
            lost.push(DamagedRange { from: frame.header.base_offset(), until: frame.header.next_offset() });
        } else {
            rest.extend(frame.bytes());
        }
    }
    (crate::damaged_ranges::joined(&[], &lost), rest)
}

#[test]
fn a_block_that_cannot_be_read_costs_the_frames_in_it_and_no_others() {
    let path = segment_file(&dir(), Offset::ZERO);
    for restarted in [false, true] {
        let whole = one_segment(1, restarted);
        let blocks = placed(&whole.disk, &whole.frames).last().unwrap().end.div_ceil(BLOCK);
        for (block, count) in (1..blocks).map(|block| (block, 1)).step_by(3).chain([(7, 2), (20, 30), (blocks - 1, 1)]) {
            let what = format!("{count} block(s) from {block} of {blocks} on, restarted: {restarted}");
            let mut bench = one_segment(1, restarted);
            let bad = block * BLOCK..(block + count) * BLOCK;
            let (lost, rest) = split(&bench, &bad);
            bench.disk.make_unreadable(&path, bad);
            let (given, damaged) = read_around(&mut bench);
            assert_eq!(damaged, lost, "{what}");
            assert!(given == rest, "{what}: {} bytes of {}", given.len(), rest.len());
        }
    }
}

/// Of a segment that still grows the older frames are on disk and the newer ones in memory. Those on disk lead up to the first
/// one in memory, which says what it follows.
#[test]
fn behind_damage_frames_are_proved_by_the_first_one_that_is_in_memory() {
    let mut bench = Bench::new(6, 64 << 20);
    (0..6).for_each(|_| bench.append(1, 300));
    bench.write_all_and_evict();
    (0..3).for_each(|_| bench.append(1, 300));
    let place = placed(&bench.disk, &bench.frames[..6])[2].clone();
    bench.disk.flip_bit(&segment_file(&dir(), Offset::ZERO), place.start + 20, 3);
    let (given, damaged) = read_around(&mut bench);
    assert_eq!(damaged, [DamagedRange { from: Offset(2), until: Offset(3) }]);
    let others = bench.frames.iter().filter(|frame| frame.header.base_offset() != Offset(2));
    assert!(given == others.flat_map(TestFrame::bytes).collect::<Vec<u8>>(), "{} bytes are served", given.len());
}

#[test]
fn a_read_that_fails_once_costs_nothing() {
    for restarted in [false, true] {
        for nth in 0..12 {
            let mut bench = one_segment(2, restarted);
            bench.disk.fail(FaultKind::Read, nth);
            bench.disk.fail(FaultKind::Open, 0);
            let (given, damaged) = read_around(&mut bench);
            assert!(given == bench.bytes_from(0) && damaged.is_empty(), "read {nth} fails, restarted: {restarted}: {damaged:?}");
        }
    }
}

#[test]
fn what_the_device_does_not_give_is_called_so() {
    let mut bench = one_segment(3, false);
    let path = segment_file(&dir(), Offset::ZERO);
    bench.disk.make_unreadable(&path, 3 * BLOCK..4 * BLOCK);
    let first = bench.frames.iter().zip(placed(&bench.disk, &bench.frames)).find(|(_, at)| at.end > 3 * BLOCK).unwrap().0;
    let Ok(ReadPlan::Disk(read)) = bench.log.read(first.header.base_offset(), 1 << 20, bench.log.log_end_offset()) else {
        panic!("it is on disk");
    };
    let Err(DiskReadError::Damaged(damage)) = block_on(read.run()) else { panic!("a bad block is not noticed") };
    assert_eq!((damage.kind, damage.range.from), (DamageKind::Unreadable, first.header.base_offset()));
    // A device that gives nothing of the file costs all of it, and nobody waits for ever.
    bench.disk.fail_from(FaultKind::Read, 0);
    let (given, damaged) = read_around(&mut bench);
    assert_eq!((given.len(), damaged), (0, vec![DamagedRange { from: Offset::ZERO, until: bench.log.log_end_offset() }]));
}

/// Three sealed segments and an active one, restarted.
fn segments(seed: u64) -> Bench {
    let mut bench = Bench::new(seed, 200_000);
    for _ in 0..290 {
        bench.append(1, 2000);
    }
    bench.write_all_and_evict();
    bench.restart();
    assert!(bench.log.sealed.len() >= 2 && !bench.log.open[0].is_empty());
    bench
}

#[test]
fn neither_header_nor_footer_of_a_segment_is_needed_to_serve_it() {
    let (shape, mut bases) = (segments(4), Vec::new());
    bases.extend(shape.log.sealed.iter().map(|segment| (segment.info.base_offset, segment.info.file_len)));
    bases.push((shape.log.open[0].base_offset, 0));
    for (at, (base, file_len)) in bases.iter().enumerate() {
        for rots in [false, true] {
            let mut bench = segments(4);
            let path = segment_file(&dir(), *base);
            let footer = (*file_len > 0).then(|| file_len - 2 * BLOCK..*file_len);
            for bytes in [Some(0..BLOCK), footer].into_iter().flatten() {
                match rots {
                    true => bytes.step_by(1024).for_each(|position| bench.disk.flip_bit(&path, position + 20, 3)),
                    false => bench.disk.make_unreadable(&path, bytes),
                }
            }
            // Retention may have taken the segment before it, which says what its first frame follows.
            if at > 0 {
                let info = shape.log.sealed[at - 1].info;
                bench.log.set_log_start(info.next_offset);
                bench.log.plan_remove_segments();
                let checkpoint = bench.log.checkpoint(Offset::ZERO);
                bench.log = Log::restore(bench.disk.clone(), dir(), &checkpoint, bench.config, bench.memory.clone());
            }
            let first = usize::try_from(bench.log.log_start_offset().0).unwrap();
            let (given, damaged) = read_around(&mut bench);
            assert!(given == bench.bytes_from(first) && damaged.is_empty(), "segment {base}, rots: {rots}: {damaged:?}");
        }
    }
}

/// A record with a sealed header that names a long body, at an offset far above its own.
fn forging(source: &mut FrameSource, seed: u64, ahead: u64, whole_frames: usize) -> TestFrame {
    let mut forger = FrameSource::new(source.id, seed);
    forger.next_offset = Offset(source.next_offset.0 + ahead);
    let mut body = vec![7; 60];
    (0..whole_frames).for_each(|_| body.extend(forger.next(1, 40).bytes()));
    body.extend(&forger.next(1, 50_000).bytes()[..sluice_model::FRAME_HEADER_LEN]);
    body.extend([9; 80]);
    source.next_with(1, body)
}

#[test]
fn a_forged_header_hides_no_good_frame_behind_it() {
    for (ahead, whole_frames) in [(1, 0), (2, 0), (100, 0), (2, 3), (100, 2)] {
        let what = format!("{whole_frames} whole frames and a header, {ahead} offsets ahead");
        let mut bench = Bench::new(5, 64 << 20);
        for n in 0..250 {
            if n == 60 {
                let frame = forging(&mut bench.source, 6, ahead, whole_frames);
                bench.log.append(&frame.header, &frame.body, address(bench.frames.len()));
                bench.frames.push(frame);
            } else {
                bench.append(1, 1000);
            }
        }
        bench.write_back(WriteBackKind::Everything);
        bench.flush();
        let position = placed(&bench.disk, &bench.frames)[60].start;
        bench.disk.flip_bit(&segment_file(&dir(), Offset::ZERO), position + 30, 4);
        let lost = [DamagedRange { from: Offset(60), until: Offset(61) }];
        let rest = [&bench.bytes_from(0)[..60 * 1100], &bench.bytes_from(61)].concat();
        // With the index in memory, and without one.
        while bench.log.evict_oldest_clean() > 0 {}
        assert_eq!(read_around(&mut bench), (rest.clone(), lost.to_vec()), "{what}, with an index");
        bench.restart();
        bench.log.forget_damage();
        assert_eq!(read_around(&mut bench), (rest, lost.to_vec()), "{what}, without one");
    }
}

/// A log whose first segment was deleted, so that only the header block of the next one says what its first frame
/// follows; that rots, the footer too, and a frame near the end.
#[test]
fn a_rotten_header_block_costs_nothing_where_frames_behind_it_are_bad_too() {
    for is_sealed in [true, false] {
        let mut bench = Bench::new(51, 200_000);
        for _ in 0..(if is_sealed { 400 } else { 300 }) {
            bench.append(2, 1000);
        }
        bench.write_all_and_evict();
        let first = bench.log.sealed.front().expect("it is sealed").info.next_offset;
        let mut checkpoint = bench.log.checkpoint(Offset::ZERO);
        checkpoint.sealed.retain(|info| info.base_offset == first);
        assert_eq!(checkpoint.sealed.len(), usize::from(is_sealed));
        checkpoint.log_start_offset = first;
        let path = segment_file(&dir(), first);
        let begin = bench.frames.iter().position(|frame| frame.header.base_offset() == first).expect("a boundary");
        let end = checkpoint.sealed.first().map_or(bench.log.log_end_offset(), |info| info.next_offset);
        let count = bench.frames[begin..].iter().take_while(|frame| frame.header.base_offset() < end).count();
        let at = |frame: usize| BLOCK + frame as u64 * 1100;
        bench.disk.flip_bit(&path, 40, 1);
        if let Some(info) = checkpoint.sealed.first() {
            bench.disk.flip_bit(&path, info.file_len - 20, 1);
        }
        bench.disk.flip_bit(&path, at(count - 2) + 20, 1);
        bench.log = Log::restore(bench.disk.clone(), dir(), &checkpoint, bench.config, bench.memory.clone());
        let read = |offset| match bench.log.read(offset, 50_000, bench.log.log_end_offset()) {
            Ok(ReadPlan::Disk(read)) => block_on(read.run()).map(|frames| frames.slices.concat()),
            _ => panic!("{offset} is on disk"),
        };
        for frame in 0..count - 2 {
            let given = read(bench.frames[begin + frame].header.base_offset()).unwrap_or_else(|error| panic!("{frame}: {error}"));
            assert!(bench.bytes_from(begin + frame).starts_with(&given) && !given.is_empty(), "{frame}");
        }
        let bad = bench.frames[begin + count - 2].header;
        let Err(DiskReadError::Damaged(damage)) = read(bad.base_offset()) else { panic!("it is damaged") };
        assert!(damage.range.from == bad.base_offset(), "{damage}");
        // A truncation keeps what lies below it, and the file.
        if !is_sealed {
            let cut = bench.frames[begin + count / 2].header.base_offset();
            let truncation = block_on(bench.log.plan_truncate(cut).run()).expect("it can be cut");
            assert_eq!(truncation.end_offset(), cut);
            bench.log.truncate(truncation, address(1000));
            let plan = bench.log.plan_cut().expect("files are to be cut");
            let done = block_on(plan.run()).expect("they can be");
            bench.log.on_cut(done);
            let kept = bench.bytes_from(begin);
            assert!(kept.starts_with(&bench.read_all(first, 50_000)) && bench.log.damaged().is_empty());
        }
    }
}

#[test]
fn a_rotten_header_in_a_sealed_segment_costs_its_frame_alone() {
    // Shorter than what one entry of an index stands for: that the other frames follow one another, the recorded end proves.
    let sealed = || {
        let mut bench = Bench::new(7, 40_000);
        (0..60).for_each(|_| bench.append(2, 1000));
        bench.write_all_and_evict();
        bench
    };
    let end = sealed().log.sealed.front().expect("it is sealed").info.next_offset;
    let path = segment_file(&dir(), Offset::ZERO);
    let count = sealed().frames.iter().take_while(|frame| frame.header.next_offset() <= end).count();
    assert!(count > 20, "{count} frames");
    for nth in 0..count {
        let mut bench = sealed();
        let header = bench.frames[nth].header;
        let bytes = bench.disk.files().remove(&path).expect("a segment");
        let wanted = header.as_bytes();
        let position = bytes.windows(wanted.len()).position(|bytes| bytes == wanted).expect("the frame");
        bench.disk.flip_bit(&path, position as u64 + 30, 2);
        let (given, damaged) = read_around(&mut bench);
        assert_eq!(damaged, [DamagedRange { from: header.base_offset(), until: header.next_offset() }], "frame {nth}");
        let others = bench.frames.iter().enumerate().filter(|(at, _)| *at != nth).flat_map(|(_, frame)| frame.bytes());
        assert!(given == others.collect::<Vec<u8>>(), "frame {nth}: another one is missing");
    }
}

/// It follows the frame before it as well as the one that took its place, and only its leader epoch tells them apart.
#[test]
fn a_frame_that_was_cut_off_is_not_read_where_the_write_over_it_never_arrived() {
    for restarted in [false, true] {
        let mut bench = Bench::new(5, 64 << 20);
        (0..4).for_each(|_| bench.append(2, 300));
        let cut = bench.source.clone().next(3, 500);
        bench.source.leader_epoch = sluice_model::LeaderEpoch(2);
        (0..3).for_each(|_| bench.append(3, 500));
        bench.write_all_and_evict();
        if restarted {
            bench.restart();
        }
        let at = placed(&bench.disk, &bench.frames)[4].clone();
        for (position, (there, stale)) in (at.start..).zip(bench.frames[4].bytes().iter().zip(cut.bytes())) {
            let bits = (0..8).filter(|bit| (there ^ stale) >> bit & 1 == 1);
            bits.for_each(|bit| bench.disk.flip_bit(&segment_file(&dir(), Offset::ZERO), position, bit));
        }
        let (lost, rest) = split_of(&bench, 4);
        let (given, damaged) = read_around(&mut bench);
        assert_eq!(damaged, [lost], "restarted: {restarted}");
        assert!(given == rest, "restarted: {restarted}: {} bytes of {}", given.len(), rest.len());
    }
}

/// The offsets of one frame, and the bytes of the others.
fn split_of(bench: &Bench, lost: usize) -> (DamagedRange, Vec<u8>) {
    let header = bench.frames[lost].header;
    let others = bench.frames.iter().enumerate().filter(|(at, _)| *at != lost);
    let range = DamagedRange { from: header.base_offset(), until: header.next_offset() };
    (range, others.flat_map(|(_, frame)| frame.bytes()).collect())
}

/// A sector that is lost reads as zeros, and so does padding.
#[test]
fn zeros_where_a_frame_begins_hide_no_frame_behind_them_in_its_block() {
    for restarted in [false, true] {
        let mut bench = one_segment(11, restarted);
        let placed = placed(&bench.disk, &bench.frames);
        let shares_block = |at: &usize| {
            let (bad, behind) = (&placed[*at], &placed[*at + 1]);
            !bad.start.is_multiple_of(BLOCK) && bad.start / BLOCK == (behind.start + 100) / BLOCK
        };
        let at = (20..placed.len() - 1).find(shares_block).expect("some frames are small");
        let (lost, rest) = split(&bench, &placed[at]);
        assert_eq!(lost.len(), 1);
        let path = segment_file(&dir(), Offset::ZERO);
        let bytes = bench.disk.files()[&path].clone();
        for position in placed[at].clone() {
            let byte = bytes[usize::try_from(position).unwrap()];
            (0..8).filter(|bit| byte >> bit & 1 == 1).for_each(|bit| bench.disk.flip_bit(&path, position, bit));
        }
        assert!(read_around(&mut bench) == (rest, lost), "frame {at}, restarted: {restarted}: {:?}", bench.log.damaged());
    }
}
