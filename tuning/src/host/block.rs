//! The block devices that folders lie on: from a mount down through partitions, device-mapper, md and loop devices to the
//! devices at the bottom, and what the kernel says of these.
//!
//! The expensive mistake is to judge the top: the scheduler, the cache and the queue of `dm-0` are not those of the disk.

use super::interrupts::{Counts, Interrupt};
use super::mounts::{Mount, mount_of};
use super::root::{Choice, Read, Root, Unread, if_there};

/// Layers below which the search ends: real stacks have three or four.
const LAYERS_MAX: usize = 16;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// As in `/sys/block`.
    pub name: String,
    /// What lies between the file system and the device, from the top: `dm-0`, `sda2`.
    pub layers: Vec<String>,
    /// None where the device has no scheduler at all.
    pub scheduler: Read<Option<Choice>>,
    /// `write back` or `write through`.
    pub write_cache: Read<String>,
    pub has_fua: Read<bool>,
    /// Requests the block layer queues.
    pub request_count_max: Read<Option<u32>>,
    /// Commands a SCSI device takes at once; none for other devices.
    pub command_count_max: Read<Option<u32>>,
    pub is_rotational: Read<bool>,
    /// -1 or none where the device belongs to no node.
    pub numa_node: Read<Option<i32>>,
    pub interrupts: Read<Vec<Interrupt>>,
}

impl Device {
    /// A disk that a hypervisor gives: what it says of its mechanics is made up.
    pub fn is_virtual(&self) -> bool {
        self.name.starts_with("vd") || self.name.starts_with("xvd")
    }
}

/// The devices below the mounts, each once, in the order found. A file system without a device of its own (tmpfs, NFS) has none.
pub(super) fn read_below(root: &Root, on: &[&Mount], mounts: &Read<Vec<Mount>>, counts: &Read<Counts>) -> Vec<Read<Device>> {
    let mut found: Vec<Read<Device>> = Vec::new();
    for mount in on {
        let walk = Walk { root, mounts, counts };
        for device in walk.below_mount(mount, Vec::new()) {
            let is_known = |known: &Read<Device>| match (known, &device) {
                (Ok(known), Ok(device)) => known.name == device.name,
                (known, device) => known == device,
            };
            if !found.iter().any(is_known) {
                found.push(device);
            }
        }
    }
    found
}

struct Walk<'a> {
    root: &'a Root,
    mounts: &'a Read<Vec<Mount>>,
    counts: &'a Read<Counts>,
}

impl Walk<'_> {
    fn below_mount(&self, mount: &Mount, layers: Vec<String>) -> Vec<Read<Device>> {
        let top = if !mount.device.starts_with("0:") {
            self.root.resolved(&format!("/sys/dev/block/{}", mount.device))
        } else if mount.source.starts_with("/dev/") {
            // btrfs has a number of its own and names its device as the source; that may be a link, as in /dev/mapper.
            let source = self.root.resolved(&mount.source).unwrap_or_else(|_| mount.source.clone());
            let name = source.rsplit('/').next().unwrap_or_default();
            self.root.resolved(&format!("/sys/class/block/{name}"))
        } else {
            return Vec::new();
        };
        match top {
            Ok(top) => self.below(&top, layers),
            Err(unread) => vec![Err(unread)],
        }
    }

    /// `folder` is a device's or a partition's own folder in `/sys/devices`.
    fn below(&self, folder: &str, mut layers: Vec<String>) -> Vec<Read<Device>> {
        let (above, name) = folder.rsplit_once('/').unwrap_or(("", folder));
        if layers.len() >= LAYERS_MAX {
            let why = format!("more than {LAYERS_MAX} devices lie on one another");
            return vec![Err(Unread { path: folder.to_owned(), why, is_missing: false })];
        }
        if self.root.exists(&format!("{folder}/partition")) {
            layers.push(name.to_owned());
            return self.below(above, layers);
        }
        if self.root.exists(&format!("{folder}/loop/backing_file")) {
            layers.push(name.to_owned());
            return self.below_loop(folder, layers);
        }
        let slaves = match if_there(self.root.names(&format!("{folder}/slaves"))) {
            Ok(slaves) => slaves.unwrap_or_default(),
            Err(unread) => return vec![Err(unread)],
        };
        if slaves.is_empty() {
            return vec![Ok(self.read(folder, name, layers))];
        }
        layers.push(name.to_owned());
        let below = |slave: &String| match self.root.resolved(&format!("{folder}/slaves/{slave}")) {
            Ok(slave) => self.below(&slave, layers.clone()),
            Err(unread) => vec![Err(unread)],
        };
        slaves.iter().flat_map(below).collect()
    }

    fn below_loop(&self, folder: &str, layers: Vec<String>) -> Vec<Read<Device>> {
        let mount = self.root.text(&format!("{folder}/loop/backing_file")).and_then(|file| {
            let mounts = self.mounts.as_ref().map_err(Clone::clone)?;
            mount_of(mounts, &file)
        });
        match mount {
            Ok(mount) => self.below_mount(&mount, layers),
            Err(unread) => vec![Err(unread)],
        }
    }

    fn read(&self, folder: &str, name: &str, layers: Vec<String>) -> Device {
        let of_queue = |file: &str| format!("{folder}/queue/{file}");
        Device {
            name: name.to_owned(),
            layers,
            scheduler: if_there(self.root.parsed(&of_queue("scheduler"))),
            write_cache: self.root.text(&of_queue("write_cache")),
            has_fua: self.root.switch(&of_queue("fua")),
            request_count_max: if_there(self.root.parsed(&of_queue("nr_requests"))),
            command_count_max: if_there(self.root.parsed(&format!("{folder}/device/queue_depth"))),
            is_rotational: self.root.switch(&of_queue("rotational")),
            numa_node: if_there(self.root.parsed(&format!("{folder}/device/numa_node"))),
            interrupts: super::interrupts::read_of(self.root, &format!("{folder}/device"), self.counts),
        }
    }
}
