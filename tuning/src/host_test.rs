use super::*;
use crate::check::testing::{add, tree};

const MOUNTS: &str = "27 1 254:0 / / rw,relatime - ext4 /dev/vda rw\n\
                      40 27 253:0 / /lvm rw - xfs /dev/mapper/v-g rw\n\
                      41 27 7:0 / /loop rw - ext4 /dev/loop0 rw\n\
                      42 27 0:40 / /btrfs rw - btrfs /dev/mapper/v-g rw\n\
                      43 27 0:41 / /tmp rw - tmpfs tmpfs rw\n\
                      44 27 9:9 / /lost rw - ext4 /dev/sdz rw";

/// A virtual disk at /, an LVM volume over a partition and a raw disk, a loop device over a file on the volume.
fn disks() -> tempfile::TempDir {
    let tree = tree(&[
        ("/proc/self/mountinfo", MOUNTS),
        ("/proc/interrupts", "     CPU0  CPU1\n 36:  2  900  PCI-MSIX  virtio1-req.0\n NMI: 0 0 x\n"),
        ("/proc/irq/36/effective_affinity_list", "1\n"),
        ("/sys/dev/block/254:0", "-> ../../devices/pci0/virtio1/block/vda"),
        ("/sys/devices/pci0/msi_irqs/36", "msix"),
        ("/sys/devices/pci0/msi_irqs/35", "msix"),
        ("/sys/devices/pci0/virtio1/block/vda/device", "-> ../../../virtio1"),
        ("/sys/dev/block/253:0", "-> ../../devices/virtual/block/dm-0"),
        ("/dev/mapper/v-g", "-> ../dm-0"),
        ("/dev/dm-0", ""),
        ("/sys/class/block/dm-0", "-> ../../devices/virtual/block/dm-0"),
        ("/sys/devices/virtual/block/dm-0/slaves/sda2", "-> ../../../../scsi/block/sda/sda2"),
        ("/sys/devices/virtual/block/dm-0/slaves/sdb", "-> ../../../../scsi/block/sdb"),
        ("/sys/devices/scsi/block/sda/sda2/partition", "2\n"),
        ("/sys/dev/block/7:0", "-> ../../devices/virtual/block/loop0"),
        ("/sys/devices/virtual/block/loop0/loop/backing_file", "/lvm/image\n"),
        ("/lvm/data/x", ""),
        ("/loop/x", ""),
        ("/btrfs/x", ""),
        ("/tmp/x", ""),
        ("/lost/x", ""),
    ]);
    for disk in ["/sys/devices/pci0/virtio1/block/vda", "/sys/devices/scsi/block/sda", "/sys/devices/scsi/block/sdb"] {
        for (file, text) in [
            ("scheduler", "none [mq-deadline]"),
            ("write_cache", "write back"),
            ("fua", "0"),
            ("nr_requests", "256"),
            ("rotational", "1"),
        ] {
            add(tree.path(), &[(&format!("{disk}/queue/{file}"), &format!("{text}\n"))]);
        }
    }
    tree
}

/// Names and layers of the devices below a folder, or what could not be read.
fn below(tree: &tempfile::TempDir, folder: &str) -> Vec<String> {
    let readings = Readings::read(&Root::at(tree.path()), &[folder.into()]);
    let told = |device: &Read<Device>| match device {
        Ok(device) => format!("{} {}", device.name, device.layers.join(",")).trim_end().to_owned(),
        Err(unread) => unread.to_string(),
    };
    readings.devices.iter().map(told).collect()
}

#[test]
fn devices_are_found_at_the_bottom_of_every_stack() {
    let tree = disks();
    assert_eq!(below(&tree, "/new/folder"), ["vda"]);
    assert_eq!(below(&tree, "/lvm/data"), ["sda dm-0,sda2", "sdb dm-0"]);
    assert_eq!(below(&tree, "/btrfs"), ["sda dm-0,sda2", "sdb dm-0"]);
    assert_eq!(below(&tree, "/loop"), ["sda loop0,dm-0,sda2", "sdb loop0,dm-0"]);
    assert_eq!(below(&tree, "/tmp"), [""; 0]);
    let lost = below(&tree, "/lost");
    assert!(lost[0].starts_with("could not be read: /sys/dev/block/9:9: "), "{lost:?}");
}

#[test]
fn a_device_on_itself_ends_the_search() {
    let tree = disks();
    std::fs::write(tree.path().join("sys/devices/virtual/block/loop0/loop/backing_file"), "/loop/image").unwrap();
    let told = below(&tree, "/loop");
    assert!(told[0].contains("lie on one another"), "{told:?}");
}

#[test]
fn a_device_is_read_whole() {
    let tree = disks();
    let readings = Readings::read(&Root::at(tree.path()), &["/new".into()]);
    let device = readings.devices[0].as_ref().expect("a device");
    assert_eq!(device.scheduler.as_ref().unwrap().as_ref().unwrap().chosen, "mq-deadline");
    assert_eq!((device.write_cache.as_deref(), device.has_fua.clone()), (Ok("write back"), Ok(false)));
    assert_eq!((device.request_count_max.clone(), device.command_count_max.clone()), (Ok(Some(256)), Ok(None)));
    assert_eq!(device.interrupts, Ok(vec![Interrupt { number: 36, count: 902, cores: vec![1] }]));
    assert_eq!(readings.start.folders[0].state, Ok(FolderState::Missing { nearest: "/".to_owned() }));
}

/// What a reading says of the file that was spoilt.
type Spoilt = fn(&Readings) -> Option<Unread>;

/// Each file of the tree in turn says nonsense or cannot be read; nothing panics, and nothing else stands in its place.
#[test]
fn every_spoilt_file_is_named() {
    let vda = "/sys/devices/pci0/virtio1/block/vda/queue";
    let cases: &[(&str, Spoilt)] = &[
        ("/proc/self/mountinfo", |all| all.start.folders[0].mount.clone().err()),
        ("/proc/interrupts", |all| all.devices[0].as_ref().ok()?.interrupts.clone().err()),
        ("/proc/sys/kernel/osrelease", |all| all.start.kernel.clone().err()),
        ("/proc/meminfo", |all| all.memory.total_len.clone().err()),
        ("/proc/swaps", |all| all.memory.swaps.clone().err()),
        ("/proc/sys/vm/swappiness", |all| all.memory.swappiness.clone().err()),
        ("/proc/sys/vm/dirty_background_ratio", |all| all.memory.dirty.clone().err()),
        ("/proc/sys/net/core/somaxconn", |all| all.accept_queue_max.clone().err()),
        ("/proc/self/cgroup", |all| all.cgroup.cpu_cores.clone().err()),
        ("/sys/kernel/mm/transparent_hugepage/enabled", |all| all.memory.huge_pages.clone().err()),
        ("/sys/devices/system/cpu/online", |all| all.processors.governors.clone().err()),
        ("/sys/devices/system/cpu/isolated", |all| all.processors.isolated.clone().err()),
    ];
    let tree = disks();
    for (path, unread) in cases {
        let place = tree.path().join(&path[1..]);
        let before = std::fs::read(&place).ok();
        for is_folder in [false, true] {
            let _was_not_there = std::fs::remove_file(&place);
            if is_folder {
                std::fs::create_dir_all(&place).unwrap();
            } else {
                add(tree.path(), &[(path, "? \u{1} nonsense\n-1-\n")]);
            }
            let readings = Readings::read(&Root::at(tree.path()), &["/".into()]);
            let found = unread(&readings).unwrap_or_else(|| panic!("{path} was believed: {readings:?}"));
            assert!(found.path.starts_with(path) && !found.is_missing, "{path}: {found}");
        }
        std::fs::remove_dir(&place).unwrap();
        if let Some(before) = before {
            std::fs::write(&place, before).unwrap();
        }
    }
    for file in ["scheduler", "fua", "rotational", "nr_requests"] {
        let place = tree.path().join(&vda[1..]).join(file);
        let before = std::fs::read(&place).unwrap();
        std::fs::write(&place, "a b c\n").unwrap();
        let readings = Readings::read(&Root::at(tree.path()), &["/".into()]);
        let device = readings.devices[0].clone().expect("a device");
        let unread = [
            device.scheduler.is_err(),
            device.has_fua.is_err(),
            device.is_rotational.is_err(),
            device.request_count_max.is_err(),
        ];
        assert_eq!(unread.iter().filter(|is_err| **is_err).count(), 1, "{file}");
        std::fs::write(&place, before).unwrap();
    }
}

#[test]
fn a_folder_is_there_or_not_or_a_file() {
    let tree = disks();
    add(tree.path(), &[("/file", "x"), ("/dangling", "-> /nowhere")]);
    let state = |path: &str| {
        let readings = StartReadings::read(&Root::at(tree.path()), &[path.into()]);
        readings.folders[0].state.clone()
    };
    assert_eq!(state("/lvm/data"), Ok(FolderState::Writable));
    assert_eq!(state("/file"), Ok(FolderState::NotAFolder { what: "/file".to_owned() }));
    assert_eq!(state("/file/below"), Ok(FolderState::NotAFolder { what: "/file".to_owned() }));
    assert!(state("/dangling").is_err());
}
