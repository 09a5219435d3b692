//! The known name that somebody most likely meant.

/// The candidate with the fewest edits to `name` (letter case does not count), the earlier of equals; `None` when even
/// that one has little to do with it.
#[must_use]
pub fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    const NAME_LEN_MAX: usize = 64;
    if name.len() > NAME_LEN_MAX {
        return None;
    }
    let edits_max = (name.chars().count() / 2).max(1);
    let best = candidates.into_iter().map(|c| (edit_distance(name, c), c)).min_by_key(|&(edits, _)| edits)?;
    (best.0 <= edits_max).then_some(best.1)
}

/// Insertions, deletions and replacements of one letter that lead from `a` to `b` (Levenshtein).
fn edit_distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.to_lowercase().chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.to_lowercase().chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, &to) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(from != to);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances() {
        for (a, b, edits) in
            [("", "", 0), ("", "abc", 3), ("abc", "", 3), ("kitten", "sitting", 3), ("Same", "same", 0), ("ab", "ba", 2)]
        {
            assert_eq!(edit_distance(a, b), edits, "{a} to {b}");
        }
    }

    #[test]
    fn the_nearest_is_named_and_nonsense_is_not() {
        let keys = ["segment_len", "retention_ms", "retention_bytes"];
        for (name, expected) in [
            ("segment-len", Some("segment_len")),
            ("retention.ms", Some("retention_ms")),
            ("retentionbytes", Some("retention_bytes")),
            ("colour", None),
            ("", None),
        ] {
            assert_eq!(nearest(name, keys), expected, "{name}");
        }
        assert_eq!(nearest(&"x".repeat(100_000), keys), None);
    }
}
