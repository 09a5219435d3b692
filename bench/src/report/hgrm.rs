//! A result's percentile curve in HdrHistogram's own text format, for its plotter and whatever else reads `.hgrm`.
//!
//! Values are milliseconds: what the plotter takes them for unless told otherwise. The line of the greatest sample, at 1.0,
//! has no fourth column, since 1/(1 - 1.0) is no number; readers leave it out. The last line is about the buckets of the
//! histogram that the samples were kept in; some readers know by it that the text is whole.

use std::fmt::Write;

use sluice_tuning::LatencyHistogram;

use crate::result::WorkloadResult;

/// `None` when no curve was written down.
pub(super) fn text(result: &WorkloadResult) -> Option<String> {
    let last = result.percentiles.last()?;
    let mut text = format!("{:>14} {:>17} {:>10} {:>14}\n\n", "Value", "Percentile", "TotalCount", "1/(1-Percentile)");
    for step in &result.percentiles {
        let _ = write!(text, "{:>14.6} {:>17.12} {:>10}", step.latency_us / 1e3, step.quantile, step.count);
        let _ = match step.quantile {
            quantile if quantile < 1.0 => writeln!(text, " {:>14.2}", 1.0 / (1.0 - quantile)),
            _ => writeln!(text),
        };
    }
    if let (Some(mean_us), Some(deviation_us)) = (result.mean_us, result.deviation_us) {
        let _ = writeln!(text, "#[Mean    = {:>14.6}, StdDeviation   = {:>14.6}]", mean_us / 1e3, deviation_us / 1e3);
    }
    let _ = writeln!(text, "#[Max     = {:>14.6}, Total count    = {:>14}]", last.latency_us / 1e3, last.count);
    let (buckets, steps) = LatencyHistogram::new().buckets();
    let _ = writeln!(text, "#[Buckets = {buckets:>14}, SubBuckets     = {steps:>14}]");
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::result::percentiles;
    use std::time::Duration;

    #[test]
    fn the_plotter_finds_four_columns_in_every_line_but_the_last() {
        let mut latencies = LatencyHistogram::new();
        (1..=1000).for_each(|n| latencies.record(Duration::from_micros(n)));
        let result = WorkloadResult {
            percentiles: percentiles(&latencies),
            mean_us: Some(latencies.mean_us()),
            deviation_us: Some(latencies.deviation_us()),
            ..WorkloadResult::default()
        };
        let text = text(&result).expect("a curve");
        let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(lines[0], ["Value", "Percentile", "TotalCount", "1/(1-Percentile)"]);
        let steps: Vec<&Vec<&str>> =
            lines[1..].iter().filter(|line| line.first().is_some_and(|cell| !cell.starts_with('#'))).collect();
        let (last, others) = steps.split_last().expect("steps");
        assert!(others.len() > 20 && others.iter().all(|line| line.len() == 4));
        assert_eq!((last.len(), last[2]), (3, "1000"));
        let half = others.iter().find(|line| line[1].starts_with("0.5000")).expect("a median");
        let (ms, inverse): (f64, f64) = (half[0].parse().expect("ms"), half[3].parse().expect("a number"));
        assert!((ms - 0.5).abs() < 0.001 && (inverse - 2.0).abs() < 0.001, "{half:?}");
        assert!(text.contains("#[Mean    =       0.500") && text.contains("Total count    =           1000]"), "{text}");
        // 2,048 steps at three digits, doubled 31 times until they reach an hour of nanoseconds.
        assert_eq!(text.lines().last(), Some("#[Buckets =             32, SubBuckets     =           2048]"));
        assert_eq!(super::text(&WorkloadResult::default()), None);
    }
}
