//! Does a control group ration a device?

use super::{Finding, Needs};
use crate::host::Readings;

const ID: &str = "cgroup-io";

pub(super) fn judge(readings: &Readings, _needs: &Needs) -> Vec<Finding> {
    vec![match &readings.cgroup.io {
        Err(unread) => Finding::unread(ID, unread),
        Ok(limits) if limits.is_empty() => Finding::fine(ID, "no limit of input and output"),
        Ok(limits) => {
            let why = "What is beyond the limit waits in the kernel, durable writes too; each byte is written twice, and \
                admission counts on what the device does.";
            let finding = Finding::note(ID, format!("io.max is {}", limits.join("; ")))
                .wanted("no io.max, or twice the rate of produce")
                .why(why);
            finding.fix(
                "# leave out --device-write-bps and its like for a container, IOWriteBandwidthMax= and its like in a systemd \
                    unit",
                "# give the limit of before again",
            )
        }
    }]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::testing::{good, needs, tell, unread};
    use crate::host::Cgroup;

    #[test]
    fn a_rationed_device_is_told() {
        let judge_with = |io| tell(&judge(&Readings { cgroup: Cgroup { io, ..good().cgroup }, ..good() }, &needs()))[0].clone();
        assert_eq!(judge_with(Ok(vec![])), "fine cgroup-io: no limit of input and output");
        assert!(
            judge_with(Ok(vec!["8:0 wbps=1048576".to_owned()]))
                .starts_with("note cgroup-io: io.max is 8:0 wbps=1048576 | wanted")
        );
        assert!(judge_with(Err(unread())).starts_with("unread"));
    }
}
