//! The three ways an operation on partitions can end badly: refused to a peer, not opened, or the shard has failed.

use sluice_model::record_batch::RecordsError;
use sluice_model::{FrameError, Offset, TopicPartition};
use sluice_replica::AppendRefusal;
use sluice_storage::write_back::WriteBackError;
use std::fmt;
use std::io;

/// Why a produce is certainly not written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProduceRefusal {
    UnknownPartition(TopicPartition),
    /// Another broker leads it, or nobody does.
    NotLeader(TopicPartition),
    Frame(FrameError),
    /// Bytes behind the frame, in a message part that holds exactly one.
    TrailingBytes {
        frame_len: usize,
        got: usize,
    },
    /// Control and transactional batches, and those with the broker's times, are not taken from producers.
    Attributes {
        got: u16,
    },
    /// The body of an uncompressed batch disagrees with its header.
    Records(RecordsError),
    Append(AppendRefusal),
    /// The wait before the flush, or the memory, would exceed its bound.
    Overloaded {
        retry_after_ms: u32,
        reason: Overload,
    },
    DiskFull,
    /// The end of the log is being cut off.
    Truncating(TopicPartition),
    ShuttingDown,
}

/// What there is too much of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overload {
    /// The predicted wait for the flush, milliseconds, over its bound.
    Delay { predicted_ms: u32, max_ms: u32 },
    /// Bytes that wait for the journal.
    JournalBuffer,
    /// Bytes that wait to be written back to segments.
    Tail,
    /// The journal's ring is three quarters full.
    JournalRing,
}

impl fmt::Display for ProduceRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownPartition(id) => write!(f, "partition {id} is not on this shard"),
            Self::NotLeader(id) => write!(f, "this broker does not lead partition {id} now; ask for metadata again"),
            Self::Frame(error) => error.fmt(f),
            Self::TrailingBytes { frame_len, got } => write!(f, "a frame of {frame_len} bytes was sent in {got}"),
            Self::Attributes { got } => {
                write!(
                    f,
                    "attributes {got:#06x} name a control or transactional batch, times of the broker, or an unknown codec, which producers cannot send"
                )
            }
            Self::Records(error) => error.fmt(f),
            Self::Append(refusal) => refusal.fmt(f),
            Self::Overloaded { retry_after_ms, reason } => {
                match reason {
                    Overload::Delay { predicted_ms, max_ms } => {
                        write!(
                            f,
                            "the flush is predicted to take {predicted_ms} ms, the bound is {max_ms} ms (produce_delay_ms_max)"
                        )?;
                    }
                    Overload::JournalBuffer => write!(f, "the journal's buffers are full")?,
                    Overload::Tail => write!(f, "the memory for records not yet in segments is full")?,
                    Overload::JournalRing => write!(f, "the journal is full until segments are written back")?,
                }
                write!(f, "; try again in {retry_after_ms} ms")
            }
            Self::DiskFull => write!(f, "the disk is full; free space or shorten retention, then try again"),
            Self::Truncating(id) => write!(f, "the log of partition {id} is being truncated; try again"),
            Self::ShuttingDown => write!(f, "the broker is shutting down"),
        }
    }
}

/// Why a fetch, or another question about a partition, has no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FetchRefusal {
    UnknownPartition(TopicPartition),
    /// Another broker leads it, or nobody does.
    NotLeader(TopicPartition),
    OutOfRange {
        got: Offset,
        log_start_offset: Offset,
        high_watermark: Offset,
    },
    /// The next frame alone is longer than the request allows.
    TooSmall {
        needed: usize,
    },
    /// Records from `from`, at or before the offset asked for, up to `until` are damaged on this disk and not served.
    Damaged {
        from: Offset,
        until: Offset,
    },
    /// The journal's ring has no room for a log start now.
    Overloaded {
        retry_after_ms: u32,
    },
    ShuttingDown,
}

impl fmt::Display for FetchRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownPartition(id) => write!(f, "partition {id} is not on this shard"),
            Self::NotLeader(id) => write!(f, "this broker does not lead partition {id} now; ask for metadata again"),
            Self::OutOfRange { got, log_start_offset, high_watermark } => {
                write!(f, "offset {got} is out of range: the log holds {log_start_offset} up to {high_watermark}")
            }
            Self::TooSmall { needed } => write!(f, "the next frame has {needed} bytes, more than the fetch allows"),
            Self::Damaged { from, until } => {
                write!(f, "offsets {from} up to {until} are damaged; seek to {until}, or accept: `sluice log accept-loss`")
            }
            Self::Overloaded { retry_after_ms } => write!(f, "the journal is full; try again in {retry_after_ms} ms"),
            Self::ShuttingDown => write!(f, "the broker is shutting down"),
        }
    }
}

/// Why a shard can no longer go on; the machine ends the process.
#[derive(Debug)]
pub enum Failure {
    /// A write to the journal failed: what it held may or may not be durable.
    Journal(io::Error),
    /// A write or flush of a segment failed for another reason than a full disk.
    WriteBack {
        id: TopicPartition,
        error: WriteBackError,
    },
    Flush {
        id: TopicPartition,
        error: io::Error,
    },
    /// Cutting a log off failed: its segments may be half as they were.
    Truncate {
        id: TopicPartition,
        error: io::Error,
    },
    /// Removing the files of a partition failed.
    Remove {
        id: TopicPartition,
        error: io::Error,
    },
    /// The disk space reserve could not be taken or given back.
    Reserve(io::Error),
    Checkpoint(io::Error),
    /// The shard had failed before, and writes nothing more.
    Earlier,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Journal(error) => write!(f, "a journal write failed: {error}"),
            Self::WriteBack { id, error } => write!(f, "writing a segment of partition {id} failed: {error}"),
            Self::Flush { id, error } => write!(f, "flushing a segment of partition {id} failed: {error}"),
            Self::Truncate { id, error } => write!(f, "truncating partition {id} failed: {error}"),
            Self::Remove { id, error } => write!(f, "removing files of partition {id} failed: {error}"),
            Self::Reserve(error) => write!(f, "changing the disk space reserve failed: {error}"),
            Self::Checkpoint(error) => write!(f, "writing a checkpoint failed: {error}"),
            Self::Earlier => write!(f, "the shard has failed before and writes nothing more; start the broker again"),
        }
    }
}

impl std::error::Error for ProduceRefusal {}
impl std::error::Error for FetchRefusal {}
impl std::error::Error for Failure {}
