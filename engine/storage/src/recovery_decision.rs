//! The one table that recovery decides by.
//!
//! Bytes that a device gives back are judged by four questions, and by nothing else. The expensive mistake is to
//! cut off what may have been acknowledged: only what nothing names durable is ever cut. The opposite mistake, to
//! serve what cannot be proved, is the reason that damage is quarantined rather than skipped.

/// What is known about a group of the journal, or a frame of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Evidence {
    /// A header is there and its checksum agrees.
    pub header_ok: bool,
    /// All bytes behind it are there and their checksum agrees. False without a header.
    pub body_ok: bool,
    /// It names the one before it, and that one is there. False without a header.
    pub chain_follows: bool,
    pub durable: KnownDurable,
}

/// Who says that it was durable before the restart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KnownDurable {
    /// Nobody: it may never have been acknowledged.
    No,
    /// A later group (or idle marker) of this incarnation, by its durable sequence.
    Named,
    /// The checkpoint: it lies below the recovery point, in a segment.
    Checkpointed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is good and where it belongs.
    Keep,
    /// It is good and has to be put into segments. After a gap, frames are further judged by their own chain.
    Replay,
    /// The torn end: it and all behind it go.
    Truncate,
    /// It may have been acknowledged and cannot be proved good: quarantine the range, serve the rest, say so.
    Damaged,
}

/// Every row: (header ok, body ok, chain follows, known durable) and the verdict.
pub const DECISION_TABLE: [(Evidence, Verdict); 24] = {
    use KnownDurable::{Checkpointed, Named, No};
    use Verdict::{Damaged, Keep, Replay, Truncate};
    [
        // Whole and in its place.
        row(true, true, true, No, Replay),
        row(true, true, true, Named, Replay),
        row(true, true, true, Checkpointed, Keep),
        // Whole, after a gap. In the journal the group proves itself by checksum, incarnation and sequence, and may
        // have been acknowledged; the gap has its own row, and where that one cuts, this one is never asked for. In
        // a segment the chain is the proof that is missing.
        row(true, true, false, No, Replay),
        row(true, true, false, Named, Replay),
        row(true, true, false, Checkpointed, Damaged),
        // Begun and not whole: torn, unless someone knows that it was whole.
        row(true, false, true, No, Truncate),
        row(true, false, true, Named, Damaged),
        row(true, false, true, Checkpointed, Damaged),
        row(true, false, false, No, Truncate),
        row(true, false, false, Named, Damaged),
        row(true, false, false, Checkpointed, Damaged),
        // Nothing that can be read: the end of what was written, unless someone knows better.
        row(false, true, true, No, Truncate),
        row(false, true, true, Named, Damaged),
        row(false, true, true, Checkpointed, Damaged),
        row(false, true, false, No, Truncate),
        row(false, true, false, Named, Damaged),
        row(false, true, false, Checkpointed, Damaged),
        row(false, false, true, No, Truncate),
        row(false, false, true, Named, Damaged),
        row(false, false, true, Checkpointed, Damaged),
        row(false, false, false, No, Truncate),
        row(false, false, false, Named, Damaged),
        row(false, false, false, Checkpointed, Damaged),
    ]
};

/// Looks up the row.
#[must_use]
pub fn decide(evidence: Evidence) -> Verdict {
    #[cfg(test)]
    row_tests::note(evidence);
    let found = DECISION_TABLE.iter().find(|(row, _)| *row == evidence);
    found.expect("the table has a row for every combination, which a test walks").1
}

const fn row(
    header_ok: bool,
    body_ok: bool,
    chain_follows: bool,
    durable: KnownDurable,
    verdict: Verdict,
) -> (Evidence, Verdict) {
    (Evidence { header_ok, body_ok, chain_follows, durable }, verdict)
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn rows() -> impl Iterator<Item = Evidence> {
        let bits = [false, true];
        bits.into_iter().flat_map(move |header_ok| {
            bits.into_iter().flat_map(move |body_ok| {
                bits.into_iter().flat_map(move |chain_follows| {
                    [KnownDurable::No, KnownDurable::Named, KnownDurable::Checkpointed].map(|durable| Evidence {
                        header_ok,
                        body_ok,
                        chain_follows,
                        durable,
                    })
                })
            })
        })
    }

    #[test]
    fn every_combination_has_exactly_one_row() {
        for evidence in rows() {
            assert_eq!(DECISION_TABLE.iter().filter(|(row, _)| *row == evidence).count(), 1, "{evidence:?}");
        }
        assert_eq!(rows().count(), DECISION_TABLE.len());
    }

    #[test]
    fn what_may_have_been_acknowledged_is_never_cut_and_what_is_not_whole_never_served() {
        for evidence in rows() {
            let verdict = decide(evidence);
            if evidence.durable != KnownDurable::No {
                assert_ne!(verdict, Verdict::Truncate, "{evidence:?}");
            }
            let whole = evidence.header_ok && evidence.body_ok;
            assert_eq!(
                whole,
                matches!(verdict, Verdict::Keep | Verdict::Replay) || verdict == Verdict::Damaged && whole,
                "{evidence:?}"
            );
            if verdict == Verdict::Keep {
                assert_eq!(evidence.durable, KnownDurable::Checkpointed);
            }
        }
    }
}

#[cfg(test)]
#[path = "recovery_rows_test.rs"]
mod row_tests;
