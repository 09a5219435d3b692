//! A produced frame comes in: everything that can be wrong with it, or too much for this shard, is found here or
//! by the replica's rules, before anything has changed.

use crate::admission::Load;
use crate::partitions::Partitions;
use crate::refusal::{Overload, ProduceRefusal};
use sluice_model::record_batch::{Attributes, Compression, TimestampType, validate_records};
use sluice_model::{Clock, FrameHeader, Now};
use sluice_replica::{Acks, ProduceBatch};
use sluice_storage::disk::Disk;

impl<D: Disk, C: Clock> Partitions<D, C> {
    /// Appends exactly one frame as a producer sent it. The answer comes later through
    /// [`Partitions::take_completed`] under `token` (none comes for `Acks::None`); a refusal is given at once and
    /// means that nothing was written.
    pub fn append(&self, now: Now, frame: &[u8], acks: Acks, token: u64) -> Result<(), ProduceRefusal> {
        let header = FrameHeader::parse(frame).map_err(ProduceRefusal::Frame)?;
        let body = header.body_of(frame).map_err(ProduceRefusal::Frame)?;
        if frame.len() != header.frame_len() {
            return Err(ProduceRefusal::TrailingBytes { frame_len: header.frame_len(), got: frame.len() });
        }
        let partition = self.get(header.topic_partition()).ok_or(ProduceRefusal::UnknownPartition(header.topic_partition()))?;
        self.admit(now, frame.len() as u64)?;
        verify(header, body)?;

        let append_time_ms = self.shared.append_clock.borrow().append_time_ms(now);
        let mut partition_mut = partition.borrow_mut();
        if partition_mut.truncating {
            return Err(ProduceRefusal::Truncating(header.topic_partition()));
        }
        self.shared.with_effects(|effects| {
            let batch = ProduceBatch { header, acks, token };
            partition_mut.leader.on_append(append_time_ms, batch, effects).map_err(ProduceRefusal::Append)?;
            self.run_effects(&partition, &mut partition_mut, body, now, effects);
            Ok(())
        })
    }

    /// Whether one more frame may be taken: memory, ring and predicted wait are within their bounds.
    fn admit(&self, now: Now, frame_len: u64) -> Result<(), ProduceRefusal> {
        let shared = &self.shared;
        if shared.closing.get() {
            return Err(ProduceRefusal::ShuttingDown);
        }
        if shared.disk_full.get() {
            return Err(ProduceRefusal::DiskFull);
        }
        let queued_len = shared.journal.queued_len();
        let admission = shared.admission.borrow();
        let load = Load { now_us: now.mono_us, queued_len, frame_len };
        let refusal = if let Err((retry_after_ms, reason)) = admission.check_delay(load, shared.config.produce_delay_ms_max) {
            Some((retry_after_ms, reason))
        } else if queued_len + frame_len > shared.config.journal_buffer_budget.max(frame_len) {
            Some((admission.drain_ms(queued_len / 2), Overload::JournalBuffer))
        } else if self.ring_len_with(frame_len) > shared.journal.capacity() / 4 * 3 {
            Some((admission.drain_ms(shared.journal.capacity() / 4), Overload::JournalRing))
        } else if shared.memory.used_len() - shared.memory.clean_len() + frame_len > shared.memory.budget_len() {
            Some((admission.drain_ms(shared.memory.budget_len() / 4), Overload::Tail))
        } else {
            None
        };
        let Some((retry_after_ms, reason)) = refusal else { return Ok(()) };
        match reason {
            Overload::JournalRing => self.want_ring(),
            Overload::Tail => {
                shared.tail_wanted_len.update(|len| len.max(frame_len));
                self.want_write_back();
            }
            Overload::Delay { .. } | Overload::JournalBuffer => {}
        }
        Err(ProduceRefusal::Overloaded { retry_after_ms, reason })
    }

    /// Whether control entries may be taken that need `len` bytes of the ring, a block for each group. They are small and
    /// free space, so they may use what produce leaves of the ring, but no client may fill it with them either.
    pub(crate) fn admit_control(&self, len: u64) -> Result<(), u32> {
        let capacity = self.shared.journal.capacity();
        if self.ring_len_with(len) <= capacity / 8 * 7 {
            return Ok(());
        }
        self.want_ring();
        Err(self.shared.admission.borrow().drain_ms(capacity / 4))
    }

    /// The next pass of write-back frees the older half of the ring, whatever that takes.
    fn want_ring(&self) {
        self.shared.ring_wanted.set(true);
        self.want_write_back();
    }

    /// The ring's distance were this frame and all that is queued in it, padding and the ends of files allowed for.
    fn ring_len_with(&self, frame_len: u64) -> u64 {
        let shared = &self.shared;
        shared.journal.distance() + 2 * (shared.journal.queued_len() + frame_len) + shared.config.journal.group_len_target as u64
    }
}

/// The checks that need the body.
fn verify(header: &FrameHeader, body: &[u8]) -> Result<(), ProduceRefusal> {
    header.verify_body(body).map_err(ProduceRefusal::Frame)?;
    let attributes = Attributes(header.attributes.to_native());
    // Times are the producer's here; a batch that claims the broker's would be read with times nobody set.
    let is_create_time = attributes.timestamp_type() == TimestampType::CreateTime;
    if attributes.is_control() || attributes.is_transactional() || !is_create_time {
        return Err(ProduceRefusal::Attributes { got: header.attributes.to_native() });
    }
    match attributes.compression() {
        Some(Compression::None) => validate_records(header, body).map_err(ProduceRefusal::Records),
        Some(_) => Ok(()),
        None => Err(ProduceRefusal::Attributes { got: header.attributes.to_native() }),
    }
}
