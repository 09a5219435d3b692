use crate::testing::{Desk, commit, group_id, tp};
use crate::*;
use sluice_model::Offset;

#[test]
fn offsets_are_answered_in_the_order_of_the_request() {
    let mut desk = Desk::new(&[3]);
    let fetch = |partitions: Vec<_>| FetchOffsets { group_id: group_id(), partitions };
    let unknown = desk.coordinator.on_fetch_offsets(&fetch(vec![tp(1, 0)]));
    assert_eq!(unknown, Err(Refusal::UnknownGroup { group_id: group_id() }));
    desk.join("a", &["t1"]);
    desk.commits("a", 1, &[commit(tp(1, 0), 5), commit(tp(1, 2), 7)]);
    let decision = desk.coordinator.on_fetch_offsets(&fetch(vec![tp(1, 2), tp(1, 1), tp(1, 0)])).unwrap();
    let Some(Answer::Offsets(offsets)) = &decision.answer else { panic!("{decision:?}") };
    let offsets: Vec<_> = offsets.iter().map(|(id, committed)| (*id, committed.as_ref().map(|c| c.offset))).collect();
    assert_eq!(offsets, [(tp(1, 2), Some(Offset(7))), (tp(1, 1), None), (tp(1, 0), Some(Offset(5)))]);
    // It shows the commit: it waits for it.
    let effects = desk.coordinator.on_appended(desk.now(), decision);
    assert!(matches!(effects[..], [Effect::Answer { after: BatchNumber(2), .. }]), "{effects:?}");
    let many = desk.coordinator.on_fetch_offsets(&fetch(vec![tp(1, 0); 2049]));
    assert_eq!(many, Err(Refusal::TooManyAtOnce { got: 2049, max: 2048 }));
}
