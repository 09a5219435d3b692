//! Sticky where all members subscribe to the same: nobody has two more than another, and exactly as few partitions move
//! as that allows. Those who had the most have one more where it does not divide.

use super::Problem;
use std::cmp::Reverse;
use std::collections::BTreeSet;

pub(super) fn assign(problem: &Problem) -> Vec<usize> {
    if problem.partitions.is_empty() {
        return Vec::new();
    }
    let mut had = vec![0_usize; problem.member_count];
    problem.partitions.iter().filter_map(|partition| partition.before).for_each(|member| had[member] += 1);
    let (each, longer) = (problem.partitions.len() / problem.member_count, problem.partitions.len() % problem.member_count);
    let mut by_had: Vec<usize> = (0..problem.member_count).collect();
    by_had.sort_by_key(|&member| (Reverse(had[member]), member));
    let mut quotas = vec![each; problem.member_count];
    by_had.iter().take(longer).for_each(|&member| quotas[member] += 1);

    let mut counts = vec![0_usize; problem.member_count];
    let mut keep = |member: usize| {
        counts[member] += 1;
        counts[member] <= quotas[member]
    };
    let kept: Vec<Option<usize>> =
        problem.partitions.iter().map(|partition| partition.before.filter(|&member| keep(member))).collect();
    let full = |member: usize| had[member].min(quotas[member]);
    // Who has room, those with the least first: the partitions of a topic are spread.
    let mut room: BTreeSet<(usize, usize)> =
        (0..problem.member_count).filter(|&member| full(member) < quotas[member]).map(|member| (full(member), member)).collect();
    let mut deal = || {
        let (count, member) = room.pop_first().expect("quotas add up to all partitions");
        if count + 1 < quotas[member] {
            room.insert((count + 1, member));
        }
        member
    };
    kept.into_iter().map(|owner| owner.unwrap_or_else(&mut deal)).collect()
}
