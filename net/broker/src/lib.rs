//! One broker: shards that serve connections and own partitions, and the thread that decides about topics.
//!
//! [`start`] gives a running [`Broker`], [`start_listening`] one whose shards may still be recovering; the program adds flags and signals, tests and the demo run it in-process. The
//! life of a request: `receive` (bytes), `input` (whole requests), `handlers` (one file each), `answer`, `output`.
//! Deliberately absent: what a log is (`sluice-partition`), what a topic is (`sluice-metadata`).

mod answer;
mod apply_view;
mod bind;
mod broker;
mod cancel;
mod catch_up;
mod cluster;
mod cluster_config;
mod config;
mod connection;
mod control_message;
mod control_thread;
pub mod controller_link;
mod data_folder;
mod data_plane;
mod error_table;
mod handlers;
mod host;
mod input;
mod lease;
mod metrics;
mod new_metadata;
mod opened;
mod orphans;
mod output;
mod pacing;
mod parked_fetch;
mod peer;
mod pending;
mod preparation;
mod process_memory;
mod random;
mod readiness;
mod receive;
mod refusal_reason;
mod replicas;
mod request_room;
mod shard_main;
mod slab;
mod stages;
mod standing;
mod start_error;
mod view;

#[cfg(test)]
mod broker_pair_test;
#[cfg(test)]
mod describe_pair_test;
#[cfg(test)]
mod replication_test;

pub use broker::{BROKER, Broker, StopError, start, start_listening, start_listening_unless};
pub use cancel::Cancel;
pub use cluster_config::{ClusterConfig, ClusterVoter, read_cluster_secret};
pub use config::{
    BrokerConfig, JOURNAL_BUDGET_LEN_MIN, JOURNAL_FILE_COUNT_MIN, JOURNAL_FILE_LEN_MIN, NETWORK_BUDGET_LEN_MIN,
    SCRUB_RATE_LEN_MIN, SHARDS_MAX, TAIL_BUDGET_LEN_MIN,
};
pub use host::{host_needs, written_folders};
pub use metrics::BrokerCounters;
pub use new_metadata::{NewMetadata, make_new_metadata};
pub use readiness::Readiness;
pub use sluice_storage::recovery_report::RecoveryReport;
pub use start_error::StartError;
