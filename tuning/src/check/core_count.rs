//! Are there enough cores for the shards and for what works beside them?

use super::{Finding, Needs, format_cores};
use crate::host::Readings;

const ID: &str = "core-count";

pub(super) fn judge(_readings: &Readings, needs: &Needs) -> Vec<Finding> {
    let (shards, cores) = (needs.shards.len(), needs.available.len());
    let text = format!("{cores} core(s) for {shards} shard(s)");
    vec![if cores == 0 {
        Finding::unread(
            ID,
            &crate::host::Unread {
                path: "the processors this process may run on".to_owned(),
                why: "the kernel names none".to_owned(),
                is_missing: false,
            },
        )
    } else if shards > cores {
        let why = "Shards that share a core wait for one another, and nothing is pinned.";
        let fix = format!("sluice serve --shards {}", cores.saturating_sub(1).max(1));
        Finding::warn(ID, text)
            .wanted("a core for each shard, and one beside")
            .why(why)
            .fix(fix, format!("sluice serve --shards {shards}"))
    } else if shards == cores {
        let why = "The kernel's workers complete the writes on some core: when every core has a shard, each interrupts one.";
        let finding = Finding::note(ID, text).wanted("one core more than shards").why(why);
        if shards > 1 {
            finding.fix(format!("sluice serve --shards {}", shards - 1), format!("sluice serve --shards {shards}"))
        } else {
            finding
        }
    } else {
        let pinned: Vec<usize> = needs.shards.iter().flatten().copied().collect();
        let place = if pinned.is_empty() { "not pinned".to_owned() } else { format!("pinned to {}", format_cores(&pinned)) };
        Finding::fine(ID, format!("{text}, {place}"))
    }]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::testing::{good, needs, tell};

    #[test]
    fn a_core_beside_the_shards_is_wanted() {
        for (cores, shards, expected) in [
            (4, vec![Some(1), Some(2), Some(3)], "fine core-count: 4 core(s) for 3 shard(s), pinned to 1-3"),
            (4, vec![None], "fine core-count: 4 core(s) for 1 shard(s), not pinned"),
            (2, vec![Some(0), Some(1)], "note core-count: 2 core(s) for 2 shard(s) | wanted one core more than shards"),
            (1, vec![None], "note core-count: 1 core(s) for 1 shard(s) | wanted one core more than shards"),
            (2, vec![None; 4], "warn core-count: 2 core(s) for 4 shard(s) | wanted a core for each shard"),
            (0, vec![None], "unread core-count"),
        ] {
            let told = tell(&judge(&good(), &Needs { available: (0..cores).collect(), shards, ..needs() }));
            assert!(told[0].starts_with(expected), "{told:?}");
        }
    }
}
