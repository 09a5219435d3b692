use super::*;
use crate::{LogPosition, LogState};

fn id() -> TopicPartition {
    TopicPartition::default()
}

fn wanted(offset: u64, flushed: u64) -> BTreeMap<TopicPartition, PartitionFetch> {
    let position = LogPosition { offset: Offset(offset), last_epoch: None, last_header_crc: 0 };
    let fetch = PartitionFetch { leader_epoch: LeaderEpoch(2), position, flushed: Offset(flushed), log_state: LogState::Whole };
    BTreeMap::from([(id(), fetch)])
}

#[test]
fn golden_table_of_flushes() {
    // With a fetch at 10 under epoch 2 outstanding that named 4 as flushed: epoch, flushed -> what is said
    let rows = [
        ((2, 4), None),
        ((2, 3), None),
        ((2, 7), Some(7)),
        // What is beyond the fetch, or was flushed under another epoch, the next fetch has to prove.
        ((2, 12), Some(10)),
        ((3, 7), None),
        ((1, 7), None),
    ];
    for ((epoch, flushed), expected) in rows {
        let mut session = FollowerSession::default();
        session.fetch(&wanted(10, 4)).unwrap();
        let request = session.flush([(id(), LeaderEpoch(epoch), Offset(flushed))]);
        assert_eq!(request.as_ref().map(|request| request.flushed[&id()].0), expected, "{epoch} {flushed}");
        assert!(request.is_none_or(|request| request.at == RequestNumber { session: 1, number: 1 }));
        assert_eq!(session.flush([(id(), LeaderEpoch(epoch), Offset(flushed))]), None, "said once");
    }
}

#[test]
fn one_fetch_is_outstanding_and_flushes_are_numbered_between() {
    let mut session = FollowerSession::default();
    let full = session.fetch(&wanted(10, 4)).unwrap();
    assert_eq!(session.fetch(&wanted(10, 4)), None);
    assert_eq!(session.flush([(id(), LeaderEpoch(2), Offset(6))]).unwrap().at.number, 1);
    assert!(session.on_answer(full.at));
    assert_eq!(session.flush([(id(), LeaderEpoch(2), Offset(7))]), None, "the next fetch says it");
    let next = session.fetch(&wanted(12, 7)).unwrap();
    assert_eq!((next.at.number, next.named), (2, wanted(12, 7)));
    assert!(session.on_answer(next.at));
    assert_eq!(session.fetch(&wanted(12, 7)).unwrap().named, BTreeMap::new(), "nothing has changed");
}

#[test]
fn when_nobody_knows_what_the_leader_knows_everything_is_named_in_another_session() {
    let mut session = FollowerSession::default();
    let first = session.fetch(&wanted(10, 4)).unwrap();
    assert!(session.on_lost(first.at.session));
    assert!(!session.on_answer(first.at), "the answer came after all");
    let second = session.fetch(&wanted(10, 4)).unwrap();
    assert_eq!((second.at, second.named), (RequestNumber { session: 2, number: 0 }, wanted(10, 4)));
    assert!(!session.on_lost(first.at.session), "a late \"full again\" of the one before");
    assert_eq!((session.id(), session.fetch(&wanted(10, 4))), (2, None));
}

#[test]
fn what_the_leader_has_refused_is_named_anew_or_forgotten() {
    let mut session = FollowerSession::default();
    let full = session.fetch(&wanted(10, 4)).unwrap();
    assert!(session.on_answer(full.at));
    session.on_refused(id());
    session.on_refused(TopicPartition { partition: sluice_model::PartitionIndex(7), ..id() });
    let again = session.fetch(&wanted(10, 4)).unwrap();
    assert_eq!((again.at.number, again.named, again.forgotten.len()), (1, wanted(10, 4), 0), "as it was");
    assert!(session.on_answer(again.at));
    assert_eq!(session.fetch(&wanted(10, 4)).unwrap().named, BTreeMap::new(), "once");
    let mut session = FollowerSession::default();
    let full = session.fetch(&wanted(10, 4)).unwrap();
    assert!(session.on_answer(full.at));
    session.on_refused(id());
    // It is left out for a while.
    let without = session.fetch(&BTreeMap::new()).unwrap();
    assert_eq!((without.named, without.forgotten), (BTreeMap::new(), [id()].into()));
    assert!(session.on_answer(without.at));
    assert_eq!(session.fetch(&wanted(10, 4)).unwrap().named, wanted(10, 4));
}
