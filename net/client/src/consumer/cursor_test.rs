//! What a cursor makes of answers.

use super::*;
use crate::producer::partition_queue::Peer;
use sluice_model::frame::LeaderSeal;
use sluice_model::{LeaderEpoch, Offset, PartitionIndex, ProducerBatch, ProducerEpoch, ProducerId, Sequence, TopicPartition};

const TOPIC: TopicId = TopicId([3; 16]);

fn leader(host: &str) -> Leader {
    let address = Some(Address::new(host, 1));
    Leader::new(&PartitionInfo { partition: 1, leader: Some(1), leader_epoch: 1, shard: 0, isr: vec![], address })
}

fn cursor(offset: u64) -> Cursor {
    let peer = Peer { session_id: [0; 16], broker_id: 1 };
    let connection = ConnectionId { number: 1, peer };
    Cursor {
        from_ms: None,
        topic: "t".into(),
        partition: 1,
        topic_id: TOPIC,
        leader: leader("here"),
        asked: Some(Asked { address: Address::new("here", 1), connection, since_ms: 0 }),
        fetch_offset: offset,
        position: offset,
        generation: 0,
        stopped: false,
        paused: false,
        needed_len: None,
        high_watermark: None,
        out_of_range_ms: None,
        range_wait_ms: 1000,
        log_start_offset: 0,
        not_before_ms: 0,
        served: 0,
        backoff: Backoff::new(10, 10, 1),
    }
}

/// A frame of `count` records from `base` on; its body is not looked at here.
fn frame(base: u64, count: u32) -> Vec<u8> {
    let batch = ProducerBatch {
        topic_partition: TopicPartition { topic_id: TOPIC, partition: PartitionIndex(1) },
        attributes: 0,
        producer_id: ProducerId::NONE,
        producer_epoch: ProducerEpoch::NONE,
        base_sequence: Sequence::NONE,
        record_count: count,
        base_timestamp_ms: 0,
        max_timestamp_ms: 0,
    };
    let seal = LeaderSeal { base_offset: Offset(base), leader_epoch: LeaderEpoch(1), append_time_ms: 0, prev_header_crc: 0 };
    [FrameHeader::new(batch, b"body").sealed(seal).as_bytes(), &b"body"[..]].concat()
}

fn fetched(cursor: &mut Cursor, entry: &FetchedPartition, frames: &[Vec<u8>], reset: ResetPolicy) -> (Vec<Arrival>, Next) {
    let mut arrivals = Vec::new();
    let next = cursor.on_fetched(1000, entry, frames.concat().into(), reset, &mut arrivals);
    (arrivals, next)
}

fn arrive(cursor: &mut Cursor, log_start_offset: u64, frames: &[Vec<u8>]) -> Vec<Arrival> {
    let entry = FetchedPartition { log_start_offset, high_watermark: 100, ..Default::default() };
    fetched(cursor, &entry, frames, ResetPolicy::Error).0
}

fn first_offsets(arrivals: &[Arrival]) -> Vec<u64> {
    let offset = |a: &Arrival| match a {
        Arrival::Frame { first_offset, .. } => Some(*first_offset),
        Arrival::Skipped { .. } | Arrival::Stopped(_) => None,
    };
    arrivals.iter().filter_map(offset).collect()
}

fn cause(arrivals: &[Arrival]) -> &ConsumeCause {
    let Some(Arrival::Stopped(error)) = arrivals.last() else { panic!("{arrivals:?}") };
    &error.cause
}

fn code(code: ErrorCode) -> FetchedPartition {
    FetchedPartition { error: code as u16, ..Default::default() }
}

#[test]
fn frames_follow_one_another() {
    let mut cursor = cursor(0);
    assert_eq!(first_offsets(&arrive(&mut cursor, 0, &[frame(0, 5), frame(5, 1)])), [0, 5]);
    assert_eq!((cursor.fetch_offset, cursor.asked.is_some(), cursor.high_watermark), (6, false, Some(100)));
}

#[test]
fn records_below_the_offset_asked_for_and_below_the_log_start_are_dropped() {
    let mut middle = cursor(3);
    assert_eq!(first_offsets(&arrive(&mut middle, 0, &[frame(0, 5), frame(5, 5)])), [3, 5]);
    let mut deleted = cursor(3);
    assert_eq!(first_offsets(&arrive(&mut deleted, 7, &[frame(0, 5), frame(5, 5)])), [7]);
    assert_eq!(deleted.fetch_offset, 10);
    let mut jumped = cursor(3);
    assert_eq!(first_offsets(&arrive(&mut jumped, 5, &[frame(5, 5)])), [5]);
}

#[test]
fn a_gap_is_an_error_behind_what_came_before_it() {
    let mut cursor = cursor(0);
    let arrivals = arrive(&mut cursor, 0, &[frame(0, 5), frame(6, 5)]);
    assert_eq!(first_offsets(&arrivals), [0]);
    assert_eq!(cause(&arrivals), &ConsumeCause::Gap { expected: 5, got: 6 });
    assert!(cursor.stopped);
}

#[test]
fn what_is_no_frame_or_not_this_partitions_is_an_error() {
    for (at, value) in [(0, b'X'), (8, 1), (16, 9), (32, 9), (40, 9)] {
        let mut bad = frame(0, 5);
        bad[at] ^= value;
        let arrivals = arrive(&mut cursor(0), 0, &[bad]);
        assert!(matches!(cause(&arrivals), ConsumeCause::BadFrame { offset: 0, .. }), "{at}: {arrivals:?}");
    }
    let cut = frame(0, 5)[..102].to_vec();
    assert!(matches!(cause(&arrive(&mut cursor(0), 0, &[cut])), ConsumeCause::BadFrame { .. }));
}

#[test]
fn an_offset_out_of_range_follows_the_policy() {
    let entry = FetchedPartition { log_start_offset: 10, high_watermark: 20, ..code(ErrorCode::OffsetOutOfRange) };
    let mut strict = cursor(5);
    let (arrivals, _) = fetched(&mut strict, &entry, &[], ResetPolicy::Error);
    assert_eq!(cause(&arrivals), &ConsumeCause::OffsetOutOfRange { offset: 5, start: 10, end: 20 });
    for (policy, offset) in [(ResetPolicy::Earliest, 10), (ResetPolicy::Latest, 20)] {
        let mut cursor = cursor(5);
        assert_eq!(fetched(&mut cursor, &entry, &[], policy).0, []);
        assert_eq!((cursor.fetch_offset, cursor.stopped), (offset, false));
    }
}

/// A leader has all that was ever committed: one that lacks it is not the leader, or not yet.
#[test]
fn an_offset_that_was_readable_is_out_of_range_only_when_that_lasts() {
    let behind = FetchedPartition { high_watermark: 40, log_end_offset: 40, ..code(ErrorCode::OffsetOutOfRange) };
    for policy in [ResetPolicy::Error, ResetPolicy::Earliest, ResetPolicy::Latest] {
        let mut cursor = cursor(0);
        arrive(&mut cursor, 0, &[frame(0, 50)]);
        for _ in 0..20 {
            assert_eq!(fetched(&mut cursor, &behind, &[], policy), (vec![], Next::Refresh));
        }
        assert_eq!((cursor.fetch_offset, cursor.stopped, cursor.high_watermark), (50, false, Some(100)));
        // The leader is found, and does not know of its high watermark yet.
        let ahead = FetchedPartition { high_watermark: 40, log_end_offset: 100, ..Default::default() };
        assert_eq!(fetched(&mut cursor, &ahead, &[], policy), (vec![], Next::GoOn));
        assert_eq!((cursor.fetch_offset, cursor.high_watermark, cursor.out_of_range_ms), (50, Some(100), None));
        // It stays away: then the policy decides.
        fetched(&mut cursor, &behind, &[], policy);
        let mut arrivals = Vec::new();
        cursor.on_fetched(1999, &behind, Bytes::new(), policy, &mut arrivals);
        assert_eq!((cursor.fetch_offset, arrivals.len()), (50, 0));
        cursor.on_fetched(2000, &behind, Bytes::new(), policy, &mut arrivals);
        let expected = match policy {
            ResetPolicy::Error => 50,
            ResetPolicy::Earliest => 0,
            ResetPolicy::Latest => 40,
        };
        assert_eq!((cursor.fetch_offset, arrivals.len()), (expected, usize::from(policy == ResetPolicy::Error)));
    }
}

#[test]
fn an_offset_below_the_log_end_is_never_out_of_range_at_once() {
    let entry = FetchedPartition { high_watermark: 40, log_end_offset: 60, ..code(ErrorCode::OffsetOutOfRange) };
    let mut first = cursor(50);
    assert_eq!(fetched(&mut first, &entry, &[], ResetPolicy::Latest), (vec![], Next::Refresh));
    assert_eq!(first.fetch_offset, 50);
}

#[test]
fn two_brokers_that_name_each_other_are_not_fetched_from_in_turns_without_a_pause() {
    let named = |host: &str| {
        let address = sluice_protocol::ShardAddress { broker_id: 1, shard: 2, host: host.into(), port: 1 };
        FetchedPartition { address: Some(address), ..code(ErrorCode::NotLeader) }
    };
    let mut cursor = cursor(5);
    fetched(&mut cursor, &named("there"), &[], ResetPolicy::Error);
    assert_eq!(cursor.not_before_ms, 0);
    fetched(&mut cursor, &named("here"), &[], ResetPolicy::Error);
    assert!(cursor.not_before_ms > 1000);
    let described = PartitionInfo {
        partition: 1,
        leader: Some(2),
        leader_epoch: 2,
        shard: 0,
        isr: vec![],
        address: Some(Address::new("third", 1)),
    };
    cursor.on_described(1000, &described);
    assert_eq!(
        (cursor.leader.address(), cursor.not_before_ms),
        (Some(&Address::new("third", 1)), 0),
        "a new leader is asked at once"
    );
}

#[test]
fn damage_is_named_and_only_stepped_over_by_name() {
    let entry = FetchedPartition { damaged_until: 9, ..code(ErrorCode::Damaged) };
    let mut cursor = cursor(5);
    let (arrivals, _) = fetched(&mut cursor, &entry, &[], ResetPolicy::Earliest);
    assert_eq!(cause(&arrivals), &ConsumeCause::Damaged { first: 5, last: 8 });
    assert!(cursor.stopped);
    cursor.seek(9);
    assert_eq!((cursor.stopped, cursor.fetch_offset, cursor.generation), (false, 9, 1));
}

#[test]
fn a_long_frame_is_asked_for_with_its_length_within_bounds() {
    let mut cursor = cursor(5);
    let entry = |needed_len| FetchedPartition { needed_len, ..code(ErrorCode::FetchTooSmall) };
    assert_eq!(fetched(&mut cursor, &entry(5_000_000), &[], ResetPolicy::Error).0, []);
    assert_eq!((cursor.needed_len, cursor.not_before_ms), (Some(5_000_000), 0));
    assert_eq!(fetched(&mut cursor, &entry(5_000_000), &[], ResetPolicy::Error).0, []);
    assert!(cursor.not_before_ms > 1000, "not in a circle");
    let (arrivals, _) = fetched(&mut cursor, &entry(u32::MAX), &[], ResetPolicy::Error);
    assert!(matches!(cause(&arrivals), ConsumeCause::TooLarge { offset: 5, .. }));
}

#[test]
fn trouble_that_passes_is_waited_for_and_other_addresses_are_taken() {
    let mut cursor = cursor(5);
    assert_eq!(fetched(&mut cursor, &code(ErrorCode::Overloaded), &[], ResetPolicy::Error), (vec![], Next::GoOn));
    assert!(cursor.not_before_ms > 1000);
    cursor.not_before_ms = 0;
    assert_eq!(fetched(&mut cursor, &code(ErrorCode::NotReady), &[], ResetPolicy::Error), (vec![], Next::Refresh), "it may move");
    assert!(cursor.not_before_ms > 1000);
    cursor.not_before_ms = 0;
    let address = sluice_protocol::ShardAddress { broker_id: 1, shard: 2, host: "there".into(), port: 2 };
    let moved = FetchedPartition { address: Some(address), ..code(ErrorCode::NotLeader) };
    assert_eq!(fetched(&mut cursor, &moved, &[], ResetPolicy::Error), (vec![], Next::Refresh));
    assert_eq!((cursor.leader.address(), cursor.not_before_ms), (Some(&Address::new("there", 2)), 0));
    let (arrivals, _) = fetched(&mut cursor, &code(ErrorCode::InvalidArgument), &[], ResetPolicy::Error);
    assert!(matches!(cause(&arrivals), ConsumeCause::Client(_)));
}

#[test]
fn a_loss_that_was_accepted_is_a_jump_and_no_gap() {
    let accepted = FetchedPartition { high_watermark: 100, damaged_until: 40, ..Default::default() };
    let mut cursor = cursor(10);
    let (arrivals, next) = fetched(&mut cursor, &accepted, &[frame(40, 5)], ResetPolicy::Error);
    assert_eq!((&arrivals[0], next), (&Arrival::Skipped { until: 40 }, Next::GoOn));
    assert_eq!((first_offsets(&arrivals), cursor.fetch_offset), (vec![40], 45));
    // Nothing is behind it yet: the cursor goes on there all the same.
    let accepted = FetchedPartition { damaged_until: 60, ..accepted };
    let (arrivals, _) = fetched(&mut cursor, &accepted, &[], ResetPolicy::Error);
    assert_eq!((arrivals, cursor.fetch_offset), (vec![Arrival::Skipped { until: 60 }], 60));
    // Without that word the same jump is a gap.
    assert!(matches!(cause(&arrive(&mut cursor, 0, &[frame(70, 1)])), ConsumeCause::Gap { expected: 60, got: 70 }));
}
