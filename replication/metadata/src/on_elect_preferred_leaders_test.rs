use super::*;
use crate::batch::Batch;
use crate::testing::{Cluster, tp};

fn elect(cluster: &mut Cluster, partitions: &[u32]) -> Vec<Result<Option<u32>, PartitionRefusal>> {
    let request = ElectPreferredLeaders { partitions: partitions.iter().map(|&p| tp(p)).collect() };
    let answered = cluster.answered(|i| on_elect_preferred_leaders(i, &request)).unwrap();
    answered.answers.into_iter().map(|answer| answer.map(|state| state.leader.map(|b| b.0))).collect()
}

#[test]
fn the_first_replica_leads_again_once_it_is_in_sync() {
    let mut cluster = Cluster::of_three(2);
    assert_eq!(elect(&mut cluster, &[0]), [Ok(Some(1))], "it does already");
    cluster.fence(1);
    cluster.unfence(1);
    assert_eq!(cluster.shown(), "2@2 isr 2,3");
    let not_in_sync = PartitionRefusal::NotInSync { broker: BrokerId(1) };
    assert_eq!(
        elect(&mut cluster, &[0, 0, 9]),
        [Err(not_in_sync), Err(PartitionRefusal::NamedTwice), Err(PartitionRefusal::UnknownPartition { id: tp(9) })]
    );
    assert_eq!(elect_all_preferred_leaders(&cluster.image), []);
    cluster.alter_isr(0, &[1, 2, 3]).unwrap();
    assert_eq!(elect(&mut cluster, &[0]), [Ok(Some(1))]);
    assert_eq!(cluster.shown(), "1@3 isr 1,2,3");
    [3, 2, 1].into_iter().for_each(|broker| drop(cluster.fence(broker)));
    assert_eq!(elect(&mut cluster, &[0]), [Err(PartitionRefusal::NoLeader)]);
}

#[test]
fn all_of_them_lead_as_they_were_assigned() {
    let mut cluster = Cluster::new(&[1, 1, 1]);
    cluster.create(1, 9, 3, 2).unwrap();
    let led = |cluster: &Cluster| [1, 2, 3].map(|b| cluster.image.led_by(BrokerId(b)).count());
    assert_eq!(led(&cluster), [3, 3, 3]);
    cluster.fence(1);
    cluster.unfence(1);
    assert_eq!(led(&cluster)[0], 0);
    (0..9).for_each(|p| drop(cluster.alter_isr(p, &[1, 2, 3]).unwrap()));
    let records = elect_all_preferred_leaders(&cluster.image);
    assert_eq!(records.len(), 3);
    cluster.apply_batch(&Batch { records });
    assert_eq!(led(&cluster), [3, 3, 3]);
}
