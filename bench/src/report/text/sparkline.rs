//! One line that shows when it was slow.

use crate::report::{figures, timeline};
use crate::result::WorkloadResult;

const LEVELS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
/// Columns of the line itself.
const WIDTH_MAX: usize = 60;
/// Fewer intervals are no course of time.
const INTERVALS_MIN: usize = 8;

/// p99 by intended time, on a logarithmic scale from its least to its greatest; `None` without a timeline to speak of.
pub(super) fn line(result: &WorkloadResult) -> Option<String> {
    if result.timeline.len() < INTERVALS_MIN {
        return None;
    }
    let columns = timeline::columns(&result.timeline, WIDTH_MAX);
    let (first, last) = (columns.first()?, columns.last()?);
    let p99s: Vec<Option<f64>> = columns.iter().map(|column| column.quantile_us(0.99).filter(|us| *us > 0.0)).collect();
    let known = || p99s.iter().flatten().copied();
    let (least, greatest) = (known().fold(f64::INFINITY, f64::min), known().fold(0.0, f64::max));
    if greatest <= 0.0 {
        return None;
    }
    let level = |us: f64| {
        let part = if greatest > least { (us / least).ln() / (greatest / least).ln() } else { 0.0 };
        LEVELS[((part * LEVELS.len() as f64) as usize).min(LEVELS.len() - 1)]
    };
    let drawn: String = p99s.iter().map(|us| us.map_or(' ', level)).collect();
    let worst = columns.iter().zip(&p99s).find(|(_, us)| **us == Some(greatest)).map(|(column, _)| column)?;
    let when =
        format!("at {:.1} s{}", worst.from_s, if worst.phase.is_empty() { String::new() } else { format!(", {}", worst.phase) });
    let scale = format!("{} to {} ({when})", figures::latency(least), figures::latency(greatest));
    Some(format!("p99 over time, {:.0} – {:.0} s:\n {drawn} {scale}", first.from_s, last.until_s))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::result::Second;

    #[test]
    fn the_slow_part_stands_out() {
        let second = |index: u32| {
            let us = if (10..12).contains(&index) { 100_000.0 } else { 100.0 };
            let heat = if index == 15 { vec![] } else { vec![(us, 5)] };
            Second { at_s: f64::from(index), phase: "hold".to_owned(), heat, ..Second::default() }
        };
        let result = WorkloadResult { timeline: (0..20).map(second).collect(), ..WorkloadResult::default() };
        let line = line(&result).expect("a line");
        assert!(line.contains("▁▁▁▁▁▁▁▁▁▁██▁▁▁ ▁▁▁▁ 100 µs to 100 ms (at 10.0 s, hold)"), "{line}");
        assert_eq!(super::line(&WorkloadResult { timeline: (0..3).map(second).collect(), ..WorkloadResult::default() }), None);
    }
}
