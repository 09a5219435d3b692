//! A rate over time from a CSV file: what a real service was asked for, replayed, faster than it happened if need be.
//!
//! Two columns, seconds and records a second, in growing time; a first line of headings may stand above them. Between two
//! lines the rate is a straight line. Absent: any other column.

use super::schedule::Phase;

/// How a trace is replayed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TraceReplay {
    /// The trace takes its own length divided by this.
    pub compress: f64,
    /// Every rate is multiplied by this.
    pub rate_factor: f64,
}

/// The phases of a trace.
///
/// # Errors In words, with the number of the line that is wrong.
pub fn trace_phases(csv: &str, replay: TraceReplay) -> Result<Vec<Phase>, String> {
    let mut points: Vec<(f64, f64)> = Vec::new();
    for (index, line) in csv.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let wrong = |what: &str| format!("line {} of the trace, {line:?}: {what}", index + 1);
        let Some((at, rate)) = line.split_once(',') else {
            return Err(wrong("two columns are wanted, seconds and records a second"));
        };
        let (Ok(at_s), Ok(per_s)) = (at.trim().parse::<f64>(), rate.trim().parse::<f64>()) else {
            if points.is_empty() && index == 0 {
                continue;
            }
            return Err(wrong("not two numbers"));
        };
        if !(at_s.is_finite() && per_s.is_finite() && per_s >= 0.0) {
            return Err(wrong("a time and a rate of zero or more are wanted"));
        }
        if points.last().is_some_and(|&(last_s, _)| at_s <= last_s) {
            return Err(wrong("times have to grow from line to line"));
        }
        points.push((at_s, per_s));
    }
    if points.len() < 2 {
        return Err("a trace needs at least two lines: each stretch has a begin and an end".to_owned());
    }
    let phase = |pair: &[(f64, f64)]| Phase {
        name: "trace".to_owned(),
        seconds: (pair[1].0 - pair[0].0) / replay.compress,
        from_per_s: pair[0].1 * replay.rate_factor,
        to_per_s: pair[1].1 * replay.rate_factor,
        is_counted: true,
    };
    Ok(points.windows(2).map(phase).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const AS_IT_WAS: TraceReplay = TraceReplay { compress: 1.0, rate_factor: 1.0 };

    #[test]
    fn a_trace_is_compressed_in_time_and_scaled_in_rate() {
        let phases = trace_phases("seconds,rate\n0,100\n60,300\n120,0\n", TraceReplay { compress: 60.0, rate_factor: 2.0 });
        let phases = phases.expect("a trace");
        let shapes: Vec<_> = phases.iter().map(|phase| (phase.seconds, phase.from_per_s, phase.to_per_s)).collect();
        assert_eq!(shapes, [(1.0, 200.0, 600.0), (1.0, 600.0, 0.0)]);
    }

    #[test]
    fn what_is_wrong_is_named_by_its_line() {
        for (csv, expected) in [
            ("0,1\n1;2", "line 2"),
            ("0,1\nx,2", "line 2"),
            ("0,1\n0,2", "times have to grow"),
            ("0,1\n1,-2", "line 2"),
            ("0,1", "at least two"),
            ("", "at least two"),
        ] {
            let problem = trace_phases(csv, AS_IT_WAS).expect_err(csv);
            assert!(problem.contains(expected), "{problem}");
        }
    }
}
