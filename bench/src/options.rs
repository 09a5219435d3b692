//! What `sluice bench` is asked for.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};

use crate::error::BenchError;

pub const ROUNDS_MAX: u32 = 1000;
pub const SECONDS_MIN: f64 = 0.01;
pub const SECONDS_MAX: f64 = 3600.0;
pub const LOG_GB_MAX: f64 = 10_000.0;
pub const LOG_PARTITIONS_MAX: u32 = 10_000;

/// What is measured. The yardsticks a workload is compared with are measured with it, round by round.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, ValueEnum)]
pub enum Workload {
    /// The device and the bare server alone, without a broker
    Yardsticks,
    /// One 1 KiB record at a time, closed loop, broker and client asleep in between
    SingleRecord,
    /// One 1 KiB record to each of 64 partitions at once; a sample ends when the last is acknowledged
    #[value(name = "partitions-64")]
    Partitions64,
    /// 1 KiB records in batches over two partitions at full rate
    Bulk,
    /// Processor time of a broker that nobody talks to
    Idle,
    /// The broker's memory while 64 connections send more than it takes
    Memory,
    /// Time until the broker serves again after kill -9, with a large log
    Restart,
}

impl Workload {
    pub const ALL: [Self; 7] =
        [Self::Yardsticks, Self::SingleRecord, Self::Partitions64, Self::Bulk, Self::Idle, Self::Memory, Self::Restart];

    /// Its name on the command line and in results.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Yardsticks => "yardsticks",
            Self::SingleRecord => "single-record",
            Self::Partitions64 => "partitions-64",
            Self::Bulk => "bulk",
            Self::Idle => "idle",
            Self::Memory => "memory",
            Self::Restart => "restart",
        }
    }
}

/// The arguments of `sluice bench`.
#[derive(Clone, Debug, Args)]
pub struct BenchOptions {
    /// What to measure; everything when none is named
    #[arg(value_enum, value_name = "WORKLOAD")]
    pub workloads: Vec<Workload>,
    /// Measure this broker instead of one started for the purpose; put --data-dir on the same device
    #[arg(long, value_name = "ADDR")]
    pub broker: Option<String>,
    /// Process id of that broker, for the figures on processor time and memory
    #[arg(long, value_name = "PID", requires = "broker")]
    pub broker_pid: Option<u32>,
    /// Settings file for the broker that is started
    #[arg(long, value_name = "FILE", conflicts_with = "broker")]
    pub config: Option<PathBuf>,
    /// How often everything is measured, in turns; results are medians
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=i64::from(ROUNDS_MAX)))]
    pub rounds: u32,
    /// Seconds of each measurement
    #[arg(long, default_value_t = 2.0, value_name = "S")]
    pub seconds: f64,
    /// Folder on the device to be measured; scratch files are made in it and removed
    #[arg(long, default_value = ".", value_name = "DIR")]
    pub data_dir: PathBuf,
    /// Gigabytes of log that `restart` writes before the broker is killed
    #[arg(long, default_value_t = 5.0, value_name = "GB")]
    pub log_gb: f64,
    /// Partitions that log is spread over, all of which are written to when the broker is killed
    #[arg(long, default_value_t = 2, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=i64::from(LOG_PARTITIONS_MAX)))]
    pub log_partitions: u32,
    /// Print one JSON array on standard output, and nothing else there
    #[arg(long)]
    pub json: bool,
}

impl Default for BenchOptions {
    /// Everything, as the command does without arguments.
    fn default() -> Self {
        Self {
            workloads: Vec::new(),
            broker: None,
            broker_pid: None,
            config: None,
            rounds: 5,
            seconds: 2.0,
            data_dir: PathBuf::from("."),
            log_gb: 5.0,
            log_partitions: 2,
            json: false,
        }
    }
}

impl BenchOptions {
    /// Every value within its bounds, or the first that is not, by name.
    pub fn check(&self) -> Result<(), BenchError> {
        let refuse = |problem: String| Err(BenchError::Option { problem });
        if !(1..=ROUNDS_MAX).contains(&self.rounds) {
            return refuse(format!("--rounds {}: between 1 and {ROUNDS_MAX}", self.rounds));
        }
        if !(SECONDS_MIN..=SECONDS_MAX).contains(&self.seconds) {
            return refuse(format!("--seconds {}: between {SECONDS_MIN} and {SECONDS_MAX}", self.seconds));
        }
        if !(0.0..=LOG_GB_MAX).contains(&self.log_gb) {
            return refuse(format!("--log-gb {}: between 0 and {LOG_GB_MAX}", self.log_gb));
        }
        if !(1..=LOG_PARTITIONS_MAX).contains(&self.log_partitions) {
            return refuse(format!("--log-partitions {}: between 1 and {LOG_PARTITIONS_MAX}", self.log_partitions));
        }
        match self.workloads.iter().find(|&&workload| self.process_missing_for(workload)) {
            Some(workload) => Err(BenchError::ProcessUnknown { workload: workload.name() }),
            None if self.broker.is_some() && self.workloads.contains(&Workload::Restart) => refuse(
                "restart kills the broker: it is done only to one the benchmark started itself (leave --broker out)".to_owned(),
            ),
            None => Ok(()),
        }
    }

    /// The workloads asked for, each once, in the order they are run. Without any named: all that can be done to this broker.
    #[must_use]
    pub fn selected(&self) -> Vec<Workload> {
        let possible = |workload: &Workload| {
            !(self.process_missing_for(*workload) || (self.broker.is_some() && *workload == Workload::Restart))
        };
        if self.workloads.is_empty() {
            return Workload::ALL.into_iter().filter(possible).collect();
        }
        Workload::ALL.into_iter().filter(|workload| self.workloads.contains(workload)).collect()
    }

    pub(crate) fn duration(&self) -> Duration {
        Duration::from_secs_f64(self.seconds)
    }

    fn process_missing_for(&self, workload: Workload) -> bool {
        matches!(workload, Workload::Idle | Workload::Memory) && self.broker.is_some() && self.broker_pid.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_on_the_command_line_are_those_of_results() {
        for workload in Workload::ALL {
            let value = workload.to_possible_value().expect("no workload is hidden");
            assert_eq!(value.get_name(), workload.name());
        }
    }

    #[test]
    fn nonsense_is_refused_by_name() {
        let with = |change: fn(&mut BenchOptions)| {
            let mut options = BenchOptions::default();
            change(&mut options);
            options.check().expect_err("nonsense").to_string()
        };
        assert!(with(|o| o.rounds = 0).contains("--rounds"));
        assert!(with(|o| o.seconds = 0.0).contains("--seconds"));
        assert!(with(|o| o.seconds = f64::NAN).contains("--seconds"));
        assert!(with(|o| o.log_gb = -1.0).contains("--log-gb"));
        assert!(with(|o| o.log_partitions = 0).contains("--log-partitions"));
        let away =
            |workload| BenchOptions { broker: Some("x:1".to_owned()), workloads: vec![workload], ..BenchOptions::default() };
        assert!(away(Workload::Idle).check().expect_err("no process").to_string().contains("--broker-pid"));
        assert!(away(Workload::Restart).check().expect_err("not ours to kill").to_string().contains("--broker"));
    }

    #[test]
    fn all_that_is_possible_is_the_default() {
        assert_eq!(BenchOptions::default().selected(), Workload::ALL);
        let away = BenchOptions { broker: Some("x:1".to_owned()), ..BenchOptions::default() };
        assert_eq!(away.selected(), [Workload::Yardsticks, Workload::SingleRecord, Workload::Partitions64, Workload::Bulk]);
        let twice = BenchOptions { workloads: vec![Workload::Bulk, Workload::Idle, Workload::Bulk], ..BenchOptions::default() };
        assert_eq!(twice.selected(), [Workload::Bulk, Workload::Idle]);
    }
}
