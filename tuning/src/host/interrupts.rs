//! The interrupts of a device: how many came, and which processors they go to.

use super::root::{Read, Root, Unread, if_there};
use std::collections::BTreeMap;

/// How often each interrupt came, by its number.
pub(super) type Counts = BTreeMap<u32, u64>;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interrupt {
    pub number: u32,
    pub count: u64,
    /// Processors it goes to.
    pub cores: Vec<usize>,
}

pub(super) fn read_counts(root: &Root) -> Read<Counts> {
    const PATH: &str = "/proc/interrupts";
    let text = root.text(PATH)?;
    let mut lines = text.lines();
    let processor_count = lines.next().unwrap_or_default().split_whitespace().filter(|word| word.starts_with("CPU")).count();
    if processor_count == 0 {
        return Err(Unread::malformed(PATH, &text));
    }
    // Lines without a number (NMI, LOC) belong to no device.
    let numbered = lines.filter_map(|line| {
        let (number, counts) = line.split_once(':')?;
        let counts = counts.split_whitespace().take(processor_count);
        Some((number.trim().parse().ok()?, counts.filter_map(|count| count.parse::<u64>().ok()).sum()))
    });
    Ok(numbered.collect())
}

/// Those of the device whose folder, or one above it, lists its message interrupts; none when nothing does.
pub(super) fn read_of(root: &Root, device: &str, counts: &Read<Counts>) -> Read<Vec<Interrupt>> {
    let Some(folder) = if_there(root.resolved(device))? else { return Ok(Vec::new()) };
    let above = std::path::Path::new(&folder).ancestors().map(|above| above.display().to_string());
    let mut listed = above.map(|above| format!("{above}/msi_irqs")).filter(|list| root.exists(list));
    let Some(list) = listed.next() else { return Ok(Vec::new()) };
    let counts = counts.as_ref().map_err(Clone::clone)?;
    let mut found = Vec::new();
    for name in root.names(&list)? {
        let number: u32 = name.parse().map_err(|_| Unread::malformed(&list, &name))?;
        let count = counts.get(&number).copied().unwrap_or(0);
        // One that never came has no processor yet.
        if count > 0 {
            found.push(Interrupt { number, count, cores: read_cores(root, number)? });
        }
    }
    found.sort_unstable_by_key(|interrupt| interrupt.number);
    Ok(found)
}

fn read_cores(root: &Root, number: u32) -> Read<Vec<usize>> {
    match if_there(root.list(&format!("/proc/irq/{number}/effective_affinity_list")))? {
        Some(cores) if !cores.is_empty() => Ok(cores),
        _ => root.list(&format!("/proc/irq/{number}/smp_affinity_list")),
    }
}
