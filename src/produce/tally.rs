//! What became of every line that `produce` sent, in bounded memory: counts, and the ranges of lines that were not
//! acknowledged.

use std::collections::BTreeMap;
use std::fmt::Write as _;

/// Ranges kept by number; of any beyond, only the count.
const RANGES_MAX: usize = 10_000;
/// Ranges printed.
const RANGES_SHOWN: usize = 20;

/// Line numbers as runs without gaps. Lines may come in any order that is nearly ascending.
#[derive(Debug, Default)]
pub(crate) struct LineSet {
    /// First line of a run to its last.
    runs: BTreeMap<u64, u64>,
    count: u64,
}

impl LineSet {
    pub(crate) fn insert(&mut self, line: u64) {
        self.count += 1;
        let before = self.runs.range(..line).next_back().map(|(&first, &last)| (first, last));
        let joins_before = before.filter(|&(_, last)| last + 1 == line).map(|(first, _)| first);
        let after = self.runs.get(&(line + 1)).copied();
        if after.is_some() {
            self.runs.remove(&(line + 1));
        }
        match joins_before {
            Some(first) => self.runs.insert(first, after.unwrap_or(line)),
            None if after.is_some() || self.runs.len() < RANGES_MAX => self.runs.insert(line, after.unwrap_or(line)),
            None => None,
        };
    }

    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    /// `7, 9-12, 40 and 3 more ranges`.
    pub(crate) fn describe(&self) -> String {
        let mut text = String::new();
        for (&first, &last) in self.runs.iter().take(RANGES_SHOWN) {
            let separator = if text.is_empty() { "" } else { ", " };
            let range = if first == last { first.to_string() } else { format!("{first}-{last}") };
            let _ = write!(text, "{separator}{range}");
        }
        if self.runs.len() > RANGES_SHOWN {
            let more = self.runs.len() - RANGES_SHOWN;
            let _ = write!(text, " and {more}{} more ranges", if self.runs.len() == RANGES_MAX { " or" } else { "" });
        }
        text
    }
}

/// The outcome of every line.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) sent: u64,
    pub(crate) acknowledged: u64,
    /// Certainly not written.
    pub(crate) refused: LineSet,
    /// May or may not be written.
    pub(crate) unknown: LineSet,
    /// Why the first line that was not acknowledged was not.
    pub(crate) first_reason: Option<(u64, String)>,
}

impl Tally {
    pub(crate) fn note_reason(&mut self, line: u64, reason: impl FnOnce() -> String) {
        if self.first_reason.is_none() {
            self.first_reason = Some((line, reason()));
        }
    }

    pub(crate) fn is_complete(&self) -> bool {
        self.acknowledged == self.sent
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn described(lines: impl IntoIterator<Item = u64>) -> String {
        let mut set = LineSet::default();
        lines.into_iter().for_each(|line| set.insert(line));
        set.describe()
    }

    #[test]
    fn lines_are_shown_as_ranges() {
        assert_eq!(described([7]), "7");
        assert_eq!(described([1, 2, 3, 7, 9, 10]), "1-3, 7, 9-10");
        assert_eq!(described([10, 9, 7, 8, 3]), "3, 7-10");
        assert_eq!(described([]), "");
    }

    #[test]
    fn many_ranges_are_bounded_and_counted() {
        assert!(described((0..50).map(|n| n * 2)).ends_with(", 38 and 30 more ranges"));
        let mut set = LineSet::default();
        (0..3 * RANGES_MAX as u64).for_each(|n| set.insert(n * 2));
        assert_eq!(set.count(), 3 * RANGES_MAX as u64);
        assert_eq!(set.runs.len(), RANGES_MAX);
        assert!(set.describe().ends_with("or more ranges") || set.describe().contains(" or more ranges"), "{}", set.describe());
    }
}
