//! A whole shard's storage in a few lines, for tests: what the partition crate does with journal, logs and
//! checkpoints, one step at a time, and a model of what must be there after any power cut.

use crate::batch_cache::TailMemory;
use crate::checkpoint::{PartitionCheckpoint, ShardCheckpoint};
use crate::commit_group::JournalEntry;
use crate::damage::DamagedRange;
use crate::disk::Disk;
use crate::journal::JournalConfig;
use crate::layout::Layout;
use crate::log::{Log, LogConfig};
use crate::read_plan::{DiskReadError, ReadPlan, ReadRefusal};
use crate::recovery::{PartitionFate, RecoverShard, RecoveredShard, RecoveryError, recover_shard};
use crate::recovery_report::RecoveryReport;
use crate::testing::executor::block_on;
use crate::testing::fault_disk::FaultDisk;
use crate::testing::frames::{FrameSource, TestFrame, test_partition};
use crate::write_back::WriteBackKind;
use sluice_model::limits::BLOCK_LEN;
use sluice_model::{
    FrameHeader, Incarnation, LeaderEpoch, LeaderEpochHistory, Offset, PlacementEpoch, ProducerTable, ShardIndex, TopicPartition,
};
use std::path::{Path, PathBuf};

pub const TEST_SHARD: ShardIndex = ShardIndex(0);

/// Small enough that every limit is met within a few frames.
#[derive(Clone, Copy, Debug)]
pub struct TestSizes {
    pub journal_file_blocks: u64,
    pub journal_file_count: u32,
    pub group_blocks: usize,
    pub segment_len: u64,
    pub tail_budget_len: u64,
}

impl Default for TestSizes {
    fn default() -> Self {
        Self { journal_file_blocks: 8, journal_file_count: 4, group_blocks: 4, segment_len: 20 * 1024, tail_budget_len: 1 << 20 }
    }
}

/// One shard on one disk. Panics where a shard would end its process.
pub struct TestShard {
    pub disk: FaultDisk,
    pub memory: TailMemory,
    pub shard: RecoveredShard<FaultDisk>,
    pub(crate) incarnation: Incarnation,
    sizes: TestSizes,
    /// Segment files that no log names, and how many checkpoints have been written without them.
    removals: Vec<(Vec<PathBuf>, u32)>,
    /// A partition came or was truncated since the spare was written.
    spare_is_old: bool,
}

#[must_use]
pub fn test_layout() -> Layout {
    Layout::new(Path::new("/data"))
}

fn journal_config(sizes: TestSizes) -> JournalConfig {
    JournalConfig {
        dir: test_layout().shard_journal_dir(TEST_SHARD),
        file_len: sizes.journal_file_blocks * BLOCK_LEN as u64,
        file_count: sizes.journal_file_count,
        group_len_target: sizes.group_blocks * BLOCK_LEN,
    }
}

/// What comes from other shards, and what goes to them.
#[derive(Default)]
struct Moved {
    imports: Vec<PartitionCheckpoint>,
    handed_over: Vec<PartitionCheckpoint>,
}

impl TestShard {
    /// Recovers (or makes) the shard as a start with this number.
    pub fn start(disk: &FaultDisk, number: u64, sizes: TestSizes) -> Result<Self, RecoveryError> {
        let config = LogConfig { segment_len: sizes.segment_len, ..LogConfig::default() };
        Self::start_with(disk, number, sizes, &|_, _| PartitionFate::Recover(config))
    }

    pub fn start_with(
        disk: &FaultDisk,
        number: u64,
        sizes: TestSizes,
        fate: &dyn Fn(TopicPartition, Option<PlacementEpoch>) -> PartitionFate,
    ) -> Result<Self, RecoveryError> {
        Self::recover(disk, number, sizes, fate, Moved::default())
    }

    pub fn start_importing(
        disk: &FaultDisk,
        number: u64,
        sizes: TestSizes,
        imports: Vec<PartitionCheckpoint>,
    ) -> Result<Self, RecoveryError> {
        let config = LogConfig { segment_len: sizes.segment_len, ..LogConfig::default() };
        let moved = Moved { imports, handed_over: Vec::new() };
        Self::recover(disk, number, sizes, &|_, _| PartitionFate::Recover(config), moved)
    }

    pub fn start_handing_over(
        disk: &FaultDisk,
        number: u64,
        sizes: TestSizes,
        handed_over: Vec<PartitionCheckpoint>,
    ) -> Result<Self, RecoveryError> {
        let config = LogConfig { segment_len: sizes.segment_len, ..LogConfig::default() };
        let moved = Moved { imports: Vec::new(), handed_over };
        Self::recover(disk, number, sizes, &|_, _| PartitionFate::Recover(config), moved)
    }

    fn recover(
        disk: &FaultDisk,
        number: u64,
        sizes: TestSizes,
        fate: &dyn Fn(TopicPartition, Option<PlacementEpoch>) -> PartitionFate,
        moved: Moved,
    ) -> Result<Self, RecoveryError> {
        let memory = TailMemory::new(sizes.tail_budget_len);
        let incarnation = Incarnation { number, random: number.wrapping_mul(0x9e37_79b9_7f4a_7c15) };
        let plan = RecoverShard {
            layout: test_layout(),
            shard: TEST_SHARD,
            incarnation,
            journal: journal_config(sizes),
            memory: memory.clone(),
            fate,
            // Those of the tests that are there at all.
            assigned: (0..3).map(|index| (test_partition(index), PlacementEpoch(1))).collect(),
            imports: moved.imports,
            handed_over: moved.handed_over,
            may_rebuild: true,
        };
        let shard = block_on(recover_shard(disk, plan))?;
        Ok(Self { disk: disk.clone(), memory, shard, incarnation, sizes, removals: Vec::new(), spare_is_old: false })
    }

    #[must_use]
    pub fn report(&self) -> &RecoveryReport {
        &self.shard.report
    }

    pub fn log(&mut self, id: TopicPartition) -> &mut Log<FaultDisk> {
        if !self.shard.partitions.contains_key(&id) {
            self.create(id);
        }
        &mut self.shard.partitions.get_mut(&id).expect("just created").log
    }

    /// Creates a partition and makes that durable, as its owner does before the first append.
    fn create(&mut self, id: TopicPartition) {
        let config = LogConfig { segment_len: self.sizes.segment_len, ..LogConfig::default() };
        let dir = test_layout().partition_dir(id);
        let placement_epoch = PlacementEpoch(1);
        let log = Log::create(self.disk.clone(), dir, id, placement_epoch, config, self.memory.clone());
        let partition = crate::recovery::RecoveredPartition {
            log,
            placement_epoch,
            epochs: LeaderEpochHistory::default(),
            producers: ProducerTable::default(),
            high_watermark: Offset::ZERO,
            damaged: Vec::new(),
            possibly_short: None,
        };
        self.shard.partitions.insert(id, partition);
        self.spare_is_old = true;
        self.checkpoint();
    }

    /// Where the next frame of a partition goes on.
    pub fn source(&mut self, id: TopicPartition, seed: u64) -> FrameSource {
        let log = self.log(id);
        let mut source = FrameSource::new(id, seed);
        source.next_offset = log.log_end_offset();
        source.prev_header_crc = log.last_header_crc();
        source.leader_epoch = LeaderEpoch(u32::try_from(self.incarnation.number).expect("a small number"));
        source
    }

    pub fn append(&mut self, frame: &TestFrame) {
        let id = frame.header.topic_partition();
        let address = self.shard.journal.append(JournalEntry::Frame { header: &frame.header, body: &frame.body });
        self.log(id).append(&frame.header, &frame.body, address);
    }

    /// Makes durable all that was appended.
    pub fn commit(&self) {
        while self.shard.journal.queued_len() > 0 {
            block_on(self.shard.journal.commit_next()).expect("the journal's device works");
        }
    }

    pub fn mark_idle(&self) {
        if self.shard.journal.request_idle_marker() {
            block_on(self.shard.journal.commit_next()).expect("the journal's device works");
        }
    }

    /// Moves a log start: journal first.
    pub fn set_log_start(&mut self, id: TopicPartition, offset: Offset) {
        self.shard.journal.append(JournalEntry::LogStart { id, offset });
        self.commit();
        self.log(id).set_log_start(offset);
    }

    /// Ends a log at the frame boundary at or below `end_offset`; gives back where that is.
    pub fn truncate(&mut self, id: TopicPartition, end_offset: Offset) -> Offset {
        let journal = self.shard.journal.clone();
        let log = self.log(id);
        while let Some(plan) = log.plan_write_back(WriteBackKind::Everything) {
            let written = block_on(plan.run()).expect("write-back works");
            log.on_written_back(written);
        }
        if let Some(plan) = log.plan_flush() {
            let flushed = block_on(plan.run()).expect("the device flushes");
            log.on_flushed(flushed);
        }
        let truncation = block_on(log.plan_truncate(end_offset).run()).expect("the boundary is found");
        let end_offset = truncation.end_offset();
        let entry = truncation.journal_entry(id);
        log.truncate(truncation, journal.append(entry));
        self.commit();
        self.log(id).on_truncation_repeated(journal.append(entry));
        self.commit();
        self.spare_is_old = true;
        let log = self.log(id);
        let plan = log.plan_cut().expect("a truncation has files to cut");
        let cut = block_on(plan.run()).expect("files are cut");
        log.on_cut(cut);
        end_offset
    }

    pub fn write_back(&mut self, kind: WriteBackKind) {
        for partition in self.shard.partitions.values_mut() {
            while let Some(plan) = partition.log.plan_write_back(kind) {
                let written = block_on(plan.run()).expect("write-back works");
                partition.log.on_written_back(written);
            }
        }
    }

    pub fn flush(&mut self) {
        for partition in self.shard.partitions.values_mut() {
            if let Some(plan) = partition.log.plan_flush() {
                let flushed = block_on(plan.run()).expect("the device flushes");
                partition.log.on_flushed(flushed);
            }
        }
    }

    /// Writes a checkpoint, the spare when an owner does (a partition came, or a truncation or a file is to be forgotten),
    /// and frees what both slots do without: journal files, and segments below the log start.
    pub fn checkpoint(&mut self) {
        let logs = || self.shard.partitions.values().map(|partition| &partition.log);
        let oldest = logs().filter_map(Log::oldest_needed_address).map(|address| address.sequence).min();
        let journal_sequence = oldest.unwrap_or(u64::MAX).min(self.shard.journal.durable_sequence() + 1);
        let removed: Vec<PathBuf> =
            self.shard.partitions.values_mut().flat_map(|partition| partition.log.plan_remove_segments()).collect();
        self.removals.push((removed, 0));
        let checkpoint = ShardCheckpoint {
            shard: TEST_SHARD,
            incarnation: self.incarnation,
            journal_sequence,
            partitions: self.shard.partitions.values().map(|partition| partition.log.checkpoint(Offset::ZERO)).collect(),
        };
        block_on(self.shard.checkpoints.write(&checkpoint)).expect("a checkpoint is written");
        self.removals.iter_mut().for_each(|(_, written)| *written += 1);
        if std::mem::take(&mut self.spare_is_old)
            || self.removals.iter().any(|(paths, written)| *written == 2 && !paths.is_empty())
        {
            block_on(self.shard.checkpoints.write_spare(&checkpoint)).expect("the spare is written");
        }
        self.shard.journal.release(self.shard.checkpoints.needed_from_sequence());
        for (paths, written) in &mut self.removals {
            if *written == 2 {
                for path in std::mem::take(paths) {
                    block_on(self.disk.remove_file(&path)).expect("a segment is removed");
                }
            }
        }
        self.removals.retain(|(paths, _)| !paths.is_empty());
    }

    /// What the owner does when the journal is three quarters full.
    pub fn make_room(&mut self) {
        if self.shard.journal.distance() > self.shard.journal.capacity() / 2 {
            for _ in 0..2 {
                self.write_back(WriteBackKind::Everything);
                self.flush();
                self.checkpoint();
            }
        }
    }

    /// Every frame from the log start on, read from the segments (the batch cache is emptied first) as far as they
    /// go, then from memory. Panics on damage.
    pub fn read_all(&mut self, id: TopicPartition) -> Vec<Vec<u8>> {
        let (frames, refused) = self.read_good(id);
        assert!(refused.is_empty(), "{id}: {refused:?} are not served");
        frames
    }

    /// The same, stepping over what is damaged; the second value is what that was.
    pub fn read_good(&mut self, id: TopicPartition) -> (Vec<Vec<u8>>, Vec<DamagedRange>) {
        let log = self.log(id);
        while log.evict_oldest_clean() > 0 {}
        let (mut offset, mut frames, mut refused) = (log.log_start_offset(), Vec::new(), Vec::new());
        loop {
            let damaged = |until: Offset| {
                assert!(until > offset, "{id}: damage at {offset} ends at {until}");
                DamagedRange { from: offset, until }
            };
            let read = match log.read(offset, 64 * 1024, log.log_end_offset()) {
                Ok(ReadPlan::Empty) => return (frames, refused),
                Ok(ReadPlan::Memory(read)) => Ok(read),
                Ok(ReadPlan::Disk(read)) => match block_on(read.run()) {
                    Ok(read) => Ok(read),
                    Err(DiskReadError::Damaged(damage)) => Err(damaged(damage.range.until)),
                    Err(error) => panic!("{id} at {offset}: {error:?}"),
                },
                Err(ReadRefusal::Damaged { until, .. }) => Err(damaged(until)),
                Err(ReadRefusal::OutOfRange { start, end }) if start == end => return (frames, refused),
                Err(refusal) => panic!("{id} at {offset}: {refusal:?}"),
            };
            match read {
                Ok(read) => {
                    assert!(read.next_offset > offset, "{id}: a read at {offset} goes nowhere");
                    offset = read.next_offset;
                    split_frames(&read.slices.concat(), &mut frames);
                }
                Err(range) => {
                    offset = range.until;
                    refused.push(range);
                }
            }
        }
    }
}

fn split_frames(mut bytes: &[u8], frames: &mut Vec<Vec<u8>>) {
    while !bytes.is_empty() {
        let (header, _) = FrameHeader::parse_frame(bytes).expect("a read gives whole good frames");
        let (frame, rest) = bytes.split_at(header.frame_len());
        frames.push(frame.to_vec());
        bytes = rest;
    }
}
