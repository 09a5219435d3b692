use super::*;
use crate::testing::{member_id, topics, tp};
use proptest::prelude::*;

type Assigned = BTreeMap<MemberId, BTreeSet<TopicPartition>>;

fn subscribers(members: &[(&str, &[u8])]) -> Vec<Subscriber> {
    let subscriber = |&(name, topics): &(&str, &[u8])| Subscriber {
        member_id: member_id(name),
        topics: Rc::new(topics.iter().map(|&topic| TopicId([topic; 16])).collect()),
    };
    members.iter().map(subscriber).collect()
}

fn owners(assigned: &Assigned) -> BTreeMap<TopicPartition, MemberId> {
    assigned.iter().flat_map(|(&member_id, ids)| ids.iter().map(move |&id| (id, member_id))).collect()
}

fn shown(assigned: &Assigned) -> String {
    let list = |ids: &BTreeSet<TopicPartition>| {
        ids.iter().map(|id| format!("{}/{}", id.topic_id.0[0], id.partition)).collect::<Vec<_>>().join(" ")
    };
    assigned.iter().map(|(member, ids)| format!("{}: {}", char::from(member.0[0]), list(ids))).collect::<Vec<_>>().join("; ")
}

#[test]
fn golden_table() {
    type Members<'a> = &'a [(&'a str, &'a [u8])];
    let both: Members<'_> = &[("a", &[1, 2]), ("b", &[1, 2])];
    let mixed: Members<'_> = &[("b", &[1]), ("a", &[1, 2]), ("c", &[2])];
    let table: [(Assignor, Members<'_>, &[u32], &str); 10] = [
        (Assignor::Range, both, &[3, 2], "a: 1/0 1/1 2/0; b: 1/2 2/1"),
        (Assignor::RoundRobin, both, &[3, 2], "a: 1/0 1/2 2/1; b: 1/1 2/0"),
        (Assignor::Sticky, both, &[3, 2], "a: 1/0 1/2 2/1; b: 1/1 2/0"),
        (Assignor::Range, mixed, &[3, 3], "a: 1/2 2/0 2/1; b: 1/0 1/1; c: 2/2"),
        (Assignor::RoundRobin, mixed, &[3, 3], "a: 1/1 2/0 2/2; b: 1/0 1/2; c: 2/1"),
        (Assignor::Sticky, mixed, &[3, 3], "a: 1/1 2/1; b: 1/0 1/2; c: 2/0 2/2"),
        (Assignor::Range, both, &[1, 0], "a: 1/0; b: "),
        (Assignor::RoundRobin, both, &[0, 1], "a: 2/0; b: "),
        (Assignor::Sticky, both, &[], "a: ; b: "),
        (Assignor::Sticky, &[], &[3], ""),
    ];
    for (assignor, members, counts, expected) in table {
        let assigned = assign(assignor, &subscribers(members), &topics(counts), &BTreeMap::new());
        assert_eq!(shown(&assigned), expected, "{assignor:?} {members:?} {counts:?}");
    }
}

/// Who is there moves only what has to.
#[test]
fn sticky_golden_table() {
    let before: BTreeMap<_, _> =
        [(0, "a"), (1, "a"), (2, "a"), (3, "b"), (4, "b")].map(|(partition, name)| (tp(1, partition), member_id(name))).into();
    let table: [(&[&str], u32, &str); 6] = [
        (&["a", "b"], 5, "a: 1/0 1/1 1/2; b: 1/3 1/4"),
        (&["a", "b", "c"], 5, "a: 1/0 1/1; b: 1/3 1/4; c: 1/2"),
        (&["b"], 5, "b: 1/0 1/1 1/2 1/3 1/4"),
        (&["a", "b"], 6, "a: 1/0 1/1 1/2; b: 1/3 1/4 1/5"),
        (&["a", "b"], 4, "a: 1/0 1/1; b: 1/2 1/3"),
        (&["c", "d"], 5, "c: 1/0 1/2 1/4; d: 1/1 1/3"),
    ];
    for (names, count, expected) in table {
        let members: Vec<(&str, &[u8])> = names.iter().map(|&name| (name, &[1_u8][..])).collect();
        assert_eq!(shown(&assign(Assignor::Sticky, &subscribers(&members), &topics(&[count]), &before)), expected, "{names:?}");
    }
}

/// Chains: `a` is full of what only `b` can take, and `b` has what `c` can take.
#[test]
fn what_is_uneven_evens_out_along_a_chain() {
    let members = subscribers(&[("a", &[1]), ("b", &[1, 2]), ("c", &[2])]);
    let mut before: BTreeMap<_, _> = (0..4).map(|partition| (tp(1, partition), member_id("a"))).collect();
    before.extend([(tp(2, 0), member_id("b")), (tp(2, 1), member_id("b"))]);
    let assigned = assign(Assignor::Sticky, &members, &topics(&[4, 2]), &before);
    assert_eq!(shown(&assigned), "a: 1/2 1/3; b: 1/0 1/1; c: 2/0 2/1");
}

const NAMES: [&str; 7] = ["a", "b", "c", "d", "e", "f", "g"];

/// Subscriptions as sets of topics 1 to 3, sizes of the topics, and who had what: any of the members or nobody.
fn problem(members: usize, partitions: u32) -> impl Strategy<Value = (Vec<u8>, Vec<u32>, Vec<usize>)> {
    let count = 3 * partitions as usize;
    (
        prop::collection::vec(1_u8..8, 1..=members),
        prop::collection::vec(0..=partitions, 3),
        prop::collection::vec(0..NAMES.len() + 1, count),
    )
}

struct Case {
    members: Vec<Subscriber>,
    topics: std::sync::Arc<Topics>,
    before: BTreeMap<TopicPartition, MemberId>,
}

fn case(masks: &[u8], counts: &[u32], had: &[usize]) -> Case {
    let list = |mask: u8| (1..=3).filter(|topic| mask & (1 << (topic - 1)) != 0).collect::<Vec<u8>>();
    let lists: Vec<_> = masks.iter().map(|&mask| list(mask)).collect();
    let members: Vec<_> = NAMES.iter().zip(&lists).map(|(&name, list)| (name, &list[..])).collect();
    let all = (1_u8..).zip(counts).flat_map(|(topic, &count)| (0..count).map(move |partition| tp(topic, partition)));
    let before = all.zip(had).filter_map(|(id, &who)| Some((id, member_id(NAMES.get(who)?)))).collect();
    Case { members: subscribers(&members), topics: topics(counts), before }
}

/// Everything that is subscribed to is one member's, who subscribes to it.
fn check_whole(case: &Case, assigned: &Assigned) {
    let owners = owners(assigned);
    assert_eq!(owners.len(), assigned.values().map(BTreeSet::len).sum::<usize>(), "no partition is two members'");
    let subscribed: BTreeSet<TopicId> = case.members.iter().flat_map(|member| member.topics.iter().copied()).collect();
    let all: BTreeSet<_> = subscribed.iter().flat_map(|&topic_id| case.topics.partitions(topic_id)).collect();
    assert!(owners.keys().eq(all.iter()), "every partition is somebody's");
    for member in &case.members {
        assert!(assigned[&member.member_id].iter().all(|id| member.topics.contains(&id.topic_id)));
    }
}

/// The sum of squares of how many each has: the smaller, the more even.
fn unevenness(counts: impl Iterator<Item = usize>) -> usize {
    counts.map(|count| count * count).sum()
}

/// The least there is, by trying everything.
fn least_unevenness(case: &Case, ids: &[TopicPartition], counts: &mut Vec<usize>) -> usize {
    let Some((id, rest)) = ids.split_first() else { return unevenness(counts.iter().copied()) };
    let takers: Vec<usize> = (0..counts.len()).filter(|&at| case.members[at].topics.contains(&id.topic_id)).collect();
    let with = |taker: usize| {
        counts[taker] += 1;
        let least = least_unevenness(case, rest, counts);
        counts[taker] -= 1;
        least
    };
    takers.into_iter().map(with).min().expect("somebody subscribes to it")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn every_assignment_is_whole_and_stays((masks, counts, had) in problem(7, 6)) {
        let case = case(&masks, &counts, &had);
        for assignor in [Assignor::Sticky, Assignor::Range, Assignor::RoundRobin] {
            let assigned = assign(assignor, &case.members, &case.topics, &case.before);
            check_whole(&case, &assigned);
            let again = assign(assignor, &case.members, &case.topics, &owners(&assigned));
            prop_assert_eq!(&again, &assigned, "what is right stays");
        }
    }

    /// Nobody has two more than another, and exactly as many stay as can.
    #[test]
    fn sticky_moves_the_least_where_all_subscribe_to_the_same((masks, counts, had) in problem(7, 9)) {
        let case = case(&vec![7; masks.len()], &counts, &had);
        let assigned = assign(Assignor::Sticky, &case.members, &case.topics, &case.before);
        check_whole(&case, &assigned);
        let sizes: Vec<usize> = assigned.values().map(BTreeSet::len).collect();
        prop_assert!(sizes.iter().max().unwrap() - sizes.iter().min().unwrap() <= 1, "{sizes:?}");
        let after = owners(&assigned);
        let stayed = case.before.iter().filter(|(id, member)| after.get(id) == Some(member)).count();
        let total: usize = sizes.iter().sum();
        let (each, longer) = (total / sizes.len(), total % sizes.len());
        let before = |member: &Subscriber| case.before.values().filter(|&&id| id == member.member_id).count();
        let before: Vec<usize> = case.members.iter().map(before).collect();
        let can_stay: usize = before.iter().map(|&count| count.min(each)).sum();
        let one_more = before.iter().filter(|&&count| count > each).count().min(longer);
        prop_assert_eq!(stayed, can_stay + one_more);
    }

    /// As even as anything can be, by trying everything.
    #[test]
    fn sticky_is_as_even_as_can_be((masks, counts, had) in problem(4, 3)) {
        let case = case(&masks, &counts, &had);
        let assigned = assign(Assignor::Sticky, &case.members, &case.topics, &case.before);
        let ids: Vec<_> = owners(&assigned).into_keys().take(8).collect();
        prop_assume!(ids.len() == assigned.values().map(BTreeSet::len).sum::<usize>());
        let least = least_unevenness(&case, &ids, &mut vec![0; case.members.len()]);
        prop_assert_eq!(unevenness(assigned.values().map(BTreeSet::len)), least);
    }
}
