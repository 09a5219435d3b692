//! Sticky where members subscribe to different topics: what each had stays, what nobody has goes to whoever has the
//! least, and then partitions move only while that makes two members more even: from one with at least two more, along
//! a chain of members each of which can take what the one before it gives.
//!
//! That ends with the most even assignment there is (no such chain is left), and nothing moves when it was so already.

use super::Problem;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

pub(super) fn assign(problem: &Problem) -> Vec<usize> {
    let mut loads = Loads::of(problem);
    loop {
        let mut from: Vec<usize> = (0..problem.member_count).collect();
        from.sort_by_key(|&member| (Reverse(loads.counts[member]), member));
        if !from.into_iter().any(|member| loads.relieve(member)) {
            return loads.owners;
        }
    }
}

struct Loads<'a> {
    problem: &'a Problem,
    owners: Vec<usize>,
    counts: Vec<usize>,
    /// Partitions of each member, by topic.
    held: Vec<BTreeMap<usize, BTreeSet<usize>>>,
}

impl<'a> Loads<'a> {
    fn of(problem: &'a Problem) -> Self {
        let (counts, held) = (vec![0; problem.member_count], vec![BTreeMap::new(); problem.member_count]);
        let mut loads = Self { problem, owners: vec![usize::MAX; problem.partitions.len()], counts, held };
        for (number, partition) in problem.partitions.iter().enumerate() {
            if let Some(member) = partition.before {
                loads.give(number, member);
            }
        }
        // Those that few can take first: the others can still make it even.
        let mut free: Vec<usize> = (0..problem.partitions.len()).filter(|&n| loads.owners[n] == usize::MAX).collect();
        free.sort_by_key(|&number| (problem.subscribers[problem.partitions[number].topic].len(), number));
        for number in free {
            let members = &problem.subscribers[problem.partitions[number].topic];
            let least = members.iter().copied().min_by_key(|&member| (loads.counts[member], member));
            loads.give(number, least.expect("a topic is here because somebody subscribes to it"));
        }
        loads
    }

    fn give(&mut self, number: usize, member: usize) {
        let topic = self.problem.partitions[number].topic;
        self.owners[number] = member;
        self.counts[member] += 1;
        self.held[member].entry(topic).or_default().insert(number);
    }

    fn take(&mut self, number: usize) {
        let (topic, member) = (self.problem.partitions[number].topic, self.owners[number]);
        self.counts[member] -= 1;
        if let Some(of_topic) = self.held[member].get_mut(&topic) {
            of_topic.remove(&number);
            if of_topic.is_empty() {
                self.held[member].remove(&topic);
            }
        }
    }

    /// Moves one partition's worth from `from` to the one with the least that a chain reaches, if that has at least two
    /// less.
    fn relieve(&mut self, from: usize) -> bool {
        // How a member is reached: from whom, by which topic, in how many steps.
        let mut reached: Vec<Option<(usize, usize, usize)>> = vec![None; self.problem.member_count];
        let mut is_open = vec![true; self.problem.subscribers.len()];
        let mut queue = VecDeque::from([(from, 0)]);
        while let Some((member, steps)) = queue.pop_front() {
            for &topic in self.held[member].keys().filter(|&&topic| std::mem::take(&mut is_open[topic])) {
                for &next in &self.problem.subscribers[topic] {
                    if next != from && reached[next].is_none() {
                        reached[next] = Some((member, topic, steps + 1));
                        queue.push_back((next, steps + 1));
                    }
                }
            }
        }
        let ends = (0..self.problem.member_count).filter(|&member| self.counts[member] + 2 <= self.counts[from]);
        let reachable = ends.filter_map(|member| reached[member].map(|(_, _, steps)| (self.counts[member], steps, member)));
        let Some((_, _, mut to)) = reachable.min() else { return false };
        while to != from {
            let (giver, topic, _) = reached[to].expect("chains begin at `from`");
            let number = self.dearest(giver, topic, to);
            self.take(number);
            self.give(number, to);
            to = giver;
        }
        true
    }

    /// Which partition of `topic` the member `giver` gives to `to`: one that was `to`'s, else one that was not `giver`'s.
    fn dearest(&self, giver: usize, topic: usize, to: usize) -> usize {
        let rank = |&number: &usize| match self.problem.partitions[number].before {
            Some(before) if before == to => 0,
            Some(before) if before == giver => 2,
            _ => 1,
        };
        let held = self.held[giver].get(&topic).into_iter().flatten().copied();
        held.min_by_key(|number| (rank(number), *number)).expect("a member is a giver of what it holds")
    }
}
