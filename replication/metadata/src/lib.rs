//! Cluster metadata as rules: records build an image, events are decided against it.
//!
//! One log entry is one [`Batch`] of [`Record`]s, applied as a whole. [`Image::apply_batch`] is the only way an image
//! changes, so whoever has the same log has the same image. Each `on_<event>` decides one event against an image and
//! gives back the records that make it happen, or a [`Refusal`]; it changes nothing itself. No records is a valid
//! decision: what was asked for is so already.
//!
//! The expensive mistake is a record that means something else to a later build: meaning is frozen with the format
//! (`record.rs` says how it grows). Deliberately absent: clocks, randomness (topic ids come in as arguments), files,
//! hash maps.

pub mod batch;
pub mod broker_state;
pub mod framed;
pub mod human_value;
pub mod identity;
pub mod image;
pub mod invariants;
pub mod partition_refusal;
pub mod partition_state;
pub mod record;
pub mod refusal;
pub mod topic_name;
pub mod topic_settings;

pub mod on_adopt_topic;
pub mod on_allocate_producer_ids;
pub mod on_alter_partitions;
pub mod on_alter_topic;
pub mod on_begin_shutdown;
pub mod on_create_topic;
pub mod on_delete_topic;
pub mod on_elect_preferred_leaders;
pub mod on_elect_unclean_leader;
pub mod on_hand_over_leaders;
pub mod on_lease_ended;
pub mod on_purge_topic;
pub mod on_recovery_wait_ended;
pub mod on_register_broker;
pub mod on_repair_replicas;
pub mod on_report_recovery;
pub mod on_reserve_producer_ids;
pub mod on_unfence_broker;

mod assignment;
mod election;
mod placement;
mod setting_name;

pub use batch::Batch;
pub use broker_state::BrokerState;
pub use framed::FramedError;
pub use identity::{ClusterId, FolderId};
pub use image::{ApplyError, Broker, Image, SNAPSHOT_LEN_MAX, SnapshotError, Topic};
pub use on_adopt_topic::{AdoptTopic, FoundPartition, RemoveOrphan, on_adopt_topic, on_remove_orphan};
pub use on_allocate_producer_ids::{AllocateProducerIds, on_allocate_producer_ids};
pub use on_alter_partitions::{AlterPartitions, IsrChange, on_alter_partitions};
pub use on_alter_topic::{AlterTopic, on_alter_topic};
pub use on_begin_shutdown::{BeginShutdown, on_begin_shutdown};
pub use on_create_topic::{CreateTopic, on_create_topic};
pub use on_delete_topic::{DeleteTopic, on_delete_topic};
pub use on_elect_preferred_leaders::{ElectPreferredLeaders, elect_all_preferred_leaders, on_elect_preferred_leaders};
pub use on_elect_unclean_leader::{ElectUncleanLeader, on_elect_unclean_leader};
pub use on_hand_over_leaders::{HandOver, HandOverLeaders, on_hand_over_leaders};
pub use on_lease_ended::{EndLease, on_lease_ended};
pub use on_purge_topic::{FolderSurvey, PurgeTopic, on_purge_topic};
pub use on_recovery_wait_ended::{EndRecoveryWait, on_recovery_wait_ended};
pub use on_register_broker::{HeldPartitions, RegisterBroker, Start, on_register_broker};
pub use on_repair_replicas::{RepairReplicas, on_repair_replicas};
pub use on_report_recovery::{Recovered, ReportRecovery, on_report_recovery};
pub use on_reserve_producer_ids::{PRODUCER_ID_PLAUSIBLE_END, ReserveProducerIds, on_reserve_producer_ids};
pub use on_unfence_broker::{UnfenceBroker, on_unfence_broker};
pub use partition_refusal::{Answered, PartitionRefusal};
pub use partition_state::{PartitionState, ReplicaEnd, RestartedReplica, ShownReplica};
pub use record::{Address, Partition, Placement, Record, Replica};
pub use refusal::Refusal;
pub use topic_settings::{Setting, SettingKey, TopicSettings};

#[cfg(test)]
mod replay_test;
#[cfg(test)]
mod testing;
