use super::*;
use crate::Recovered::{CutTornGroup, Damaged, Whole};
use crate::testing::{Cluster, end};

#[test]
fn a_broker_is_let_in_after_it_has_said_what_it_recovered_and_until_it_stops() {
    let mut cluster = Cluster::of_three(2);
    cluster.register(1);
    let request = UnfenceBroker { broker: BrokerId(1), incarnation: cluster.incarnation(1) };
    assert_eq!(on_unfence_broker(&cluster.image, &request), Err(Refusal::NotRecovered { broker: BrokerId(1) }));
    cluster.report(1, &[]);
    cluster.unfence(1);
    assert_eq!(on_unfence_broker(&cluster.image, &request), Ok(Vec::new()));
    cluster.shut_down(1);
    assert_eq!(on_unfence_broker(&cluster.image, &request), Err(Refusal::BrokerShuttingDown { broker: BrokerId(1) }));
    cluster.register(1);
    let refused = on_unfence_broker(&cluster.image, &request);
    assert!(matches!(refused, Err(Refusal::FencedIncarnation { .. })), "{refused:?}");
}

#[test]
fn a_frozen_broker_that_wakes_leads_again_what_it_was_the_last_of() {
    let mut cluster = Cluster::of_three(2);
    [3, 2, 1].into_iter().for_each(|broker| drop(cluster.fence(broker)));
    cluster.unfence(3);
    assert_eq!(cluster.shown(), "-@2 isr 1 elr 2 last 1", "3 left while the others went on");
    cluster.unfence(1);
    assert_eq!(cluster.shown(), "1@3 isr 1 elr 2");
    cluster.unfence(2);
    assert_eq!(cluster.shown(), "1@3 isr 1 elr 2", "it joins when the leader says so");
}

/// All three stop at once with one in-sync member left and one that is eligible, and come back in some order.
#[test]
fn golden_elections_among_restarted_replicas() {
    let (short, long) = (end(1, 10), end(1, 12));
    type Back = (u32, crate::Recovered);
    let table: [(&str, [Back; 2], [&str; 2]); 9] = [
        (
            "the first clean one leads",
            [(1, Whole { end: long }), (2, Whole { end: short })],
            ["1@3 isr 1 elr 2", "1@3 isr 1 elr 2 (2 has 1:10)"],
        ),
        (
            "an eligible one does too",
            [(2, Whole { end: short }), (1, Whole { end: long })],
            ["2@3 isr 2 elr 1", "2@3 isr 2 elr 1 (1 has 1:12)"],
        ),
        (
            "one that cut waits for one that did not",
            [(1, CutTornGroup { end: long }), (2, Whole { end: short })],
            ["-@2 isr 1 elr 2 (1 has 1:12 cut) last 1", "2@3 isr 2 elr 1 (1 has 1:12 cut)"],
        ),
        (
            "of two that cut the longer leads",
            [(1, CutTornGroup { end: short }), (2, CutTornGroup { end: long })],
            ["-@2 isr 1 elr 2 (1 has 1:10 cut) last 1", "2@3 isr 2 elr 1 (1 has 1:10 cut)"],
        ),
        (
            "in either order",
            [(2, CutTornGroup { end: short }), (1, CutTornGroup { end: long })],
            ["-@2 isr 1 elr 2 (2 has 1:10 cut) last 1", "1@3 isr 1 elr 2 (2 has 1:10 cut)"],
        ),
        (
            "epochs come before offsets",
            [(1, CutTornGroup { end: end(3, 2) }), (2, CutTornGroup { end: end(1, 99) })],
            ["-@2 isr 1 elr 2 (1 has 3:2 cut) last 1", "1@4 isr 1 elr 2 (2 has 1:99 cut)"],
        ),
        (
            "equals lead by their place",
            [(1, CutTornGroup { end: long }), (2, CutTornGroup { end: long })],
            ["-@2 isr 1 elr 2 (1 has 1:12 cut) last 1", "1@3 isr 1 elr 2 (2 has 1:12 cut)"],
        ),
        (
            "nobody waits for a damaged one",
            [(1, CutTornGroup { end: short }), (2, Damaged)],
            ["-@2 isr 1 elr 2 (1 has 1:10 cut) last 1", "1@3 isr 1 damaged 2"],
        ),
        (
            "a damaged one waits for the other",
            [(1, Damaged), (2, Whole { end: short })],
            ["-@2 isr 1 elr 2 damaged 1 last 1", "2@3 isr 2 damaged 1"],
        ),
    ];
    for (what, back, states) in table {
        let mut cluster = Cluster::of_three(2);
        [3, 2, 1].into_iter().for_each(|broker| drop(cluster.fence(broker)));
        for ((broker, recovered), state) in back.into_iter().zip(states) {
            cluster.restart(broker, recovered);
            assert_eq!(cluster.shown(), state, "{what}, after {broker}");
        }
    }
}
