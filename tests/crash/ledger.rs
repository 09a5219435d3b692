//! What was sent to a topic, what the client was told of each record, what was read beside, and whether a log that
//! is read afterwards agrees with all of it.
//!
//! The expensive mistake is a check that cannot fail: a record says which one it is and every other byte of it
//! follows from that, so that a lost, doubled, altered, moved or invented one is found by reading the log alone.

use super::random::Random;
use sluice_client::Delivery;
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard};

/// One record: its producer, and its number there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct RecordId {
    pub(crate) producer: u32,
    pub(crate) number: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Acknowledged { partition: u32, offset: Option<u64> },
    Refused(String),
    Unknown(String),
}

/// A partition as it was read: the offset of its first record, and the records.
#[derive(Debug, Default)]
pub(crate) struct ReadPartition {
    pub(crate) start: u64,
    pub(crate) records: Vec<RecordId>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) acknowledged: usize,
    pub(crate) refused: usize,
    pub(crate) unknown: usize,
    pub(crate) unsettled: usize,
}

#[derive(Debug)]
pub(crate) struct Ledger {
    seed: u64,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    /// By producer and number.
    outcomes: Vec<Vec<Option<Outcome>>>,
    /// By partition and offset: what a consumer was given while the broker lived and died.
    seen: Vec<Vec<RecordId>>,
}

impl Ledger {
    pub(crate) fn new(seed: u64, producers: u32, partitions: u32) -> Self {
        let inner = Inner { outcomes: vec![Vec::new(); producers as usize], seen: vec![Vec::new(); partitions as usize] };
        Self { seed, inner: Mutex::new(inner) }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // A panic elsewhere fails the test by itself; what it left behind is still worth reading.
        self.inner.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// The next record of a producer.
    pub(crate) fn begin(&self, producer: u32) -> RecordId {
        let mut inner = self.lock();
        let outcomes = &mut inner.outcomes[producer as usize];
        outcomes.push(None);
        RecordId { producer, number: outcomes.len() as u64 - 1 }
    }

    /// What the client says of it; it says so once.
    pub(crate) fn settle(&self, id: RecordId, delivery: Delivery) {
        let outcome = match delivery {
            Delivery::Acknowledged(ack) => Outcome::Acknowledged { partition: ack.partition, offset: ack.offset },
            Delivery::Refused(failure) => Outcome::Refused(failure.to_string()),
            Delivery::Unknown(failure) => Outcome::Unknown(failure.to_string()),
        };
        self.settle_as(id, outcome);
    }

    pub(crate) fn settle_as(&self, id: RecordId, outcome: Outcome) {
        let mut inner = self.lock();
        let place = &mut inner.outcomes[id.producer as usize][id.number as usize];
        assert!(place.is_none(), "{id:?} was {place:?} and is now {outcome:?}");
        *place = Some(outcome);
    }

    /// What the record holds.
    pub(crate) fn value(&self, id: RecordId) -> Vec<u8> {
        value_of(self.seed, id)
    }

    /// Which record this is; fails when it holds anything else.
    pub(crate) fn recognise(&self, value: &[u8]) -> RecordId {
        assert!(value.len() >= HEAD_LEN, "a record of {} bytes was never sent", value.len());
        let producer = u32::from_le_bytes(value[..4].try_into().expect("four bytes"));
        let number = u64::from_le_bytes(value[4..HEAD_LEN].try_into().expect("eight bytes"));
        let id = RecordId { producer, number };
        assert!(value == self.value(id), "{id:?} was altered, or never sent");
        id
    }

    /// A consumer was given this record.
    pub(crate) fn saw(&self, partition: u32, offset: u64, id: RecordId) {
        let mut inner = self.lock();
        let seen = &mut inner.seen[partition as usize];
        assert_eq!(seen.len() as u64, offset, "partition {partition}: a consumer was given another offset than the next");
        seen.push(id);
    }

    pub(crate) fn seen_count(&self) -> usize {
        self.lock().seen.iter().map(Vec::len).sum()
    }

    pub(crate) fn tally(&self) -> Tally {
        let mut tally = Tally::default();
        for outcome in self.lock().outcomes.iter().flatten() {
            match outcome {
                Some(Outcome::Acknowledged { .. }) => tally.acknowledged += 1,
                Some(Outcome::Refused(_)) => tally.refused += 1,
                Some(Outcome::Unknown(_)) => tally.unknown += 1,
                None => tally.unsettled += 1,
            }
        }
        tally
    }

    /// The texts of what was not acknowledged, a few of them.
    pub(crate) fn reasons(&self) -> Vec<String> {
        let mut reasons = std::collections::BTreeSet::new();
        for outcome in self.lock().outcomes.iter().flatten().flatten() {
            if let Outcome::Refused(text) | Outcome::Unknown(text) = outcome {
                reasons.insert(text.clone());
            }
        }
        reasons.into_iter().take(8).collect()
    }

    /// The highest offset a consumer may rely on in a partition, and one more.
    pub(crate) fn acknowledged_until(&self, partition: u32) -> u64 {
        let inner = self.lock();
        let offsets = inner.outcomes.iter().flatten().filter_map(|outcome| match outcome {
            Some(Outcome::Acknowledged { partition: p, offset }) if *p == partition => *offset,
            _ => None,
        });
        offsets.max().map_or(0, |offset| offset + 1)
    }

    /// Fails unless the log holds every acknowledged record once, where it was told to be and in order, none that was
    /// refused, none that was never sent, and what the consumer beside was given.
    pub(crate) fn check(&self, log: &[ReadPartition]) {
        let inner = self.lock();
        let mut places = HashMap::new();
        for (partition, read) in (0_u32..).zip(log) {
            let mut last = HashMap::new();
            for (offset, &id) in (read.start..).zip(&read.records) {
                let sent = inner.outcomes.get(id.producer as usize).and_then(|o| o.get(id.number as usize));
                let outcome = sent.unwrap_or_else(|| panic!("{id:?} at {partition}/{offset} was never sent"));
                assert!(!matches!(outcome, Some(Outcome::Refused(_))), "{id:?} at {partition}/{offset} was {outcome:?}");
                let before = places.insert(id, (partition, offset));
                assert_eq!(before, None, "{id:?} is twice in the log, the second time at {partition}/{offset}");
                let last = last.insert(id.producer, id.number);
                assert!(last.is_none_or(|last| last < id.number), "{id:?} at {partition}/{offset} stands behind {last:?}");
            }
            let seen = inner.seen.get(partition as usize).map_or(&[][..], Vec::as_slice);
            for (offset, id) in (0..).zip(seen).skip(read.start as usize) {
                let there = read.records.get((offset - read.start) as usize);
                assert_eq!(there, Some(id), "a consumer was given {id:?} at {partition}/{offset}, and {there:?} is there");
            }
        }
        for (producer, outcomes) in (0..).zip(&inner.outcomes) {
            for (number, outcome) in (0..).zip(outcomes) {
                let Some(Outcome::Acknowledged { partition, offset }) = outcome else { continue };
                let id = RecordId { producer, number };
                let start = log[*partition as usize].start;
                match (places.get(&id), offset) {
                    (Some(&(p, o)), told) => {
                        assert!(p == *partition && told.is_none_or(|told| told == o), "{id:?} is at {p}/{o}: {outcome:?}");
                    }
                    (None, Some(told)) => assert!(*told < start, "{id:?} is lost: {outcome:?}, the log starts at {start}"),
                    (None, None) => assert!(start > 0, "{id:?} is lost: {outcome:?}"),
                }
            }
        }
    }
}

const HEAD_LEN: usize = 12;

/// A few are large, so that groups, blocks and segments end anywhere.
fn value_of(seed: u64, id: RecordId) -> Vec<u8> {
    let mut random = Random::new(seed ^ id.number.wrapping_mul(31).wrapping_add(u64::from(id.producer) << 48));
    let len_max = if random.chance(4) { 30_000 } else { 2_000 };
    let len = HEAD_LEN + random.below(len_max) as usize;
    let mut value = Vec::with_capacity(len + 8);
    value.extend_from_slice(&id.producer.to_le_bytes());
    value.extend_from_slice(&id.number.to_le_bytes());
    while value.len() < len {
        value.extend_from_slice(&random.next().to_le_bytes());
    }
    value.truncate(len);
    value
}
