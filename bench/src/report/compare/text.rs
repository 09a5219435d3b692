//! A comparison in a terminal: what is beyond noise first, then all of it.

use std::fmt;

use super::{Basis, Change, Comparison, Side, Verdict};
use crate::report::figures;
use crate::report::grid::{Grid, Kind};
use crate::spread::Spread;

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "before: {}\nafter:  {}", side(&self.before), side(&self.after))?;
        for warning in &self.warnings {
            writeln!(f, "Warning: {warning}")?;
        }
        if !self.warnings.is_empty() {
            writeln!(f, "The two were not made alike: ratios to the yardsticks of each are compared, not the figures.")?;
        }
        writeln!(f, "\n{}", summary(&self.changes))?;
        writeln!(f, "Rule: {}.\n", self.rule.replace(", with", ",\n      with"))?;
        if !self.changes.is_empty() {
            writeln!(f, "{}", table(&self.changes).to_text())?;
        }
        for (note, of) in notes(&self.changes) {
            writeln!(f, " Note: {note}: {of}")?;
        }
        self.only_before.iter().try_for_each(|name| writeln!(f, " only before: {name}"))?;
        self.only_after.iter().try_for_each(|name| writeln!(f, " only after: {name}"))
    }
}

/// Each different note once, with what it is about.
fn notes(changes: &[Change]) -> Vec<(&str, String)> {
    let mut notes: Vec<(&str, Vec<String>)> = Vec::new();
    for change in changes {
        let Some(note) = change.note.as_deref() else { continue };
        let about = format!("{} of {}", change.workload, change.system);
        match notes.iter_mut().find(|(known, _)| *known == note) {
            Some((_, abouts)) if abouts.contains(&about) => {}
            Some((_, abouts)) => abouts.push(about),
            None => notes.push((note, vec![about])),
        }
    }
    notes.into_iter().map(|(note, abouts)| (note, abouts.join("; "))).collect()
}

/// `2 better, 1 worse beyond noise; 9 within noise; 1 not to be compared`.
fn summary(changes: &[Change]) -> String {
    let count = |verdict: Verdict| changes.iter().filter(|change| change.verdict == verdict).count();
    if changes.is_empty() {
        return "Nothing to compare: the two runs have no result in common.".to_owned();
    }
    let (better, worse) = (count(Verdict::Better), count(Verdict::Worse));
    let mut text = match (better, worse) {
        (0, 0) => "No change beyond noise".to_owned(),
        _ => format!("Beyond noise: {better} better, {worse} worse"),
    };
    for (verdict, words) in [
        (Verdict::WithinNoise, "within noise"),
        (Verdict::TooFewRounds, "of too few rounds"),
        (Verdict::NotComparable, "not to be compared"),
    ] {
        if count(verdict) > 0 {
            text.push_str(&format!("; {} {words}", count(verdict)));
        }
    }
    text + "."
}

/// Changes beyond noise on top, the largest first; the others as they were measured.
fn table(changes: &[Change]) -> Grid {
    let mut grid = Grid::new(&[
        ("workload", Kind::Text),
        ("system", Kind::Text),
        ("figure", Kind::Text),
        ("before", Kind::Number),
        ("range", Kind::Number),
        ("after", Kind::Number),
        ("range", Kind::Number),
        ("change", Kind::Number),
        ("", Kind::Text),
    ]);
    let beyond = |change: &&Change| matches!(change.verdict, Verdict::Better | Verdict::Worse);
    let mut first: Vec<&Change> = changes.iter().filter(beyond).collect();
    let size = |change: &Change| change.change.map_or(f64::INFINITY, |change| change.abs());
    first.sort_by(|a, b| size(b).total_cmp(&size(a)));
    first.extend(changes.iter().filter(|change| !beyond(change)));
    for change in first {
        let median = |spread: Option<Spread>| spread.map(|spread| figure(change, spread.median)).unwrap_or_default();
        let range = |spread: Option<Spread>| spread.map(|spread| range(change, spread)).unwrap_or_default();
        grid.push(vec![
            change.workload.clone(),
            change.system.clone(),
            name(change),
            median(change.before),
            range(change.before),
            median(change.after),
            range(change.after),
            change.change.map(|change| format!("{:+.1} %", change * 100.0)).unwrap_or_default(),
            verdict(change.verdict).to_owned(),
        ]);
    }
    grid.without_empty_columns()
}

fn name(change: &Change) -> String {
    let name = match change.figure {
        "end_to_end_p99" => "end-to-end p99",
        "throughput" => "MB/s",
        "reached" => "reached/s",
        other => other,
    };
    if change.basis == Basis::Ratio { format!("{name} ratio") } else { name.to_owned() }
}

fn figure(change: &Change, figure: f64) -> String {
    match change.unit {
        "us" => figures::latency(figure),
        "ratio" => figures::ratio(figure),
        "per_s" => figures::count(figure),
        _ => figures::significant(figure),
    }
}

fn range(change: &Change, spread: Spread) -> String {
    match change.unit {
        "us" => figures::latency_range(spread.min, spread.max),
        "per_s" => format!("{}–{}", figures::count(spread.min), figures::count(spread.max)),
        _ => figures::range(spread),
    }
}

fn verdict(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Better => "BETTER",
        Verdict::Worse => "WORSE",
        Verdict::WithinNoise => "noise",
        Verdict::TooFewRounds => "too few rounds",
        Verdict::NotComparable => "not comparable",
    }
}

fn side(side: &Side) -> String {
    let commit = side.commit.as_deref().map_or("unknown sources".to_owned(), |commit| commit.chars().take(12).collect());
    format!("{}, {} build of {commit}", side.started_at, side.build)
}
