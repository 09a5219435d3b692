//! What a command may do that is asked again after a lost answer, and what its answer is worth then.
//!
//! The one asked first may have done it already, or may do it yet: its message can be under way for as long as it likes.
//! The expensive mistakes are a deletion by name that comes late and meets the name's next topic, and a refusal that is
//! taken for "nothing has happened" where it is the command's own doing.

use crate::command::Command;
use crate::forward::Submitted;
use sluice_metadata::{BrokerState, Image, Refusal};

impl Command {
    /// Whether doing it twice, or late, does no harm: it names ids that are never used again, or the epochs or the
    /// incarnation it is about, or what it asks for is the same at any time. Producer ids are given out anew, which
    /// costs nothing.
    pub(crate) fn may_be_repeated(&self) -> bool {
        match self {
            Self::RegisterBroker(_)
            | Self::ReportRecovery(_)
            | Self::UnfenceBroker(_)
            | Self::BeginShutdown(_)
            | Self::EndLease(_)
            | Self::AlterPartitions(_)
            | Self::HandOverLeaders(_)
            | Self::RepairReplicas(_)
            | Self::ElectPreferredLeaders(_)
            | Self::ElectAllPreferredLeaders
            | Self::ElectUncleanLeader(_)
            | Self::CreateTopic(_)
            | Self::PurgeTopic(_)
            | Self::AdoptTopic(_)
            | Self::RemoveOrphan(_)
            | Self::AllocateProducerIds(_)
            | Self::ReserveProducerIds(_) => true,
            // The name may be another topic's by then, the settings older than those that were made since, and those
            // who are waited for other ones.
            Self::DeleteTopic(_) | Self::AlterTopic(_) | Self::EndRecoveryWait(_) => false,
        }
    }

    /// Whether a repetition can be refused so because the command is done.
    pub(crate) fn is_refused_when_done(&self, refusal: &Refusal) -> bool {
        match (self, refusal) {
            (Self::CreateTopic(request), Refusal::TopicExists { topic_id, .. }) => *topic_id == request.topic_id,
            (Self::ReportRecovery(request), Refusal::RecoveryReported { .. }) => request.complete,
            _ => false,
        }
    }

    /// Of those: whether it is done.
    pub(crate) fn is_done(&self, image: &Image) -> bool {
        match self {
            Self::CreateTopic(request) => image.topic(request.topic_id).is_some(),
            Self::ReportRecovery(request) => image
                .broker(request.broker)
                .is_some_and(|broker| broker.incarnation == request.incarnation && broker.state != BrokerState::Recovering),
            _ => false,
        }
    }
}

/// What a repetition's answer says of the command: nothing, if what was refused may be so because of the command itself.
pub(crate) fn after_loss(submitted: Submitted) -> Option<Submitted> {
    let all_taken = submitted.answers.iter().all(Result::is_ok);
    all_taken.then_some(Submitted { has_changed: true, ..submitted })
}

#[cfg(test)]
#[path = "repetition_test.rs"]
mod tests;
