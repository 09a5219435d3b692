//! Is the file system mounted so that a flush is a flush and writes are possible?

use super::{Finding, Needs};
use crate::host::{Mount, StartReadings};

const ID: &str = "mount-options";

pub(super) fn judge(readings: &StartReadings, _needs: &Needs) -> Vec<Finding> {
    let mut findings = Vec::new();
    for folder in &readings.folders {
        let of_folder = match &folder.mount {
            Ok(mount) => judge_mount(mount),
            Err(unread) => vec![Finding::unread(ID, unread)],
        };
        findings.extend(of_folder.into_iter().map(|finding| finding.about(folder.path.display().to_string())));
    }
    findings
}

fn judge_mount(mount: &Mount) -> Vec<Finding> {
    let remount = |option: &str| format!("sudo mount -o remount,{option} {}", mount.point);
    let mut findings = Vec::new();
    if mount.has("ro") {
        let finding = Finding::fatal(ID, format!("{} is mounted read-only (ro)", mount.point)).wanted("rw");
        let why = "A broker writes before it acknowledges; the kernel also mounts a file system so after an error: look at its \
            log first (dmesg).";
        findings.push(finding.why(why).fix(remount("rw"), remount("ro")));
    }
    let off = |option: &&String| matches!(option.as_str(), "nobarrier" | "barrier=0");
    if let Some(option) = mount.options.iter().find(off) {
        let back = if mount.file_system == "ext4" { "barrier=1" } else { "barrier" };
        let finding = Finding::fatal(ID, format!("{} is mounted with {option}", mount.point)).wanted(back);
        let why = "The file system does not flush the device's cache then: a power cut takes records that were acknowledged.";
        findings.push(finding.why(why).fix(remount(back), remount(option)));
    }
    if mount.file_system == "ext4" && mount.has("data=journal") {
        let finding =
            Finding::warn(ID, format!("{} is mounted with data=journal", mount.point)).wanted("data=ordered, the default");
        let why = "ext4 then writes all data twice and turns direct I/O into buffered I/O in silence (documented in the \
            kernel's ext4 guide).";
        let command = "# take data=journal out of /etc/fstab and mount it anew (it cannot be changed while mounted)";
        findings.push(finding.why(why).fix(command, "# put data=journal back and mount it anew"));
    }
    if mount.has("discard") {
        let finding = Finding::note(ID, format!("{} is mounted with discard", mount.point))
            .wanted("nodiscard, and fstrim.timer once a week");
        let why =
            "Each deleted segment tells the device of its blocks at once, beside produce, which some devices answer with stalls.";
        findings.push(finding.why(why).fix(remount("nodiscard"), remount("discard")));
    }
    if findings.is_empty() { vec![Finding::fine(ID, "nothing that harms")] } else { findings }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::testing::{good, needs, unread};

    #[test]
    fn options_that_harm_are_named_with_the_way_back() {
        for (file_system, options, severities, part) in [
            ("ext4", &["rw", "relatime"][..], "fine", ""),
            ("ext4", &["ro"], "fatal", "remount,rw /data"),
            ("ext4", &["nobarrier", "rw"], "fatal", "remount,barrier=1 /data"),
            ("ext4", &["barrier=0", "rw"], "fatal", "mounted with barrier=0"),
            ("xfs", &["nobarrier", "rw"], "fatal", "remount,barrier /data"),
            ("ext4", &["data=journal", "rw"], "warn", "buffered"),
            ("xfs", &["discard", "rw"], "note", "fstrim"),
            ("ext4", &["barrier=0", "discard", "ro"], "fatal fatal note", "remount,rw"),
        ] {
            let mut readings = good().start;
            let mount = readings.folders[0].mount.as_mut().unwrap();
            (mount.file_system, mount.options) = (file_system.to_owned(), options.iter().map(ToString::to_string).collect());
            let findings = judge(&readings, &needs());
            let found: Vec<_> = findings.iter().map(|finding| finding.severity.name()).collect();
            assert_eq!(found.join(" "), severities, "{options:?}");
            assert!(findings[0].to_string().contains(part), "{}", findings[0]);
        }
        let mut readings = good().start;
        readings.folders[0].mount = Err(unread());
        assert_eq!(judge(&readings, &needs())[0].severity.name(), "unread");
    }
}
