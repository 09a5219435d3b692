use super::*;
use sluice_model::limits::BATCHES_PER_PRODUCER;

fn fetch(offset: u64, log_state: LogState) -> PartitionFetch {
    let position = LogPosition { offset: Offset(offset), last_epoch: Some(LeaderEpoch(3)), last_header_crc: 7 };
    PartitionFetch { leader_epoch: LeaderEpoch(4), position, flushed: Offset(offset / 2), log_state }
}

fn request() -> FetchRequest {
    let states = [LogState::Whole, LogState::PossiblyShort, LogState::Damaged];
    let named = (0..).zip(states).map(|(partition, state)| (id_of([7; 16], partition), fetch(8, state)));
    let forgotten = BTreeSet::from([id_of([8; 16], 1)]);
    FetchRequest { at: RequestNumber { session: 3, number: 9 }, named: named.collect(), forgotten }
}

#[test]
fn a_session_s_requests_read_back() {
    let message = fetch_message(&request(), 500, 1 << 20);
    assert_eq!((message.wait_ms_max, message.len_max), (500, 1 << 20));
    assert_eq!(fetch_request(&message), Some(request()));
    let flush = FlushRequest {
        at: RequestNumber { session: 3, number: 10 },
        flushed: BTreeMap::from([(id_of([7; 16], 0), Offset(5)), (id_of([7; 16], 1), Offset(6))]),
    };
    assert_eq!(flush_request(&flush_message(&flush)), Some(flush));
}

#[test]
fn a_partition_named_twice_is_refused() {
    let mut message = fetch_message(&request(), 0, 0);
    message.named.push(message.named[0]);
    assert_eq!(fetch_request(&message), None);
    let mut message = fetch_message(&request(), 0, 0);
    message.forgotten.push(PartitionRef { topic_id: [7; 16], partition: 0 });
    assert_eq!(fetch_request(&message), None, "named and forgotten");
    let entry = ReplicaFlushed { topic_id: [7; 16], partition: 0, flushed: 5 };
    assert_eq!(flush_request(&ReplicaFlushRequest { session: 1, number: 1, flushed: vec![entry; 2] }), None);
}

#[test]
fn a_beginning_comes_in_as_many_answers_as_it_needs() {
    let batch = RecentBatch { base_sequence: Sequence(4), record_count: 2, base_offset: Offset(9) };
    let entry = ProducerEntry {
        epoch: ProducerEpoch(1),
        last_append_ms: 5,
        batches: std::iter::repeat_n(batch, BATCHES_PER_PRODUCER).collect(),
    };
    let mut producers = ProducerTable::default();
    (0..PRODUCERS_PER_BEGINNING_MAX as i64 + 1).for_each(|id| producers.insert(ProducerId(id), entry.clone()));
    let told = LogBeginning {
        leader_epoch: LeaderEpoch(4),
        first_offset: Offset(1 << 40),
        prev_header_crc: 7,
        epochs: LeaderEpochHistory::from_entries(vec![(LeaderEpoch(1), Offset(0)), (LeaderEpoch(3), Offset(9))]).unwrap(),
        producers,
    };
    let first = beginning_message(&told, None);
    assert!(first.more && first.producers.len() == PRODUCERS_PER_BEGINNING_MAX);
    let last = ProducerId(first.producers.last().unwrap().producer_id);
    let second = beginning_message(&told, Some(last));
    assert!(!second.more && second.producers.len() == 1);
    let mut all = beginning(&first).unwrap();
    beginning(&second).unwrap().producers.iter().for_each(|(id, entry)| all.producers.insert(id, entry.clone()));
    assert_eq!((all.epochs, all.producers), (told.epochs, told.producers));
    assert_eq!((all.leader_epoch, all.first_offset, all.prev_header_crc), (LeaderEpoch(4), Offset(1 << 40), 7));
}
