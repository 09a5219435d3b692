//! One partition as it has to be: which batch stands at which offset, and how much of that is promised.

use super::Violation;
use super::batches::{Batch, BatchId};
use super::producers::{Expected, ProducerModel};
use super::truncation::Truncation;
use crate::demand;
use sluice_model::{ProducerId, TopicPartition};
use sluice_partition::PartitionSettings;
use std::collections::{BTreeMap, BTreeSet};

/// A batch in the log.
#[derive(Clone, Copy, Debug)]
pub struct Held {
    pub batch: BatchId,
    pub record_count: u32,
    pub len: usize,
    /// When it was appended, in true time.
    pub appended_us: u64,
    /// The checksum of its sealed header, once it was read: it never changes.
    pub header_crc: Option<u32>,
    /// A bit of the last copy of it that counts has changed, or the device has failed to give it back.
    pub is_rotten: bool,
}

#[derive(Clone, Debug)]
pub struct PartitionModel {
    pub id: TopicPartition,
    /// By base offset; those below the log start are forgotten.
    pub frames: BTreeMap<u64, Held>,
    /// Where the log ends.
    pub end: u64,
    /// Records below this were acknowledged or served: they may never go.
    pub promised_end: u64,
    /// Where its first frame begins in a group that has rotted in the one window.
    pub window_from: Option<u64>,
    /// The log start as it was last seen.
    pub log_start: u64,
    /// Deleted for good below this, and above it at most up to `log_start_max`.
    pub log_start_min: u64,
    pub log_start_max: u64,
    /// The greatest log start that a client asked for.
    pub deletes_asked: u64,
    /// All that clients ever asked for: a start without slots may go by an older one, which the spare has.
    pub starts_asked: BTreeSet<u64>,
    pub high_watermark: u64,
    pub producers: BTreeMap<ProducerId, ProducerModel>,
    /// What producers had below this was deleted when slots and spare were lost: nothing else said all of it.
    pub producers_known_from: u64,
    /// The settings it has now.
    pub settings: PartitionSettings,
    /// Offsets behind a damaged header block, in its segment: they may be refused as well. And those behind the damaged
    /// header of a frame, once a truncation has walked there.
    pub hidden: Vec<std::ops::Range<u64>>,
    pub hidden_from_cuts: Vec<std::ops::Range<u64>>,
    /// Frames that a segment does not hold, because a write went astray, and the first offset of which nothing says where
    /// it stands: what is read from there may be refused. A start forgets it, because the journal may have them.
    pub astray: (BTreeSet<u64>, Option<u64>),
    /// Offsets whose loss was accepted.
    pub accepted: Vec<std::ops::Range<u64>>,
    /// Offsets whose loss was being accepted when the device failed: some checkpoint may say so.
    pub maybe_accepted: Vec<std::ops::Range<u64>>,
    /// The journal entry that moved its log start has a changed bit: the next start may know of an earlier one only.
    pub log_start_rotten: bool,
    /// Records were lost and said to be: what it remembers of producers is no longer known.
    pub has_lost: bool,
    /// The same, and no operator has accepted it since: it may go on being said to be short.
    pub is_lossy: bool,
    /// A start said that it may be short although nothing was lost, which it goes on saying.
    pub is_doubted: bool,
    /// Wholly below the log start: lost checkpoints may bring them back, as they were.
    pub(super) deleted: BTreeMap<u64, Held>,
    /// A truncation that has not returned.
    pub truncation: Option<Truncation>,
    /// Where truncations have cut it, oldest first.
    pub cuts: Vec<u64>,
    /// How many of them there were when the last start had ended.
    pub cuts_at_start: usize,
}

impl PartitionModel {
    #[must_use]
    pub fn new(id: TopicPartition, settings: PartitionSettings) -> Self {
        Self {
            id,
            frames: BTreeMap::new(),
            end: 0,
            promised_end: 0,
            window_from: None,
            log_start: 0,
            log_start_min: 0,
            log_start_max: 0,
            deletes_asked: 0,
            starts_asked: BTreeSet::new(),
            high_watermark: 0,
            producers: BTreeMap::new(),
            producers_known_from: 0,
            settings,
            hidden: Vec::new(),
            hidden_from_cuts: Vec::new(),
            astray: (BTreeSet::new(), None),
            accepted: Vec::new(),
            maybe_accepted: Vec::new(),
            log_start_rotten: false,
            has_lost: false,
            is_lossy: false,
            is_doubted: false,
            deleted: BTreeMap::new(),
            truncation: None,
            cuts: Vec::new(),
            cuts_at_start: 0,
        }
    }

    /// What an append of this batch has to come to, when load does not forbid it.
    #[must_use]
    pub fn expect(&self, batch: &Batch) -> Expected {
        if batch.producer.id == ProducerId::NONE {
            return Expected::New;
        }
        let known = self.producers.get(&batch.producer.id);
        known.cloned().unwrap_or_default().expect(batch.producer, batch.record_count)
    }

    /// Whether this would be right as well: what a producer had in deleted records may be forgotten by a cut.
    #[must_use]
    pub fn may_also_expect(&self, batch: &Batch) -> Option<Expected> {
        let at_least = self.producers.get(&batch.producer.id)?.expect_at_least(batch.producer, batch.record_count);
        (at_least != self.expect(batch)).then_some(at_least)
    }

    /// The batch was taken at the log end; gives back where it begins.
    pub fn append(&mut self, number: BatchId, batch: &Batch, now_us: u64) -> u64 {
        let base = self.end;
        let held = Held {
            batch: number,
            record_count: batch.record_count,
            len: batch.frame.len(),
            appended_us: now_us,
            header_crc: None,
            is_rotten: false,
        };
        self.frames.insert(base, held);
        self.end += u64::from(batch.record_count);
        if batch.producer.id != ProducerId::NONE {
            self.producers.entry(batch.producer.id).or_default().append(batch.producer, batch.record_count, base);
        }
        base
    }

    /// Records below `end` were acknowledged, or given to a reader.
    pub fn promise(&mut self, end: u64) -> Result<(), Violation> {
        demand!(end <= self.end, "{}: {end} is promised, the log ends at {}", self.id, self.end);
        self.promised_end = self.promised_end.max(end);
        Ok(())
    }

    /// The log ends here: what was beyond is gone for good.
    pub fn cut(&mut self, end: u64) {
        let stays = |base: &u64, held: &mut Held| base + u64::from(held.record_count) <= end;
        self.frames.retain(stays);
        self.deleted.retain(stays);
        for accepted in [&mut self.accepted, &mut self.maybe_accepted] {
            accepted.iter_mut().for_each(|range| range.end = range.end.min(end));
            accepted.retain(|range| !range.is_empty());
        }
        self.producers.values_mut().for_each(|producer| producer.lose_from(end));
        self.end = end;
        self.promised_end = self.promised_end.min(end);
    }

    /// Whether a batch may begin, or the log end, at this offset.
    #[must_use]
    pub fn is_boundary(&self, offset: u64) -> bool {
        offset == self.end || self.frames.contains_key(&offset)
    }

    /// Whether a batch ends at this offset, deleted or not. The one behind it may be gone from the model: it could not be
    /// read, and a truncation went through it.
    #[must_use]
    pub fn ends_batch(&self, offset: u64) -> bool {
        let before = self.frames.range(..offset).next_back().or_else(|| self.deleted.range(..offset).next_back());
        before.is_some_and(|(base, held)| base + u64::from(held.record_count) == offset)
    }

    /// The batch that holds `offset`.
    #[must_use]
    pub fn holding(&self, offset: u64) -> Option<(u64, Held)> {
        let (base, held) = self.frames.range(..=offset).next_back()?;
        (offset < base + u64::from(held.record_count)).then_some((*base, *held))
    }

    /// Forgets frames wholly below the log start that is durable.
    pub fn forget_deleted(&mut self) {
        let start = self.log_start_min;
        while let Some(first) = self.frames.first_entry() {
            if first.key() + u64::from(first.get().record_count) > start {
                break;
            }
            let (base, held) = first.remove_entry();
            self.deleted.insert(base, held);
        }
    }

    /// What was deleted from `start` on is there again.
    pub fn undelete(&mut self, start: u64) {
        while let Some(last) = self.deleted.last_entry() {
            if last.key() + u64::from(last.get().record_count) <= start {
                break;
            }
            let (base, held) = last.remove_entry();
            self.frames.insert(base, held);
        }
    }
}
