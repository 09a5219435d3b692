//! The one place where a replica's effects are executed.

use crate::completions::{CommitTimes, Completed, Completion};
use crate::partition::{LastFlush, Partition};
use crate::partitions::{PartitionCell, Partitions};
use sluice_model::limits::WRITE_BACK_LEN;
use sluice_model::{Clock, FrameHeader, Now};
use sluice_replica::Effect;
use sluice_storage::commit_group::JournalEntry;
use sluice_storage::disk::Disk;

impl<D: Disk, C: Clock> Partitions<D, C> {
    /// Executes `effects` of one event of `partition`, in order; `body` is the body of the batch they append.
    pub(crate) fn run_effects(
        &self,
        cell: &PartitionCell<D>,
        partition: &mut Partition<D>,
        body: &[u8],
        now: Now,
        effects: &[Effect],
    ) {
        for effect in effects {
            match *effect {
                Effect::Append { ref header } => {
                    self.append_frame(cell, partition, header, body, now);
                    self.tell_replicas(partition);
                }
                Effect::AckProduce { token, base_offset, append_time_ms, durability } => {
                    let log_start_offset = partition.log.log_start_offset();
                    let LastFlush { issued_us, durable_us } = partition.last_flush;
                    let times = CommitTimes { issued_us, durable_us, committed_us: now.mono_us };
                    let outcome = Completed::Produced { base_offset, append_time_ms, log_start_offset, durability, times };
                    self.shared.completions.push(Completion { token, outcome });
                }
                Effect::HighWatermarkMoved { .. } => {
                    if !partition.watchers.is_empty() {
                        self.shared.completions.push_watched(partition.watchers.drain(..));
                    }
                    self.tell_replicas(partition);
                }
            }
        }
        self.evict_excess(Some(partition));
    }

    /// The next frame of a log, to its tail and to the shard's next commit group.
    pub(crate) fn append_frame(
        &self,
        cell: &PartitionCell<D>,
        partition: &mut Partition<D>,
        header: &FrameHeader,
        body: &[u8],
        now: Now,
    ) {
        let address = self.shared.journal.append(JournalEntry::Frame { header, body });
        partition.log.append(header, body, address);
        if partition.note_group(address.sequence) {
            self.shared.note_flush(address.sequence, cell);
        }
        partition.unwritten_since_us.get_or_insert(now.mono_us);
        if partition.log.unwritten_len() >= WRITE_BACK_LEN as u64 {
            self.shared.ready.borrow_mut().insert(partition.id());
            self.want_write_back();
        }
    }

    /// Brings the tails back within their budget, the oldest batches of the cache first. `current` is the
    /// partition that is borrowed already.
    pub(crate) fn evict_excess(&self, mut current: Option<&mut Partition<D>>) {
        let memory = &self.shared.memory;
        while memory.excess_len() > 0 {
            let Some(id) = memory.next_eviction() else { return };
            match current.as_deref_mut() {
                Some(partition) if partition.id() == id => {
                    partition.log.evict_oldest_clean();
                }
                _ => {
                    if let Some(other) = self.get(id) {
                        other.borrow_mut().log.evict_oldest_clean();
                    }
                }
            }
        }
    }
}
