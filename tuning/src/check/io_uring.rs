//! May this process use io_uring: is it built in, and do neither the sysctl nor a seccomp profile forbid it?

use super::{Change, Finding, Needs};
use crate::host::{IoUringReading, StartReadings};
use std::io;

const ID: &str = "io-uring";
const WHY: &str = "All I/O of a shard goes through io_uring; a broker does not start without.";
const SECCOMP: &str = "# give the container a seccomp profile that allows io_uring_setup, io_uring_enter and io_uring_register \
    (--security-opt seccomp=FILE)";
const SECCOMP_UNDO: &str = "# start the container with the profile of before";
const SYSCTL: &str = "/proc/sys/kernel/io_uring_disabled";

pub(super) fn judge(readings: &StartReadings, _needs: &Needs) -> Vec<Finding> {
    let wrong = |found: String| Finding::fatal(ID, found).wanted("io_uring for this user").why(WHY);
    let by_seccomp = || {
        wrong(
            "io_uring is forbidden, most likely by a container's seccomp profile (Docker's and containerd's default)".to_owned(),
        )
    };
    vec![match &readings.io_uring {
        IoUringReading::Available => Finding::fine(ID, "io_uring may be used"),
        IoUringReading::Missing => {
            let text = "io_uring is not there (io_uring_setup: ENOSYS): this kernel was built without it (CONFIG_IO_URING), or a \
                        container's seccomp profile hides it";
            wrong(text.to_owned()).fix(SECCOMP, SECCOMP_UNDO)
        }
        IoUringReading::Forbidden { sysctl: Ok(0) } => by_seccomp().fix(SECCOMP, SECCOMP_UNDO),
        IoUringReading::Forbidden { sysctl: Ok(sysctl) } => {
            let change = Change::new(SYSCTL, "0", sysctl.to_string());
            wrong(format!("io_uring is forbidden by the sysctl kernel.io_uring_disabled = {sysctl}"))
                .fix(change.command(), change.undo())
        }
        IoUringReading::Forbidden { sysctl: Err(unread) } => {
            wrong(format!("io_uring is forbidden, by seccomp or by the sysctl kernel.io_uring_disabled, which {unread}"))
                .fix(SECCOMP, SECCOMP_UNDO)
        }
        IoUringReading::Failed { code } => wrong(format!("io_uring_setup failed: {}", io::Error::from_raw_os_error(*code))),
    }]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::testing::{good, needs, unread};

    #[test]
    fn every_way_it_can_be_missing_names_what_to_change() {
        for (reading, severity, parts) in [
            (IoUringReading::Available, "fine", &[][..]),
            (IoUringReading::Missing, "fatal", &["CONFIG_IO_URING", "seccomp"]),
            (IoUringReading::Forbidden { sysctl: Ok(0) }, "fatal", &["seccomp=FILE"]),
            (
                IoUringReading::Forbidden { sysctl: Ok(1) },
                "fatal",
                &["kernel.io_uring_disabled = 1", "sysctl -w kernel.io_uring_disabled=0"],
            ),
            (IoUringReading::Forbidden { sysctl: Ok(2) }, "fatal", &["kernel.io_uring_disabled = 2"]),
            (IoUringReading::Forbidden { sysctl: Err(unread()) }, "fatal", &["could not be read"]),
            (IoUringReading::Failed { code: libc::ENOMEM }, "fatal", &["io_uring_setup failed"]),
        ] {
            let findings = judge(&crate::host::StartReadings { io_uring: reading, ..good().start }, &needs());
            assert_eq!(findings[0].severity.name(), severity);
            for part in parts {
                assert!(findings[0].to_string().contains(part), "{}", findings[0]);
            }
            // Who may use it is the administrator's choice: never changed by us.
            assert!(findings[0].fixes.iter().all(|fix| fix.change.is_none()));
        }
    }
}
