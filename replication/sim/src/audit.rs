//! Everything a partition serves, read from its log start to its high watermark.

use crate::demand;
use crate::oracle::Violation;
use crate::oracle::served::Read;
use crate::world::World;
use bytes::Bytes;
use sluice_model::{Offset, TopicPartition};
use sluice_partition::{FetchRefusal, FetchedFrames};
use sluice_storage::damage::{DamageKind, DamagedRange};
use sluice_storage::read_plan::DiskReadError;
use sluice_storage::testing::executor::block_on;

/// Bytes of one fetch: more than any frame of a run.
const FETCH_LEN: usize = 256 * 1024;

/// What one fetch has come to.
enum Piece {
    Frames(Read, Vec<Bytes>),
    Damaged {
        until: Offset,
    },
    /// To be asked for again.
    Again,
}

impl World {
    /// Reads all of every partition: nothing is missing, nothing is wrong, and what is refused may be.
    pub fn audit(&mut self) -> Result<(), Violation> {
        self.look_for_astray();
        let ids: Vec<TopicPartition> = self.shards.values().flat_map(|shard| shard.partitions.ids()).collect();
        for id in ids {
            let count = self.audit_partition(id)?;
            self.trace.note(format_args!("  {id} serves {count} bytes"));
        }
        self.check_statuses()
    }

    fn audit_partition(&mut self, id: TopicPartition) -> Result<usize, Violation> {
        let partitions = self.partitions_of(id).ok_or_else(|| Violation(format!("{id} is on no shard")))?;
        let status = partitions.status(id).ok_or_else(|| Violation(format!("{id} is not where it is placed")))?;
        let (mut at, end) = (status.log_start_offset.0, status.high_watermark.0);
        let (mut len, mut again) = (0, 0);
        while at < end {
            match self.read_piece(id, at)? {
                Piece::Frames(read, slices) => {
                    let bytes = slices.concat();
                    if bytes.is_empty() && read.offset > at {
                        at = read.offset;
                        continue;
                    }
                    demand!(!bytes.is_empty(), "{id}: nothing is served at {at}, the high watermark is {end}");
                    at = self.oracle.on_served(&read, &bytes)?;
                    len += bytes.len();
                }
                Piece::Damaged { until } => {
                    demand!(until.0 > at, "{id}: a damaged range at {at} ends at {until}");
                    self.coverage.hit("fetch: damaged");
                    at = until.0;
                }
                Piece::Again => again += 1,
            }
            demand!(again < 20, "{id}: a fetch at {at} is put off for ever");
        }
        Ok(len)
    }

    fn read_piece(&mut self, id: TopicPartition, at: u64) -> Result<Piece, Violation> {
        let partitions = self.partitions_of(id).ok_or_else(|| Violation(format!("{id} is on no shard")))?;
        let device_failed = self.faults.have_reads_failed(&self.disk);
        let fetched = match partitions.fetch(id, Offset(at), FETCH_LEN) {
            Ok(fetched) => fetched,
            Err(FetchRefusal::Damaged { from, until }) => {
                self.oracle.partition_mut(id).on_refused(DamagedRange { from, until }, device_failed)?;
                return Ok(Piece::Damaged { until });
            }
            Err(refusal) => return Err(Violation(format!("{id}: a fetch at {at} is refused: {refusal}"))),
        };
        let cuts = self.oracle.partition(id).cuts.len();
        let first = fetched.first_offset.0;
        self.oracle.partition(id).on_stepped_over(at, first)?;
        let read = Read { id, offset: first, len_max: FETCH_LEN, high_watermark: fetched.high_watermark.0, cuts };
        match fetched.frames {
            FetchedFrames::Empty => Ok(Piece::Frames(read, Vec::new())),
            FetchedFrames::Memory(slices) => Ok(Piece::Frames(read, slices)),
            FetchedFrames::Disk(plan) => match block_on(plan.run()) {
                Ok(frames) => Ok(Piece::Frames(read, frames.slices)),
                // A read that fails once is made again; two faults may have hit both, and nothing is lost by that.
                Err(DiskReadError::Damaged(damage))
                    if damage.kind == DamageKind::Unreadable && self.disk.may_have_failed_twice() =>
                {
                    Ok(Piece::Again)
                }
                Err(DiskReadError::Damaged(damage)) => {
                    self.oracle.partition_mut(id).on_unreadable(damage.range, false)?;
                    partitions.quarantine(id, damage.range);
                    Ok(Piece::Again)
                }
                Err(error) => Err(Violation(format!("{id}: a read at {at} fails: {error}"))),
            },
        }
    }
}
