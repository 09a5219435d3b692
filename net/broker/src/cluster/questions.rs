//! What clients ask of a broker in a cluster: each question becomes one command, and what is said of it one answer.

use crate::control_message::{Answer, Question};
use crate::error_table::WireError;
use crate::random::random_bytes;
use sluice_controller::{Command, CommandError, Submitted};
use sluice_metadata::{AllocateProducerIds, AlterTopic, CreateTopic, DeleteTopic};
use sluice_model::{BrokerId, Incarnation, TopicId};
use sluice_shard::{FatalReason, fatal};

/// How the answer is made from what the command came to.
#[derive(Clone, Copy, Debug)]
pub(super) enum Asked {
    CreateTopic(TopicId),
    Topic,
    Election,
    ProducerIds,
}

pub(super) fn command(question: Question, broker: BrokerId, incarnation: Incarnation) -> Result<(Asked, Command), WireError> {
    Ok(match question {
        Question::CreateTopic { name, partitions, replicas: replication_factor, settings } => {
            let random = random_bytes().map_err(|error| WireError::not_ready(format!("no random bytes: {error}")))?;
            let topic_id = TopicId(random);
            let request = CreateTopic { topic_id, name, partitions, replication_factor, settings };
            (Asked::CreateTopic(topic_id), Command::CreateTopic(request))
        }
        Question::DeleteTopic { name } => (Asked::Topic, Command::DeleteTopic(DeleteTopic { name })),
        Question::AlterTopic { name, settings, partitions } => {
            (Asked::Topic, Command::AlterTopic(AlterTopic { name, settings, partitions }))
        }
        Question::ElectLeaders(election) => (Asked::Election, election),
        Question::ProducerIds => (Asked::ProducerIds, Command::AllocateProducerIds(AllocateProducerIds { broker, incarnation })),
    })
}

pub(super) fn answer(asked: Asked, submitted: Submitted) -> Answer {
    match asked {
        Asked::CreateTopic(topic_id) => Answer::TopicCreated(topic_id),
        Asked::Topic => Answer::Done,
        Asked::Election => elected(submitted),
        Asked::ProducerIds => match submitted.producer_ids {
            Some(block) => Answer::ProducerIds(block.first.0..block.first.0 + i64::from(block.count)),
            None => Answer::Refused(WireError::not_ready("no producer ids were given out; ask again")),
        },
    }
}

fn elected(submitted: Submitted) -> Answer {
    let has_changed = submitted.has_changed;
    let partitions = submitted.answers.into_iter().map(|answer| match answer {
        Ok(state) => Ok((state.leader, state.leader_epoch)),
        Err(refusal) => Err(refusal.to_string()),
    });
    Answer::Elected { has_changed, partitions: partitions.collect() }
}

/// A log that cannot be written any more ends the process.
pub(super) fn refusal(error: &CommandError) -> WireError {
    match error {
        CommandError::Refused(refusal) => WireError::from(refusal),
        CommandError::DiskFull => WireError::disk_full(error),
        CommandError::NotController { .. } => WireError::not_ready(error),
        CommandError::Undecided => WireError::undecided(error),
        CommandError::Store(error) => fatal(FatalReason::Metadata(error.to_string())),
    }
}
