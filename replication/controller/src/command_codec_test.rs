use super::*;
use crate::fuzzing::{commands, is_command, renew_answers, submit_answers};
use sluice_metadata::FramedError;
use sluice_metadata::framed::{HEADER_LEN, checksum};
use sluice_metadata::{AlterPartitions, HeldPartitions, IsrChange, Placement, RegisterBroker};
use sluice_model::limits::{PARTITIONS_PER_CLUSTER_MAX, PARTITIONS_PER_COMMAND_MAX, REPLICAS_PER_PARTITION_MAX};
use sluice_model::{
    BrokerId, Incarnation, LeaderEpoch, PartitionEpoch, PartitionIndex, PlacementEpoch, ShardIndex, TopicId, TopicPartition,
};

#[test]
fn what_is_sent_is_what_arrives() {
    let commands = commands();
    let kinds: std::collections::BTreeSet<String> =
        commands.iter().map(|command| format!("{command:?}").split(['(', '{']).next().unwrap().to_owned()).collect();
    assert_eq!(kinds.len(), commands.len(), "each kind once: {kinds:?}");
    for command in commands {
        assert!(command.is_sound(), "{command:?}");
        assert_eq!(Command::decode(&command.encode()), Ok(command));
    }
    for answer in submit_answers() {
        assert!(answer.is_sound(), "{answer:?}");
        assert_eq!(SubmitAnswer::decode(&answer.encode()), Ok(answer));
    }
    for answer in renew_answers() {
        assert!(answer.is_sound(), "{answer:?}");
        assert_eq!(RenewAnswer::decode(&answer.encode()), Ok(answer));
    }
}

fn ids(count: usize) -> impl Iterator<Item = TopicPartition> {
    (0..u32::try_from(count).unwrap())
        .map(|partition| TopicPartition { topic_id: TopicId([3; 16]), partition: PartitionIndex(partition) })
}

/// With room to grow into.
#[test]
fn the_largest_commands_and_answers_fit() {
    let incarnation = Incarnation { number: 1, random: 2 };
    let isr: Vec<_> = (0..REPLICAS_PER_PARTITION_MAX).map(|broker| (BrokerId(broker), incarnation)).collect();
    let (leader_epoch, partition_epoch) = (LeaderEpoch(1), PartitionEpoch(1));
    let change = |id| IsrChange { id, leader_epoch, partition_epoch, isr: isr.clone() };
    let changes = ids(PARTITIONS_PER_COMMAND_MAX).map(change).collect();
    let altering = Command::AlterPartitions(AlterPartitions { broker: BrokerId(1), incarnation, changes });
    let at = Placement { shard: ShardIndex(1), placement_epoch: PlacementEpoch(1) };
    let placements = ids(PARTITIONS_PER_CLUSTER_MAX).map(|id| (id, at)).collect();
    let held = HeldPartitions { incarnation_number: 1, placements };
    let Command::RegisterBroker(registration) = commands().remove(0) else { unreachable!("it is the first") };
    let registering = Command::RegisterBroker(RegisterBroker { held, ..registration });
    for command in [altering, registering] {
        let bytes = command.encode();
        assert!(bytes.len() <= COMMAND_LEN_MAX / 2, "{}", bytes.len());
        assert_eq!(Command::decode(&bytes), Ok(command));
    }
    let SubmitAnswer(Ok(row)) = submit_answers().remove(0) else { unreachable!("it is the first") };
    let mut state = row.answers[0].clone().unwrap();
    let brokers: Vec<BrokerId> = (1..=REPLICAS_PER_PARTITION_MAX).map(BrokerId).collect();
    let replica = state.replicas[0];
    state.replicas = brokers.iter().map(|&broker| sluice_metadata::Replica { broker, ..replica }).collect();
    let end = sluice_metadata::ReplicaEnd::default();
    let restarted = |&broker| sluice_metadata::RestartedReplica { broker, end, cut_torn_group: false };
    state.restarted = brokers.iter().map(restarted).collect();
    (state.damaged, state.isr) = (brokers.clone(), brokers);
    let answers = vec![Ok(state); PARTITIONS_PER_COMMAND_MAX];
    let answer = SubmitAnswer(Ok(SubmittedRow { answers, ..row }));
    let bytes = answer.encode();
    assert!(bytes.len() <= COMMAND_ANSWER_LEN_MAX / 2, "{}", bytes.len());
    assert_eq!(SubmitAnswer::decode(&bytes), Ok(answer));
}

/// Cut, flipped, and flipped with the checksum made good: read or refused, never a panic, and the rules survive it.
#[test]
fn hostile_bytes_are_refused() {
    let (mut taken, mut refused) = (0, 0);
    let asked = commands().into_iter().map(|command| command.encode());
    let answered = submit_answers().into_iter().map(|answer| answer.encode());
    let renewed = renew_answers().into_iter().map(|answer| answer.encode());
    for bytes in asked.chain(answered).chain(renewed) {
        assert!(is_command(&bytes));
        for at in 0..bytes.len() {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1 << (at % 8);
            assert!(!is_command(&flipped), "its checksum does not agree");
            assert!(!is_command(&bytes[..at]), "it is cut");
            if at >= HEADER_LEN {
                let crc = checksum(&flipped);
                flipped[4..HEADER_LEN].copy_from_slice(&crc.to_le_bytes());
                if is_command(&flipped) { taken += 1 } else { refused += 1 }
            }
        }
    }
    assert!(taken > 0 && refused > 0, "{taken} taken, {refused} refused");
    let too_long = vec![0; COMMAND_LEN_MAX + 1];
    assert_eq!(Command::decode(&too_long), Err(FramedError::TooLong { got: too_long.len(), max: COMMAND_LEN_MAX }));
}

#[test]
fn numbers_without_a_next_one_are_refused() {
    let Command::RegisterBroker(good) = commands().remove(0) else { unreachable!("it is the first") };
    let changed = |change: fn(&mut RegisterBroker)| {
        let mut request = good.clone();
        change(&mut request);
        Command::RegisterBroker(request)
    };
    let bad = [
        changed(|request| request.incarnation.number = u64::MAX),
        changed(|request| request.held.incarnation_number = u64::MAX),
        changed(|request| request.held.placements.values_mut().for_each(|at| at.placement_epoch.0 = u32::MAX)),
    ];
    for command in bad {
        assert!(!command.is_sound(), "{command:?}");
    }
    let row = RenewedRow { state: BrokerState::Active, index: 1, lease_ms: u64::MAX };
    assert!(!RenewAnswer(Ok(row)).is_sound());
    let row = SubmittedRow { index: u64::MAX, has_changed: true, answers: Vec::new(), producer_ids: None };
    assert!(!SubmitAnswer(Ok(row)).is_sound());
}
