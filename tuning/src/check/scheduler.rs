//! Does the kernel's I/O scheduler keep the order in which shards ask?

use super::{Change, Finding, Needs, per_device};
use crate::host::{Device, Readings, Unread};

const ID: &str = "scheduler";

pub(super) fn judge(readings: &Readings, _needs: &Needs) -> Vec<Finding> {
    per_device(readings, ID, judge_one)
}

fn judge_one(device: &Device) -> Result<Finding, Unread> {
    let Some(scheduler) = device.scheduler.clone()? else {
        return Ok(Finding::not_applicable(ID, "the device has none"));
    };
    let chosen = &scheduler.chosen;
    if chosen == "none" {
        return Ok(Finding::fine(ID, "none"));
    }
    let text = chosen.clone();
    let why = match chosen.as_str() {
        "mq-deadline" => {
            "It prefers reads: beside one greedy reader the median durable 4 KiB write took 65 ms instead of 0.2 on the disk \
                Sluice is measured on."
        }
        "bfq" => {
            "It shares the device out between processes and holds it idle for one that may come back, which delays every \
                durable write."
        }
        _ => "It holds requests back to meet its own goals for latency; shards pace their own work already.",
    };
    let change = Change::new(format!("/sys/block/{}/queue/scheduler", device.name), "none", chosen.clone());
    if !scheduler.offered.iter().any(|offered| offered == "none") {
        return Ok(Finding::note(ID, text).wanted("none, which this device does not offer").why(why));
    }
    // A disk with heads gains from the order that a scheduler makes: there it is the operator's choice.
    if device.is_rotational.clone()? && !device.is_virtual() {
        return Ok(Finding::note(ID, text)
            .wanted("none, unless the disk also has other work")
            .why(why)
            .fix(change.command(), change.undo()));
    }
    Ok(Finding::warn(ID, text).wanted("none").why(why).change(change))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::testing::{device, good, needs, tell, unread};

    #[test]
    fn none_is_wanted() {
        let offers = "none [mq-deadline] kyber";
        for (name, text, is_rotational, expected) in [
            ("nvme0n1", Some("[none] mq-deadline"), false, "fine [nvme0n1] scheduler: none"),
            ("nvme0n1", Some("none"), false, "fine [nvme0n1] scheduler: none"),
            ("vda", Some(offers), true, "warn [vda] scheduler: mq-deadline | wanted none | It prefers reads"),
            ("sda", Some("none [bfq]"), false, "warn [sda] scheduler: bfq | wanted none | It shares"),
            ("sda", Some("none [kyber]"), false, "warn [sda] scheduler: kyber | wanted none | It holds"),
            ("sda", Some(offers), true, "note [sda] scheduler: mq-deadline | wanted none, unless"),
            (
                "sda",
                Some("[mq-deadline]"),
                false,
                "note [sda] scheduler: mq-deadline | wanted none, which this device does not offer",
            ),
            ("zram0", None, false, "not-applicable [zram0] scheduler: the device has none"),
        ] {
            let scheduler = Ok(text.map(|text| text.parse().expect(text)));
            let device = Device { name: name.to_owned(), scheduler, is_rotational: Ok(is_rotational), ..device() };
            let findings = judge(&Readings { devices: vec![Ok(device)], ..good() }, &needs());
            let told = tell(&findings);
            assert!(told[0].starts_with(expected), "{told:?}");
            // Only a warning is changed by `apply`.
            assert_eq!(findings[0].fixes.iter().any(|fix| fix.change.is_some()), expected.starts_with("warn"), "{told:?}");
        }
        let device = Device { scheduler: Err(unread()), ..device() };
        assert_eq!(judge(&Readings { devices: vec![Ok(device)], ..good() }, &needs())[0].severity.name(), "unread");
    }

    #[test]
    fn the_change_is_at_the_bottom_and_goes_back_to_what_was() {
        let device =
            Device { layers: vec!["dm-0".to_owned(), "sda2".to_owned()], scheduler: Ok("[bfq] none".parse().ok()), ..device() };
        let findings = judge(&Readings { devices: vec![Ok(device)], ..good() }, &needs());
        assert_eq!(findings[0].subject.as_deref(), Some("nvme0n1 below dm-0, sda2"));
        assert_eq!(findings[0].fixes[0].command, "echo none | sudo tee /sys/block/nvme0n1/queue/scheduler");
        assert_eq!(findings[0].fixes[0].undo, "echo bfq | sudo tee /sys/block/nvme0n1/queue/scheduler");
    }
}
