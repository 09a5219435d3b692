//! The one place where a follower's effects are executed.

use crate::log_work::LogWork;
use crate::partition::Partition;
use crate::partitions::{PartitionCell, Partitions};
use sluice_model::{Clock, Now, Offset};
use sluice_replica::FollowerEffect;
use sluice_storage::disk::Disk;

/// What an event came with, and what was so before it.
pub(crate) struct Before<'a> {
    pub(crate) now: Now,
    /// Of the frames that the follower was given, the first of which it may append.
    pub(crate) bodies: &'a [&'a [u8]],
    pub(crate) high_watermark: Offset,
}

impl<D: Disk, C: Clock> Partitions<D, C> {
    /// Executes `effects` of one event of `partition`, in order.
    pub(crate) fn run_follower_effects(
        &self,
        cell: &PartitionCell<D>,
        partition: &mut Partition<D>,
        event: Before<'_>,
        effects: &[FollowerEffect],
    ) {
        let Before { now, bodies, high_watermark: kept_high_watermark } = event;
        let mut bodies = bodies.iter();
        for effect in effects {
            match *effect {
                FollowerEffect::Append { ref header } => {
                    let body = bodies.next().expect("the rules append what they were given");
                    self.append_frame(cell, partition, header, body, now);
                }
                // Whoever asks is told then; nobody is served by a follower.
                FollowerEffect::HighWatermarkMoved { .. } => {}
                FollowerEffect::LogStartMoved { .. } => self.settle_log_start(cell, partition),
                FollowerEffect::Truncate { end_offset } => self.want_log_work(partition, LogWork::Truncate { end_offset }),
                // The driver has been told by the event.
                FollowerEffect::AskBeginning { .. } => {}
                FollowerEffect::Replace { .. } => {
                    self.want_log_work(partition, LogWork::Replace { kept_high_watermark, is_swapped: false });
                }
                FollowerEffect::Report { trouble } => {
                    self.shared.replication.troubles.borrow_mut().push((partition.id(), trouble));
                    self.shared.completions.tell();
                }
            }
        }
        self.evict_excess(Some(partition));
    }
}
