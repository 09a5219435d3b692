//! What does it cost on this device to make a write durable: has it a volatile cache, and can it write past it (FUA)?

use super::{Finding, Needs, per_device};
use crate::host::{Device, Readings, Unread};

const ID: &str = "write-cache";

pub(super) fn judge(readings: &Readings, _needs: &Needs) -> Vec<Finding> {
    per_device(readings, ID, judge_one)
}

fn judge_one(device: &Device) -> Result<Finding, Unread> {
    let cache = device.write_cache.clone()?;
    match cache.as_str() {
        "write through" => {
            let whose = if device.is_virtual() { ", says the hypervisor" } else { ", as far as the kernel knows" };
            Ok(Finding::fine(ID, format!("no volatile cache{whose}: a write is durable when it is answered")))
        }
        "write back" if device.has_fua.clone()? => Ok(Finding::fine(ID, "a volatile cache, and writes that go past it (FUA)")),
        "write back" => {
            let name = &device.name;
            let why = "Each durable write is followed by a flush of the whole cache: 99 µs instead of 46 for 4 KiB on the disk \
                Sluice is measured on.";
            let finding =
                Finding::note(ID, "a volatile cache without FUA").wanted("FUA, or a cache that survives a power cut").why(why);
            Ok(if device.is_virtual() {
                finding.fix(
                    "# nothing from in here: the hypervisor decides (a disk type with a cache that is protected, where it \
                        offers one)",
                    "# choose the disk type of before",
                )
            } else {
                finding.fix(
                    format!("sudo hdparm -W0 /dev/{name}  # SATA only; measure before and after"),
                    format!("sudo hdparm -W1 /dev/{name}"),
                )
            })
        }
        other => Err(Unread::malformed(format!("/sys/block/{}/queue/write_cache", device.name), other)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::testing::{device, good, needs, unread};

    #[test]
    fn a_cache_without_fua_costs_a_flush() {
        for (name, cache, has_fua, severity, part) in [
            ("nvme0n1", Ok("write through"), Ok(false), "fine", "as far as the kernel knows"),
            ("vda", Ok("write through"), Ok(false), "fine", "says the hypervisor"),
            ("nvme0n1", Ok("write back"), Ok(true), "fine", "FUA"),
            ("sda", Ok("write back"), Ok(false), "note", "hdparm -W0 /dev/sda"),
            ("vda", Ok("write back"), Ok(false), "note", "hypervisor"),
            ("sda", Ok("write back"), Err(unread()), "unread", "could not be read"),
            ("sda", Ok("sideways"), Ok(true), "unread", "sideways"),
            ("sda", Err(unread()), Ok(true), "unread", "could not be read"),
        ] {
            let device = crate::host::Device {
                name: name.to_owned(),
                write_cache: cache.clone().map(ToOwned::to_owned),
                has_fua,
                ..device()
            };
            let findings = judge(&Readings { devices: vec![Ok(device)], ..good() }, &needs());
            assert_eq!(findings[0].severity.name(), severity, "{name} {cache:?}");
            assert!(findings[0].to_string().contains(part), "{}", findings[0]);
        }
    }

    #[test]
    fn a_folder_without_a_device_and_a_device_that_is_not_found_are_told() {
        let findings = judge(&Readings { devices: vec![], ..good() }, &needs());
        assert_eq!(findings[0].severity.name(), "not-applicable");
        let findings = judge(&Readings { devices: vec![Err(unread())], ..good() }, &needs());
        assert_eq!(findings[0].severity.name(), "unread");
    }
}
