//! What has been committed, frame by frame, and what every step must leave true of it.
//!
//! The truth is read from leaders as their high watermark moves, and never taken back: another frame at a committed offset, a
//! leader without one, or a reader who saw something else ends the run. The expensive mistake is a truth that follows the
//! code: what is committed once stays, whoever leads later. Deliberately absent: what devices hold (`audit`).

use crate::demand;
use crate::oracle::Violation;
use crate::oracle::batches::{BatchId, Batches};
use sluice_model::{BrokerId, FrameHeader, Incarnation, LeaderEpoch, ProducerId, Sequence, TopicPartition};
use std::collections::BTreeMap;

/// A committed frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Committed {
    pub batch: BatchId,
    pub end: u64,
    pub header_crc: u32,
    pub leader_epoch: LeaderEpoch,
}

/// What is known of one partition.
#[derive(Default)]
pub struct PartitionTruth {
    pub frames: BTreeMap<u64, Committed>,
    pub end: u64,
    /// The greatest high watermark of a leader; above `end` while a device that fails keeps what is there from being read.
    pub claimed: u64,
    last_crc: u32,
    /// Where each batch stands.
    places: BTreeMap<BatchId, u64>,
    /// The next sequence of each producer.
    sequences: BTreeMap<ProducerId, Sequence>,
    leaders: BTreeMap<LeaderEpoch, (BrokerId, Incarnation)>,
    /// The greatest high watermark that was seen under each leader epoch, and in each process.
    high_watermarks: BTreeMap<LeaderEpoch, u64>,
    seen: BTreeMap<(BrokerId, Incarnation), u64>,
    pub acknowledged: u64,
}

/// One replica, as it is seen from outside.
#[derive(Clone, Copy, Debug)]
pub struct Seen {
    pub broker: BrokerId,
    pub incarnation: Incarnation,
    pub is_leader: bool,
    pub leader_epoch: LeaderEpoch,
    pub high_watermark: u64,
    pub log_end: u64,
}

#[derive(Default)]
pub struct Truth {
    pub batches: Batches,
    pub partitions: BTreeMap<TopicPartition, PartitionTruth>,
}

impl Truth {
    pub fn partition(&mut self, id: TopicPartition) -> &mut PartitionTruth {
        self.partitions.entry(id).or_default()
    }

    /// The batch of a sealed frame: every byte of the producer's is as it was sent.
    pub fn batch_of(&self, id: TopicPartition, frame: &[u8]) -> Result<(BatchId, FrameHeader), Violation> {
        let parsed = FrameHeader::parse(frame).map_err(|error| Violation(format!("{id}: no frame: {error}")))?;
        let body = parsed.body_of(frame).map_err(|error| Violation(format!("{id}: half a frame: {error}")))?;
        let batch = self.batches.sent_as(body);
        let Some(batch) = batch.filter(|batch| self.batches.is(*batch, parsed, body)) else {
            return Err(Violation(format!("{id}: the frame at {} was never sent", parsed.base_offset())));
        };
        Ok((batch, *parsed))
    }

    /// Frames below a leader's high watermark: what is new is committed from now on, what is known has to be that.
    pub fn on_committed(&mut self, id: TopicPartition, bytes: &[u8], high_watermark: u64) -> Result<(), Violation> {
        let mut rest = bytes;
        while !rest.is_empty() {
            let (batch, header) = self.batch_of(id, rest)?;
            rest = &rest[header.frame_len()..];
            let base = header.base_offset().0;
            let partition = self.partitions.entry(id).or_default();
            demand!(header.next_offset().0 <= high_watermark, "{id}: a frame at {base} straddles {high_watermark}");
            if base < partition.end {
                partition.check(id, batch, &header)?;
                continue;
            }
            partition.commit(id, batch, &header)?;
        }
        Ok(())
    }

    /// What a consumer was given: all of it is committed.
    pub fn on_read(&mut self, id: TopicPartition, bytes: &[u8]) -> Result<u64, Violation> {
        let (mut rest, mut next) = (bytes, 0);
        while !rest.is_empty() {
            let (batch, header) = self.batch_of(id, rest)?;
            rest = &rest[header.frame_len()..];
            next = header.next_offset().0;
            self.partition(id).check(id, batch, &header)?;
        }
        Ok(next)
    }
}

impl PartitionTruth {
    fn check(&self, id: TopicPartition, batch: BatchId, header: &FrameHeader) -> Result<(), Violation> {
        let base = header.base_offset().0;
        let known = self.frames.get(&base);
        let same = known.is_some_and(|known| known.batch == batch && known.header_crc == header.header_crc.to_native());
        demand!(same, "committed is never taken back: {id}: batch {} at {base}, where {known:?} was committed", batch.0);
        Ok(())
    }

    fn commit(&mut self, id: TopicPartition, batch: BatchId, header: &FrameHeader) -> Result<(), Violation> {
        let base = header.base_offset().0;
        demand!(base == self.end, "{id}: {base} is committed, and nothing at {}", self.end);
        let chained = header.prev_header_crc.to_native() == self.last_crc;
        demand!(chained, "committed is never taken back: {id}: the frame at {base} follows another history");
        let place = self.places.insert(batch, base);
        demand!(place.is_none(), "appended once: {id}: batch {} stands at {base} and at {place:?}", batch.0);
        if header.producer_id() != ProducerId::NONE {
            let next = header.base_sequence().advanced(header.record_count.to_native());
            let expected = self.sequences.insert(header.producer_id(), next).unwrap_or(Sequence(0));
            let got = header.base_sequence();
            demand!(got == expected, "appended in order: {id}: sequence {got} at {base}, where {expected} was to come");
        }
        let header_crc = header.header_crc.to_native();
        let end = header.next_offset().0;
        self.frames.insert(base, Committed { batch, end, header_crc, leader_epoch: header.leader_epoch() });
        (self.end, self.last_crc) = (end, header_crc);
        Ok(())
    }

    /// A produce was answered as committed. Gives back where it ends; `None` while that cannot be read.
    pub fn on_acknowledged(&mut self, id: TopicPartition, batch: BatchId, base: Option<u64>) -> Result<Option<u64>, Violation> {
        let place = self.places.get(&batch).copied();
        let Some(at) = place else {
            if self.claimed > self.end {
                return Ok(None);
            }
            return Err(Violation(format!("acknowledged is committed: {id}: batch {} is answered, and is not", batch.0)));
        };
        demand!(base.is_none_or(|base| base == at), "{id}: batch {} is answered at {base:?}, and stands at {at}", batch.0);
        self.acknowledged += 1;
        Ok(Some(self.frames[&at].end))
    }

    /// A replica as it is now. `current` is the epoch that the controller has decided last, and who leads it.
    pub fn on_seen(&mut self, id: TopicPartition, seen: Seen, current: (LeaderEpoch, Option<BrokerId>)) -> Result<(), Violation> {
        let Seen { broker, incarnation, leader_epoch, high_watermark, log_end, .. } = seen;
        demand!(high_watermark <= log_end, "{id}: broker {broker} has {high_watermark} committed and ends at {log_end}");
        let before = self.seen.insert((broker, incarnation), high_watermark).unwrap_or(0);
        demand!(before <= high_watermark, "the high watermark never falls: {id}: {before} to {high_watermark} on {broker}");
        if seen.is_leader {
            self.claimed = self.claimed.max(high_watermark);
        } else {
            let end = self.claimed;
            demand!(high_watermark <= end, "{id}: follower {broker} takes {high_watermark} for committed, {end} is");
            return Ok(());
        }
        let known = *self.leaders.entry(leader_epoch).or_insert((broker, incarnation));
        let is_same = known == (broker, incarnation);
        demand!(is_same, "one leader of an epoch: {id}: {known:?} and {broker} ({incarnation}) lead epoch {leader_epoch}");
        demand!(leader_epoch <= current.0, "{id}: {broker} leads epoch {leader_epoch}, which was never decided: {current:?}");
        if leader_epoch == current.0 {
            demand!(current.1 == Some(broker), "{id}: {broker} leads epoch {leader_epoch}, decided was {current:?}");
            let end = self.end;
            demand!(log_end >= end, "a leader has all that was committed: {id}: {broker} ends at {log_end}, committed is {end}");
        }
        let high = self.high_watermarks.entry(leader_epoch).or_default();
        demand!(*high <= high_watermark, "the high watermark never falls: {id}: {high} to {high_watermark} in {leader_epoch}");
        *high = high_watermark;
        Ok(())
    }
}
