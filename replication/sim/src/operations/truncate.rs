//! A log is cut off below its end, as a follower is told to: at any offset from its log start on, while produces, reads
//! and deletions are under way.

use crate::demand;
use crate::oracle::Violation;
use crate::world::{Done, World};
use sluice_model::{Offset, ShardIndex, TopicPartition};
use sluice_partition::TruncateError;

impl World {
    pub(super) fn truncate(&mut self) -> Result<(), Violation> {
        let Some(id) = self.any_partition() else { return Ok(()) };
        if self.random.coin() {
            self.produce()?;
            self.take_up()?;
        }
        let Some(shard) = self.control.shard_of(id) else { return Ok(()) };
        let Some(partitions) = self.partitions_of(id) else { return Ok(()) };
        let Some(status) = partitions.status(id) else { return Ok(()) };
        if self.oracle.partition(id).truncation.is_some() {
            return Ok(());
        }
        let (start, end) = (status.log_start_offset.0, status.log_end_offset.0);
        // Mostly little is cut off, as after a change of leaders.
        let asked = match self.random.below(4) {
            0 => start + self.random.below(end - start + 2),
            1 => end.saturating_sub(self.random.below(100)).max(start),
            _ => end.saturating_sub(self.random.below(15)).max(start),
        };
        let leader_epoch = self.control.next_leader_epoch();
        self.trace.note(format_args!("  truncate {id} to {asked} under epoch {leader_epoch}, {start} to {end} is there"));
        self.oracle.partition_mut(id).begin_truncation(asked);
        self.spawn(async move { Done::Truncated(shard, id, partitions.truncate(id, Offset(asked), leader_epoch).await) });
        Ok(())
    }

    pub(super) fn on_truncated(
        &mut self,
        shard: ShardIndex,
        id: TopicPartition,
        result: Result<Offset, TruncateError>,
    ) -> Result<(), Violation> {
        self.trace.note(format_args!("  truncation of {id}: {result:?}"));
        let is_full = self.faults.is_full || self.was_full();
        let is_there = self.partitions_of(id).is_some_and(|partitions| partitions.contains(id));
        let Some(model) = self.oracle.partitions.get_mut(&id) else { return Ok(()) };
        let refusal = match result {
            Ok(end) => {
                let is_cut = model.on_truncated(end.0)?;
                self.coverage.hit(if is_cut { "truncate: cut" } else { "truncate: nothing to cut" });
                return Ok(());
            }
            // What it came to, a start will find.
            Err(TruncateError::Failed(failure)) => return self.on_failed(shard, &failure),
            Err(refusal) => refusal,
        };
        let (name, is_right) = match &refusal {
            TruncateError::DiskFull => ("truncate: refused, disk full", is_full),
            TruncateError::Overloaded { .. } => ("truncate: refused, ring", true),
            TruncateError::ShuttingDown => ("truncate: refused, shutting down", true),
            TruncateError::BelowLogStart { end_offset, log_start_offset } => {
                ("truncate: refused, below the log start", end_offset < log_start_offset)
            }
            TruncateError::UnknownPartition(_) => ("truncate: unknown partition", !is_there),
            TruncateError::StaleEpoch { .. } | TruncateError::NotLeader(_) | TruncateError::Failed(_) => {
                ("truncate: stale", false)
            }
        };
        demand!(is_right, "{id}: a truncation is refused: {refusal}");
        self.coverage.hit(name);
        model.on_not_truncated()
    }

    /// The model follows every cut in the turn in which it happens, and what retention did before it.
    pub(crate) fn follow_truncations(&mut self) -> Result<(), Violation> {
        let control = &self.control;
        let (now_us, is_honest) = (self.clock.true_us(), !self.faults.wall_jumped);
        let reads_failed = self.faults.have_reads_failed(&self.disk);
        for (id, model) in self.oracle.partitions.iter_mut().filter(|(_, model)| model.truncation.is_some()) {
            let shard = control.shard_of(*id).and_then(|shard| self.shards.get(&shard));
            if let Some(status) = shard.and_then(|shard| shard.partitions.status(*id)) {
                model.follow_log_start(&status, now_us, is_honest, &mut self.coverage)?;
                model.on_log_bounds(status.log_start_offset.0, status.log_end_offset.0, reads_failed)?;
            }
        }
        Ok(())
    }
}
