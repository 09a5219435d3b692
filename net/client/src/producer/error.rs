//! Why a record was not taken.

use super::accumulator::AppendRefusal;
use crate::error::ClientError;
use sluice_model::record_batch::RecordRefusal;
use std::fmt;

/// Why a record was not taken. Nothing of it was sent.
#[derive(Debug)]
pub enum SendError {
    /// The producer's memory is full of records without outcome: for `send` after as long as `on_full` says.
    BufferFull,
    /// The record alone is larger than the producer's memory or the topic's largest frame.
    TooLarge {
        len: usize,
        len_max: usize,
    },
    /// The record itself cannot be written.
    Record(RecordRefusal),
    /// The topic has no such partition.
    UnknownPartition {
        topic: String,
        partition_count: usize,
    },
    /// `try_send` does not ask brokers; [`prepare`](crate::Producer::prepare) does.
    TopicNotPrepared {
        topic: String,
    },
    Client(ClientError),
    Closed,
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BufferFull => {
                write!(f, "the producer's buffer is full; wait for outcomes, or raise buffer_len_max")
            }
            Self::TooLarge { len, len_max } => write!(
                f,
                "the record takes {len} bytes and at most {len_max} are allowed; raise the topic's frame_len_max, or the producer's buffer_len_max"
            ),
            Self::Record(refusal) => refusal.fmt(f),
            Self::UnknownPartition { topic, partition_count } => {
                write!(f, "topic {topic} has {partition_count} partitions, numbered from 0")
            }
            Self::TopicNotPrepared { topic } => write!(f, "call prepare({topic:?}) once before try_send"),
            Self::Client(error) => error.fmt(f),
            Self::Closed => write!(f, "the producer is closed"),
        }
    }
}

impl std::error::Error for SendError {}

impl From<ClientError> for SendError {
    fn from(error: ClientError) -> Self {
        Self::Client(error)
    }
}

impl SendError {
    pub(super) fn of(topic: &str, refusal: AppendRefusal) -> Self {
        match refusal {
            AppendRefusal::UnknownPartition { count } => Self::UnknownPartition { topic: topic.into(), partition_count: count },
            AppendRefusal::Record(RecordRefusal::Full { len, len_max }) => Self::TooLarge { len, len_max },
            AppendRefusal::Record(refusal) => Self::Record(refusal),
        }
    }
}
