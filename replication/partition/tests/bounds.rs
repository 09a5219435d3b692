//! What must neither overrun a bound nor be refused for ever: the ring, the tails, a full disk, a failed journal.

mod support;

use sluice_model::{Offset, ShardIndex, TopicId};
use sluice_partition::{Failure, FetchRefusal, OpenError, Partitions, ProduceRefusal};
use sluice_storage::checkpoint_slots::{SlotFound, read_slots};
use sluice_storage::disk::Disk;
use sluice_storage::layout::Layout;
use sluice_storage::testing::executor::{Runner, block_on};
use sluice_storage::testing::fault_disk::{FaultDisk, FaultKind, PowerCut, Unflushed};
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::path::Path;
use std::rc::Rc;
use support::{Setup, TestClock, TestProducer, TestShard, assignment, id, open_shard};

#[test]
fn deletions_do_not_overrun_the_ring() {
    let mut shard = TestShard::open(&FaultDisk::new(1), Setup::new(1, 1));
    shard.append(&TestProducer::new(0, 5).frame_of(100), 1).unwrap();
    shard.settle();
    let mut refused = 0;
    for token in 0..3_000 {
        match shard.partitions.delete_records(id(0), Offset(1), token) {
            Ok(()) => {}
            Err(FetchRefusal::Overloaded { retry_after_ms: 1.. }) => {
                refused += 1;
                for _ in 0..3 {
                    shard.settle();
                }
                shard.partitions.delete_records(id(0), Offset(1), token).expect("the ring is freed by what was refused");
            }
            Err(other) => panic!("{other}"),
        }
        shard.settle();
    }
    assert!(refused > 0, "the ring was never short");
    assert!(shard.failures.borrow().is_empty(), "{:?}", shard.failures.borrow());
}

#[test]
fn what_many_partitions_keep_for_want_of_a_whole_block_is_written_when_memory_is_short() {
    let setup = Setup { tail_budget: 256 * 1024, ..Setup::new(60, 1) };
    let mut shard = TestShard::open(&FaultDisk::new(1), setup);
    let mut refused = 0;
    for p in 0..60 {
        let frame = TestProducer::new(p, 5).frame_of(9_000);
        if let Err(refusal) = shard.append(&frame, 1) {
            assert!(matches!(refusal, ProduceRefusal::Overloaded { .. }), "{refusal}");
            refused += 1;
            shard.settle();
            shard.append(&frame, 1).expect("once the shard has rested, there is memory");
        }
        shard.settle();
    }
    assert!(refused > 0, "memory was never short");
}

#[test]
fn a_full_disk_is_written_to_in_the_space_of_the_reserve() {
    let disk = FaultDisk::new(1);
    let mut shard = TestShard::open(&disk, Setup { tail_budget: 1024 * 1024, ..Setup::new(1, 1) });
    let mut producer = TestProducer::new(0, 5);
    disk.set_capacity(0);
    for token in 0..4 {
        shard.append(&producer.frame_of(100_000), token).unwrap();
    }
    shard.settle();
    let status = shard.partitions.shard_status();
    assert!(status.disk_full, "{status:?}");
    assert_eq!(shard.append(&producer.frame_of(100), 9), Err(ProduceRefusal::DiskFull));
    disk.set_capacity(u64::MAX);
    shard.advance_ms(3_000);
    assert!(!shard.partitions.shard_status().disk_full);
    assert_eq!(shard.read_all(0, 0).unwrap().len(), 4);
}

#[test]
fn a_start_on_a_full_disk_recovers_in_the_space_of_the_reserve() {
    let disk = FaultDisk::new(1);
    let mut shard = TestShard::open(&disk, Setup::new(1, 1));
    let mut producer = TestProducer::new(0, 5);
    for token in 0..2 {
        shard.append(&producer.frame_of(100_000), token).unwrap();
    }
    shard.settle();
    assert_eq!(shard.completions().len(), 2);
    drop(shard);
    let crashed = disk.crash(PowerCut { call: disk.call_count(), unflushed: Unflushed::Lost });
    let used = u64::MAX - block_on(crashed.free_len(Path::new("/data"))).unwrap();
    crashed.set_capacity(used);
    let mut shard = TestShard::open(&crashed, Setup::new(1, 2));
    assert_eq!(shard.read_all(0, 0).unwrap().len(), 2);
    let next = producer.frame_of(100);
    assert_eq!(shard.append(&next, 9), Err(ProduceRefusal::DiskFull));
    crashed.set_capacity(u64::MAX);
    shard.advance_ms(3_000);
    shard.append(&next, 10).expect("there is room again");
}

#[test]
fn a_folder_that_cannot_be_listed_is_not_taken_for_an_empty_one() {
    let disk = FaultDisk::new(1);
    let mut shard = TestShard::open(&disk, Setup::new(1, 1));
    disk.fail(FaultKind::List, 0);
    let partitions = shard.partitions.clone();
    let created = shard.run(async move { partitions.create(vec![assignment(1, 1)]).await });
    assert!(matches!(created, Err(OpenError::Look(_))), "{created:?}");
}

#[test]
fn a_clean_stop_after_the_journal_failed_says_so() {
    let disk = FaultDisk::new(1);
    let mut shard = TestShard::open(&disk, Setup::new(1, 1));
    disk.fail(FaultKind::Write, 0);
    shard.append(&TestProducer::new(0, 5).frame_of(100), 1).unwrap();
    let partitions = shard.partitions.clone();
    let closed = shard.run(async move { partitions.close().await });
    assert!(matches!(closed, Err(Failure::Journal(_))), "{closed:?}");
}

#[test]
fn a_new_partition_stands_in_both_slots_before_it_can_be_found() {
    let disk = FaultDisk::new(1);
    let mut shard = TestShard::open(&disk, Setup::new(1, 1));
    let partitions = shard.partitions.clone();
    shard.run(async move { partitions.create(vec![assignment(1, 1)]).await }).unwrap();
    for slot in block_on(read_slots(&disk, &Layout::new(Path::new("/data")), ShardIndex(0))).unwrap() {
        let SlotFound::Good(found) = slot else { panic!("{slot:?}") };
        assert!(found.checkpoint.partitions.iter().any(|partition| partition.id == id(1)), "{found:?}");
    }
}

#[test]
fn shards_that_start_together_may_all_remove_a_deleted_topic() {
    for seed in 0..30 {
        let disk = FaultDisk::new(seed);
        let mut shard = TestShard::open(&disk, Setup::new(3, 1));
        for p in 0..3 {
            let mut producer = TestProducer::new(p, 5);
            for token in 0..4 {
                shard.append(&producer.frame_of(40_000), token).unwrap();
            }
        }
        shard.advance_ms(3_000);
        drop(shard);
        let mut runner = Runner::new(seed);
        let opened: Rc<RefCell<Vec<_>>> = Rc::default();
        for index in 0..3 {
            let setup = Setup { shard: index, deleted: BTreeSet::from([TopicId([3; 16])]), ..Setup::new(0, 2) };
            let (disk, opened) = (disk.clone(), Rc::clone(&opened));
            runner.spawn(async move {
                let result = Partitions::open(disk, TestClock::default(), open_shard(setup)).await;
                opened.borrow_mut().push(result.map(|_| ()));
            });
        }
        runner.run_until_stalled();
        let opened = opened.take();
        assert!(opened.len() == 3 && opened.iter().all(Result::is_ok), "seed {seed}: {opened:?}");
        assert!(!disk.files().keys().any(|path| path.extension().is_some_and(|extension| extension == "log")), "seed {seed}");
    }
}

#[test]
fn a_producer_cannot_claim_the_brokers_times() {
    let shard = TestShard::open(&FaultDisk::new(1), Setup::new(1, 1));
    let mut producer = TestProducer { attributes: 8, ..TestProducer::new(0, 5) };
    assert_eq!(shard.append(&producer.frame(&[b"x"]), 1), Err(ProduceRefusal::Attributes { got: 8 }));
}
