//! What this broker will ask of the host, and the checks before it starts: those of `sluice check`, with the same texts.

use crate::config::{BrokerConfig, SHARD_IO_MEMORY_LEN};
use crate::start_error::StartError;
use sluice_shard::sockets::BACKLOG;
use sluice_shard::{CoreReadings, plan_cores};
use sluice_tuning::check::{Needs, Severity, judge_start};
use sluice_tuning::host::{Root, StartReadings, cgroup, raise_descriptor_limit};
use std::path::PathBuf;

/// Descriptors of a shard besides its connections: rings, journal, open segments.
const DESCRIPTORS_PER_SHARD: u64 = 512;
/// Bytes of the program itself, beside its budgets.
const PROGRAM_MEMORY_LEN: u64 = 64 << 20;

/// What a broker with these settings asks of this host, and on which cores its shards would run.
#[must_use]
pub fn host_needs(config: &BrokerConfig) -> Needs {
    let cores = CoreReadings::read(cgroup::cpu_cores(&Root::of_this_host()));
    let mut shards = plan_cores(&cores, config.shards);
    if !config.pin_shards {
        shards.fill(None);
    }
    let shard_count = shards.len() as u64;
    Needs {
        available: cores.available,
        io_memory_len: SHARD_IO_MEMORY_LEN,
        descriptor_count_min: shard_count * DESCRIPTORS_PER_SHARD,
        descriptor_count_wanted: shard_count
            .saturating_mul((config.connections_max as u64).saturating_add(DESCRIPTORS_PER_SHARD)),
        memory_len: (config.memory_budget_len(shards.len()) as u64).saturating_add(PROGRAM_MEMORY_LEN),
        accept_queue_len: BACKLOG,
        busy_poll: config.busy_poll,
        shards,
    }
}

/// The folders a broker with these settings writes in.
#[must_use]
pub fn written_folders(config: &BrokerConfig) -> Vec<PathBuf> {
    [Some(config.data_dir.clone()), config.journal_dir.clone()].into_iter().flatten().collect()
}

/// Ends the start for what is fatal, and logs what costs or is not known.
pub(crate) fn check_host(config: &BrokerConfig, needs: &Needs) -> Result<(), StartError> {
    if let Err(error) = raise_descriptor_limit() {
        tracing::warn!(%error, "the limit of open descriptors cannot be raised");
    }
    let readings = StartReadings::read(&Root::of_this_host(), &written_folders(config));
    for finding in judge_start(&readings, needs) {
        match finding.severity {
            Severity::Fatal => return Err(StartError::Host(Box::new(finding))),
            Severity::Warn => tracing::warn!(check = finding.id, %finding, "the host could do better"),
            Severity::Unread => tracing::warn!(check = finding.id, %finding, "the host could not be examined"),
            Severity::Note | Severity::NotApplicable | Severity::Fine => {}
        }
    }
    Ok(())
}
