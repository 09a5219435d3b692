//! The clean stop: nothing new is taken, everything taken becomes durable and goes to segments, and the next start
//! has nothing to replay.

use crate::checkpointing::Background;
use crate::pace::PaceClass;
use crate::partitions::{PartitionCell, Partitions};
use crate::refusal::Failure;
use sluice_model::Clock;
use sluice_storage::disk::Disk;
use sluice_storage::journal::Journal;
use sluice_storage::write_back::WriteBackKind;
use std::io;

impl<D: Disk, C: Clock> Partitions<D, C> {
    /// Refuses new appends, waits until everything appended is durable (its answers can then be taken), writes all
    /// of it back, flushes, and checkpoints into both slots. The commit loop must still run. On a full disk what
    /// does not fit stays in the journal and is replayed at the next start.
    pub async fn close(&self) -> Result<(), Failure> {
        self.shared.closing.set(true);
        self.wait_for_groups(|journal| journal.queued_len() == 0).await?;
        let mut background = self.shared.background.lock().await;
        self.refuse_failed()?;
        for cell in self.cells() {
            self.write_back_everything(&cell, &mut background).await?;
        }
        self.checkpoint_both(&mut background).await?;
        self.shared.journal.request_idle_marker();
        self.wait_for_groups(|journal| journal.is_marked()).await
    }

    /// Writes back all of one log, into the reserve if need be; `false` when the disk has no room for it.
    pub(crate) async fn write_back_everything(
        &self,
        cell: &PartitionCell<D>,
        background: &mut Background<D>,
    ) -> Result<bool, Failure> {
        loop {
            let plan = cell.borrow_mut().log.plan_write_back(WriteBackKind::Everything);
            let Some(plan) = plan else { return Ok(true) };
            let permit = self.shared.pacer.acquire(PaceClass::UrgentWriteBack, plan.len() as usize).await;
            self.refuse_failed()?;
            let result = plan.run().await;
            drop(permit);
            match result {
                Ok(written) => {
                    self.shared.written.on_segment(written.len());
                    cell.borrow_mut().log.on_written_back(written);
                }
                Err(error) if error.is_storage_full() && background.reserve.is_held() => {
                    self.give_back_reserve(background).await?;
                }
                Err(error) if error.is_storage_full() => return Ok(false),
                Err(error) => {
                    let id = cell.borrow().id();
                    return Err(self.fail(Failure::WriteBack { id, error }));
                }
            }
        }
    }

    /// Waits until the journal is as wanted, looking after each group; a failed one never will be.
    pub(crate) async fn wait_for_groups(&self, is_done: impl Fn(&Journal<D>) -> bool) -> Result<(), Failure> {
        loop {
            let listener = self.shared.group_durable_event.listen();
            if self.shared.journal.failed() {
                return Err(Failure::Journal(io::Error::other("an earlier write failed")));
            }
            self.refuse_failed()?;
            if is_done(&self.shared.journal) {
                return Ok(());
            }
            listener.await;
        }
    }
}
