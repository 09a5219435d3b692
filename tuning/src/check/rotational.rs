//! Has the disk heads that move?

use super::{Finding, Needs, per_device};
use crate::host::{Device, Readings, Unread};

const ID: &str = "rotational";

pub(super) fn judge(readings: &Readings, _needs: &Needs) -> Vec<Finding> {
    per_device(readings, ID, judge_one)
}

fn judge_one(device: &Device) -> Result<Finding, Unread> {
    if device.is_virtual() {
        return Ok(Finding::not_applicable(ID, "a virtual disk: what it says of its mechanics is made up"));
    }
    if !device.is_rotational.clone()? {
        return Ok(Finding::fine(ID, "no"));
    }
    let why = "A durable write waits for the platter, up to 8 ms at 7200 turns a minute, and each switch between journal and \
        segments moves the heads.";
    let finding = Finding::warn(ID, "yes").wanted("a solid-state disk, at least for journal_dir").why(why);
    Ok(finding.fix(
        "sluice serve --journal-dir DIR  # a folder on a solid-state disk",
        "# stop it, move the journals back, and leave the flag out",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::testing::{device, good, needs, unread};

    #[test]
    fn heads_that_move_are_a_warning() {
        for (name, is_rotational, severity) in [
            ("sda", Ok(true), "warn"),
            ("sda", Ok(false), "fine"),
            ("vda", Ok(true), "not-applicable"),
            ("sda", Err(unread()), "unread"),
        ] {
            let device = Device { name: name.to_owned(), is_rotational, ..device() };
            let findings = judge(&Readings { devices: vec![Ok(device)], ..good() }, &needs());
            assert_eq!(findings[0].severity.name(), severity, "{name}");
        }
    }
}
