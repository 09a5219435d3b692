//! How far the log is committed: the smallest flushed offset over the maximal in-sync set.

use crate::in_sync_set::InSyncSet;
use sluice_model::{BrokerId, Offset};
use std::collections::BTreeMap;

/// The high watermark that `flushed` allows, never below `current`. It stands still while the in-sync set is
/// smaller than `min_insync_replicas`; a member that has reported nothing holds it at `current` too.
#[must_use]
pub fn advanced(current: Offset, isr: &InSyncSet, min_insync_replicas: u32, flushed: &BTreeMap<BrokerId, Offset>) -> Offset {
    if !isr.satisfies(min_insync_replicas) {
        return current;
    }
    let held_by_all = isr.maximal().map(|broker| flushed.get(&broker).copied().unwrap_or(Offset::ZERO)).min();
    held_by_all.map_or(current, |offset| offset.max(current))
}

#[cfg(test)]
mod tests {
    use super::*;

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
            let flushed = flushed.iter().map(|&(b, o)| (BrokerId(b), Offset(o))).collect();
            assert_eq!(advanced(Offset(current), &isr, min, &flushed), Offset(expected), "{members:?} {min} {flushed:?}");
        }
    }
}
