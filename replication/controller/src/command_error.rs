//! Why a command did not take effect.

use sluice_metadata::Refusal;
use std::{error, fmt, io};

#[derive(Debug)]
pub enum CommandError {
    /// Certainly not done.
    Refused(Refusal),
    /// The disk has no room. Certainly not done; the controller stays usable, and the same command may succeed later.
    DiskFull,
    /// The log could not be written, and whether the command is in it is not known: end the process. Every further
    /// command is answered so too; the next start finds out from the log.
    Store(io::Error),
}

impl fmt::Display for CommandError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(refusal) => refusal.fmt(f),
            Self::DiskFull => write!(f, "the disk of the metadata log is full"),
            Self::Store(error) => write!(f, "the metadata log cannot be written: {error}"),
        }
    }
}

impl error::Error for CommandError {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match self {
            Self::Refused(refusal) => Some(refusal),
            Self::DiskFull => None,
            Self::Store(error) => Some(error),
        }
    }
}

impl From<Refusal> for CommandError {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}
