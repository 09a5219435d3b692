//! The end of a replay: every log in segments, durable, and what is to be said of it.
//!
//! The expensive mistake is to give out a log before all of it is flushed: the journal that has the rest is written over
//! next.

use super::{FLUSHES_AT_ONCE, Found, Replay};
use crate::checkpoint::ShardCheckpoint;
use crate::disk::Disk;
use crate::recovery::{RecoveredPartition, RecoveryError};
use crate::recovery_replayed::Replayed;
use crate::recovery_report::RecoveryReport;
use crate::recovery_segments::end_straddled_segment;
use crate::run_bounded::run_bounded;
use sluice_model::TopicPartition;
use std::collections::BTreeMap;
use std::ops::ControlFlow;

impl<D: Disk> Replay<'_, D> {
    /// Whether a group was lost or damaged, and with it perhaps an entry that moved a log start.
    pub(crate) fn may_lack_log_starts(&self) -> bool {
        !(self.report.damaged_groups.is_empty() && self.report.lost_groups.is_empty())
    }

    /// Log starts as the spare has them, which was written in the same life, before files below them were removed.
    pub(crate) fn take_log_starts(&mut self, spare: &ShardCheckpoint) {
        for kept in &spare.partitions {
            match self.partitions.get_mut(&kept.id) {
                Some(Found::Recovered(partition)) if partition.placement_epoch == kept.placement_epoch => {
                    partition.log_start_offset = partition.log_start_offset.max(kept.log_start_offset);
                }
                Some(Found::Straddled(partition, _)) if partition.placement_epoch == kept.placement_epoch => {
                    let start = self.straddled_log_starts.entry(kept.id).or_default();
                    *start = kept.log_start_offset.max(*start);
                }
                _ => {}
            }
        }
    }

    /// Writes back and flushes everything.
    pub(crate) async fn finish(
        mut self,
    ) -> Result<(BTreeMap<TopicPartition, RecoveredPartition<D>>, RecoveryReport), RecoveryError> {
        let mut replayed = Vec::with_capacity(self.partitions.len());
        for (id, found) in std::mem::take(&mut self.partitions) {
            let found = match found {
                // The frame that straddles the recovery point was never durable in the journal, or is lost there.
                Found::Straddled(mut partition, fate) => {
                    end_straddled_segment(&mut partition);
                    self.restored(*partition, fate)
                }
                other => other,
            };
            let Found::Recovered(partition) = found else { continue };
            replayed.push((id, partition));
        }
        let finishing = replayed.into_iter().map(|(id, mut partition)| async move {
            partition.finish().await?;
            Ok((id, partition))
        });
        let mut recovered = BTreeMap::new();
        let finished = run_bounded(FLUSHES_AT_ONCE, finishing, |finished| match finished {
            Ok((id, partition)) => {
                self.report_partition(id, &partition);
                recovered.insert(id, partition.into_recovered());
                ControlFlow::Continue(())
            }
            Err(error) => ControlFlow::Break(error),
        });
        if let ControlFlow::Break(error) = finished.await {
            return Err(error);
        }
        self.evict_clean(&mut recovered);
        Ok((recovered, self.report))
    }

    fn report_partition(&mut self, id: TopicPartition, partition: &Replayed<D>) {
        if !partition.log.damaged().is_empty() {
            self.report.damaged.insert(id, partition.log.damaged().to_vec());
        }
        if let Some(offset) = partition.log.possibly_short() {
            self.report.possibly_short.insert(id, offset);
        }
    }

    fn evict_clean(&self, recovered: &mut BTreeMap<TopicPartition, RecoveredPartition<D>>) {
        let memory = &self.plan.memory;
        while memory.used_len() > memory.budget_len() / 2 {
            let Some(id) = memory.next_eviction() else { break };
            if let Some(partition) = recovered.get_mut(&id) {
                partition.log.evict_oldest_clean();
            }
        }
    }
}
