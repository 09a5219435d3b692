//! The controller: the metadata log of a cluster, replicated to every broker, and the image it gives.
//!
//! A command is decided by `metadata`'s rules against the image, its records are one entry of a log on which a majority
//! of the voters agrees, and every broker applies it. A broker that is alone is a cluster of one voter and goes the same
//! way. The consensus engine and the store under it stay in this package. The expensive mistakes are to go on from a log
//! that is not whole (`open_log.rs`), and to decide on an image that is not the newest (`decider.rs`).
//!
//! It blocks on the disk and belongs on the control thread. Deliberately absent: what to do about an error that ends
//! the process (the program's), and connections (`Transport` carries bytes).

mod backend;
mod codec;
mod command;
mod command_codec;
mod command_error;
mod controller;
mod decider;
mod flight;
mod forward;
pub mod fuzzing;
mod join;
mod leases;
mod log_storage;
mod membership;
mod messages;
mod network;
mod node;
mod node_config;
mod on_message;
mod open_error;
mod open_log;
mod raft_types;
mod recovery_waits;
mod repetition;
mod round;
mod route;
mod shared_store;
mod snapshots;
mod state_machine;
mod store;

pub use command::Command;
pub use command_error::CommandError;
pub use controller::{Controller, ProducerIdBlock, read_image};
pub use forward::Submitted;
pub use membership::{LeaseState, Membership, MembershipError, Registered, Registration, register};
pub use messages::CONTROLLER_MESSAGE_LEN_MAX;
pub use network::{Call, ForeignCluster, Transport};
pub use node::{Applied, ControllerNode, NodeStatus, Renewed};
pub use node_config::{LEASE_MS, LEASE_RENEWAL_MS, NodeConfig, SNAPSHOT_AFTER_LEN};
pub use open_error::{Damage, EntryError, OpenError};
pub use state_machine::AppliedImage;

#[cfg(test)]
mod fake_disk;
#[cfg(test)]
mod full_disk_test;
#[cfg(test)]
mod storage_suite_test;
