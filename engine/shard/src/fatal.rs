//! The ways the environment ends the process, and the exit status of each.
//!
//! A shard must never be half alive: what cannot be survived ends the whole process at once, with one line that says
//! why, and a status by which a supervisor can tell "start again" from "a person must look". Acknowledged records are on
//! disk by then, so ending is safe; going on would not be. Deliberately absent: clean-up on the way out.
//!
//! | status | reason | start again? |
//! |---|---|---|
//! | 70 | a write, read or flush failed for no known cause | after a look at the device |
//! | 71 | data that should be good is damaged and serving on would hide it | no: a person must look |
//! | 72 | not enough locked memory | after raising the limit |
//! | 73 | io_uring is not to be had | after allowing it |
//! | 74 | the data folder cannot be used | after mending it |
//! | 75 | the data folder is in use by another broker | when that one has ended |
//! | 76 | an address cannot be listened on | when it is free |
//! | 77 | the host or the build does not behave as needed | no: report it |
//! | 78 | a setting is wrong | after correcting it |
//! | 79 | the metadata cannot be read or written | after a look at the device |

use std::fmt;
use std::io::Write;
use std::process;

/// Why the process cannot go on. The text says what happened, to what, and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FatalReason {
    IoFailure(String),
    DamagedData(String),
    LockedMemory(String),
    NoIoUring(String),
    DataFolder(String),
    DataFolderInUse(String),
    CannotListen(String),
    Host(String),
    Configuration(String),
    Metadata(String),
}

impl FatalReason {
    /// The exit status; never changed once released.
    pub fn exit_status(&self) -> i32 {
        match self {
            FatalReason::IoFailure(_) => 70,
            FatalReason::DamagedData(_) => 71,
            FatalReason::LockedMemory(_) => 72,
            FatalReason::NoIoUring(_) => 73,
            FatalReason::DataFolder(_) => 74,
            FatalReason::DataFolderInUse(_) => 75,
            FatalReason::CannotListen(_) => 76,
            FatalReason::Host(_) => 77,
            FatalReason::Configuration(_) => 78,
            FatalReason::Metadata(_) => 79,
        }
    }

    fn text(&self) -> (&'static str, &str) {
        match self {
            FatalReason::IoFailure(text) => ("I/O failure", text),
            FatalReason::DamagedData(text) => ("damaged data", text),
            FatalReason::LockedMemory(text) => ("not enough locked memory", text),
            FatalReason::NoIoUring(text) => ("no io_uring", text),
            FatalReason::DataFolder(text) => ("data folder", text),
            FatalReason::DataFolderInUse(text) => ("data folder in use", text),
            FatalReason::CannotListen(text) => ("cannot listen", text),
            FatalReason::Host(text) => ("host", text),
            FatalReason::Configuration(text) => ("configuration", text),
            FatalReason::Metadata(text) => ("metadata", text),
        }
    }
}

impl fmt::Display for FatalReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, text) = self.text();
        write!(f, "{name}: {text}")
    }
}

/// Says why, on the log and on stderr, and ends the process.
pub fn fatal(reason: FatalReason) -> ! {
    let status = reason.exit_status();
    tracing::error!(status, %reason, "the process ends");
    let _nobody_reads = writeln!(std::io::stderr(), "sluice: fatal: {reason} (exit status {status})");
    process::exit(status)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_a_status_of_its_own_from_70_on() {
        let text = String::from("what happened");
        let all = [
            FatalReason::IoFailure(text.clone()),
            FatalReason::DamagedData(text.clone()),
            FatalReason::LockedMemory(text.clone()),
            FatalReason::NoIoUring(text.clone()),
            FatalReason::DataFolder(text.clone()),
            FatalReason::DataFolderInUse(text.clone()),
            FatalReason::CannotListen(text.clone()),
            FatalReason::Host(text.clone()),
            FatalReason::Configuration(text.clone()),
            FatalReason::Metadata(text),
        ];
        let statuses: Vec<i32> = all.iter().map(FatalReason::exit_status).collect();
        assert_eq!(statuses, (70..80).collect::<Vec<_>>());
        assert_eq!(all[2].to_string(), "not enough locked memory: what happened");
    }
}
