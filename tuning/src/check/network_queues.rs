//! Do packets arrive on more than one core where there are many?

use super::{Finding, Needs};
use crate::host::{Interface, Readings, Unread};

const ID: &str = "network-queues";
/// With fewer cores one queue feeds them all.
const CORES_MIN: usize = 4;

pub(super) fn judge(readings: &Readings, needs: &Needs) -> Vec<Finding> {
    let interfaces = match &readings.interfaces {
        Ok(interfaces) => interfaces,
        Err(unread) => return vec![Finding::unread(ID, unread)],
    };
    if interfaces.is_empty() {
        let text = if readings.surroundings.is_container {
            "a container: the queues are the host's"
        } else {
            "no network device is seen"
        };
        return vec![Finding::not_applicable(ID, text)];
    }
    let judge_one = |interface: &Interface| {
        let finding = judge_interface(interface, readings, needs).unwrap_or_else(|unread| Finding::unread(ID, &unread));
        finding.about(&interface.name)
    };
    interfaces.iter().map(judge_one).collect()
}

fn judge_interface(interface: &Interface, readings: &Readings, needs: &Needs) -> Result<Finding, Unread> {
    let queues = interface.receive_queue_count.clone()?;
    let cores = needs.available.len();
    let text = format!("{queues} receive queue(s) for {cores} core(s)");
    if queues > 1 || cores < CORES_MIN {
        return Ok(Finding::fine(ID, text));
    }
    if interface.is_spread.clone()? {
        return Ok(Finding::fine(ID, format!("{text}, spread by the kernel (RPS)")));
    }
    let (wanted, name) = (cores.min(needs.shards.len().max(2)), &interface.name);
    let whose = if readings.surroundings.is_virtual { ", if the hypervisor offers them" } else { "" };
    let why = "One core takes the interrupts and the protocol work of every packet for all shards, and is full while others \
        wait (kernel documentation, networking/scaling).";
    let command = format!("sudo ethtool -L {name} combined {wanted}");
    let finding = Finding::note(ID, text).wanted(format!("{wanted} queues{whose}")).why(why);
    Ok(finding.fix(command, format!("sudo ethtool -L {name} combined {queues}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::testing::{good, needs, tell, unread};
    use crate::host::Read;

    #[test]
    fn one_queue_for_many_cores_is_told() {
        let judge_with = |queues: Read<usize>, is_spread: Read<bool>, cores: usize| {
            let interface = Interface { receive_queue_count: queues, is_spread, ..good().interfaces.unwrap()[0].clone() };
            let needs = Needs { available: (0..cores).collect(), shards: vec![None; cores - 1], ..needs() };
            tell(&judge(&Readings { interfaces: Ok(vec![interface]), ..good() }, &needs))[0].clone()
        };
        assert_eq!(judge_with(Ok(1), Ok(false), 2), "fine [eth0] network-queues: 1 receive queue(s) for 2 core(s)");
        assert_eq!(judge_with(Ok(4), Ok(false), 8), "fine [eth0] network-queues: 4 receive queue(s) for 8 core(s)");
        assert!(judge_with(Ok(1), Ok(true), 8).contains("RPS"));
        let told = judge_with(Ok(1), Ok(false), 8);
        assert!(told.starts_with("note [eth0] network-queues: 1 receive queue(s) for 8 core(s) | wanted 7 queues"), "{told}");
        assert!(told.ends_with("| sudo ethtool -L eth0 combined 7 | undo sudo ethtool -L eth0 combined 1"), "{told}");
        assert!(judge_with(Err(unread()), Ok(false), 8).starts_with("unread"));
        assert!(judge_with(Ok(1), Err(unread()), 8).starts_with("unread"));
        assert!(tell(&judge(&Readings { interfaces: Ok(vec![]), ..good() }, &needs()))[0].starts_with("not-applicable"));
    }
}
