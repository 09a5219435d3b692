//! Processors: their clock's speed, threads of one core, isolation, memory nodes, the source of time.

use super::root::{Read, Root, if_there};
use std::collections::BTreeMap;

const FOLDER: &str = "/sys/devices/system/cpu";

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Processors {
    pub online: Read<Vec<usize>>,
    /// Processors by their governor; empty where nothing scales their frequency from in here.
    pub governors: Read<BTreeMap<String, Vec<usize>>>,
    /// Kept free of other work at boot (`isolcpus`).
    pub isolated: Read<Vec<usize>>,
    /// For each processor those that share its core, itself among them.
    pub siblings: Read<BTreeMap<usize, Vec<usize>>>,
    /// Memory nodes and their processors; empty where the kernel knows no nodes.
    pub nodes: Read<BTreeMap<usize, Vec<usize>>>,
    pub clock_source: Read<ClockSource>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClockSource {
    pub current: String,
    pub available: Vec<String>,
}

pub(super) fn read(root: &Root) -> Processors {
    let online = root.list(&format!("{FOLDER}/online"));
    Processors {
        governors: online.clone().and_then(|online| read_governors(root, &online)),
        siblings: online.clone().and_then(|online| read_siblings(root, &online)),
        isolated: root.list(&format!("{FOLDER}/isolated")),
        nodes: online.clone().and_then(|_| read_nodes(root)),
        clock_source: read_clock_source(root),
        online,
    }
}

fn read_governors(root: &Root, online: &[usize]) -> Read<BTreeMap<String, Vec<usize>>> {
    let mut governors = BTreeMap::<String, Vec<usize>>::new();
    for &core in online {
        if let Some(governor) = if_there(root.text(&format!("{FOLDER}/cpu{core}/cpufreq/scaling_governor")))? {
            governors.entry(governor).or_default().push(core);
        }
    }
    Ok(governors)
}

fn read_siblings(root: &Root, online: &[usize]) -> Read<BTreeMap<usize, Vec<usize>>> {
    let of = |&core: &usize| Ok((core, root.list(&format!("{FOLDER}/cpu{core}/topology/thread_siblings_list"))?));
    online.iter().map(of).collect()
}

fn read_nodes(root: &Root) -> Read<BTreeMap<usize, Vec<usize>>> {
    const NODES: &str = "/sys/devices/system/node";
    let Some(numbers) = if_there(root.list(&format!("{NODES}/online")))? else { return Ok(BTreeMap::new()) };
    let of = |&node: &usize| Ok((node, root.list(&format!("{NODES}/node{node}/cpulist"))?));
    numbers.iter().map(of).collect()
}

fn read_clock_source(root: &Root) -> Read<ClockSource> {
    const SOURCE: &str = "/sys/devices/system/clocksource/clocksource0";
    let available = root.text(&format!("{SOURCE}/available_clocksource"))?;
    Ok(ClockSource {
        current: root.parsed::<String>(&format!("{SOURCE}/current_clocksource"))?,
        available: available.split_whitespace().map(ToOwned::to_owned).collect(),
    })
}
