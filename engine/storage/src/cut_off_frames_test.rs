//! Frames that an earlier truncation cut off and that the write over them never reached: whole, of their partition, at
//! their offsets, and they follow what stands before them as well as the frame that took their place does.

use crate::damage::DamagedRange;
use crate::layout::segment_file;
use crate::log::tests::{Bench, address, dir};
use crate::read_plan::DiskReadError;
use crate::scrub::tests::scrub_log;
use crate::testing::executor::block_on;
use sluice_model::{FRAME_HEADER_LEN, LeaderEpoch, Offset};

/// A log of one segment on disk, in which two such frames stand in the place of the fifth one; gives back what is lost.
fn bench_with_cut_off_frames(restarted: bool) -> (Bench, DamagedRange) {
    let mut bench = Bench::new(5, 64 << 20);
    (0..4).for_each(|_| bench.append(2, 300));
    let mut earlier = bench.source.clone();
    let cut_off = [earlier.next(1, 300), earlier.next(1, 300)].map(|frame| frame.bytes()).concat();
    bench.source.leader_epoch = LeaderEpoch(2);
    (0..3).for_each(|_| bench.append(3, 900));
    bench.write_all_and_evict();
    if restarted {
        bench.restart();
    }
    let (path, header) = (segment_file(&dir(), Offset::ZERO), bench.frames[4].header);
    let file = bench.disk.files()[&path].clone();
    let at = file.windows(FRAME_HEADER_LEN).position(|bytes| bytes == header.as_bytes()).expect("it is in the file");
    assert!(cut_off.len() < header.frame_len());
    for (position, (there, earlier)) in (at..).zip(file[at..].iter().zip(&cut_off)) {
        let bits = (0..8).filter(|bit| (there ^ earlier) >> bit & 1 == 1);
        bits.for_each(|bit| bench.disk.flip_bit(&path, position as u64, bit));
    }
    (bench, DamagedRange { from: header.base_offset(), until: header.next_offset() })
}

#[test]
fn the_scrubber_names_what_stands_there_no_more_and_no_less() {
    for restarted in [false, true] {
        let (mut bench, lost) = bench_with_cut_off_frames(restarted);
        let findings = scrub_log(&mut bench.log, None);
        let named: Vec<_> = findings.iter().filter_map(|finding| finding.lost).collect();
        assert_eq!(named, [lost], "restarted: {restarted}: {findings:?}");
        assert_eq!(bench.log.damaged(), [lost], "restarted: {restarted}");
    }
}

#[test]
fn no_search_by_time_finds_them() {
    for restarted in [false, true] {
        let (bench, lost) = bench_with_cut_off_frames(restarted);
        // The later one of the two has this time, and the frame that took their place has an earlier one.
        let timestamp_ms = i64::try_from(lost.from.0 + 1).unwrap() * 10;
        match block_on(bench.log.offset_for_timestamp(timestamp_ms).run()) {
            Ok(found) => assert_eq!(found.map(|found| found.offset), Some(lost.until), "restarted: {restarted}"),
            Err(DiskReadError::Damaged(damage)) => assert_eq!(damage.range.from, lost.from, "restarted: {restarted}"),
            Err(error) => panic!("restarted: {restarted}: {error}"),
        }
    }
}

#[test]
fn a_later_truncation_counts_none_of_them_among_what_stays() {
    for restarted in [false, true] {
        let (mut bench, lost) = bench_with_cut_off_frames(restarted);
        let end_offset = bench.frames[6].header.base_offset();
        let truncation = block_on(bench.log.plan_truncate(end_offset).run()).unwrap();
        assert_eq!(truncation.end_offset(), end_offset, "restarted: {restarted}");
        bench.log.truncate(truncation, address(100));
        let damaged = bench.log.damaged();
        assert_eq!((damaged.len(), damaged[0].from), (1, lost.from), "restarted: {restarted}: {damaged:?}");
    }
}
