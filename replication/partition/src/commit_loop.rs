//! One group after the other becomes durable; each moves flushed offsets, high watermarks and answers.

use crate::completions::{Completed, Completion};
use crate::partition::LastFlush;
use crate::partitions::Partitions;
use crate::refusal::Failure;
use sluice_model::{Clock, Now};
use sluice_storage::disk::Disk;
use std::future::poll_fn;
use std::task::Poll;

impl<D: Disk, C: Clock> Partitions<D, C> {
    /// Runs for as long as the shard does. Comes back only when the journal has failed: what was in flight may or
    /// may not be durable, nothing more is acknowledged, and the process has to end.
    pub async fn run_commit(&self) -> Failure {
        let shared = &self.shared;
        loop {
            shared.journal.wait_pending().await;
            let issued_us = shared.clock.now().mono_us;
            shared.admission.borrow_mut().on_group_issued(issued_us);
            let group = match shared.journal.commit_next().await {
                Ok(group) => group,
                Err(error) => return self.fail(Failure::Journal(error)),
            };
            let now = shared.clock.now();
            shared.admission.borrow_mut().on_group_durable(now.mono_us, group.len);
            shared.written.on_group(&group);
            shared.timers.borrow_mut().on_group(now, group.entry_count > 0);
            self.on_group_durable(issued_us, now, group.sequence);
            shared.group_durable_event.notify(usize::MAX);
            yield_once().await;
        }
    }

    /// Everything in groups up to `sequence`, the last of which was issued at `issued_us`, is durable.
    fn on_group_durable(&self, issued_us: u64, now: Now, sequence: u64) {
        while let Some(cell) = self.shared.next_flush(sequence) {
            let mut partition = cell.borrow_mut();
            let mut flushed = None;
            while let Some(end) = partition.flushes.pop_front_if(|end| end.sequence <= sequence) {
                flushed = Some(end.end_offset);
            }
            self.shared.with_effects(|effects| {
                if let Some(flushed) = flushed {
                    partition.last_flush = LastFlush { issued_us, durable_us: now.mono_us };
                    self.on_local_flush(&mut partition, flushed, effects);
                }
                while let Some(moved) = partition.log_starts.pop_front_if(|moved| moved.sequence <= sequence) {
                    self.shared.timers.borrow_mut().removal_wanted = true;
                    // Not the log start as it is now: one that moved since is not durable yet.
                    let outcome = Completed::RecordsDeleted { log_start_offset: moved.offset };
                    if let Some(token) = moved.token {
                        self.shared.completions.push(Completion { token, outcome });
                    }
                }
                self.run_effects(&cell, &mut partition, &[], now, effects);
            });
        }
    }
}

/// Lets every other task that is ready run first: a group written inline completes without ever waiting.
async fn yield_once() {
    let mut yielded = false;
    poll_fn(|context| {
        if std::mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}
