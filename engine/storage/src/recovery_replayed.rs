//! One partition while the journal is replayed into it: which entries it takes, and what is left when they are over.
//!
//! The expensive mistake is to call a log whole while groups that may have held its last frames are lost: only a later
//! entry of its own vouches for what was before. Deliberately absent: which partitions there are, and in what order
//! entries come (`recovery_replay`).

use crate::disk::Disk;
use crate::entry_address::EntryAddress;
use crate::log::Log;
use crate::recovery::{RecoveredPartition, RecoveryError};
use crate::write_back::WriteBackKind;
use sluice_model::{FrameHeader, LeaderEpoch, Offset, PlacementEpoch};

pub(crate) struct Replayed<D: Disk> {
    pub(crate) log: Log<D>,
    pub(crate) placement_epoch: PlacementEpoch,
    pub(crate) high_watermark: Offset,
    pub(crate) held: EntryAddress,
    /// The epoch of the last frame in the log.
    pub(crate) leader_epoch: LeaderEpoch,
    /// As far as the journal says; set once the frames below it are there.
    pub(crate) log_start_offset: Offset,
    /// Groups were lost in this recovery, and no later entry vouches for this log's end.
    pub(crate) possibly_short: bool,
    /// Slots and spare are lost: whether the journal that is left is that of the last life, no entry of it can say.
    pub(crate) has_no_checkpoint: bool,
}

impl<D: Disk> Replayed<D> {
    /// Whether the frame is the log's next one, or one behind a gap.
    pub(crate) fn accepts(&self, header: &FrameHeader) -> bool {
        let (base_offset, end) = (header.base_offset(), self.log.log_end_offset());
        let follows = header.prev_header_crc.to_native() == self.log.last_header_crc();
        header.leader_epoch() >= self.leader_epoch && (base_offset > end || (base_offset == end && follows))
    }

    pub(crate) fn append(&mut self, header: &FrameHeader, body: &[u8], address: EntryAddress) {
        self.log.append(header, body, address);
        self.leader_epoch = header.leader_epoch();
        // Whatever was lost before this frame is a gap that is known now, or was not this partition's.
        self.possibly_short = false;
    }

    pub(crate) async fn finish(&mut self) -> Result<(), RecoveryError> {
        if self.possibly_short || self.has_no_checkpoint {
            self.log.doubt(self.log.log_end_offset());
        }
        self.log.set_log_start(self.log_start_offset.min(self.log.log_end_offset()));
        self.log.end_above_log_start();
        write_back(&mut self.log, WriteBackKind::Everything).await?;
        while let Some(plan) = self.log.plan_flush() {
            let flushed = plan.run().await?;
            self.log.on_flushed(flushed);
        }
        Ok(())
    }

    pub(crate) fn into_recovered(self) -> RecoveredPartition<D> {
        let checkpoint = self.log.checkpoint(self.high_watermark);
        let (start, end) = (self.log.log_start_offset(), self.log.log_end_offset());
        RecoveredPartition {
            placement_epoch: self.placement_epoch,
            epochs: checkpoint.epochs,
            producers: checkpoint.producers,
            high_watermark: self.high_watermark.clamp(start.min(end), end),
            damaged: self.log.damaged().to_vec(),
            possibly_short: self.log.possibly_short(),
            log: self.log,
        }
    }
}

pub(crate) async fn write_back<D: Disk>(log: &mut Log<D>, kind: WriteBackKind) -> Result<(), RecoveryError> {
    while let Some(plan) = log.plan_write_back(kind) {
        let written = plan.run().await?;
        log.on_written_back(written);
    }
    Ok(())
}
