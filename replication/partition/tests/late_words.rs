//! What a replica begins with when the word about it comes late, or is lost: found by simulated clusters.

mod support;

use sluice_model::{BrokerId, Offset, ShardIndex};
use sluice_replica::StateRefusal;
use sluice_storage::layout::Layout;
use sluice_storage::testing::fault_disk::{FaultDisk, PowerCut, Unflushed};
use std::path::Path;
use support::cluster::{Cluster, id};
use support::{Setup, TestProducer, TestShard, assignment};

/// While a partition is being created it cannot be found, and whoever tells all partitions of a lease tells them too early.
#[test]
fn a_partition_has_the_lease_that_its_broker_got_while_it_was_created() {
    for turns in 0..60 {
        let disk = FaultDisk::new(3);
        let mut shard = TestShard::open(&disk, Setup::new(1, 1));
        shard.partitions.on_lease_lost();
        let partitions = shard.partitions.clone();
        shard.spawn(async move { partitions.create(vec![assignment(1, 1)]).await.expect("there is room") });
        for _ in 0..turns {
            shard.turn();
        }
        shard.partitions.on_lease_regained();
        shard.settle();
        let mut producer = TestProducer::new(1, 5);
        shard.append(&producer.frame_of(100), 1).unwrap_or_else(|refusal| panic!("regained after {turns} turns: {refusal}"));
        shard.partitions.on_lease_lost();
        assert!(shard.append(&producer.frame_of(100), 2).is_err());
    }
}

/// Without checkpoints nobody knows what was committed, and frames in segments need not have been.
#[test]
fn a_shard_rebuilt_without_checkpoints_takes_nothing_of_a_follower_for_committed() {
    let mut cluster = Cluster::new(2, 2);
    let mut producer = TestProducer::new(0, 5);
    (0..8).for_each(|token| cluster.produce(&mut producer, token, 9000));
    cluster.settle();
    cluster.nodes[0].shard.advance_ms(5000);
    assert_eq!(cluster.answers(0).0, [0u64; 0], "no follower has any of it");
    let disk = &cluster.nodes[0].disk;
    let disk = disk.crash(PowerCut { call: disk.call_count(), unflushed: Unflushed::Lost });
    let layout = Layout::new(Path::new("/data"));
    (0..2).for_each(|slot| disk.flip_bit(&layout.checkpoint_slot(ShardIndex(0), slot), 30, 1));
    cluster.restart(0, disk);
    assert!(cluster.nodes[0].shard.report.rebuilt);
    assert_eq!((cluster.nodes[0].high_watermark(id()), cluster.nodes[0].end(id())), (Offset(0), Offset(8)));
    assert_eq!(cluster.elect(1).len(), 2);
    // The other one leads without these records, and this one gives them up.
    cluster.produce(&mut TestProducer::new(0, 6), 20, 100);
    cluster.copy_all();
    assert_eq!((cluster.answers(1).0, cluster.nodes[0].end(id())), (vec![20], Offset(1)));
}

/// Nobody waits to hear what became of a state that a partition is opened with.
#[test]
fn a_first_state_that_cannot_be_taken_is_told() {
    let mut opened = assignment(0, 1);
    let mut created = assignment(1, 1);
    for assigned in [&mut opened, &mut created] {
        assigned.state.as_mut().expect("it leads").isr = [BrokerId(9)].into();
    }
    let setup = Setup { assigned: vec![opened, assignment(2, 1)], ..Setup::new(0, 1) };
    let mut shard = TestShard::open(&FaultDisk::new(1), setup);
    let take = |shard: &TestShard| {
        let mut refused = Vec::new();
        shard.partitions.take_refused_states(&mut refused);
        refused
    };
    assert_eq!(take(&shard), [(support::id(0), StateRefusal::Impossible)]);
    let partitions = shard.partitions.clone();
    shard.run(async move { partitions.create(vec![created]).await }).unwrap();
    assert_eq!(take(&shard), [(support::id(1), StateRefusal::Impossible)]);
    assert_eq!(take(&shard), [], "told once");
    assert!(shard.append(&TestProducer::new(2, 5).frame_of(100), 1).is_ok());
}
