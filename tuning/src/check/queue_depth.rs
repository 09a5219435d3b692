//! Does the device take as many requests at once as shards give it?

use super::{Change, Finding, Needs, per_device};
use crate::host::{Device, Readings, Unread};

const ID: &str = "queue-depth";
/// From here on the disk that Sluice is measured on gains nothing more.
const WANTED: u32 = 32;
const WHY: &str =
    "At depth 32 the disk that Sluice is measured on takes 65,000 writes of 4 KiB a second, at depth 1 no more than 22,000.";

pub(super) fn judge(readings: &Readings, _needs: &Needs) -> Vec<Finding> {
    per_device(readings, ID, judge_one)
}

fn judge_one(device: &Device) -> Result<Finding, Unread> {
    let (requests, commands) = (device.request_count_max.clone()?, device.command_count_max.clone()?);
    let wanted = format!("at least {WANTED}");
    if let Some(commands) = commands.filter(|&commands| commands < WANTED) {
        let change =
            Change::new(format!("/sys/block/{}/device/queue_depth", device.name), WANTED.to_string(), commands.to_string());
        let text = format!("the device is given {commands} commands at once");
        return Ok(Finding::note(ID, text).wanted(wanted).why(WHY).fix(change.command(), change.undo()));
    }
    Ok(match requests {
        None => Finding::not_applicable(ID, "the device has no queue"),
        Some(requests) if requests < WANTED => {
            let change =
                Change::new(format!("/sys/block/{}/queue/nr_requests", device.name), WANTED.to_string(), requests.to_string());
            let text = format!("the kernel queues {requests} requests");
            Finding::note(ID, text).wanted(wanted).why(WHY).fix(change.command(), change.undo())
        }
        Some(requests) => Finding::fine(ID, format!("{requests} requests")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::testing::{device, good, needs, tell, unread};

    #[test]
    fn a_short_queue_is_told() {
        for (requests, commands, expected) in [
            (Ok(Some(256)), Ok(None), "fine [nvme0n1] queue-depth: 256 requests"),
            (Ok(Some(256)), Ok(Some(64)), "fine [nvme0n1] queue-depth: 256 requests"),
            (Ok(Some(4)), Ok(None), "note [nvme0n1] queue-depth: the kernel queues 4 requests | wanted at least 32"),
            (
                Ok(Some(256)),
                Ok(Some(1)),
                "note [nvme0n1] queue-depth: the device is given 1 commands at once | wanted at least 32",
            ),
            (Ok(None), Ok(None), "not-applicable [nvme0n1] queue-depth: the device has no queue"),
            (Err(unread()), Ok(None), "unread [nvme0n1] queue-depth"),
            (Ok(Some(256)), Err(unread()), "unread [nvme0n1] queue-depth"),
        ] {
            let device = Device { request_count_max: requests, command_count_max: commands, ..device() };
            let told = tell(&judge(&Readings { devices: vec![Ok(device)], ..good() }, &needs()));
            assert!(told[0].starts_with(expected), "{told:?}");
        }
    }
}
