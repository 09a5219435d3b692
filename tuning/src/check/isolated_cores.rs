//! Are the cores that the kernel keeps free the shards', and has a shard that never sleeps a core of its own?

use super::{Finding, Needs, format_cores};
use crate::host::Readings;

const ID: &str = "isolated-cores";

pub(super) fn judge(readings: &Readings, needs: &Needs) -> Vec<Finding> {
    let isolated = match &readings.processors.isolated {
        Ok(isolated) => isolated,
        Err(unread) => return vec![Finding::unread(ID, unread)],
    };
    let pinned: Vec<usize> = needs.shards.iter().flatten().copied().collect();
    let text = format!("isolated: {}", if isolated.is_empty() { "none".to_owned() } else { format_cores(isolated) });
    let within: Vec<usize> = needs.available.iter().filter(|core| isolated.contains(core)).copied().collect();
    vec![if isolated.is_empty() {
        judge_shared(text, needs, &pinned)
    } else if within.is_empty() {
        let why = "They are free of other work and this process may not run there.";
        let command = format!("taskset -c {},{} sluice serve", format_cores(&needs.available), format_cores(isolated));
        Finding::note(ID, text).wanted("shards on the isolated cores").why(why).fix(command, "# start it without taskset")
    } else if pinned.is_empty() {
        let why =
            "The kernel never moves a thread off an isolated core, so shards that are not pinned may pile up on one of them.";
        let free: Vec<usize> = needs.available.iter().filter(|core| !isolated.contains(core)).copied().collect();
        let command = if free.is_empty() {
            "sluice serve --shards 1".to_owned()
        } else {
            format!("taskset -c {} sluice serve", format_cores(&free))
        };
        Finding::warn(ID, text).wanted("pinned shards, or none on isolated cores").why(why).fix(command, "# start it without")
    } else if pinned.iter().all(|core| isolated.contains(core)) {
        Finding::fine(ID, format!("{text}, where the shards are"))
    } else {
        let why = "A shard beside other work waits for it, while cores that were kept free stay so.";
        let count = within.len();
        let finding =
            Finding::note(ID, format!("{text}; shards on {}", format_cores(&pinned))).wanted("shards on the isolated cores");
        finding.why(why).fix(format!("sluice serve --shards {count}"), format!("sluice serve --shards {}", needs.shards.len()))
    }]
}

/// Shards that sleep share their cores well; those that poll do not.
fn judge_shared(text: String, needs: &Needs, pinned: &[usize]) -> Finding {
    if !needs.busy_poll || pinned.is_empty() {
        return Finding::fine(ID, format!("{text}; shards that sleep need none"));
    }
    let free: Vec<usize> = needs.available.iter().filter(|core| !pinned.contains(core)).copied().collect();
    let finding = Finding::note(ID, text).wanted("cores of their own for shards that never sleep (busy_poll)");
    let finding = finding.why("What else runs on a shard's core takes whole time slices of it, milliseconds each.");
    if free.is_empty() {
        return finding;
    }
    let cores = format_cores(&free);
    finding.fix(
        format!(
            "sudo systemctl set-property --runtime system.slice AllowedCPUs={cores}; sudo systemctl set-property --runtime \
            user.slice AllowedCPUs={cores}  # and start the broker in a slice of its own"
        ),
        "sudo systemctl set-property --runtime system.slice AllowedCPUs=; sudo systemctl set-property --runtime user.slice \
            AllowedCPUs=",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::testing::{good, needs, unread};
    use crate::host::{Processors, Read};

    #[test]
    fn isolated_cores_are_for_shards() {
        let judge_with = |isolated: Read<Vec<usize>>, shards: &[Option<usize>], busy_poll| {
            let processors = Processors { isolated, ..good().processors };
            let needs = Needs { shards: shards.to_vec(), available: vec![0, 1, 2, 3], busy_poll, ..needs() };
            judge(&Readings { processors, ..good() }, &needs)[0].clone()
        };
        for (isolated, shards, busy_poll, expected) in [
            (vec![], &[Some(3)][..], false, "fine"),
            (vec![], &[Some(3)], true, "note"),
            (vec![], &[None], true, "fine"),
            (vec![2, 3], &[Some(2), Some(3)], true, "fine"),
            (vec![2, 3], &[Some(1), Some(2), Some(3)], false, "note"),
            (vec![2, 3], &[None, None], false, "warn"),
            (vec![8, 9], &[Some(3)], false, "note"),
        ] {
            let finding = judge_with(Ok(isolated.clone()), shards, busy_poll);
            assert_eq!(finding.severity.name(), expected, "{isolated:?} {shards:?}");
        }
        assert!(judge_with(Ok(vec![]), &[Some(3)], true).to_string().contains("AllowedCPUs=0-2;"));
        assert_eq!(judge_with(Err(unread()), &[None], false).severity.name(), "unread");
    }
}
