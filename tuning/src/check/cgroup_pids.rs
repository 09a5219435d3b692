//! May a broker have as many threads as it takes?

use super::{Finding, Needs};
use crate::host::Readings;

const ID: &str = "cgroup-pids";
/// Threads of a broker besides its shards', and of each shard with the kernel's workers for it.
const TASKS: u64 = 64;
const TASKS_PER_SHARD: u64 = 64;

pub(super) fn judge(readings: &Readings, needs: &Needs) -> Vec<Finding> {
    let wanted = TASKS + TASKS_PER_SHARD * needs.shards.len() as u64;
    vec![match &readings.cgroup.task_count {
        Err(unread) => Finding::unread(ID, unread),
        Ok(None) => Finding::fine(ID, "no limit of threads"),
        Ok(Some(limit)) if *limit >= wanted => Finding::fine(ID, format!("{limit} threads")),
        Ok(Some(limit)) => {
            let why = "Shards, their blocking pools and the kernel's workers for io_uring count; where no more can be made, \
                writes wait or the broker ends.";
            let finding = Finding::warn(ID, format!("{limit} threads (pids.max)")).wanted(format!("at least {wanted}")).why(why);
            finding.fix(
                format!("# --pids-limit {wanted} for a container, TasksMax={wanted} in a systemd unit"),
                format!("# give {limit} again"),
            )
        }
    }]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::testing::{good, needs, tell, unread};
    use crate::host::Cgroup;

    #[test]
    fn too_few_threads_are_told() {
        let judge_with = |task_count| {
            let needs = Needs { shards: vec![None, None], ..needs() };
            tell(&judge(&Readings { cgroup: Cgroup { task_count, ..good().cgroup }, ..good() }, &needs))[0].clone()
        };
        assert_eq!(judge_with(Ok(None)), "fine cgroup-pids: no limit of threads");
        assert_eq!(judge_with(Ok(Some(192))), "fine cgroup-pids: 192 threads");
        assert!(judge_with(Ok(Some(191))).starts_with("warn cgroup-pids: 191 threads (pids.max) | wanted at least 192"));
        assert!(judge_with(Err(unread())).starts_with("unread"));
    }
}
