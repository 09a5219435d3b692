//! Which cores the shards get.
//!
//! A pinned executor is worth it only on a core that is its own: one core is left to the control thread and the kernel
//! (its workers complete the writes), and under a cgroup quota nothing is pinned, because the quota is spent wherever the
//! scheduler likes and a pinned thread then waits on an idle machine.

/// What the process may use of the machine.
#[derive(Clone, Debug, PartialEq)]
pub struct CoreReadings {
    /// Cores this process may run on, ascending.
    pub available: Vec<usize>,
    /// The cgroup's CPU quota in cores; none when there is no quota.
    pub quota_cores: Option<f64>,
}

impl CoreReadings {
    /// Reads the affinity mask of this thread. The quota is read with the host's other limits.
    pub fn read(quota_cores: Option<f64>) -> CoreReadings {
        let cores = core_affinity::get_core_ids().unwrap_or_default();
        let mut available: Vec<usize> = cores.into_iter().map(|core| core.id).collect();
        available.sort_unstable();
        CoreReadings { available, quota_cores }
    }
}

/// One entry per shard: the core it is pinned to, or none when it is to run unpinned. Never empty.
///
/// By default one shard per core but one; with a quota below the number of cores, one per whole core of it but one,
/// unpinned. More shards than that may be asked for; they are unpinned when there is not a core for each.
pub fn plan_cores(readings: &CoreReadings, wanted_shards: Option<usize>) -> Vec<Option<usize>> {
    let core_count = readings.available.len();
    let quota = readings.quota_cores.filter(|quota| *quota < core_count as f64);
    let usable = quota.map_or(core_count, |quota| quota.floor() as usize);
    let shard_count = wanted_shards.unwrap_or_else(|| usable.saturating_sub(1)).max(1);
    if quota.is_some() || core_count < 2 || shard_count > core_count {
        return vec![None; shard_count];
    }
    // The first core also serves most interrupts, so it is the last to be given away.
    readings.available.iter().rev().take(shard_count).rev().map(|core| Some(*core)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(available: &[usize], quota_cores: Option<f64>, wanted: Option<usize>) -> Vec<Option<usize>> {
        plan_cores(&CoreReadings { available: available.to_vec(), quota_cores }, wanted)
    }

    #[test]
    fn one_core_is_left_to_the_control_thread() {
        assert_eq!(plan(&[0], None, None), [None]);
        assert_eq!(plan(&[0, 1], None, None), [Some(1)]);
        assert_eq!(plan(&[0, 1, 2, 3], None, None), [Some(1), Some(2), Some(3)]);
        assert_eq!(plan(&[4, 5, 9], None, None), [Some(5), Some(9)]);
        assert_eq!(plan(&[], None, None), [None]);
    }

    #[test]
    fn a_wanted_count_is_kept_and_pinned_while_cores_last() {
        assert_eq!(plan(&[0, 1], None, Some(2)), [Some(0), Some(1)]);
        assert_eq!(plan(&[0, 1], None, Some(1)), [Some(1)]);
        assert_eq!(plan(&[0, 1], None, Some(4)), [None; 4]);
        assert_eq!(plan(&[0], None, Some(1)), [None]);
        assert_eq!(plan(&[0, 1], None, Some(0)), [Some(1)]);
    }

    #[test]
    fn a_quota_below_the_cores_unpins_and_bounds() {
        assert_eq!(plan(&[0, 1, 2, 3, 4, 5, 6, 7], Some(3.5), None), [None, None]);
        assert_eq!(plan(&[0, 1, 2, 3], Some(0.5), None), [None]);
        assert_eq!(plan(&[0, 1, 2, 3], Some(2.0), Some(3)), [None; 3]);
        assert_eq!(plan(&[0, 1], Some(2.0), None), [Some(1)]);
        assert_eq!(plan(&[0, 1], Some(64.0), None), [Some(1)]);
    }

    #[test]
    fn this_machine_has_cores() {
        assert!(!CoreReadings::read(None).available.is_empty());
    }
}
