//! Do the interrupts of disk and network leave the shards' cores alone where there are others?

use super::{Finding, Needs, format_cores};
use crate::host::{Interrupt, Read, Readings};

const ID: &str = "irq-affinity";

pub(super) fn judge(readings: &Readings, needs: &Needs) -> Vec<Finding> {
    let mut findings = Vec::new();
    for device in &readings.devices {
        findings.push(match device {
            Ok(device) => judge_one(&device.interrupts, needs).about(&device.name),
            Err(unread) => Finding::unread(ID, unread),
        });
    }
    match &readings.interfaces {
        Ok(interfaces) => findings.extend(interfaces.iter().map(|one| judge_one(&one.interrupts, needs).about(&one.name))),
        Err(unread) => findings.push(Finding::unread(ID, unread)),
    }
    findings
}

fn judge_one(interrupts: &Read<Vec<Interrupt>>, needs: &Needs) -> Finding {
    let interrupts = match interrupts {
        Ok(interrupts) => interrupts,
        Err(unread) => return Finding::unread(ID, unread),
    };
    // Some devices have a few beside their queues, for rare news.
    let most = interrupts.iter().map(|interrupt| interrupt.count).max().unwrap_or(0);
    let busy: Vec<&Interrupt> = interrupts.iter().filter(|interrupt| interrupt.count > most / 100).collect();
    let mut cores: Vec<usize> = busy.iter().flat_map(|interrupt| interrupt.cores.iter().copied()).collect();
    cores.sort_unstable();
    cores.dedup();
    if busy.is_empty() {
        return Finding::not_applicable(ID, "no interrupts of its own are seen");
    }
    let pinned: Vec<usize> = needs.shards.iter().flatten().copied().collect();
    let free: Vec<usize> = needs.available.iter().filter(|core| !pinned.contains(core)).copied().collect();
    let text = format!("{} interrupt(s), on core(s) {}", busy.len(), format_cores(&cores));
    // Queues spread over all cores are as they should be: the core that asks is the one that is told.
    let ([core], false) = (&cores[..], free.is_empty()) else { return Finding::fine(ID, text) };
    if !pinned.contains(core) {
        return Finding::fine(ID, text);
    }
    let why = "Each completion and packet of all shards interrupts this one, whose own work waits meanwhile.";
    let finding = Finding::note(ID, format!("{text}, where a shard is pinned"));
    let finding = finding.wanted(format!("core(s) {}, where no shard is", format_cores(&free))).why(why);
    busy.iter().fold(finding, |finding, interrupt| {
        let write =
            |cores: &[usize]| format!("echo {} | sudo tee /proc/irq/{}/smp_affinity_list", format_cores(cores), interrupt.number);
        finding.fix(format!("{}  # irqbalance, where it runs, may move it back", write(&free)), write(&interrupt.cores))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::testing::{device, good, needs, tell, unread};
    use crate::host::Device;

    fn judge_with(interrupts: Read<Vec<Interrupt>>, shards: &[usize]) -> Vec<Finding> {
        let devices = vec![Ok(Device { interrupts, ..device() })];
        let needs = Needs { shards: shards.iter().map(|core| Some(*core)).collect(), available: vec![0, 1, 2, 3], ..needs() };
        judge(&Readings { devices, interfaces: Ok(vec![]), ..good() }, &needs)
    }

    fn interrupt(number: u32, count: u64, cores: &[usize]) -> Interrupt {
        Interrupt { number, count, cores: cores.to_vec() }
    }

    #[test]
    fn a_single_interrupt_on_a_shards_core_is_told() {
        for (interrupts, shards, expected) in [
            (Ok(vec![]), &[3][..], "not-applicable [nvme0n1] irq-affinity: no interrupts of its own are seen"),
            (Ok(vec![interrupt(36, 900, &[0])]), &[1, 2, 3], "fine [nvme0n1] irq-affinity: 1 interrupt(s), on core(s) 0"),
            (
                Ok(vec![interrupt(35, 1, &[0]), interrupt(36, 900, &[1])]),
                &[1, 2, 3],
                "note [nvme0n1] irq-affinity: 1 interrupt(s), on core(s) 1, where a shard is pinned | wanted core(s) 0",
            ),
            (
                Ok((0..4).map(|core| interrupt(40 + core, 900, &[core as usize])).collect()),
                &[1, 2, 3],
                "fine [nvme0n1] irq-affinity: 4 interrupt(s), on core(s) 0-3",
            ),
            (Ok(vec![interrupt(36, 900, &[1])]), &[0, 1, 2, 3], "fine [nvme0n1] irq-affinity: 1 interrupt(s), on core(s) 1"),
            (Err(unread()), &[1], "unread [nvme0n1] irq-affinity"),
        ] {
            let told = tell(&judge_with(interrupts, shards));
            assert!(told[0].starts_with(expected), "{told:?}");
        }
    }

    #[test]
    fn the_fix_goes_back_to_the_cores_of_before() {
        let findings = judge_with(Ok(vec![interrupt(36, 900, &[1])]), &[1, 2, 3]);
        assert!(findings[0].fixes[0].command.starts_with("echo 0 | sudo tee /proc/irq/36/smp_affinity_list"));
        assert_eq!(findings[0].fixes[0].undo, "echo 1 | sudo tee /proc/irq/36/smp_affinity_list");
    }
}
