//! DescribeShard: what this shard says of itself, and of what is wrong on its disk.

use crate::answer::ReplyTo;
use crate::data_plane::DataPlane;
use crate::error_table::WireError;
use crate::opened::Opened;
use sluice_metadata::Broker;
use sluice_model::limits::{DAMAGED_RANGES_PER_ANSWER_MAX, FINDINGS_PER_ANSWER_MAX};
use sluice_model::{Offset, TopicPartition};
use sluice_partition::{ScrubReport, ScrubStatus};
use sluice_protocol::{
    DamagedOffsets, DescribeShardAnswer, DescribeShardRequest, Malformed, PossiblyShort, ScrubProgress, ScrubbedFinding,
    TEXT_LEN_MAX, access, short_text,
};

impl DataPlane {
    pub(crate) fn on_describe_shard(&mut self, to: ReplyTo, body: &[u8]) -> Result<(), Malformed> {
        access::<DescribeShardRequest>(body)?;
        let parts = &self.parts;
        let Some(Opened { partitions, .. }) = parts.opened.get() else {
            let WireError { code, text, .. } = WireError::recovering(parts.shard);
            let answer = DescribeShardAnswer { error: code as u16, text, shard: parts.shard.0, ..DescribeShardAnswer::default() };
            self.answer(to, &answer);
            return Ok(());
        };
        let status = partitions.shard_status();
        let reports = partitions.scrub_reports();
        let (damaged, damaged_count) = partitions.damaged_ranges(DAMAGED_RANGES_PER_ANSWER_MAX);
        let (short, short_count) = partitions.possibly_short(DAMAGED_RANGES_PER_ANSWER_MAX);
        let answer = DescribeShardAnswer {
            shard: parts.shard.0,
            incarnation: parts.incarnation.number,
            partition_count: u32::try_from(status.partition_count).unwrap_or(u32::MAX),
            journal_queued_len: status.journal_queued_len,
            journal_distance: status.journal_distance,
            journal_capacity: status.journal_capacity,
            tail_used_len: status.tail_used_len,
            tail_budget_len: parts.config.tail_budget_len as u64,
            disk_full: status.disk_full,
            scrub: self.scrub_progress(&status.scrub),
            findings: reports.iter().take(FINDINGS_PER_ANSWER_MAX).map(finding).collect(),
            finding_count: status.scrub.finding_count,
            damaged: damaged.into_iter().map(|(id, range)| offsets(id, range.from, range.until)).collect(),
            damaged_count: damaged_count as u64,
            possibly_short: short.into_iter().map(|(id, from)| possibly_short(id, from)).collect(),
            possibly_short_count: short_count as u64,
            ..DescribeShardAnswer::default()
        };
        self.answer(to, &answer);
        Ok(())
    }

    fn scrub_progress(&self, status: &ScrubStatus) -> ScrubProgress {
        let config = &self.parts.config;
        let view = self.parts.view.get();
        let shard_count = view.image.broker(view.broker).map_or(1, Broker::shard_count).max(1) as u64;
        let rate_len = if config.scrub_interval_ms == 0 { 0 } else { config.scrub_rate_len / shard_count };
        ScrubProgress {
            rate_len,
            interval_ms: config.scrub_interval_ms,
            pass: status.pass,
            is_running: status.is_running,
            done_len: status.done_len,
            total_len: status.total_len,
            last_ended_ms: status.last_ended_ms,
        }
    }
}

fn finding(report: &ScrubReport) -> ScrubbedFinding {
    let finding = &report.finding;
    let lost = finding.id.zip(finding.lost).map(|(id, range)| offsets(id, range.from, range.until));
    ScrubbedFinding {
        file: short_text(finding.file.display().to_string(), TEXT_LEN_MAX),
        position: finding.position,
        text: short_text(finding.kind.to_string(), TEXT_LEN_MAX),
        lost,
        is_repaired: report.is_repaired,
    }
}

fn possibly_short(id: TopicPartition, from: Offset) -> PossiblyShort {
    PossiblyShort { topic_id: id.topic_id.0, partition: id.partition.0, from: from.0 }
}

fn offsets(id: TopicPartition, from: Offset, until: Offset) -> DamagedOffsets {
    DamagedOffsets { topic_id: id.topic_id.0, partition: id.partition.0, from: from.0, until: until.0 }
}
