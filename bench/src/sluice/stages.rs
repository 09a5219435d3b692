//! Where the broker says the time of its produces went: its own histograms before a load and after it, all shards together.
//!
//! The expensive mistake is a difference across a restart: the answers refuse it by their incarnation. A broker that does not
//! time its stages has none, which is no failure.

use sluice_model::StageHistogram;
use sluice_protocol::{Api, DescribeMetricsAnswer, DescribeMetricsRequest, MetadataRequest, metric};
use sluice_tuning::LatencyHistogram;

use crate::broker::Broker;
use crate::connection::{Connection, refuse_error};
use crate::error::BenchError;
use crate::measurement::StageTimes;
use std::time::Duration;

/// What every shard has counted so far; empty when the broker does not say.
pub(super) fn ask(broker: &Broker) -> Result<Vec<DescribeMetricsAnswer>, BenchError> {
    let mut connection = broker.connect()?;
    if connection.version(Api::DescribeMetrics).is_err() {
        return Ok(Vec::new());
    }
    let metadata = connection.call(&MetadataRequest { topics: Some(Vec::new()), after: None })?;
    refuse_error("Metadata", metadata.error, &metadata.text)?;
    let of_shard = |address: &sluice_protocol::ShardAddress| {
        let mut connection = Connection::open(&format!("{}:{}", address.host, address.port))?;
        let answer = connection.call(&DescribeMetricsRequest {})?;
        refuse_error("DescribeMetrics", answer.error, &answer.text)?;
        Ok(answer)
    };
    metadata.shards.iter().map(of_shard).collect()
}

/// The stages of the produces between the two, in their order; none when a shard was started anew meanwhile.
pub(super) fn between(before: &[DescribeMetricsAnswer], after: &[DescribeMetricsAnswer]) -> Vec<StageTimes> {
    let mut all = DescribeMetricsAnswer::default();
    for after in after {
        let since = before.iter().find_map(|before| after.since(before));
        let Some(since) = since else { return Vec::new() };
        all.merge(&since);
    }
    let stage = |name: &&str| {
        let histogram = all.histogram(name).filter(|histogram| histogram.count() > 0)?;
        let total_ns = histogram.sum_us().saturating_mul(1_000);
        Some(StageTimes { name: (*name).to_owned(), latencies: latencies(&histogram), total_ns })
    };
    metric::PRODUCE_STAGES.iter().filter_map(stage).collect()
}

/// Each bucket's samples at the value that the broker's own quantiles give for it.
fn latencies(histogram: &StageHistogram) -> LatencyHistogram {
    let mut latencies = LatencyHistogram::new();
    let counts = histogram.counts();
    for (bucket, &count) in counts.iter().enumerate().filter(|(_, count)| **count > 0) {
        let alone = (0..counts.len()).map(|other| u64::from(other == bucket)).collect::<Vec<_>>();
        let us = StageHistogram::from_counts(alone.into_iter(), 0).and_then(|alone| alone.quantile_us(1.0));
        latencies.record_n(Duration::from_micros(us.unwrap_or(0)), count);
    }
    latencies
}

#[cfg(test)]
mod tests {
    use super::*;
    use sluice_protocol::NamedHistogram;

    fn answer(incarnation: u64, shard: u16, samples_us: &[u64]) -> DescribeMetricsAnswer {
        let mut histogram = StageHistogram::EMPTY;
        samples_us.iter().for_each(|&us| histogram.record(us));
        let histograms = vec![NamedHistogram::new(metric::QUEUE, &histogram)];
        DescribeMetricsAnswer { incarnation, shard, histograms, ..DescribeMetricsAnswer::default() }
    }

    #[test]
    fn stages_are_those_of_the_load_on_all_shards() {
        let before = [answer(1, 0, &[1000; 5]), answer(1, 1, &[])];
        let after = [answer(1, 0, &[1000, 1000, 1000, 1000, 1000, 8, 8]), answer(1, 1, &[8])];
        let stages = between(&before, &after);
        assert_eq!(stages.len(), 1, "a stage without samples is none");
        assert_eq!((stages[0].name.as_str(), stages[0].latencies.count(), stages[0].total_ns), ("queue", 3, 24_000));
        assert!(stages[0].latencies.summary().max < 20.0, "what was before the load is not in it");
        assert_eq!(between(&before, &[answer(2, 0, &[8]), answer(2, 1, &[])]).len(), 0, "another incarnation");
    }
}
