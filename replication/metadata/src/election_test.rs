//! The scenarios of KIP-966 by name, through the events that make them. What each event does by itself stands beside it.

use crate::Recovered::{CutTornGroup, Damaged, Whole};
use crate::testing::{Cluster, end};

fn fence(cluster: &mut Cluster, brokers: &[u32]) {
    brokers.iter().for_each(|&broker| drop(cluster.fence(broker)));
}

/// With two in sync wanted, what the last one wrote alone was not acknowledged: one that left before holds the rest.
#[test]
fn kip_966_last_replica_standing_loses_its_disk() {
    let mut cluster = Cluster::of_three(2);
    fence(&mut cluster, &[3, 2]);
    assert_eq!(cluster.shown(), "1@1 isr 1 elr 2");
    cluster.register_fresh(1);
    assert_eq!(cluster.shown(), "-@2 isr 1 elr 2 damaged 1 last 1");
    cluster.report(1, &[]);
    cluster.unfence(1);
    cluster.restart(3, Whole { end: end(1, 99) });
    assert_eq!(cluster.shown(), "-@2 isr 1 elr 2 damaged 1 last 1", "3 left while records were acknowledged without it");
    cluster.restart(2, Whole { end: end(1, 4) });
    assert_eq!(cluster.shown(), "2@3 isr 2 damaged 1");
    cluster.alter_isr(0, &[2, 3]).unwrap();
    assert_eq!(cluster.shown(), "2@3 isr 2,3 damaged 1");
}

#[test]
fn kip_966_double_failure_and_return_in_either_order() {
    for (order, states) in [([1, 2], ["1@3 isr 1 elr 2", "1@3 isr 1,2"]), ([2, 1], ["2@3 isr 2 elr 1", "2@3 isr 1,2"])] {
        let mut cluster = Cluster::of_three(2);
        fence(&mut cluster, &[3, 2, 1]);
        cluster.restart(order[0], Whole { end: end(1, 5) });
        assert_eq!(cluster.shown(), states[0], "{order:?}");
        cluster.restart(order[1], Whole { end: end(1, 5) });
        cluster.alter_isr(0, &[1, 2]).unwrap();
        assert_eq!(cluster.shown(), states[1], "{order:?}");
        cluster.unfence(3);
        cluster.alter_isr(0, &[1, 2, 3]).unwrap();
    }
}

#[test]
fn kip_966_unclean_return_of_an_eligible_replica() {
    let mut cluster = Cluster::of_three(2);
    fence(&mut cluster, &[3, 2]);
    cluster.register_fresh(2);
    assert_eq!(cluster.shown(), "1@1 isr 1 damaged 2", "a fresh folder inherits nothing");
    fence(&mut cluster, &[1]);
    cluster.report(2, &[]);
    cluster.unfence(2);
    assert_eq!(cluster.shown(), "-@2 isr 1 damaged 2 last 1");
    cluster.unfence(1);
    assert_eq!(cluster.shown(), "1@3 isr 1 damaged 2");
}

/// Once enough are in sync again, records are acknowledged that one that is out of sync does not have.
#[test]
fn kip_966_nobody_stays_eligible_once_the_high_watermark_moves_again() {
    let mut cluster = Cluster::of_three(2);
    fence(&mut cluster, &[3, 2]);
    cluster.unfence(3);
    cluster.alter_isr(0, &[1, 3]).unwrap();
    assert_eq!(cluster.shown(), "1@1 isr 1,3");
    fence(&mut cluster, &[1, 3]);
    cluster.unfence(2);
    assert_eq!(cluster.shown(), "-@3 isr 3 elr 1 last 3");
}

#[test]
fn a_broker_that_was_quick_to_come_back_inherits_and_leads_under_another_epoch() {
    let mut cluster = Cluster::new(&[1, 1, 1]);
    cluster.create(1, 1, 1, 1).unwrap();
    assert_eq!(cluster.shown(), "1@1 isr 1");
    cluster.register(1);
    assert_eq!(cluster.shown(), "-@2 isr 1 last 1");
    cluster.report(1, &[(0, CutTornGroup { end: end(1, 5) })]);
    cluster.unfence(1);
    assert_eq!(cluster.shown(), "1@3 isr 1", "there is no other one to wait for");
}

#[test]
fn a_log_with_later_epochs_than_the_metadata_knows_is_led_above_them() {
    let mut cluster = Cluster::of_three(2);
    fence(&mut cluster, &[3, 2, 1]);
    cluster.restart(1, Whole { end: end(40, 5) });
    assert_eq!(cluster.shown(), "1@41 isr 1 elr 2");
}

/// The power of all three goes at once; the controller hears of it only when they come back.
#[test]
fn all_at_once_and_back_one_by_one() {
    let torn = |offset| CutTornGroup { end: end(1, offset) };
    for (recovered, states) in [
        ([Whole { end: end(1, 5) }; 3], ["2@2 isr 2,3", "3@3 isr 3 elr 2 (2 has 1:5)", "2@4 isr 2 elr 3 (3 has 1:5)"]),
        ([torn(5), torn(6), torn(7)], ["2@2 isr 2,3", "3@3 isr 3 elr 2 (2 has 1:6 cut)", "3@5 isr 3 elr 2 (2 has 1:6 cut)"]),
        ([torn(5), torn(7), torn(6)], ["2@2 isr 2,3", "3@3 isr 3 elr 2 (2 has 1:7 cut)", "2@5 isr 2 elr 3 (3 has 1:6 cut)"]),
        ([Damaged, Damaged, torn(1)], ["2@2 isr 2,3 damaged 1", "3@3 isr 3 damaged 1,2", "3@5 isr 3 damaged 1,2"]),
    ] {
        let mut cluster = Cluster::of_three(2);
        for ((broker, recovered), state) in (1..).zip(recovered).zip(states) {
            cluster.restart(broker, recovered);
            assert_eq!(cluster.shown(), state, "{recovered:?}");
        }
    }
}

#[test]
fn fewer_wanted_in_sync_end_the_eligibility_of_those_that_are_not() {
    let mut cluster = Cluster::of_three(3);
    fence(&mut cluster, &[3, 2]);
    assert_eq!(cluster.shown(), "1@1 isr 1 elr 2,3");
    for (min_insync, state) in [("2", "1@1 isr 1 elr 2,3"), ("1", "1@1 isr 1"), ("3", "1@1 isr 1")] {
        let request = crate::testing::alter(1, None, &[("min_insync_replicas", min_insync)]);
        let records = cluster.run(|i| crate::on_alter_topic(i, &request)).unwrap();
        assert_eq!(cluster.shown(), state, "{min_insync}");
        assert!(matches!(records.last(), Some(crate::Record::TopicSettingsChanged(_))), "the setting changes last");
    }
}
