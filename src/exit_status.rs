//! What the program's exit status says, in one table, and the one form every failure takes on its way there.
//!
//! The expensive mistake is a script that takes a partial success for a whole one: `produce` ends with 0 only
//! when every line was acknowledged. Deliberately absent: the wording of particular failures, which stands where
//! they are found. 70 to 79 are the broker's own (`shard::fatal`), the same whether it fails at its start or later.

use std::fmt;
use std::io;

/// Every status this program ends with by itself. The README shows the same table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum ExitStatus {
    /// All of what was asked for was done.
    Success = 0,
    /// Something failed that has no status of its own (a file that cannot be read, say).
    Failed = 1,
    /// A flag, a setting or a file of settings is wrong; nothing was started.
    Usage = 2,
    /// No broker could be reached, or it went away and did not come back in time.
    Unreachable = 3,
    /// The broker refused what was asked for (an unknown topic, an offset out of range, a topic that exists).
    Refused = 4,
    /// `produce`: not every line was acknowledged; standard error names those that were not.
    NotAcknowledged = 5,
    /// Data on disk, or a record that was fetched, is damaged.
    Damaged = 6,
    /// `demo`: an acknowledged record is missing, came twice or came out of order.
    ProofFailed = 7,
    /// `check`: something here keeps a broker from starting, or what it acknowledges from being safe.
    Unfit = 8,
    /// `cluster health`: a partition has no leader or is not fully in sync, or it cannot be said.
    Unhealthy = 9,
    /// A broker's write, read or flush failed for no known cause; it stopped so that nothing false is acknowledged.
    DeviceFailed = 70,
    /// Data of a broker that should be good is damaged, and serving on would hide it.
    BrokerDataDamaged = 71,
    LockedMemory = 72,
    NoIoUring = 73,
    DataFolder = 74,
    DataFolderInUse = 75,
    CannotListen = 76,
    Host = 77,
    Setting = 78,
    Metadata = 79,
    /// A signal ended the work before it was done.
    Interrupted = 130,
}

impl ExitStatus {
    /// In the order of their numbers, with what the documentation says of each.
    pub(crate) const TABLE: &[(Self, &str)] = &[
        (Self::Success, "all of it was done"),
        (Self::Failed, "a failure without a status of its own"),
        (Self::Usage, "a flag or a setting is wrong; nothing was started"),
        (Self::Unreachable, "no broker answers at the address"),
        (Self::Refused, "the broker, or the metadata of a stopped one, refused the request"),
        (Self::NotAcknowledged, "`produce`: not every line was acknowledged"),
        (Self::Damaged, "data is damaged"),
        (Self::ProofFailed, "`demo`: the proof failed"),
        (Self::Unfit, "`check`: a broker cannot run here, or would not be safe"),
        (Self::Unhealthy, "`cluster health`: not everything is led and in sync, or it is not known"),
        (Self::DeviceFailed, "a broker's write, read or flush failed: look at the device before starting again"),
        (Self::BrokerDataDamaged, "a broker's data is damaged: a person must look"),
        (Self::LockedMemory, "a broker has too little locked memory: raise the limit"),
        (Self::NoIoUring, "a broker may not use io_uring: allow it"),
        (Self::DataFolder, "the data folder cannot be used"),
        (Self::DataFolderInUse, "the data folder is in use by another broker"),
        (Self::CannotListen, "a broker cannot listen on its address"),
        (Self::Host, "the host lacks something a broker needs"),
        (Self::Setting, "a broker refuses one of its settings"),
        (Self::Metadata, "a broker's metadata cannot be read or written"),
        (Self::Interrupted, "a signal ended the work before it was done"),
    ];

    /// The status that a broker names; one that is not in the table is no worse than a failure.
    pub(crate) fn of_broker(number: i32) -> Self {
        Self::TABLE.iter().map(|&(status, _)| status).find(|&status| status as i32 == number).unwrap_or(Self::Failed)
    }
}

/// Why the program ends early: one clear message of what is wrong, and one of what to do about it.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) status: ExitStatus,
    what: String,
    remedy: Option<String>,
}

impl Failure {
    pub(crate) fn new(status: ExitStatus, what: impl Into<String>) -> Self {
        Self { status, what: what.into(), remedy: None }
    }

    pub(crate) fn usage(what: impl Into<String>) -> Self {
        Self::new(ExitStatus::Usage, what)
    }

    /// A failed system call of this program itself, with what it was about.
    pub(crate) fn io(about: impl fmt::Display, error: &io::Error) -> Self {
        Self::new(ExitStatus::Failed, format!("{about}: {error}"))
    }

    #[must_use]
    pub(crate) fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = Some(remedy.into());
        self
    }

    /// The reader of standard output has gone (`sluice consume … | head`): there is nothing left to say.
    pub(crate) fn output(error: &io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            Self::new(ExitStatus::Success, "")
        } else {
            Self::io("cannot write to standard output", error)
        }
    }

    /// True when nothing is to be printed.
    pub(crate) fn is_quiet(&self) -> bool {
        self.what.is_empty()
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: {}", self.what)?;
        match &self.remedy {
            Some(remedy) => write!(f, "\n  try: {remedy}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_readme_shows_the_same_statuses() {
        let readme = include_str!("../README.md");
        for &(status, meaning) in ExitStatus::TABLE {
            let row = format!("| {} | {meaning} |", status as u8);
            assert!(readme.contains(&row), "README.md lacks the row {row:?}");
        }
    }

    #[test]
    fn the_statuses_of_a_broker_are_those_it_ends_with_by_itself() {
        use sluice_shard::FatalReason as Reason;
        let text = String::new;
        for (status, reason) in [
            (ExitStatus::DeviceFailed, Reason::IoFailure(text())),
            (ExitStatus::BrokerDataDamaged, Reason::DamagedData(text())),
            (ExitStatus::LockedMemory, Reason::LockedMemory(text())),
            (ExitStatus::NoIoUring, Reason::NoIoUring(text())),
            (ExitStatus::DataFolder, Reason::DataFolder(text())),
            (ExitStatus::DataFolderInUse, Reason::DataFolderInUse(text())),
            (ExitStatus::CannotListen, Reason::CannotListen(text())),
            (ExitStatus::Host, Reason::Host(text())),
            (ExitStatus::Setting, Reason::Configuration(text())),
            (ExitStatus::Metadata, Reason::Metadata(text())),
        ] {
            assert_eq!(ExitStatus::of_broker(reason.exit_status()), status);
        }
    }

    /// Whether starting again may help without anybody's doing. No arm for the rest: a new status has to be judged.
    fn may_heal_by_itself(status: ExitStatus) -> bool {
        use ExitStatus as S;
        match status {
            // A crash of a kind nobody foresaw, or a predecessor that is still ending.
            S::Failed | S::DataFolderInUse | S::CannotListen => true,
            S::Usage | S::DeviceFailed | S::BrokerDataDamaged | S::LockedMemory | S::NoIoUring => false,
            S::DataFolder | S::Host | S::Setting | S::Metadata => false,
            // `serve` does not end with these.
            S::Success | S::Unreachable | S::Refused | S::NotAcknowledged | S::Damaged | S::ProofFailed => true,
            S::Unfit | S::Unhealthy | S::Interrupted => true,
        }
    }

    #[test]
    fn systemd_does_not_start_again_what_a_person_must_look_at() {
        let unit = include_str!("../tuning/systemd/sluice.service");
        let line = unit.lines().find_map(|line| line.strip_prefix("RestartPreventExitStatus=")).expect("the unit has the line");
        let named: Vec<u8> = line.split_whitespace().map(|status| status.parse().expect("a number")).collect();
        let expected: Vec<u8> = ExitStatus::TABLE
            .iter()
            .filter(|(status, _)| !may_heal_by_itself(*status))
            .map(|(status, _)| *status as u8)
            .collect();
        assert_eq!(named, expected);
    }

    #[test]
    fn a_broken_pipe_is_quiet_and_no_failure() {
        let failure = Failure::output(&io::Error::from(io::ErrorKind::BrokenPipe));
        assert!(failure.is_quiet() && failure.status == ExitStatus::Success);
        assert!(!Failure::output(&io::Error::from(io::ErrorKind::StorageFull)).is_quiet());
    }
}
