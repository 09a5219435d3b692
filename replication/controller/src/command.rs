//! The commands a controller takes, each decided by one of `metadata`'s rules.
//!
//! What a command that is asked again after a lost answer may do, and what its answer is worth then, is in
//! `repetition.rs`.

use rkyv::with::AsBox;
use rkyv::{Archive, Deserialize, Serialize};
use sluice_metadata::{
    AdoptTopic, AllocateProducerIds, AlterPartitions, AlterTopic, Answered, BeginShutdown, CreateTopic, DeleteTopic,
    ElectPreferredLeaders, ElectUncleanLeader, EndLease, EndRecoveryWait, HandOverLeaders, Image, PartitionRefusal,
    PartitionState, PurgeTopic, Record, Refusal, RegisterBroker, RemoveOrphan, RepairReplicas, ReportRecovery,
    ReserveProducerIds, UnfenceBroker, elect_all_preferred_leaders, on_adopt_topic, on_allocate_producer_ids,
    on_alter_partitions, on_alter_topic, on_begin_shutdown, on_create_topic, on_delete_topic, on_elect_preferred_leaders,
    on_elect_unclean_leader, on_hand_over_leaders, on_lease_ended, on_purge_topic, on_recovery_wait_ended, on_register_broker,
    on_remove_orphan, on_repair_replicas, on_report_recovery, on_reserve_producer_ids, on_unfence_broker,
};

/// Brokers send it to each other: a variant and its payload are frozen once a release has sent them, and a new one goes to
/// the end.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub enum Command {
    RegisterBroker(#[rkyv(with = AsBox)] RegisterBroker),
    ReportRecovery(#[rkyv(with = AsBox)] ReportRecovery),
    /// Its lease begins when the controller receives it.
    UnfenceBroker(#[rkyv(with = AsBox)] UnfenceBroker),
    BeginShutdown(#[rkyv(with = AsBox)] BeginShutdown),
    /// A broker gives up its lease.
    EndLease(#[rkyv(with = AsBox)] EndLease),
    EndRecoveryWait(#[rkyv(with = AsBox)] EndRecoveryWait),

    AlterPartitions(#[rkyv(with = AsBox)] AlterPartitions),
    HandOverLeaders(#[rkyv(with = AsBox)] HandOverLeaders),
    RepairReplicas(#[rkyv(with = AsBox)] RepairReplicas),
    ElectPreferredLeaders(#[rkyv(with = AsBox)] ElectPreferredLeaders),
    ElectAllPreferredLeaders,
    ElectUncleanLeader(#[rkyv(with = AsBox)] ElectUncleanLeader),

    CreateTopic(#[rkyv(with = AsBox)] CreateTopic),
    AlterTopic(#[rkyv(with = AsBox)] AlterTopic),
    DeleteTopic(#[rkyv(with = AsBox)] DeleteTopic),
    PurgeTopic(#[rkyv(with = AsBox)] PurgeTopic),
    AdoptTopic(#[rkyv(with = AsBox)] AdoptTopic),
    RemoveOrphan(#[rkyv(with = AsBox)] RemoveOrphan),

    AllocateProducerIds(#[rkyv(with = AsBox)] AllocateProducerIds),
    ReserveProducerIds(#[rkyv(with = AsBox)] ReserveProducerIds),
}

/// What a command does, and what is said of each partition that it names.
#[derive(Debug, Default)]
pub(crate) struct Decided {
    pub(crate) records: Vec<Record>,
    pub(crate) answers: Vec<Result<PartitionState, PartitionRefusal>>,
}

impl From<Answered> for Decided {
    fn from(answered: Answered) -> Self {
        Self { records: answered.records, answers: answered.answers }
    }
}

impl From<Vec<Record>> for Decided {
    fn from(records: Vec<Record>) -> Self {
        Self { records, answers: Vec::new() }
    }
}

impl Command {
    pub(crate) fn decide(&self, image: &Image) -> Result<Decided, Refusal> {
        Ok(match self {
            Self::RegisterBroker(request) => on_register_broker(image, request)?.into(),
            Self::ReportRecovery(request) => on_report_recovery(image, request)?.into(),
            Self::UnfenceBroker(request) => on_unfence_broker(image, request)?.into(),
            Self::BeginShutdown(request) => on_begin_shutdown(image, request)?.into(),
            Self::EndLease(request) => on_lease_ended(image, request)?.into(),
            Self::EndRecoveryWait(request) => on_recovery_wait_ended(image, request).into(),
            Self::AlterPartitions(request) => on_alter_partitions(image, request)?.into(),
            Self::HandOverLeaders(request) => on_hand_over_leaders(image, request)?.into(),
            Self::RepairReplicas(request) => on_repair_replicas(image, request)?.into(),
            Self::ElectPreferredLeaders(request) => on_elect_preferred_leaders(image, request)?.into(),
            Self::ElectAllPreferredLeaders => elect_all_preferred_leaders(image).into(),
            Self::ElectUncleanLeader(request) => match on_elect_unclean_leader(image, request) {
                Ok(records) => records.into(),
                Err(refusal) => Decided { records: Vec::new(), answers: vec![Err(refusal)] },
            },
            Self::CreateTopic(request) => on_create_topic(image, request)?.into(),
            Self::AlterTopic(request) => on_alter_topic(image, request)?.into(),
            Self::DeleteTopic(request) => on_delete_topic(image, request)?.into(),
            Self::PurgeTopic(request) => on_purge_topic(image, request)?.into(),
            Self::AdoptTopic(request) => on_adopt_topic(image, request)?.into(),
            Self::RemoveOrphan(request) => on_remove_orphan(image, request)?.into(),
            Self::AllocateProducerIds(request) => on_allocate_producer_ids(image, request)?.into(),
            Self::ReserveProducerIds(request) => on_reserve_producer_ids(image, request)?.into(),
        })
    }

    /// Commands that can be done without leave the reserve of a full disk to those that cannot.
    pub(crate) fn needs_room(&self) -> bool {
        match self {
            Self::CreateTopic(_) | Self::AdoptTopic(_) | Self::AllocateProducerIds(_) => true,
            Self::AlterTopic(request) => !is_about_retention(request),
            _ => false,
        }
    }
}

/// Shorter retention is one of the ways out of a full disk.
fn is_about_retention(request: &AlterTopic) -> bool {
    let mut keys = request.settings.iter().map(|(key, _)| key.as_str());
    request.partitions.is_none() && keys.all(|key| matches!(key, "retention_bytes" | "retention_ms"))
}
