use super::*;
use crate::session::follower::FollowerSession;
use crate::testing::incarnation;
use crate::{LogPosition, LogState};
use sluice_model::{BrokerId, LeaderEpoch, Offset, PartitionIndex, ShardIndex};

const FROM: FollowerShard = FollowerShard { broker: BrokerId(2), shard: ShardIndex(1) };

fn partition(index: u32) -> TopicPartition {
    TopicPartition { partition: PartitionIndex(index), ..TopicPartition::default() }
}

fn place(offset: u64) -> PartitionFetch {
    let position = LogPosition { offset: Offset(offset), last_epoch: None, last_header_crc: 0 };
    PartitionFetch { leader_epoch: LeaderEpoch(1), position, flushed: Offset(0), log_state: LogState::Whole }
}

fn request(session: u64, number: u64, named: &[(u32, u64)]) -> FetchRequest {
    let named = named.iter().map(|&(index, offset)| (partition(index), place(offset))).collect();
    FetchRequest { at: RequestNumber { session, number }, named, forgotten: Default::default() }
}

fn flush(session: u64, number: u64, index: u32) -> FlushRequest {
    FlushRequest { at: RequestNumber { session, number }, flushed: BTreeMap::from([(partition(index), Offset(5))]) }
}

#[derive(Clone, Debug)]
enum Step {
    Fetch(u64, FetchRequest),
    Flush(FlushRequest),
    Answered(u64, u64),
}

/// What the last step of a session came to: `None` where it was taken.
fn last(steps: &[Step]) -> Option<SessionRefusal> {
    let mut sessions = LeaderSessions::default();
    let mut refusal = None;
    for step in steps.iter().cloned() {
        refusal = match step {
            Step::Fetch(start, request) => sessions.on_fetch((FROM, incarnation(start)), request).err(),
            Step::Flush(request) => sessions.on_flush((FROM, incarnation(1)), &request).err(),
            Step::Answered(session, number) => {
                let was_parked = sessions.on_answered(FROM, RequestNumber { session, number }, []);
                (!was_parked).then_some(SessionRefusal::Stale)
            }
        };
    }
    refusal
}

#[test]
fn golden_table() {
    use SessionRefusal::{FullAgain, Stale};
    use Step::{Answered, Fetch, Flush};
    let full = |session| Fetch(1, request(session, 0, &[(0, 5), (1, 7)]));
    let next = |session, number| Fetch(1, request(session, number, &[(0, 6)]));
    let rows = [
        (vec![full(1)], None),
        (vec![next(1, 1)], Some(FullAgain)),
        (vec![full(1), Answered(1, 0), next(1, 1)], None),
        // A lost one, a repeated one, one that is overtaken.
        (vec![full(1), Answered(1, 0), next(1, 2)], Some(FullAgain)),
        (vec![full(1), Answered(1, 0), next(1, 1), Answered(1, 1), next(1, 1)], Some(FullAgain)),
        (vec![full(1), Answered(1, 0), next(1, 2), next(1, 1)], Some(FullAgain)),
        // The session is closed then, whatever number comes.
        (vec![full(1), Answered(1, 0), next(1, 2), next(1, 3)], Some(FullAgain)),
        (vec![full(1), Answered(1, 0), next(1, 2), full(2)], None),
        // A full request that comes late opens nothing.
        (vec![full(1), full(2), full(1)], Some(Stale)),
        (vec![full(2), Answered(2, 0), next(1, 1)], Some(Stale)),
        (vec![full(2), next(1, 1), Answered(2, 0), next(2, 1)], None),
        // Of another incarnation.
        (vec![full(3), Fetch(2, request(1, 0, &[]))], None),
        (vec![Fetch(2, request(1, 0, &[])), full(3)], Some(Stale)),
        (vec![full(1), Answered(1, 0), Fetch(2, request(1, 1, &[]))], Some(FullAgain)),
        // Flushes take numbers of their own and end no fetch.
        (vec![full(1), Flush(flush(1, 1, 0)), Flush(flush(1, 2, 1)), Answered(1, 0)], None),
        (vec![full(1), Flush(flush(1, 1, 0)), Answered(1, 0), next(1, 2)], None),
        (vec![full(1), Flush(flush(1, 1, 0)), Answered(1, 0), next(1, 1)], Some(FullAgain)),
        (vec![full(1), Flush(flush(1, 2, 0))], Some(FullAgain)),
        (vec![full(1), Flush(flush(1, 1, 9))], Some(FullAgain)),
        // Before the last one is answered no other fetch comes; no fetch is answered twice.
        (vec![full(1), next(1, 1)], Some(FullAgain)),
        (vec![full(1), Answered(1, 0), Answered(1, 0)], Some(Stale)),
    ];
    for (steps, expected) in rows {
        assert_eq!(last(&steps), expected, "{steps:?}");
    }
}

#[test]
fn only_what_changes_is_named_and_told_and_the_rest_is_remembered() {
    let (mut follower, mut leader) = (FollowerSession::default(), LeaderSessions::default());
    let mut wanted = BTreeMap::from([(partition(0), place(5)), (partition(1), place(7)), (partition(2), place(0))]);
    let sent_by = (FROM, incarnation(1));
    let first = follower.fetch(&wanted).unwrap();
    assert_eq!(leader.on_fetch(sent_by, first.clone()).unwrap(), wanted);
    let now = Told { high_watermark: Offset(4), log_start_offset: Offset(0) };
    assert!(leader.on_answered(FROM, first.at, wanted.keys().map(|&id| (id, now))));
    assert!(follower.on_answer(first.at) && !follower.on_answer(first.at));
    wanted.insert(partition(1), place(9));
    wanted.remove(&partition(2));
    let second = follower.fetch(&wanted).unwrap();
    assert_eq!((second.named.len(), second.forgotten.len()), (1, 1));
    leader.on_fetch(sent_by, second).unwrap();
    let known: Vec<_> = leader.partitions(FROM).map(|(id, fetched)| (id, fetched.fetch)).collect();
    assert_eq!(known, wanted.into_iter().collect::<Vec<_>>());
    for (id, fetched) in leader.partitions(FROM) {
        assert!(!LeaderSessions::has_news(fetched, now), "{id}");
        assert!(LeaderSessions::has_news(fetched, Told { high_watermark: Offset(5), ..now }), "{id}");
    }
    leader.on_gone(FROM);
    assert_eq!((leader.partitions(FROM).count(), leader.parked(FROM)), (0, None));
}

#[test]
fn a_session_names_no_more_than_a_request_may_and_one_of_them_is_found_by_itself() {
    let mut leader = LeaderSessions::default();
    let sent_by = (FROM, incarnation(1));
    let max = u32::try_from(REPLICAS_PER_FETCH_MAX).unwrap();
    let all: Vec<(u32, u64)> = (0..max).map(|index| (index, 5)).collect();
    let at = |number| RequestNumber { session: 1, number };
    leader.on_fetch(sent_by, request(1, 0, &all)).unwrap();
    assert!(leader.on_answered(FROM, at(0), []));
    // What is forgotten makes room, and what is named again takes none.
    let forgotten = [partition(0)].into_iter().collect();
    leader.on_fetch(sent_by, FetchRequest { forgotten, ..request(1, 1, &[(1, 6), (max, 7)]) }).unwrap();
    assert!(leader.on_answered(FROM, at(1), []));
    let found = |leader: &LeaderSessions, index| leader.partition(FROM, partition(index)).map(|fetched| fetched.fetch);
    assert_eq!([0, 1, max].map(|index| found(&leader, index)), [None, Some(place(6)), Some(place(7))]);
    assert_eq!(leader.on_fetch(sent_by, request(1, 2, &[(max + 1, 0)])), Err(SessionRefusal::FullAgain));
    assert_eq!((leader.partitions(FROM).count(), found(&leader, 1)), (0, None), "it is closed");
}
