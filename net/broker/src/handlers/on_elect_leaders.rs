//! ElectLeaders: asked of the control thread, as administration is. It may be sent to any shard.

use crate::answer::ReplyTo;
use crate::control_message::{Answer, Question};
use crate::data_plane::DataPlane;
use crate::error_table::WireError;
use sluice_controller::Command;
use sluice_metadata::{ElectPreferredLeaders, ElectUncleanLeader, ReplicaEnd, ShownReplica};
use sluice_model::{BrokerId, ErrorCode, LeaderEpoch, Offset, PartitionEpoch, PartitionIndex, TopicId, TopicPartition};
use sluice_protocol::{
    Api, ElectLeadersAnswer, ElectLeadersRequest, ElectedLeader, Election, Malformed, PARTITION_TEXT_LEN_MAX, PartitionRef,
    UncleanElection, decode, short_text,
};

impl DataPlane {
    pub(crate) fn on_elect_leaders(&mut self, to: ReplyTo, body: &[u8]) -> Result<(), Malformed> {
        let ElectLeadersRequest { election } = decode(body)?;
        let command = match election {
            Election::AllPreferred => Command::ElectAllPreferredLeaders,
            Election::Preferred(partitions) => {
                let partitions = partitions.iter().map(topic_partition).collect();
                Command::ElectPreferredLeaders(ElectPreferredLeaders { partitions })
            }
            Election::Unclean(unclean) => Command::ElectUncleanLeader(elect_unclean(&unclean)),
        };
        self.ask(to, Api::ElectLeaders, body, Question::ElectLeaders(command));
        Ok(())
    }

    pub(super) fn on_leaders_elected(&mut self, to: ReplyTo, answer: Answer) {
        let answer = match answer {
            Answer::Elected { has_changed, partitions } => {
                let partitions = partitions.into_iter().map(|elected| match elected {
                    Ok((leader, leader_epoch)) => ElectedLeader {
                        leader: leader.map(|broker| broker.0),
                        leader_epoch: leader_epoch.0,
                        ..ElectedLeader::default()
                    },
                    Err(text) => ElectedLeader {
                        error: ErrorCode::InvalidArgument as u16,
                        text: short_text(text, PARTITION_TEXT_LEN_MAX),
                        ..ElectedLeader::default()
                    },
                });
                ElectLeadersAnswer { has_changed, partitions: partitions.collect(), ..ElectLeadersAnswer::default() }
            }
            Answer::Refused(WireError { code, text, .. }) => {
                ElectLeadersAnswer { error: code as u16, text, ..ElectLeadersAnswer::default() }
            }
            other => unreachable!("an election was answered with {other:?}"),
        };
        self.answer(to, &answer);
    }
}

fn topic_partition(partition: &PartitionRef) -> TopicPartition {
    TopicPartition { topic_id: TopicId(partition.topic_id), partition: PartitionIndex(partition.partition) }
}

fn elect_unclean(unclean: &UncleanElection) -> ElectUncleanLeader {
    let shown = unclean.shown.iter().map(|shown| {
        let end =
            shown.end.map(|end| ReplicaEnd { leader_epoch: LeaderEpoch(end.leader_epoch), end_offset: Offset(end.end_offset) });
        ShownReplica { broker: BrokerId(shown.broker_id), end }
    });
    ElectUncleanLeader {
        id: topic_partition(&unclean.partition),
        broker: BrokerId(unclean.broker_id),
        partition_epoch: PartitionEpoch(unclean.partition_epoch),
        shown: shown.collect(),
    }
}
