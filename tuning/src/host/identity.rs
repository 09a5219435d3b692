//! What the device under a folder is known by: numbers, ids and serials, as the kernel tells them to any user.
//!
//! What is missing stays unknown and is no error: a virtual disk often has neither model nor serial. Nothing here asks the
//! device itself, which only root may.

use super::mounts::{self, Mount, mount_of};
use super::root::{Read, Root, Unread};
use crate::properties::{DeviceIdentity, Disk};
use sha2::{Digest, Sha256};
use std::fs::File;
use std::os::fd::AsRawFd;
use std::path::Path;

/// Layers below which the search ends, as for `block`.
const LAYERS_MAX: usize = 16;
/// Size files in `/sys` count in these, whatever the device's own sectors are.
const SECTOR_LEN: u64 = 512;
/// Characters of a hash that are kept: enough to tell machines apart.
const HASH_LEN: usize = 32;
/// `FS_IOC_GETFSUUID` (Linux 6.9 and newer): the length of an id, and the id.
const GET_UUID: libc::c_ulong = 0x8011_1500;

#[repr(C)]
struct FileSystemUuid {
    len: u8,
    bytes: [u8; 16],
}

/// What holds the nearest folder above `path` that is there, `path` itself first.
///
/// # Errors When no mount is found for it.
pub fn read(root: &Root, path: &Path) -> Read<DeviceIdentity> {
    let mounts = mounts::read(root)?;
    let absolute = std::path::absolute(path).map_err(|error| Unread::io(path.display().to_string(), &error))?;
    let nearest = super::data_folder::nearest(root, &absolute)?;
    let mount = mount_of(&mounts, &root.resolved(&nearest.display().to_string())?)?;
    let top = top_of(root, &mount);
    let name = top.as_deref().and_then(|folder| folder.rsplit('/').next()).unwrap_or(&mount.source).to_owned();
    let mut disks = Vec::new();
    if let Some(top) = &top {
        collect_disks(root, top, 0, &mut disks);
    }
    disks.sort_by(|one, other| (&one.serial, &one.model, &one.name).cmp(&(&other.serial, &other.model, &other.name)));
    disks.dedup();
    Ok(DeviceIdentity {
        machine: machine(root),
        name,
        number: mount.device.clone(),
        len: top.as_deref().and_then(|top| sectors(root, top)),
        volume_uuid: top.as_deref().and_then(|top| volume_uuid(root, top)),
        file_system: mount.file_system.clone(),
        file_system_uuid: asked_uuid(&root.path(&nearest)).or_else(|| linked_uuid(root, top.as_deref()?)),
        disks,
    })
}

/// The folder in `/sys/devices` of what is mounted, where that is a block device.
fn top_of(root: &Root, mount: &Mount) -> Option<String> {
    if !mount.device.starts_with("0:") {
        return root.resolved(&format!("/sys/dev/block/{}", mount.device)).ok();
    }
    // btrfs has a number of its own and names its device as the source; that may be a link, as in /dev/mapper.
    mount.source.strip_prefix("/dev/")?;
    let source = root.resolved(&mount.source).unwrap_or_else(|_| mount.source.clone());
    root.resolved(&format!("/sys/class/block/{}", source.rsplit('/').next()?)).ok()
}

fn machine(root: &Root) -> Option<String> {
    let files = ["/etc/machine-id", "/var/lib/dbus/machine-id"];
    let id = files.iter().find_map(|file| root.text(file).ok().filter(|id| !id.is_empty()))?;
    let mut hash = Sha256::new();
    hash.update(b"sluice probe ");
    hash.update(id.as_bytes());
    let hex: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    Some(hex[..HASH_LEN].to_owned())
}

fn sectors(root: &Root, folder: &str) -> Option<u64> {
    root.parsed::<u64>(&format!("{folder}/size")).ok()?.checked_mul(SECTOR_LEN)
}

fn volume_uuid(root: &Root, folder: &str) -> Option<String> {
    let named = ["dm/uuid", "md/uuid"].iter().find_map(|file| text(root, &format!("{folder}/{file}")));
    let of_partition = || {
        let events = root.text(&format!("{folder}/uevent")).ok()?;
        events.lines().find_map(|line| line.strip_prefix("PARTUUID=")).map(ToOwned::to_owned)
    };
    named.or_else(of_partition)
}

/// A file that is there and says something.
fn text(root: &Root, path: &str) -> Option<String> {
    let text = root.text(path).ok()?;
    let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let plain: String = words.chars().filter(|c| !c.is_control()).collect();
    (!plain.is_empty()).then_some(plain)
}

fn collect_disks(root: &Root, folder: &str, depth: usize, disks: &mut Vec<Disk>) {
    if depth >= LAYERS_MAX {
        return;
    }
    let (above, name) = folder.rsplit_once('/').unwrap_or(("", folder));
    if root.exists(&format!("{folder}/partition")) {
        return collect_disks(root, above, depth + 1, disks);
    }
    let slaves = root.names(&format!("{folder}/slaves")).unwrap_or_default();
    if slaves.is_empty() {
        let first = |files: &[&str]| files.iter().find_map(|file| text(root, &format!("{folder}/{file}")));
        disks.push(Disk {
            name: name.to_owned(),
            model: first(&["device/model", "loop/backing_file"]),
            serial: first(&["wwid", "device/wwid", "serial", "device/serial"]),
        });
    }
    for slave in slaves {
        if let Ok(below) = root.resolved(&format!("{folder}/slaves/{slave}")) {
            collect_disks(root, &below, depth + 1, disks);
        }
    }
}

/// What the file system says itself.
fn asked_uuid(folder: &Path) -> Option<String> {
    let folder = File::open(folder).ok()?;
    let mut uuid = FileSystemUuid { len: 0, bytes: [0; 16] };
    // SAFETY: the descriptor is open for as long as `folder` lives, and the kernel writes at most this structure.
    let result = unsafe { libc::ioctl(folder.as_raw_fd(), GET_UUID as _, &raw mut uuid) };
    let bytes = uuid.bytes.get(..usize::from(uuid.len))?;
    if result != 0 || bytes.iter().all(|&byte| byte == 0) {
        return None;
    }
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let parts: Option<Vec<&str>> = [0..8, 8..12, 12..16, 16..20, 20..32].into_iter().map(|part| hex.get(part)).collect();
    Some(parts.map_or_else(|| hex.clone(), |parts| parts.join("-")))
}

/// What udev says, on older kernels.
fn linked_uuid(root: &Root, top: &str) -> Option<String> {
    let name = top.rsplit('/').next()?;
    let uuids = root.names("/dev/disk/by-uuid").ok()?;
    let is_it = |uuid: &String| {
        let target = std::fs::read_link(root.path(format!("/dev/disk/by-uuid/{uuid}"))).ok();
        target.is_some_and(|target| target.file_name().is_some_and(|file| file == name))
    };
    uuids.into_iter().find(is_it)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::testing::tree;

    #[test]
    fn a_volume_on_two_partitions_is_known_by_its_own_id_and_its_disks() {
        let sda = "/sys/devices/pci0/block/sda";
        let tree = tree(&[
            ("/proc/self/mountinfo", "31 27 252:0 / /data rw - xfs /dev/mapper/v rw\n32 27 0:40 / /net rw - nfs host:/x rw"),
            ("/data/file", ""),
            ("/net/file", ""),
            ("/etc/machine-id", "0123456789abcdef\n"),
            ("/sys/dev/block/252:0", "-> ../../devices/virtual/block/dm-0"),
            ("/sys/devices/virtual/block/dm-0/size", "2048\n"),
            ("/sys/devices/virtual/block/dm-0/dm/uuid", "LVM-abc\n"),
            ("/sys/devices/virtual/block/dm-0/slaves/sda2", "-> ../../../../pci0/block/sda/sda2"),
            ("/sys/devices/virtual/block/dm-0/slaves/sda3", "-> ../../../../pci0/block/sda/sda3"),
            (&format!("{sda}/sda2/partition"), "2"),
            (&format!("{sda}/sda3/partition"), "3"),
            (&format!("{sda}/device/model"), "  A   MODEL \n"),
            (&format!("{sda}/device/wwid"), "naa.5000\n"),
            ("/dev/disk/by-uuid/0aaa", "-> ../../sdz"),
            ("/dev/disk/by-uuid/1bbb", "-> ../../dm-0"),
        ]);
        let root = Root::at(tree.path());
        let found = read(&root, Path::new("/data/not/there")).expect("an identity");
        let disk = Disk { name: "sda".to_owned(), model: Some("A MODEL".to_owned()), serial: Some("naa.5000".to_owned()) };
        assert_eq!((found.name.as_str(), found.number.as_str(), found.len), ("dm-0", "252:0", Some(1 << 20)));
        assert_eq!((found.volume_uuid.as_deref(), found.file_system.as_str()), (Some("LVM-abc"), "xfs"));
        assert_eq!(found.disks, [disk]);
        let machine = found.machine.expect("a machine");
        assert!(machine.len() == HASH_LEN && !machine.contains("0123456789abcdef"), "{machine}");
        assert_eq!(linked_uuid(&root, "/sys/devices/virtual/block/dm-0").as_deref(), Some("1bbb"));
        let network = read(&root, Path::new("/net")).expect("an identity");
        assert_eq!((network.name.as_str(), network.len, network.disks), ("host:/x", None, vec![]));
        assert!(read(&root, Path::new("/elsewhere")).is_err(), "no mount holds it");
    }

    #[test]
    fn this_folder_lies_on_something_that_is_itself() {
        let here = std::env::current_dir().expect("a current folder");
        let [one, again] = [read(&Root::of_this_host(), &here), read(&Root::of_this_host(), &here.join("not-there"))];
        let one = one.expect("an identity");
        assert_eq!(one.differences(&again.expect("an identity")), []);
        assert!(!one.file_system.is_empty() && !one.number.is_empty());
    }
}
