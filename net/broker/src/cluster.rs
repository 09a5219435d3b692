//! A broker that is one of several: its controller, its place among the others, and what its shards are told of it.
//!
//! All of it runs on the control thread, on one tokio runtime: connections of controllers, the consensus engine, the lease,
//! and `control`, which does for the shards what `control_thread` does in a broker without others. The expensive mistake is
//! to wait for a shard there, because everything that keeps the lease waits along; so nothing does (`shard_links`).
//! Deliberately absent: what is decided (`sluice_metadata`), who decides (`sluice_controller`).

mod control;
mod isr_changes;
mod node;
mod questions;
mod report;
mod shard_links;
mod standing_loop;
mod start;

pub(crate) use control::{ClusterControl, ControlParts};
pub(crate) use isr_changes::AnsweredProposal;
pub(crate) use node::ClusterNode;
pub(crate) use report::recovered_of;
pub(crate) use start::{Brought, InCluster, start_in_cluster};
