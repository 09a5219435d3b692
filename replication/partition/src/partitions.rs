//! Everything one shard owns: its partitions, journal, memory, and the state its loops share.

use crate::admission::Admission;
use crate::append_clock::AppendClock;
use crate::checkpointing::Background;
use crate::completions::{Completion, Completions};
use crate::lifecycle::log_config;
use crate::pace::Pace;
use crate::partition::{Partition, PendingLogStart};
use crate::refusal::FetchRefusal;
use crate::replication::Replication;
use crate::scrub_state::{ScrubState, ScrubStatus};
use crate::settings::{PartitionSettings, PartitionsConfig};
use crate::turn_lock::TurnLock;
use crate::written::{WriteCounts, Written};
use event_listener::Event;
use sluice_model::limits::BLOCK_LEN;
use sluice_model::{BrokerId, Clock, Incarnation, LeaderEpoch, Now, Offset, ProducerId, TopicPartition};
use sluice_replica::{Effects, Phase, Role, Trouble};
use sluice_storage::batch_cache::TailMemory;
use sluice_storage::commit_group::JournalEntry;
use sluice_storage::damage::DamagedRange;
use sluice_storage::disk::Disk;
use sluice_storage::journal::Journal;
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;

/// Effects whose memory is kept; a flush that answers more than these gives the rest back.
const EFFECTS_KEPT_MAX: usize = 256;

pub(crate) type PartitionCell<D> = Rc<RefCell<Partition<D>>>;

/// The partitions of one shard. Cheap to clone; clones are the same. Every call that is not `async` is short and
/// never waits. The loops ([`Self::run_commit`], [`Self::run_write_back`]) must run, and [`Self::on_tick`] must be
/// called, for anything to become durable; [`Self::run_scrub`] looks at all of it again.
pub struct Partitions<D: Disk, C: Clock> {
    pub(crate) shared: Rc<Shared<D, C>>,
}

impl<D: Disk, C: Clock> Clone for Partitions<D, C> {
    fn clone(&self) -> Self {
        Self { shared: Rc::clone(&self.shared) }
    }
}

pub(crate) struct Shared<D: Disk, C: Clock> {
    pub(crate) disk: D,
    pub(crate) clock: C,
    pub(crate) config: PartitionsConfig,
    pub(crate) pacer: Rc<dyn Pace>,
    pub(crate) journal: Journal<D>,
    pub(crate) memory: TailMemory,
    pub(crate) partitions: RefCell<BTreeMap<TopicPartition, PartitionCell<D>>>,
    /// Groups not yet durable, and who has frames or log starts in each; sequences never fall.
    flushes: RefCell<VecDeque<(u64, PartitionCell<D>)>>,
    pub(crate) admission: RefCell<Admission>,
    pub(crate) append_clock: RefCell<AppendClock>,
    pub(crate) completions: Completions,
    pub(crate) replication: Replication,
    /// Of the broker, in this start.
    pub(crate) incarnation: Incarnation,
    /// Empty; keeps its memory from event to event.
    effects: Cell<Effects>,
    /// What only one task at a time may do: write back, flush, checkpoint, create, remove.
    pub(crate) background: TurnLock<Background<D>>,
    /// Partitions that have gathered enough to be written back.
    pub(crate) ready: RefCell<BTreeSet<TopicPartition>>,
    pub(crate) write_back_wanted: Cell<bool>,
    pub(crate) write_back_event: Event,
    pub(crate) group_durable_event: Event,
    pub(crate) timers: RefCell<crate::tick::Timers>,
    pub(crate) closing: Cell<bool>,
    /// Something was not written: nothing else is, from then on.
    pub(crate) failed: Cell<bool>,
    pub(crate) written: Written,
    /// What the spare says of a log is no longer so: it is written with the next checkpoint.
    pub(crate) spare_wanted: Cell<bool>,
    /// Groups before this are needed by neither checkpoint slot.
    pub(crate) needed_from_sequence: Cell<u64>,
    pub(crate) disk_full: Cell<bool>,
    /// Something was refused for want of room in the ring, since the last pass of write-back.
    pub(crate) ring_wanted: Cell<bool>,
    /// Bytes of the largest frame refused for want of tail memory since then.
    pub(crate) tail_wanted_len: Cell<u64>,
    pub(crate) scrub: ScrubState,
    pub(crate) scrub_wanted: Cell<bool>,
    pub(crate) scrub_event: Event,
    /// When the shard was opened, by the monotonic clock.
    pub(crate) opened_us: u64,
}

/// What a partition looks like from outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionStatus {
    pub log_start_offset: Offset,
    pub high_watermark: Offset,
    pub log_end_offset: Offset,
    /// Bytes of frames, in segments and memory.
    pub log_len: u64,
    pub segment_count: usize,
    /// The newest that is known here.
    pub leader_epoch: LeaderEpoch,
    /// Of the last frame; `None` when there is none, or its epoch is not known any more.
    pub last_epoch: Option<LeaderEpoch>,
    /// This shard leads it.
    pub is_leader: bool,
    /// Who is known to lead it.
    pub leader: Option<BrokerId>,
    /// Why it has stopped following; it keeps all that it has.
    pub trouble: Option<Trouble>,
    pub producer_count: usize,
    /// Not served, and not accepted as lost.
    pub damaged: Vec<DamagedRange>,
    /// Acknowledged records may be missing from here on.
    pub possibly_short: Option<Offset>,
}

/// What a shard looks like from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShardStatus {
    pub partition_count: usize,
    /// Bytes appended and not yet durable.
    pub journal_queued_len: u64,
    /// Bytes of the journal's ring that a checkpoint still needs.
    pub journal_distance: u64,
    pub journal_capacity: u64,
    pub tail_used_len: u64,
    pub tail_clean_len: u64,
    pub disk_full: bool,
    pub scrub: ScrubStatus,
}

impl<D: Disk, C: Clock> Shared<D, C> {
    pub(crate) fn note_flush(&self, sequence: u64, cell: &PartitionCell<D>) {
        self.flushes.borrow_mut().push_back((sequence, Rc::clone(cell)));
    }

    /// The next partition with something in a group up to `sequence`.
    pub(crate) fn next_flush(&self, sequence: u64) -> Option<PartitionCell<D>> {
        let mut flushes = self.flushes.borrow_mut();
        flushes.pop_front_if(|(group, _)| *group <= sequence).map(|(_, cell)| cell)
    }

    /// For one event: what it wants done is put into effects that were allocated for an earlier one.
    pub(crate) fn with_effects<T>(&self, event: impl FnOnce(&mut Effects) -> T) -> T {
        let mut effects = self.effects.take();
        let outcome = event(&mut effects);
        effects.clear();
        effects.shrink_to(EFFECTS_KEPT_MAX);
        self.effects.set(effects);
        outcome
    }

    pub(crate) fn new_flushes() -> RefCell<VecDeque<(u64, PartitionCell<D>)>> {
        RefCell::new(VecDeque::new())
    }
}

pub(crate) struct SharedParts<D: Disk, C: Clock> {
    pub(crate) disk: D,
    pub(crate) clock: C,
    pub(crate) config: PartitionsConfig,
    pub(crate) pacer: Rc<dyn Pace>,
    pub(crate) journal: Journal<D>,
    pub(crate) memory: TailMemory,
    pub(crate) background: Background<D>,
    pub(crate) disk_full: bool,
    /// The time an earlier start believed last.
    pub(crate) floor_ms: Option<i64>,
}

impl<D: Disk, C: Clock> Partitions<D, C> {
    pub(crate) fn from_parts(parts: SharedParts<D, C>) -> Self {
        let now = parts.clock.now();
        let (append_clock, change) = AppendClock::new(now, parts.floor_ms);
        let shared = Shared {
            disk: parts.disk,
            clock: parts.clock,
            config: parts.config,
            pacer: parts.pacer,
            journal: parts.journal,
            memory: parts.memory,
            partitions: RefCell::default(),
            flushes: Shared::<D, C>::new_flushes(),
            admission: RefCell::default(),
            append_clock: RefCell::new(append_clock),
            completions: Completions::default(),
            replication: Replication::new(now.mono_us),
            incarnation: parts.background.incarnation,
            effects: Cell::default(),
            background: TurnLock::new(parts.background),
            ready: RefCell::default(),
            write_back_wanted: Cell::new(false),
            write_back_event: Event::new(),
            group_durable_event: Event::new(),
            timers: RefCell::new(crate::tick::Timers::new(now)),
            closing: Cell::new(false),
            failed: Cell::new(false),
            written: Written::default(),
            spare_wanted: Cell::new(false),
            needed_from_sequence: Cell::new(0),
            disk_full: Cell::new(parts.disk_full),
            ring_wanted: Cell::new(false),
            tail_wanted_len: Cell::new(0),
            scrub: ScrubState::default(),
            scrub_wanted: Cell::new(false),
            scrub_event: Event::new(),
            opened_us: now.mono_us,
        };
        let partitions = Self { shared: Rc::new(shared) };
        partitions.note_clock(change);
        partitions
    }

    pub(crate) fn get(&self, id: TopicPartition) -> Option<PartitionCell<D>> {
        self.shared.partitions.borrow().get(&id).cloned()
    }

    /// All partitions, for loops that must not hold the map while they work.
    pub(crate) fn cells(&self) -> Vec<PartitionCell<D>> {
        self.shared.partitions.borrow().values().cloned().collect()
    }

    pub(crate) fn want_write_back(&self) {
        if !self.shared.write_back_wanted.replace(true) {
            self.shared.write_back_event.notify(usize::MAX);
        }
    }

    #[must_use]
    pub fn contains(&self, id: TopicPartition) -> bool {
        self.shared.partitions.borrow().contains_key(&id)
    }

    #[must_use]
    pub fn ids(&self) -> Vec<TopicPartition> {
        self.shared.partitions.borrow().keys().copied().collect()
    }

    #[must_use]
    pub fn status(&self, id: TopicPartition) -> Option<PartitionStatus> {
        let partition = self.get(id)?;
        let partition = partition.borrow();
        let (leader, trouble) = match partition.replica.role() {
            Role::Leader(_) => (Some(self.shared.config.broker), None),
            Role::Follower(follower) => match follower.phase() {
                Phase::Stopped(trouble) => (follower.leader(), Some(trouble)),
                _ => (follower.leader(), None),
            },
        };
        let last_epoch = match partition.replica.role() {
            Role::Leader(leader) => leader.epochs().latest(),
            Role::Follower(follower) => follower.epochs().latest(),
        };
        Some(PartitionStatus {
            log_start_offset: partition.log.log_start_offset(),
            high_watermark: partition.replica.high_watermark(),
            log_end_offset: partition.log.log_end_offset(),
            log_len: partition.log.len(),
            segment_count: partition.log.segment_count(),
            leader_epoch: partition.replica.leader_epoch(),
            last_epoch,
            is_leader: partition.leader().is_some(),
            leader,
            trouble,
            producer_count: partition.replica.producers().len(),
            damaged: partition.log.damaged().to_vec(),
            possibly_short: partition.log.possibly_short(),
        })
    }

    /// The greatest producer id below `below` of any partition here.
    #[must_use]
    pub fn producer_id_max(&self, below: ProducerId) -> Option<ProducerId> {
        let max_of =
            |cell: PartitionCell<D>| cell.borrow().replica.producers().iter().map(|(id, _)| id).filter(|id| *id < below).max();
        self.cells().into_iter().filter_map(max_of).max()
    }

    #[must_use]
    pub fn shard_status(&self) -> ShardStatus {
        let shared = &self.shared;
        ShardStatus {
            partition_count: shared.partitions.borrow().len(),
            journal_queued_len: shared.journal.queued_len(),
            journal_distance: shared.journal.distance(),
            journal_capacity: shared.journal.capacity(),
            tail_used_len: shared.memory.used_len(),
            tail_clean_len: shared.memory.clean_len(),
            disk_full: shared.disk_full.get(),
            scrub: shared.scrub.status(),
        }
    }

    /// What the shard has written since it was opened.
    #[must_use]
    pub fn write_counts(&self) -> WriteCounts {
        self.shared.written.counts()
    }

    /// Called whenever answers or watched tokens are waiting to be taken.
    pub fn on_progress(&self, wake: Box<dyn Fn()>) {
        self.shared.completions.on_progress(wake);
    }

    /// Moves all answers that are ready into `into`; in order per partition.
    pub fn take_completed(&self, into: &mut Vec<Completion>) {
        self.shared.completions.take_completed(into);
    }

    /// Moves the tokens of all watches that have come true into `into`.
    pub fn take_watched(&self, into: &mut Vec<u64>) {
        self.shared.completions.take_watched(into);
    }

    /// Changed settings of a topic; `false` when the partition is not here.
    pub fn alter(&self, id: TopicPartition, settings: PartitionSettings) -> bool {
        let Some(cell) = self.get(id) else { return false };
        let mut effects = Effects::new();
        let mut partition = cell.borrow_mut();
        partition.settings = settings;
        partition.log.set_config(log_config(&settings));
        partition.replica.on_settings(self.shared.config.leader_settings(&settings), &mut effects);
        let now = self.shared.clock.now();
        self.run_effects(&cell, &mut partition, &[], now, &effects);
        true
    }

    /// Moves the log start up to `offset` (at most the high watermark; `Offset(u64::MAX)` means the high
    /// watermark). Answered under `token` once it is durable; a log start that would fall stands still.
    pub fn delete_records(&self, id: TopicPartition, offset: Offset, token: u64) -> Result<(), FetchRefusal> {
        let cell = self.get(id).ok_or(FetchRefusal::UnknownPartition(id))?;
        if self.shared.closing.get() {
            return Err(FetchRefusal::ShuttingDown);
        }
        let mut partition = cell.borrow_mut();
        partition.leader().ok_or(FetchRefusal::NotLeader(id))?;
        let high_watermark = partition.replica.high_watermark();
        let log_start_offset = partition.log.log_start_offset();
        let offset = if offset == Offset(u64::MAX) { high_watermark } else { offset };
        if offset > high_watermark {
            return Err(FetchRefusal::OutOfRange { got: offset, log_start_offset, high_watermark });
        }
        self.admit_control(BLOCK_LEN as u64).map_err(|retry_after_ms| FetchRefusal::Overloaded { retry_after_ms })?;
        self.move_log_start(&cell, &mut partition, offset.max(log_start_offset), Some(token));
        Ok(())
    }

    /// Readers see the new log start at once; files go only after its journal entry is durable.
    pub(crate) fn move_log_start(
        &self,
        cell: &PartitionCell<D>,
        partition: &mut Partition<D>,
        offset: Offset,
        token: Option<u64>,
    ) {
        let id = partition.id();
        let address = self.shared.journal.append(JournalEntry::LogStart { id, offset });
        partition.log.set_log_start(offset);
        partition.changed = true;
        self.tell_replicas(partition);
        partition.log_starts.push_back(PendingLogStart { sequence: address.sequence, offset, token });
        self.shared.note_flush(address.sequence, cell);
    }

    /// What a machine's clock says now.
    #[must_use]
    pub fn now(&self) -> Now {
        self.shared.clock.now()
    }
}
