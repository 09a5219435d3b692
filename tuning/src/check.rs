//! The checks of a host: what was read goes in, findings come out, one file per check. Nothing here reads or changes anything
//! but `apply`.
//!
//! Every finding has a stable id, a severity, what was found, what is wanted, why, and the exact command that changes it with
//! the one that undoes it. The expensive mistake is a false all-clear: what could not be read is a finding of its own. The
//! checks of [`START`] are those that a broker runs before it starts, with the same texts.
//!
//! Deliberately absent: anything that lasts beyond a restart of the host.

mod accept_queue;
pub mod apply;
mod cgroup_cpu;
mod cgroup_io;

mod cgroup_pids;
mod clock_source;
mod core_count;
mod cpu_governor;
mod data_folder;
mod device_probe;
mod dirty_pages;
mod file_system;
pub mod finding;
mod huge_pages;
mod io_uring;
mod irq_affinity;
mod isolated_cores;
mod kernel_version;
mod memlock;
mod memory;
mod mount_options;
mod network_queues;
mod nofile;
mod numa;
mod queue_depth;
mod rotational;
mod scheduler;
mod smt;
mod swap;
#[cfg(test)]
pub(crate) mod testing;
mod write_cache;

pub use apply::{Applied, apply};
pub use finding::{Change, Finding, Fix, Severity};
pub use memlock::memlock_needed_len;

use crate::host::{Device, Readings, StartReadings, Unread};

/// What the broker to be started will ask for; how many shards it plans, and from what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Needs {
    /// For each shard the core it is to be pinned to, or none when it runs unpinned.
    pub shards: Vec<Option<usize>>,
    /// Cores this process may run on, ascending.
    pub available: Vec<usize>,
    /// Bytes of direct I/O buffers that each shard locks.
    pub io_memory_len: usize,
    /// Descriptors below which a broker does not start.
    pub descriptor_count_min: u64,
    /// Descriptors with which every connection it may have can be open.
    pub descriptor_count_wanted: u64,
    /// Bytes that all budgets add up to, with what the program itself takes.
    pub memory_len: u64,
    /// Connections that may wait to be accepted, per shard.
    pub accept_queue_len: u32,
    /// Shards never sleep.
    pub busy_poll: bool,
}

type StartCheck = fn(&StartReadings, &Needs) -> Vec<Finding>;
type Check = fn(&Readings, &Needs) -> Vec<Finding>;

/// What a broker checks before it starts, in the order in which it is best mended.
pub const START: &[StartCheck] =
    &[kernel_version::judge, io_uring::judge, memlock::judge, nofile::judge, file_system::judge, mount_options::judge];

const REST: &[Check] = &[
    data_folder::judge,
    write_cache::judge,
    scheduler::judge,
    queue_depth::judge,
    rotational::judge,
    device_probe::judge,
    core_count::judge,
    cpu_governor::judge,
    isolated_cores::judge,
    smt::judge,
    numa::judge,
    irq_affinity::judge,
    clock_source::judge,
    huge_pages::judge,
    swap::judge,
    dirty_pages::judge,
    network_queues::judge,
    accept_queue::judge,
    cgroup_cpu::judge,
    memory::judge,
    cgroup_io::judge,
    cgroup_pids::judge,
];

/// What a broker has to know before it starts; the first that is fatal is the reason not to.
pub fn judge_start(readings: &StartReadings, needs: &Needs) -> Vec<Finding> {
    START.iter().flat_map(|check| check(readings, needs)).collect()
}

/// Every check, the worst findings first and otherwise in the order of the checks.
pub fn judge(readings: &Readings, needs: &Needs) -> Vec<Finding> {
    let mut findings = judge_start(&readings.start, needs);
    findings.extend(REST.iter().flat_map(|check| check(readings, needs)));
    findings.sort_by_key(|finding| finding.severity);
    findings
}

/// A finding for each device below the folders; where there is none, that is said.
fn per_device(readings: &Readings, id: &'static str, judge: impl Fn(&Device) -> Result<Finding, Unread>) -> Vec<Finding> {
    let of_device = |device: &Result<Device, Unread>| match device {
        Ok(device) => judge(device).unwrap_or_else(|unread| Finding::unread(id, &unread)).about(subject_of(device)),
        Err(unread) => Finding::unread(id, unread),
    };
    if readings.devices.is_empty() {
        let mounts = readings.start.folders.iter().filter_map(|folder| folder.mount.as_ref().ok());
        let mut names: Vec<&str> = mounts.map(|mount| mount.file_system.as_str()).collect();
        names.dedup();
        if names.is_empty() {
            let unread = readings.start.folders.iter().find_map(|folder| folder.mount.as_ref().err());
            return unread.map(|unread| Finding::unread(id, unread)).into_iter().collect();
        }
        return vec![Finding::not_applicable(id, format!("no device of this host is seen behind {}", names.join(", ")))];
    }
    readings.devices.iter().map(of_device).collect()
}

fn subject_of(device: &Device) -> String {
    if device.layers.is_empty() { device.name.clone() } else { format!("{} below {}", device.name, device.layers.join(", ")) }
}

/// Processors as people write them: `0-3,8`.
fn format_cores(cores: &[usize]) -> String {
    let mut ranges: Vec<(usize, usize)> = Vec::new();
    for &core in cores {
        match ranges.last_mut() {
            Some((_, last)) if *last + 1 == core => *last = core,
            _ => ranges.push((core, core)),
        }
    }
    let text = |(first, last): &(usize, usize)| if first == last { first.to_string() } else { format!("{first}-{last}") };
    ranges.iter().map(text).collect::<Vec<_>>().join(",")
}

/// Bytes as people write them, rounded down.
fn format_len(len: u64) -> String {
    match len {
        0..1024 => format!("{len} bytes"),
        1024..0x10_0000 => format!("{} KiB", len >> 10),
        0x10_0000..0x4000_0000 => format!("{} MiB", len >> 20),
        _ => format!("{:.1} GiB", len as f64 / f64::from(1_u32 << 30)),
    }
}

#[cfg(test)]
#[path = "check_test.rs"]
mod tests;
