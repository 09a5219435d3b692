//! A batch arrives: is it within bounds, new, and are there enough in-sync replicas? Then it gets its offsets.

use super::{Leader, NotLeading};
use crate::effect::{Acks, Effect, Effects};
use crate::idempotence::{self, SequenceRefusal, Verdict};
use crate::pending_acks::PendingAck;
use sluice_model::frame::LeaderSeal;
use sluice_model::{FrameHeader, TopicPartition};
use std::fmt;

/// A produced batch whose checksums have been verified.
#[derive(Clone, Copy, Debug)]
pub struct ProduceBatch<'a> {
    pub header: &'a FrameHeader,
    pub acks: Acks,
    /// Names the produce in the effect that answers it.
    pub token: u64,
}

/// Why a batch is certainly not written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AppendRefusal {
    WrongPartition { got: TopicPartition },
    FrameTooLarge { got: usize, max: usize },
    NotEnoughReplicas { in_sync: usize, wanted: u32 },
    Sequence(SequenceRefusal),
    NotLeading(NotLeading),
}

impl fmt::Display for AppendRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::WrongPartition { got } => write!(f, "the frame names partition {got}, the request another"),
            Self::FrameTooLarge { got, max } => write!(f, "the frame has {got} bytes, the topic takes {max} (frame_len_max)"),
            Self::NotEnoughReplicas { in_sync, wanted } => {
                write!(f, "{in_sync} replicas are in sync, the topic wants {wanted} (min_insync_replicas)")
            }
            Self::Sequence(refusal) => refusal.fmt(f),
            Self::NotLeading(NotLeading::LeaseLost) => {
                write!(
                    f,
                    "the broker has no lease with the controller, and another may lead the partition; ask for metadata again"
                )
            }
            Self::NotLeading(NotLeading::NewerEpoch { epoch }) => {
                write!(f, "leader epoch {epoch} of the partition has begun elsewhere; ask for metadata again")
            }
        }
    }
}

impl Leader {
    /// Appends a new batch, stamped `append_time_ms`, or lets a duplicate wait for the first one's condition.
    /// Nothing has changed when this refuses.
    pub fn on_append(
        &mut self,
        append_time_ms: i64,
        batch: ProduceBatch<'_>,
        effects: &mut Effects,
    ) -> Result<(), AppendRefusal> {
        let verdict = self.judge(&batch)?;
        let pending = match verdict {
            Verdict::New => self.append(append_time_ms, batch.header, batch.token, effects),
            Verdict::Duplicate { base_offset, end_offset } => {
                PendingAck { token: batch.token, base_offset: Some(base_offset), end_offset, append_time_ms: -1 }
            }
            Verdict::OldDuplicate { end_offset } => {
                PendingAck { token: batch.token, base_offset: None, end_offset, append_time_ms: -1 }
            }
        };
        self.pending.push(batch.acks, pending);
        self.pending.release(self.local_flushed(), self.high_watermark, effects);
        self.assert_invariants();
        Ok(())
    }

    fn judge(&self, batch: &ProduceBatch<'_>) -> Result<Verdict, AppendRefusal> {
        let header = batch.header;
        if header.topic_partition() != self.id {
            return Err(AppendRefusal::WrongPartition { got: header.topic_partition() });
        }
        if header.frame_len() > self.frame_len_max {
            return Err(AppendRefusal::FrameTooLarge { got: header.frame_len(), max: self.frame_len_max });
        }
        if let Some(reason) = self.not_leading() {
            return Err(AppendRefusal::NotLeading(reason));
        }
        if batch.acks == Acks::All && !self.isr.satisfies(self.min_insync_replicas) {
            return Err(AppendRefusal::NotEnoughReplicas {
                in_sync: self.isr.committed().len(),
                wanted: self.min_insync_replicas,
            });
        }
        idempotence::judge(&self.producers, header).map_err(AppendRefusal::Sequence)
    }

    fn append(&mut self, append_time_ms: i64, header: &FrameHeader, token: u64, effects: &mut Effects) -> PendingAck {
        let base_offset = self.log_end_offset;
        let header = header.sealed(LeaderSeal {
            base_offset,
            leader_epoch: self.leader_epoch,
            append_time_ms,
            prev_header_crc: self.last_header_crc,
        });
        self.epochs.on_append(self.leader_epoch, base_offset);
        self.producers.on_append(&header);
        self.log_end_offset = header.next_offset();
        self.last_header_crc = header.header_crc.to_native();
        effects.push(Effect::Append { header });
        PendingAck { token, base_offset: Some(base_offset), end_offset: self.log_end_offset, append_time_ms }
    }
}

#[cfg(test)]
#[path = "on_append_test.rs"]
mod tests;
