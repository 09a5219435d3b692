//! Making what was written back durable, and with it the recovery point.
//!
//! The expensive mistake is a recovery point that covers a write which was issued after the flush: the point is
//! taken when the flush is planned, and held only once every file and the folder have been flushed.

use crate::checkpoint::RecoveryPoint;
use crate::disk::{Disk, DiskFile};
use crate::log::Log;
use sluice_model::Offset;
use sluice_model::limits::WRITE_BACK_LEN;
use std::io;
use std::path::PathBuf;

/// A log with this many bytes to write back is about to. Memory for tails bounds how many there are.
const BUSY_LEN: u64 = WRITE_BACK_LEN as u64 / 4;

/// Files and folder to flush. Owns everything it needs.
pub struct FlushPlan<D: Disk> {
    disk: D,
    files: Vec<D::File>,
    dir: Option<PathBuf>,
    flushed: Flushed,
}

/// A completed flush; to be given to [`Log::on_flushed`].
#[derive(Debug)]
pub struct Flushed {
    number: u64,
    /// Per segment, the writes that the flush covers.
    writes: Vec<(Offset, u64)>,
    sealed_before: Offset,
    dir_changes: u64,
}

impl<D: Disk> FlushPlan<D> {
    /// An error ends the process: what a failed flush left behind is unknown.
    pub async fn run(self) -> io::Result<Flushed> {
        for file in &self.files {
            file.sync().await?;
        }
        if let Some(dir) = &self.dir {
            self.disk.sync_dir(dir).await?;
        }
        Ok(self.flushed)
    }
}

impl<D: Disk> Log<D> {
    /// Everything written since the last flush; `None` when that is nothing. Write-back may go on while it runs.
    pub fn plan_flush(&mut self) -> Option<FlushPlan<D>> {
        self.assert_not_cutting();
        let mut files: Vec<D::File> = self.sealed.iter().filter_map(|segment| segment.unflushed.clone()).collect();
        let mut writes = Vec::new();
        for segment in self.open.iter().filter(|segment| segment.write_count > segment.flushed_write_count) {
            files.extend(segment.write_handle.clone());
            writes.push((segment.base_offset, segment.write_count));
        }
        if files.is_empty() {
            return None;
        }
        let next = self.tail.frames().get(self.tail.written_count()).map(|frame| frame.address);
        let number = self.held.begin_flush(self.written_point(), next);
        let sealed_before = self.open.front().map_or(self.log_end, |segment| segment.base_offset);
        let dir = (self.dir_changes > self.dir_changes_flushed).then(|| self.dir.clone());
        let flushed = Flushed { number, writes, sealed_before, dir_changes: self.dir_changes };
        Some(FlushPlan { disk: self.disk.clone(), files, dir, flushed })
    }

    /// Moves the recovery point to where it was when this flush was planned.
    pub fn on_flushed(&mut self, flushed: Flushed) {
        if !self.held.on_flushed(flushed.number) {
            return;
        }
        self.dir_changes_flushed = self.dir_changes_flushed.max(flushed.dir_changes);
        for segment in self.sealed.iter_mut().filter(|segment| segment.info.base_offset < flushed.sealed_before) {
            segment.unflushed = None;
        }
        // An idle partition keeps no file open; that of a busy one would only be opened again by the next write-back.
        let is_busy = self.tail.unwritten_len() >= BUSY_LEN;
        for (base_offset, write_count) in flushed.writes {
            if let Some(segment) = self.open.iter_mut().find(|segment| segment.base_offset == base_offset) {
                segment.flushed_write_count = segment.flushed_write_count.max(write_count);
                if segment.flushed_write_count == segment.write_count && !is_busy {
                    segment.write_handle = None;
                }
            }
        }
    }

    /// Where a restart would go on if everything written were durable.
    fn written_point(&self) -> RecoveryPoint {
        let segment = self.open.front().expect("a log has an active segment");
        let next = self.tail.frames().get(self.tail.written_count()).filter(|frame| frame.segment_base == segment.base_offset);
        let (held, prev_header_crc) = self.held.last_written();
        RecoveryPoint {
            offset: next.map_or(segment.next_offset, |frame| frame.base_offset),
            segment_base: segment.base_offset,
            next_frame_position: next.map_or(segment.next_frame_position(), |frame| frame.position),
            position: segment.written(),
            held,
            prev_header_crc,
        }
    }
}
