use super::*;
use crate::testing::{Cluster, incarnation};

#[test]
fn leadership_goes_to_the_others_and_what_nobody_else_holds_stays() {
    let mut cluster = Cluster::of_three(2);
    cluster.shut_down(1);
    assert_eq!(cluster.shown(), "2@2 isr 2,3");
    assert_eq!(cluster.image.led_by(BrokerId(1)).count(), 0);
    assert_eq!(cluster.shut_down(1), []);
    cluster.fence(1);
    assert_eq!(cluster.shown(), "2@2 isr 2,3");
    cluster.fence(3);
    assert_eq!(cluster.shown(), "2@2 isr 2 elr 3");
    cluster.shut_down(2);
    assert_eq!(cluster.shown(), "2@2 isr 2 elr 3", "it is the last one");
    assert_eq!(cluster.image.led_by(BrokerId(2)).count(), 1);
    cluster.unfence(3);
    cluster.alter_isr(0, &[2, 3]).unwrap();
    assert_eq!(cluster.shown(), "2@2 isr 2,3");
    assert_eq!(cluster.shut_down(2).len(), 1, "asked again, it hands over to the one that joined");
    assert_eq!(cluster.shown(), "3@3 isr 3 elr 2");
    cluster.fence(2);
    assert_eq!(cluster.shown(), "3@3 isr 3 elr 2");
}

#[test]
fn one_without_a_lease_has_nothing_to_give() {
    let mut cluster = Cluster::of_three(2);
    cluster.fence(1);
    assert_eq!(cluster.shut_down(1), []);
    let request = BeginShutdown { broker: BrokerId(2), incarnation: incarnation(9) };
    assert!(matches!(on_begin_shutdown(&cluster.image, &request), Err(Refusal::FencedIncarnation { .. })));
}
