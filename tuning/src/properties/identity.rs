//! What a device is known by, and when two descriptions are of one device.
//!
//! The expensive mistake is a plan made from another machine's figures, and the second is to refuse one's own after a restart
//! in which the kernel numbered the disks another way. So names and numbers count only where nothing better is known: a
//! universally unique id of the file system or of the volume, or a serial number.

use std::fmt;

/// One device below a file system, from the bottom.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Disk {
    /// As in `/sys/block`.
    pub name: String,
    pub model: Option<String>,
    /// The serial number, or the name that the device has in the world (WWID).
    pub serial: Option<String>,
}

/// The device under a folder, on this machine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeviceIdentity {
    /// A hash of the host's machine-id, in hexadecimal; the id itself is confidential.
    pub machine: Option<String>,
    /// Of what is mounted: `vda1`, `dm-0`; the source, where no block device is.
    pub name: String,
    /// Major and minor number, as `254:0`.
    pub number: String,
    /// Bytes; none where no block device is.
    pub len: Option<u64>,
    /// The name of a device-mapper or md volume in the world, or a partition's.
    pub volume_uuid: Option<String>,
    pub file_system: String,
    pub file_system_uuid: Option<String>,
    /// Sorted by what they are known by.
    pub disks: Vec<Disk>,
}

/// One thing in which two descriptions differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    pub what: &'static str,
    pub measured: String,
    pub here: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} was {}, here it is {}", self.what, self.measured, self.here)
    }
}

impl DeviceIdentity {
    /// In what this device, where figures were taken, is another one than `here`; empty when it is the same.
    #[must_use]
    pub fn differences(&self, here: &Self) -> Vec<Difference> {
        let mut found = Vec::new();
        let mut compare = |what, measured: Option<String>, here: Option<String>| {
            if measured != here {
                let text = |value: Option<String>| value.unwrap_or_else(|| "not known".to_owned());
                found.push(Difference { what, measured: text(measured), here: text(here) });
            }
        };
        compare("the machine", self.machine.clone(), here.machine.clone());
        compare("the file system", Some(self.file_system.clone()), Some(here.file_system.clone()));
        compare("the file system's uuid", self.file_system_uuid.clone(), here.file_system_uuid.clone());
        compare("the volume's uuid", self.volume_uuid.clone(), here.volume_uuid.clone());
        compare("the device's size", self.len.map(|len| format!("{len} bytes")), here.len.map(|len| format!("{len} bytes")));
        compare("the disk", Some(self.known_disks()), Some(here.known_disks()));
        if !self.is_known_by_id() {
            compare("the device's name", Some(self.name.clone()), Some(here.name.clone()));
            compare("the device's number", Some(self.number.clone()), Some(here.number.clone()));
        }
        found
    }

    /// Something names it that does not change from start to start, and that no other device has.
    fn is_known_by_id(&self) -> bool {
        self.file_system_uuid.is_some()
            || self.volume_uuid.is_some()
            || (!self.disks.is_empty() && self.disks.iter().all(|disk| disk.serial.is_some()))
    }

    /// The disks by what does not change; their names do.
    fn known_disks(&self) -> String {
        let text = |disk: &Disk| {
            let part = |value: &Option<String>| value.clone().unwrap_or_else(|| "-".to_owned());
            format!("model {} serial {}", part(&disk.model), part(&disk.serial))
        };
        let mut disks: Vec<String> = self.disks.iter().map(text).collect();
        disks.sort_unstable();
        if disks.is_empty() { "none".to_owned() } else { disks.join(", ") }
    }
}

/// For people: `ext4 on vda1 (254:1), disk vda QEMU serial 1234`.
impl fmt::Display for DeviceIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} on {} ({})", self.file_system, self.name, self.number)?;
        for Disk { name, model, serial } in &self.disks {
            write!(f, ", disk {name}")?;
            model.iter().try_for_each(|model| write!(f, " {model}"))?;
            serial.iter().try_for_each(|serial| write!(f, " serial {serial}"))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known() -> DeviceIdentity {
        DeviceIdentity {
            machine: Some("ab".to_owned()),
            name: "nvme0n1p1".to_owned(),
            number: "259:1".to_owned(),
            len: Some(1 << 40),
            volume_uuid: None,
            file_system: "ext4".to_owned(),
            file_system_uuid: Some("f00d".to_owned()),
            disks: vec![Disk { name: "nvme0n1".to_owned(), model: Some("M".to_owned()), serial: Some("S1".to_owned()) }],
        }
    }

    fn told(measured: &DeviceIdentity, here: &DeviceIdentity) -> Vec<&'static str> {
        measured.differences(here).iter().map(|difference| difference.what).collect()
    }

    #[test]
    fn a_device_that_was_numbered_anew_is_the_same() {
        let mut here = known();
        (here.name, here.number) = ("nvme1n1p1".to_owned(), "259:7".to_owned());
        here.disks[0].name = "nvme1n1".to_owned();
        assert_eq!(told(&known(), &here), [""; 0]);
    }

    #[test]
    fn without_any_id_the_name_and_number_count() {
        let mut measured = known();
        (measured.file_system_uuid, measured.disks[0].serial) = (None, None);
        assert_eq!(told(&measured, &measured), [""; 0]);
        let here = DeviceIdentity { name: "sda1".to_owned(), number: "8:1".to_owned(), ..measured.clone() };
        assert_eq!(told(&measured, &here), ["the device's name", "the device's number"]);
        measured.disks.clear();
        assert_eq!(told(&measured, &here).len(), 3, "no disks are no serial");
    }

    #[test]
    fn each_thing_that_differs_is_named_with_both_values() {
        type Spoil = fn(&mut DeviceIdentity);
        let table: [(Spoil, &str); 7] = [
            (|one| one.machine = Some("cd".to_owned()), "the machine was ab, here it is cd"),
            (|one| one.machine = None, "the machine was ab, here it is not known"),
            (|one| one.file_system = "xfs".to_owned(), "the file system was ext4, here it is xfs"),
            (|one| one.file_system_uuid = Some("beef".to_owned()), "the file system's uuid was f00d, here it is beef"),
            (|one| one.volume_uuid = Some("LVM-1".to_owned()), "the volume's uuid was not known, here it is LVM-1"),
            (|one| one.len = Some(5), "the device's size was 1099511627776 bytes, here it is 5 bytes"),
            (|one| one.disks[0].serial = Some("S2".to_owned()), "the disk was model M serial S1, here it is model M serial S2"),
        ];
        for (spoil, expected) in table {
            let mut here = known();
            spoil(&mut here);
            let told: Vec<String> = known().differences(&here).iter().map(ToString::to_string).collect();
            assert_eq!(told, [expected]);
        }
    }
}
