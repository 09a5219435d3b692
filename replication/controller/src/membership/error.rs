//! Why a broker cannot be, or cannot stay, a member of its cluster. Each ends the process.

use sluice_metadata::Refusal;
use sluice_model::{BrokerId, Incarnation};
use std::{error, fmt, io};

#[derive(Debug)]
pub enum MembershipError {
    /// The registration was refused, or the metadata knows nothing of the broker any more.
    Refused(Refusal),
    /// A process that is alive has registered as this broker.
    Alive { broker: BrokerId, incarnation: Incarnation },
    /// Another process has registered as this broker meanwhile.
    Superseded { broker: BrokerId, own: Incarnation, current: Incarnation },
    /// The metadata log cannot be written here.
    Store(io::Error),
}

impl fmt::Display for MembershipError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(refusal) => write!(f, "the cluster refuses this broker: {refusal}"),
            Self::Alive { broker, incarnation } => write!(
                f,
                "broker {broker} is running already, as incarnation {incarnation}: another process has this broker id and \
                 renews its lease; stop that one, or give this one an id and a data folder of its own"
            ),
            Self::Superseded { broker, own, current } => write!(
                f,
                "another process has registered as broker {broker}, as incarnation {current}; this one, incarnation {own}, \
                 counts no more and stops: see to it that only one process has this broker id, and no copy of its data \
                 folder is started"
            ),
            Self::Store(error) => write!(f, "the metadata log cannot be written: {error}"),
        }
    }
}

impl error::Error for MembershipError {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        match self {
            Self::Refused(refusal) => Some(refusal),
            Self::Store(error) => Some(error),
            Self::Alive { .. } | Self::Superseded { .. } => None,
        }
    }
}
