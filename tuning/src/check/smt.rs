//! Do two shards share the execution units of one core?

use super::{Finding, Needs, format_cores};
use crate::host::Readings;

const ID: &str = "smt";

pub(super) fn judge(readings: &Readings, needs: &Needs) -> Vec<Finding> {
    let siblings = match &readings.processors.siblings {
        Ok(siblings) => siblings,
        Err(unread) => return vec![Finding::unread(ID, unread)],
    };
    if siblings.values().all(|threads| threads.len() < 2) {
        let whose = if readings.surroundings.is_virtual { ", says the hypervisor" } else { "" };
        return vec![Finding::fine(ID, format!("one thread per core{whose}"))];
    }
    let pinned: Vec<usize> = needs.shards.iter().flatten().copied().collect();
    let crowded = |core: &&usize| {
        siblings.get(core).is_some_and(|threads| threads.iter().any(|other| other != *core && pinned.contains(other)))
    };
    let crowded: Vec<usize> = pinned.iter().filter(crowded).copied().collect();
    if crowded.is_empty() {
        return vec![Finding::fine(ID, "each shard has a core of its own")];
    }
    // One thread of each core, and the shards that remain when one of them is left free.
    let first = |core: &&usize| siblings.get(core).and_then(|threads| threads.iter().min()).is_none_or(|first| first == *core);
    let cores: Vec<usize> = needs.available.iter().filter(first).copied().collect();
    let why = "Two threads of a core share its execution units and its caches, so each is slower than alone, and by how much \
        depends on its neighbour.";
    vec![
        Finding::note(ID, format!("shards on both threads of a core: {}", format_cores(&crowded)))
            .wanted("one shard per core, for latency; for throughput measure both")
            .why(why)
            .fix(format!("taskset -c {} sluice serve", format_cores(&cores)), "# start it without taskset"),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::testing::{good, needs, tell, unread};
    use crate::host::{Processors, Read};
    use std::collections::BTreeMap;

    #[test]
    fn two_shards_on_one_core_are_told() {
        let judge_with = |siblings: Read<BTreeMap<usize, Vec<usize>>>, shards: &[usize]| {
            let processors = Processors { siblings, ..good().processors };
            let shards = shards.iter().map(|core| Some(*core)).collect();
            judge(&Readings { processors, ..good() }, &Needs { shards, available: vec![0, 1, 2, 3], ..needs() })
        };
        let alone: BTreeMap<_, _> = (0..4).map(|core| (core, vec![core])).collect();
        let paired: BTreeMap<_, _> = (0..4).map(|core| (core, vec![core % 2, core % 2 + 2])).collect();
        assert_eq!(tell(&judge_with(Ok(alone), &[1, 2, 3])), ["fine smt: one thread per core"]);
        assert_eq!(tell(&judge_with(Ok(paired.clone()), &[2, 3])), ["fine smt: each shard has a core of its own"]);
        let told = judge_with(Ok(paired), &[1, 2, 3]);
        assert_eq!((told[0].severity.name(), told[0].found.as_str()), ("note", "shards on both threads of a core: 1,3"));
        assert_eq!(told[0].fixes[0].command, "taskset -c 0-1 sluice serve");
        assert_eq!(judge_with(Err(unread()), &[1])[0].severity.name(), "unread");
    }
}
