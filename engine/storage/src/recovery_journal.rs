//! From the groups that were found to what recovery does with each, in order: the decision table applied.
//!
//! Deliberately absent: I/O, and what the groups contain.

use crate::journal_scan::{FoundGroup, named_durable};
use crate::recovery_decision::{Evidence, KnownDurable, Verdict, decide};
use crate::recovery_report::LostGroups;

/// One thing to do, in order of sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// The group's header is good: replay its entries. When its body turns out not to be, those that prove themselves
    /// ([`judge_body`]).
    Replay(FoundGroup),
    /// These groups may have been acknowledged and are gone, nothing of them can be read.
    Lost(LostGroups),
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct JournalPlan {
    pub(crate) steps: Vec<Step>,
    /// A group was begun, is not whole, and nothing names it durable: cut off.
    pub(crate) torn_group_cut: bool,
    /// The last group is an idle marker: all before it is known durable, and nothing was cut.
    pub(crate) ends_marked: bool,
    /// Above every sequence that was found or named.
    pub(crate) next_sequence: u64,
    /// Groups up to this one are named durable by later ones; 0 when none is.
    pub(crate) named: u64,
}

/// Judges the groups found (by sequence, each once, none below `from_sequence`).
pub(crate) fn plan_replay(groups: &[FoundGroup], from_sequence: u64) -> JournalPlan {
    let named = named_durable(groups);
    let mut plan = JournalPlan { next_sequence: from_sequence.max(named.saturating_add(1)), named, ..JournalPlan::default() };
    let mut expected = from_sequence;
    let mut previous: Option<&FoundGroup> = None;
    for group in groups {
        plan.next_sequence = plan.next_sequence.max(group.header.sequence.saturating_add(1));
        if group.header.sequence > expected && !plan.on_missing(expected, group.header.sequence - 1, named) {
            break;
        }
        let follows = previous.is_none_or(|previous| previous.header.sequence + 1 == group.header.sequence)
            && (previous.is_some() || group.header.sequence == from_sequence)
            && previous.is_none_or(|previous| previous.header_crc == group.header.prev_group_crc);
        let evidence = Evidence {
            header_ok: true,
            body_ok: group.body_ok,
            chain_follows: follows,
            durable: known(group.header.sequence, named),
        };
        match decide(evidence) {
            Verdict::Keep | Verdict::Replay | Verdict::Damaged => plan.steps.push(Step::Replay(*group)),
            Verdict::Truncate => {
                plan.torn_group_cut = true;
                break;
            }
        }
        plan.ends_marked = group.header.entry_count == 0;
        expected = group.header.sequence.saturating_add(1);
        previous = Some(group);
    }
    if plan.torn_group_cut {
        plan.ends_marked = false;
    } else if expected <= named {
        plan.on_missing(expected, named, named);
    }
    plan
}

impl JournalPlan {
    /// Groups from `first` to `last` have no header. Gives back whether those behind them count.
    fn on_missing(&mut self, first: u64, last: u64, named: u64) -> bool {
        let evidence = Evidence { header_ok: false, body_ok: false, chain_follows: false, durable: known(last, named) };
        if decide(evidence) == Verdict::Damaged {
            self.steps.push(Step::Lost(LostGroups { first_sequence: first, last_sequence: last }));
            return true;
        }
        self.torn_group_cut = true;
        false
    }
}

/// What to make of a group's body once it is read. Only groups that are whole, or named durable, come to that.
pub(crate) fn judge_body(body_ok: bool) -> Verdict {
    decide(Evidence { header_ok: true, body_ok, chain_follows: true, durable: KnownDurable::Named })
}

fn known(sequence: u64, named: u64) -> KnownDurable {
    if sequence <= named { KnownDurable::Named } else { KnownDurable::No }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commit_group::GroupHeader;
    use crate::journal_ring::Placement;

    /// Group `sequence`, named after the one before; its checksum is ten times its sequence.
    fn group(sequence: u64) -> FoundGroup {
        let crc = |sequence: u64| u32::try_from(sequence * 10).unwrap();
        let header = GroupHeader {
            sequence,
            durable_sequence: sequence - 1,
            prev_group_crc: crc(sequence - 1),
            entry_count: 1,
            ..GroupHeader::default()
        };
        FoundGroup {
            header,
            header_crc: crc(sequence),
            body_ok: true,
            named_within: 0,
            placement: Placement { file: 0, position: sequence * 4096 },
        }
    }

    fn torn(sequence: u64) -> FoundGroup {
        FoundGroup { body_ok: false, ..group(sequence) }
    }

    fn marker(sequence: u64) -> FoundGroup {
        let mut marker = group(sequence);
        marker.header.entry_count = 0;
        marker
    }

    fn lost(first_sequence: u64, last_sequence: u64) -> Step {
        Step::Lost(LostGroups { first_sequence, last_sequence })
    }

    #[test]
    fn an_empty_journal_is_the_end_of_one() {
        let plan = plan_replay(&[], 7);
        assert_eq!(plan, JournalPlan { next_sequence: 7, ..JournalPlan::default() });
    }

    #[test]
    fn good_groups_are_replayed_in_order() {
        let plan = plan_replay(&[group(7), group(8), group(9)], 7);
        assert_eq!(plan.steps, [Step::Replay(group(7)), Step::Replay(group(8)), Step::Replay(group(9))]);
        assert_eq!((plan.torn_group_cut, plan.ends_marked, plan.next_sequence), (false, false, 10));
        assert!(plan_replay(&[group(7), marker(8)], 7).ends_marked);
    }

    #[test]
    fn a_torn_end_is_cut_unless_it_is_named_durable() {
        let plan = plan_replay(&[group(7), torn(8)], 7);
        assert_eq!(
            (plan.steps.as_slice(), plan.torn_group_cut, plan.next_sequence),
            ([Step::Replay(group(7))].as_slice(), true, 9)
        );
        let plan = plan_replay(&[group(7), torn(8), marker(9)], 7);
        assert_eq!(plan.steps, [Step::Replay(group(7)), Step::Replay(torn(8)), Step::Replay(marker(9))]);
        assert!(!plan.torn_group_cut && plan.ends_marked);
    }

    #[test]
    fn a_torn_group_is_witness_for_those_before_it() {
        let plan = plan_replay(&[torn(7), torn(8)], 7);
        assert_eq!((plan.steps.as_slice(), plan.torn_group_cut), ([Step::Replay(torn(7))].as_slice(), true));
    }

    #[test]
    fn a_marker_within_a_torn_group_names_it_durable() {
        let spoilt = FoundGroup { named_within: 8, ..torn(8) };
        let plan = plan_replay(&[group(7), spoilt], 7);
        assert_eq!((plan.steps, plan.torn_group_cut), (vec![Step::Replay(group(7)), Step::Replay(spoilt)], false));
        // It lies across the end of one group and the header of the next.
        let spoilt = FoundGroup { named_within: 9, ..group(8) };
        let plan = plan_replay(&[group(7), spoilt], 7);
        assert_eq!((plan.steps, plan.next_sequence), (vec![Step::Replay(group(7)), Step::Replay(spoilt), lost(9, 9)], 10));
    }

    #[test]
    fn missing_groups_that_were_named_durable_are_lost_not_forgotten() {
        let plan = plan_replay(&[group(9), group(12)], 7);
        assert_eq!(plan.steps, [lost(7, 8), Step::Replay(group(9)), lost(10, 11), Step::Replay(group(12))]);
        assert!(!plan.torn_group_cut, "the last one is whole and may have been acknowledged");
    }

    #[test]
    fn what_follows_a_hole_that_nobody_names_durable_does_not_count() {
        // Two groups in flight, the second of which arrived: neither was acknowledged.
        let mut second = group(9);
        second.header.durable_sequence = 7;
        let plan = plan_replay(&[group(7), second], 7);
        assert_eq!((plan.steps.as_slice(), plan.torn_group_cut), ([Step::Replay(group(7))].as_slice(), true));
        assert_eq!(plan.next_sequence, 10);
    }
}
