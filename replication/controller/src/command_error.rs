//! Why a command did not take effect, or is not known to have.

use sluice_metadata::Refusal;
use sluice_model::BrokerId;
use std::{error, fmt, io};

#[derive(Debug)]
pub enum CommandError {
    /// Certainly not done.
    Refused(Refusal),
    /// Certainly not done by this broker: another one is the controller, or none is known. `leader` is the one to ask.
    NotController { leader: Option<BrokerId> },
    /// Proposed, and not known to be decided: the controller has been cut off from the others, or replaced. Ask again,
    /// wherever the controller is now; a command that is done already finds it so.
    Undecided,
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
            Self::NotController { leader: Some(leader) } => write!(f, "broker {leader} is the controller"),
            Self::NotController { leader: None } => write!(f, "no controller is known; a majority of the voters has to be there"),
            Self::Undecided => write!(f, "the controller does not know whether it is done; ask again"),
            Self::DiskFull => write!(f, "the disk of the metadata log is full"),
            Self::Store(error) => write!(f, "the metadata log cannot be written: {error}"),
        }
    }
}

impl error::Error for CommandError {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match self {
            Self::Refused(refusal) => Some(refusal),
            Self::NotController { .. } | Self::Undecided | Self::DiskFull => None,
            Self::Store(error) => Some(error),
        }
    }
}

impl From<Refusal> for CommandError {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}
