//! How far the log is committed: the smallest flushed offset over the maximal in-sync set.

use crate::in_sync_set::InSyncSet;
use sluice_model::{BrokerId, Offset};

/// The high watermark that `flushed` allows, never below `current`. It stands still while the in-sync set is
/// smaller than `min_insync_replicas`; a member that has reported nothing (`None`) holds it at `current` too.
#[must_use]
pub fn advanced(
    current: Offset,
    isr: &InSyncSet,
    min_insync_replicas: u32,
    flushed: impl Fn(BrokerId) -> Option<Offset>,
) -> Offset {
    if !isr.satisfies(min_insync_replicas) {
        return current;
    }
    let held_by_all = isr.maximal().map(|broker| flushed(broker).unwrap_or(Offset::ZERO)).min();
    held_by_all.map_or(current, |offset| offset.max(current))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn golden_table() {
        // members, min in-sync, flushed offsets of brokers 1.., current -> expected
        type Row = (&'static [u32], u32, &'static [(u32, u64)], u64, u64);
        let rows: [Row; 6] = [
            (&[1], 1, &[(1, 10)], 4, 10),
            (&[1], 2, &[(1, 10)], 4, 4),
            (&[1, 2], 2, &[(1, 10), (2, 7)], 4, 7),
            (&[1, 2], 1, &[(1, 10)], 4, 4),
            (&[1, 2], 1, &[(1, 10), (2, 3)], 4, 4),
            (&[1], 1, &[(1, 10), (2, 3)], 4, 10),
        ];
        for (members, min, flushed, current, expected) in rows {
            let isr = InSyncSet::new(members.iter().map(|&b| BrokerId(b)).collect());
            let known: BTreeMap<_, _> = flushed.iter().map(|&(b, o)| (BrokerId(b), Offset(o))).collect();
            let advanced = advanced(Offset(current), &isr, min, |broker| known.get(&broker).copied());
            assert_eq!(advanced, Offset(expected), "{members:?} {min} {flushed:?}");
        }
    }

    #[test]
    fn a_member_that_may_join_holds_it_and_one_that_may_leave_counts_as_gone() {
        let flushed = |broker: BrokerId| Some(Offset([10, 8, 6][broker.0 as usize - 1]));
        let set = |members: &[u32]| members.iter().map(|&b| BrokerId(b)).collect();
        // proposed, min in-sync -> from 2
        let rows: [(&[u32], u32, u64); 4] = [(&[1, 2, 3], 2, 6), (&[1], 2, 2), (&[1], 1, 8), (&[1, 3], 2, 6)];
        for (proposed, min, expected) in rows {
            let mut isr = InSyncSet::new(set(&[1, 2]));
            isr.propose(0, set(proposed));
            assert_eq!(advanced(Offset(2), &isr, min, flushed), Offset(expected), "{proposed:?} {min}");
        }
    }
}
