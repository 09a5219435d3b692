//! Network interfaces that have a device: their receive queues and interrupts.

use super::interrupts::{Counts, Interrupt};
use super::root::{Read, Root, if_there};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    pub name: String,
    pub receive_queue_count: Read<usize>,
    /// The kernel spreads packets itself (RPS).
    pub is_spread: Read<bool>,
    pub numa_node: Read<Option<i32>>,
    pub interrupts: Read<Vec<Interrupt>>,
}

/// Loopback, bridges and the like have no device and are left out.
pub(super) fn read(root: &Root, counts: &Read<Counts>) -> Read<Vec<Interface>> {
    const FOLDER: &str = "/sys/class/net";
    let names = root.names(FOLDER)?;
    let with_device = names.iter().filter(|name| root.exists(&format!("{FOLDER}/{name}/device")));
    Ok(with_device.map(|name| read_one(root, &format!("{FOLDER}/{name}"), name, counts)).collect())
}

fn read_one(root: &Root, folder: &str, name: &str, counts: &Read<Counts>) -> Interface {
    let queues = root.names(&format!("{folder}/queues"));
    let receive = queues.map(|names| names.into_iter().filter(|name| name.starts_with("rx-")).collect::<Vec<_>>());
    let spread = |queues: &Vec<String>| {
        let masks = queues.iter().map(|queue| if_there(root.text(&format!("{folder}/queues/{queue}/rps_cpus"))));
        let masks = masks.collect::<Read<Vec<_>>>()?;
        Ok(masks.into_iter().flatten().any(|mask| mask.chars().any(|digit| digit != '0' && digit != ',')))
    };
    Interface {
        name: name.to_owned(),
        is_spread: receive.as_ref().map_err(Clone::clone).and_then(spread),
        receive_queue_count: receive.map(|queues| queues.len()),
        numa_node: if_there(root.parsed(&format!("{folder}/device/numa_node"))),
        interrupts: super::interrupts::read_of(root, &format!("{folder}/device"), counts),
    }
}
