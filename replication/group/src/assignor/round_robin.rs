//! Partitions of all topics are dealt round, one to each member in turn that subscribes to it.

use super::Problem;

pub(super) fn assign(problem: &Problem) -> Vec<usize> {
    let mut next = 0;
    let owner = |members: &Vec<usize>| {
        let at = members.partition_point(|&member| member < next);
        let owner = members[at % members.len()];
        next = (owner + 1) % problem.member_count;
        owner
    };
    problem.partitions.iter().map(|partition| &problem.subscribers[partition.topic]).map(owner).collect()
}
