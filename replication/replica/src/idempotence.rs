//! Is this batch new, a retry of one that was appended, or neither? (KIP-98, KIP-360)
//!
//! The expensive mistake is to take a batch for new that is not (a duplicate), or to answer a duplicate before the
//! first one is durable; the caller therefore gets the offset the answer has to wait for.

use sluice_model::limits::PRODUCERS_PER_PARTITION_MAX;
use sluice_model::{FrameHeader, Offset, ProducerEntry, ProducerEpoch, ProducerId, ProducerTable, Sequence};
use std::fmt;

/// What a batch is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// To be appended.
    New,
    /// Appended before at `base_offset`.
    Duplicate { base_offset: Offset, end_offset: Offset },
    /// Appended before, too long ago to say where; everything below `end_offset` being durable, it is.
    OldDuplicate { end_offset: Offset },
}

/// Why a batch cannot be appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SequenceRefusal {
    /// An id without an epoch or sequence, or the other way round.
    Incomplete,
    /// Unknown producers begin at sequence 0.
    UnknownProducer {
        got: Sequence,
    },
    TooManyProducers,
    FencedEpoch {
        got: ProducerEpoch,
        current: ProducerEpoch,
    },
    OutOfOrder {
        got: Sequence,
        expected: Sequence,
    },
}

impl fmt::Display for SequenceRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Incomplete => write!(f, "producer id, producer epoch and sequence must all be given or all be -1"),
            Self::UnknownProducer { got } => {
                write!(
                    f,
                    "the partition does not know this producer, whose first sequence must be 0, not {got}; ask for a new producer id"
                )
            }
            Self::TooManyProducers => {
                write!(
                    f,
                    "the partition remembers {PRODUCERS_PER_PARTITION_MAX} producers and takes no new ones; use fewer producers"
                )
            }
            Self::FencedEpoch { got, current } => write!(f, "producer epoch {got} is fenced by epoch {current}"),
            Self::OutOfOrder { got, expected } => write!(f, "sequence {got} came where {expected} was expected"),
        }
    }
}

/// Judges the batch of `header` by what the partition remembers.
pub fn judge(producers: &ProducerTable, header: &FrameHeader) -> Result<Verdict, SequenceRefusal> {
    let (id, epoch, sequence) = (header.producer_id(), header.producer_epoch(), header.base_sequence());
    if id == ProducerId::NONE && epoch == ProducerEpoch::NONE && sequence == Sequence::NONE {
        return Ok(Verdict::New);
    }
    if id.0 < 0 || epoch.0 < 0 || sequence.0 < 0 {
        return Err(SequenceRefusal::Incomplete);
    }
    match producers.get(id) {
        None if sequence != Sequence(0) => Err(SequenceRefusal::UnknownProducer { got: sequence }),
        None if producers.len() >= PRODUCERS_PER_PARTITION_MAX => Err(SequenceRefusal::TooManyProducers),
        None => Ok(Verdict::New),
        Some(entry) if epoch < entry.epoch => Err(SequenceRefusal::FencedEpoch { got: epoch, current: entry.epoch }),
        Some(entry) if epoch > entry.epoch => {
            if sequence == Sequence(0) {
                Ok(Verdict::New)
            } else {
                Err(SequenceRefusal::OutOfOrder { got: sequence, expected: Sequence(0) })
            }
        }
        Some(entry) => judge_known(entry, sequence, header.record_count.to_native()),
    }
}

fn judge_known(entry: &ProducerEntry, sequence: Sequence, record_count: u32) -> Result<Verdict, SequenceRefusal> {
    let (Some(oldest), Some(newest)) = (entry.batches.front(), entry.batches.back()) else {
        return Err(SequenceRefusal::UnknownProducer { got: sequence });
    };
    let expected = newest.next_sequence();
    if sequence == expected {
        return Ok(Verdict::New);
    }
    if let Some(batch) = entry.batches.iter().find(|b| b.base_sequence == sequence && b.record_count == record_count) {
        let end_offset = batch.base_offset.advanced(u64::from(record_count));
        return Ok(Verdict::Duplicate { base_offset: batch.base_offset, end_offset });
    }
    // Sequences of one epoch have no gaps, so what ends at or before the oldest remembered batch was appended.
    // They wrap at 2^31: "before" is the nearer half of the circle.
    let to_oldest = distance(sequence, oldest.base_sequence);
    if to_oldest > 0 && to_oldest < 1 << 30 && u64::from(record_count) <= to_oldest {
        return Ok(Verdict::OldDuplicate { end_offset: oldest.base_offset });
    }
    Err(SequenceRefusal::OutOfOrder { got: sequence, expected })
}

/// How many sequences lie from `from` up to `to`, going up and wrapping.
fn distance(from: Sequence, to: Sequence) -> u64 {
    const CIRCLE: i64 = 1 << 31;
    u64::try_from((i64::from(to.0) - i64::from(from.0)).rem_euclid(CIRCLE))
        .expect("rem_euclid of a positive modulus is not negative")
}

#[cfg(test)]
#[path = "idempotence_test.rs"]
mod tests;
