use super::*;
use crate::Recovered::{Damaged, Whole};
use crate::testing::{Cluster, end, tp};

/// The last in-sync replica has lost its disk; 3 left the in-sync set before.
fn lost() -> Cluster {
    let mut cluster = Cluster::of_three(1);
    [3, 2, 1].into_iter().for_each(|broker| drop(cluster.fence(broker)));
    cluster.register_fresh(1);
    cluster.report(1, &[]);
    cluster.unfence(1);
    cluster.restart(3, Whole { end: end(1, 7) });
    assert_eq!(cluster.shown(), "-@2 isr 1 damaged 1 last 1");
    cluster
}

fn request(cluster: &Cluster, broker: u32, shown: &[(u32, Option<crate::ReplicaEnd>)]) -> ElectUncleanLeader {
    let shown = shown.iter().map(|&(broker, end)| ShownReplica { broker: BrokerId(broker), end }).collect();
    let partition_epoch = cluster.image.partition(tp(0)).unwrap().partition_epoch;
    ElectUncleanLeader { id: tp(0), broker: BrokerId(broker), partition_epoch, shown }
}

#[test]
fn an_operator_elects_by_name_and_the_record_says_what_it_was_shown() {
    let mut cluster = lost();
    let request = request(&cluster, 3, &[(1, Some(end(0, 0))), (2, None), (3, Some(end(5, 7)))]);
    let records = cluster.run(|i| on_elect_unclean_leader(i, &request)).unwrap();
    assert!(matches!(&records[..], [Record::UncleanLeaderElected(r)] if r.shown == request.shown));
    assert_eq!(cluster.shown(), "3@6 isr 3 damaged 1", "above every epoch that was shown");
    cluster.restart(2, Whole { end: end(1, 9) });
    assert_eq!(cluster.shown(), "3@6 isr 3 damaged 1", "what 2 holds beyond is given up");
    let again = on_elect_unclean_leader(&cluster.image, &request);
    assert_eq!(again, Err(PartitionRefusal::HasLeader { leader: BrokerId(3) }));
}

#[test]
fn a_damaged_replica_can_be_elected_too() {
    let mut cluster = Cluster::of_three(2);
    [3, 2, 1].into_iter().for_each(|broker| drop(cluster.fence(broker)));
    cluster.restart(1, Damaged);
    let request = request(&cluster, 1, &[(1, Some(end(1, 3)))]);
    cluster.run(|i| on_elect_unclean_leader(i, &request)).unwrap();
    assert_eq!(cluster.shown(), "1@3 isr 1", "what was eligible is no longer: it may hold what is given up");
}

#[test]
fn what_is_refused() {
    let cluster = lost();
    let refused = |request: ElectUncleanLeader| on_elect_unclean_leader(&cluster.image, &request).unwrap_err();
    let (b, three) = (BrokerId, (3, Some(end(1, 7))));
    assert_eq!(refused(request(&cluster, 3, &[(3, None)])), PartitionRefusal::NotShown { broker: b(3) });
    assert_eq!(refused(request(&cluster, 3, &[(1, Some(end(1, 1)))])), PartitionRefusal::NotShown { broker: b(3) });
    assert_eq!(refused(request(&cluster, 3, &[three, three])), PartitionRefusal::MemberNamedTwice { broker: b(3) });
    assert_eq!(refused(request(&cluster, 3, &[three, (4, None)])), PartitionRefusal::NotReplica { broker: b(4) });
    assert_eq!(refused(request(&cluster, 4, &[three])), PartitionRefusal::NotReplica { broker: b(4) });
    let fenced = request(&cluster, 2, &[(2, Some(end(1, 9)))]);
    assert_eq!(refused(fenced), PartitionRefusal::MemberNotActive { broker: b(2) });
    let (got, known) = (PartitionEpoch(0), cluster.image.partition(tp(0)).unwrap().partition_epoch);
    let stale = ElectUncleanLeader { partition_epoch: got, ..request(&cluster, 3, &[three]) };
    assert_eq!(refused(stale), PartitionRefusal::StalePartitionEpoch { got, current: known });
    let unknown = ElectUncleanLeader { id: tp(9), ..request(&cluster, 3, &[three]) };
    assert_eq!(refused(unknown), PartitionRefusal::UnknownPartition { id: tp(9) });
    let forged = request(&cluster, 3, &[(3, Some(end(u32::MAX, 7)))]);
    assert_eq!(refused(forged), PartitionRefusal::ImplausibleEpoch { got: LeaderEpoch(u32::MAX) });
}
