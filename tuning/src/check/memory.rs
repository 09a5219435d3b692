//! Is there as much memory as the budgets of a broker allow it to use?

use super::{Finding, Needs, format_len};
use crate::host::{Readings, Unread};

const ID: &str = "memory";

pub(super) fn judge(readings: &Readings, needs: &Needs) -> Vec<Finding> {
    vec![try_judge(readings, needs).unwrap_or_else(|unread| Finding::unread(ID, &unread))]
}

fn try_judge(readings: &Readings, needs: &Needs) -> Result<Finding, Unread> {
    let total_len = readings.memory.total_len.clone()?;
    let (len, whose) = match readings.cgroup.memory_len.clone() {
        Ok(Some(limit)) if limit < total_len => (limit, "a control group allows (memory.max)"),
        Ok(_) => (total_len, "this host has"),
        // Too little is too little, whatever the group says.
        Err(_) if total_len < needs.memory_len => (total_len, "this host has"),
        Err(unread) => return Err(unread),
    };
    let text = format!("{} {whose}, a broker with these settings uses up to {}", format_len(len), format_len(needs.memory_len));
    if len >= needs.memory_len {
        return Ok(Finding::fine(ID, text));
    }
    let why = "A flood fills the budgets; the kernel then kills the broker (out of memory) just when it is needed.";
    let finding = Finding::warn(ID, text).wanted(format!("at least {}", format_len(needs.memory_len))).why(why);
    let finding = finding.fix("sluice serve --set tail_budget_len=64MiB  # or fewer shards", "# leave them out again");
    Ok(if len == total_len {
        finding
    } else {
        let command = format!("# --memory {0} for a container, MemoryMax={0} in a systemd unit", needs.memory_len);
        finding.fix(command, format!("# give {len} again"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::testing::{good, needs, tell, unread};
    use crate::host::{Cgroup, Memory, Read};

    #[test]
    fn budgets_have_to_fit() {
        let judge_with = |total_len: Read<u64>, memory_len: Read<Option<u64>>| {
            let readings = Readings {
                memory: Memory { total_len, ..good().memory },
                cgroup: Cgroup { memory_len, ..good().cgroup },
                ..good()
            };
            tell(&judge(&readings, &Needs { memory_len: 512 << 20, ..needs() }))[0].clone()
        };
        assert_eq!(
            judge_with(Ok(8 << 30), Ok(None)),
            "fine memory: 8.0 GiB this host has, a broker with these settings uses up to 512 MiB"
        );
        assert!(judge_with(Ok(8 << 30), Ok(Some(512 << 20))).starts_with("fine memory: 512 MiB a control group allows"));
        let told = judge_with(Ok(8 << 30), Ok(Some(256 << 20)));
        assert!(
            told.starts_with("warn memory: 256 MiB a control group allows (memory.max)") && told.contains("MemoryMax=536870912"),
            "{told}"
        );
        let told = judge_with(Ok(256 << 20), Err(unread()));
        assert!(told.starts_with("warn memory: 256 MiB this host has") && !told.contains("MemoryMax"), "{told}");
        assert!(judge_with(Ok(8 << 30), Err(unread())).starts_with("unread"));
        assert!(judge_with(Err(unread()), Ok(None)).starts_with("unread"));
    }
}
