//! Is the kernel new enough, and none of those that are known to be bad?

use super::{Finding, Needs};
use crate::host::{KernelVersion, StartReadings};

const ID: &str = "kernel-version";
const WANTED: &str = "6.6.86, 6.12.21, 6.14 or newer; at least 6.1.0";
const MIN: KernelVersion = KernelVersion { major: 6, minor: 1, patch: 0 };
const FIX: &str = "# install a newer kernel with this distribution's package manager and restart the host";
const UNDO: &str = "# choose the kernel of before in the boot menu";

pub(super) fn judge(readings: &StartReadings, _needs: &Needs) -> Vec<Finding> {
    let found = match &readings.kernel {
        Ok(found) => *found,
        Err(unread) => return vec![Finding::unread(ID, unread)],
    };
    let text = format!("the kernel is {found}");
    let mut findings = Vec::new();
    if found < MIN {
        let why = "Sluice is built for and tested on kernels from 6.1 on; what io_uring lacks before is not worked around.";
        findings.push(Finding::fatal(ID, &text).wanted(WANTED).why(why).fix(FIX, UNDO));
    } else if !has_memory_fix(found) {
        let why = "Older ones now and then fail an io_uring submission with ENOMEM although there is memory.";
        findings.push(Finding::warn(ID, &text).wanted(WANTED).why(why).fix(FIX, UNDO));
    }
    for folder in &readings.folders {
        let file_system = folder.mount.as_ref().map(|mount| mount.file_system.as_str()).unwrap_or_default();
        if let Some(why) = known_bad(found, file_system) {
            let finding = Finding::fatal(ID, format!("{text}, with {file_system}")).wanted(WANTED).why(why).fix(FIX, UNDO);
            findings.push(finding.about(folder.path.display().to_string()));
        }
    }
    if findings.is_empty() { vec![Finding::fine(ID, text)] } else { findings }
}

/// A spurious ENOMEM of registered buffers was mended in these.
fn has_memory_fix(found: KernelVersion) -> bool {
    match (found.major, found.minor) {
        (6, 6) => found.patch >= 86,
        (6, 12) => found.patch >= 21,
        (major, minor) => (major, minor) >= (6, 14),
    }
}

/// Kernels that are known to alter data on a file system.
fn known_bad(found: KernelVersion, file_system: &str) -> Option<&'static str> {
    match (found.major, found.minor, found.patch, file_system) {
        (6, 1, 64..=65, "ext4") => Some(
            "6.1.64 and 6.1.65 may leave the position of a synchronous direct write where it was and overwrite data (Debian \
                bug 1057843).",
        ),
        (6, 3, 0..=4, "xfs") => Some("Kernels from 6.3.0 to 6.3.4 may damage XFS's metadata (mended in 6.3.5)."),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::testing::{good, needs, tell};

    #[test]
    fn kernels_are_too_old_advised_against_or_good() {
        for (text, file_system, expected) in [
            ("5.15.0-91-generic", "ext4", "fatal"),
            ("6.0.19", "ext4", "fatal"),
            ("6.1.0", "ext4", "warn"),
            ("6.1.64", "xfs", "warn"),
            ("6.1.64", "ext4", "warn fatal"),
            ("6.1.66", "ext4", "warn"),
            ("6.3.4", "xfs", "warn fatal"),
            ("6.3.5", "xfs", "warn"),
            ("6.6.85", "ext4", "warn"),
            ("6.6.86", "ext4", "fine"),
            ("6.8.0-40-generic", "ext4", "warn"),
            ("6.12.20", "ext4", "warn"),
            ("6.12.21-amd64", "ext4", "fine"),
            ("6.13.5", "ext4", "warn"),
            ("6.14", "ext4", "fine"),
            ("6.18.44-fc-v657", "ext4", "fine"),
            ("7.0.0-rc1", "ext4", "fine"),
            ("garbage", "ext4", "unread"),
        ] {
            let mut readings = good().start;
            readings.kernel = text.parse();
            readings.folders[0].mount.as_mut().unwrap().file_system = file_system.to_owned();
            let severities: Vec<_> = judge(&readings, &needs()).iter().map(|finding| finding.severity.name()).collect();
            assert_eq!(severities.join(" "), expected, "{text} {file_system}");
        }
    }

    #[test]
    fn what_is_told_is_whole() {
        let mut readings = good().start;
        readings.kernel = "6.0.1".parse();
        assert_eq!(
            tell(&judge(&readings, &needs())),
            [format!(
                "fatal kernel-version: the kernel is 6.0.1 | wanted {WANTED} | Sluice is built for and tested on kernels from \
                    6.1 on; what \
                 io_uring lacks before is not worked around. | {FIX} | undo {UNDO}"
            )]
        );
    }
}
