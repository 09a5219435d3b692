//! Made readings of a good host, for tests to spoil, and trees of files.

use super::{Finding, Needs};
use crate::host::memory::DirtySettings;
use crate::host::processors::ClockSource;
use crate::host::{
    Cgroup, DataFolder, Device, FolderState, Interface, IoUringReading, Limits, Memory, Mount, Probed, ProbedState, Processors,
    Readings, StartReadings, Surroundings, Unread,
};
use std::fs;
use std::path::Path;
use std::time::Duration;

pub(crate) fn needs() -> Needs {
    Needs {
        shards: vec![Some(1), Some(2), Some(3)],
        available: vec![0, 1, 2, 3],
        io_memory_len: 10 << 20,
        descriptor_count_min: 512,
        descriptor_count_wanted: 10_512,
        memory_len: 512 << 20,
        accept_queue_len: 1024,
        busy_poll: false,
    }
}

pub(crate) fn unread() -> Unread {
    Unread::malformed("/a/file", "?")
}

pub(crate) fn device() -> Device {
    Device {
        name: "nvme0n1".to_owned(),
        layers: vec![],
        scheduler: Ok("[none] mq-deadline".parse().ok()),
        write_cache: Ok("write through".to_owned()),
        has_fua: Ok(false),
        request_count_max: Ok(Some(256)),
        command_count_max: Ok(None),
        is_rotational: Ok(false),
        numa_node: Ok(Some(0)),
        interrupts: Ok(vec![]),
    }
}

pub(crate) fn good() -> Readings {
    let mount = Mount {
        point: "/data".to_owned(),
        file_system: "ext4".to_owned(),
        source: "/dev/nvme0n1".to_owned(),
        device: "259:0".to_owned(),
        options: vec!["relatime".to_owned(), "rw".to_owned()],
    };
    Readings {
        start: StartReadings {
            kernel: "6.18.44-fc-v657".parse(),
            io_uring: IoUringReading::Available,
            limits: Limits { memlock_len: Ok(None), descriptor_count: Ok(1 << 20) },
            folders: vec![DataFolder { path: "/data".into(), state: Ok(FolderState::Writable), mount: Ok(mount) }],
        },
        devices: vec![Ok(device())],
        probes: vec![Probed {
            folder: "/data".into(),
            path: "/data.probe.toml".into(),
            state: Ok(ProbedState::Known {
                age: Duration::from_secs(60),
                kernel: "6.18.44".to_owned(),
                build: "sluice 0.1.0 (release)".to_owned(),
            }),
        }],
        processors: Processors {
            online: Ok(vec![0, 1, 2, 3]),
            governors: Ok([("performance".to_owned(), vec![0, 1, 2, 3])].into()),
            isolated: Ok(vec![]),
            siblings: Ok((0..4).map(|core| (core, vec![core])).collect()),
            nodes: Ok([(0, vec![0, 1, 2, 3])].into()),
            clock_source: Ok(ClockSource { current: "tsc".to_owned(), available: vec!["tsc".to_owned()] }),
        },
        memory: Memory {
            total_len: Ok(8 << 30),
            swaps: Ok(vec![]),
            swappiness: Ok(60),
            huge_pages: Ok("always [madvise] never".parse().ok()),
            dirty: Ok(DirtySettings { background_ratio: 10, background_len: 0 }),
        },
        interfaces: Ok(vec![Interface {
            name: "eth0".to_owned(),
            receive_queue_count: Ok(4),
            is_spread: Ok(false),
            numa_node: Ok(None),
            interrupts: Ok(vec![]),
        }]),
        accept_queue_max: Ok(4096),
        cgroup: Cgroup { cpu_cores: Ok(None), memory_len: Ok(None), task_count: Ok(None), io: Ok(vec![]) },
        surroundings: Surroundings { is_virtual: false, is_container: false },
    }
}

/// One line each, everything in it.
pub(crate) fn tell(findings: &[Finding]) -> Vec<String> {
    let line = |finding: &Finding| {
        let subject = finding.subject.as_ref().map(|subject| format!("[{subject}] ")).unwrap_or_default();
        let mut text = format!("{} {subject}{}: {}", finding.severity.name(), finding.id, finding.found);
        if !finding.wanted.is_empty() {
            text += &format!(" | wanted {} | {}", finding.wanted, finding.why);
        }
        for fix in &finding.fixes {
            text += &format!(" | {} | undo {}", fix.command, fix.undo);
        }
        text
    };
    findings.iter().map(line).collect()
}

/// A tree of files; a text that begins with `-> ` is a link.
pub(crate) fn tree(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    add(folder.path(), files);
    folder
}

pub(crate) fn add(root: &Path, files: &[(&str, &str)]) {
    for (path, text) in files {
        let path = root.join(path.trim_start_matches('/'));
        fs::create_dir_all(path.parent().expect("a file lies in a folder")).expect("folders can be made");
        match text.strip_prefix("-> ") {
            Some(target) => std::os::unix::fs::symlink(target, &path).expect("a link can be made"),
            None => fs::write(&path, text).expect("a file can be written"),
        }
    }
}
