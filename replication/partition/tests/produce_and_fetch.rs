//! The life of a produce and of a fetch, on one shard.

mod support;

use sluice_model::Offset;
use sluice_partition::{Acks, Completed, Completion, FetchRefusal, FetchedFrames, Overload, ProduceRefusal};
use sluice_storage::testing::fault_disk::FaultDisk;
use support::{Setup, TestProducer, TestShard, id};

#[test]
fn a_record_is_answered_after_its_group_and_readable_then() {
    let mut shard = TestShard::open(&FaultDisk::new(1), Setup::new(1, 1));
    let mut producer = TestProducer::new(0, 5);
    shard.append(&producer.frame(&[b"one", b"two"]), 10).unwrap();
    assert_eq!(shard.completions(), []);
    assert!(matches!(shard.partitions.fetch(id(0), Offset(0), 1000).unwrap().frames, FetchedFrames::Empty));
    shard.partitions.watch(99, &[id(0)]);
    shard.settle();
    assert_eq!(shard.acknowledged(), [(10, 0)]);
    let mut watched = Vec::new();
    shard.partitions.take_watched(&mut watched);
    assert_eq!(watched, [99]);
    let fetched = shard.partitions.fetch(id(0), Offset(1), 1000).unwrap();
    assert_eq!((fetched.high_watermark, fetched.log_end_offset), (Offset(2), Offset(2)));
    assert_eq!(shard.read_all(0, 0).unwrap().len(), 1);
    assert!(matches!(
        shard.partitions.fetch(id(0), Offset(3), 1000),
        Err(FetchRefusal::OutOfRange { got: Offset(3), log_start_offset: Offset(0), high_watermark: Offset(2) })
    ));
    assert!(matches!(shard.partitions.fetch(id(0), Offset(0), 50), Err(FetchRefusal::TooSmall { .. })));
}

#[test]
fn what_arrives_while_a_group_is_in_flight_goes_out_in_the_next_one_together() {
    let disk = FaultDisk::new(1);
    let mut shard = TestShard::open(&disk, Setup::new(8, 1));
    let mut producers: Vec<_> = (0..8).map(|p| TestProducer::new(p, 5)).collect();
    let before = disk.call_count();
    for (token, producer) in producers.iter_mut().enumerate() {
        shard.append(&producer.frame(&[b"x"]), token as u64).unwrap();
    }
    shard.settle();
    assert_eq!(shard.acknowledged().len(), 8);
    assert_eq!(disk.call_count() - before, 1, "eight partitions, one write");
}

#[test]
fn retries_are_recognised_across_a_restart() {
    let disk = FaultDisk::new(1);
    let mut producer = TestProducer::new(0, 5);
    let frame = producer.frame(&[b"once"]);
    let mut shard = TestShard::open(&disk, Setup::new(1, 1));
    shard.append(&frame, 1).unwrap();
    shard.settle();
    shard.append(&frame, 2).unwrap();
    assert_eq!(shard.acknowledged(), [(1, 0), (2, 0)]);
    drop(shard);
    let mut shard = TestShard::open(&disk, Setup::new(1, 2));
    shard.append(&frame, 3).unwrap();
    shard.append(&producer.frame(&[b"twice"]), 4).unwrap();
    shard.settle();
    assert_eq!(shard.acknowledged(), [(3, 0), (4, 1)]);
    assert_eq!(shard.read_all(0, 0).unwrap().len(), 2);
}

#[test]
fn bad_frames_are_refused_and_change_nothing() {
    let mut shard = TestShard::open(&FaultDisk::new(1), Setup::new(1, 1));
    let good = TestProducer::new(0, 5).frame(&[b"value"]);
    for at in 0..good.len() {
        // The leader's own fields are overwritten, whatever a producer puts there.
        if (4..12).contains(&at) || (36..56).contains(&at) {
            continue;
        }
        let mut bad = good.clone();
        bad[at] ^= 0x40;
        assert!(shard.append(&bad, 1).is_err(), "byte {at} changed and not noticed");
    }
    for len in 0..good.len() {
        assert!(matches!(shard.append(&good[..len], 1), Err(ProduceRefusal::Frame(_))), "cut at {len}");
    }
    let mut longer = good.clone();
    longer.push(0);
    assert!(matches!(shard.append(&longer, 1), Err(ProduceRefusal::TrailingBytes { .. })));
    assert!(matches!(shard.append(&TestProducer::new(7, 5).frame(&[b"x"]), 1), Err(ProduceRefusal::UnknownPartition(_))));
    shard.settle();
    assert_eq!(shard.completions(), []);
    shard.append(&good, 2).unwrap();
    shard.settle();
    assert_eq!(shard.acknowledged(), [(2, 0)]);
}

#[test]
fn overload_is_refused_at_once_and_goes_away() {
    let setup = Setup { journal_buffer_budget: 64 * 1024, ..Setup::new(1, 1) };
    let mut shard = TestShard::open(&FaultDisk::new(1), setup);
    let mut producer = TestProducer::new(0, 5);
    let mut taken = 0;
    let refusal = loop {
        let before = producer.next_sequence;
        match shard.append(&producer.frame_of(10_000), taken) {
            Ok(()) => taken += 1,
            Err(refusal) => {
                producer.next_sequence = before;
                break refusal;
            }
        }
    };
    assert!(
        matches!(refusal, ProduceRefusal::Overloaded { retry_after_ms: 1.., reason: Overload::JournalBuffer }),
        "{refusal:?}"
    );
    assert_eq!(taken, 6);
    shard.settle();
    assert_eq!(shard.acknowledged().len(), 6);
    shard.append(&producer.frame_of(10_000), 100).unwrap();
}

#[test]
fn memory_stays_within_its_budget_whatever_arrives() {
    let disk = FaultDisk::new(1);
    let setup = Setup { tail_budget: 256 * 1024, ..Setup::new(3, 1) };
    let mut shard = TestShard::open(&disk, setup);
    let mut producers: Vec<_> = (0..3).map(|p| TestProducer::new(p, 5)).collect();
    let mut acknowledged = 0;
    for round in 0..600u64 {
        let producer = &mut producers[usize::try_from(round % 3).unwrap()];
        let before = producer.next_sequence;
        if shard.append(&producer.frame_of(9_000), round).is_err() {
            producer.next_sequence = before;
        }
        if round % 5 == 0 {
            shard.settle();
        }
        acknowledged += shard.acknowledged().len();
        let status = shard.partitions.shard_status();
        assert!(status.tail_used_len <= 256 * 1024 + 16 * 1024, "{status:?}");
        assert!(status.journal_distance <= status.journal_capacity / 4 * 3 + 128 * 1024, "{status:?}");
    }
    shard.advance_ms(3000);
    acknowledged += shard.acknowledged().len();
    assert!(acknowledged > 500, "{acknowledged} taken in the end");
    let read: usize = (0..3).map(|p| shard.read_all(p, 0).unwrap().len()).sum();
    assert_eq!(read, acknowledged);
    assert!(shard.failures.borrow().is_empty(), "{:?}", shard.failures.borrow());
}

#[test]
fn acks_none_is_never_answered_and_acks_leader_says_what_it_is() {
    let mut shard = TestShard::open(&FaultDisk::new(1), Setup::new(1, 1));
    let mut producer = TestProducer::new(0, 5);
    let now = shard.partitions.now();
    shard.partitions.append(now, &producer.frame(&[b"a"]), Acks::None, 1).unwrap();
    shard.partitions.append(now, &producer.frame(&[b"b"]), Acks::Leader, 2).unwrap();
    shard.settle();
    let completions = shard.completions();
    assert!(
        matches!(
            completions[..],
            [Completion {
                token: 2,
                outcome: Completed::Produced { durability: sluice_partition::Durability::FlushedOnLeader, .. }
            }]
        ),
        "{completions:?}"
    );
}

#[test]
fn a_full_ring_is_freed_without_waiting_for_the_clock() {
    let setup = Setup { tail_budget: 16 * 1024 * 1024, journal_buffer_budget: 16 * 1024 * 1024, ..Setup::new(2, 1) };
    let mut shard = TestShard::open(&FaultDisk::new(1), setup);
    // Large frames are written back in parts, small ones many at a time.
    let mut busy = TestProducer::new(0, 5);
    // A record of a quiet partition holds the ring until its last block is padded.
    shard.append(&TestProducer::new(1, 5).frame_of(100), 1).unwrap();
    let mut refused = 0;
    for round in 0..2_000u64 {
        let before = busy.next_sequence;
        if let Err(refusal) = shard.append(&busy.frame_of(if round % 3 == 0 { 290_000 } else { 20_000 }), round) {
            assert!(matches!(refusal, ProduceRefusal::Overloaded { reason: Overload::JournalRing, .. }), "{refusal:?}");
            busy.next_sequence = before;
            refused += 1;
            shard.settle();
            shard.append(&busy.frame_of(20_000), round).expect("once the shard has rested, the ring is free");
        }
    }
    assert!(refused > 0, "the ring was never full");
    shard.settle();
    assert_eq!(shard.acknowledged().len(), 2_001);
}
