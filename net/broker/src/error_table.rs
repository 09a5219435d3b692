//! The one table from refusals to wire codes.
//!
//! The expensive mistake is a code that says more than is known: what may have been written is never given a code
//! whose outcome is `Refused`. Deliberately absent: what a client does with a code (`sluice-model` has that table).

use sluice_model::{ErrorCode, FrameError, ShardIndex, TopicPartition};
use sluice_partition::{FetchRefusal, LookUpError, ProduceRefusal, ReplicaRefusal};
use sluice_protocol::{PARTITION_TEXT_LEN_MAX, TEXT_LEN_MAX, short_text};
use sluice_replica::{AppendRefusal, FollowerRefusal, SequenceRefusal};
use sluice_storage::read_plan::DiskReadError;
use std::fmt::Display;

/// Before a request is sent again that the network budget, or a queue to the control thread, had no room for.
pub(crate) const RETRY_AFTER_MS: u32 = 50;
/// Before a request is sent again that found the disk full or the broker not ready.
const RETRY_LATER_MS: u32 = 1000;
/// Before a request is sent again whose shard is being recovered: that takes a part of a second, unless there is damage.
const RETRY_RECOVERING_MS: u32 = 100;

/// What an answer says went wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct WireError {
    pub(crate) code: ErrorCode,
    pub(crate) text: String,
    pub(crate) retry_after_ms: u32,
}

impl WireError {
    pub(crate) fn new(code: ErrorCode, text: impl Display) -> Self {
        Self { code, text: short_text(text.to_string(), PARTITION_TEXT_LEN_MAX), retry_after_ms: 0 }
    }

    pub(crate) fn later(code: ErrorCode, text: impl Display, retry_after_ms: u32) -> Self {
        Self { retry_after_ms, ..Self::new(code, text) }
    }

    /// The network budget has no room for the request or its answer.
    pub(crate) fn no_room() -> Self {
        Self::later(ErrorCode::Overloaded, "the shard's network budget has no room for this request now", RETRY_AFTER_MS)
    }

    /// The control thread has as many questions as it takes.
    pub(crate) fn control_busy() -> Self {
        Self::later(ErrorCode::Overloaded, "too many administrative requests are under way", RETRY_AFTER_MS)
    }

    pub(crate) fn disk_full(text: impl Display) -> Self {
        Self::later(ErrorCode::DiskFull, text, RETRY_LATER_MS)
    }

    pub(crate) fn shutting_down() -> Self {
        Self::later(ErrorCode::ShuttingDown, "the broker is shutting down", RETRY_LATER_MS)
    }

    /// It may be done, or may yet be: who repeats it has to look first.
    pub(crate) fn undecided(text: impl Display) -> Self {
        Self::later(ErrorCode::RequestTimedOut, text, RETRY_LATER_MS)
    }

    pub(crate) fn not_ready(text: impl Display) -> Self {
        Self::later(ErrorCode::NotReady, text, RETRY_LATER_MS)
    }

    /// A new partition would stand where records lie that belong to no topic.
    pub(crate) fn orphan_in_the_way(id: TopicPartition) -> Self {
        let text = format!(
            "the data folder holds records of {id}, which the metadata does not know: stop the broker, see `sluice orphan list`, \
             and let the topic adopt them"
        );
        Self { text: short_text(text, TEXT_LEN_MAX), ..Self::new(ErrorCode::InvalidPartitionCount, "") }
    }

    /// A peer that says it is a broker and is not believed.
    pub(crate) fn not_authenticated(text: impl Display) -> Self {
        Self::new(ErrorCode::AuthenticationFailed, text)
    }

    /// A fetch session of another broker is closed.
    pub(crate) fn full_again() -> Self {
        Self::new(
            ErrorCode::FetchSessionFullAgain,
            "the fetch session is not open, or a request of it was lost: name everything again",
        )
    }

    pub(crate) fn stale_session() -> Self {
        Self::new(ErrorCode::StaleFetchSession, "a later fetch session, or a later incarnation, has been seen")
    }

    pub(crate) fn recovering(shard: ShardIndex) -> Self {
        let text = format!("shard {shard} is being recovered, and this partition with it");
        Self::later(ErrorCode::NotReady, text, RETRY_RECOVERING_MS)
    }

    pub(crate) fn code(&self) -> u16 {
        self.code as u16
    }
}

impl From<&ProduceRefusal> for WireError {
    fn from(refusal: &ProduceRefusal) -> Self {
        match refusal {
            // The image places it here; the shard is still opening it, or removing it.
            ProduceRefusal::UnknownPartition(_) | ProduceRefusal::Truncating(_) => Self::not_ready(refusal),
            ProduceRefusal::NotLeader(_) => Self::new(ErrorCode::NotLeader, refusal),
            ProduceRefusal::Frame(error) => Self::new(frame_code(error), refusal),
            ProduceRefusal::TrailingBytes { .. } | ProduceRefusal::Attributes { .. } => {
                Self::new(ErrorCode::InvalidFrame, refusal)
            }
            ProduceRefusal::Records(_) => Self::new(ErrorCode::InvalidRecords, refusal),
            ProduceRefusal::Append(append) => append_error(append),
            ProduceRefusal::Overloaded { retry_after_ms, .. } => Self::later(ErrorCode::Overloaded, refusal, *retry_after_ms),
            ProduceRefusal::DiskFull => Self::disk_full(refusal),
            ProduceRefusal::ShuttingDown => Self::shutting_down(),
        }
    }
}

fn append_error(refusal: &AppendRefusal) -> WireError {
    match refusal {
        AppendRefusal::WrongPartition { .. } => WireError::new(ErrorCode::InvalidFrame, refusal),
        AppendRefusal::FrameTooLarge { .. } => WireError::new(ErrorCode::FrameTooLarge, refusal),
        AppendRefusal::NotEnoughReplicas { .. } => WireError::later(ErrorCode::NotEnoughReplicas, refusal, RETRY_LATER_MS),
        AppendRefusal::Sequence(sequence) => match sequence {
            SequenceRefusal::Incomplete => WireError::new(ErrorCode::InvalidFrame, refusal),
            SequenceRefusal::UnknownProducer { .. } => WireError::new(ErrorCode::UnknownProducer, refusal),
            SequenceRefusal::TooManyProducers => WireError::later(ErrorCode::TooManyProducers, refusal, RETRY_LATER_MS),
            SequenceRefusal::FencedEpoch { .. } => WireError::new(ErrorCode::FencedProducerEpoch, refusal),
            SequenceRefusal::OutOfOrder { .. } => WireError::new(ErrorCode::OutOfOrderSequence, refusal),
        },
        AppendRefusal::NotLeading(_) => WireError::new(ErrorCode::NotLeader, refusal),
    }
}

pub(crate) fn frame_code(error: &FrameError) -> ErrorCode {
    match error {
        FrameError::HeaderCrc { .. } | FrameError::BatchCrc { .. } => ErrorCode::CorruptFrame,
        FrameError::BodyTooLong { .. } => ErrorCode::FrameTooLarge,
        FrameError::Truncated { .. } | FrameError::Magic { .. } | FrameError::RecordCount { .. } => ErrorCode::InvalidFrame,
    }
}

impl From<&FetchRefusal> for WireError {
    fn from(refusal: &FetchRefusal) -> Self {
        match refusal {
            FetchRefusal::UnknownPartition(_) => Self::not_ready(refusal),
            FetchRefusal::NotLeader(_) => Self::new(ErrorCode::NotLeader, refusal),
            FetchRefusal::OutOfRange { .. } => Self::new(ErrorCode::OffsetOutOfRange, refusal),
            FetchRefusal::TooSmall { .. } => Self::new(ErrorCode::FetchTooSmall, refusal),
            FetchRefusal::Damaged { .. } => Self::new(ErrorCode::Damaged, refusal),
            FetchRefusal::Overloaded { retry_after_ms } => Self::later(ErrorCode::Overloaded, refusal, *retry_after_ms),
            FetchRefusal::ShuttingDown => Self::shutting_down(),
        }
    }
}

impl From<&ReplicaRefusal> for WireError {
    fn from(refusal: &ReplicaRefusal) -> Self {
        let code = match refusal {
            ReplicaRefusal::UnknownPartition(_) => return Self::not_ready(refusal),
            ReplicaRefusal::NotLeader(_) => ErrorCode::NotLeader,
            ReplicaRefusal::Rules(rules) => match rules {
                FollowerRefusal::NotLeading(_) => ErrorCode::NotLeader,
                FollowerRefusal::FencedLeaderEpoch { .. } => ErrorCode::FencedLeaderEpoch,
                FollowerRefusal::UnknownLeaderEpoch { .. } => ErrorCode::UnknownLeaderEpoch,
                FollowerRefusal::UnknownReplica(_) => ErrorCode::UnknownReplica,
                FollowerRefusal::OtherIncarnation { .. } => ErrorCode::OtherIncarnation,
                FollowerRefusal::FlushedBeyond { .. } => ErrorCode::FlushedBeyondEnd,
                FollowerRefusal::Stale { .. } => ErrorCode::StaleOffset,
                FollowerRefusal::ChainMismatch { .. } => ErrorCode::ChainMismatch,
            },
        };
        Self::new(code, refusal)
    }
}

impl From<&LookUpError> for WireError {
    fn from(error: &LookUpError) -> Self {
        match error {
            LookUpError::NotLeader(_) => Self::new(ErrorCode::NotLeader, error),
            LookUpError::Refused(refusal) => Self::from(refusal),
            LookUpError::Failed(error) => Self::from(error),
        }
    }
}

impl From<&DiskReadError> for WireError {
    fn from(error: &DiskReadError) -> Self {
        match error {
            DiskReadError::Io(_) => Self::later(ErrorCode::Internal, error, RETRY_LATER_MS),
            // Retention was quicker: a fetch again is told the range.
            DiskReadError::Removed => Self::not_ready(error),
            DiskReadError::TooSmall { .. } => Self::new(ErrorCode::FetchTooSmall, error),
            DiskReadError::Damaged(damage) => {
                let (from, until) = (damage.range.from, damage.range.until);
                Self::new(ErrorCode::Damaged, sluice_partition::FetchRefusal::Damaged { from, until })
            }
        }
    }
}

impl From<&sluice_metadata::Refusal> for WireError {
    fn from(refusal: &sluice_metadata::Refusal) -> Self {
        use sluice_metadata::Refusal as R;
        let code = match refusal {
            R::InvalidTopicName { .. } => ErrorCode::InvalidTopicName,
            R::TopicExists { .. } | R::TopicIsKnown { .. } => ErrorCode::TopicExists,
            R::UnknownTopic { .. } | R::TopicNotDeleted { .. } | R::TopicDeleted { .. } | R::NothingToAdopt { .. } => {
                ErrorCode::UnknownTopic
            }
            R::InvalidPartitionCount { .. } | R::FewerPartitions { .. } | R::TooManyPartitions { .. } => {
                ErrorCode::InvalidPartitionCount
            }
            R::UnknownSetting { .. } | R::RepeatedSetting { .. } | R::InvalidSetting { .. } => ErrorCode::InvalidSetting,
            R::InvalidReplicationFactor { .. }
            | R::NotEnoughBrokers { .. }
            | R::TooManyAtOnce { .. }
            | R::CommandTooLong { .. } => ErrorCode::InvalidArgument,
            R::NoBrokers
            | R::UnknownBroker { .. }
            | R::NotEnoughActiveBrokers { .. }
            | R::NotRecovered { .. }
            | R::RecoveryReported { .. }
            | R::BrokerFenced { .. } => ErrorCode::NotReady,
            R::BrokerShuttingDown { .. } => ErrorCode::ShuttingDown,
            R::FencedIncarnation { .. }
            | R::OtherFolder { .. }
            | R::InvalidBrokerId { .. }
            | R::InvalidShardCount { .. }
            | R::InvalidAddress { .. }
            | R::FolderTaken { .. }
            | R::NotAlone { .. }
            | R::InvalidRack { .. }
            | R::TopicIdTaken { .. }
            | R::CommandNotUnderstood { .. }
            | R::ProducerIdsExhausted => ErrorCode::Internal,
        };
        Self { text: short_text(refusal.to_string(), TEXT_LEN_MAX), ..Self::new(code, "") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sluice_model::error_code::Outcome;
    use sluice_model::{Offset, Sequence, TopicPartition};
    use sluice_partition::Overload;

    #[test]
    fn a_refused_produce_is_certainly_not_written() {
        let id = TopicPartition::default();
        let table = [
            (ProduceRefusal::UnknownPartition(id), ErrorCode::NotReady),
            (ProduceRefusal::NotLeader(id), ErrorCode::NotLeader),
            (ProduceRefusal::Frame(FrameError::Magic { got: [0; 4] }), ErrorCode::InvalidFrame),
            (ProduceRefusal::Frame(FrameError::BatchCrc { expected: 1, actual: 2 }), ErrorCode::CorruptFrame),
            (ProduceRefusal::Frame(FrameError::BodyTooLong { got: 2, max: 1 }), ErrorCode::FrameTooLarge),
            (ProduceRefusal::TrailingBytes { frame_len: 1, got: 2 }, ErrorCode::InvalidFrame),
            (ProduceRefusal::Append(AppendRefusal::WrongPartition { got: id }), ErrorCode::InvalidFrame),
            (ProduceRefusal::Append(AppendRefusal::NotEnoughReplicas { in_sync: 1, wanted: 2 }), ErrorCode::NotEnoughReplicas),
            (
                ProduceRefusal::Append(AppendRefusal::Sequence(SequenceRefusal::UnknownProducer { got: Sequence(3) })),
                ErrorCode::UnknownProducer,
            ),
            (ProduceRefusal::Overloaded { retry_after_ms: 7, reason: Overload::Tail }, ErrorCode::Overloaded),
            (ProduceRefusal::DiskFull, ErrorCode::DiskFull),
            (ProduceRefusal::Truncating(id), ErrorCode::NotReady),
            (ProduceRefusal::ShuttingDown, ErrorCode::ShuttingDown),
        ];
        for (refusal, code) in table {
            let error = WireError::from(&refusal);
            assert_eq!((error.code, error.code.outcome()), (code, Outcome::Refused), "{refusal}");
        }
        let overloaded = WireError::from(&ProduceRefusal::Overloaded { retry_after_ms: 7, reason: Overload::Tail });
        assert_eq!(overloaded.retry_after_ms, 7);
    }

    #[test]
    fn an_offset_out_of_range_is_told_the_range() {
        let refusal = FetchRefusal::OutOfRange { got: Offset(9), log_start_offset: Offset(2), high_watermark: Offset(5) };
        let error = WireError::from(&refusal);
        assert_eq!(error.code, ErrorCode::OffsetOutOfRange);
        assert!(error.text.contains('2') && error.text.contains('5'), "{}", error.text);
    }
}
