//! Mounts, as `/proc/self/mountinfo` tells them, and which of them a path lies on.

use super::root::{Read, Root, Unread};

const PATH: &str = "/proc/self/mountinfo";

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    pub point: String,
    pub file_system: String,
    /// What is mounted: a device's path, a pool, a server's folder.
    pub source: String,
    /// Major and minor number as `254:0`; major 0 has no device of its own.
    pub device: String,
    /// Options of the mount and of the file system, together.
    pub options: Vec<String>,
}

impl Mount {
    pub fn has(&self, option: &str) -> bool {
        self.options.iter().any(|known| known == option)
    }
}

pub(super) fn read(root: &Root) -> Read<Vec<Mount>> {
    let text = root.text(PATH)?;
    text.lines().map(|line| parse_line(line).ok_or_else(|| Unread::malformed(PATH, line))).collect()
}

/// The mount a path lies on: the longest mount point that it begins with; of equal ones the last, which covers the others.
pub(super) fn mount_of(mounts: &[Mount], path: &str) -> Read<Mount> {
    let covers = |mount: &&Mount| {
        let point = mount.point.trim_end_matches('/');
        path.strip_prefix(point).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    // The last of the longest.
    let found = mounts.iter().filter(covers).max_by_key(|mount| mount.point.len());
    found.cloned().ok_or_else(|| Unread {
        path: PATH.to_owned(),
        why: format!("it names no mount that {path} lies on"),
        is_missing: false,
    })
}

/// `27 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw,discard`
fn parse_line(line: &str) -> Option<Mount> {
    let (before, after) = line.split_once(" - ")?;
    let mut before = before.split(' ').skip(2);
    let (device, _folder, point, own) = (before.next()?, before.next()?, before.next()?, before.next()?);
    let mut after = after.splitn(3, ' ');
    let (file_system, source, shared) = (after.next()?, after.next()?, after.next().unwrap_or_default());
    device.split_once(':').and_then(|(major, minor)| Some((major.parse::<u32>().ok()?, minor.parse::<u32>().ok()?)))?;
    let options = own.split(',').chain(shared.split(',')).filter(|option| !option.is_empty());
    let mut options: Vec<String> = options.map(ToOwned::to_owned).collect();
    options.sort_unstable();
    options.dedup();
    let plain = |text: &str| without_escapes(text);
    Some(Mount {
        point: plain(point),
        file_system: file_system.to_owned(),
        source: plain(source),
        device: device.to_owned(),
        options,
    })
}

/// A space in a path is written as `\040` there.
fn without_escapes(text: &str) -> String {
    [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")]
        .iter()
        .fold(text.to_owned(), |text, (escaped, plain)| text.replace(escaped, plain))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mounts() -> Vec<Mount> {
        let text = "27 1 254:0 / / rw,relatime - ext4 /dev/vda rw,discard\n\
                    30 27 0:27 / /dev/shm rw - tmpfs tmpfs rw,size=4k\n\
                    31 27 8:1 / /data\\040one rw,noatime shared:3 master:1 - xfs /dev/sda1 rw,nobarrier\n\
                    32 27 8:2 / /data\\040one rw - ext4 /dev/sda2 ro";
        text.lines().map(|line| parse_line(line).expect(line)).collect()
    }

    #[test]
    fn a_path_lies_on_the_longest_and_newest_mount() {
        let at = |path: &str| mount_of(&mounts(), path).map(|mount| mount.source);
        assert_eq!(at("/").as_deref(), Ok("/dev/vda"));
        assert_eq!(at("/dev/shmall").as_deref(), Ok("/dev/vda"));
        assert_eq!(at("/dev/shm/x").as_deref(), Ok("tmpfs"));
        assert_eq!(at("/data one/journal").as_deref(), Ok("/dev/sda2"));
        assert!(mount_of(&[], "/data").is_err());
    }

    #[test]
    fn options_of_mount_and_file_system_stand_together() {
        let mounts = mounts();
        assert!(mounts[2].has("nobarrier") && mounts[2].has("noatime") && mounts[3].has("ro"));
        for wrong in ["", "27 1 254:0 / / rw - ", "27 1 x:0 / / rw - ext4 /dev/vda rw", "27 1 254:0 / / rw ext4 /dev/vda rw"] {
            assert_eq!(parse_line(wrong), None, "{wrong:?}");
        }
    }
}
