//! A produced frame comes in: everything that can be wrong with it, or too much for this shard, is found here or
//! by the replica's rules, before anything has changed.

use crate::admission::Load;
use crate::partition::Partition;
use crate::partitions::Partitions;
use crate::refusal::{Overload, ProduceRefusal};
use sluice_model::record_batch::{Attributes, Compression, TimestampType, validate_records};
use sluice_model::{Clock, FRAME_HEADER_LEN, FrameHeader, Now};
use sluice_replica::{Acks, AppendRefusal, ProduceBatch};
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
        // Whoever has to ask elsewhere costs no checksum, and is not told to come again.
        check_leads(&partition.borrow())?;
        self.admit(now, frame.len() as u64)?;
        verify(header, body)?;

        let append_time_ms = self.shared.append_clock.borrow().append_time_ms(now);
        let mut partition_mut = partition.borrow_mut();
        self.shared.with_effects(|effects| {
            let batch = ProduceBatch { header, acks, token };
            let leader = partition_mut.leader_mut().ok_or(ProduceRefusal::NotLeader(header.topic_partition()))?;
            leader.on_append(append_time_ms, batch, effects).map_err(ProduceRefusal::Append)?;
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
        let load = Load { now_us: now.mono_us, queued_len, frame_len };
        shared.admission.borrow().check_delay(load, shared.config.produce_delay_ms_max).map_err(overloaded)?;
        self.check_room(frame_len, shared.config.journal_buffer_budget.max(frame_len)).map_err(overloaded)
    }

    /// Whether memory and ring have room for `frame_len` more bytes; write-back makes some where they have not.
    fn check_room(&self, frame_len: u64, journal_buffer_budget: u64) -> Result<(), (u32, Overload)> {
        let shared = &self.shared;
        let queued_len = shared.journal.queued_len();
        let admission = shared.admission.borrow();
        if queued_len + frame_len > journal_buffer_budget {
            return Err((admission.drain_ms(queued_len / 2), Overload::JournalBuffer));
        }
        if self.ring_len_with(frame_len) > shared.journal.capacity() / 4 * 3 {
            self.want_ring();
            return Err((admission.drain_ms(shared.journal.capacity() / 4), Overload::JournalRing));
        }
        if shared.memory.used_len() - shared.memory.clean_len() + frame_len > shared.memory.budget_len() {
            shared.tail_wanted_len.update(|len| len.max(frame_len));
            self.want_write_back();
            return Err((admission.drain_ms(shared.memory.budget_len() / 4), Overload::Tail));
        }
        Ok(())
    }

    /// Whether frames of `len` bytes in all may be copied from a leader; the first of them may be longer than the journal's
    /// buffers. There is nobody to be told when it will be: that is for write-back and the journal.
    pub(crate) fn has_room_for_copy(&self, len: u64, is_first: bool) -> bool {
        let shared = &self.shared;
        let budget = shared.config.journal_buffer_budget;
        !shared.disk_full.get() && self.check_room(len, if is_first { budget.max(len) } else { budget }).is_ok()
    }

    /// Bytes of frames that followers may copy now; 0 when there is no room for a small one. To be asked before a fetch is
    /// sent, and again a little later when it is 0.
    #[must_use]
    pub fn follower_room(&self) -> usize {
        let shared = &self.shared;
        if shared.closing.get() || !self.has_room_for_copy(FRAME_HEADER_LEN as u64, true) {
            return 0;
        }
        let queue = shared.config.journal_buffer_budget.saturating_sub(shared.journal.queued_len());
        let ring = (shared.journal.capacity() / 4 * 3).saturating_sub(self.ring_len_with(0)) / 2;
        let dirty_len = shared.memory.used_len() - shared.memory.clean_len();
        let tail = shared.memory.budget_len().saturating_sub(dirty_len);
        usize::try_from(queue.min(ring).min(tail).max(FRAME_HEADER_LEN as u64)).unwrap_or(usize::MAX)
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

fn check_leads<D: Disk>(partition: &Partition<D>) -> Result<(), ProduceRefusal> {
    let leader = partition.leader().ok_or(ProduceRefusal::NotLeader(partition.id()))?;
    if let Some(reason) = leader.not_leading() {
        return Err(ProduceRefusal::Append(AppendRefusal::NotLeading(reason)));
    }
    if partition.truncating {
        return Err(ProduceRefusal::Truncating(partition.id()));
    }
    Ok(())
}

fn overloaded((retry_after_ms, reason): (u32, Overload)) -> ProduceRefusal {
    ProduceRefusal::Overloaded { retry_after_ms, reason }
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
