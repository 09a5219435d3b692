//! What a follower wants done with its log and takes a while: cutting it off, or replacing it by an empty one.
//!
//! Done by write-back, between its passes, because nobody else may write the log meanwhile; what has no room now is tried
//! again in the next pass. The expensive mistake is to fetch, or to lead, before the disk is as the rules think it is: the
//! replica is told last, and a state that came meanwhile is taken after that. Deliberately absent: what to cut off, and why.

use crate::checkpointing::Background;
use crate::partition::Partition;
use crate::partitions::{PartitionCell, Partitions};
use crate::refusal::Failure;
use crate::truncate::TruncateError;
use sluice_model::{Clock, Offset};
use sluice_replica::{Role, TruncatedLog};
use sluice_storage::disk::Disk;
use sluice_storage::log_replacement::LogStart;

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LogWork {
    Truncate {
        end_offset: Offset,
    },
    /// The rest is known to the replica, which has begun anew already.
    Replace {
        /// What may be said to be committed of the old log.
        kept_high_watermark: Offset,
        /// Memory and every later checkpoint speak of the new log.
        is_swapped: bool,
    },
}

/// How far a pass has come with it.
enum Progress {
    Done,
    /// On disk; the replica is told when checkpoints say so.
    CutOff(TruncatedLog),
    /// There is no room for it now.
    Later,
}

impl<D: Disk, C: Clock> Partitions<D, C> {
    pub(crate) fn want_log_work(&self, partition: &mut Partition<D>, work: LogWork) {
        partition.log_work = Some(work);
        self.shared.replication.log_work.borrow_mut().insert(partition.id());
        self.want_write_back();
    }

    pub(crate) async fn run_log_work(&self, background: &mut Background<D>) -> Result<(), Failure> {
        // The next start finds the log as it is, and its leader says again what is to be done.
        if self.shared.closing.get() {
            return Ok(());
        }
        let wanted = std::mem::take(&mut *self.shared.replication.log_work.borrow_mut());
        let mut cut_off = Vec::new();
        for cell in wanted.into_iter().filter_map(|id| self.get(id)) {
            let work = cell.borrow().log_work;
            let progress = match work {
                Some(LogWork::Truncate { end_offset }) => self.cut_off(&cell, end_offset, background).await?,
                Some(LogWork::Replace { is_swapped, .. }) => self.replace(&cell, is_swapped, background).await?,
                None => Progress::Done,
            };
            match progress {
                Progress::Done => self.on_log_work_done(&cell),
                Progress::CutOff(log) => cut_off.push((cell, log)),
                Progress::Later => {
                    self.shared.replication.log_work.borrow_mut().insert(cell.borrow().id());
                }
            }
        }
        if !cut_off.is_empty() {
            // Once for all of them: when a leader has gone, many logs are cut off in one pass.
            self.tell_checkpoints_of_cuts(background).await?;
        }
        for (cell, log) in cut_off {
            self.on_cut_off(&cell, log);
            self.on_log_work_done(&cell);
        }
        Ok(())
    }

    fn on_log_work_done(&self, cell: &PartitionCell<D>) {
        let mut partition = cell.borrow_mut();
        partition.log_work = None;
        if let Some(state) = partition.later_state.take() {
            self.take_kept_state(cell, &mut partition, *state);
        }
        self.shared.completions.tell();
    }

    async fn cut_off(
        &self,
        cell: &PartitionCell<D>,
        end_offset: Offset,
        background: &mut Background<D>,
    ) -> Result<Progress, Failure> {
        match self.truncate_follower(cell, end_offset, background).await {
            Ok(log) => Ok(Progress::CutOff(log)),
            Err(TruncateError::Failed(failure)) => Err(*failure),
            Err(TruncateError::BelowLogStart { .. }) => {
                let id = cell.borrow().id();
                let is_asked = self.follower_event(id, |follower, effects| {
                    follower.on_cut_below_log_start(effects);
                    !effects.is_empty()
                });
                if is_asked {
                    self.shared.replication.beginnings.borrow_mut().push(id);
                }
                Ok(if is_asked { Progress::Done } else { Progress::Later })
            }
            Err(_) => Ok(Progress::Later),
        }
    }

    fn on_cut_off(&self, cell: &PartitionCell<D>, log: TruncatedLog) {
        let mut partition = cell.borrow_mut();
        let id = partition.id();
        if let Some(follower) = partition.follower_mut() {
            let is_as_wanted = follower.on_truncated(log);
            assert!(is_as_wanted.is_ok(), "{id}: {is_as_wanted:?}");
        }
    }

    async fn replace(
        &self,
        cell: &PartitionCell<D>,
        is_swapped: bool,
        background: &mut Background<D>,
    ) -> Result<Progress, Failure> {
        if !is_swapped {
            self.swap(cell).await?;
        }
        // Until both slots say so, a start may go by the old log, whose files are still there.
        if !self.checkpoint_both(background).await? {
            return Ok(Progress::Later);
        }
        let plan = cell.borrow().log.plan_removal();
        if let Err(error) = plan.run().await {
            let id = cell.borrow().id();
            return Err(self.fail(Failure::Remove { id, error }));
        }
        if let Some(follower) = cell.borrow_mut().follower_mut() {
            follower.on_replaced();
        }
        Ok(Progress::Done)
    }

    /// The log is the empty one, in memory.
    async fn swap(&self, cell: &PartitionCell<D>) -> Result<(), Failure> {
        let last = {
            let partition = cell.borrow();
            let frames = partition.flushes.back().map(|group| group.sequence);
            frames.max(partition.log_starts.back().map(|moved| moved.sequence))
        };
        if let Some(last) = last {
            self.wait_for_groups(|journal| journal.durable_sequence() >= last).await?;
        }
        let mut partition = cell.borrow_mut();
        let partition = &mut *partition;
        let Role::Follower(follower) = partition.replica.role() else { return Ok(()) };
        let start = LogStart {
            offset: follower.log_end_offset(),
            prev_header_crc: follower.position().last_header_crc,
            epochs: follower.epochs().clone(),
            producers: follower.producers().clone(),
        };
        partition.log.replace(start, self.shared.journal.durable_sequence());
        partition.unwritten_since_us = None;
        partition.looked_up.clear();
        partition.changed = true;
        if let Some(LogWork::Replace { is_swapped, .. }) = &mut partition.log_work {
            *is_swapped = true;
        }
        Ok(())
    }
}
