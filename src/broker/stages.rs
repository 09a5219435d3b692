//! `sluice broker describe --stages`: where the time of produces and fetches went since the broker's start, and what
//! was written for them.
//!
//! All shards are told as one for people, and each for itself in JSON. Deliberately absent: figures of a while; whoever
//! wants those asks twice and takes the difference of the counts.

use crate::exit_status::Failure;
use crate::table::{Table, print_line};
use crate::units::{format_count, format_len};
use serde_json::{Map, Value, json};
use sluice_client::{DescribeMetricsAnswer, DescribedMetrics, metric};

/// Of the columns below.
const QUANTILES: [f64; 3] = [0.5, 0.9, 0.99];

pub(crate) fn print(shards: &[DescribedMetrics]) -> Result<(), Failure> {
    let all = merged(shards);
    print_line(&format!("\nSTAGES of produces and fetches since the broker's start\n{}", table(&all).to_text()))?;
    print_line(&written_text(&all))?;
    refused_text(&all).map_or(Ok(()), |text| print_line(&text))
}

pub(crate) fn to_json(shards: &[DescribedMetrics]) -> Value {
    let values = |named: &[sluice_client::NamedValue]| {
        Value::Object(named.iter().map(|named| (named.name.clone(), named.value.into())).collect::<Map<_, _>>())
    };
    let one = |shard: &DescribedMetrics| {
        let metrics = &shard.metrics;
        json!({
            "shard": metrics.shard,
            "incarnation": metrics.incarnation,
            "at_us": metrics.at_us,
            "process_resident_len": metrics.process_resident_len,
            "process_resident_len_max": metrics.process_resident_len_max,
            "stages": table(metrics).to_json(),
            "counters": values(&metrics.counters),
            "gauges": values(&metrics.gauges),
        })
    };
    shards.iter().map(one).collect()
}

fn merged(shards: &[DescribedMetrics]) -> DescribeMetricsAnswer {
    let mut all = DescribeMetricsAnswer::default();
    shards.iter().for_each(|shard| all.merge(&shard.metrics));
    all
}

/// A row for each stage that has samples or that every broker has.
fn table(metrics: &DescribeMetricsAnswer) -> Table {
    let mut table = Table::new(&["stage", "samples", "mean_us", "p50_us", "p90_us", "p99_us"]);
    for named in &metrics.histograms {
        let Some(histogram) = metrics.histogram(&named.name) else { continue };
        let mean_us = (histogram.count() > 0).then(|| (histogram.mean_us() * 10.0).round() / 10.0);
        let mut row = vec![named.name.clone().into(), histogram.count().into(), mean_us.into()];
        row.extend(QUANTILES.map(|quantile| Value::from(histogram.quantile_us(quantile))));
        table.push(row);
    }
    table
}

fn written_text(metrics: &DescribeMetricsAnswer) -> String {
    let of = |name| metrics.counter(name).unwrap_or(0);
    let parts = [
        ("journal", of(metric::JOURNAL_WRITTEN_LEN)),
        ("segments", of(metric::SEGMENT_WRITTEN_LEN)),
        ("checkpoints", of(metric::CHECKPOINT_WRITTEN_LEN)),
    ];
    let written: u64 = parts.iter().map(|(_, len)| len).sum();
    let admitted = of(metric::ADMITTED_LEN);
    let factor = if admitted == 0 { String::new() } else { format!(", {:.2} times that", written as f64 / admitted as f64) };
    let parts = parts.map(|(name, len)| format!("{name} {}", format_len(len))).join(", ");
    let (records, groups) = (format_count(of(metric::ADMITTED_RECORDS)), format_count(of(metric::GROUPS)));
    format!(
        "\ntaken: {} in {records} records; written: {}{factor} ({parts}) in {groups} commit groups\nmemory of the process: {}",
        format_len(admitted),
        format_len(written),
        format_len(metrics.process_resident_len),
    )
}

/// `None`: nothing was refused.
fn refused_text(metrics: &DescribeMetricsAnswer) -> Option<String> {
    let reasons = metrics.counters.iter().filter(|named| named.value > 0).filter_map(|named| {
        let reason = named.name.strip_prefix(metric::REFUSED_PREFIX)?.replace('_', " ");
        Some(format!("{reason} {}", format_count(named.value)))
    });
    let reasons: Vec<String> = reasons.collect();
    (!reasons.is_empty()).then(|| format!("batches refused, by reason: {}", reasons.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use sluice_client::{NamedHistogram, NamedValue, StageHistogram};

    fn metrics() -> DescribeMetricsAnswer {
        let mut admit = StageHistogram::EMPTY;
        (0..99).for_each(|_| admit.record(4));
        admit.record(1000);
        DescribeMetricsAnswer {
            counters: vec![
                NamedValue::new(metric::ADMITTED_LEN, 1000),
                NamedValue::new(metric::JOURNAL_WRITTEN_LEN, 1500),
                NamedValue::new(metric::SEGMENT_WRITTEN_LEN, 1000),
                NamedValue::new("refused_for_disk_full", 3),
                NamedValue::new("refused_for_delay", 0),
            ],
            histograms: vec![
                NamedHistogram::new(metric::ADMIT, &admit),
                NamedHistogram::new(metric::READ_DISK, &StageHistogram::EMPTY),
            ],
            ..DescribeMetricsAnswer::default()
        }
    }

    #[test]
    fn stages_are_told_with_their_quantiles_and_silent_ones_with_none() {
        let rows = table(&metrics()).to_json();
        assert_eq!(rows[0]["stage"], "admit");
        assert_eq!((rows[0]["samples"].as_u64(), rows[0]["mean_us"].as_f64()), (Some(100), Some(14.0)));
        assert_eq!([&rows[0]["p50_us"], &rows[0]["p99_us"]], [&json!(4), &json!(4)]);
        assert_eq!((rows[1]["samples"].as_u64(), &rows[1]["p50_us"], &rows[1]["mean_us"]), (Some(0), &Value::Null, &Value::Null));
    }

    #[test]
    fn what_was_written_is_told_beside_what_was_taken() {
        let text = written_text(&metrics());
        assert!(text.contains("2.50 times that") && text.contains("checkpoints 0 B"), "{text}");
        assert!(!written_text(&DescribeMetricsAnswer::default()).contains("times"));
        assert_eq!(refused_text(&metrics()).as_deref(), Some("batches refused, by reason: disk full 3"));
        assert_eq!(refused_text(&DescribeMetricsAnswer::default()), None);
    }
}
