//! A leader of one partition: its state, and the one setter of each of its ordered offsets. Each event is a file.

pub mod on_append;
pub mod on_local_flush;
pub mod on_truncate;

use crate::effect::{Effect, Effects};
use crate::high_watermark;
use crate::in_sync_set::InSyncSet;
use crate::pending_acks::PendingAcks;
use sluice_model::{BrokerId, LeaderEpoch, LeaderEpochHistory, Offset, ProducerTable, TopicPartition};
use std::collections::BTreeMap;

/// What a leader starts from: the recovered log, and what the controller decided.
#[derive(Clone, Debug)]
pub struct LeaderStart {
    pub id: TopicPartition,
    pub broker: BrokerId,
    pub leader_epoch: LeaderEpoch,
    pub isr: InSyncSet,
    pub min_insync_replicas: u32,
    /// Longest frame to be appended, header included, bytes.
    pub frame_len_max: usize,
    /// End of the log; all of it is flushed here.
    pub log_end_offset: Offset,
    pub high_watermark: Offset,
    /// `header_crc` of the last frame of the log, 0 for none.
    pub last_header_crc: u32,
    pub epochs: LeaderEpochHistory,
    pub producers: ProducerTable,
}

#[derive(Clone, Debug)]
pub struct Leader {
    id: TopicPartition,
    broker: BrokerId,
    leader_epoch: LeaderEpoch,
    isr: InSyncSet,
    min_insync_replicas: u32,
    frame_len_max: usize,
    log_end_offset: Offset,
    high_watermark: Offset,
    last_header_crc: u32,
    /// What each replica has flushed, this one included.
    flushed: BTreeMap<BrokerId, Offset>,
    epochs: LeaderEpochHistory,
    producers: ProducerTable,
    pending: PendingAcks,
}

impl Leader {
    /// Takes over a recovered log under a new leader epoch, which must be greater than any in the log.
    #[must_use]
    pub fn new(start: LeaderStart) -> Self {
        assert!(
            start.epochs.latest().is_none_or(|latest| latest < start.leader_epoch),
            "{}: leader epoch {} is not new, the log has {:?}",
            start.id,
            start.leader_epoch,
            start.epochs.latest()
        );
        let mut leader = Self {
            id: start.id,
            broker: start.broker,
            leader_epoch: start.leader_epoch,
            isr: start.isr,
            min_insync_replicas: start.min_insync_replicas,
            frame_len_max: start.frame_len_max,
            log_end_offset: start.log_end_offset,
            high_watermark: start.high_watermark,
            last_header_crc: start.last_header_crc,
            flushed: BTreeMap::from([(start.broker, start.log_end_offset)]),
            epochs: start.epochs,
            producers: start.producers,
            pending: PendingAcks::default(),
        };
        leader.advance_high_watermark(&mut Effects::new());
        leader.assert_invariants();
        leader
    }

    /// Changes to settings that may change while it leads.
    pub fn on_settings(&mut self, frame_len_max: usize, min_insync_replicas: u32, effects: &mut Effects) {
        self.frame_len_max = frame_len_max;
        self.min_insync_replicas = min_insync_replicas;
        self.advance_high_watermark(effects);
        self.assert_invariants();
    }

    /// Forgets producers that have not appended since `before_ms`; gives back how many.
    pub fn on_expire_producers(&mut self, before_ms: i64) -> usize {
        self.producers.expire(before_ms)
    }

    /// The partition goes away: gives back the tokens of produces that will not be answered as durable.
    pub fn on_removed(&mut self) -> Vec<u64> {
        self.pending.drain_tokens()
    }

    /// Moves the high watermark as far as the flushed offsets allow and releases the answers that waited for it.
    fn advance_high_watermark(&mut self, effects: &mut Effects) {
        let advanced = high_watermark::advanced(self.high_watermark, &self.isr, self.min_insync_replicas, &self.flushed);
        if advanced > self.high_watermark {
            self.high_watermark = advanced;
            effects.push(Effect::HighWatermarkMoved { high_watermark: advanced });
        }
        self.pending.release(self.local_flushed(), self.high_watermark, effects);
    }

    /// The one setter of this replica's own flushed offset.
    fn set_local_flushed(&mut self, flushed: Offset) {
        let before = self.local_flushed();
        assert!(
            before <= flushed && flushed <= self.log_end_offset,
            "{}: flushed {before} -> {flushed}, end {}",
            self.id,
            self.log_end_offset
        );
        self.flushed.insert(self.broker, flushed);
    }

    #[must_use]
    pub fn id(&self) -> TopicPartition {
        self.id
    }

    #[must_use]
    pub fn leader_epoch(&self) -> LeaderEpoch {
        self.leader_epoch
    }

    #[must_use]
    pub fn log_end_offset(&self) -> Offset {
        self.log_end_offset
    }

    /// Everything below this is flushed on this replica.
    #[must_use]
    pub fn local_flushed(&self) -> Offset {
        self.flushed[&self.broker]
    }

    #[must_use]
    pub fn high_watermark(&self) -> Offset {
        self.high_watermark
    }

    #[must_use]
    pub fn producers(&self) -> &ProducerTable {
        &self.producers
    }

    #[must_use]
    pub fn pending(&self) -> &PendingAcks {
        &self.pending
    }
}
