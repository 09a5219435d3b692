//! DescribeMetrics: everything this shard counts and times, by name.

use crate::answer::ReplyTo;
use crate::data_plane::DataPlane;
use crate::error_table::WireError;
use crate::opened::Opened;
use crate::process_memory::ProcessMemory;
use crate::refusal_reason::RefusalReason;
use crate::stages::Stage;
use sluice_partition::{ShardStatus, WriteCounts};
use sluice_protocol::{DescribeMetricsAnswer, DescribeMetricsRequest, Malformed, NamedHistogram, NamedValue, access, metric};

impl DataPlane {
    pub(crate) fn on_describe_metrics(&mut self, to: ReplyTo, body: &[u8]) -> Result<(), Malformed> {
        access::<DescribeMetricsRequest>(body)?;
        let parts = &self.parts;
        let Some(Opened { partitions, .. }) = parts.opened.get() else {
            let WireError { code, text, .. } = WireError::recovering(parts.shard);
            let answer =
                DescribeMetricsAnswer { error: code as u16, text, shard: parts.shard.0, ..DescribeMetricsAnswer::default() };
            self.answer(to, &answer);
            return Ok(());
        };
        let memory = ProcessMemory::read();
        let answer = DescribeMetricsAnswer {
            shard: parts.shard.0,
            incarnation: parts.incarnation.number,
            at_us: parts.clock.mono_us(),
            process_resident_len: memory.resident_len,
            process_resident_len_max: memory.resident_len_max,
            counters: [self.request_counters(), self.device_counters(), write_counters(&partitions.write_counts())].concat(),
            gauges: self.gauges(&partitions.shard_status()),
            histograms: self.histograms(),
            ..DescribeMetricsAnswer::default()
        };
        self.answer(to, &answer);
        Ok(())
    }

    fn request_counters(&self) -> Vec<NamedValue> {
        let metrics = &self.parts.metrics;
        let counters = [
            ("connections_accepted", &metrics.connections_accepted),
            ("connections_refused", &metrics.connections_refused),
            ("connections_closed", &metrics.connections_closed),
            ("connections_overdue", &metrics.connections_overdue),
            ("requests", &metrics.requests),
            ("requests_without_room", &metrics.requests_without_room),
            ("refusals", &metrics.refusals),
            ("received_len", &metrics.received_bytes),
            ("sent_len", &metrics.sent_bytes),
            (metric::ADMITTED_BATCHES, &metrics.batches_appended),
            (metric::ADMITTED_RECORDS, &metrics.admitted_records),
            (metric::ADMITTED_LEN, &metrics.admitted_len),
            (metric::REFUSED_BATCHES, &metrics.batches_refused),
            ("fetches_parked", &metrics.fetches_parked),
            ("fetches_from_disk", &metrics.disk_reads),
            (metric::FETCHED_MEMORY_LEN, &metrics.fetched_memory_len),
            (metric::FETCHED_DISK_LEN, &metrics.fetched_disk_len),
            ("replica_sent_len", &metrics.replica_sent_len),
            ("replica_copied_len", &metrics.replica_copied_len),
        ];
        let refused = RefusalReason::ALL.iter().map(|&reason| {
            NamedValue::new(format!("{}{}", metric::REFUSED_PREFIX, reason.name()), metrics.refused_for.of(reason))
        });
        counters.map(|(name, counter)| NamedValue::new(name, counter.get())).into_iter().chain(refused).collect()
    }

    fn device_counters(&self) -> Vec<NamedValue> {
        let shard = self.parts.shard_metrics.snapshot();
        let counters = [
            (metric::DEVICE_WRITTEN_LEN, shard.written_len),
            (metric::DEVICE_READ_LEN, shard.read_len),
            ("inline_writes", shard.inline_writes),
            ("slow_inline_writes", shard.slow_inline_writes),
            ("durable_ring_writes", shard.durable_ring_writes),
            ("bulk_writes", shard.bulk_writes),
            ("reads", shard.reads),
            ("socket_sleeps", shard.socket_sleeps),
            ("socket_polls", shard.socket_polls),
            ("stalls", shard.stalls),
        ];
        named(&counters)
    }

    fn gauges(&self, status: &ShardStatus) -> Vec<NamedValue> {
        let (config, budget) = (&self.parts.config, &self.parts.budget);
        let gauges = [
            ("connections", self.connections.len() as u64),
            ("partitions", status.partition_count as u64),
            ("produces_waiting", self.produces.len() as u64),
            ("fetches_waiting", self.parked.len() as u64),
            ("network_used_len", budget.used() as u64),
            ("network_used_len_max", budget.used_max() as u64),
            ("network_budget_len", budget.len() as u64),
            ("journal_queued_len", status.journal_queued_len),
            ("journal_distance", status.journal_distance),
            ("journal_capacity", status.journal_capacity),
            ("tail_used_len", status.tail_used_len),
            ("tail_clean_len", status.tail_clean_len),
            ("tail_budget_len", config.tail_budget_len as u64),
            ("stall_us_max", self.parts.shard_metrics.snapshot().stall_us_max),
        ];
        named(&gauges)
    }

    fn histograms(&self) -> Vec<NamedHistogram> {
        let stages = &self.parts.metrics.stages;
        let histograms: [(&str, &Stage); 8] = [
            (metric::ADMIT, &stages.admit),
            (metric::QUEUE, &stages.queue),
            (metric::WRITE_FLUSH, &stages.write_flush),
            (metric::REPLICATE, &stages.replicate),
            (metric::ANSWER, &stages.answer),
            (metric::PRODUCE, &stages.produce),
            (metric::READ_MEMORY, &stages.read_memory),
            (metric::READ_DISK, &stages.read_disk),
        ];
        histograms.map(|(name, stage)| NamedHistogram::new(name, &stage.times())).to_vec()
    }
}

fn write_counters(counts: &WriteCounts) -> Vec<NamedValue> {
    let counters = [
        (metric::GROUPS, counts.group_count),
        (metric::GROUP_ENTRIES, counts.group_entry_count),
        ("idle_markers", counts.idle_marker_count),
        (metric::JOURNAL_WRITTEN_LEN, counts.journal_len),
        (metric::SEGMENT_WRITTEN_LEN, counts.segment_len),
        ("segment_flushes", counts.segment_flush_count),
        ("checkpoints", counts.checkpoint_count),
        (metric::CHECKPOINT_WRITTEN_LEN, counts.checkpoint_len),
    ];
    named(&counters)
}

fn named(values: &[(&str, u64)]) -> Vec<NamedValue> {
    values.iter().map(|&(name, value)| NamedValue::new(name, value)).collect()
}
