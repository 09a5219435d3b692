//! A round's intervals as plots need them: with an end, in at most so many columns, and the phases they lie in.
//!
//! What is drawn was read from a file, so nothing here trusts that times ascend or counts are sane: sums saturate.

use crate::result::Second;

/// One or several intervals together.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Column {
    pub from_s: f64,
    pub until_s: f64,
    pub phase: String,
    pub asked: u64,
    pub offered: u64,
    pub acknowledged: u64,
    pub refused: u64,
    pub failed: u64,
    pub consumed: u64,
    /// At its end.
    pub backlog_records: u64,
    pub backlog_mb: f64,
    /// (bucket's upper end in µs, count), ascending.
    pub heat: Vec<(f64, u64)>,
}

/// A stretch of one phase.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Phase {
    pub name: String,
    pub from_s: f64,
    pub until_s: f64,
}

impl Column {
    pub(super) fn seconds(&self) -> f64 {
        (self.until_s - self.from_s).max(f64::MIN_POSITIVE)
    }

    pub(super) fn per_s(&self, count: u64) -> f64 {
        count as f64 / self.seconds()
    }

    /// Upper end of the bucket in which this part of the column's records ends; `None` without records.
    pub(super) fn quantile_us(&self, quantile: f64) -> Option<f64> {
        let total: f64 = self.heat.iter().map(|(_, count)| *count as f64).sum();
        let mut below = 0.0;
        let used = |(_, count): &&(f64, u64)| *count > 0;
        let reached = self.heat.iter().filter(used).find(|(_, count)| {
            below += *count as f64;
            below >= total * quantile
        });
        reached.or(self.heat.iter().rfind(used)).map(|(upper_us, _)| *upper_us)
    }

    fn add(&mut self, other: Self) {
        let sums = [
            (&mut self.asked, other.asked),
            (&mut self.offered, other.offered),
            (&mut self.acknowledged, other.acknowledged),
            (&mut self.refused, other.refused),
            (&mut self.failed, other.failed),
            (&mut self.consumed, other.consumed),
        ];
        for (sum, count) in sums {
            *sum = sum.saturating_add(count);
        }
        self.until_s = other.until_s;
        (self.backlog_records, self.backlog_mb) = (other.backlog_records, other.backlog_mb);
        self.heat.extend(other.heat);
        self.heat = merged(std::mem::take(&mut self.heat));
    }
}

/// The timeline in at most `count_max` columns, each as many intervals wide as it takes.
pub(super) fn columns(timeline: &[Second], count_max: usize) -> Vec<Column> {
    let seconds = in_order(timeline);
    let width_s = interval_s(&seconds);
    let group_len = seconds.len().div_ceil(count_max.max(1)).max(1);
    let groups = seconds.chunks(group_len).map(|group| {
        let mut columns = group.iter().map(|second| column(second, width_s));
        let first = columns.next().unwrap_or_default();
        columns.fold(first, |mut sum, next| {
            sum.add(next);
            sum
        })
    });
    groups.collect()
}

/// Phases in order of time; one that comes again stands there again.
pub(super) fn phases(timeline: &[Second]) -> Vec<Phase> {
    let seconds = in_order(timeline);
    let width_s = interval_s(&seconds);
    let mut phases: Vec<Phase> = Vec::new();
    for second in seconds {
        let until_s = second.at_s + width_s;
        match phases.last_mut() {
            Some(phase) if phase.name == second.phase => phase.until_s = until_s,
            _ => phases.push(Phase { name: second.phase.clone(), from_s: second.at_s, until_s }),
        }
    }
    phases
}

fn in_order(timeline: &[Second]) -> Vec<&Second> {
    let mut seconds: Vec<&Second> = timeline.iter().collect();
    seconds.sort_by(|a, b| a.at_s.total_cmp(&b.at_s));
    seconds
}

/// How long an interval is: the middle one of the distances, a second when there is none.
fn interval_s(seconds: &[&Second]) -> f64 {
    let mut distances: Vec<f64> = seconds.windows(2).map(|pair| pair[1].at_s - pair[0].at_s).filter(|s| *s > 0.0).collect();
    distances.sort_by(f64::total_cmp);
    distances.get(distances.len() / 2).copied().unwrap_or(1.0)
}

fn column(second: &Second, width_s: f64) -> Column {
    Column {
        from_s: second.at_s,
        until_s: second.at_s + width_s,
        phase: second.phase.clone(),
        asked: second.asked,
        offered: second.offered,
        acknowledged: second.acknowledged,
        refused: second.refused,
        failed: second.failed,
        consumed: second.consumed,
        backlog_records: second.backlog_records,
        backlog_mb: second.backlog_mb,
        heat: merged(second.heat.clone()),
    }
}

/// Ascending, one entry for each bucket.
fn merged(mut heat: Vec<(f64, u64)>) -> Vec<(f64, u64)> {
    heat.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut merged: Vec<(f64, u64)> = Vec::with_capacity(heat.len());
    for (upper_us, count) in heat {
        match merged.last_mut() {
            Some(last) if last.0.total_cmp(&upper_us).is_eq() => last.1 = last.1.saturating_add(count),
            _ => merged.push((upper_us, count)),
        }
    }
    merged
}

#[cfg(test)]
mod tests {
    use super::*;

    fn second(at_s: f64, phase: &str, offered: u64, heat: &[(f64, u64)]) -> Second {
        Second { at_s, phase: phase.to_owned(), offered, backlog_records: offered, heat: heat.to_vec(), ..Second::default() }
    }

    #[test]
    fn columns_add_up_and_end_where_the_next_begins() {
        let timeline: Vec<Second> = (0..10).map(|n| second(f64::from(n) * 0.1, "base", 10, &[(125.9, 9), (1000.0, 1)])).collect();
        let columns = columns(&timeline, 4);
        assert_eq!(columns.len(), 4);
        assert_eq!(columns.iter().map(|column| column.offered).sum::<u64>(), 100);
        assert!((columns[0].until_s - columns[1].from_s).abs() < 1e-9 && (columns[3].until_s - 1.0).abs() < 1e-9);
        assert_eq!((columns[0].heat.as_slice(), columns[0].backlog_records), (&[(125.9, 27), (1000.0, 3)][..], 10));
        assert_eq!((columns[0].quantile_us(0.5), columns[0].quantile_us(0.99)), (Some(125.9), Some(1000.0)));
    }

    #[test]
    fn phases_are_stretches() {
        let timeline =
            [second(2.0, "hold", 1, &[]), second(0.0, "base", 1, &[]), second(1.0, "base", 1, &[]), second(3.0, "base", 1, &[])];
        let spans: Vec<(String, f64, f64)> =
            phases(&timeline).into_iter().map(|phase| (phase.name, phase.from_s, phase.until_s)).collect();
        assert_eq!(spans, [("base".into(), 0.0, 2.0), ("hold".into(), 2.0, 3.0), ("base".into(), 3.0, 4.0)]);
    }

    #[test]
    fn nonsense_is_no_catastrophe() {
        let wild = [second(5.0, "a", u64::MAX, &[(1.0, u64::MAX)]), second(5.0, "a", 7, &[(1.0, 1), (-3.0, 0)])];
        assert_eq!(columns(&wild, 1)[0].offered, u64::MAX);
        assert_eq!(columns(&wild, 1)[0].quantile_us(0.5), Some(1.0));
        assert!(columns(&[], 0).is_empty() && phases(&[]).is_empty());
    }
}
