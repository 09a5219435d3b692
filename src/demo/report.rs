//! What the demo says: a line each second while it runs, a summary at the end. The same figures as JSON on request.

use super::load::Phase;
use super::proof::Verdict;
use crate::units::{format_count, format_micros};
use hdrhistogram::Histogram;
use serde::Serialize;
use std::fmt::Write as _;

const BAR_LEN: u64 = 24;

/// Latencies in microseconds, from 1 µs to 10 minutes with three digits.
pub(crate) struct Latencies(Histogram<u64>);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct LatencyFigures {
    pub(crate) record_count: u64,
    pub p50_us: u64,
    pub p99_us: u64,
    pub p99_9_us: u64,
    pub p99_99_us: u64,
    pub(crate) max_us: u64,
}

impl Latencies {
    pub(crate) fn new() -> Self {
        Self(Histogram::new_with_bounds(1, 600_000_000, 3).expect("bounds of a constant"))
    }

    pub(crate) fn record(&mut self, us: u64) {
        self.0.saturating_record(us.max(1));
    }

    pub(crate) fn figures(&self) -> LatencyFigures {
        let at = |quantile| self.0.value_at_quantile(quantile);
        LatencyFigures {
            record_count: self.0.len(),
            p50_us: at(0.5),
            p99_us: at(0.99),
            p99_9_us: at(0.999),
            p99_99_us: at(0.9999),
            max_us: self.0.max(),
        }
    }
}

/// Counts since the start, read once a second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) offered: u64,
    pub(crate) acknowledged: u64,
    /// Refusals by the broker, each of which the client answers by offering again.
    pub(crate) refusals: u64,
    pub(crate) consumed: u64,
}

impl Counts {
    pub(crate) fn backlog(&self) -> u64 {
        self.acknowledged.saturating_sub(self.consumed)
    }
}

pub(crate) const LIVE_HEADING: &str = "  time  load     offered/s     acked/s   refused/s   consumed/s      backlog";

/// One line of the running account: rates over the second that ended.
pub(crate) fn live_line(second: u64, phase: Phase, before: &Counts, now: &Counts, backlog_scale: u64) -> String {
    let backlog = now.backlog();
    let bar_len = backlog.saturating_mul(BAR_LEN).div_ceil(backlog_scale.max(1)).min(BAR_LEN);
    let bar = "▇".repeat(usize::try_from(bar_len).expect("a short bar"));
    let line = format!(
        "{second:>4} s  {:<7}{:>11}{:>12}{:>12}{:>13}{:>13}  {bar}",
        phase.name(),
        format_count(now.offered.saturating_sub(before.offered)),
        format_count(now.acknowledged.saturating_sub(before.acknowledged)),
        format_count(now.refusals.saturating_sub(before.refusals)),
        format_count(now.consumed.saturating_sub(before.consumed)),
        format_count(backlog),
    );
    line.trim_end().to_owned()
}

/// The figures of one run.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) steady_per_s: u64,
    pub(crate) spike_per_s: u64,
    pub(crate) downstream_per_s: u64,
    pub(crate) offered: u64,
    pub(crate) acknowledged: u64,
    pub(crate) refused: u64,
    pub(crate) unknown: u64,
    /// Records admitted at first offer, from the intended send time to the durable acknowledgement.
    pub(crate) admitted_at_first: LatencyFigures,
    /// Records the broker refused at first and acknowledged when they were offered again.
    pub(crate) refused_at_first: LatencyFigures,
    pub(crate) backlog_peak: u64,
    /// From the end of the spike until the backlog was what it was before; `None` when it was not by the end.
    pub(crate) drain_ms: Option<u64>,
    /// How late the generator itself was at worst; its lateness is part of the latencies.
    pub(crate) generator_late_us_max: u64,
    pub(crate) verdict: Verdict,
}

/// Lateness beyond this is said in the summary: the figures are then the generator's as much as the broker's.
const GENERATOR_LATE_US: u64 = 20_000;

impl Report {
    pub(crate) fn to_text(&self) -> String {
        let mut text = String::new();
        self.write(&mut text).expect("a string takes every write");
        text
    }

    fn write(&self, out: &mut String) -> std::fmt::Result {
        let rows =
            [("admitted at first offer", &self.admitted_at_first), ("refused first, then admitted", &self.refused_at_first)];
        writeln!(out, "Latency from the intended send time to the durable acknowledgement")?;
        writeln!(out, "  {:<30}{:>12}{:>10}{:>10}{:>10}{:>10}{:>10}", "", "records", "p50", "p99", "p99.9", "p99.99", "max")?;
        for (name, figures) in rows {
            write!(out, "  {name:<30}{:>12}", format_count(figures.record_count))?;
            let latencies = [figures.p50_us, figures.p99_us, figures.p99_9_us, figures.p99_99_us, figures.max_us];
            for us in latencies {
                write!(out, "{:>10}", if figures.record_count == 0 { "-".to_owned() } else { format_micros(us) })?;
            }
            writeln!(out)?;
        }
        if self.generator_late_us_max > GENERATOR_LATE_US {
            let late = format_micros(self.generator_late_us_max);
            writeln!(
                out,
                "  The generator itself fell behind by up to {late} (this machine is busy); that time is in the figures."
            )?;
        }
        writeln!(out, "\nBacklog")?;
        writeln!(
            out,
            "  peak {} records; the consumer's downstream takes {} a second",
            format_count(self.backlog_peak),
            format_count(self.downstream_per_s)
        )?;
        match self.drain_ms {
            Some(ms) => writeln!(out, "  drained {:.1} s after the spike ended", ms as f64 / 1e3)?,
            None => writeln!(out, "  not yet drained when the load ended; all of it was consumed after that")?,
        }
        self.write_proof(out)
    }

    fn write_proof(&self, out: &mut String) -> std::fmt::Result {
        let verdict = &self.verdict;
        writeln!(out, "\nProof")?;
        writeln!(out, "  offered                        {:>12}", format_count(self.offered))?;
        writeln!(out, "  acknowledged                   {:>12}", format_count(self.acknowledged))?;
        writeln!(out, "  refused for good               {:>12}", format_count(self.refused))?;
        writeln!(out, "  outcome unknown                {:>12}", format_count(self.unknown))?;
        writeln!(out, "  acknowledged, read exactly once{:>12}", format_count(verdict.consumed_exactly_once))?;
        if verdict.holds() {
            writeln!(out, "  PASSED: every acknowledged record was consumed exactly once, unaltered, in order per key.")
        } else {
            verdict.failures().iter().try_for_each(|failure| writeln!(out, "  FAILED: {failure}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        let mut latencies = Latencies::new();
        (1..=1000).for_each(|us| latencies.record(us));
        Report {
            steady_per_s: 10,
            spike_per_s: 100,
            downstream_per_s: 20,
            offered: 1000,
            acknowledged: 1000,
            refused: 0,
            unknown: 0,
            admitted_at_first: latencies.figures(),
            refused_at_first: Latencies::new().figures(),
            backlog_peak: 12_345,
            drain_ms: Some(4200),
            generator_late_us_max: 100,
            verdict: Verdict::default(),
        }
    }

    #[test]
    fn figures_are_those_recorded() {
        let figures = report().admitted_at_first;
        assert_eq!((figures.record_count, figures.p50_us, figures.p99_us, figures.max_us), (1000, 500, 990, 1000));
    }

    #[test]
    fn the_summary_says_what_matters() {
        let text = report().to_text();
        for part in ["admitted at first offer", "500 µs", "12 345", "4.2 s", "PASSED"] {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert!(!text.contains("fell behind"));
        let late = Report { generator_late_us_max: 30_000, drain_ms: None, ..report() }.to_text();
        assert!(late.contains("fell behind by up to 30.0 ms") && late.contains("not yet drained"), "{late}");
    }

    #[test]
    fn a_live_line_shows_rates_of_the_last_second() {
        let before = Counts { offered: 1000, acknowledged: 900, refusals: 0, consumed: 800 };
        let now = Counts { offered: 21_000, acknowledged: 20_000, refusals: 5, consumed: 10_000 };
        let line = live_line(7, Phase::Spike, &before, &now, 20_000);
        assert_eq!(
            line,
            format!("   7 s  SPIKE       20 000      19 100           5        9 200       10 000  {}", "▇".repeat(12))
        );
        assert_eq!(line.split("▇").next().unwrap().trim_end().chars().count(), LIVE_HEADING.chars().count());
    }
}
