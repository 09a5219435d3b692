//! What a broker is started with: plain data with defaults and bounds. Reading files and flags is the program's.

use crate::broker::BROKER;
use crate::cluster_config::ClusterConfig;
use crate::request_room::KEPT_LEN_MAX;
use crate::start_error::StartError;
use sluice_model::BrokerId;
use sluice_model::limits::{GROUP_LEN_MAX, HOST_LEN_MAX, MESSAGE_LEN_MAX, SHARDS_PER_BROKER_MAX};
use std::net::SocketAddr;
use std::path::PathBuf;

const MIB: usize = 1024 * 1024;

/// Bytes each shard receives into before it knows what they are; part of the network budget.
pub(crate) const RECEIVE_LEN: usize = 256 * 1024;
/// Direct I/O buffers of a shard that are registered with its rings, bytes.
pub(crate) const SHARD_IO_MEMORY_LEN: usize = 10 * MIB;
/// Smallest network budget of a shard: the receive buffers, and one largest request and one largest answer at once.
pub const NETWORK_BUDGET_LEN_MIN: usize = RECEIVE_LEN + KEPT_LEN_MAX + 2 * MESSAGE_LEN_MAX;
/// Smallest tail budget of a shard, bytes: two largest commit groups.
pub const TAIL_BUDGET_LEN_MIN: usize = 2 * GROUP_LEN_MAX;
/// Smallest journal buffer budget of a shard, bytes: one group in flight, one filling.
pub const JOURNAL_BUDGET_LEN_MIN: usize = 2 * GROUP_LEN_MAX;
/// Smallest journal file, bytes; a group never straddles two files.
pub const JOURNAL_FILE_LEN_MIN: u64 = GROUP_LEN_MAX as u64;
pub const JOURNAL_FILE_COUNT_MIN: u32 = 3;
/// Slowest scrub of a broker, bytes a second: slower than this a disk of some size is never through.
pub const SCRUB_RATE_LEN_MIN: u64 = 64 * 1024;
pub const SHARDS_MAX: usize = SHARDS_PER_BROKER_MAX;

/// How one broker runs. Budgets and limits are per shard, because shards share nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokerConfig {
    /// Created when it is missing.
    pub data_dir: PathBuf,
    /// This broker's number in its cluster, from 1; it never changes for a data folder.
    pub broker: BrokerId,
    /// What makes it one of several; `None`: it stands alone.
    pub cluster: Option<ClusterConfig>,
    /// Where the journals live; `None` is the folder `journal` in `data_dir`. May lie on another device.
    pub journal_dir: Option<PathBuf>,
    /// Shard 0 listens here, shard n at port + n. Port 0 gives each shard a free port.
    pub listen: SocketAddr,
    /// Host and port told to clients instead of `listen`; shard n is told as port + n.
    pub advertise: Option<(String, u16)>,
    /// Number of shards; `None` is one per core but the one left to the control thread and the kernel.
    pub shards: Option<usize>,
    /// Each shard stays on a core of its own, where there are enough of them; otherwise the kernel moves them about.
    pub pin_shards: bool,
    /// Shards look for work all the time instead of sleeping until there is some: lowest latency, a whole core each.
    pub busy_poll: bool,
    /// Bytes of tails and batch cache of a shard.
    pub tail_budget_len: usize,
    /// Bytes of requests being received and of answers not yet sent, of a shard.
    pub network_budget_len: usize,
    /// Bytes of journal groups filling and in flight, of a shard.
    pub journal_buffer_budget_len: usize,
    /// Bytes of one journal file.
    pub journal_file_len: u64,
    /// Journal files of a shard.
    pub journal_file_count: u32,
    /// A produce whose predicted wait is longer than this is refused at once, milliseconds.
    pub produce_delay_ms_max: u32,
    /// A tail is written to its segment after this long even when it is small, milliseconds.
    pub write_back_interval_ms: u32,
    /// Longest time between two checkpoints of a shard that has something new, milliseconds.
    pub checkpoint_interval_ms: u32,
    /// Everything on disk is read again and verified no more often than this, milliseconds; 0: never.
    pub scrub_interval_ms: u64,
    /// Bytes a second that all shards together read for it at most.
    pub scrub_rate_len: u64,
    /// Connections of a shard; one more is closed as soon as it is accepted.
    pub connections_max: usize,
    /// A connection without a request for this long is closed, milliseconds.
    pub connection_idle_ms_max: u64,
    /// A connection that takes none of its answers for this long is closed, milliseconds.
    pub output_stall_ms_max: u64,
}

impl BrokerConfig {
    /// The defaults, for a data folder and an address.
    #[must_use]
    pub fn new(data_dir: impl Into<PathBuf>, listen: SocketAddr) -> Self {
        Self {
            data_dir: data_dir.into(),
            broker: BROKER,
            cluster: None,
            journal_dir: None,
            listen,
            advertise: None,
            shards: None,
            pin_shards: true,
            busy_poll: false,
            tail_budget_len: 128 * MIB,
            network_budget_len: 64 * MIB,
            journal_buffer_budget_len: 32 * MIB,
            journal_file_len: 32 * MIB as u64,
            journal_file_count: 8,
            produce_delay_ms_max: 1000,
            write_back_interval_ms: 2000,
            checkpoint_interval_ms: 5000,
            scrub_interval_ms: 7 * 24 * 3600 * 1000,
            scrub_rate_len: 20 * MIB as u64,
            connections_max: 10_000,
            connection_idle_ms_max: 600_000,
            output_stall_ms_max: 30_000,
        }
    }

    /// Bytes of memory the budgets of `shards` shards add up to; the program itself needs at most 64 MiB more.
    #[must_use]
    pub fn memory_budget_len(&self, shards: usize) -> usize {
        let shard = self.tail_budget_len.saturating_add(self.network_budget_len).saturating_add(self.journal_buffer_budget_len);
        shard.saturating_mul(shards)
    }

    /// Every value within its bounds, or the first that is not, by name.
    pub fn check(&self) -> Result<(), StartError> {
        at_least("tail_budget_len", self.tail_budget_len as u64, TAIL_BUDGET_LEN_MIN as u64)?;
        at_least("network_budget_len", self.network_budget_len as u64, NETWORK_BUDGET_LEN_MIN as u64)?;
        at_least("journal_buffer_budget_len", self.journal_buffer_budget_len as u64, JOURNAL_BUDGET_LEN_MIN as u64)?;
        at_least("journal_file_len", self.journal_file_len, JOURNAL_FILE_LEN_MIN)?;
        at_least("journal_file_count", u64::from(self.journal_file_count), u64::from(JOURNAL_FILE_COUNT_MIN))?;
        at_least("produce_delay_ms_max", u64::from(self.produce_delay_ms_max), 1)?;
        at_least("write_back_interval_ms", u64::from(self.write_back_interval_ms), 10)?;
        at_least("checkpoint_interval_ms", u64::from(self.checkpoint_interval_ms), 10)?;
        at_least("scrub_rate_len", self.scrub_rate_len, SCRUB_RATE_LEN_MIN)?;
        at_least("connections_max", self.connections_max as u64, 1)?;
        at_least("connection_idle_ms_max", self.connection_idle_ms_max, 1000)?;
        at_least("output_stall_ms_max", self.output_stall_ms_max, 100)?;
        if !self.journal_file_len.is_multiple_of(sluice_model::limits::BLOCK_LEN as u64) {
            return Err(invalid("journal_file_len", format!("{} is not a multiple of 4096", self.journal_file_len)));
        }
        match self.shards {
            Some(shards) if shards == 0 || shards > SHARDS_MAX => {
                return Err(invalid("shards", format!("{shards} is not between 1 and {SHARDS_MAX}")));
            }
            _ => {}
        }
        if matches!(&self.advertise, Some((host, _)) if host.is_empty() || host.len() > HOST_LEN_MAX) {
            return Err(invalid("advertise", format!("the host must have between 1 and {HOST_LEN_MAX} bytes")));
        }
        if self.broker == BrokerId(0) {
            return Err(invalid("broker_id", "brokers are numbered from 1".to_owned()));
        }
        self.cluster.as_ref().map_or(Ok(()), ClusterConfig::check)
    }
}

fn at_least(setting: &'static str, got: u64, min: u64) -> Result<(), StartError> {
    if got < min { Err(invalid(setting, format!("{got} is below the smallest allowed, {min}"))) } else { Ok(()) }
}

fn invalid(setting: &'static str, problem: String) -> StartError {
    StartError::InvalidSetting { setting, problem }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_within_their_bounds() {
        assert!(BrokerConfig::new("x", "127.0.0.1:0".parse().expect("an address")).check().is_ok());
    }

    #[test]
    fn a_value_out_of_bounds_is_named() {
        let mut config = BrokerConfig::new("x", "127.0.0.1:0".parse().expect("an address"));
        config.network_budget_len = 1;
        let text = config.check().expect_err("one byte is too little").to_string();
        assert!(text.contains("network_budget_len"), "{text}");
        config = BrokerConfig { shards: Some(0), ..BrokerConfig::new("x", config.listen) };
        assert!(config.check().expect_err("no shards").to_string().contains("shards"));
    }
}
