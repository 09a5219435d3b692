//! What `sluice bench run` is asked for.

use std::path::PathBuf;

use clap::Args;
use sluice_model::nearest::nearest;

use crate::error::BenchError;
use crate::floor::{WaitMode, can_spin};
use crate::workload::{Load, Workload, find};

pub const ROUNDS_MAX: u32 = 1000;
pub const SECONDS_MIN: f64 = 0.01;
pub const SECONDS_MAX: f64 = 3600.0;
/// Stands among the workloads for none: the machine's own limits alone.
pub const YARDSTICKS: &str = "yardsticks";

/// A way to Sluice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SystemName {
    /// Lean connections that speak the native protocol.
    Sluice,
    /// The native client library.
    SluiceClient,
    /// Lean connections and shards that never sleep.
    SluiceSpinning,
}

impl SystemName {
    pub const ALL: [Self; 3] = [Self::Sluice, Self::SluiceClient, Self::SluiceSpinning];

    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Sluice => "sluice",
            Self::SluiceClient => crate::client::NAME,
            Self::SluiceSpinning => "sluice-spinning",
        }
    }

    pub(crate) fn mode(self) -> WaitMode {
        match self {
            Self::Sluice | Self::SluiceClient => WaitMode::Asleep,
            Self::SluiceSpinning => WaitMode::Spinning,
        }
    }
}

/// The arguments of `sluice bench run`.
#[derive(Clone, Debug, Args)]
pub struct BenchOptions {
    /// What to measure: names from `sluice bench list`, paths of workload files, `all`, or `yardsticks`
    #[arg(value_name = "WORKLOAD", required = true)]
    pub workloads: Vec<String>,
    /// How Sluice is reached: sluice (lean connections, the broker alone), sluice-client (what a program gets through the
    /// client library) or sluice-spinning (lean connections and a broker with --busy-poll); give it several times for more
    /// than one, in turns
    #[arg(long = "system", value_name = "NAME", default_value = "sluice")]
    pub systems: Vec<String>,
    /// Measure this broker instead of one started for the purpose; put --data-dir on the same device
    #[arg(long, value_name = "ADDR")]
    pub broker: Option<String>,
    /// Process id of that broker, for the figures on processor time, memory and writes
    #[arg(long, value_name = "PID", requires = "broker")]
    pub broker_pid: Option<u32>,
    /// Settings file for the broker that is started
    #[arg(long, value_name = "FILE", conflicts_with = "broker")]
    pub config: Option<PathBuf>,
    /// Measure this system beside Sluice: kafka, nats, redis, iggy or all, each on a server that is installed and started for the
    /// purpose; or kafka=HOST:PORT, any broker of Kafka's protocol that runs already (put ,flushed or ,unflushed behind it when
    /// you know which it does before it answers); may be given several times
    #[arg(long = "peer", value_name = "PEER")]
    pub peers: Vec<String>,
    /// Folder in which peers are installed [default: sluice/peers in the user's cache folder]
    #[arg(long, value_name = "DIR")]
    pub peers_dir: Option<PathBuf>,
    /// The program that measures peers [default: found beside this one, or in bench/peers/target/release]
    #[arg(long, value_name = "FILE")]
    pub peers_program: Option<PathBuf>,
    /// How often everything is measured, in turns; results are medians
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=i64::from(ROUNDS_MAX)))]
    pub rounds: u32,
    /// Counted seconds of each round, instead of each workload's own
    #[arg(long, value_name = "S")]
    pub seconds: Option<f64>,
    /// Folder on the device to be measured; scratch files are made in it and removed
    #[arg(long, default_value = ".", value_name = "DIR")]
    pub data_dir: PathBuf,
    /// Folder for the results [default: a new one in bench-results]
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Print one JSON array on standard output, and nothing else there
    #[arg(long)]
    pub json: bool,
}

impl Default for BenchOptions {
    /// Nothing but the yardsticks.
    fn default() -> Self {
        Self {
            workloads: vec![YARDSTICKS.to_owned()],
            systems: vec![SystemName::Sluice.name().to_owned()],
            broker: None,
            broker_pid: None,
            config: None,
            peers: Vec::new(),
            peers_dir: None,
            peers_program: None,
            rounds: 3,
            seconds: None,
            data_dir: PathBuf::from("."),
            out: None,
            json: false,
        }
    }
}

impl BenchOptions {
    /// The workloads asked for, each once, as long as they are to last; everything in bounds, or the first that is not, by name.
    ///
    /// # Errors An unknown workload, a workload file that is wrong, an option out of bounds, or a workload that this broker
    /// cannot be measured with.
    pub fn check(&self) -> Result<Vec<Workload>, BenchError> {
        let refuse = |problem: String| Err(BenchError::Option { problem });
        if !(1..=ROUNDS_MAX).contains(&self.rounds) {
            return refuse(format!("--rounds {}: between 1 and {ROUNDS_MAX}", self.rounds));
        }
        if let Some(seconds) = self.seconds.filter(|seconds| !(SECONDS_MIN..=SECONDS_MAX).contains(seconds)) {
            return refuse(format!("--seconds {seconds}: between {SECONDS_MIN} and {SECONDS_MAX}"));
        }
        let mut selected: Vec<Workload> = Vec::new();
        for name in self.workloads.iter().filter(|name| *name != YARDSTICKS) {
            for workload in find(name)? {
                let is_all = name == crate::workload::ALL;
                match self.impossible(&workload) {
                    Some(_) if is_all => {}
                    Some(error) => return Err(error),
                    None if selected.iter().any(|other| other.name == workload.name) => {}
                    None => selected.push(self.seconds.map_or(workload.clone(), |seconds| workload.lasting(seconds))),
                }
            }
        }
        Ok(selected)
    }

    /// The ways to Sluice asked for, each once.
    ///
    /// # Errors An unknown name, with the nearest one.
    pub fn systems(&self) -> Result<Vec<SystemName>, BenchError> {
        let mut systems = Vec::new();
        for name in &self.systems {
            let known = SystemName::ALL.map(SystemName::name);
            let Some(index) = known.iter().position(|known| known == name) else {
                let hint = nearest(name, known).map(|near| format!("; did you mean {near}?")).unwrap_or_default();
                let problem = format!("--system {name:?} is none of {}{hint}", known.join(", "));
                return Err(BenchError::Option { problem });
            };
            let system = SystemName::ALL[index];
            if system.mode() == WaitMode::Spinning {
                self.check_spinning()?;
            }
            if !systems.contains(&system) {
                systems.push(system);
            }
        }
        Ok(systems)
    }

    fn check_spinning(&self) -> Result<(), BenchError> {
        let problem = if self.broker.is_some() {
            "it has to start its broker itself, with --busy-poll (leave --broker out)"
        } else if !can_spin() {
            "this machine has one core, and spinning takes one for each side"
        } else {
            return Ok(());
        };
        Err(BenchError::Option { problem: format!("--system {}: {problem}", SystemName::SluiceSpinning.name()) })
    }

    /// Why this broker cannot be measured with the workload.
    fn impossible(&self, workload: &Workload) -> Option<BenchError> {
        self.broker.as_ref()?;
        match workload.load {
            Load::Restart(_) => Some(BenchError::Option {
                problem: format!(
                    "{} kills the broker: it is done only to one the benchmark started itself (leave --broker out)",
                    workload.name
                ),
            }),
            Load::Idle { .. } if self.broker_pid.is_none() => Some(BenchError::ProcessUnknown { workload: "idle" }),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nonsense_is_refused_by_name() {
        let with = |change: fn(&mut BenchOptions)| {
            let mut options = BenchOptions::default();
            change(&mut options);
            options.check().expect_err("nonsense").to_string()
        };
        assert!(with(|o| o.rounds = 0).contains("--rounds"));
        assert!(with(|o| o.seconds = Some(0.0)).contains("--seconds"));
        assert!(with(|o| o.seconds = Some(f64::NAN)).contains("--seconds"));
        let error = BenchOptions { systems: vec!["sluice-clent".to_owned()], ..BenchOptions::default() }.systems();
        assert!(error.expect_err("no such system").to_string().contains("did you mean sluice-client?"));
        let spinning_elsewhere = BenchOptions {
            systems: vec![SystemName::SluiceSpinning.name().to_owned()],
            broker: Some("x:1".to_owned()),
            ..BenchOptions::default()
        };
        let error = spinning_elsewhere.systems().expect_err("nobody knows whether it spins").to_string();
        assert!(error.contains("--system sluice-spinning") && error.contains("--broker"), "{error}");
        assert!(with(|o| o.workloads = vec!["blk".to_owned()]).contains("did you mean bulk?"));
        let away = |name: &str| BenchOptions {
            broker: Some("x:1".to_owned()),
            workloads: vec![name.to_owned()],
            ..BenchOptions::default()
        };
        assert!(away("idle").check().expect_err("no process").to_string().contains("--broker-pid"));
        assert!(away("restart").check().expect_err("not ours to kill").to_string().contains("--broker"));
    }

    #[test]
    fn each_way_to_sluice_is_measured_once() {
        let systems = ["sluice-client", "sluice", "sluice-client"].map(str::to_owned).to_vec();
        let options = BenchOptions { systems, ..BenchOptions::default() };
        assert_eq!(options.systems().expect("known"), [SystemName::SluiceClient, SystemName::Sluice]);
        assert_eq!(BenchOptions::default().systems().expect("known"), [SystemName::Sluice]);
    }

    #[test]
    fn all_is_all_that_can_be_done_to_this_broker() {
        let names = |options: BenchOptions| -> Vec<String> {
            options.check().expect("workloads").into_iter().map(|workload| workload.name).collect()
        };
        let all = names(BenchOptions { workloads: vec!["all".to_owned()], ..BenchOptions::default() });
        let away = names(BenchOptions {
            workloads: vec!["all".to_owned(), "bulk".to_owned()],
            broker: Some("x:1".to_owned()),
            ..BenchOptions::default()
        });
        assert_eq!(all.len(), away.len() + 2, "all but idle and restart");
        assert_eq!(names(BenchOptions::default()), [] as [&str; 0]);
    }
}
