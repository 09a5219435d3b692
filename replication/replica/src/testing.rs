//! Logs and messages for the tests of these rules.

use crate::follower::FollowerStart;
use crate::in_sync_set::InSyncSet;
use crate::leader::timing::IsrTimes;
use crate::leader::{Leader, LeaderStart};
use crate::log_position::{LogPosition, LogState};
use crate::{Acks, Effect, Effects, FollowerFetch, LeaderLog, Link, ProduceBatch, TruncatedLog};
use sluice_model::frame::{LeaderSeal, ProducerBatch};
use sluice_model::{
    BrokerId, FrameHeader, Incarnation, LeaderEpoch, LeaderEpochHistory, Offset, PartitionEpoch, ProducerEpoch, ProducerId,
    ProducerTable, Sequence, TopicPartition,
};
use std::collections::{BTreeMap, BTreeSet};

pub(crate) const TIMES: IsrTimes = IsrTimes { lag_us_max: 1000, slow_us: 100, slow_for_us: 300, retry_us: 50 };

pub(crate) fn brokers(members: &[u32]) -> BTreeSet<BrokerId> {
    members.iter().map(|&broker| BrokerId(broker)).collect()
}

/// The `number`th start of a broker.
pub(crate) fn incarnation(number: u64) -> Incarnation {
    Incarnation { number, random: 7 }
}

/// A batch as a producer sends it.
pub(crate) fn batch(producer: i64, sequence: i32, record_count: u32) -> FrameHeader {
    let batch = ProducerBatch {
        topic_partition: TopicPartition::default(),
        attributes: 0,
        producer_id: ProducerId(producer),
        producer_epoch: ProducerEpoch(if producer < 0 { -1 } else { 0 }),
        base_sequence: Sequence(if producer < 0 { -1 } else { sequence }),
        record_count,
        base_timestamp_ms: 0,
        max_timestamp_ms: 0,
    };
    FrameHeader::new(batch, b"body")
}

/// A log in memory: what a driver keeps for a replica.
#[derive(Clone, Debug, Default)]
pub(crate) struct TestLog {
    pub(crate) frames: Vec<FrameHeader>,
    /// As of the first frame.
    pub(crate) base: LogPosition,
}

impl TestLog {
    /// One frame for each (leader epoch, records), of no producer.
    pub(crate) fn of(frames: &[(u32, u32)]) -> Self {
        let mut log = Self::default();
        for &(epoch, record_count) in frames {
            log.append(epoch, batch(-1, -1, record_count));
        }
        log
    }

    /// Seals this header behind the last one.
    pub(crate) fn append(&mut self, leader_epoch: u32, header: FrameHeader) {
        let end = self.end();
        self.frames.push(header.sealed(LeaderSeal {
            base_offset: end.offset,
            leader_epoch: LeaderEpoch(leader_epoch),
            append_time_ms: 0,
            prev_header_crc: end.last_header_crc,
        }));
    }

    pub(crate) fn end(&self) -> LogPosition {
        self.frames.last().map_or(self.base, LogPosition::after)
    }

    pub(crate) fn epochs(&self) -> LeaderEpochHistory {
        let mut epochs = LeaderEpochHistory::default();
        self.frames.iter().for_each(|header| epochs.on_append(header.leader_epoch(), header.base_offset()));
        epochs
    }

    pub(crate) fn producers(&self) -> ProducerTable {
        let mut producers = ProducerTable::default();
        self.frames.iter().for_each(|header| producers.on_append(header));
        producers
    }

    /// The frames from `offset` on.
    pub(crate) fn from(&self, offset: Offset) -> &[FrameHeader] {
        &self.frames[self.frames.partition_point(|header| header.base_offset() < offset)..]
    }

    /// The frame boundaries, the beginning included.
    pub(crate) fn boundaries(&self) -> impl Iterator<Item = LogPosition> {
        std::iter::once(self.base).chain(self.frames.iter().map(LogPosition::after))
    }

    /// What a leader asks its log about an offset.
    pub(crate) fn look_up(&self, offset: Offset) -> LeaderLog {
        let found = self.boundaries().find(|boundary| boundary.offset == offset);
        let link = found.map_or(Link::NoBoundary, |boundary| Link::Frame { header_crc: boundary.last_header_crc });
        LeaderLog { first_offset: self.base.offset, link }
    }

    /// Ends at the boundary at or below `end_offset`.
    pub(crate) fn truncate(&mut self, end_offset: Offset) -> TruncatedLog {
        self.frames.retain(|header| header.next_offset() <= end_offset);
        let end = self.end();
        TruncatedLog {
            end_offset: end.offset,
            last_header_crc: end.last_header_crc,
            epochs: self.epochs(),
            producers: self.producers(),
        }
    }

    /// A follower's start on this log, all of it flushed.
    pub(crate) fn start(&self, leader_epoch: u32, high_watermark: u64) -> FollowerStart {
        FollowerStart {
            id: TopicPartition::default(),
            leader_epoch: LeaderEpoch(leader_epoch),
            log_start_offset: self.base.offset,
            log_end_offset: self.end().offset,
            local_flushed: self.end().offset,
            high_watermark: Offset(high_watermark),
            last_header_crc: self.end().last_header_crc,
            epochs: self.epochs(),
            producers: self.producers(),
            log_state: LogState::Whole,
        }
    }

    /// Broker 1 leads this log, all of it flushed, with the other members as followers in their first incarnation.
    pub(crate) fn led(&self, leader_epoch: u32, replicas: &[u32], isr: &[u32], min_insync_replicas: u32) -> Leader {
        self.led_from(leader_epoch, replicas, isr, min_insync_replicas, 0)
    }

    /// [`Self::led`], with a high watermark that is known already.
    pub(crate) fn led_from(&self, leader_epoch: u32, replicas: &[u32], isr: &[u32], min: u32, high_watermark: u64) -> Leader {
        Leader::new(LeaderStart {
            id: TopicPartition::default(),
            broker: BrokerId(1),
            leader_epoch: LeaderEpoch(leader_epoch),
            isr: InSyncSet::decided(PartitionEpoch(1), brokers(isr)),
            followers: replicas.iter().map(|&broker| (BrokerId(broker), incarnation(1))).collect::<BTreeMap<_, _>>(),
            isr_times: TIMES,
            min_insync_replicas: min,
            frame_len_max: 1000,
            log_end_offset: self.end().offset,
            local_flushed: self.end().offset,
            high_watermark: Offset(high_watermark),
            last_header_crc: self.end().last_header_crc,
            epochs: self.epochs(),
            producers: self.producers(),
        })
    }
}

/// Broker `broker`'s first incarnation stands at `position` and has flushed below `flushed`.
pub(crate) fn fetch(broker: u32, leader_epoch: u32, position: LogPosition, flushed: u64) -> FollowerFetch {
    FollowerFetch {
        broker: BrokerId(broker),
        incarnation: incarnation(1),
        leader_epoch: LeaderEpoch(leader_epoch),
        position,
        flushed: Offset(flushed),
        log_state: LogState::Whole,
    }
}

/// Appends one record to leader and log, and flushes neither.
pub(crate) fn produce(leader: &mut Leader, log: &mut TestLog, acks: Acks, token: u64) -> Effects {
    let mut effects = Effects::new();
    let header = batch(-1, -1, 1);
    leader.on_append(50, ProduceBatch { header: &header, acks, token }, &mut effects).expect("the produce is taken");
    log.frames.extend(appended(&effects));
    effects.retain(|effect| !matches!(effect, Effect::Append { .. }));
    effects
}

pub(crate) fn appended(effects: &[Effect]) -> Vec<FrameHeader> {
    effects.iter().filter_map(|effect| if let Effect::Append { header } = effect { Some(*header) } else { None }).collect()
}

/// The tokens that are acknowledged.
pub(crate) fn acknowledged(effects: &[Effect]) -> Vec<u64> {
    effects.iter().filter_map(|effect| if let Effect::AckProduce { token, .. } = effect { Some(*token) } else { None }).collect()
}
