//! Commands and what is said of them, as bytes, for a broker that has to ask another one.
//!
//! They are frames of their own inside of the messages between controllers, so that a command that this build does not
//! know is a command that is refused, and the message around it is still read. The expensive mistake is to believe what a
//! broken sender names: epochs and numbers near the end of their range leave no next one.

use crate::codec::framed;
use crate::command::Command;
use crate::messages::PLAUSIBLE_END;
use rkyv::with::AsBox;
use rkyv::{Archive, Deserialize, Serialize};
use sluice_metadata::{BrokerState, PartitionRefusal, PartitionState, Refusal};
use sluice_model::ProducerId;

/// Longest command, bytes: a change of every partition of a largest topic, or a registration with every partition of a
/// largest cluster in the folder, take half of it at most.
pub(crate) const COMMAND_LEN_MAX: usize = 16 * 1024 * 1024;
/// Longest answer to one, bytes: what is said of every partition of a largest topic takes half of it at most.
pub(crate) const COMMAND_ANSWER_LEN_MAX: usize = 32 * 1024 * 1024;
/// Longest answer to a renewal, bytes.
pub(crate) const RENEW_ANSWER_LEN_MAX: usize = 4096;
/// Placement epochs beyond this are never reached.
const PLACEMENT_EPOCH_PLAUSIBLE_END: u32 = 1 << 31;
/// No lease is longer, milliseconds.
const LEASE_MS_MAX: u64 = 3_600_000;

/// What became of a command.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub(crate) struct SubmitAnswer(pub(crate) Result<SubmittedRow, ErrorRow>);

#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub(crate) struct SubmittedRow {
    pub(crate) index: u64,
    pub(crate) has_changed: bool,
    pub(crate) answers: Vec<Result<PartitionState, PartitionRefusal>>,
    /// The first one and how many.
    pub(crate) producer_ids: Option<(ProducerId, u32)>,
}

/// What became of a lease.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub(crate) struct RenewAnswer(pub(crate) Result<RenewedRow, ErrorRow>);

#[derive(Archive, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RenewedRow {
    pub(crate) state: BrokerState,
    pub(crate) index: u64,
    pub(crate) lease_ms: u64,
}

/// `CommandError`, less what is the answering broker's own affair.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub(crate) enum ErrorRow {
    Refused(#[rkyv(with = AsBox)] Refusal),
    NotController { leader: Option<u32> },
    Undecided,
    DiskFull,
}

framed!(Command, b"SLC", COMMAND_LEN_MAX);
framed!(SubmitAnswer, b"SLD", COMMAND_ANSWER_LEN_MAX);
framed!(RenewAnswer, b"SLH", RENEW_ANSWER_LEN_MAX);

impl Command {
    /// Whether the rules may see it; they judge all the rest.
    pub(crate) fn is_sound(&self) -> bool {
        match self {
            Self::RegisterBroker(request) => {
                let placements = request.held.placements.values();
                request.incarnation.number < PLAUSIBLE_END
                    && request.held.incarnation_number < PLAUSIBLE_END
                    && placements.copied().all(|at| at.placement_epoch.0 < PLACEMENT_EPOCH_PLAUSIBLE_END)
            }
            Self::AdoptTopic(request) => {
                request.found.values().all(|found| found.placement_epoch.0 < PLACEMENT_EPOCH_PLAUSIBLE_END)
            }
            _ => true,
        }
    }
}

impl SubmitAnswer {
    pub(crate) fn is_sound(&self) -> bool {
        self.0.as_ref().is_ok_and(|row| row.index < PLAUSIBLE_END) || self.0.is_err()
    }
}

impl RenewAnswer {
    pub(crate) fn is_sound(&self) -> bool {
        self.0.as_ref().is_ok_and(|row| row.index < PLAUSIBLE_END && row.lease_ms <= LEASE_MS_MAX) || self.0.is_err()
    }
}

#[cfg(test)]
#[path = "command_codec_test.rs"]
mod tests;
