//! What would make figures worthless, looked at before anything is measured.
//!
//! Refused: a folder in memory. Warned about, in the result too: a debug build, other load on the machine, little locked
//! memory, a scheduler that lets reads starve writes, a disk that is nearly full. A warning has to say what to do.

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use sluice_tuning::FolderError;
use sluice_tuning::folder::{free_len, refuse_memory};

use crate::error::BenchError;
use crate::result::Machine;

/// Other processes together, in cores, while nothing is measured yet.
const OTHER_LOAD_MAX: f64 = 0.15;
const LOOK: Duration = Duration::from_millis(250);
/// Below this the broker goes on without registered buffers, and a little slower.
const MEMLOCK_KIB_MIN: u64 = 31 * 1024;
/// Journals, segments and the yardsticks' own files.
const FREE_LEN_MIN: u64 = 10_000_000_000;
const NAMED_MAX: usize = 3;

/// Checks host and folder.
///
/// # Errors When the folder is in memory or cannot be looked at.
pub fn preflight(folder: &Path, machine: &Machine) -> Result<Vec<String>, BenchError> {
    fs::create_dir_all(folder).map_err(|source| FolderError::Io { path: folder.to_path_buf(), source })?;
    refuse_memory(folder)?;
    let mut warnings = Vec::new();
    if cfg!(debug_assertions) {
        warnings.push("this is a debug build: its figures say nothing about a release build (cargo run --release)".to_owned());
    }
    warnings.extend(other_load());
    if let Some(kib) = machine.memlock_kib.filter(|&kib| kib < MEMLOCK_KIB_MIN) {
        warnings.push(format!(
            "locked memory is limited to {kib} KiB: without CAP_IPC_LOCK the broker is a little slower (ulimit -l {MEMLOCK_KIB_MIN})"
        ));
    }
    if machine.scheduler.as_deref() == Some("mq-deadline") {
        let device = machine.device.as_deref().unwrap_or("DEVICE");
        warnings.push(format!(
            "{device} has the scheduler mq-deadline, which lets reads delay durable writes (echo none > /sys/block/{device}/queue/scheduler)"
        ));
    }
    if let Some(free) = free_len(folder).filter(|&free| free < FREE_LEN_MIN) {
        warnings.push(format!(
            "{} has {:.1} GB free: a long load may fill it (name another folder with --data-dir)",
            folder.display(),
            free as f64 / 1e9
        ));
    }
    Ok(warnings)
}

/// A warning about processor time that other processes use, seen over a quarter of a second.
#[must_use]
pub fn other_load() -> Option<String> {
    let ticks_per_s = ticks_per_s()?;
    let before = ticks_by_process();
    std::thread::sleep(LOOK);
    let mut busy: Vec<(f64, String)> = ticks_by_process()
        .into_iter()
        .filter_map(|(id, (name, ticks))| {
            let used = ticks.saturating_sub(before.get(&id)?.1) as f64 / ticks_per_s / LOOK.as_secs_f64();
            (used > 0.0 && id != std::process::id()).then_some((used, name))
        })
        .collect();
    let sum: f64 = busy.iter().map(|(used, _)| used).sum();
    if sum <= OTHER_LOAD_MAX {
        return None;
    }
    busy.sort_by(|one, other| other.0.total_cmp(&one.0));
    let names: Vec<&str> = busy.iter().take(NAMED_MAX).map(|(_, name)| name.as_str()).collect();
    Some(format!("other processes use {sum:.1} cores ({}): stop them, or expect noise", names.join(", ")))
}

fn ticks_by_process() -> HashMap<u32, (String, u64)> {
    let Ok(entries) = fs::read_dir("/proc") else { return HashMap::new() };
    let ids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    ids.filter_map(|id| Some((id, ticks_of(&fs::read_to_string(format!("/proc/{id}/stat")).ok()?)?))).collect()
}

/// Name, and user and system time, of a line of `/proc/PID/stat`. A name may hold blanks and brackets.
fn ticks_of(stat: &str) -> Option<(String, u64)> {
    let (name, rest) = stat.split_once('(')?.1.rsplit_once(')')?;
    let mut fields = rest.split_whitespace().skip(11).map(|field| field.parse::<u64>().ok());
    Some((name.to_owned(), fields.next()?? + fields.next()??))
}

fn ticks_per_s() -> Option<f64> {
    // SAFETY: sysconf takes no pointer.
    let ticks = unsafe { libc::sysconf(libc::_SC_CLK_TCK) };
    (ticks > 0).then_some(ticks as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scheduler_and_little_locked_memory_are_warned_about_by_name() {
        let machine = Machine {
            scheduler: Some("mq-deadline".to_owned()),
            device: Some("vdz".to_owned()),
            memlock_kib: Some(64),
            ..Machine::default()
        };
        let executable = std::env::current_exe().expect("the test's own path");
        let warnings = preflight(executable.parent().unwrap_or(Path::new(".")), &machine).expect("a folder on a disk").join("\n");
        for expected in ["/sys/block/vdz/queue/scheduler", "64 KiB"] {
            assert!(warnings.contains(expected), "{warnings}");
        }
        assert_eq!(warnings.contains("debug build"), cfg!(debug_assertions));
    }

    #[test]
    fn a_process_name_may_hold_anything() {
        let stat = "7 (a) b (c) S 1 2 3 4 5 6 7 8 9 10 20 30 0 0";
        assert_eq!(ticks_of(stat), Some(("a) b (c".to_owned(), 50)));
    }
}
