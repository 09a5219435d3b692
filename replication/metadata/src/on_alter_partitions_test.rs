use super::*;
use crate::Recovered::Whole;
use crate::testing::{Cluster, end, tp};

#[test]
fn golden_changes_of_the_in_sync_set() {
    for (min_insync, changes) in [
        (1, [([1, 2].as_slice(), "1@1 isr 1,2"), (&[1], "1@1 isr 1"), (&[3, 1], "1@1 isr 1,3")]),
        (2, [(&[1, 2], "1@1 isr 1,2"), (&[1], "1@1 isr 1 elr 2"), (&[3, 1], "1@1 isr 1,3")]),
        (3, [(&[1, 2], "1@1 isr 1,2 elr 3"), (&[1], "1@1 isr 1 elr 2,3"), (&[3, 1], "1@1 isr 1,3 elr 2")]),
    ] {
        let mut cluster = Cluster::of_three(min_insync);
        for (epoch, (isr, state)) in (1..).step_by(2).zip(changes) {
            let earlier = cluster.isr_change(0, &[1]);
            let answer = cluster.alter_isr(0, isr).unwrap();
            assert_eq!((cluster.shown().as_str(), answer.partition_epoch.0), (state, epoch), "min {min_insync}");
            assert_eq!(cluster.image.partition(tp(0)), Some(&answer));
            // Asked for again, because the answer was lost, it is decided again: what was asked for before comes too late.
            let again = PartitionState { partition_epoch: PartitionEpoch(epoch + 1), ..answer };
            assert_eq!(cluster.alter_isr(0, isr), Ok(again.clone()));
            let late = cluster.answered(|i| on_alter_partitions(i, &earlier)).unwrap();
            let (got, current) = (PartitionEpoch(epoch - 1), PartitionEpoch(epoch + 1));
            assert_eq!(late.answers, [Err(PartitionRefusal::StalePartitionEpoch { got, current })]);
            assert_eq!(cluster.image.partition(tp(0)), Some(&again));
        }
    }
}

#[test]
fn golden_refusals() {
    type Breaking<'a> = &'a dyn Fn(&mut IsrChange);
    let mut cluster = Cluster::of_three(2);
    cluster.alter_isr(0, &[1]).unwrap();
    let (b, unknown) = (BrokerId, TopicPartition { topic_id: crate::testing::topic_id(9), ..tp(0) });
    let (two, three) = (cluster.incarnation(2), cluster.incarnation(3));
    let table: [(Breaking<'_>, PartitionRefusal); 9] = [
        (&|c| c.id = unknown, PartitionRefusal::UnknownPartition { id: unknown }),
        (&|c| c.id = tp(7), PartitionRefusal::UnknownPartition { id: tp(7) }),
        (
            &|c| c.leader_epoch = LeaderEpoch(9),
            PartitionRefusal::StaleLeaderEpoch { got: LeaderEpoch(9), current: LeaderEpoch(1) },
        ),
        (
            &|c| c.partition_epoch = PartitionEpoch(0),
            PartitionRefusal::StalePartitionEpoch { got: PartitionEpoch(0), current: PartitionEpoch(1) },
        ),
        (&|c| c.isr.clear(), PartitionRefusal::LeaderNotInSync),
        (&|c| c.isr = vec![(b(2), two), (b(3), three)], PartitionRefusal::LeaderNotInSync),
        (&|c| c.isr = vec![(b(2), two), (b(2), two)], PartitionRefusal::MemberNamedTwice { broker: b(2) }),
        (&|c| c.isr.push((b(4), two)), PartitionRefusal::NotReplica { broker: b(4) }),
        (&|c| c.isr[1].1 = three, PartitionRefusal::MemberIncarnation { broker: b(2), got: three, current: two }),
    ];
    for (breaking, refusal) in table {
        let mut request = cluster.isr_change(0, &[1, 2]);
        breaking(&mut request.changes[0]);
        assert_eq!(on_alter_partitions(&cluster.image, &request).unwrap(), refused(refusal), "{refusal}");
    }
    let stranger = AlterPartitions { broker: b(2), incarnation: two, ..cluster.isr_change(0, &[1, 2]) };
    let not_leader = refused(PartitionRefusal::NotLeader { leader: Some(b(1)) });
    assert_eq!(on_alter_partitions(&cluster.image, &stranger).unwrap(), not_leader);
    let request = cluster.isr_change(0, &[1, 2]);
    cluster.shut_down(2);
    let not_active = refused(PartitionRefusal::MemberNotActive { broker: b(2) });
    assert_eq!(on_alter_partitions(&cluster.image, &request).unwrap(), not_active);
    cluster.fence(2);
    assert_eq!(on_alter_partitions(&cluster.image, &request).unwrap(), not_active);
    cluster.fence(1);
    assert_eq!(on_alter_partitions(&cluster.image, &request), Err(Refusal::BrokerFenced { broker: b(1) }));
    cluster.register(1);
    assert!(matches!(on_alter_partitions(&cluster.image, &request), Err(Refusal::FencedIncarnation { .. })));
}

fn refused(refusal: PartitionRefusal) -> Answered {
    Answered { records: Vec::new(), answers: vec![Err(refusal)] }
}

#[test]
fn each_partition_of_a_batch_is_answered_for_itself() {
    let mut cluster = Cluster::new(&[1, 1, 1]);
    cluster.create(1, 6, 3, 2).unwrap();
    let mut request = cluster.isr_change(0, &[1, 2]);
    for partition in [3, 1, 0] {
        request.changes.extend(cluster.isr_change(partition, &[1, 2]).changes);
    }
    let answered = cluster.answered(|i| on_alter_partitions(i, &request)).unwrap();
    let kinds: Vec<_> =
        answered.answers.iter().map(|answer| answer.as_ref().map(|state| state.isr.len()).map_err(|e| *e)).collect();
    let not_leader = PartitionRefusal::NotLeader { leader: Some(BrokerId(2)) };
    assert_eq!(kinds, [Ok(2), Ok(2), Err(not_leader), Err(PartitionRefusal::NamedTwice)]);
    assert_eq!(answered.records.len(), 2);
    request.changes = vec![request.changes[0].clone(); sluice_model::limits::PARTITIONS_PER_COMMAND_MAX + 1];
    assert!(matches!(on_alter_partitions(&cluster.image, &request), Err(Refusal::TooManyAtOnce { .. })));
}

/// The follower fetched up to the high watermark, the leader asked to add it, and meanwhile it has come back without
/// what it had.
#[test]
fn kip_903_a_replica_that_restarted_while_it_was_added_is_not_added() {
    let mut cluster = Cluster::of_three(1);
    cluster.fence(2);
    cluster.unfence(2);
    let (added, seen) = (cluster.isr_change(0, &[1, 2, 3]), cluster.incarnation(2));
    cluster.register_fresh(2);
    cluster.report(2, &[]);
    cluster.unfence(2);
    let current = cluster.incarnation(2);
    let refusal = PartitionRefusal::MemberIncarnation { broker: BrokerId(2), got: seen, current };
    assert_eq!(on_alter_partitions(&cluster.image, &added).unwrap(), refused(refusal));
    cluster.alter_isr(0, &[1, 2, 3]).unwrap();
    assert_eq!(cluster.shown(), "1@1 isr 1,2,3", "under its present incarnation it joins");
}

/// A member that stays in the set is looked at as well.
#[test]
fn kip_903_a_set_that_keeps_an_earlier_incarnation_is_refused() {
    let mut cluster = Cluster::of_three(1);
    let mut kept = cluster.isr_change(0, &[1, 2]);
    cluster.restart(2, Whole { end: end(1, 0) });
    assert_eq!(cluster.shown(), "1@1 isr 1,3");
    kept.changes[0].partition_epoch = cluster.image.partition(tp(0)).unwrap().partition_epoch;
    let answered = on_alter_partitions(&cluster.image, &kept).unwrap();
    assert!(matches!(answered.answers[0], Err(PartitionRefusal::MemberIncarnation { .. })), "{answered:?}");
}

/// What a leader may take for "not taken" is found only under the epochs of the change: with another one, however else the
/// change is wrong, the refusal may be its own doing.
#[test]
fn a_change_is_judged_only_under_its_own_epochs() {
    let mut cluster = Cluster::of_three(1);
    let good = cluster.isr_change(0, &[1, 2]);
    let (one, two, b) = (good.changes[0].isr[0], good.changes[0].isr[1], BrokerId);
    let other = Incarnation { number: 99, random: 9 };
    let wrong = [
        (vec![two], PartitionRefusal::LeaderNotInSync),
        (vec![one, two, two], PartitionRefusal::MemberNamedTwice { broker: b(2) }),
        (vec![one, (b(9), other)], PartitionRefusal::NotReplica { broker: b(9) }),
        (vec![one, (b(2), other)], PartitionRefusal::MemberIncarnation { broker: b(2), got: other, current: two.1 }),
    ];
    let answer =
        |cluster: &Cluster, request: &AlterPartitions| on_alter_partitions(&cluster.image, request).unwrap().answers[0].clone();
    let requests = wrong.map(|(isr, refusal)| {
        let mut request = good.clone();
        request.changes[0].isr = isr;
        assert_eq!(answer(&cluster, &request), Err(refusal));
        assert!(refusal.judges_change());
        request
    });
    // The first change was taken, and comes again.
    cluster.alter_isr(0, &[1, 2]).unwrap();
    for request in requests.iter().chain([&good]) {
        let refusal = answer(&cluster, request).unwrap_err();
        assert!(matches!(refusal, PartitionRefusal::StalePartitionEpoch { .. }) && !refusal.judges_change(), "{refusal:?}");
    }
    cluster.fence(1);
    cluster.unfence(1);
    for request in requests.iter().chain([&good]) {
        let refusal = answer(&cluster, request).unwrap_err();
        assert!(matches!(refusal, PartitionRefusal::NotLeader { .. }) && !refusal.judges_change(), "{refusal:?}");
    }
}
