//! A log start that moves: somebody asked for it, or retention may.

use super::Violation;
use super::partition::PartitionModel;
use crate::coverage::Coverage;
use crate::demand;
use sluice_partition::PartitionStatus;

/// What a segment may need beside its frames, at most: header, footer, blocks that were padded.
const SEGMENT_EXTRA_LEN: u64 = 24 * 1024;
/// How far the append clock may differ from true time while the wall clock does not jump, microseconds.
const CLOCK_SLACK_US: u64 = 20_000;

impl PartitionModel {
    /// The status as it is now; `wall_is_honest` as long as the wall clock has never jumped.
    pub fn on_status(
        &mut self,
        status: &PartitionStatus,
        now_us: u64,
        wall_is_honest: bool,
        device_failed: bool,
        coverage: &mut Coverage,
    ) -> Result<(), Violation> {
        let id = self.id;
        let (start, high_watermark, end) = (status.log_start_offset.0, status.high_watermark.0, status.log_end_offset.0);
        demand!(end == self.end, "{id}: the log ends at {end}, and not at {}", self.end);
        demand!(start >= self.log_start, "{id}: the log start fell from {} to {start}", self.log_start);
        demand!(start <= high_watermark && high_watermark <= end, "{id}: {start}, {high_watermark}, {end} are out of order");
        demand!(high_watermark >= self.high_watermark, "{id}: the high watermark fell to {high_watermark}");
        self.high_watermark = high_watermark;
        self.follow_log_start(status, now_us, wall_is_honest, coverage)?;
        status.damaged.iter().try_for_each(|range| self.on_refused(*range, device_failed))
    }

    /// The log start as it is now, held against the log as the model has it: retention looks at all of a log, so a
    /// truncation is not to be followed first.
    pub fn follow_log_start(
        &mut self,
        status: &PartitionStatus,
        now_us: u64,
        wall_is_honest: bool,
        coverage: &mut Coverage,
    ) -> Result<(), Violation> {
        let start = status.log_start_offset.0;
        if start > self.log_start && start > self.deletes_asked {
            self.check_retention(status, now_us, wall_is_honest, coverage)?;
        }
        self.log_start = self.log_start.max(start);
        self.log_start_max = self.log_start_max.max(start);
        Ok(())
    }

    fn check_retention(
        &self,
        status: &PartitionStatus,
        now_us: u64,
        wall_is_honest: bool,
        coverage: &mut Coverage,
    ) -> Result<(), Violation> {
        let (id, start) = (self.id, status.log_start_offset.0);
        let kept: u64 = self.frames.range(start..).map(|(_, held)| held.len as u64).sum();
        let most = kept + (status.segment_count as u64 + 1) * SEGMENT_EXTRA_LEN;
        let by_bytes = self.settings.retention_bytes.is_some_and(|bytes| most >= bytes);
        let age_min = |ms: i64| u64::try_from(ms).unwrap_or_default() * 1000;
        let deleted = self.frames.range(self.log_start.max(self.deletes_asked)..start);
        let youngest = deleted.map(|(_, held)| held.appended_us).max().unwrap_or_default();
        let by_age = self
            .settings
            .retention_ms
            .is_some_and(|ms| !wall_is_honest || now_us.saturating_sub(youngest) + CLOCK_SLACK_US >= age_min(ms));
        demand!(
            by_bytes || by_age,
            "{id}: the log start moved from {} to {start} and {:?} does not ask for it: {kept} bytes are kept, the youngest record \
             deleted is {} ms old",
            self.log_start,
            self.settings,
            now_us.saturating_sub(youngest) / 1000
        );
        coverage.hit(if by_bytes { "retention: by bytes" } else { "retention: by age" });
        Ok(())
    }
}
