//! Does the folder lie on a file system that keeps what it is given, and takes direct I/O well?

use super::{Finding, Needs};
use crate::host::{DataFolder, StartReadings};

const ID: &str = "file-system";
const WANTED: &str = "ext4 or XFS on a device of this host";

pub(super) fn judge(readings: &StartReadings, _needs: &Needs) -> Vec<Finding> {
    readings.folders.iter().map(|folder| judge_one(folder).about(folder.path.display().to_string())).collect()
}

fn judge_one(folder: &DataFolder) -> Finding {
    let mount = match &folder.mount {
        Ok(mount) => mount,
        Err(unread) => return Finding::unread(ID, unread),
    };
    let file_system = mount.file_system.as_str();
    let text = format!("lies on {file_system}");
    let elsewhere = |finding: Finding, why: &str| {
        finding
            .wanted(WANTED)
            .why(why)
            .fix("sluice serve --data-dir DIR  # a folder on ext4 or XFS", "# name the folder of before again")
    };
    match file_system {
        "ext4" | "xfs" => Finding::fine(ID, text),
        "tmpfs" | "ramfs" | "devtmpfs" => elsewhere(
            Finding::fatal(ID, format!("{text}, which keeps its content in memory")),
            "It is gone with a restart of the host, and direct I/O is dropped there in silence.",
        ),
        "nfs" | "nfs4" | "cifs" | "smb3" | "ceph" | "9p" | "virtiofs" | "glusterfs" | "lustre" | "afs" | "ocfs2" | "gfs2" => {
            elsewhere(
                Finding::warn(ID, format!("{text}, a file system of another machine")),
                "Every acknowledgement waits for the other machine, and is worth what that one's own flush is worth.",
            )
        }
        "btrfs" | "zfs" | "bcachefs" => elsewhere(
            Finding::warn(ID, text),
            "It writes every block of the journal to a new place, so each durable write also writes trees of metadata.",
        ),
        "overlay" => elsewhere(
            Finding::warn(ID, format!("{text}, the layer of a container's image")),
            "The data is deleted with the container, and what it really lies on cannot be seen: mount a volume.",
        ),
        other if other.starts_with("fuse") => elsewhere(
            Finding::warn(ID, format!("{text}, served by a program")),
            "Whether a flush reaches a device is that program's decision.",
        ),
        _ => elsewhere(Finding::note(ID, text), "Sluice is tested on ext4 and XFS; of others nothing is known."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::testing::{good, needs, unread};

    #[test]
    fn file_systems_are_judged_by_what_they_keep() {
        for (file_system, severity) in [
            ("ext4", "fine"),
            ("xfs", "fine"),
            ("tmpfs", "fatal"),
            ("ramfs", "fatal"),
            ("nfs4", "warn"),
            ("cifs", "warn"),
            ("9p", "warn"),
            ("btrfs", "warn"),
            ("zfs", "warn"),
            ("overlay", "warn"),
            ("fuse.sshfs", "warn"),
            ("ext3", "note"),
        ] {
            let mut readings = good().start;
            readings.folders[0].mount.as_mut().unwrap().file_system = file_system.to_owned();
            let findings = judge(&readings, &needs());
            assert_eq!(findings[0].severity.name(), severity, "{file_system}");
            assert!(findings[0].to_string().starts_with(&format!("/data: lies on {file_system}")), "{}", findings[0]);
        }
        let mut readings = good().start;
        readings.folders[0].mount = Err(unread());
        assert_eq!(judge(&readings, &needs())[0].severity.name(), "unread");
    }
}
