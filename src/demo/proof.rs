//! The proof of the demo: every acknowledged record came back exactly once, unaltered, in order per key, and nothing
//! that was refused came back at all.
//!
//! The expensive mistake is a proof that cannot fail, so it judges only what the consumer read (`Consumed`) against
//! what the producer was told (`Outcomes`); neither side knows of the other before `judge`. A record whose outcome
//! is unknown may be there once or not at all.

use super::load::{Content, KEY_COUNT};
use serde::Serialize;

/// What the producer was told of one record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Told {
    /// Not offered, or not answered.
    Nothing,
    Acknowledged,
    Refused,
    Unknown,
}

/// What the producer was told of every record, by id.
pub(crate) struct Outcomes {
    told: Vec<Told>,
}

impl Outcomes {
    pub(crate) fn new(total: u64) -> Self {
        Self { told: vec![Told::Nothing; usize::try_from(total).expect("a demo fits in memory")] }
    }

    /// Each record is told about once.
    pub(crate) fn tell(&mut self, id: u64, told: Told) {
        let slot = &mut self.told[index(id)];
        assert!(*slot == Told::Nothing, "record {id} was {slot:?} and is told to be {told:?}");
        *slot = told;
    }

    pub(crate) fn count(&self, told: Told) -> u64 {
        self.told.iter().filter(|&&each| each == told).count() as u64
    }
}

/// What the consumer read.
pub(crate) struct Consumed {
    times: Vec<u8>,
    next_sequence: Vec<u64>,
    out_of_order: Examples,
    altered: Examples,
}

impl Consumed {
    pub(crate) fn new(total: u64) -> Self {
        let total = usize::try_from(total).expect("a demo fits in memory");
        let keys = usize::try_from(KEY_COUNT).expect("a constant that fits");
        Self {
            times: vec![0; total],
            next_sequence: vec![0; keys],
            out_of_order: Examples::default(),
            altered: Examples::default(),
        }
    }

    /// Notes a record, `None` when its bytes are not those of any record of the load; `at` says where it was read.
    pub(crate) fn note(&mut self, content: Option<Content>, at: impl FnOnce() -> String) {
        let known = content.filter(|content| index(content.id) < self.times.len() && content.sequence == content.id / KEY_COUNT);
        let Some(content) = known else {
            return self.altered.add(at);
        };
        let times = &mut self.times[index(content.id)];
        *times = times.saturating_add(1);
        let next = &mut self.next_sequence[index(content.id % KEY_COUNT)];
        // A duplicate is counted as one, not as disorder too.
        if content.sequence < *next && *times == 1 {
            self.out_of_order.add(at);
        }
        *next = (*next).max(content.sequence + 1);
    }
}

/// A count and the first few of what was counted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Examples {
    pub(crate) count: u64,
    pub(crate) first: Vec<String>,
}

impl Examples {
    fn add(&mut self, example: impl FnOnce() -> String) {
        self.count += 1;
        if self.first.len() < 5 {
            self.first.push(example());
        }
    }
}

/// The result, with examples of every way in which it failed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Verdict {
    pub(crate) acknowledged: u64,
    pub(crate) consumed_exactly_once: u64,
    pub(crate) missing: Examples,
    pub(crate) twice: Examples,
    pub(crate) out_of_order: Examples,
    pub(crate) altered: Examples,
    pub(crate) refused_yet_there: Examples,
    pub(crate) never_answered_yet_there: Examples,
}

impl Verdict {
    pub(crate) fn holds(&self) -> bool {
        self.failures().is_empty()
    }

    /// What failed, in words.
    pub(crate) fn failures(&self) -> Vec<String> {
        [
            ("acknowledged and missing", &self.missing),
            ("consumed more than once", &self.twice),
            ("out of order within their key", &self.out_of_order),
            ("altered or never offered", &self.altered),
            ("refused and yet there", &self.refused_yet_there),
            ("never answered and yet there", &self.never_answered_yet_there),
        ]
        .into_iter()
        .filter(|(_, examples)| examples.count > 0)
        .map(|(what, examples)| format!("{} {what}, such as {}", examples.count, examples.first.join(", ")))
        .collect()
    }
}

/// Judges what was read against what was told.
pub(crate) fn judge(outcomes: &Outcomes, consumed: &Consumed) -> Verdict {
    let mut verdict =
        Verdict { out_of_order: consumed.out_of_order.clone(), altered: consumed.altered.clone(), ..Verdict::default() };
    for (id, (&told, &times)) in outcomes.told.iter().zip(&consumed.times).enumerate() {
        let example = || format!("record {id}");
        verdict.acknowledged += u64::from(told == Told::Acknowledged);
        match (told, times) {
            (Told::Acknowledged, 1) => verdict.consumed_exactly_once += 1,
            (Told::Acknowledged, 0) => verdict.missing.add(example),
            (Told::Refused, 1..) => verdict.refused_yet_there.add(example),
            (Told::Nothing, 1..) => verdict.never_answered_yet_there.add(example),
            (_, 2..) => verdict.twice.add(example),
            (Told::Unknown, 0..=1) | (Told::Refused | Told::Nothing, 0) => {}
        }
    }
    verdict
}

fn index(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn content(id: u64) -> Option<Content> {
        Some(Content { id, sequence: id / KEY_COUNT })
    }

    fn run(told: &[(u64, Told)], read: &[Option<Content>]) -> Verdict {
        let total = 3 * KEY_COUNT;
        let (mut outcomes, mut consumed) = (Outcomes::new(total), Consumed::new(total));
        for &(id, told) in told {
            outcomes.tell(id, told);
        }
        for &content in read {
            consumed.note(content, || "offset 7".to_owned());
        }
        judge(&outcomes, &consumed)
    }

    #[test]
    fn what_was_acknowledged_and_read_once_in_order_holds() {
        let (a, b, c) = (5, 5 + KEY_COUNT, 5 + 2 * KEY_COUNT);
        let verdict = run(
            &[(a, Told::Acknowledged), (b, Told::Refused), (c, Told::Acknowledged), (9, Told::Unknown), (10, Told::Unknown)],
            &[content(a), content(9), content(c)],
        );
        assert!(verdict.holds(), "{verdict:?}");
        assert_eq!((verdict.acknowledged, verdict.consumed_exactly_once), (2, 2));
    }

    #[test]
    fn every_way_to_fail_fails() {
        let (a, b) = (5, 5 + KEY_COUNT);
        let both = [(a, Told::Acknowledged), (b, Told::Acknowledged)];
        for (told, read, what) in [
            (&both[..], vec![content(a)], "missing"),
            (&both[..], vec![content(a), content(b), content(b)], "more than once"),
            (&both[..], vec![content(b), content(a)], "out of order"),
            (&both[..], vec![content(a), content(b), None], "altered"),
            (&both[..], vec![content(a), content(b), Some(Content { id: 9, sequence: 4 })], "altered"),
            (&both[..], vec![content(a), content(b), content(1 << 40)], "altered"),
            (&[(a, Told::Refused)], vec![content(a)], "refused"),
            (&[(a, Told::Unknown)], vec![content(a), content(a)], "more than once"),
            (&[], vec![content(a)], "never answered"),
        ] {
            let failures = run(told, &read).failures();
            assert!(failures.len() == 1 && failures[0].contains(what), "{what}: {failures:?}");
        }
    }

    #[test]
    #[should_panic(expected = "record 1 was Acknowledged")]
    fn a_record_is_told_about_once() {
        let mut outcomes = Outcomes::new(2);
        outcomes.tell(1, Told::Acknowledged);
        outcomes.tell(1, Told::Refused);
    }
}
