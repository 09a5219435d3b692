//! What segments hold durably, as one consistent moment: recovery point, epochs and producers.
//!
//! Frames pass through three stages: written (their blocks are in the file), being flushed, held. The tables that
//! go into checkpoints advance with them, but a write must cost its frames, never the table: what frames change
//! is gathered in a small delta per stage, and a completed flush adds its delta to the tables. The expensive
//! mistake is a checkpoint whose tables run ahead of its recovery point: replay would count frames twice.

use crate::checkpoint::RecoveryPoint;
use crate::entry_address::EntryAddress;
use sluice_model::limits::BATCHES_PER_PRODUCER;
use sluice_model::{FrameHeader, LeaderEpoch, LeaderEpochHistory, Offset, ProducerTable};

pub(crate) struct HeldState {
    /// As of the last completed flush.
    point: RecoveryPoint,
    epochs: LeaderEpochHistory,
    producers: ProducerTable,
    /// The first journal entry after `point.held`, once there is one.
    first_needed: Option<EntryAddress>,
    /// By frames written since the last flush was planned.
    written: Delta,
    flushing: Option<Flushing>,
    last_written: (EntryAddress, u32),
    flush_count: u64,
}

struct Flushing {
    number: u64,
    point: RecoveryPoint,
    delta: Delta,
    /// The first journal entry after `point.held`, once there is one.
    first_after: Option<EntryAddress>,
}

/// What some frames in a row do to epochs and producers.
#[derive(Default)]
struct Delta {
    epochs: Vec<(LeaderEpoch, Offset)>,
    producers: ProducerTable,
}

impl HeldState {
    pub(crate) fn new(point: RecoveryPoint, epochs: LeaderEpochHistory, producers: ProducerTable) -> Self {
        Self {
            point,
            epochs,
            producers,
            first_needed: None,
            written: Delta::default(),
            flushing: None,
            last_written: (point.held, point.prev_header_crc),
            flush_count: 0,
        }
    }

    pub(crate) fn point(&self) -> &RecoveryPoint {
        &self.point
    }

    pub(crate) fn epochs(&self) -> &LeaderEpochHistory {
        &self.epochs
    }

    pub(crate) fn producers(&self) -> &ProducerTable {
        &self.producers
    }

    /// The oldest journal entry that the held point does not cover.
    pub(crate) fn first_needed(&self) -> Option<EntryAddress> {
        self.first_needed
    }

    /// Address and `header_crc` of the last frame that is wholly written.
    pub(crate) fn last_written(&self) -> (EntryAddress, u32) {
        self.last_written
    }

    pub(crate) fn on_append(&mut self, address: EntryAddress) {
        self.first_needed.get_or_insert(address);
        if let Some(flushing) = &mut self.flushing {
            flushing.first_after.get_or_insert(address);
        }
    }

    /// An entry of the journal that brings no frame, while everything before it is held.
    pub(crate) fn on_entry_without_frame(&mut self, address: EntryAddress) {
        assert!(
            self.first_needed.is_none() && self.flushing.is_none() && self.point.held < address,
            "{address} follows {} while frames are not held",
            self.point.held
        );
        self.point.held = address;
        self.last_written.0 = address;
    }

    /// A frame's last block is in its file.
    pub(crate) fn on_written(&mut self, header: &FrameHeader, address: EntryAddress) {
        self.written.on_frame(header);
        self.last_written = (address, header.header_crc.to_native());
    }

    /// A flush of everything up to `point` begins; `next` is the first entry after it. One that was begun before
    /// and never reported is part of this one.
    pub(crate) fn begin_flush(&mut self, point: RecoveryPoint, next: Option<EntryAddress>) -> u64 {
        let mut delta = self.flushing.take().map(|flushing| flushing.delta).unwrap_or_default();
        delta.absorb(std::mem::take(&mut self.written));
        self.flush_count += 1;
        self.flushing = Some(Flushing { number: self.flush_count, point, delta, first_after: next });
        self.flush_count
    }

    /// The flush of this number is complete: its point is held. False when a later one was begun since.
    pub(crate) fn on_flushed(&mut self, number: u64) -> bool {
        let Some(flushing) = self.flushing.take_if(|flushing| flushing.number == number) else { return false };
        flushing.delta.add_to(&mut self.epochs, &mut self.producers);
        self.point = flushing.point;
        self.first_needed = flushing.first_after;
        true
    }

    /// Epochs as of the last frame that is wholly written, from the one at `offset` on.
    pub(crate) fn epochs_from(&self, offset: Offset) -> LeaderEpochHistory {
        let entries = self.epochs.entries();
        let spanning = entries.partition_point(|&(_, start)| start <= offset).saturating_sub(1);
        let mut epochs = LeaderEpochHistory::from_entries(entries[spanning..].to_vec()).unwrap_or_default();
        let later = self.flushing.iter().flat_map(|flushing| &flushing.delta.epochs).chain(&self.written.epochs);
        later.for_each(|&(epoch, start)| epochs.on_append(epoch, start));
        epochs
    }

    /// Epochs and producers as of the last frame that is wholly written.
    pub(crate) fn tables_as_written(&self) -> (LeaderEpochHistory, ProducerTable) {
        let (mut epochs, mut producers) = (self.epochs.clone(), self.producers.clone());
        if let Some(flushing) = &self.flushing {
            flushing.delta.add_to(&mut epochs, &mut producers);
        }
        self.written.add_to(&mut epochs, &mut producers);
        (epochs, producers)
    }

    pub(crate) fn advance_log_start(&mut self, log_start: Offset) {
        self.epochs.advance_log_start(log_start);
    }

    pub(crate) fn expire_producers(&mut self, before_ms: i64) {
        self.producers.expire(before_ms);
    }
}

impl Delta {
    fn on_frame(&mut self, header: &FrameHeader) {
        self.producers.on_append(header);
        if self.epochs.last().is_none_or(|&(epoch, _)| epoch != header.leader_epoch()) {
            self.epochs.push((header.leader_epoch(), header.base_offset()));
        }
    }

    fn absorb(&mut self, later: Self) {
        self.epochs.extend_from_slice(&later.epochs);
        add_producers(&mut self.producers, &later.producers);
    }

    fn add_to(&self, epochs: &mut LeaderEpochHistory, producers: &mut ProducerTable) {
        for &(epoch, start) in &self.epochs {
            epochs.on_append(epoch, start);
        }
        add_producers(producers, &self.producers);
    }
}

/// What the frames that made `later` would have done to `producers`, had they been given to it one by one.
fn add_producers(producers: &mut ProducerTable, later: &ProducerTable) {
    for (id, entry) in later.iter() {
        let mut entry = entry.clone();
        if let Some(known) = producers.get(id).filter(|known| known.epoch == entry.epoch) {
            let room = BATCHES_PER_PRODUCER - entry.batches.len();
            for batch in known.batches.iter().rev().take(room) {
                entry.batches.push_front(*batch);
            }
        }
        producers.insert(id, entry);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::frames::{FrameSource, test_partition};

    fn address(sequence: u64) -> EntryAddress {
        EntryAddress { sequence, index: 0 }
    }

    #[test]
    fn deltas_add_up_to_what_the_frames_do_one_by_one() {
        let mut source = FrameSource::new(test_partition(1), 5);
        let mut held = HeldState::new(RecoveryPoint::default(), LeaderEpochHistory::default(), ProducerTable::default());
        let (mut epochs, mut producers) = (LeaderEpochHistory::default(), ProducerTable::default());
        for n in 0..40u32 {
            source.leader_epoch = LeaderEpoch(1 + n / 9);
            let frame = source.next(1 + n % 3, 10);
            epochs.on_append(frame.header.leader_epoch(), frame.header.base_offset());
            producers.on_append(&frame.header);
            held.on_append(address(u64::from(n)));
            held.on_written(&frame.header, address(u64::from(n)));
            if n % 7 == 3 {
                let number = held.begin_flush(RecoveryPoint::default(), None);
                assert_eq!(held.tables_as_written(), (epochs.clone(), producers.clone()), "frame {n}");
                // Every other flush is begun and never reported.
                assert!(n % 2 == 0 || held.on_flushed(number));
            }
            assert_eq!(held.tables_as_written(), (epochs.clone(), producers.clone()), "frame {n}");
        }
        let number = held.begin_flush(RecoveryPoint::default(), None);
        assert!(held.on_flushed(number) && !held.on_flushed(number));
        assert_eq!((held.epochs(), held.producers()), (&epochs, &producers));
    }

    #[test]
    fn the_journal_is_needed_from_the_first_entry_after_the_held_point() {
        let mut held = HeldState::new(RecoveryPoint::default(), LeaderEpochHistory::default(), ProducerTable::default());
        held.on_append(address(5));
        held.on_append(address(6));
        let number = held.begin_flush(RecoveryPoint::default(), None);
        held.on_append(address(7));
        assert_eq!(held.first_needed(), Some(address(5)));
        held.on_flushed(number);
        assert_eq!(held.first_needed(), Some(address(7)));
        let number = held.begin_flush(RecoveryPoint::default(), None);
        held.on_flushed(number);
        assert_eq!(held.first_needed(), None);
    }
}
