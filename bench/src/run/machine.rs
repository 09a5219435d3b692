//! What a result says about where it was measured.

use std::fs;
use std::mem::MaybeUninit;
use std::path::{Path, PathBuf};

use crate::result::Machine;

/// This machine, and the file system and device that hold `folder`. What the kernel does not say stays empty.
pub fn describe_machine(folder: &Path) -> Machine {
    let mount = mount_of(folder);
    Machine {
        cpu: field("/proc/cpuinfo", "model name").unwrap_or_else(|| std::env::consts::ARCH.to_owned()),
        cores: std::thread::available_parallelism().map_or(1, |count| count.get() as u32),
        memory_mb: field("/proc/meminfo", "MemTotal").and_then(|text| kib(&text)).unwrap_or(0) * 1024 / 1_000_000,
        kernel: fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim().to_owned(),
        file_system: mount.as_ref().map(|mount| mount.file_system.clone()).unwrap_or_default(),
        device: mount.as_ref().and_then(|mount| mount.device.clone()),
        scheduler: mount.as_ref().and_then(|mount| scheduler(mount.device.as_deref()?)),
        memlock_kib: memlock_kib(),
    }
}

struct Mount {
    file_system: String,
    /// The whole disk, not its partition.
    device: Option<String>,
}

/// The mount with the longest path above `folder`.
fn mount_of(folder: &Path) -> Option<Mount> {
    let folder = folder.canonicalize().ok()?;
    let info = fs::read_to_string("/proc/self/mountinfo").ok()?;
    let mounts = info.lines().filter_map(|line| {
        let (before, after) = line.split_once(" - ")?;
        let fields: Vec<&str> = before.split(' ').collect();
        let point = PathBuf::from(fields.get(4)?.replace("\\040", " "));
        let depth = folder.starts_with(&point).then(|| point.components().count())?;
        Some((depth, (*fields.get(2)?).to_owned(), after.split(' ').next()?.to_owned()))
    });
    // Of mounts on one point the last is on top.
    let (_, number, file_system) = mounts.max_by_key(|(depth, ..)| *depth)?;
    Some(Mount { file_system, device: device(&number) })
}

fn device(number: &str) -> Option<String> {
    let path = fs::canonicalize(format!("/sys/dev/block/{number}")).ok()?;
    let whole = if path.join("partition").exists() { path.parent()?.to_path_buf() } else { path };
    Some(whole.file_name()?.to_string_lossy().into_owned())
}

fn scheduler(device: &str) -> Option<String> {
    let text = fs::read_to_string(format!("/sys/block/{device}/queue/scheduler")).ok()?;
    let chosen = text.split(['[', ']']).nth(1).unwrap_or(text.trim());
    Some(chosen.to_owned())
}

fn memlock_kib() -> Option<u64> {
    let mut limit = MaybeUninit::<libc::rlimit>::uninit();
    // SAFETY: `limit` has room for one rlimit.
    if unsafe { libc::getrlimit(libc::RLIMIT_MEMLOCK, limit.as_mut_ptr()) } != 0 {
        return None;
    }
    // SAFETY: getrlimit returned 0, so it filled the structure.
    let limit = unsafe { limit.assume_init() };
    (limit.rlim_cur != libc::RLIM_INFINITY).then_some(limit.rlim_cur / 1024)
}

/// The text after `name` and its colon, on its first line.
fn field(path: &str, name: &str) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    let line = text.lines().find(|line| line.split(':').next().is_some_and(|key| key.trim() == name))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

fn kib(text: &str) -> Option<u64> {
    text.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_has_cores_memory_a_kernel_and_a_file_system() {
        let machine = describe_machine(Path::new(env!("CARGO_MANIFEST_DIR")));
        assert!(machine.cores > 0 && machine.memory_mb > 0, "{machine:?}");
        assert!(!machine.kernel.is_empty() && !machine.file_system.is_empty() && !machine.cpu.is_empty(), "{machine:?}");
    }
}
