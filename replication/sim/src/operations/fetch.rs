//! Frames out: consumers that go on where they stood, look anywhere, and wait; and deletions up to an offset.

use crate::demand;
use crate::oracle::Violation;
use crate::oracle::served::Read;
use crate::plan::pick;
use crate::world::{Awaited, Done, Watch, World};
use sluice_model::{Offset, TopicPartition};
use sluice_partition::{FetchRefusal, Fetched, FetchedFrames};
use sluice_storage::damage::{DamageKind, DamagedRange};
use sluice_storage::read_plan::{DiskReadError, ReadFrames};
use sluice_storage::testing::fault_disk::FaultDisk;

const CONSUMERS: u64 = 3;

impl World {
    pub(super) fn fetch(&mut self) -> Result<(), Violation> {
        let Some(id) = self.any_partition() else { return Ok(()) };
        let Some(partitions) = self.partitions_of(id) else { return Ok(()) };
        let Some(status) = partitions.status(id) else { return Ok(()) };
        let consumer = (self.random.below(CONSUMERS), id);
        let offset = match self.clients.cursors.get(&consumer) {
            Some(offset) if self.random.below(3) > 0 => *offset,
            _ => self.random.below(status.log_end_offset.0 + 3),
        };
        let len_max = [100, 2_000, 20_000, 200_000][pick(&mut self.random, 4)];
        let fetched = partitions.fetch(id, Offset(offset), len_max);
        let fetched = match fetched {
            Ok(fetched) => fetched,
            Err(refusal) => return self.on_fetch_refused(id, offset, len_max, refusal),
        };
        let Fetched { high_watermark, log_start_offset, log_end_offset, .. } = fetched;
        let is_status = (log_start_offset, high_watermark, log_end_offset)
            == (status.log_start_offset, status.high_watermark, status.log_end_offset);
        demand!(is_status, "{id}: a fetch tells other offsets than the status");
        self.coverage.hit_if(high_watermark < log_end_offset, "fetch: below a frozen high watermark");
        let cuts = self.oracle.partition(id).cuts.len();
        self.oracle.partition(id).on_stepped_over(offset, fetched.first_offset.0)?;
        let read = Read { id, offset: fetched.first_offset.0, len_max, high_watermark: high_watermark.0, cuts };
        let next = self.on_fetched(read, fetched)?;
        self.clients.cursors.insert(consumer, next);
        Ok(())
    }

    fn on_fetched(&mut self, read: Read, fetched: Fetched<FaultDisk>) -> Result<u64, Violation> {
        let Read { id, offset, high_watermark, .. } = read;
        match fetched.frames {
            FetchedFrames::Empty => {
                let why = offset >= high_watermark
                    || self
                        .oracle
                        .partition(id)
                        .holding(offset)
                        .is_some_and(|(base, held)| base + u64::from(held.record_count) > high_watermark);
                demand!(why, "{id}: nothing is served at {offset}, the high watermark is {high_watermark}");
                self.coverage.hit("fetch: empty");
                Ok(offset)
            }
            FetchedFrames::Memory(slices) => {
                let bytes = slices.concat();
                demand!(!bytes.is_empty(), "{id}: a fetch at {offset} from memory gave nothing");
                self.trace.note(format_args!("  fetch {id} at {offset}: {} bytes from memory", bytes.len()));
                self.coverage.hit("fetch: memory");
                self.coverage.hit_if(!self.oracle.partition(id).is_boundary(offset), "fetch: inside a batch");
                self.oracle.on_served(&read, &bytes)
            }
            FetchedFrames::Disk(plan) => {
                self.trace.note(format_args!("  fetch {id} at {offset} from disk"));
                self.spawn(async move { Done::Read(read, plan.run().await) });
                Ok(offset)
            }
        }
    }

    fn on_fetch_refused(
        &mut self,
        id: TopicPartition,
        offset: u64,
        len_max: usize,
        refusal: FetchRefusal,
    ) -> Result<(), Violation> {
        self.trace.note(format_args!("  fetch {id} at {offset}: {refusal}"));
        let device_failed = self.faults.have_reads_failed(&self.disk);
        let model = self.oracle.partition(id);
        match refusal {
            FetchRefusal::OutOfRange { log_start_offset, .. } => {
                self.coverage.hit("fetch: out of range");
                let is_outside = offset < log_start_offset.0 || offset > model.end;
                demand!(is_outside, "{id}: {offset} is said to be out of range: {refusal}");
            }
            FetchRefusal::TooSmall { needed } => {
                self.coverage.hit("fetch: too small");
                let len = model.holding(model.behind_accepted(offset)).map_or(0, |(_, held)| held.len);
                demand!(needed == len && len > len_max, "{id}: {len_max} bytes are too few for {len} at {offset}: {refusal}");
            }
            FetchRefusal::Damaged { from, until } => {
                demand!(until.0 > offset, "{id}: a fetch at {offset}: {refusal}");
                self.oracle.partition_mut(id).on_refused(DamagedRange { from, until }, device_failed)?;
                self.coverage.hit("fetch: damaged");
            }
            other => return Err(Violation(format!("{id}: a fetch at {offset} is refused: {other}"))),
        }
        Ok(())
    }

    /// A disk read has ended; meanwhile anything may have happened to the partition.
    pub(crate) fn on_read(&mut self, read: Read, result: Result<ReadFrames, DiskReadError>) -> Result<(), Violation> {
        let Read { id, offset, len_max, .. } = read;
        let Some(model) = self.oracle.partitions.get(&id) else { return Ok(()) };
        match result {
            Ok(frames) => {
                let bytes = frames.slices.concat();
                self.trace.note(format_args!("  read of {id} at {offset}: {} bytes", bytes.len()));
                self.coverage.hit("fetch: disk");
                if model.log_start_min > offset {
                    // What it holds was deleted while it was read; the model has forgotten it.
                    return Ok(());
                }
                demand!(!bytes.is_empty(), "{id}: a read at {offset} gave nothing");
                self.oracle.on_served(&read, &bytes)?;
            }
            Err(error) => {
                self.trace.note(format_args!("  read of {id} at {offset}: {error}"));
                match error {
                    DiskReadError::Removed => {
                        self.coverage.hit("fetch: segment removed");
                        let moved = model.log_start > offset || model.cuts.len() > read.cuts;
                        demand!(moved, "{id}: the segment of {offset} was removed, the log starts at {}", model.log_start);
                    }
                    DiskReadError::TooSmall { needed } => {
                        self.coverage.hit("fetch: too small");
                        demand!(needed > len_max, "{id}: {needed} bytes do not fit into {len_max}");
                    }
                    DiskReadError::Damaged(damage) => {
                        // A read that fails once is made again; two faults may have hit both, and nothing is lost by that.
                        let failed_twice = damage.kind == DamageKind::Unreadable && self.disk.may_have_failed_twice();
                        // After a cut, other frames may have the same offsets.
                        if model.cuts.len() == read.cuts && !failed_twice {
                            self.oracle.partition_mut(id).on_unreadable(damage.range, false)?;
                        }
                        self.coverage.hit("fetch: damaged");
                        if !failed_twice && let Some(partitions) = self.partitions_of(id) {
                            partitions.quarantine(id, damage.range);
                        }
                    }
                    DiskReadError::Io(error) => {
                        return Err(Violation(format!("{id}: a read at {offset}, neither made again nor damage: {error}")));
                    }
                }
            }
        }
        Ok(())
    }

    pub(super) fn watch(&mut self) -> Result<(), Violation> {
        let Some(id) = self.any_partition() else { return Ok(()) };
        let Some(partitions) = self.partitions_of(id) else { return Ok(()) };
        let Some(status) = partitions.status(id) else { return Ok(()) };
        let token = self.token();
        partitions.watch(token, &[id]);
        let cuts = self.oracle.partition(id).cuts.len();
        self.watches.insert(token, Watch { id, high_watermark: status.high_watermark.0, cuts });
        Ok(())
    }

    /// Now and then many at once: they take room in the ring as well.
    pub(super) fn delete_records(&mut self) -> Result<(), Violation> {
        let count = if self.random.below(6) == 0 { 40 } else { 1 };
        (0..count).try_for_each(|_| {
            self.delete_once()?;
            if count > 1 { self.turns(4) } else { Ok(()) }
        })
    }

    fn delete_once(&mut self) -> Result<(), Violation> {
        let Some(id) = self.any_partition() else { return Ok(()) };
        let Some(partitions) = self.partitions_of(id) else { return Ok(()) };
        let Some(status) = partitions.status(id) else { return Ok(()) };
        let token = self.token();
        let asked = match self.random.below(6) {
            0 => u64::MAX,
            _ => self.random.below(status.high_watermark.0 + 2),
        };
        let result = partitions.delete_records(id, Offset(asked), token);
        self.trace.note(format_args!("  delete {id} up to {asked}: {result:?}"));
        match result {
            Ok(()) => {
                let offset = if asked == u64::MAX { status.high_watermark.0 } else { asked };
                demand!(offset <= status.high_watermark.0, "{id}: {offset} may not be deleted");
                let model = self.oracle.partition_mut(id);
                model.deletes_asked = model.deletes_asked.max(offset);
                model.starts_asked.insert(offset);
                self.awaited.insert(token, Awaited::Delete { id, offset });
            }
            Err(FetchRefusal::OutOfRange { .. }) => {
                demand!(asked > status.high_watermark.0, "{id}: {asked} is said to be out of range");
                self.coverage.hit("delete: out of range");
            }
            Err(FetchRefusal::Overloaded { .. }) => self.coverage.hit("delete: refused for the ring"),
            Err(FetchRefusal::ShuttingDown) => {}
            Err(other) => return Err(Violation(format!("{id}: delete up to {asked}: {other}"))),
        }
        Ok(())
    }
}
