//! May this process have as many files and connections open as it may need?

use super::{Finding, Needs};
use crate::host::StartReadings;

const ID: &str = "nofile";

pub(super) fn judge(readings: &StartReadings, needs: &Needs) -> Vec<Finding> {
    let found = match &readings.limits.descriptor_count {
        Ok(found) => *found,
        Err(unread) => return vec![Finding::unread(ID, unread)],
    };
    let text = format!("the limit of open files is {found}");
    vec![if found < needs.descriptor_count_min {
        let why = "Shards keep rings, journals and segments open; a broker does not start with fewer.";
        told(Finding::fatal(ID, text).why(why), needs.descriptor_count_min, found)
    } else if found < needs.descriptor_count_wanted {
        let why = "Each connection takes a descriptor: fewer can be open than connections_max allows, and clients beyond that \
            are turned away.";
        told(Finding::warn(ID, text).why(why), needs.descriptor_count_wanted, found)
    } else {
        Finding::fine(ID, text)
    }]
}

fn told(finding: Finding, wanted: u64, found: u64) -> Finding {
    let command = format!("ulimit -n {wanted}  # as root where the hard limit is lower; LimitNOFILE={wanted} in a systemd unit");
    finding.wanted(format!("at least {wanted}")).fix(command, format!("ulimit -n {found}  # or take the line out again"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::testing::{good, needs, unread};
    use crate::host::Limits;

    #[test]
    fn too_few_descriptors_name_the_limit() {
        let needs = Needs { descriptor_count_min: 512, descriptor_count_wanted: 10_512, ..needs() };
        for (found, severity, part) in [
            (256, "fatal", "ulimit -n 512 "),
            (512, "warn", "LimitNOFILE=10512"),
            (10_512, "fine", "the limit of open files is 10512"),
        ] {
            let limits = Limits { descriptor_count: Ok(found), ..good().start.limits };
            let findings = judge(&StartReadings { limits, ..good().start }, &needs);
            assert_eq!(findings[0].severity.name(), severity, "{found}");
            assert!(findings[0].to_string().contains(part), "{}", findings[0]);
        }
        let findings = judge(
            &StartReadings { limits: Limits { descriptor_count: Err(unread()), ..good().start.limits }, ..good().start },
            &needs,
        );
        assert_eq!(findings[0].severity.name(), "unread");
    }
}
