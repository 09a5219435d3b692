//! What a completion says of when its group went out and was durable, and what a shard counts of its writes.

mod support;

use sluice_partition::{CommitTimes, Completed};
use sluice_storage::testing::fault_disk::FaultDisk;
use support::{Setup, TestProducer, TestShard};

/// The times of all produces answered since the last call.
fn times(shard: &TestShard) -> Vec<CommitTimes> {
    let times_of = |completion: &sluice_partition::Completion| match completion.outcome {
        Completed::Produced { times, .. } => times,
        other => panic!("{other:?}"),
    };
    shard.completions().iter().map(times_of).collect()
}

#[test]
fn a_completion_says_when_its_group_was_issued_and_durable() {
    for seed in 0..20 {
        let mut shard = TestShard::open(&FaultDisk::new(seed), Setup { seed, ..Setup::new(2, 1) });
        let mut producers = [TestProducer::new(0, 5), TestProducer::new(1, 6)];
        let mut last_durable_us = 0;
        for round in 0..5 {
            let frames = producers.each_mut().map(|producer| producer.frame_of(100));
            let appended_us = shard.pass_us(100);
            frames.iter().for_each(|frame| shard.append(frame, round).unwrap());
            shard.pass_us(50);
            while shard.turn() {
                shard.pass_us(10);
            }
            let all = times(&shard);
            let [first, second] = all[..] else { panic!("seed {seed}: {all:?}") };
            assert_eq!(first, second, "seed {seed}: both are in one group");
            let CommitTimes { issued_us, durable_us, committed_us } = first;
            assert!(appended_us + 50 <= issued_us && issued_us <= durable_us, "seed {seed}: {appended_us} {first:?}");
            assert_eq!(committed_us, durable_us, "seed {seed}: the only replica");
            assert!(last_durable_us < issued_us, "seed {seed}: one group after the other");
            last_durable_us = durable_us;
            // The same batch again waits for nothing: its group lies before it.
            let again_us = shard.pass_us(1000);
            shard.append(&frames[0], 77).unwrap();
            let expected = CommitTimes { issued_us, durable_us, committed_us: again_us };
            assert_eq!(times(&shard), [expected], "seed {seed}");
        }
    }
}

#[test]
fn what_is_written_is_counted_by_its_purpose() {
    let mut shard = TestShard::open(&FaultDisk::new(1), Setup::new(1, 1));
    let (opened, mut producer, mut frames_len) = (shard.partitions.write_counts(), TestProducer::new(0, 5), 0);
    assert_eq!((opened.group_count, opened.journal_len, opened.segment_len), (0, 0, 0));
    for round in 0..40 {
        let frame = producer.frame_of(5000);
        frames_len += frame.len() as u64;
        shard.append(&frame, round).unwrap();
        shard.settle();
    }
    let counts = shard.partitions.write_counts();
    assert_eq!((counts.group_count, counts.group_entry_count), (40, 40));
    assert!(counts.journal_len >= 40 * 8192 && counts.journal_len.is_multiple_of(4096), "{counts:?}");
    shard.advance_ms(3000);
    let partitions = shard.partitions.clone();
    shard.run(async move { partitions.close().await }).expect("a clean stop");
    let counts = shard.partitions.write_counts();
    assert_eq!((counts.group_count, counts.idle_marker_count > 0), (40, true), "{counts:?}");
    // Every block once, and a header and a footer for each segment of 64 KiB.
    assert!(counts.segment_len > frames_len && counts.segment_len < frames_len * 5 / 4, "{counts:?} for {frames_len}");
    assert!(counts.segment_flush_count > 0 && counts.checkpoint_count >= 2, "{counts:?}");
    assert_eq!(counts.checkpoint_len, counts.checkpoint_count * 2 * 4096, "a block of header and one of body: {counts:?}");
}
