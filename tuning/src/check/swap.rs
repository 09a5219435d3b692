//! May the kernel put a broker's memory on disk?

use super::{Change, Finding, Needs};
use crate::host::{Readings, Unread};

const ID: &str = "swap";
const SWAPPINESS_MAX: u32 = 10;

pub(super) fn judge(readings: &Readings, _needs: &Needs) -> Vec<Finding> {
    vec![try_judge(readings).unwrap_or_else(|unread| Finding::unread(ID, &unread))]
}

fn try_judge(readings: &Readings) -> Result<Finding, Unread> {
    let swaps = readings.memory.swaps.clone()?;
    if swaps.is_empty() {
        return Ok(Finding::fine(ID, "off"));
    }
    let swappiness = readings.memory.swappiness.clone()?;
    let text = format!("{}, with vm.swappiness = {swappiness}", swaps.join(", "));
    if swappiness <= SWAPPINESS_MAX {
        return Ok(Finding::fine(ID, text));
    }
    let why = "A page of a tail or of an index that was put on disk is read back while the whole shard waits, a device's \
        latency for each.";
    let change = Change::new("/proc/sys/vm/swappiness", "1", swappiness.to_string());
    let finding = Finding::warn(ID, text).wanted(format!("no swap, or vm.swappiness at most {SWAPPINESS_MAX}")).why(why);
    // Swapping everything in may need more memory than there is: never done by us.
    Ok(finding.change(change).fix("sudo swapoff -a  # only when free -m shows more available than used swap", "sudo swapon -a"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::testing::{good, needs, tell, unread};
    use crate::host::{Memory, Read};

    #[test]
    fn eager_swapping_is_told() {
        let judge_with = |swaps: Read<Vec<String>>, swappiness| {
            tell(&judge(&Readings { memory: Memory { swaps, swappiness, ..good().memory }, ..good() }, &needs()))[0].clone()
        };
        let swap = || Ok(vec!["/dev/sda3".to_owned()]);
        assert_eq!(judge_with(Ok(vec![]), Err(unread())), "fine swap: off");
        assert_eq!(judge_with(swap(), Ok(10)), "fine swap: /dev/sda3, with vm.swappiness = 10");
        let told = judge_with(swap(), Ok(60));
        assert!(told.starts_with("warn swap: /dev/sda3, with vm.swappiness = 60 | wanted no swap"), "{told}");
        assert!(told.contains("| sudo sysctl -w vm.swappiness=1 | undo sudo sysctl -w vm.swappiness=60 |"), "{told}");
        assert!(judge_with(swap(), Err(unread())).starts_with("unread"));
        assert!(judge_with(Err(unread()), Ok(1)).starts_with("unread"));
    }
}
