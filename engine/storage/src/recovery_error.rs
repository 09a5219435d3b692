//! Why a shard cannot be started, and what whoever starts it can do about it.
//!
//! Each of them has changed nothing that a later start needs. Deliberately absent: damage, which a shard starts with and
//! reports (`recovery_report`).

use crate::damage::SegmentDamage;
use crate::write_back::WriteBackError;
use sluice_model::{ShardIndex, TopicPartition};
use std::fmt;
use std::io;
use std::path::PathBuf;

/// Why a shard cannot be started.
#[derive(Debug)]
pub enum RecoveryError {
    Io(io::Error),
    /// Another version of this program wrote this file.
    OtherVersion {
        path: PathBuf,
        found: u32,
        known: u32,
    },
    /// A file of the journal is missing or has another length than the checkpoint says.
    JournalMissing {
        dir: PathBuf,
        error: io::Error,
    },
    /// The shard was used under an incarnation with this number.
    IncarnationTooLow {
        found: u64,
        given: u64,
    },
    /// Both checkpoint slots are lost, and the shard is not to be rebuilt now.
    CheckpointsLost {
        shard: ShardIndex,
    },
    /// The configured journal has no possible shape.
    JournalShape {
        file_len: u64,
        file_count: u32,
        group_len_target: usize,
    },
    /// Nothing names this partition, and there are files in its folder.
    UnknownData {
        id: TopicPartition,
    },
    /// A segment cannot be completed, because what stands in it below the recovery point is damaged.
    Segment(SegmentDamage),
}

impl From<io::Error> for RecoveryError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<WriteBackError> for RecoveryError {
    fn from(error: WriteBackError) -> Self {
        match error {
            WriteBackError::Io(error) => Self::Io(error),
            WriteBackError::Damaged(damage) => Self::Segment(damage),
        }
    }
}

impl fmt::Display for RecoveryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => write!(f, "recovery: {error}"),
            Self::OtherVersion { path, found, known } => write!(
                f,
                "{} has format version {found}, and this program reads version {known}: nothing was changed; start a program \
                 that knows version {found} on this folder",
                path.display()
            ),
            Self::JournalMissing { dir, error } => write!(
                f,
                "the journal in {} is missing or not whole ({error}), and the newest records are only there: nothing was \
                 changed; put it back, or give up what it held with `sluice log accept-loss`",
                dir.display()
            ),
            Self::IncarnationTooLow { found, given } => {
                write!(f, "incarnation {given} is not above {found}, under which the shard was used")
            }
            Self::CheckpointsLost { shard } => write!(
                f,
                "neither checkpoint of shard {shard} can be read, and partitions move: nothing was changed; start again when the device \
                 gives them back, or once with as many shards as before, so that the shard is rebuilt"
            ),
            Self::JournalShape { file_len, file_count, group_len_target } => {
                write!(f, "no journal has {file_count} files of {file_len} bytes and groups of {group_len_target}")
            }
            Self::UnknownData { id } => write!(f, "partition {id} has segments that no checkpoint and no journal names"),
            Self::Segment(damage) => write!(f, "recovery: {damage}"),
        }
    }
}

impl std::error::Error for RecoveryError {}
