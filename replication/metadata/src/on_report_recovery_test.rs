use super::*;
use crate::testing::{Cluster, end, tp};

fn report(cluster: &Cluster, replicas: Vec<(TopicPartition, Recovered)>, complete: bool) -> ReportRecovery {
    ReportRecovery { broker: BrokerId(1), incarnation: cluster.incarnation(1), replicas, complete }
}

/// Broker 1 has started again, the last of partition 0 and of others.
fn restarted() -> Cluster {
    let mut cluster = Cluster::new(&[1, 1, 1]);
    cluster.create(1, 4, 3, 2).unwrap();
    [3, 2, 1].into_iter().for_each(|broker| drop(cluster.fence(broker)));
    cluster.register(1);
    cluster
}

#[test]
fn what_comes_in_pieces_adds_up_and_what_never_came_is_damaged() {
    let mut cluster = restarted();
    let whole = |partition, offset| (tp(partition), Recovered::Whole { end: end(1, offset) });
    let pieces = [(vec![whole(0, 5)], false), (vec![whole(1, 6), (tp(2), Recovered::Damaged)], false), (vec![whole(0, 5)], true)];
    for (replicas, complete) in pieces {
        let report = report(&cluster, replicas, complete);
        cluster.run(|i| on_report_recovery(i, &report)).unwrap();
    }
    let shown: Vec<_> = (0..4).map(|p| crate::testing::show(cluster.image.partition(tp(p)).unwrap())).collect();
    assert_eq!(
        shown,
        [
            "-@2 isr 1 elr 2 (1 has 1:5) last 1",
            "-@3 isr 1 elr 2 (1 has 1:6) last 1",
            "-@3 isr 1 elr 2 damaged 1 last 1",
            "-@2 isr 1 elr 2 damaged 1 last 1",
        ]
    );
    let late = report(&cluster, vec![whole(3, 9)], true);
    assert_eq!(on_report_recovery(&cluster.image, &late), Err(Refusal::RecoveryReported { broker: BrokerId(1) }));
}

#[test]
fn a_piece_that_is_repeated_needs_no_records() {
    let mut cluster = restarted();
    let piece = report(&cluster, vec![(tp(0), Recovered::CutTornGroup { end: end(1, 5) }), (tp(1), Recovered::Damaged)], false);
    assert_eq!(cluster.run(|i| on_report_recovery(i, &piece)).unwrap().len(), 2);
    assert_eq!(on_report_recovery(&cluster.image, &piece), Ok(Vec::new()));
}

#[test]
fn damage_outlives_a_later_recovery_that_finds_none() {
    let mut cluster = Cluster::of_three(2);
    [3, 2, 1].into_iter().for_each(|broker| drop(cluster.fence(broker)));
    cluster.restart(1, Recovered::Damaged);
    cluster.restart(1, Recovered::Whole { end: end(1, 9) });
    assert_eq!(cluster.shown(), "-@2 isr 1 elr 2 damaged 1 last 1");
}

#[test]
fn an_epoch_that_was_never_given_out_is_damage() {
    let mut cluster = restarted();
    let report = report(&cluster, vec![(tp(0), Recovered::Whole { end: end(LEADER_EPOCH_PLAUSIBLE_END.0, 1) })], false);
    cluster.run(|i| on_report_recovery(i, &report)).unwrap();
    assert_eq!(cluster.shown(), "-@2 isr 1 elr 2 damaged 1 last 1");
}

#[test]
fn a_replica_that_is_not_trusted_is_marked_when_it_is_damaged_and_else_left_alone() {
    for (recovered, state) in
        [(Recovered::Damaged, "2@2 isr 2,3 damaged 1"), (Recovered::Whole { end: end(1, 9) }, "2@2 isr 2,3")]
    {
        let mut cluster = Cluster::of_three(2);
        cluster.restart(1, recovered);
        assert_eq!(cluster.shown(), state);
        cluster.restart(1, Recovered::Whole { end: end(1, 9) });
        assert_eq!(cluster.shown(), state);
    }
}

#[test]
fn what_is_refused_and_what_is_ignored() {
    let mut cluster = restarted();
    let unknown = TopicPartition { topic_id: crate::testing::topic_id(9), ..tp(0) };
    let ignored = report(&cluster, vec![(unknown, Recovered::Damaged), (tp(77), Recovered::Damaged)], false);
    assert_eq!(on_report_recovery(&cluster.image, &ignored), Ok(Vec::new()));
    let many = report(&cluster, vec![(tp(0), Recovered::Damaged); PARTITIONS_PER_COMMAND_MAX + 1], false);
    assert!(matches!(on_report_recovery(&cluster.image, &many), Err(Refusal::TooManyAtOnce { .. })));
    let old = report(&cluster, Vec::new(), true);
    cluster.register(1);
    assert!(matches!(on_report_recovery(&cluster.image, &old), Err(Refusal::FencedIncarnation { .. })));
}
