//! Which segments a log no longer needs: whole sealed ones only, oldest first.
//!
//! Age is judged by the broker's own append times, and a segment is as old as the *youngest-looking* rule allows:
//! its time is the smallest from it to the log end, so one bad hour of a clock that ran ahead delays deletion only
//! until segments with sane times follow. The expensive mistake is to delete what is not flushed or not sealed; the
//! recovery point never lies in a removed segment. Deliberately absent: the clock and the policy's settings.

use crate::disk::Disk;
use crate::log::Log;
use sluice_model::Offset;
use std::path::PathBuf;

impl<D: Disk> Log<D> {
    /// Records below `offset` are deleted; it may lie inside a segment, or a frame. Never moves back.
    pub fn set_log_start(&mut self, offset: Offset) {
        if offset <= self.log_start {
            return;
        }
        self.log_start = offset;
        self.held.advance_log_start(offset);
        self.damage.advance_log_start(offset);
    }

    /// Records that a log start speaks of were lost in the journal, deleted or not: the log begins where it ends.
    pub(crate) fn end_above_log_start(&mut self) {
        self.log_start = self.log_start.min(self.log_end);
    }

    /// The log start that retention asks for, `None` when nothing is to be deleted: at least `bytes` of log are kept
    /// (header blocks and footers included), and nothing appended at or after `before_ms`. The caller keeps it at or
    /// below the high watermark, writes it to the journal, and then calls [`Self::set_log_start`].
    #[must_use]
    pub fn retention_log_start(&self, bytes: Option<u64>, before_ms: Option<i64>) -> Option<Offset> {
        let removable = self.sealed.iter().take_while(|segment| segment.unflushed.is_none()).count();
        let mut by_bytes = 0;
        let mut left_len = self.len();
        while by_bytes < removable && bytes.is_some_and(|bytes| left_len - self.sealed[by_bytes].info.file_len >= bytes) {
            left_len -= self.sealed[by_bytes].info.file_len;
            by_bytes += 1;
        }
        let by_age = before_ms.map_or(0, |before_ms| self.count_older_than(before_ms).min(removable));
        let last = by_bytes.max(by_age).checked_sub(1)?;
        Some(self.sealed[last].info.next_offset).filter(|&offset| offset > self.log_start)
    }

    /// Drops the sealed segments that lie wholly below the log start, and gives back the files to remove. A file
    /// that is gone already is as good as removed.
    pub fn plan_remove_segments(&mut self) -> Vec<PathBuf> {
        self.assert_not_cutting();
        let mut paths = std::mem::take(&mut self.removable);
        while let Some(front) = self.sealed.front() {
            if front.unflushed.is_some() || front.info.next_offset > self.log_start {
                break;
            }
            front.file.set_removed();
            paths.push(front.file.path().to_owned());
            self.sealed.pop_front();
        }
        paths
    }

    /// How many sealed segments from the oldest on have a time below `before_ms`.
    fn count_older_than(&self, before_ms: i64) -> usize {
        // What a segment restored from a checkpoint held before is not known here, and counts as young.
        let open = self.open.iter().filter(|segment| segment.index.frame_count > 0);
        let mut smallest = open.map(|segment| segment.index.append_time_ms_max).min().unwrap_or(i64::MAX);
        let mut count = 0;
        for (index, segment) in self.sealed.iter().enumerate().rev() {
            smallest = smallest.min(segment.info.append_time_ms_max);
            if smallest < before_ms {
                count = count.max(index + 1);
            }
        }
        count
    }
}

#[cfg(test)]
#[path = "retention_test.rs"]
mod tests;
