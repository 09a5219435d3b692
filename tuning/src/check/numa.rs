//! Are shards, device and network on one memory node?

use super::{Finding, Needs, format_cores};
use crate::host::{Readings, Unread};

const ID: &str = "numa";

pub(super) fn judge(readings: &Readings, needs: &Needs) -> Vec<Finding> {
    vec![try_judge(readings, needs).unwrap_or_else(|unread| Finding::unread(ID, &unread))]
}

fn try_judge(readings: &Readings, needs: &Needs) -> Result<Finding, Unread> {
    let nodes = readings.processors.nodes.clone()?;
    if nodes.len() < 2 {
        return Ok(Finding::fine(ID, "one memory node"));
    }
    let mut of_devices = Vec::new();
    for device in &readings.devices {
        let device = device.as_ref().map_err(Clone::clone)?;
        of_devices.push((device.name.clone(), device.numa_node.clone()?));
    }
    for interface in readings.interfaces.as_ref().map_err(Clone::clone)? {
        of_devices.push((interface.name.clone(), interface.numa_node.clone()?));
    }
    let text = format!("{} memory nodes", nodes.len());
    for (name, node) in of_devices {
        // -1 is no node.
        let Some((node, cores)) = node.and_then(|node| usize::try_from(node).ok()).and_then(|node| nodes.get_key_value(&node))
        else {
            continue;
        };
        let far: Vec<usize> = needs.shards.iter().flatten().filter(|core| !cores.contains(core)).copied().collect();
        if !far.is_empty() {
            let why = "What a device writes to memory crosses to the other node first, and each access of a shard to it \
                crosses back (numactl --hardware shows the distance).";
            let found = format!("{text}; {name} is at node {node}, shards on {} are not", format_cores(&far));
            let command = format!("numactl --cpunodebind={node} --membind={node} sluice serve");
            return Ok(Finding::note(ID, found)
                .wanted("shards beside their device and network")
                .why(why)
                .fix(command, "# start it without numactl"));
        }
    }
    Ok(Finding::fine(ID, format!("{text}; the shards are where their devices are, or no device says where it is")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::testing::{device, good, needs, unread};
    use crate::host::{Device, Processors, Read};

    #[test]
    fn shards_far_from_their_device_are_told() {
        let judge_with = |node_count: usize, numa_node: Read<Option<i32>>, shards: &[usize]| {
            let nodes = Ok((0..node_count).map(|node| (node, vec![2 * node, 2 * node + 1])).collect());
            let devices = vec![Ok(Device { numa_node, ..device() })];
            let shards = shards.iter().map(|core| Some(*core)).collect();
            let readings = Readings { devices, processors: Processors { nodes, ..good().processors }, ..good() };
            judge(&readings, &Needs { shards, ..needs() })[0].clone()
        };
        for (node_count, numa_node, shards, expected) in [
            (0, Ok(None), &[1][..], "fine"),
            (1, Ok(Some(0)), &[1], "fine"),
            (2, Ok(Some(-1)), &[1, 2, 3], "fine"),
            (2, Ok(Some(1)), &[2, 3], "fine"),
            (2, Ok(Some(0)), &[1, 2, 3], "note"),
            (2, Err(unread()), &[1], "unread"),
        ] {
            assert_eq!(judge_with(node_count, numa_node.clone(), shards).severity.name(), expected, "{node_count} {numa_node:?}");
        }
        let told = judge_with(2, Ok(Some(0)), &[1, 2, 3]).to_string();
        assert!(told.contains("shards on 2-3 are not") && told.contains("--cpunodebind=0"), "{told}");
    }
}
