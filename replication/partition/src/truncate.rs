//! A partition's log is cut off below its end: its leader goes on from there under a new leader epoch, its follower fetches
//! again from there.
//!
//! In order: no append is taken any more, everything goes to segments and is flushed, the boundary is found, the
//! journal's entry is appended and log and replica end there in memory, the entry becomes durable, the same entry is
//! appended again and becomes durable in a group of its own, the files are cut, checkpoints say so in both slots. A crash
//! before the first entry is durable leaves the log as it was, one after it the log that was cut. The second one is for rot:
//! no single group of the journal is all that knows of files that are being cut. The checkpoints are for one write that goes
//! astray over both groups, which stand side by side: the journal is not all that knows of a cut that was answered.
//!
//! The expensive mistake is to acknowledge what is gone: a produce that waits for more than the cut is answered as
//! unknown in the same breath as the log ends there. A follower, whose leader counts what it says, says nothing before the
//! files are cut. Deliberately absent: where to cut, which an election decides.

use crate::checkpointing::Background;
use crate::completions::{Completed, Completion};
use crate::pace::PaceClass;
use crate::partitions::{PartitionCell, Partitions};
use crate::refusal::Failure;
use sluice_model::limits::BLOCK_LEN;
use sluice_model::{Clock, LeaderEpoch, Offset, TopicPartition};
use sluice_replica::TruncatedLog;
use sluice_storage::commit_group::JournalEntry;
use sluice_storage::disk::Disk;
use sluice_storage::truncation::Truncation;
use std::fmt;
use std::io;

/// Why a log was not truncated. Nothing has changed, but for the log being on disk, unless it is `Failed`.
#[derive(Debug)]
pub enum TruncateError {
    UnknownPartition(TopicPartition),
    /// It follows, and cuts off what its leader has not.
    NotLeader(TopicPartition),
    ShuttingDown,
    /// The frame boundary at or below the offset asked for, or the offset itself, lies below the log start.
    BelowLogStart {
        end_offset: Offset,
        log_start_offset: Offset,
    },
    /// A replica goes on under a leader epoch greater than any before.
    StaleEpoch {
        got: LeaderEpoch,
        current: LeaderEpoch,
    },
    /// Segments, or the footer of the one that is cut, have no room.
    DiskFull,
    /// The journal's ring has no room for the entry now.
    Overloaded {
        retry_after_ms: u32,
    },
    /// The shard cannot go on.
    Failed(Box<Failure>),
}

impl fmt::Display for TruncateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownPartition(id) => write!(f, "partition {id} is not on this shard"),
            Self::NotLeader(id) => write!(f, "this broker does not lead partition {id}, whose leader says where it is cut off"),
            Self::ShuttingDown => write!(f, "the broker is shutting down"),
            Self::BelowLogStart { end_offset, log_start_offset } => {
                write!(f, "a log that begins at {log_start_offset} cannot end at {end_offset}")
            }
            Self::StaleEpoch { got, current } => write!(f, "leader epoch {got} is not above {current}"),
            Self::DiskFull => write!(f, "the disk is full; free space or shorten retention, then try again"),
            Self::Overloaded { retry_after_ms } => write!(f, "the journal is full; try again in {retry_after_ms} ms"),
            Self::Failed(failure) => failure.fmt(f),
        }
    }
}

impl std::error::Error for TruncateError {}

impl From<Failure> for TruncateError {
    fn from(failure: Failure) -> Self {
        Self::Failed(Box::new(failure))
    }
}

/// Who goes on from the cut.
#[derive(Clone, Copy, Debug)]
enum GoesOn {
    /// A leader, under this epoch.
    Leader(LeaderEpoch),
    Follower,
}

impl<D: Disk, C: Clock> Partitions<D, C> {
    /// Ends the log of `id` at the frame boundary at or below `end_offset` (or where it ends, if that is less), and
    /// gives back where that is, once it is durable and the files are cut. Produces that wait for more are answered
    /// as [`Completed::Truncated`], watches come true. To be run to its end: no append is taken before.
    pub async fn truncate(
        &self,
        id: TopicPartition,
        end_offset: Offset,
        leader_epoch: LeaderEpoch,
    ) -> Result<Offset, TruncateError> {
        let mut background = self.shared.background.lock().await;
        self.refuse_failed()?;
        let cell = self.get(id).ok_or(TruncateError::UnknownPartition(id))?;
        if self.shared.closing.get() {
            return Err(TruncateError::ShuttingDown);
        }
        {
            let mut partition = cell.borrow_mut();
            partition.leader().ok_or(TruncateError::NotLeader(id))?;
            let (current, log_start_offset) = (partition.replica.leader_epoch(), partition.log.log_start_offset());
            if leader_epoch <= current {
                return Err(TruncateError::StaleEpoch { got: leader_epoch, current });
            }
            if end_offset < log_start_offset {
                return Err(TruncateError::BelowLogStart { end_offset, log_start_offset });
            }
            if end_offset >= partition.log.log_end_offset() {
                let unknown = partition.replica.on_leader_truncated(leader_epoch, None);
                assert!(unknown.is_empty(), "{id}: nothing is cut off, and a produce is lost");
                return Ok(partition.log.log_end_offset());
            }
            partition.truncating = true;
        }
        let truncated = self.truncate_or_give_up(&cell, end_offset, GoesOn::Leader(leader_epoch), &mut background).await;
        truncated.map(|log| log.end_offset)
    }

    /// What is appended, fetched or answered from here on relies on the cuts. On a disk that has no room for a checkpoint the
    /// journal's two groups have to do, as long as that lasts.
    pub(crate) async fn tell_checkpoints_of_cuts(&self, background: &mut Background<D>) -> Result<(), Failure> {
        self.checkpoint_both(background).await.map(|_has_room| ())
    }

    /// The same for a follower, which wants it: the log as it is then, on disk. Checkpoints are the caller's, for all logs
    /// that are cut off at once.
    pub(crate) async fn truncate_follower(
        &self,
        cell: &PartitionCell<D>,
        end_offset: Offset,
        background: &mut Background<D>,
    ) -> Result<TruncatedLog, TruncateError> {
        cell.borrow_mut().truncating = true;
        self.truncate_or_give_up(cell, end_offset, GoesOn::Follower, background).await
    }

    async fn truncate_or_give_up(
        &self,
        cell: &PartitionCell<D>,
        end_offset: Offset,
        goes_on: GoesOn,
        background: &mut Background<D>,
    ) -> Result<TruncatedLog, TruncateError> {
        let had_reserve = background.reserve.is_held();
        let truncated = self.truncate_quiet(cell, end_offset, goes_on, background).await;
        if had_reserve && !background.reserve.is_held() {
            self.enter_disk_full(background).await?;
        }
        // After a failure nobody knows where the log ends on disk: nothing is appended to it before the next start finds out.
        cell.borrow_mut().truncating = matches!(truncated, Err(TruncateError::Failed(_)));
        truncated
    }

    /// While no append comes and nobody else writes.
    async fn truncate_quiet(
        &self,
        cell: &PartitionCell<D>,
        end_offset: Offset,
        goes_on: GoesOn,
        background: &mut Background<D>,
    ) -> Result<TruncatedLog, TruncateError> {
        if !self.write_back_everything(cell, background).await? {
            return Err(TruncateError::DiskFull);
        }
        self.flush(cell).await?;
        let truncation = self.find_cut(cell, end_offset, background).await?;
        let entry = truncation.journal_entry(cell.borrow().id());
        let (sequence, log) = self.end_log(cell, truncation, goes_on)?;
        background.spare_is_old = true;
        self.wait_for_groups(|journal| journal.durable_sequence() >= sequence).await?;
        let sequence = self.repeat_entry(cell, entry);
        self.wait_for_groups(|journal| journal.durable_sequence() >= sequence).await?;
        let plan = cell.borrow().log.plan_cut();
        if let Some(plan) = plan {
            let cut = plan.run().await.map_err(|error| self.truncate_failure(cell, error))?;
            cell.borrow_mut().log.on_cut(cut);
        }
        if let GoesOn::Leader(_) = goes_on {
            self.tell_checkpoints_of_cuts(background).await?;
        }
        Ok(log)
    }

    async fn find_cut(
        &self,
        cell: &PartitionCell<D>,
        end_offset: Offset,
        background: &mut Background<D>,
    ) -> Result<Truncation, TruncateError> {
        // Nothing of the shard is written back meanwhile, so nobody who fetches comes before it.
        let turns = self.read_turns(PaceClass::UrgentWriteBack);
        loop {
            let plan = cell.borrow().log.plan_truncate(end_offset);
            match plan.run_in_turns(&turns).await {
                Ok(truncation) => return Ok(truncation),
                Err(error) if error.kind() != io::ErrorKind::StorageFull => {
                    return Err(self.truncate_failure(cell, error).into());
                }
                Err(_) if background.reserve.is_held() => self.give_back_reserve(background).await?,
                Err(_) => return Err(TruncateError::DiskFull),
            }
        }
    }

    /// The same entry in another group, which is given back: the one before is durable by now. Its room was admitted with
    /// the first one's; whoever took some of it since leaves an eighth of the ring, and this takes a block at most.
    fn repeat_entry(&self, cell: &PartitionCell<D>, entry: JournalEntry<'_>) -> u64 {
        let address = self.shared.journal.append(entry);
        cell.borrow_mut().log.on_truncation_repeated(address);
        address.sequence
    }

    /// Log and leader end here; gives back the journal group of the first entry, and how the log ends.
    fn end_log(
        &self,
        cell: &PartitionCell<D>,
        truncation: Truncation,
        goes_on: GoesOn,
    ) -> Result<(u64, TruncatedLog), TruncateError> {
        let mut partition = cell.borrow_mut();
        let partition = &mut *partition;
        let (end_offset, log_start_offset) = (truncation.end_offset(), partition.log.log_start_offset());
        if end_offset < log_start_offset {
            return Err(TruncateError::BelowLogStart { end_offset, log_start_offset });
        }
        self.admit_control(2 * BLOCK_LEN as u64).map_err(|retry_after_ms| TruncateError::Overloaded { retry_after_ms })?;
        let (epochs, producers) = truncation.tables();
        let (epochs, producers) = (epochs.clone(), producers.clone());
        let address = self.shared.journal.append(truncation.journal_entry(partition.id()));
        partition.log.truncate(truncation, address);
        let last_header_crc = partition.log.last_header_crc();
        let log = TruncatedLog { end_offset, last_header_crc, epochs, producers };
        if let GoesOn::Leader(leader_epoch) = goes_on {
            for token in partition.replica.on_leader_truncated(leader_epoch, Some(log.clone())) {
                self.shared.completions.push(Completion { token, outcome: Completed::Truncated });
            }
        }
        // What these groups hold above the cut is gone, whenever they report.
        for group in &mut partition.flushes {
            group.end_offset = group.end_offset.min(end_offset);
        }
        partition.looked_up.clear();
        self.shared.completions.push_watched(partition.watchers.drain(..));
        self.tell_replicas(partition);
        partition.unwritten_since_us = None;
        partition.changed = true;
        Ok((address.sequence, log))
    }

    fn truncate_failure(&self, cell: &PartitionCell<D>, error: io::Error) -> Failure {
        let id = cell.borrow().id();
        self.fail(Failure::Truncate { id, error })
    }
}
