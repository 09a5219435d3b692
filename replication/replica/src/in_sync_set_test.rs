use super::*;

fn set(members: &[u32]) -> BTreeSet<BrokerId> {
    members.iter().map(|&broker| BrokerId(broker)).collect()
}

fn maximal(isr: &InSyncSet) -> BTreeSet<BrokerId> {
    isr.maximal().collect()
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Propose(&'static [u32]),
    Refused(u64),
    Unknown(u64),
    Decided(u32, &'static [u32]),
}

#[test]
fn golden_table() {
    use Step::{Decided, Propose, Refused, Unknown};
    // Steps from {1, 2} at partition epoch 4 -> committed, maximal, smallest set that may be decided
    type Row = (&'static [Step], &'static [u32], &'static [u32], u32);
    let rows: [Row; 11] = [
        (&[], &[1, 2], &[1, 2], 2),
        (&[Propose(&[1, 2, 3])], &[1, 2], &[1, 2, 3], 2),
        (&[Propose(&[1])], &[1, 2], &[1, 2], 1),
        (&[Propose(&[1, 2, 3]), Refused(1)], &[1, 2], &[1, 2], 2),
        (&[Propose(&[1, 2, 3]), Refused(9)], &[1, 2], &[1, 2, 3], 2),
        (&[Propose(&[1, 2, 3]), Unknown(1)], &[1, 2], &[1, 2, 3], 2),
        // The retry is refused; the first may still be accepted.
        (&[Propose(&[1, 2, 3]), Unknown(1), Propose(&[1, 2, 3]), Refused(2)], &[1, 2], &[1, 2, 3], 2),
        // So may one of two different ones.
        (&[Propose(&[1, 2, 3]), Unknown(1), Propose(&[1]), Unknown(2)], &[1, 2], &[1, 2, 3], 1),
        (&[Propose(&[1, 2, 3]), Unknown(1), Propose(&[1]), Decided(5, &[1])], &[1], &[1], 1),
        (&[Propose(&[1, 2, 3]), Decided(5, &[1, 2, 3])], &[1, 2, 3], &[1, 2, 3], 3),
        (&[Propose(&[1, 2, 3]), Decided(4, &[1, 2, 3])], &[1, 2], &[1, 2, 3], 2),
    ];
    for (steps, committed, all, len_min) in rows {
        let mut isr = InSyncSet::decided(PartitionEpoch(4), set(&[1, 2]));
        for step in steps {
            match *step {
                Propose(members) => assert!(isr.propose(0, set(members)) > 0),
                Refused(number) => assert_eq!(isr.on_refused(number), number != 9, "{steps:?}"),
                Unknown(number) => assert!(isr.on_unknown(number), "{steps:?}"),
                Decided(epoch, members) => {
                    assert_eq!(isr.on_decided(PartitionEpoch(epoch), set(members)), epoch > 4, "{steps:?}")
                }
            }
        }
        assert_eq!((isr.committed(), maximal(&isr)), (&set(committed), set(all)), "{steps:?}");
        assert!(isr.satisfies(len_min) && !isr.satisfies(len_min + 1), "{steps:?}");
    }
}

#[test]
#[should_panic(expected = "one change is in flight at a time")]
fn a_second_change_is_not_sent_before_the_first_is_answered_or_given_up() {
    let mut isr = InSyncSet::new(set(&[1]));
    isr.propose(0, set(&[1, 2]));
    isr.propose(0, set(&[1, 3]));
}
