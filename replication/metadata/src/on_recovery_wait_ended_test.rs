use super::*;
use crate::Recovered::{CutTornGroup, Damaged};
use crate::testing::{Cluster, end, tp};

fn end_wait(cluster: &mut Cluster, partitions: Option<&[u32]>) -> usize {
    let partitions = partitions.map(|named| named.iter().map(|&p| tp(p)).collect());
    let event = EndRecoveryWait { partitions };
    cluster.run(|i| Ok::<_, crate::Refusal>(on_recovery_wait_ended(i, &event))).unwrap().len()
}

#[test]
fn one_that_cut_a_torn_group_leads_when_nobody_is_waited_for() {
    let mut cluster = Cluster::of_three(2);
    [3, 2, 1].into_iter().for_each(|broker| drop(cluster.fence(broker)));
    assert_eq!(end_wait(&mut cluster, None), 0, "nobody is there");
    cluster.restart(2, CutTornGroup { end: end(1, 5) });
    assert_eq!(cluster.shown(), "-@2 isr 1 elr 2 (2 has 1:5 cut) last 1");
    assert_eq!(end_wait(&mut cluster, Some(&[7])), 0, "another partition");
    assert_eq!(end_wait(&mut cluster, Some(&[0])), 1);
    assert_eq!(cluster.shown(), "2@3 isr 2 elr 1");
}

#[test]
fn what_is_damaged_does_not_lead_however_long_one_waits() {
    let mut cluster = Cluster::of_three(1);
    [3, 2, 1].into_iter().for_each(|broker| drop(cluster.fence(broker)));
    cluster.restart(1, Damaged);
    assert_eq!(end_wait(&mut cluster, None), 0);
    assert_eq!(cluster.shown(), "-@2 isr 1 damaged 1 last 1");
}
