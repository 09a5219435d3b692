//! Commands and what is said of them, one of each kind.

use crate::command::Command;
use crate::command_codec::{ErrorRow, RenewAnswer, RenewedRow, SubmitAnswer, SubmittedRow};
use crate::round::Round;
use sluice_metadata::topic_name::NameFault;
use sluice_metadata::{
    Address, AdoptTopic, AllocateProducerIds, AlterPartitions, AlterTopic, BeginShutdown, BrokerState, CreateTopic, DeleteTopic,
    ElectPreferredLeaders, ElectUncleanLeader, EndLease, EndRecoveryWait, FolderId, FoundPartition, HandOver, HandOverLeaders,
    HeldPartitions, Image, IsrChange, PartitionRefusal, Placement, PurgeTopic, Recovered, Refusal, RegisterBroker, RemoveOrphan,
    RepairReplicas, ReplicaEnd, ReportRecovery, ReserveProducerIds, ShownReplica, Start, UnfenceBroker,
};
use sluice_model::{
    BrokerId, Incarnation, LeaderEpoch, Offset, PartitionEpoch, PartitionIndex, PlacementEpoch, ProducerId, ShardIndex, TopicId,
    TopicPartition,
};
use std::sync::OnceLock;

/// What is read of any bytes: a command, what became of one, what became of a lease. What is taken reads back as it was,
/// and the rules survive it.
pub(crate) fn is_command(bytes: &[u8]) -> bool {
    if let Ok(command) = Command::decode(bytes) {
        assert_eq!(Command::decode(&command.encode()).as_ref(), Ok(&command));
        if !command.is_sound() {
            return false;
        }
        // Refused or not: it does not panic, and what it decides applies.
        let _judged = Round::new(image(), 0).decide(&command);
        return true;
    }
    if let Ok(answer) = SubmitAnswer::decode(bytes) {
        let is_sound = answer.is_sound();
        assert_eq!(SubmitAnswer::decode(&answer.encode()), Ok(answer));
        return is_sound;
    }
    let Ok(answer) = RenewAnswer::decode(bytes) else { return false };
    let is_sound = answer.is_sound();
    assert_eq!(RenewAnswer::decode(&answer.encode()), Ok(answer));
    is_sound
}

fn image() -> &'static Image {
    static IMAGE: OnceLock<Image> = OnceLock::new();
    IMAGE.get_or_init(|| {
        let mut image = Image::new(sluice_metadata::ClusterId([5; 16]));
        let mut decide = |command: Command| {
            let records = command.decide(&image).expect("a sample is good").records;
            image.apply_batch(&sluice_metadata::Batch { records }).expect("what was decided applies");
        };
        for broker in [1, 2] {
            let (incarnation, broker) = (incarnation(), BrokerId(broker));
            decide(Command::RegisterBroker(registration(broker)));
            decide(Command::ReportRecovery(ReportRecovery { broker, incarnation, replicas: Vec::new(), complete: true }));
            decide(Command::UnfenceBroker(UnfenceBroker { broker, incarnation }));
        }
        decide(Command::CreateTopic(CreateTopic { replication_factor: Some(2), settings: Vec::new(), ..creation() }));
        image
    })
}

fn incarnation() -> Incarnation {
    Incarnation { number: 3, random: 9 }
}

fn id(partition: u32) -> TopicPartition {
    TopicPartition { topic_id: TopicId([7; 16]), partition: PartitionIndex(partition) }
}

fn registration(broker: BrokerId) -> RegisterBroker {
    let at = Placement { shard: ShardIndex(0), placement_epoch: PlacementEpoch(4) };
    RegisterBroker {
        broker,
        incarnation: incarnation(),
        folder_id: FolderId([broker.0 as u8; 16]),
        addresses: vec![Address { host: "broker.example".into(), port: 7403 }],
        held: HeldPartitions { incarnation_number: 2, placements: [(id(0), at)].into() },
        start: Start::InCluster { rack: Some("rack-a".into()), replaces_folder: Some(FolderId([6; 16])) },
    }
}

fn creation() -> CreateTopic {
    let settings = vec![("retention_ms".to_owned(), "7d".to_owned())];
    CreateTopic { topic_id: TopicId([7; 16]), name: "orders".into(), partitions: 3, replication_factor: None, settings }
}

pub(crate) fn commands() -> Vec<Command> {
    let (broker, incarnation, topic_id) = (BrokerId(1), incarnation(), TopicId([7; 16]));
    let (leader_epoch, partition_epoch) = (LeaderEpoch(1), PartitionEpoch(0));
    let end = ReplicaEnd { leader_epoch, end_offset: Offset(500) };
    let replicas = vec![(id(0), Recovered::Whole { end }), (id(1), Recovered::CutTornGroup { end }), (id(2), Recovered::Damaged)];
    let change = IsrChange { id: id(0), leader_epoch, partition_epoch, isr: vec![(broker, incarnation)] };
    let shown = vec![ShownReplica { broker, end: Some(end) }, ShownReplica { broker: BrokerId(2), end: None }];
    let name = || "orders".to_owned();
    let settings = || creation().settings;
    let found = FoundPartition { shard: ShardIndex(0), placement_epoch: PlacementEpoch(2), leader_epoch };
    let adopted = AdoptTopic {
        topic_id: TopicId([8; 16]),
        name: Some("found".to_owned()),
        settings: settings(),
        broker,
        found: [(PartitionIndex(1), found)].into(),
    };
    vec![
        Command::RegisterBroker(registration(broker)),
        Command::ReportRecovery(ReportRecovery { broker, incarnation, replicas, complete: true }),
        Command::UnfenceBroker(UnfenceBroker { broker, incarnation }),
        Command::BeginShutdown(BeginShutdown { broker, incarnation }),
        Command::EndLease(EndLease { broker, incarnation }),
        Command::EndRecoveryWait(EndRecoveryWait { partitions: Some([id(0), id(2)].into()) }),
        Command::AlterPartitions(AlterPartitions { broker, incarnation, changes: vec![change] }),
        Command::HandOverLeaders(HandOverLeaders {
            broker,
            incarnation,
            partitions: vec![HandOver { id: id(0), leader_epoch, to: BrokerId(2) }],
        }),
        Command::RepairReplicas(RepairReplicas { broker, incarnation, replicas: vec![(id(1), leader_epoch)] }),
        Command::ElectPreferredLeaders(ElectPreferredLeaders { partitions: vec![id(0)] }),
        Command::ElectAllPreferredLeaders,
        Command::ElectUncleanLeader(ElectUncleanLeader { id: id(0), broker, partition_epoch, shown }),
        Command::CreateTopic(creation()),
        Command::AlterTopic(AlterTopic { name: name(), settings: settings(), partitions: Some(6) }),
        Command::DeleteTopic(DeleteTopic { name: name() }),
        Command::PurgeTopic(PurgeTopic { topic_id }),
        Command::AdoptTopic(adopted),
        Command::RemoveOrphan(RemoveOrphan { topic_id, broker }),
        Command::AllocateProducerIds(AllocateProducerIds { broker, incarnation }),
        Command::ReserveProducerIds(ReserveProducerIds { broker, up_to: ProducerId(4711) }),
    ]
}

fn refusals() -> Vec<Refusal> {
    let broker = BrokerId(1);
    let value = |text: &str| {
        let settings = vec![("retention_ms".to_owned(), text.to_owned())];
        Command::CreateTopic(CreateTopic { name: "another".into(), settings, ..creation() })
    };
    let refused = |command: Command| command.decide(image()).expect_err("it is refused");
    vec![
        Refusal::FencedIncarnation { broker, got: incarnation(), current: Incarnation::default() },
        Refusal::OtherFolder { broker, known: FolderId([1; 16]), got: FolderId([2; 16]) },
        Refusal::InvalidTopicName { name: "a b".into(), fault: NameFault::Character(' ') },
        Refusal::TopicExists { name: "orders".into(), topic_id: TopicId([7; 16]) },
        Refusal::UnknownSetting { name: "retention".into(), nearest: Some("retention_ms") },
        Refusal::UnknownSetting { name: "x".into(), nearest: None },
        refused(value("7 fortnights")),
        refused(value("-5")),
        Refusal::CommandTooLong { got: 5, max: 4 },
        Refusal::ProducerIdsExhausted,
    ]
}

pub(crate) fn submit_answers() -> Vec<SubmitAnswer> {
    let state = image().partition(id(0)).expect("the topic is there").clone();
    let refused = PartitionRefusal::StalePartitionEpoch { got: PartitionEpoch(3), current: PartitionEpoch(4) };
    let answers = vec![Ok(state), Err(refused), Err(PartitionRefusal::UnknownPartition { id: id(9) })];
    let altered = SubmittedRow { index: 12, has_changed: true, answers, producer_ids: None };
    let allocated =
        SubmittedRow { index: 13, has_changed: true, answers: Vec::new(), producer_ids: Some((ProducerId(1000), 1000)) };
    let errors = [ErrorRow::NotController { leader: Some(2) }, ErrorRow::Undecided, ErrorRow::DiskFull];
    let errors = errors.into_iter().chain(refusals().into_iter().map(ErrorRow::Refused));
    [altered, allocated].into_iter().map(|row| SubmitAnswer(Ok(row))).chain(errors.map(|row| SubmitAnswer(Err(row)))).collect()
}

pub(crate) fn renew_answers() -> Vec<RenewAnswer> {
    let unknown = ErrorRow::Refused(Refusal::UnknownBroker { broker: BrokerId(4) });
    vec![
        RenewAnswer(Ok(RenewedRow { state: BrokerState::Active, index: 12, lease_ms: 1000 })),
        RenewAnswer(Err(unknown)),
        RenewAnswer(Err(ErrorRow::NotController { leader: None })),
    ]
}
