use super::*;
use crate::Recovered::{Damaged, Whole};
use crate::testing::{Cluster, end, incarnation, tp};

fn repair(cluster: &mut Cluster, leader_epoch: u32) -> Result<PartitionState, PartitionRefusal> {
    let replicas = vec![(tp(0), LeaderEpoch(leader_epoch))];
    let request = RepairReplicas { broker: BrokerId(1), incarnation: cluster.incarnation(1), replicas };
    cluster.answered(|i| on_repair_replicas(i, &request)).unwrap().answers[0].clone()
}

#[test]
fn a_damaged_replica_joins_after_it_was_made_whole_under_the_present_leader() {
    let mut cluster = Cluster::of_three(2);
    cluster.restart(1, Damaged);
    assert_eq!(cluster.shown(), "2@2 isr 2,3 damaged 1");
    assert_eq!(cluster.alter_isr(0, &[1, 2, 3]), Err(PartitionRefusal::MemberDamaged { broker: BrokerId(1) }));
    let stale = PartitionRefusal::StaleLeaderEpoch { got: LeaderEpoch(1), current: LeaderEpoch(2) };
    assert_eq!(repair(&mut cluster, 1), Err(stale));
    assert_eq!(repair(&mut cluster, 2).unwrap().damaged, []);
    cluster.alter_isr(0, &[1, 2, 3]).unwrap();
    assert_eq!(cluster.shown(), "2@2 isr 1,2,3");
    assert_eq!(repair(&mut cluster, 2).map(drop), Ok(()), "it was whole already");
}

#[test]
fn without_a_leader_nobody_says_what_whole_is() {
    let mut cluster = Cluster::of_three(2);
    [3, 2, 1].into_iter().for_each(|broker| drop(cluster.fence(broker)));
    cluster.restart(1, Damaged);
    assert_eq!(repair(&mut cluster, 2), Err(PartitionRefusal::NoLeader));
    cluster.restart(2, Whole { end: end(1, 4) });
    repair(&mut cluster, 3).unwrap();
    assert_eq!(cluster.shown(), "2@3 isr 2");
    let old = RepairReplicas { broker: BrokerId(1), incarnation: incarnation(1), replicas: Vec::new() };
    assert!(matches!(on_repair_replicas(&cluster.image, &old), Err(Refusal::FencedIncarnation { .. })));
}
