use super::*;
use crate::batch::{Batch, RECORDS_PER_BATCH_MAX};
use crate::testing::{Cluster, incarnation};

#[test]
fn golden_states_when_one_after_the_other_dies() {
    for (min_insync, order, states) in [
        (1, [3, 2, 1], ["1@1 isr 1,2", "1@1 isr 1", "-@2 isr 1 last 1"]),
        (2, [3, 2, 1], ["1@1 isr 1,2", "1@1 isr 1 elr 2", "-@2 isr 1 elr 2 last 1"]),
        (3, [3, 2, 1], ["1@1 isr 1,2 elr 3", "1@1 isr 1 elr 2,3", "-@2 isr 1 elr 2,3 last 1"]),
        (2, [1, 2, 3], ["2@2 isr 2,3", "3@3 isr 3 elr 2", "-@4 isr 3 elr 2 last 3"]),
        (2, [1, 3, 2], ["2@2 isr 2,3", "2@2 isr 2 elr 3", "-@3 isr 2 elr 3 last 2"]),
    ] {
        let mut cluster = Cluster::of_three(min_insync);
        for (broker, state) in order.into_iter().zip(states) {
            cluster.fence(broker);
            assert_eq!(cluster.shown(), state, "min {min_insync}, {order:?}, after {broker}");
        }
    }
}

#[test]
fn a_lease_ends_once_and_only_for_the_incarnation_that_held_it() {
    let mut cluster = Cluster::of_three(2);
    cluster.fence(1);
    assert_eq!(cluster.fence(1), []);
    let event = EndLease { broker: BrokerId(2), incarnation: incarnation(7) };
    let refused = on_lease_ended(&cluster.image, &event);
    assert!(matches!(refused, Err(Refusal::FencedIncarnation { .. })), "{refused:?}");
    let event = EndLease { broker: BrokerId(9), ..event };
    assert_eq!(on_lease_ended(&cluster.image, &event), Err(Refusal::UnknownBroker { broker: BrokerId(9) }));
}

/// One decision, one record per partition that changes, and bounded batches each of which keeps the invariants
/// (`Cluster::apply_batch` checks them). The work is one look at each partition and a few steps per replica.
#[test]
fn a_dead_broker_with_ten_thousand_partitions_is_one_decision_in_bounded_batches() {
    let mut cluster = Cluster::new(&[2, 2, 2]);
    cluster.create(1, 10_000, 3, 2).unwrap();
    cluster.create(2, 10, 1, 1).unwrap();
    cluster.create(3, 10_000, 3, 2).unwrap();
    let led: usize = (1..=3).map(|b| cluster.image.led_by(BrokerId(b)).count()).sum();
    let event = EndLease { broker: BrokerId(1), incarnation: cluster.incarnation(1) };
    let records = on_lease_ended(&cluster.image, &event).unwrap();
    let alone = cluster.image.topic_by_name("topic-2").unwrap().1.partitions.iter().filter(|p| p.leader == Some(BrokerId(1)));
    assert_eq!(records.len(), 20_000 + alone.count() + 1);
    let batches = Batch::split(&records);
    assert_eq!(batches.len(), 2);
    for batch in &batches {
        assert!(batch.records.len() <= RECORDS_PER_BATCH_MAX && batch.encode().len() < 3 * 1024 * 1024);
    }
    for batch in batches {
        cluster.apply_batch(&batch);
    }
    let counts = [2, 3].map(|b| cluster.image.led_by(BrokerId(b)).count());
    let without = cluster.image.partitions().filter(|(_, p)| p.leader.is_none()).count();
    assert_eq!(counts[0] + counts[1] + without, led);
    assert!(counts[0].abs_diff(counts[1]) <= 6, "what one led is shared by the others: {counts:?}");
}

/// A controller that dies between two batches leaves a broker that leads nothing of what is done, and keeps the rest.
#[test]
fn a_decision_that_was_cut_short_is_finished_by_deciding_again() {
    let mut cluster = Cluster::new(&[1, 1, 1]);
    cluster.create(1, 10_000, 3, 2).unwrap();
    cluster.create(2, 2_500, 3, 2).unwrap();
    let mut whole = Cluster { image: cluster.image.clone(), log: Vec::new() };
    whole.fence(1);
    let event = EndLease { broker: BrokerId(1), incarnation: cluster.incarnation(1) };
    let first = Batch::split(&on_lease_ended(&cluster.image, &event).unwrap()).swap_remove(0);
    cluster.apply_batch(&first);
    let rest = cluster.fence(1);
    assert_eq!((first.records.len(), rest.len()), (RECORDS_PER_BATCH_MAX, 501));
    assert_eq!(cluster.image, whole.image);
}
