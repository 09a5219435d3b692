//! Where a shard of a broker listens.

use crate::message::{Malformed, at_most};
use rkyv::{Archive, Deserialize, Serialize};
use sluice_model::limits::HOST_LEN_MAX;

#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ShardAddress {
    pub broker_id: u32,
    pub shard: u16,
    /// A name or an address that clients can reach.
    pub host: String,
    pub port: u16,
}

pub(crate) fn check_host(address: &ArchivedShardAddress) -> Result<(), Malformed> {
    at_most("bytes of host name", address.host.len(), HOST_LEN_MAX)
}
