//! Of each topic every subscriber gets a run of neighbours, the first ones one more where it does not divide. Members
//! that subscribe to the same topics of equal size have equal partitions of each.

use super::Problem;

pub(super) fn assign(problem: &Problem) -> Vec<usize> {
    let mut counts = vec![0_usize; problem.subscribers.len()];
    problem.partitions.iter().for_each(|partition| counts[partition.topic] += 1);
    let owner = |topic: usize, index: usize| {
        let members = &problem.subscribers[topic];
        let (each, longer) = (counts[topic] / members.len(), counts[topic] % members.len());
        let in_longer = longer * (each + 1);
        let at = if index < in_longer { index / (each + 1) } else { longer + (index - in_longer) / each };
        members[at]
    };
    problem.partitions.iter().map(|partition| owner(partition.topic, partition.id.partition.0 as usize)).collect()
}
