use super::*;
use sluice_model::{PartitionEpoch, PartitionIndex, TopicId};

const OWN: Incarnation = Incarnation { number: 4, random: 9 };

fn proposal(partition: u32, number: u64) -> IsrProposal {
    IsrProposal {
        id: TopicPartition { topic_id: TopicId([3; 16]), partition: PartitionIndex(partition) },
        number,
        leader_epoch: LeaderEpoch(7),
        partition_epoch: PartitionEpoch(2),
        followers: BTreeMap::from([(BrokerId(2), OWN)]),
    }
}

fn state(leader_epoch: u32) -> PartitionState {
    PartitionState {
        leader_epoch: LeaderEpoch(leader_epoch),
        partition_epoch: PartitionEpoch(3),
        leader: Some(BrokerId(1)),
        last_known_leader: None,
        isr: vec![BrokerId(1), BrokerId(2)],
        eligible_leader_replicas: Vec::new(),
        replicas: Vec::new(),
        damaged: Vec::new(),
        restarted: Vec::new(),
    }
}

#[test]
fn what_is_proposed_together_is_one_command_and_each_shard_hears_of_its_own() {
    let mut changes = IsrChanges::new(BrokerId(1), OWN);
    changes.push(ShardIndex(1), vec![proposal(0, 10), proposal(1, 11)]);
    changes.push(ShardIndex(0), vec![proposal(2, 12), proposal(3, 13)]);
    let Some(Command::AlterPartitions(request)) = changes.next() else { panic!("there are changes") };
    assert_eq!((request.broker, request.incarnation, request.changes.len()), (BrokerId(1), OWN, 4));
    assert_eq!(request.changes[0].isr, [(BrokerId(2), OWN), (BrokerId(1), OWN)], "the leader is in it");
    changes.push(ShardIndex(0), vec![proposal(4, 14)]);
    assert!(changes.next().is_none(), "one is under way");
    let answers = vec![
        Ok(state(7)),
        Err(PartitionRefusal::MemberNotActive { broker: BrokerId(2) }),
        // Its own doing, perhaps.
        Err(PartitionRefusal::StalePartitionEpoch { got: PartitionEpoch(2), current: PartitionEpoch(3) }),
        Ok(state(8)),
    ];
    let (index, of_shards) = changes.on_answer(Ok(Submitted { index: 50, has_changed: true, answers, producer_ids: None }));
    let told: Vec<_> = of_shards
        .iter()
        .flat_map(|(shard, answers)| answers.iter().map(|answered| (shard.0, answered.number, answered.answer.clone())))
        .collect();
    let members = [BrokerId(1), BrokerId(2)].into_iter().collect();
    let decided = IsrAnswer::Decided { partition_epoch: PartitionEpoch(3), members };
    assert_eq!(index, 50);
    assert_eq!(told, [(0, 12, IsrAnswer::Unknown), (0, 13, IsrAnswer::Unknown), (1, 10, decided), (1, 11, IsrAnswer::Refused)]);
    assert!(changes.next().is_some(), "what came meanwhile");
}

#[test]
fn without_an_answer_nothing_is_known() {
    let mut changes = IsrChanges::new(BrokerId(1), OWN);
    changes.push(ShardIndex(0), vec![proposal(0, 1)]);
    changes.next();
    let (index, of_shards) = changes.on_answer(Err(CommandError::Undecided));
    assert_eq!((index, of_shards[&ShardIndex(0)][0].answer.clone()), (0, IsrAnswer::Unknown));
    assert!(changes.next().is_none());
}
