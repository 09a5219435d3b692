//! One shard's partitions, or its storage alone, on the memory disk.

use crate::inputs::partition;
use crate::memory_disk::MemoryDisk;
use sluice_model::limits::GROUP_LEN_TARGET;
use sluice_model::{BrokerId, Clock, Incarnation, LeaderEpoch, Now, PlacementEpoch, ShardIndex, TopicPartition};
use sluice_partition::pace::Unpaced;
use sluice_partition::{Acks, Completion, IsrTimes, OpenShard, PartitionAssignment, PartitionSettings, PartitionState, Partitions, PartitionsConfig};
use sluice_storage::batch_cache::TailMemory;
use sluice_storage::commit_group::JournalEntry;
use sluice_storage::journal::{Journal, JournalConfig};
use sluice_storage::layout::Layout;
use sluice_storage::log::{Log, LogConfig};
use sluice_storage::recovery::{PartitionFate, RecoverShard, recover_shard};
use sluice_storage::write_back::WriteBackKind;
use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::path::Path;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

const INCARNATION: Incarnation = Incarnation { number: 1, random: 77 };
const SHARD: ShardIndex = ShardIndex(0);
const TAIL_BUDGET_LEN: usize = 64 * 1024 * 1024;

/// A clock that stands still.
#[derive(Clone, Copy)]
pub struct StillClock;

impl Clock for StillClock {
    fn now(&self) -> Now {
        Now { wall_ms: 1_800_000_000_000, mono_us: 1_000_000 }
    }
}

/// Runs a future that waits for nothing.
pub fn ready<F: Future>(future: F) -> F::Output {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("on a disk that does all at once nothing waits"),
    }
}

fn layout() -> Layout {
    Layout::new(Path::new("/data"))
}

fn journal_config() -> JournalConfig {
    JournalConfig {
        dir: layout().shard_journal_dir(SHARD),
        file_len: 2 * 1024 * 1024,
        file_count: 4,
        group_len_target: GROUP_LEN_TARGET,
    }
}

/// Partitions 0 to `count` of one topic, and the commit loop that makes them durable.
pub struct BenchShard {
    pub partitions: Partitions<MemoryDisk, StillClock>,
    commit_loop: Pin<Box<dyn Future<Output = ()>>>,
    completions: Vec<Completion>,
}

impl BenchShard {
    pub fn open(count: u32) -> Self {
        let open = ready_or_turns(Partitions::open(MemoryDisk::default(), StillClock, open_shard(count)));
        let (partitions, _report) = open.unwrap_or_else(|error| panic!("the shard does not open: {error}"));
        let commits = partitions.clone();
        let commit_loop = Box::pin(async move {
            let failure = commits.run_commit().await;
            panic!("the memory disk does not fail: {failure}");
        });
        Self { partitions, commit_loop, completions: Vec::with_capacity(1024) }
    }

    pub fn append(&self, frame: &[u8], token: u64) {
        let appended = self.partitions.append(StillClock.now(), frame, Acks::All, token);
        appended.unwrap_or_else(|refusal| panic!("the frame is refused: {refusal}"));
    }

    /// Makes durable all that was appended, and takes the answers; how many there are.
    pub fn commit(&mut self) -> usize {
        // Two turns a group: after each one the loop lets others go first.
        for _ in 0..64 {
            let polled = self.commit_loop.as_mut().poll(&mut Context::from_waker(Waker::noop()));
            assert!(polled.is_pending(), "the commit loop does not end");
            if self.partitions.shard_status().journal_queued_len == 0 {
                break;
            }
        }
        self.completions.clear();
        self.partitions.take_completed(&mut self.completions);
        self.completions.len()
    }
}

fn open_shard(count: u32) -> OpenShard {
    let settings = PartitionSettings {
        segment_len: 256 * 1024 * 1024,
        retention_bytes: None,
        retention_ms: None,
        frame_len_max: 1024 * 1024,
        min_insync_replicas: 1,
    };
    let assigned = |index| PartitionAssignment {
        id: partition(index),
        placement_epoch: PlacementEpoch(1),
        state: Some(PartitionState::alone(BrokerId(1), INCARNATION, LeaderEpoch(1))),
        settings,
    };
    OpenShard {
        config: PartitionsConfig {
            layout: layout(),
            shard: SHARD,
            broker: BrokerId(1),
            journal: journal_config(),
            tail_budget: TAIL_BUDGET_LEN,
            journal_buffer_budget: 16 * 1024 * 1024,
            produce_delay_ms_max: 1000,
            write_back_interval_ms: 1000,
            checkpoint_interval_ms: 2000,
            scrub_interval_ms: 0,
            isr_times: IsrTimes::default(),
        },
        incarnation: INCARNATION,
        assigned: (0..count).map(assigned).collect(),
        imports: Vec::new(),
        owners: BTreeMap::new(),
        handed_over: Vec::new(),
        deleted: BTreeSet::new(),
        pacer: Rc::new(Unpaced),
    }
}

/// Runs a future that lets others go first and waits for nothing else.
fn ready_or_turns<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    for _ in 0..1_000_000 {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            return output;
        }
    }
    panic!("the future waits for something that nothing brings")
}

/// A journal and one log, without the rules above them.
pub struct BenchStorage {
    pub journal: Journal<MemoryDisk>,
    pub log: Log<MemoryDisk>,
    pub disk: MemoryDisk,
}

impl BenchStorage {
    pub fn open(id: TopicPartition) -> Self {
        let disk = MemoryDisk::default();
        let memory = TailMemory::new(TAIL_BUDGET_LEN as u64);
        let plan = RecoverShard {
            layout: layout(),
            shard: SHARD,
            incarnation: INCARNATION,
            journal: journal_config(),
            memory: memory.clone(),
            fate: &|_, _| PartitionFate::Recover(LogConfig::default()),
            assigned: Vec::new(),
            imports: Vec::new(),
            handed_over: Vec::new(),
            may_rebuild: false,
        };
        let recovered = ready_or_turns(recover_shard(&disk, plan));
        let recovered = recovered.unwrap_or_else(|error| panic!("the shard is not recovered: {error}"));
        let dir = layout().partition_dir(id);
        let log = Log::create(disk.clone(), dir, id, PlacementEpoch(1), LogConfig::default(), memory);
        Self { journal: recovered.journal, log, disk }
    }

    /// A frame into journal and log, as a leader's effects have it.
    pub fn append(&mut self, frame: &crate::inputs::Frame) {
        let address = self.journal.append(JournalEntry::Frame { header: &frame.header, body: &frame.body });
        self.log.append(&frame.header, &frame.body, address);
    }

    pub fn commit(&self) {
        while self.journal.queued_len() > 0 {
            ready(self.journal.commit_next()).expect("the memory disk does not fail");
        }
    }

    /// Everything to its segment, and out of memory.
    pub fn write_back(&mut self) {
        while let Some(plan) = self.log.plan_write_back(WriteBackKind::Everything) {
            let written = ready(plan.run()).expect("the memory disk does not fail");
            self.log.on_written_back(written);
        }
        let flush = self.log.plan_flush().expect("there is something to flush");
        self.log.on_flushed(ready(flush.run()).expect("the memory disk does not fail"));
        while self.log.evict_oldest_clean() > 0 {}
    }
}
