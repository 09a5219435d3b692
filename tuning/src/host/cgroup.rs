//! What the control groups of this process allow it: the tightest of its own and those above it counts.
//!
//! Each controller is of version 2 or, on old set-ups, of version 1, with other files for the same. The expensive mistake is to
//! take a group that is not seen from in here for one without limits.

use super::mounts::{self, Mount};
use super::root::{Read, Root, Unread, if_there};

const OWN: &str = "/proc/self/cgroup";

#[derive(Clone, Debug, PartialEq)]
pub struct Cgroup {
    /// Processor time in cores; none when there is no limit.
    pub cpu_cores: Read<Option<f64>>,
    /// Bytes.
    pub memory_len: Read<Option<u64>>,
    pub task_count: Read<Option<u64>>,
    /// Limits of devices, as the kernel writes them.
    pub io: Read<Vec<String>>,
}

pub(super) fn read(root: &Root) -> Cgroup {
    let own = root.text(OWN);
    let mounts = mounts::read(root);
    let groups = |controller: &str| {
        let own = own.as_ref().map_err(Clone::clone)?;
        find_groups(root, own, mounts.as_ref().map_err(Clone::clone)?, controller)
    };
    Cgroup {
        cpu_cores: groups("cpu").and_then(|groups| read_cpu(root, &groups)),
        memory_len: groups("memory").and_then(|groups| {
            let file = if groups.is_version_1 { "memory.limit_in_bytes" } else { "memory.max" };
            least(root, &groups, file, parse_count)
        }),
        task_count: groups("pids").and_then(|groups| least(root, &groups, "pids.max", parse_count)),
        io: groups("io").and_then(|groups| read_io(root, &groups)),
    }
}

/// The processor time that the groups of this process allow, in cores; none without a limit, or where it cannot be read.
pub fn cpu_cores(root: &Root) -> Option<f64> {
    read(root).cpu_cores.ok().flatten()
}

/// The folders of the process's groups for one controller, own one first.
struct Groups {
    folders: Vec<String>,
    is_version_1: bool,
}

fn find_groups(root: &Root, own: &str, mounts: &[Mount], controller: &str) -> Read<Groups> {
    let old_name = if controller == "io" { "blkio" } else { controller };
    let mut lines = own.lines().filter_map(|line| {
        let mut parts = line.splitn(3, ':');
        Some((parts.next()?, parts.next()?, parts.next()?))
    });
    let of_version_1 = lines.clone().find(|(_, names, _)| names.split(',').any(|name| name == old_name));
    let (group, mount) = match of_version_1 {
        Some((_, _, group)) => (group, mounts.iter().find(|mount| mount.file_system == "cgroup" && mount.has(old_name))),
        None => match lines.find(|(number, ..)| *number == "0") {
            Some((_, _, group)) => (group, mounts.iter().find(|mount| mount.file_system == "cgroup2")),
            None => return Err(Unread::malformed(OWN, own)),
        },
    };
    let Some(mount) = mount else {
        let why = format!("control groups with the controller {controller} are not mounted");
        return Err(Unread { path: "/proc/self/mountinfo".to_owned(), why, is_missing: false });
    };
    let mut group = group.trim_end_matches('/');
    // In a container only the own group may be mounted, at the top.
    if !root.exists(&format!("{}{group}", mount.point)) {
        group = "";
    }
    // Readable at all; what a group then lacks is no limit.
    root.names(&mount.point)?;
    let mut folders = Vec::new();
    loop {
        folders.push(format!("{}{group}", mount.point));
        match group.rfind('/') {
            Some(slash) => group = &group[..slash],
            None => return Ok(Groups { folders, is_version_1: of_version_1.is_some() }),
        }
    }
}

/// The least limit of those groups that have such a file; the topmost has none.
fn least<T: PartialOrd>(root: &Root, groups: &Groups, file: &str, parse: impl Fn(&str) -> Option<Option<T>>) -> Read<Option<T>> {
    let mut least: Option<T> = None;
    for folder in &groups.folders {
        let path = format!("{folder}/{file}");
        let Some(text) = if_there(root.text(&path))? else { continue };
        let found = parse(&text).ok_or_else(|| Unread::malformed(&path, &text))?;
        least = match (least, found) {
            (Some(least), Some(found)) if found < least => Some(found),
            (least, found) => least.or(found),
        };
    }
    Ok(least)
}

fn read_cpu(root: &Root, groups: &Groups) -> Read<Option<f64>> {
    if !groups.is_version_1 {
        return least(root, groups, "cpu.max", parse_cpu);
    }
    let mut tightest: Option<f64> = None;
    for folder in &groups.folders {
        let Some(quota) = if_there(root.parsed::<f64>(&format!("{folder}/cpu.cfs_quota_us")))? else { continue };
        let path = format!("{folder}/cpu.cfs_period_us");
        let period: f64 = root.parsed(&path)?;
        if quota > 0.0 && period > 0.0 {
            tightest = Some(tightest.map_or(quota / period, |before| before.min(quota / period)));
        }
    }
    Ok(tightest)
}

fn read_io(root: &Root, groups: &Groups) -> Read<Vec<String>> {
    let files: &[&str] = if groups.is_version_1 { &["read_bps", "write_bps", "read_iops", "write_iops"] } else { &["io.max"] };
    let mut limits = Vec::new();
    for folder in &groups.folders {
        for file in files {
            let name = if groups.is_version_1 { format!("blkio.throttle.{file}_device") } else { (*file).to_owned() };
            let Some(text) = if_there(root.text(&format!("{folder}/{name}")))? else { continue };
            let lines = if groups.is_version_1 {
                text.lines().map(|line| line.replacen(' ', &format!(" {file}="), 1)).collect()
            } else {
                parse_io(&text)
            };
            limits.extend(lines);
        }
    }
    limits.dedup();
    Ok(limits)
}

/// `max 100000` is no limit, `150000 100000` is one and a half cores.
fn parse_cpu(text: &str) -> Option<Option<f64>> {
    let (quota, period) = text.split_once(' ')?;
    if quota == "max" {
        return Some(None);
    }
    let (quota, period): (f64, f64) = (quota.parse().ok()?, period.trim().parse().ok()?);
    (quota > 0.0 && period > 0.0).then(|| Some(quota / period))
}

/// Version 1 writes its largest number where version 2 writes `max`.
fn parse_count(text: &str) -> Option<Option<u64>> {
    const NO_LIMIT: u64 = 1 << 62;
    if text == "max" { Some(None) } else { text.parse().ok().map(|count| Some(count).filter(|count| *count < NO_LIMIT)) }
}

fn parse_io(text: &str) -> Vec<String> {
    let limits = |line: &&str| line.split_whitespace().skip(1).any(|word| !word.ends_with("=max"));
    text.lines().filter(limits).map(ToOwned::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::testing::tree;

    #[test]
    fn limits_are_parsed_or_refused() {
        assert_eq!(parse_cpu("max 100000"), Some(None));
        assert_eq!(parse_cpu("150000 100000"), Some(Some(1.5)));
        assert_eq!((parse_cpu("0 100000"), parse_cpu("garbage"), parse_cpu("a b")), (None, None, None));
        assert_eq!((parse_count("max"), parse_count("12"), parse_count("-1")), (Some(None), Some(Some(12)), None));
        assert_eq!(parse_count("9223372036854771712"), Some(None));
        assert_eq!(parse_io("8:0 rbps=max wbps=1048576\n8:16 rbps=max wbps=max"), ["8:0 rbps=max wbps=1048576"]);
    }

    const VERSION_2: &str = "31 23 0:28 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw";

    #[test]
    fn the_tightest_up_the_tree_counts() {
        let tree = tree(&[
            ("/proc/self/cgroup", "0::/a/b\n"),
            ("/proc/self/mountinfo", VERSION_2),
            ("/sys/fs/cgroup/a/b/cpu.max", "max 100000\n"),
            ("/sys/fs/cgroup/a/cpu.max", "200000 100000\n"),
            ("/sys/fs/cgroup/a/b/memory.max", "1073741824\n"),
            ("/sys/fs/cgroup/a/memory.max", "max\n"),
            ("/sys/fs/cgroup/a/pids.max", "100\n"),
            ("/sys/fs/cgroup/a/b/pids.max", "500\n"),
            ("/sys/fs/cgroup/a/b/io.max", "8:0 rbps=max wbps=1048576\n"),
        ]);
        let found = read(&Root::at(tree.path()));
        assert_eq!((found.cpu_cores, found.memory_len, found.task_count), (Ok(Some(2.0)), Ok(Some(1 << 30)), Ok(Some(100))));
        assert_eq!(found.io, Ok(vec!["8:0 rbps=max wbps=1048576".to_owned()]));
    }

    #[test]
    fn a_group_that_is_not_seen_is_looked_for_at_the_top() {
        let tree = tree(&[
            ("/proc/self/cgroup", "0::/host/path/of/container\n"),
            ("/proc/self/mountinfo", VERSION_2),
            ("/sys/fs/cgroup/cpu.max", "50000 100000\n"),
            ("/sys/fs/cgroup/memory.max", "garbage\n"),
        ]);
        let found = read(&Root::at(tree.path()));
        assert_eq!((found.cpu_cores, found.task_count), (Ok(Some(0.5)), Ok(None)));
        assert!(found.memory_len.is_err());
    }

    #[test]
    fn version_1_has_other_files_for_the_same() {
        let tree = tree(&[
            ("/proc/self/cgroup", "4:memory:/m\n3:cpu,cpuacct:/c\n2:blkio:/\n0::/\n"),
            (
                "/proc/self/mountinfo",
                "32 31 0:29 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu,cpuacct\n\
                 33 31 0:30 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n\
                 34 31 0:31 / /sys/fs/cgroup/blkio rw - cgroup cgroup rw,blkio",
            ),
            ("/sys/fs/cgroup/cpu/c/cpu.cfs_quota_us", "150000\n"),
            ("/sys/fs/cgroup/cpu/c/cpu.cfs_period_us", "100000\n"),
            ("/sys/fs/cgroup/memory/m/memory.limit_in_bytes", "4096\n"),
            ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n"),
            ("/sys/fs/cgroup/blkio/blkio.throttle.write_bps_device", "8:0 1024\n"),
        ]);
        let found = read(&Root::at(tree.path()));
        assert_eq!((found.cpu_cores, found.memory_len), (Ok(Some(1.5)), Ok(Some(4096))));
        assert_eq!(found.io, Ok(vec!["8:0 write_bps=1024".to_owned()]));
        assert!(found.task_count.is_err(), "version 2 is not mounted");
    }

    #[test]
    fn what_cannot_be_read_is_not_no_limit() {
        for files in [
            &[("/proc/self/mountinfo", VERSION_2)][..],
            &[("/proc/self/cgroup", "0::/\n")],
            &[("/proc/self/cgroup", "0::/\n"), ("/proc/self/mountinfo", VERSION_2)],
            &[("/proc/self/cgroup", "?"), ("/proc/self/mountinfo", VERSION_2), ("/sys/fs/cgroup/x", "")],
        ] {
            let found = read(&Root::at(tree(files).path()));
            assert!(found.cpu_cores.is_err() && found.io.is_err() && found.task_count.is_err(), "{found:?}");
        }
    }
}
