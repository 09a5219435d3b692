//! Does a control group ration the processors?

use super::{Finding, Needs};
use crate::host::Readings;

const ID: &str = "cgroup-cpu";

pub(super) fn judge(readings: &Readings, needs: &Needs) -> Vec<Finding> {
    let cores = needs.available.len();
    vec![match &readings.cgroup.cpu_cores {
        Err(unread) => Finding::unread(ID, unread),
        Ok(None) => Finding::fine(ID, "no limit of processor time"),
        Ok(Some(limit)) if *limit >= cores as f64 => {
            Finding::fine(ID, format!("processor time of {limit:.1} cores, and {cores} are there"))
        }
        Ok(Some(limit)) => {
            let text = format!("processor time of {limit:.1} cores (cpu.max), of {cores}");
            let why = "Who has used it up stands still until the period ends, up to 100 ms; shards are not pinned then, and \
                there are fewer by default.";
            let finding = Finding::warn(ID, text).wanted("whole cores of its own (cpuset), and no cpu.max").why(why);
            finding.fix(
                "# --cpuset-cpus LIST instead of --cpus for a container, AllowedCPUs= instead of CPUQuota= in a systemd unit, \
                 whole CPUs under the static CPU manager in Kubernetes",
                "# give the limit of before again",
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
    fn a_ration_below_the_cores_is_told() {
        let judge_with = |cpu_cores| {
            let needs = Needs { available: vec![0, 1, 2, 3], ..needs() };
            tell(&judge(&Readings { cgroup: Cgroup { cpu_cores, ..good().cgroup }, ..good() }, &needs))[0].clone()
        };
        assert_eq!(judge_with(Ok(None)), "fine cgroup-cpu: no limit of processor time");
        assert_eq!(judge_with(Ok(Some(4.0))), "fine cgroup-cpu: processor time of 4.0 cores, and 4 are there");
        assert!(judge_with(Ok(Some(1.5))).starts_with("warn cgroup-cpu: processor time of 1.5 cores (cpu.max), of 4 | wanted"));
        assert!(judge_with(Err(unread())).starts_with("unread"));
    }
}
