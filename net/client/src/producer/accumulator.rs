//! The memory of a producer: for every partition the batch that is being filled and the queue of those that are
//! full, and the list of partitions where something is to be done.
//!
//! Records are written straight into the batch. Nothing here waits, and nothing here touches a socket.

use super::batch::{Batch, CellRef, Count, Serial};
use super::confirm::{BatchCell, Confirm};
use super::outbox::Outbox;
use super::partition_queue::{PartitionQueue, QueueEffect};
use super::record::ProducerRecord;
use crate::address::Address;
use crate::backoff::{Backoff, random_u64};
use crate::config::{ClientConfig, ProducerConfig};
use crate::leader::Leader;
use crate::metadata_cache::TopicInfo;
use crate::partitioner::{Sticky, partition_for_key};
use crate::refreshing::Refreshing;
use sluice_model::record_batch::{Attributes, Compression, NewRecord, RecordRefusal, RecordsBuilder};
use sluice_model::{FRAME_HEADER_LEN, PartitionIndex, ProducerId, TopicPartition};
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

/// Batches of one partition on the wire beyond which one that is not full waits (see `linger_ms`).
const SMALL_IN_FLIGHT_MAX: usize = 2;

/// The batch that is being filled.
struct OpenBatch {
    cell: Arc<BatchCell>,
    serial: Serial,
    since_us: u64,
    reserved: usize,
}

impl OpenBatch {
    fn since_ms(&self) -> u64 {
        self.since_us / 1000
    }
}

impl Slot {
    pub(crate) fn open_records(&self) -> u32 {
        self.builder.record_count()
    }
}

/// Names a partition of this producer.
pub(crate) type SlotIndex = usize;

pub(crate) struct Slot {
    pub(crate) id: TopicPartition,
    /// The topic was created again; batches go there once the queue has settled what was for the old one.
    pub(crate) next_id: Option<TopicPartition>,
    pub(crate) topic: usize,
    pub(crate) leader: Leader,
    /// Where the last batch was sent.
    pub(crate) sent_to: Option<Address>,
    pub(crate) queue: PartitionQueue<Batch>,
    pub(crate) outbox: Outbox,
    builder: RecordsBuilder,
    open: Option<OpenBatch>,
    /// Stands in the list of those where something is to be done.
    ready: bool,
    /// The earliest timer set for it.
    pub(crate) timer_ms: Option<u64>,
}

pub(crate) struct TopicSlot {
    pub(crate) info: Arc<TopicInfo>,
    pub(crate) slots: Vec<SlotIndex>,
    pub(crate) refreshing: Refreshing,
    /// When a producer that gets no answers last asked who leads its partitions.
    pub(crate) looked_ms: u64,
    sticky: Sticky,
}

pub(crate) struct Accumulator {
    config: ProducerConfig,
    backoff_ms: (u32, u32),
    producer_id: Option<ProducerId>,
    by_name: HashMap<Arc<str>, usize>,
    pub(crate) topics: Vec<TopicSlot>,
    pub(crate) slots: Vec<Slot>,
    ready: Vec<SlotIndex>,
    /// Batches whose outcome is not given yet, those being filled included.
    pub(crate) unsettled: BTreeSet<Serial>,
    pub(crate) next_serial: Serial,
    pub(crate) taken: Count,
    pub(crate) retried: Count,
    /// Batches go out without lingering while somebody waits for all of them.
    pub(crate) flushing: usize,
    /// No more records are taken.
    pub(crate) closing: bool,
    /// Nothing is sent any more.
    pub(crate) closed: bool,
}

/// Why a record was not taken.
#[derive(Debug)]
pub(crate) enum AppendRefusal {
    UnknownPartition { count: usize },
    Record(RecordRefusal),
}

/// A record was taken.
pub(crate) struct Appended {
    pub(crate) confirm: Confirm,
    /// The partition has something to do that it had not before.
    pub(crate) wake: bool,
    /// A batch was filled.
    pub(crate) filled: bool,
}

impl Accumulator {
    pub(crate) fn new(config: ProducerConfig, client: &ClientConfig, producer_id: Option<ProducerId>) -> Self {
        Self {
            config,
            backoff_ms: (client.retry_backoff_ms, client.retry_backoff_ms_max),
            producer_id,
            by_name: HashMap::new(),
            topics: Vec::new(),
            slots: Vec::new(),
            ready: Vec::new(),
            unsettled: BTreeSet::new(),
            next_serial: 0,
            taken: Count::default(),
            retried: Count::default(),
            flushing: 0,
            closing: false,
            closed: false,
        }
    }

    pub(crate) fn topic(&self, name: &str) -> Option<usize> {
        self.by_name.get(name).copied()
    }

    /// Takes in a topic's description, the first one or a later one. Effects of a topic that was created again.
    pub(crate) fn set_topic(&mut self, now_ms: u64, info: Arc<TopicInfo>) -> Vec<(SlotIndex, Vec<QueueEffect<Batch>>)> {
        let topic = match self.by_name.get(&info.name) {
            Some(&topic) => topic,
            None => {
                self.by_name.insert(info.name.clone(), self.topics.len());
                self.topics.push(TopicSlot {
                    info: info.clone(),
                    slots: Vec::new(),
                    refreshing: Refreshing::default(),
                    looked_ms: now_ms,
                    sticky: Sticky::new(),
                });
                self.topics.len() - 1
            }
        };
        let mut replaced = Vec::new();
        for partition in &info.partitions {
            let id = TopicPartition { topic_id: info.topic_id, partition: PartitionIndex(partition.partition) };
            let Some(&slot) = self.topics[topic].slots.get(partition.partition as usize) else {
                self.add_slot(topic, id, Leader::new(partition), body_len_max(&info));
                continue;
            };
            let entry = &mut self.slots[slot];
            if entry.next_id.unwrap_or(entry.id) != id {
                entry.leader = Leader::new(partition);
            } else if entry.leader.on_described(now_ms, partition) {
                entry.queue.on_new_leader();
            }
            if entry.builder.is_empty() {
                entry.builder = RecordsBuilder::new(body_len_max(&info));
            }
            if entry.next_id.unwrap_or(entry.id) != id {
                let mut effects = Vec::new();
                entry.next_id = Some(id);
                entry.queue.on_log_replaced(&mut effects);
                replaced.push((slot, effects));
            }
            self.set_ready(slot);
        }
        self.topics[topic].info = info;
        replaced
    }

    fn add_slot(&mut self, topic: usize, id: TopicPartition, leader: Leader, body_len_max: usize) {
        let backoff = Backoff::new(self.backoff_ms.0, self.backoff_ms.1, random_u64());
        let slot = self.slots.len();
        self.slots.push(Slot {
            id,
            next_id: None,
            topic,
            leader,
            sent_to: None,
            queue: PartitionQueue::new(self.producer_id, backoff),
            outbox: Outbox::default(),
            builder: RecordsBuilder::new(body_len_max),
            open: None,
            ready: false,
            timer_ms: None,
        });
        self.topics[topic].slots.push(slot);
    }

    /// The partition a record goes to, in a topic that has at least one.
    pub(crate) fn choose(&self, topic: usize, record: &ProducerRecord<'_>) -> Result<SlotIndex, AppendRefusal> {
        let topic = &self.topics[topic];
        let count = topic.slots.len();
        let partition = match (record.partition, record.key) {
            (Some(partition), _) => partition,
            (None, Some(key)) => partition_for_key(key, count as u32),
            (None, None) => topic.sticky.current(count as u32),
        };
        topic.slots.get(partition as usize).copied().ok_or(AppendRefusal::UnknownPartition { count })
    }

    /// Bytes of memory that this record takes, at most.
    pub(crate) fn reserve_len(record: &ProducerRecord<'_>) -> usize {
        const RECORD_OVERHEAD_MAX: usize = 64;
        let headers: usize = record.headers.iter().map(|h| h.key.len() + h.value.map_or(0, <[u8]>::len) + 16).sum();
        RECORD_OVERHEAD_MAX + record.key.map_or(0, <[u8]>::len) + record.value.map_or(0, <[u8]>::len) + headers
    }

    /// Writes a record into its partition's batch; `reserved` bytes of memory go with it. The clock is read for the first
    /// record of a batch only.
    pub(crate) fn append(
        &mut self,
        slot: SlotIndex,
        now_us: impl FnOnce() -> u64,
        record: &NewRecord<'_>,
        reserved: usize,
    ) -> Result<Appended, AppendRefusal> {
        let entry = &self.slots[slot];
        let (mut wake, mut filled) = (false, false);
        if !entry.builder.is_empty() && entry.builder.len() + entry.builder.record_len(record) > self.config.batch_len_max {
            self.seal(slot);
            // What filled one batch will fill the next.
            self.slots[slot].builder.reserve(self.config.batch_len_max);
            filled = true;
        }
        let mut len_before = self.slots[slot].builder.len();
        let index = match self.slots[slot].builder.append(record) {
            Err(RecordRefusal::Full { .. } | RecordRefusal::CountFull) if !self.slots[slot].builder.is_empty() => {
                self.seal(slot);
                (filled, len_before) = (true, 0);
                self.slots[slot].builder.append(record)
            }
            result => result,
        };
        let entry = &mut self.slots[slot];
        let index = match index {
            Ok(index) => index,
            Err(refusal) => return Err(AppendRefusal::Record(refusal)),
        };
        let open = entry.open.get_or_insert_with(|| {
            let serial = self.next_serial;
            self.next_serial += 1;
            self.unsettled.insert(serial);
            wake = true;
            OpenBatch { cell: BatchCell::new(entry.id.partition.0), serial, since_us: now_us(), reserved: 0 }
        });
        self.taken.records += 1;
        self.taken.bytes += (entry.builder.len() - len_before) as u64;
        open.reserved += reserved;
        let confirm = Confirm::new(open.cell.clone(), index);
        if entry.builder.len() >= self.config.batch_len_max {
            self.seal(slot);
            filled = true;
        }
        wake |= filled;
        if wake {
            self.set_ready(slot);
        }
        Ok(Appended { confirm, wake, filled })
    }

    /// Closes the batch that is being filled and puts it behind the others.
    pub(crate) fn seal(&mut self, slot: SlotIndex) {
        let entry = &mut self.slots[slot];
        let (Some(built), Some(open)) = (entry.builder.take(), entry.open.take()) else { return };
        let deadline_ms = open.since_ms() + self.config.delivery_timeout_ms;
        let batch = Batch {
            len: built.body.len(),
            body: built.body.freeze(),
            attributes: Attributes::new(Compression::None),
            prepared: self.config.compression == Compression::None,
            record_count: built.record_count,
            base_timestamp_ms: built.base_timestamp_ms,
            max_timestamp_ms: built.max_timestamp_ms,
            cell: CellRef(open.cell),
            reserved: open.reserved,
            topic: self.topics[entry.topic].info.name.clone(),
            serial: open.serial,
            since_us: open.since_us,
            sendings: 0,
        };
        let (topic, partition) = (entry.topic, entry.id.partition.0);
        entry.outbox.expect(open.serial);
        entry.queue.push(batch, built.record_count, deadline_ms);
        let TopicSlot { slots, sticky, .. } = &mut self.topics[topic];
        let all = &self.slots;
        sticky.on_batch_end(partition, slots.len() as u32, |partition| {
            let slot = &all[slots[partition as usize]];
            slot.leader.address().is_some().then(|| slot.queue.len())
        });
    }

    /// The batch being filled is to go out now, provided the queue can send it.
    pub(crate) fn is_ripe(&self, slot: SlotIndex, now_ms: u64) -> bool {
        let entry = &self.slots[slot];
        let Some(open) = &entry.open else { return false };
        if entry.queue.has_sendable() || entry.queue.is_closing() {
            return false;
        }
        let linger_ms = u64::from(self.config.linger_ms);
        self.flushing > 0 && entry.queue.len() < sluice_model::limits::BATCHES_PER_PRODUCER
            || linger_ms == 0 && entry.queue.len() < SMALL_IN_FLIGHT_MAX
            || linger_ms > 0
                && now_ms >= open.since_ms() + linger_ms
                && entry.queue.len() < sluice_model::limits::BATCHES_PER_PRODUCER
    }

    /// The batch being filled is past its delivery timeout.
    pub(crate) fn seal_expired(&mut self, slot: SlotIndex, now_ms: u64) {
        let timeout_ms = self.config.delivery_timeout_ms;
        if self.slots[slot].open.as_ref().is_some_and(|open| now_ms >= open.since_ms() + timeout_ms) {
            self.seal(slot);
        }
    }

    /// When this partition has something to do although nothing happens; `None`: nothing. What is on the wire for `quiet_ms`
    /// is a reason to ask who leads.
    pub(crate) fn next_timer_ms(&self, slot: SlotIndex, now_ms: u64, quiet_ms: u64) -> Option<u64> {
        let entry = &self.slots[slot];
        let open = entry.open.as_ref().map(|open| {
            let linger_ms = open.since_ms() + u64::from(self.config.linger_ms);
            let deadline_ms = open.since_ms() + self.config.delivery_timeout_ms;
            if linger_ms > now_ms { linger_ms } else { deadline_ms }
        });
        let pause = Some(entry.queue.not_before_ms()).filter(|&at| at > now_ms && entry.queue.has_sendable());
        let quiet = entry.queue.longest_in_flight().map(|(_, since_ms)| since_ms + quiet_ms).filter(|&at| at > now_ms);
        [open, pause, quiet, entry.queue.next_deadline_ms()].into_iter().flatten().min()
    }

    pub(crate) fn set_ready(&mut self, slot: SlotIndex) {
        if !std::mem::replace(&mut self.slots[slot].ready, true) {
            self.ready.push(slot);
        }
    }

    pub(crate) fn set_all_ready(&mut self) {
        (0..self.slots.len()).for_each(|slot| self.set_ready(slot));
    }

    /// The partitions where something is to be done; the list begins anew.
    pub(crate) fn take_ready(&mut self) -> Vec<SlotIndex> {
        let ready = std::mem::take(&mut self.ready);
        ready.iter().for_each(|&slot| self.slots[slot].ready = false);
        ready
    }

    /// A fresh id for the queues that wait for one, and for partitions to come.
    pub(crate) fn on_producer_id(&mut self, id: ProducerId) {
        self.producer_id = Some(id);
        for slot in 0..self.slots.len() {
            self.slots[slot].queue.on_producer_id(id);
            self.set_ready(slot);
        }
    }

    /// Gives up everything there is; how many records that is. Their outcomes are in the outboxes.
    pub(crate) fn close(&mut self) -> u64 {
        self.closed = true;
        let mut records = 0;
        for slot in 0..self.slots.len() {
            self.seal(slot);
            let mut effects = Vec::new();
            self.slots[slot].queue.on_close(&mut effects);
            for effect in effects {
                if let QueueEffect::Settled { batch, settlement } = effect {
                    records += u64::from(batch.record_count);
                    self.slots[slot].outbox.put(batch.serial, batch, settlement);
                }
            }
        }
        records
    }
}

fn body_len_max(info: &TopicInfo) -> usize {
    (info.frame_len_max as usize).saturating_sub(FRAME_HEADER_LEN)
}
