use super::*;
use crate::disk::OpenMode;
use crate::log::LogConfig;
use crate::segment_format::SegmentTrailer;
use crate::testing::executor::block_on;
use crate::testing::fault_disk::{FaultDisk, PowerCut, Unflushed};
use crate::testing::frames::{FrameSource, TestFrame, test_partition};
use crate::testing::test_shard::{TestShard, TestSizes, test_layout};
use crate::write_back::WriteBackKind;
use sluice_model::limits::BLOCK_LEN;
use sluice_model::{FrameHeader, LeaderEpoch};

const SIZES: TestSizes = TestSizes {
    journal_file_blocks: 64,
    journal_file_count: 8,
    group_blocks: 8,
    segment_len: 20 * 1024,
    tail_budget_len: 1 << 20,
};

/// How much of the log is on disk before it is truncated.
#[derive(Clone, Copy, Debug)]
enum State {
    /// Nothing is written.
    Tail,
    /// Whole blocks are, the rest waits in memory.
    WholeBlocks,
    /// All of it, not flushed.
    Written,
    Flushed,
    /// The files are those of a start, of which nothing is in memory.
    Restarted,
}

/// Twenty frames of three records in three leader epochs, by several producers' turns, over some segments.
fn filled(disk: &FaultDisk, state: State, body_len: usize) -> (TestShard, Vec<TestFrame>) {
    let mut shard = TestShard::start(disk, 1, SIZES).unwrap();
    let id = test_partition(1);
    shard.log(id);
    let mut source = FrameSource::new(id, 7);
    let mut frames = Vec::new();
    for n in 0..20u32 {
        source.leader_epoch = LeaderEpoch(1 + n / 7);
        let frame = source.next(3, body_len + 37 * n as usize);
        shard.append(&frame);
        frames.push(frame);
        if n % 4 == 1 {
            match state {
                State::Tail => {}
                State::WholeBlocks | State::Written => {
                    shard.write_back(WriteBackKind::WholeBlocks { at_least: BLOCK_LEN });
                }
                State::Flushed | State::Restarted => {
                    shard.write_back(WriteBackKind::Everything);
                    shard.flush();
                }
            }
        }
    }
    shard.commit();
    match state {
        State::Written => shard.write_back(WriteBackKind::Everything),
        State::Flushed => {
            shard.write_back(WriteBackKind::Everything);
            shard.flush();
            shard.checkpoint();
        }
        State::Restarted => {
            let cut = PowerCut { call: shard.disk.call_count(), unflushed: Unflushed::Lost };
            shard = TestShard::start(&shard.disk.crash(cut), 2, SIZES).unwrap();
        }
        State::Tail | State::WholeBlocks => {}
    }
    (shard, frames)
}

fn bytes_of(frames: &[TestFrame]) -> Vec<Vec<u8>> {
    frames.iter().map(TestFrame::bytes).collect()
}

fn tables_of(frames: &[TestFrame]) -> (LeaderEpochHistory, ProducerTable) {
    let (mut epochs, mut producers) = (LeaderEpochHistory::default(), ProducerTable::default());
    for frame in frames {
        epochs.on_append(frame.header.leader_epoch(), frame.header.base_offset());
        producers.on_append(&frame.header);
    }
    (epochs, producers)
}

/// What the partition's folder says without any checkpoint: every file's trailer, oldest first.
fn trailers(disk: &FaultDisk) -> Vec<SegmentTrailer> {
    let dir = test_layout().partition_dir(test_partition(1));
    let files = disk.files().into_iter().filter(|(path, _)| path.starts_with(&dir));
    files
        .map(|(path, bytes)| {
            let block = &bytes[bytes.len() - BLOCK_LEN..];
            SegmentTrailer::decode(block, bytes.len() as u64).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
        })
        .collect()
}

/// The life of a log after it was truncated to `kept` frames: it is read, appended to, restarted, and truncated no more.
fn check_truncated(mut shard: TestShard, frames: &[TestFrame], what: &str) {
    let id = test_partition(1);
    let end = frames.last().map_or(Offset::ZERO, |frame| frame.header.next_offset());
    assert_eq!(shard.log(id).log_end_offset(), end, "{what}");
    assert_eq!(shard.log(id).oldest_needed_address(), None, "{what}");
    let checkpoint = shard.log(id).checkpoint(Offset::ZERO);
    assert_eq!((checkpoint.epochs, checkpoint.producers), tables_of(frames), "{what}");
    let all = PowerCut { call: shard.disk.call_count(), unflushed: Unflushed::Lost };
    let sealed = trailers(&shard.disk.crash(all));
    assert_eq!(sealed.last().map_or(Offset::ZERO, |trailer| trailer.next_offset), end, "{what}: files alone say where it ends");
    assert!(sealed.is_sorted_by(|a, b| a.next_offset == b.base_offset), "{what}: {sealed:?}");
    assert_eq!(shard.read_all(id), bytes_of(frames), "{what}");
    let mut frames = frames.to_vec();
    for n in 0..9 {
        let mut source = shard.source(id, n);
        source.leader_epoch = LeaderEpoch(9);
        let frame = source.next(2, 2500);
        shard.append(&frame);
        frames.push(frame);
    }
    shard.commit();
    assert_eq!(shard.read_all(id), bytes_of(&frames), "{what}: appended");
    for write in [false, true] {
        if write {
            shard.write_back(WriteBackKind::Everything);
            shard.flush();
            shard.checkpoint();
        }
        let cut = PowerCut { call: shard.disk.call_count(), unflushed: Unflushed::Lost };
        let mut again = TestShard::start(&shard.disk.crash(cut), 3, SIZES).unwrap();
        assert!(again.report().is_clean() && again.report().set_aside.is_empty(), "{what}: {}", again.report());
        assert_eq!(again.read_all(id), bytes_of(&frames), "{what}: restarted");
        let recovered = &again.shard.partitions[&id];
        assert_eq!(
            (&recovered.epochs, &recovered.producers),
            (&tables_of(&frames).0, &tables_of(&frames).1),
            "{what}: restarted"
        );
    }
}

#[test]
fn a_log_is_cut_at_boundaries_and_inside_frames_whatever_is_on_disk() {
    let id = test_partition(1);
    // Frames of less than a block, and of two.
    for body_len in [300, 5000] {
        let states = [State::Tail, State::WholeBlocks, State::Written, State::Flushed, State::Restarted];
        for (number, state) in states.into_iter().enumerate() {
            // Every second boundary, another one in the next state.
            for kept in (number % 2..=20).step_by(2) {
                // At a boundary, and in every fourth frame.
                for inside in [0, 1].into_iter().take(1 + usize::from(kept % 4 == 1)) {
                    let (mut shard, frames) = filled(&FaultDisk::new(1), state, body_len);
                    let end = Offset(3 * kept as u64 + inside);
                    if end > shard.log(id).log_end_offset() {
                        continue;
                    }
                    let what = format!("{state:?}, frames of {body_len}, cut at {end}");
                    assert_eq!(shard.truncate(id, end), Offset(3 * kept as u64), "{what}");
                    check_truncated(shard, &frames[..kept], &what);
                }
            }
        }
    }
}

fn settled(state: State) -> (TestShard, Vec<TestFrame>) {
    let (mut shard, frames) = filled(&FaultDisk::new(1), state, 2000);
    shard.write_back(WriteBackKind::Everything);
    shard.flush();
    (shard, frames)
}

/// Truncates by the book, without a wait for anything.
fn truncate(shard: &mut TestShard, end_offset: Offset) -> Truncated {
    let id = test_partition(1);
    let truncation = block_on(shard.log(id).plan_truncate(end_offset).run()).unwrap();
    let address = shard.shard.journal.append(truncation.journal_entry(id));
    shard.log(id).truncate(truncation, address);
    Truncated { address }
}

struct Truncated {
    address: EntryAddress,
}

#[test]
fn a_read_that_was_planned_before_is_told_to_ask_again() {
    let id = test_partition(1);
    let (mut shard, frames) = settled(State::Restarted);
    let log = shard.log(id);
    while log.evict_oldest_clean() > 0 {}
    let plan = |log: &Log<FaultDisk>, offset| match log.read(Offset(offset), 1 << 16, log.log_end_offset()) {
        Ok(crate::read_plan::ReadPlan::Disk(read)) => read,
        _ => panic!("{offset} is on disk"),
    };
    let segment_end = log.sealed[0].info.next_offset;
    let (untouched, above) = (plan(log, 0), plan(log, 57));
    let (through, by_time) = (plan(log, segment_end.0), log.offset_for_timestamp(59 * 10));
    truncate(&mut shard, segment_end.advanced(3));
    let removed = |result| matches!(result, Err(crate::read_plan::DiskReadError::Removed));
    assert_eq!(block_on(untouched.run()).unwrap().slices.concat()[..100], frames[0].bytes()[..100]);
    assert!(removed(block_on(above.run())) && removed(block_on(through.run())));
    assert!(matches!(block_on(by_time.run()), Err(crate::read_plan::DiskReadError::Removed)));
    // What is left can be read before the files are cut.
    assert_eq!(shard.read_all(id).len() as u64, segment_end.advanced(3).0 / 3);
}

#[test]
fn the_journal_is_needed_until_the_files_are_cut() {
    let id = test_partition(1);
    let (mut shard, _) = settled(State::Flushed);
    let Truncated { address } = truncate(&mut shard, Offset(20));
    assert_eq!(shard.log(id).oldest_needed_address(), Some(address));
    let held = shard.log(id).held.point().held;
    assert_eq!(held, address, "replay begins behind it");
    shard.commit();
    let entry = JournalEntry::Truncate { id, end_offset: Offset(20), last_header_crc: 0 };
    let repeated = shard.shard.journal.append(entry);
    shard.log(id).on_truncation_repeated(repeated);
    assert_eq!(shard.log(id).oldest_needed_address(), Some(address), "files are not cut yet");
    shard.commit();
    let cut = block_on(shard.log(id).plan_cut().unwrap().run()).unwrap();
    shard.log(id).on_cut(cut);
    assert_eq!(shard.log(id).oldest_needed_address(), None);
    assert!(shard.log(id).plan_cut().is_none());
    assert_eq!(shard.log(id).checkpoint(Offset::ZERO).recovery_point.held, repeated, "replay begins behind both");
}

#[test]
#[should_panic(expected = "it has to be in another group")]
fn a_truncation_is_not_repeated_in_its_own_group() {
    let (mut shard, _) = settled(State::Flushed);
    let Truncated { address } = truncate(&mut shard, Offset(20));
    shard.log(test_partition(1)).on_truncation_repeated(EntryAddress { index: address.index + 1, ..address });
}

#[test]
#[should_panic(expected = "files are cut before anything else is written")]
fn nothing_is_written_while_files_are_to_be_cut() {
    let (mut shard, _) = settled(State::Flushed);
    truncate(&mut shard, Offset(20));
    shard.log(test_partition(1)).plan_write_back(WriteBackKind::Everything);
}

#[test]
#[should_panic(expected = "files are cut before anything else is written")]
fn no_checkpoint_speaks_of_a_log_whose_files_are_to_be_cut() {
    let (mut shard, _) = settled(State::Flushed);
    truncate(&mut shard, Offset(20));
    let _ = shard.log(test_partition(1)).checkpoint(Offset::ZERO);
}

#[test]
#[should_panic(expected = "is written back and flushed")]
fn a_plan_that_was_made_earlier_reports_first() {
    let (mut shard, _) = filled(&FaultDisk::new(1), State::Written, 2000);
    let log = shard.log(test_partition(1));
    let _under_way = log.plan_flush();
    let _ = log.plan_truncate(Offset(20));
}

/// A bit of the frame at `offset` flips, in its header.
fn damage_frame(shard: &TestShard, offset: u64) {
    let dir = test_layout().partition_dir(test_partition(1));
    for (path, bytes) in shard.disk.files().into_iter().filter(|(path, _)| path.starts_with(&dir)) {
        for at in 0..bytes.len().saturating_sub(100) {
            if FrameHeader::parse_sealed(&bytes[at..]).is_ok_and(|header| header.base_offset() == Offset(offset)) {
                return shard.disk.flip_bit(&path, at as u64 + 70, 1);
            }
        }
    }
    panic!("no frame at {offset}");
}

#[test]
fn damage_above_the_cut_is_forgotten_and_below_it_nothing_more_is_lost() {
    let id = test_partition(1);
    let (shard, frames) = settled(State::Flushed);
    // Frames of a segment, to know what is where.
    let mut shard = shard;
    let segment = shard.log(id).sealed[1].info;
    let inside: Vec<u64> = (segment.base_offset.0..segment.next_offset.0).step_by(3).collect();
    assert!(inside.len() >= 5, "{inside:?}");
    // Above the cut.
    damage_frame(&shard, inside[3]);
    shard.log(id).quarantine(DamagedRange { from: Offset(inside[3]), until: segment.next_offset });
    assert_eq!(shard.truncate(id, Offset(inside[3])), Offset(inside[3]));
    assert_eq!(shard.log(id).damaged(), []);
    assert_eq!(shard.read_all(id), bytes_of(&frames[..inside[3] as usize / 3]));
    // The cut lies behind damage that nothing bridges: what is before it stays, the rest is said.
    let (mut shard, frames) = settled(State::Flushed);
    damage_frame(&shard, inside[2]);
    assert_eq!(shard.truncate(id, Offset(inside[4])), Offset(inside[4]));
    let lost = DamagedRange { from: Offset(inside[2]), until: Offset(inside[4]) };
    assert_eq!(shard.log(id).damaged(), [lost]);
    assert_eq!(shard.read_good(id), (bytes_of(&frames[..inside[2] as usize / 3]), vec![lost]));
    let mut source = shard.source(id, 1);
    source.leader_epoch = LeaderEpoch(9);
    let frame = source.next(1, 100);
    shard.append(&frame);
    shard.commit();
    let cut = PowerCut { call: shard.disk.call_count(), unflushed: Unflushed::Lost };
    let mut again = TestShard::start(&shard.disk.crash(cut), 2, SIZES).unwrap();
    let (served, refused) = again.read_good(id);
    assert_eq!((served.len(), refused), (inside[2] as usize / 3 + 1, vec![lost]));
    assert_eq!(served.last(), Some(&frame.bytes()));
}

/// Its producer sends it again: that it is in the log already would be a lie.
#[test]
fn a_batch_that_a_cut_went_through_is_not_remembered_of_its_producer() {
    let id = test_partition(1);
    let (mut shard, frames) = settled(State::Flushed);
    // Of the newest of its producer.
    let batch = frames.len() - 3;
    damage_frame(&shard, 3 * batch as u64);
    let inside = Offset(3 * batch as u64 + 1);
    assert_eq!(shard.truncate(id, inside), inside, "where it begins is not known");
    let known = tables_of(&frames[..batch]).1;
    assert_eq!(shard.log(id).checkpoint(Offset::ZERO).producers, known);
    let cut = PowerCut { call: shard.disk.call_count(), unflushed: Unflushed::Lost };
    let mut again = TestShard::start(&shard.disk.crash(cut), 2, SIZES).unwrap();
    assert_eq!((again.log(id).log_end_offset(), &again.shard.partitions[&id].producers), (inside, &known));
}

#[test]
fn what_an_index_vouches_for_behind_damage_stays() {
    let id = test_partition(1);
    let sizes = TestSizes { segment_len: 1 << 20, ..SIZES };
    let mut shard = TestShard::start(&FaultDisk::new(1), 1, sizes).unwrap();
    let mut frames = Vec::new();
    for n in 0..40 {
        let frame = shard.source(id, n).next(1, 20_000);
        shard.append(&frame);
        shard.commit();
        shard.make_room();
        frames.push(frame);
    }
    shard.write_back(WriteBackKind::Everything);
    shard.flush();
    damage_frame(&shard, 10);
    assert_eq!(shard.truncate(id, Offset(30)), Offset(30));
    let (served, refused) = shard.read_good(id);
    let [lost] = refused[..] else { panic!("{refused:?}") };
    assert_eq!(lost.from, Offset(10));
    assert!(lost.until < Offset(20), "{lost:?}");
    let kept: Vec<_> = [&frames[..10], &frames[lost.until.0 as usize..30]].concat();
    assert_eq!(served, bytes_of(&kept));
    assert_eq!(shard.log(id).checkpoint(Offset::ZERO).producers, tables_of(&frames[..30]).1, "none was lost with the frames");
}

#[test]
fn a_cut_that_has_no_room_for_a_footer_changes_nothing() {
    let id = test_partition(1);
    let disk = FaultDisk::new(1);
    let log_config = LogConfig { segment_len: 1 << 20, ..LogConfig::default() };
    let mut shard = TestShard::start(&disk, 1, SIZES).unwrap();
    shard.log(id).set_config(log_config);
    for n in 0..4 {
        let frame = shard.source(id, n).next(1, 1000);
        shard.append(&frame);
    }
    shard.commit();
    shard.write_back(WriteBackKind::Everything);
    shard.flush();
    let path = test_layout().partition_dir(id).join(format!("{:020}.log", 0));
    // The space ahead of need is given up, as a full disk has none.
    let file = block_on(crate::disk::Disk::open(&disk, &path, OpenMode::Existing)).unwrap();
    block_on(file.truncate(3 * BLOCK_LEN as u64)).unwrap();
    block_on(file.sync()).unwrap();
    disk.set_capacity(disk.files().values().map(|bytes| bytes.len() as u64).sum());
    let error = block_on(shard.log(id).plan_truncate(Offset(3)).run()).err().expect("there is no room");
    assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    assert_eq!(shard.read_all(id).len(), 4);
    disk.set_capacity(u64::MAX);
    assert_eq!(shard.truncate(id, Offset(3)), Offset(3));
    assert_eq!(shard.read_all(id).len(), 3);
}
