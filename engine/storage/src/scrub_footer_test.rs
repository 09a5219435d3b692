//! What a footer says is held against the frames, and segments that end in or after a restart have no findings.

use super::tests::{placed_frames, scrub_log, small_shard};
use super::*;
use crate::disk::DiskFile;
use crate::layout::segment_file;
use crate::log::tests::{Bench, address};
use crate::scrub_finding::ScrubKind;
use crate::segment_format::SegmentTrailer;
use crate::testing::executor::block_on;
use crate::testing::fault_disk::FaultDisk;
use crate::testing::frames::test_partition;
use crate::testing::test_shard::{TestShard, TestSizes};
use crate::write_back::WriteBackKind;
use sluice_model::LeaderEpoch;

#[test]
fn a_footer_that_verifies_and_lies_is_found() {
    let (mut shard, files) = small_shard(36);
    let id = test_partition(0);
    let (path, _, end, _) = &files[0];
    let disk = shard.disk.clone();
    let bytes = disk.files()[path].clone();
    let end_at = usize::try_from(*end).expect("a small file");
    let trailer = SegmentTrailer::decode(&bytes[end_at - BLOCK_LEN..], *end).expect("a good trailer");
    let footer_at = usize::try_from(trailer.footer_position).expect("a small file");
    let footer =
        crate::segment_format::SegmentFooter::decode(&bytes[footer_at..end_at - BLOCK_LEN], &trailer).expect("a good one");
    let header = crate::segment_format::SegmentHeader::decode(&bytes[..BLOCK_LEN]).expect("a good header");
    let said = crate::segment_format::SegmentEnd {
        header,
        next_offset: trailer.next_offset,
        end_position: trailer.end_position,
        footer_position: trailer.footer_position,
        last_header_crc: trailer.last_header_crc,
    };
    let shift = |position: u64| said.end_position - position;
    type Lie = (&'static str, Box<dyn Fn(&mut crate::segment_format::SegmentFooter, &mut crate::segment_format::SegmentEnd)>);
    let last_end = shift(1);
    let lies: Vec<Lie> = vec![
        ("frame_count", Box::new(|footer, _| footer.index.frame_count += 1)),
        ("next_offset", Box::new(|_, end| end.next_offset = Offset(end.next_offset.0 + 1))),
        ("last_header_crc", Box::new(|_, end| end.last_header_crc ^= 1)),
        ("end_position", Box::new(move |_, end| end.end_position = last_end)),
        ("greatest times", Box::new(|footer, _| footer.index.timestamp_ms_max += 1)),
        ("greatest times", Box::new(|footer, _| footer.index.append_time_ms_max -= 1)),
        ("epochs", Box::new(|footer, _| footer.epochs.on_append(LeaderEpoch(99), Offset(1000)))),
        ("epochs", Box::new(|footer, _| footer.epochs.truncate(Offset(1)))),
        ("offset_index", Box::new(|footer, _| footer.index.offsets = crate::offset_index::OffsetIndex::default())),
    ];
    for (field, lie) in lies {
        let (mut footer, mut end) = (footer.clone(), said);
        lie(&mut footer, &mut end);
        let (written, _) = footer.encode(&end);
        let handle = block_on(disk.open(path, OpenMode::Existing)).expect("it is there");
        block_on(handle.write_at(said.footer_position, written)).expect("it can be written");
        let findings = scrub_log(shard.log(id), Some(Offset::ZERO));
        let kinds: Vec<ScrubKind> = findings.iter().map(|finding| finding.kind).collect();
        assert_eq!(kinds, [ScrubKind::Disagrees { field }], "{findings:?}");
        assert!(findings.iter().all(|finding| finding.lost.is_none()));
    }
}

#[test]
fn a_footer_written_after_a_restart_says_where_the_last_frame_ends() {
    let sizes = TestSizes { segment_len: 11 * 1024, ..TestSizes::default() };
    for (body_len, count) in [(700, 1), (3900, 1), (3996, 2), (1200, 4)] {
        let what = format!("{count} frames of {body_len}");
        let mut shard = TestShard::start(&FaultDisk::new(1), 1, sizes).expect("a new shard");
        let mut source = shard.source(test_partition(0), 7);
        for _ in 0..count {
            shard.append(&source.next(1, body_len));
            shard.commit();
        }
        shard.write_back(WriteBackKind::Everything);
        (0..2).for_each(|_| (shard.flush(), shard.checkpoint()).1);
        let mut shard = TestShard::start(&shard.disk, 2, sizes).expect("a restart");
        let frame = shard.source(test_partition(0), 8).next(1, 10_000);
        shard.append(&frame);
        shard.commit();
        shard.write_back(WriteBackKind::Everything);
        shard.flush();
        let log = shard.log(test_partition(0));
        let sealed = log.sealed.front().expect("the next frame has no room in the first segment").info;
        assert_eq!(scrub_log(log, None), [], "{what}");
        let bytes = log.disk.files()[&segment_file(log.dir(), sealed.base_offset)].clone();
        let block = &bytes[usize::try_from(sealed.file_len).unwrap() - BLOCK_LEN..];
        let trailer = SegmentTrailer::decode(block, sealed.file_len).expect("a trailer");
        let last = placed_frames(&bytes).into_iter().rfind(|placed| placed.offsets.until <= sealed.next_offset);
        assert_eq!(Some(trailer.end_position), last.map(|placed| placed.bytes.end), "{what}");
    }
}

#[test]
fn a_frame_that_was_begun_goes_on_where_it_is_when_segments_are_shorter_now() {
    let (long, short) = (TestSizes::default(), TestSizes { segment_len: 8 * 1024, ..TestSizes::default() });
    let id = test_partition(0);
    let mut shard = TestShard::start(&FaultDisk::new(1), 1, long).expect("a new shard");
    let mut source = shard.source(id, 7);
    for body_len in [3000, 7000] {
        shard.append(&source.next(1, body_len));
        shard.commit();
        if body_len == 3000 {
            shard.write_back(WriteBackKind::Everything);
        }
    }
    shard.write_back(WriteBackKind::WholeBlocks { at_least: 1 });
    shard.flush();
    shard.checkpoint();
    let point = *shard.log(id).held.point();
    assert!(point.next_frame_position < point.position && point.offset > point.segment_base, "{point:?}");
    let mut shard = TestShard::start(&shard.disk, 2, short).expect("a restart with shorter segments");
    let frame = shard.source(id, 8).next(1, 500);
    shard.append(&frame);
    shard.commit();
    shard.write_back(WriteBackKind::Everything);
    shard.flush();
    assert_eq!(shard.log(id).sealed.front().expect("one is full").info.next_offset, Offset(2));
    assert_eq!(scrub_log(shard.log(id), None), []);
    assert_eq!(shard.read_all(id).len(), 3);
}

/// All of the segment lay below the log start then, and no epoch began before its end but the one that was cut off.
#[test]
fn a_footer_that_was_written_when_all_was_deleted_is_no_finding() {
    let mut bench = Bench::new(3, 1 << 20);
    (0..3).for_each(|_| bench.append(2, 500));
    bench.source.leader_epoch = LeaderEpoch(2);
    (0..2).for_each(|_| bench.append(2, 500));
    bench.write_all_and_evict();
    bench.log.set_log_start(Offset(6));
    let truncation = block_on(bench.log.plan_truncate(Offset(6)).run()).expect("nothing is damaged");
    assert!(truncation.tables().0.entries().is_empty(), "the epoch that spanned the log start is gone");
    bench.log.truncate(truncation, address(100));
    let cut = block_on(bench.log.plan_cut().expect("a segment to be cut").run()).expect("the device works");
    bench.log.on_cut(cut);
    assert_eq!(scrub_log(&mut bench.log, None), []);
}
