//! One shard on the fault disk, with a clock that a test moves and tasks in an order that a seed decides.
#![allow(dead_code, reason = "each test file uses its own part of this")]

pub(crate) mod cluster;
pub(crate) mod start;

use bytes::BytesMut;
use sluice_model::frame::ProducerBatch;
use sluice_model::record_batch::{NewRecord, RecordsBuilder};
use sluice_model::{
    BrokerId, Clock, FrameHeader, Incarnation, LeaderEpoch, Now, Offset, PartitionIndex, PlacementEpoch, ProducerEpoch,
    ProducerId, Sequence, ShardIndex, TopicId, TopicPartition,
};
use sluice_partition::pace::{Pace, Unpaced};
use sluice_partition::{
    Acks, Completed, Completion, Failure, FetchRefusal, FetchedFrames, OpenError, OpenShard, PartitionAssignment,
    PartitionSettings, Partitions, PartitionsConfig, ProduceRefusal,
};
use sluice_partition::{IsrTimes, PartitionState};
use sluice_storage::checkpoint::PartitionCheckpoint;
use sluice_storage::journal::JournalConfig;
use sluice_storage::layout::Layout;
use sluice_storage::recovery_report::RecoveryReport;
use sluice_storage::testing::executor::{Runner, block_on};
use sluice_storage::testing::fault_disk::FaultDisk;
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::path::Path;
use std::rc::Rc;

pub(crate) const JOURNAL_FILE_LEN: u64 = 1024 * 1024;

#[derive(Clone, Default)]
pub(crate) struct TestClock(Rc<Cell<Now>>);

impl Clock for TestClock {
    fn now(&self) -> Now {
        self.0.get()
    }
}

pub(crate) type TestPartitions = Partitions<FaultDisk, TestClock>;

/// What a test shard is opened with.
#[derive(Clone)]
pub(crate) struct Setup {
    pub(crate) broker: BrokerId,
    pub(crate) shard: u16,
    pub(crate) start: u64,
    pub(crate) seed: u64,
    /// What the wall clock says at the start.
    pub(crate) wall_ms: i64,
    pub(crate) tail_budget: usize,
    pub(crate) journal_buffer_budget: u64,
    pub(crate) scrub_interval_ms: u64,
    pub(crate) assigned: Vec<PartitionAssignment>,
    pub(crate) imports: Vec<sluice_storage::checkpoint::PartitionCheckpoint>,
    pub(crate) owners: BTreeMap<TopicPartition, ShardIndex>,
    pub(crate) handed_over: Vec<PartitionCheckpoint>,
    pub(crate) deleted: BTreeSet<TopicId>,
    pub(crate) pacer: Rc<dyn Pace>,
}

impl Setup {
    /// `partitions` partitions of one topic, under the leader epoch of the `start`th start.
    pub(crate) fn new(partitions: u32, start: u64) -> Self {
        Self {
            broker: BrokerId(1),
            shard: 0,
            start,
            seed: 1,
            wall_ms: 1_800_000_000_000,
            tail_budget: 1024 * 1024,
            journal_buffer_budget: 1024 * 1024,
            scrub_interval_ms: 0,
            assigned: (0..partitions).map(|p| assignment(p, start)).collect(),
            imports: Vec::new(),
            owners: BTreeMap::new(),
            handed_over: Vec::new(),
            deleted: BTreeSet::new(),
            pacer: Rc::new(Unpaced),
        }
    }
}

pub(crate) fn id(partition: u32) -> TopicPartition {
    TopicPartition { topic_id: TopicId([3; 16]), partition: PartitionIndex(partition) }
}

/// Of the broker's `start`th start.
pub(crate) fn incarnation(start: u64) -> Incarnation {
    Incarnation { number: start, random: 77 + start }
}

pub(crate) fn assignment(partition: u32, start: u64) -> PartitionAssignment {
    PartitionAssignment {
        id: id(partition),
        placement_epoch: PlacementEpoch(1),
        state: Some(PartitionState::alone(BrokerId(1), incarnation(start), LeaderEpoch(u32::try_from(start).unwrap()))),
        settings: PartitionSettings {
            segment_len: 64 * 1024,
            retention_bytes: None,
            retention_ms: None,
            frame_len_max: 300 * 1024,
            min_insync_replicas: 1,
        },
    }
}

/// What `setup` means to [`Partitions::open`].
pub(crate) fn open_shard(mut setup: Setup) -> OpenShard {
    // Every start is registered before anything is decided about it.
    for state in setup.assigned.iter_mut().filter_map(|assigned| assigned.state.as_mut()) {
        state.replicas.insert(setup.broker, incarnation(setup.start));
    }
    let layout = Layout::new(Path::new("/data"));
    let shard = ShardIndex(setup.shard);
    let config = PartitionsConfig {
        journal: JournalConfig {
            dir: layout.shard_journal_dir(shard),
            file_len: JOURNAL_FILE_LEN,
            file_count: 4,
            group_len_target: 64 * 1024,
        },
        layout,
        shard,
        broker: setup.broker,
        tail_budget: setup.tail_budget,
        journal_buffer_budget: setup.journal_buffer_budget,
        produce_delay_ms_max: 1000,
        write_back_interval_ms: 1000,
        checkpoint_interval_ms: 2000,
        scrub_interval_ms: setup.scrub_interval_ms,
        isr_times: IsrTimes::default(),
    };
    OpenShard {
        config,
        incarnation: incarnation(setup.start),
        assigned: setup.assigned,
        imports: setup.imports,
        owners: setup.owners,
        handed_over: setup.handed_over,
        deleted: setup.deleted,
        pacer: setup.pacer,
    }
}

pub(crate) struct TestShard {
    pub(crate) disk: FaultDisk,
    pub(crate) clock: TestClock,
    pub(crate) partitions: TestPartitions,
    pub(crate) report: RecoveryReport,
    pub(crate) failures: Rc<RefCell<Vec<Failure>>>,
    runner: Runner,
}

impl TestShard {
    pub(crate) fn open(disk: &FaultDisk, setup: Setup) -> Self {
        Self::try_open(disk, setup).unwrap_or_else(|error| panic!("the shard does not open: {error}"))
    }

    pub(crate) fn try_open(disk: &FaultDisk, setup: Setup) -> Result<Self, OpenError> {
        let clock = TestClock::default();
        clock.0.set(Now { wall_ms: setup.wall_ms, mono_us: 1_000_000 });
        let seed = setup.seed;
        let open = open_shard(setup);
        let (partitions, report) = block_on(Partitions::open(disk.clone(), clock.clone(), open))?;
        let failures = Rc::new(RefCell::new(Vec::new()));
        let mut runner = Runner::new(seed);
        let (p, f) = (partitions.clone(), failures.clone());
        runner.spawn(async move {
            let failure = p.run_commit().await;
            f.borrow_mut().push(failure);
        });
        let (p, f) = (partitions.clone(), failures.clone());
        runner.spawn(async move {
            let failure = p.run_write_back().await;
            f.borrow_mut().push(failure);
        });
        let (p, f) = (partitions.clone(), failures.clone());
        runner.spawn(async move {
            let failure = p.run_scrub().await;
            f.borrow_mut().push(failure);
        });
        Ok(Self { disk: disk.clone(), clock, partitions, report, failures, runner })
    }

    /// Runs the tasks until all wait.
    pub(crate) fn settle(&mut self) {
        self.runner.run_until_stalled();
    }

    /// One turn of one task.
    pub(crate) fn turn(&mut self) -> bool {
        self.runner.poll_one()
    }

    /// Moves the clock on by steps of at most 50 ms, ticking at each.
    pub(crate) fn advance_ms(&mut self, ms: u64) {
        let mut left = ms;
        while left > 0 {
            let step = left.min(50);
            left -= step;
            let now = self.clock.0.get();
            self.clock.0.set(Now { wall_ms: now.wall_ms + i64::try_from(step).unwrap(), mono_us: now.mono_us + step * 1000 });
            self.partitions.on_tick(self.clock.now());
            self.settle();
        }
    }

    /// Moves the monotonic clock on without a tick, and says what it shows then.
    pub(crate) fn pass_us(&self, us: u64) -> u64 {
        let now = self.clock.0.get();
        self.clock.0.set(Now { mono_us: now.mono_us + us, ..now });
        now.mono_us + us
    }

    /// Sets the wall clock, and only that.
    pub(crate) fn jump_ms(&mut self, by_ms: i64) {
        let now = self.clock.0.get();
        self.clock.0.set(Now { wall_ms: now.wall_ms + by_ms, ..now });
    }

    /// Begins a task beside the shard's own.
    pub(crate) fn spawn(&mut self, future: impl Future<Output = ()> + 'static) {
        self.runner.spawn(future);
    }

    /// Runs a future beside the shard's own tasks, to its end.
    pub(crate) fn run<T: 'static>(&mut self, future: impl Future<Output = T> + 'static) -> T {
        let slot = Rc::new(RefCell::new(None));
        let filled = slot.clone();
        self.runner.spawn(async move {
            let value = future.await;
            *filled.borrow_mut() = Some(value);
        });
        self.settle();
        slot.take().expect("the future ends while the shard runs")
    }

    pub(crate) fn append(&self, frame: &[u8], token: u64) -> Result<(), ProduceRefusal> {
        self.partitions.append(self.clock.now(), frame, Acks::All, token)
    }

    pub(crate) fn completions(&self) -> Vec<Completion> {
        let mut completions = Vec::new();
        self.partitions.take_completed(&mut completions);
        completions
    }

    /// The acknowledged (token, base offset) pairs since the last call.
    pub(crate) fn acknowledged(&self) -> Vec<(u64, u64)> {
        let completions = self.completions();
        completions
            .iter()
            .map(|c| match c.outcome {
                Completed::Produced { base_offset, .. } => (c.token, base_offset.expect("not an old duplicate").0),
                other => panic!("{other:?}"),
            })
            .collect()
    }

    /// All frames of a partition from `offset` on, by as many fetches as it takes; each is verified.
    pub(crate) fn read_all(&mut self, partition: u32, offset: u64) -> Result<Vec<ReadFrame>, FetchRefusal> {
        self.read_all_of(id(partition), offset)
    }

    pub(crate) fn read_all_of(&mut self, id: TopicPartition, offset: u64) -> Result<Vec<ReadFrame>, FetchRefusal> {
        let mut frames: Vec<ReadFrame> = Vec::new();
        let mut next = Offset(offset);
        loop {
            let fetched = self.partitions.fetch(id, next, 400 * 1024)?;
            let slices = match fetched.frames {
                FetchedFrames::Empty => return Ok(frames),
                FetchedFrames::Memory(slices) => slices,
                FetchedFrames::Disk(read) => block_on(read.run()).unwrap_or_else(|error| panic!("{error:?}")).slices,
            };
            let bytes = slices.concat();
            let mut rest = bytes.as_slice();
            assert!(!rest.is_empty(), "a fetch below the high watermark has frames");
            while !rest.is_empty() {
                rest = take_frame(rest, &mut frames, &mut next);
            }
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ReadFrame {
    pub(crate) base_offset: u64,
    pub(crate) body: Vec<u8>,
    pub(crate) header_crc: u32,
}

/// Verifies the first frame and that it follows the last one; gives back the rest.
fn take_frame<'a>(bytes: &'a [u8], frames: &mut Vec<ReadFrame>, next: &mut Offset) -> &'a [u8] {
    let (header, body) = FrameHeader::parse_frame(bytes).unwrap_or_else(|error| panic!("{error}"));
    if let Some(last) = frames.last() {
        assert_eq!(header.prev_header_crc.to_native(), last.header_crc, "the chain holds");
    }
    let base_offset = header.base_offset().0;
    frames.push(ReadFrame { base_offset, body: body.to_vec(), header_crc: header.header_crc.to_native() });
    *next = header.next_offset();
    &bytes[header.frame_len()..]
}

/// The frames of one answer.
pub(crate) fn frames_of(bytes: &[u8]) -> Vec<ReadFrame> {
    let (mut frames, mut next, mut rest) = (Vec::new(), Offset::ZERO, bytes);
    while !rest.is_empty() {
        rest = take_frame(rest, &mut frames, &mut next);
    }
    frames
}

/// An idempotent producer of one partition.
pub(crate) struct TestProducer {
    pub(crate) id: TopicPartition,
    pub(crate) partition: u32,
    pub(crate) producer_id: i64,
    pub(crate) next_sequence: i32,
    pub(crate) attributes: u16,
    /// The producer's own time of every record.
    pub(crate) timestamp_ms: i64,
}

impl TestProducer {
    pub(crate) fn new(partition: u32, producer_id: i64) -> Self {
        Self { id: id(partition), partition, producer_id, next_sequence: 0, attributes: 0, timestamp_ms: 1_000 }
    }

    pub(crate) fn of(id: TopicPartition, producer_id: i64) -> Self {
        Self { id, ..Self::new(id.partition.0, producer_id) }
    }

    /// A frame of `values.len()` records, the next in sequence.
    pub(crate) fn frame(&mut self, values: &[&[u8]]) -> Vec<u8> {
        let mut builder = RecordsBuilder::new(1 << 20);
        for value in values {
            let record = NewRecord { key: None, value: Some(value), headers: &[], timestamp_ms: self.timestamp_ms };
            builder.append(&record).unwrap();
        }
        let built = builder.take().unwrap();
        let record_count = u32::try_from(values.len()).unwrap();
        let batch = ProducerBatch {
            topic_partition: self.id,
            attributes: self.attributes,
            producer_id: ProducerId(self.producer_id),
            producer_epoch: ProducerEpoch(0),
            base_sequence: Sequence(self.next_sequence),
            record_count,
            base_timestamp_ms: built.base_timestamp_ms,
            max_timestamp_ms: built.max_timestamp_ms,
        };
        self.next_sequence += i32::try_from(record_count).unwrap();
        let header = FrameHeader::new(batch, &built.body);
        let mut frame = BytesMut::from(header.as_bytes().as_slice());
        frame.extend_from_slice(&built.body);
        frame.to_vec()
    }

    /// A frame of one record of `len` bytes.
    pub(crate) fn frame_of(&mut self, len: usize) -> Vec<u8> {
        let byte = u8::try_from(self.next_sequence & 0xff).unwrap();
        self.frame(&[&vec![byte; len]])
    }
}

/// `count` rounds of one frame for each producer, durable after each.
pub(crate) fn fill(shard: &mut TestShard, producers: &mut [TestProducer], count: usize, len: usize) {
    for round in 0..count {
        for producer in &mut *producers {
            shard.append(&producer.frame_of(len), round as u64).unwrap();
        }
        shard.settle();
    }
}

/// One round of a busy while: a frame of each of two producers, of a length of its own, unless it is refused for load;
/// now and then time enough for write-back and a checkpoint. `counts` is of those that were taken.
pub(crate) fn busy_round(shard: &mut TestShard, producers: &mut [TestProducer], round: u64, counts: &mut [usize; 2]) {
    for (producer, count) in producers.iter_mut().zip(counts) {
        let before = producer.next_sequence;
        match shard.append(&producer.frame_of(3000 + 700 * (usize::try_from(round).unwrap() % 5)), round) {
            Ok(()) => *count += 1,
            Err(ProduceRefusal::Overloaded { .. }) => producer.next_sequence = before,
            Err(other) => panic!("{other}"),
        }
    }
    if round % 7 == 3 {
        shard.advance_ms(2100);
    }
    shard.settle();
}
