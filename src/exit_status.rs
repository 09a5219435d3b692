//! What the program's exit status says, in one table, and the one form every failure takes on its way there.
//!
//! The expensive mistake is a script that takes a partial success for a whole one: `produce` ends with 0 only
//! when every line was acknowledged. Deliberately absent: the wording of particular failures, which stands where
//! they are found.

use std::fmt;
use std::io;

/// Every status this program ends with by itself. The README shows the same table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum ExitStatus {
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
    /// `serve`, `demo`: the broker cannot start here (folder, port, memory limit, kernel); the message names what to change.
    CannotStart = 7,
    /// `demo`: an acknowledged record is missing, came twice or came out of order.
    ProofFailed = 8,
    /// The broker stopped itself while it ran (a failed flush, say), so that nothing false is acknowledged.
    BrokerFailed = 9,
    /// A signal ended the work before it was done.
    Interrupted = 130,
}

impl ExitStatus {
    /// In the order of their numbers, with what the documentation says of each.
    pub const TABLE: &[(Self, &str)] = &[
        (Self::Success, "all of it was done"),
        (Self::Failed, "a failure without a status of its own"),
        (Self::Usage, "a flag or a setting is wrong; nothing was started"),
        (Self::Unreachable, "no broker answers at the address"),
        (Self::Refused, "the broker refused the request"),
        (Self::NotAcknowledged, "`produce`: not every line was acknowledged"),
        (Self::Damaged, "data is damaged"),
        (Self::CannotStart, "the broker cannot start here"),
        (Self::ProofFailed, "`demo`: the proof failed"),
        (Self::BrokerFailed, "the broker stopped itself while it ran"),
        (Self::Interrupted, "a signal ended the work before it was done"),
    ];
}

/// Why the program ends early: one clear message of what is wrong, and one of what to do about it.
#[derive(Debug)]
pub struct Failure {
    pub status: ExitStatus,
    what: String,
    remedy: Option<String>,
}

impl Failure {
    pub fn new(status: ExitStatus, what: impl Into<String>) -> Self {
        Self { status, what: what.into(), remedy: None }
    }

    pub fn usage(what: impl Into<String>) -> Self {
        Self::new(ExitStatus::Usage, what)
    }

    /// A failed system call of this program itself, with what it was about.
    pub fn io(about: impl fmt::Display, error: &io::Error) -> Self {
        Self::new(ExitStatus::Failed, format!("{about}: {error}"))
    }

    #[must_use]
    pub fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = Some(remedy.into());
        self
    }

    /// The reader of standard output has gone (`sluice consume … | head`): there is nothing left to say.
    pub fn output(error: &io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            Self::new(ExitStatus::Success, "")
        } else {
            Self::io("cannot write to standard output", error)
        }
    }

    /// True when nothing is to be printed.
    pub fn is_quiet(&self) -> bool {
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
    fn a_broken_pipe_is_quiet_and_no_failure() {
        let failure = Failure::output(&io::Error::from(io::ErrorKind::BrokenPipe));
        assert!(failure.is_quiet() && failure.status == ExitStatus::Success);
        assert!(!Failure::output(&io::Error::from(io::ErrorKind::StorageFull)).is_quiet());
    }
}
