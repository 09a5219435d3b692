//! What is read of this host: `/proc`, `/sys`, and a few system calls about this very process. Nothing here judges.
//!
//! The expensive mistake is a file that cannot be read and is taken for one that says "all is well": every reading is a
//! value or an [`Unread`] that names the file and why. All paths begin at a [`Root`], so tests read trees of their own.

pub mod block;
pub mod cgroup;
pub mod data_folder;
pub mod identity;
pub mod interrupts;
pub mod kernel;
pub mod limits;
pub mod memory;
pub mod mounts;
pub mod network;
pub mod probed;
pub mod processors;
pub mod root;
pub mod surroundings;

pub use block::Device;
pub use cgroup::Cgroup;
pub use data_folder::{DataFolder, FolderState};
pub use interrupts::Interrupt;
pub use kernel::{IoUringReading, KernelVersion};
pub use limits::{Limits, raise_descriptor_limit};
pub use memory::Memory;
pub use mounts::Mount;
pub use network::Interface;
pub use probed::{Probed, ProbedState};
pub use processors::Processors;
pub use root::{Read, Root, Unread};
pub use surroundings::Surroundings;

use std::path::PathBuf;

/// What a broker asks about before it starts: a few files, no device.
#[derive(Clone, Debug, PartialEq)]
pub struct StartReadings {
    pub kernel: Read<KernelVersion>,
    pub io_uring: IoUringReading,
    pub limits: Limits,
    /// The data folder, and the journal's when that is another one.
    pub folders: Vec<DataFolder>,
}

/// Everything that is read.
#[derive(Clone, Debug, PartialEq)]
pub struct Readings {
    pub start: StartReadings,
    /// The devices at the bottom of what the folders lie on, each once.
    pub devices: Vec<Read<Device>>,
    /// What is known of the devices under the folders, each once.
    pub probes: Vec<Probed>,
    pub processors: Processors,
    pub memory: Memory,
    pub interfaces: Read<Vec<Interface>>,
    /// `net.core.somaxconn`.
    pub accept_queue_max: Read<u32>,
    pub cgroup: Cgroup,
    pub surroundings: Surroundings,
}

impl StartReadings {
    /// Creates one ring and closes it; writes nothing.
    pub fn read(root: &Root, folders: &[PathBuf]) -> Self {
        let mounts = mounts::read(root);
        Self {
            kernel: kernel::read_version(root),
            io_uring: kernel::read_io_uring(root),
            limits: limits::read(root),
            folders: folders.iter().map(|path| data_folder::read(root, path, &mounts)).collect(),
        }
    }
}

impl Readings {
    /// Reads everything there is; writes nothing.
    pub fn read(root: &Root, folders: &[PathBuf]) -> Self {
        let start = StartReadings::read(root, folders);
        let mounts = mounts::read(root);
        let counts = interrupts::read_counts(root);
        let on: Vec<&Mount> = start.folders.iter().filter_map(|folder| folder.mount.as_ref().ok()).collect();
        let devices = block::read_below(root, &on, &mounts, &counts);
        Self {
            devices,
            probes: probed::read(root, folders),
            processors: processors::read(root),
            memory: memory::read(root),
            interfaces: network::read(root, &counts),
            accept_queue_max: root.parsed("/proc/sys/net/core/somaxconn"),
            cgroup: cgroup::read(root),
            surroundings: surroundings::read(root),
            start,
        }
    }
}

#[cfg(test)]
#[path = "host_test.rs"]
mod tests;
