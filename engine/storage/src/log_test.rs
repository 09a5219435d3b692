use super::*;
use crate::disk::DiskFile;
use crate::read_plan::{DiskReadError, ReadPlan, ReadRefusal};
use crate::testing::executor::block_on;
use crate::testing::fault_disk::{FaultDisk, FaultKind, PowerCut, Unflushed};
use crate::testing::frames::{FrameSource, TestFrame, test_partition};
use crate::testing::random::Random;
use crate::write_back::{WriteBackError, WriteBackKind};
use sluice_model::limits::BLOCK_LEN;
use sluice_model::{LeaderEpochHistory, ProducerTable};

/// A log and what it was given, driven as a partition drives it.
pub(crate) struct Bench {
    pub disk: FaultDisk,
    pub memory: TailMemory,
    pub config: LogConfig,
    pub log: Log<FaultDisk>,
    pub source: FrameSource,
    pub frames: Vec<TestFrame>,
}

pub(crate) fn dir() -> PathBuf {
    PathBuf::from("/data/partitions/7/1")
}

impl Bench {
    pub(crate) fn new(seed: u64, segment_len: u64) -> Self {
        let (disk, memory) = (FaultDisk::new(seed), TailMemory::new(1 << 20));
        let config = LogConfig { segment_len, ..LogConfig::default() };
        let log = Log::create(disk.clone(), dir(), test_partition(1), PlacementEpoch(1), config, memory.clone());
        Self { disk, memory, config, log, source: FrameSource::new(test_partition(1), seed), frames: Vec::new() }
    }

    pub(crate) fn append(&mut self, record_count: u32, body_len: usize) {
        let frame = self.source.next(record_count, body_len);
        self.log.append(&frame.header, &frame.body, address(self.frames.len()));
        self.frames.push(frame);
    }

    pub(crate) fn write_back(&mut self, kind: WriteBackKind) {
        while let Some(plan) = self.log.plan_write_back(kind) {
            let written = block_on(plan.run()).unwrap();
            self.log.on_written_back(written);
        }
    }

    pub(crate) fn flush(&mut self) {
        if let Some(plan) = self.log.plan_flush() {
            let flushed = block_on(plan.run()).unwrap();
            self.log.on_flushed(flushed);
        }
    }

    pub(crate) fn write_all_and_evict(&mut self) {
        self.write_back(WriteBackKind::Everything);
        self.flush();
        while self.log.evict_oldest_clean() > 0 {}
    }

    /// The log as recovery would rebuild it from its own checkpoint and the frames after that.
    pub(crate) fn restart(&mut self) {
        let checkpoint = self.log.checkpoint(Offset::ZERO);
        self.log = Log::restore(self.disk.clone(), dir(), &checkpoint, self.config, self.memory.clone());
        self.replay();
    }

    pub(crate) fn replay(&mut self) {
        let held = self.log.held.point().held;
        for (at, frame) in self.frames.iter().enumerate().filter(|(at, _)| address(*at) > held) {
            self.log.append(&frame.header, &frame.body, address(at));
        }
    }

    /// Everything from `offset` on, read as a consumer reads.
    pub(crate) fn read_all(&self, mut offset: Offset, len_max: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        let end = self.log.log_end_offset();
        while offset < end {
            let frames = match self.log.read(offset, len_max, end).unwrap() {
                ReadPlan::Memory(frames) => frames,
                ReadPlan::Disk(read) => block_on(read.run()).unwrap(),
                ReadPlan::Empty => panic!("nothing at {offset} below {end}"),
            };
            assert!(frames.next_offset > offset, "no progress at {offset}");
            assert!(frames.slices.iter().map(|slice| slice.len()).sum::<usize>() <= len_max);
            offset = frames.next_offset;
            frames.slices.iter().for_each(|slice| bytes.extend_from_slice(slice));
        }
        bytes
    }

    pub(crate) fn bytes_from(&self, frame: usize) -> Vec<u8> {
        self.frames[frame..].iter().flat_map(TestFrame::bytes).collect()
    }

    pub(crate) fn tables(&self) -> (LeaderEpochHistory, ProducerTable) {
        let (mut epochs, mut producers) = (LeaderEpochHistory::default(), ProducerTable::default());
        for frame in &self.frames {
            epochs.on_append(frame.header.leader_epoch(), frame.header.base_offset());
            producers.on_append(&frame.header);
        }
        (epochs, producers)
    }
}

pub(crate) fn address(frame: usize) -> EntryAddress {
    EntryAddress { sequence: 1 + frame as u64 / 3, index: u32::try_from(frame % 3).unwrap() }
}

const WHOLE: WriteBackKind = WriteBackKind::WholeBlocks { at_least: 1 };

#[test]
fn what_is_appended_is_read_from_memory_and_from_disk() {
    let mut bench = Bench::new(1, 1 << 20);
    for n in 0..300 {
        bench.append(1 + n % 4, 10 + (n as usize * 37) % 5000);
    }
    assert_eq!(bench.read_all(Offset::ZERO, 20_000), bench.bytes_from(0));
    assert!(bench.log.segment_count() == 1);
    bench.write_all_and_evict();
    assert_eq!((bench.log.unwritten_len(), bench.memory.used_len()), (0, 0));
    assert_eq!(bench.read_all(Offset::ZERO, 20_000), bench.bytes_from(0));
    assert_eq!(bench.read_all(bench.frames[77].header.base_offset(), 1 << 20), bench.bytes_from(77));
    // A reader that begins inside a frame gets that frame whole.
    let inside = bench.frames.iter().position(|frame| frame.header.record_count.to_native() == 4).unwrap();
    let offset = Offset(bench.frames[inside].header.base_offset().0 + 2);
    assert_eq!(bench.read_all(offset, 1 << 20), bench.bytes_from(inside));
}

#[test]
fn reads_are_refused_with_the_reason() {
    let mut bench = Bench::new(2, 1 << 20);
    for _ in 0..10 {
        bench.append(2, 1000);
    }
    for evicted in [false, true] {
        let log = &bench.log;
        let read = |offset, len_max, upper| log.read(Offset(offset), len_max, Offset(upper));
        assert!(matches!(read(20, 5000, 20), Ok(ReadPlan::Empty)));
        assert!(matches!(read(21, 5000, 20), Err(ReadRefusal::OutOfRange { start: Offset(0), end: Offset(20) })));
        assert!(matches!(read(6, 5000, 6), Ok(ReadPlan::Empty)));
        match read(4, 5000, 8) {
            Ok(ReadPlan::Memory(frames)) => assert_eq!(frames.next_offset, Offset(8)),
            Ok(ReadPlan::Disk(read)) => assert_eq!(block_on(read.run()).unwrap().next_offset, Offset(8)),
            _ => panic!("frames at 4 and 6 are below 8"),
        }
        match read(4, 1099, 20) {
            Err(ReadRefusal::TooSmall { needed }) => assert_eq!((needed, evicted), (1100, false)),
            Ok(ReadPlan::Disk(read)) => {
                assert!(evicted && matches!(block_on(read.run()), Err(DiskReadError::TooSmall { needed: 1100 })));
            }
            _ => panic!("a frame of 1100 bytes does not fit in 1099"),
        }
        bench.write_all_and_evict();
    }
    bench.log.set_log_start(Offset(5));
    assert!(matches!(bench.log.read(Offset(4), 5000, Offset(20)), Err(ReadRefusal::OutOfRange { start: Offset(5), .. })));
    assert_eq!(bench.read_all(Offset(5), 5000), bench.bytes_from(2));
}

#[test]
fn segments_roll_and_their_footers_carry_the_state() {
    let mut bench = Bench::new(3, 100_000);
    for n in 0..200 {
        bench.append(1, 1000 + (n * 97) % 3000);
        if n % 13 == 0 {
            bench.write_back(WHOLE);
        }
        if n % 31 == 0 {
            bench.flush();
        }
    }
    bench.write_all_and_evict();
    assert!(bench.log.sealed.len() > 2, "{} segments", bench.log.sealed.len());
    assert_eq!(bench.read_all(Offset::ZERO, 50_000), bench.bytes_from(0));
    let checkpoint = bench.log.checkpoint(Offset(200));
    assert_eq!((checkpoint.epochs, checkpoint.producers), bench.tables());
    let mut expected = Offset::ZERO;
    for info in &checkpoint.sealed {
        assert_eq!(info.base_offset, expected);
        expected = info.next_offset;
        let file =
            block_on(bench.disk.open(&crate::layout::segment_file(&dir(), info.base_offset), crate::disk::OpenMode::Existing));
        assert_eq!(block_on(file.unwrap().len()).unwrap(), info.file_len, "a sealed file is cut to its end");
    }
    assert_eq!(expected, checkpoint.recovery_point.segment_base);
    bench.restart();
    assert_eq!(bench.read_all(Offset::ZERO, 50_000), bench.bytes_from(0));
}

#[test]
fn every_block_is_written_once_whatever_the_rhythm() {
    for seed in 0..20 {
        let mut random = Random::new(seed);
        let mut bench = Bench::new(seed, 150_000);
        for _ in 0..150 {
            let body_len = if random.below(20) == 0 { 20_000 + random.below(20_000) } else { random.below(3000) };
            bench.append(1, usize::try_from(body_len).unwrap());
            match random.below(12) {
                0 => bench.write_back(WriteBackKind::Everything),
                1 | 2 => bench.write_back(WHOLE),
                3 => bench.flush(),
                4 => drop(bench.log.evict_oldest_clean()),
                _ => {}
            }
        }
        bench.write_all_and_evict();
        let mut written = std::collections::BTreeSet::new();
        for call in 0..bench.disk.call_count() {
            let (file, blocks) = parse_write(&bench.disk.describe_call(call));
            for block in blocks {
                assert!(written.insert((file.clone(), block)), "seed {seed}: block {block} of {file} is written twice");
            }
        }
        assert_eq!(bench.read_all(Offset::ZERO, 100_000), bench.bytes_from(0), "seed {seed}");
    }
}

/// File and blocks of a write call's description; no blocks for other calls.
fn parse_write(description: &str) -> (String, std::ops::Range<u64>) {
    let words: Vec<&str> = description.split(' ').collect();
    match words.as_slice() {
        ["write", "of", len, "bytes", "at", position, "to", file, ..] => {
            let (len, position): (u64, u64) = (len.parse().unwrap(), position.parse().unwrap());
            ((*file).to_owned(), position / BLOCK_LEN as u64..(position + len) / BLOCK_LEN as u64)
        }
        _ => (String::new(), 0..0),
    }
}

#[test]
fn a_restart_goes_on_where_the_recovery_point_says() {
    for seed in 0..40 {
        let mut random = Random::new(seed);
        let mut bench = Bench::new(seed, 60_000);
        for _ in 0..120 {
            bench.append(1 + (random.below(3) as u32), usize::try_from(random.below(6000)).unwrap());
            match random.below(10) {
                0 => bench.write_back(WriteBackKind::Everything),
                1 | 2 => bench.write_back(WHOLE),
                3 | 4 => bench.flush(),
                5 => {
                    // More is written than the checkpoint knows, then the power goes.
                    bench.write_back(WHOLE);
                    bench.restart();
                }
                6 => drop(bench.log.evict_oldest_clean()),
                _ => {}
            }
        }
        assert_eq!(bench.read_all(Offset::ZERO, 30_000), bench.bytes_from(0), "seed {seed}");
        bench.write_all_and_evict();
        assert_eq!(bench.read_all(Offset::ZERO, 30_000), bench.bytes_from(0), "seed {seed}");
        let checkpoint = bench.log.checkpoint(Offset::ZERO);
        assert_eq!((checkpoint.epochs, checkpoint.producers), bench.tables(), "seed {seed}");
        assert_eq!(bench.log.oldest_needed_address(), None);
    }
}

#[test]
fn a_straddling_frame_is_compared_with_what_the_segment_holds() {
    let mut bench = Bench::new(5, 1 << 20);
    bench.append(1, 6000);
    bench.write_back(WHOLE);
    bench.flush();
    let point = *bench.log.held.point();
    assert_eq!((point.offset, point.next_frame_position, point.position), (Offset(0), 4096, 8192));
    bench.restart();
    bench.append(1, 3000);
    bench.write_all_and_evict();
    assert_eq!(bench.read_all(Offset::ZERO, 10_000), bench.bytes_from(0));

    let mut bench = Bench::new(6, 1 << 20);
    bench.append(1, 6000);
    bench.write_back(WHOLE);
    bench.flush();
    bench.disk.flip_bit(&crate::layout::segment_file(&dir(), Offset(0)), 5000, 3);
    bench.restart();
    let plan = bench.log.plan_write_back(WriteBackKind::Everything).unwrap();
    match block_on(plan.run()) {
        Err(WriteBackError::Damaged(damage)) => assert_eq!((damage.segment, damage.position), (Offset(0), 5000)),
        _ => panic!("the flipped bit is not noticed"),
    }
}

#[test]
fn whenever_the_power_goes_the_last_checkpoint_and_the_journal_suffice() {
    for seed in 0..12 {
        let mut random = Random::new(seed);
        let mut bench = Bench::new(seed, 40_000);
        // Each checkpoint with the number of calls after which it may be relied on.
        let mut checkpoints = vec![(0, bench.log.checkpoint(Offset::ZERO))];
        for _ in 0..40 {
            bench.append(1, usize::try_from(random.below(5000)).unwrap());
            match random.below(6) {
                0 => bench.write_back(WriteBackKind::Everything),
                1 | 2 => bench.write_back(WHOLE),
                3 => {
                    bench.flush();
                    checkpoints.push((bench.disk.call_count(), bench.log.checkpoint(Offset::ZERO)));
                }
                _ => {}
            }
        }
        let wanted = bench.bytes_from(0);
        for call in 0..=bench.disk.call_count() {
            let checkpoint = &checkpoints.iter().rev().find(|(calls, _)| *calls <= call).unwrap().1;
            for unflushed in [Unflushed::Lost, Unflushed::Kept, Unflushed::Torn(seed)] {
                let disk = bench.disk.crash(PowerCut { call, unflushed });
                let log = Log::restore(disk.clone(), dir(), checkpoint, bench.config, bench.memory.clone());
                let mut after =
                    Bench { disk, log, frames: bench.frames.clone(), source: bench.source.clone(), ..Bench::new(0, 40_000) };
                after.replay();
                after.write_all_and_evict();
                assert!(after.read_all(Offset::ZERO, 20_000) == wanted, "seed {seed}, call {call}, {unflushed:?}");
            }
        }
    }
}

#[test]
fn lost_offsets_are_quarantined_and_the_rest_is_served() {
    let mut bench = Bench::new(7, 1 << 20);
    for _ in 0..5 {
        bench.append(1, 3000);
    }
    bench.write_back(WHOLE);
    bench.flush();
    let lost = bench.source.next(3, 100);
    bench.append(1, 3000);
    bench.write_all_and_evict();
    assert_eq!(bench.log.damaged(), [DamagedRange { from: Offset(5), until: Offset(8) }]);
    for restored in [false, true] {
        assert!(
            matches!(bench.log.read(Offset(6), 9000, Offset(9)), Err(ReadRefusal::Damaged { from: Offset(5), until: Offset(8) })),
            "{restored}"
        );
        assert_eq!(bench.read_all(Offset(8), 9000), bench.bytes_from(5));
        bench.restart();
    }
    drop(lost);
}

#[test]
fn a_full_disk_changes_nothing_and_write_back_goes_on_later() {
    let mut bench = Bench::new(8, 1 << 20);
    for _ in 0..50 {
        bench.append(1, 3000);
    }
    bench.disk.set_capacity(40_000);
    let plan = bench.log.plan_write_back(WHOLE).unwrap();
    assert!(block_on(plan.run()).is_err_and(|error| error.is_storage_full()));
    assert_eq!(bench.read_all(Offset::ZERO, 100_000), bench.bytes_from(0));
    bench.disk.set_capacity(400_000);
    bench.write_all_and_evict();
    assert_eq!(bench.read_all(Offset::ZERO, 100_000), bench.bytes_from(0));
}

#[test]
fn an_idle_log_holds_little_and_a_dropped_one_nothing() {
    let mut bench = Bench::new(9, 1 << 20);
    bench.append(1, 100);
    assert!(bench.memory.used_len() < 2000, "{} bytes for one small frame", bench.memory.used_len());
    bench.write_back(WriteBackKind::Everything);
    assert_eq!(bench.memory.next_eviction(), Some(test_partition(1)));
    assert_eq!(bench.memory.next_eviction(), None);
    assert_eq!(bench.memory.clean_len(), bench.memory.used_len());
    bench.append(1, 100);
    let memory = bench.memory.clone();
    drop(bench);
    assert_eq!((memory.used_len(), memory.clean_len()), (0, 0));
}
#[test]
fn a_failed_write_or_flush_is_an_error_and_moves_nothing() {
    let mut bench = Bench::new(12, 1 << 20);
    for _ in 0..50 {
        bench.append(1, 3000);
    }
    let before = bench.log.checkpoint(Offset::ZERO);
    bench.disk.fail(FaultKind::Write, 0);
    let plan = bench.log.plan_write_back(WHOLE).unwrap();
    assert!(block_on(plan.run()).is_err_and(|error| !error.is_storage_full()));
    assert_eq!(bench.log.unwritten_len(), 50 * 3100);
    let mut bench = Bench::new(12, 1 << 20);
    for _ in 0..50 {
        bench.append(1, 3000);
    }
    bench.write_back(WHOLE);
    bench.disk.fail(FaultKind::Sync, 0);
    assert!(block_on(bench.log.plan_flush().unwrap().run()).is_err());
    assert_eq!(bench.log.checkpoint(Offset::ZERO), before);
    assert_eq!(bench.log.oldest_needed_address(), Some(address(0)));
}

#[test]
fn only_a_log_with_much_to_write_back_keeps_its_file_open_over_a_flush() {
    let mut bench = Bench::new(13, 1 << 20);
    let keeps_file = |bench: &Bench| bench.log.open.front().expect("a log has an active segment").write_handle.is_some();
    let append = |bench: &mut Bench, count| (0..count).for_each(|_| bench.append(1, 3000));
    append(&mut bench, 50);
    bench.write_back(WHOLE);
    append(&mut bench, 30);
    bench.flush();
    assert!(keeps_file(&bench), "90 KB wait to be written");
    bench.write_back(WHOLE);
    append(&mut bench, 1);
    bench.flush();
    assert!(!keeps_file(&bench), "nothing but the last block waits");
    bench.write_back(WHOLE);
    assert_eq!(bench.log.log_end_offset(), Offset(81));
}
