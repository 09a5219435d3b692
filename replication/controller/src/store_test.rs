//! Power cuts under every kind of change.

use super::*;
use crate::codec::SnapshotMetaRow;
use crate::raft_types::RaftSnapshotMeta;
use crate::store::StateRow;

fn entry(index: u64, base: u64) -> (u64, Vec<u8>) {
    let log_id = LogIdRow { term: 3, node: 2, index };
    (index, EntryRow { log_id, payload: PayloadRow::Batch { base, batch: vec![7; 3000] } }.encode())
}

/// Whatever a node writes: a vote, entries, entries in the place of others, a snapshot with what it stands for.
fn kinds() -> [Change; 4] {
    let snapshot = (SnapshotMetaRow::from(&RaftSnapshotMeta::default()), vec![9; 40_000]);
    [
        Change::default(),
        Change { append: vec![entry(4, 2), entry(5, 3)], ..Change::default() },
        Change { truncate_from: Some(2), append: vec![entry(2, 0)], ..Change::default() },
        Change { purge_to: Some(2), snapshot: Some(snapshot), cluster_id: Some(CLUSTER), ..Change::default() },
    ]
}

fn content(disk: &FakeDisk) -> (StateRow, Vec<(u64, Vec<u8>)>, Meta) {
    let store = Store::open(disk.clone()).unwrap();
    (store.state().unwrap(), store.entries(0..u64::MAX, false).unwrap(), store.meta().unwrap())
}

#[test]
fn power_cut_at_every_write_of_any_change_leaves_all_of_it_or_nothing() {
    for (kind, change) in kinds().iter().enumerate() {
        let mut outcomes = BTreeMap::new();
        for (writes, kept) in (0..24).flat_map(|writes| (0..4).map(move |kept| (writes, kept))) {
            let disk = prepared();
            let before = content(&disk);
            let store = Store::open(disk.clone()).unwrap();
            let state = StateRow { change: before.0.change + 1, ..before.0 };
            disk.fail_after(Some(writes));
            let answer = store.change(change, &state);
            disk.cut_power(survives(kept));
            drop(store);
            let after = content(&disk);
            let there = after.0.change == state.change;
            assert!(there || after == before, "kind {kind}, {writes} writes, kept {kept}: neither before nor after");
            assert!(there || answer.is_err(), "kind {kind}: answered and lost: {writes} writes, kept {kept}");
            *outcomes.entry((answer.is_ok(), there)).or_insert(0) += 1;
        }
        assert!(outcomes.contains_key(&(false, false)) && outcomes.contains_key(&(true, true)), "kind {kind}: {outcomes:?}");
    }
}
