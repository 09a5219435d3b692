//! What the control groups (version 2) of this process allow it: the tightest of its own and those above it counts.

use super::mounts;
use super::root::{Read, Root, Unread, if_there};

#[derive(Clone, Debug, PartialEq)]
pub struct Cgroup {
    /// Processor time in cores; none when there is no limit.
    pub cpu_cores: Read<Option<f64>>,
    /// Bytes.
    pub memory_len: Read<Option<u64>>,
    pub task_count: Read<Option<u64>>,
    /// Lines of `io.max` that limit something, as they stand there.
    pub io: Read<Vec<String>>,
}

pub(super) fn read(root: &Root) -> Cgroup {
    let groups = read_groups(root);
    Cgroup {
        cpu_cores: tightest(root, &groups, "cpu", "cpu.max", parse_cpu).map(least_of),
        memory_len: tightest(root, &groups, "memory", "memory.max", parse_count).map(least_of),
        task_count: tightest(root, &groups, "pids", "pids.max", parse_count).map(least_of),
        io: tightest(root, &groups, "io", "io.max", |text| Some(parse_io(text))).map(|found| {
            let mut lines: Vec<String> = found.into_iter().flatten().collect();
            lines.dedup();
            lines
        }),
    }
}

/// The processor time that the groups of this process allow, in cores; none without a limit, or where it cannot be read.
pub fn cpu_cores(root: &Root) -> Option<f64> {
    read(root).cpu_cores.ok().flatten()
}

/// The folders of the process's groups, own one first, and the controllers that version 1 has instead.
struct Groups {
    folders: Vec<String>,
    version_1: Vec<String>,
}

fn read_groups(root: &Root) -> Read<Groups> {
    const PATH: &str = "/proc/self/cgroup";
    let text = root.text(PATH)?;
    let version_1 = text.lines().filter(|line| !line.starts_with("0::")).filter_map(|line| line.split(':').nth(1));
    let version_1: Vec<String> = version_1.flat_map(|names| names.split(',')).map(ToOwned::to_owned).collect();
    let Some(own) = text.lines().find_map(|line| line.strip_prefix("0::")) else {
        return if version_1.is_empty() {
            Err(Unread::malformed(PATH, &text))
        } else {
            Ok(Groups { folders: Vec::new(), version_1 })
        };
    };
    let mounts = mounts::read(root)?;
    let Some(mount) = mounts.iter().find(|mount| mount.file_system == "cgroup2") else {
        let why = "no control groups of version 2 are mounted".to_owned();
        return if version_1.is_empty() {
            Err(Unread { path: "/sys/fs/cgroup".to_owned(), why, is_missing: false })
        } else {
            Ok(Groups { folders: Vec::new(), version_1 })
        };
    };
    let mut folders = Vec::new();
    let mut group = own.trim().trim_end_matches('/');
    loop {
        folders.push(format!("{}{group}", mount.point));
        match group.rfind('/') {
            Some(slash) => group = &group[..slash],
            None => return Ok(Groups { folders, version_1 }),
        }
    }
}

/// What each group says that has such a file; the topmost group has none.
fn tightest<T>(
    root: &Root,
    groups: &Read<Groups>,
    controller: &str,
    file: &str,
    parse: impl Fn(&str) -> Option<T>,
) -> Read<Vec<T>> {
    let groups = groups.as_ref().map_err(Clone::clone)?;
    let is_old = |name: &String| name == controller || (controller == "io" && name == "blkio");
    if groups.version_1.iter().any(is_old) {
        let why = format!("the {controller} controller is of version 1, whose limits are not known here");
        return Err(Unread { path: "/proc/self/cgroup".to_owned(), why, is_missing: false });
    }
    let mut found = Vec::new();
    for folder in &groups.folders {
        let path = format!("{folder}/{file}");
        if let Some(text) = if_there(root.text(&path))? {
            found.push(parse(&text).ok_or_else(|| Unread::malformed(&path, &text))?);
        }
    }
    Ok(found)
}

fn least_of<T: PartialOrd>(found: Vec<Option<T>>) -> Option<T> {
    found.into_iter().flatten().reduce(|least, other| if other < least { other } else { least })
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

fn parse_count(text: &str) -> Option<Option<u64>> {
    if text == "max" { Some(None) } else { text.parse().ok().map(Some) }
}

fn parse_io(text: &str) -> Vec<String> {
    let limits = |line: &&str| line.split_whitespace().skip(1).any(|word| !word.ends_with("=max"));
    text.lines().filter(limits).map(ToOwned::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_parsed_or_refused() {
        assert_eq!(parse_cpu("max 100000"), Some(None));
        assert_eq!(parse_cpu("150000 100000"), Some(Some(1.5)));
        assert_eq!((parse_cpu("0 100000"), parse_cpu("garbage"), parse_cpu("a b")), (None, None, None));
        assert_eq!((parse_count("max"), parse_count("12"), parse_count("-1")), (Some(None), Some(Some(12)), None));
        assert_eq!(parse_io("8:0 rbps=max wbps=1048576\n8:16 rbps=max wbps=max"), ["8:0 rbps=max wbps=1048576"]);
        assert_eq!(least_of(vec![None, Some(4.0), Some(2.0)]), Some(2.0));
        assert_eq!(least_of::<u64>(vec![None]), None);
    }
}
