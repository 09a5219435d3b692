//! What is measured beside the yardsticks: Sluice here, peers in programs of their own.
//!
//! A target that goes away in the middle of a round says so in the round's outcome; the next round begins with it started anew.

use std::cell::RefCell;
use std::path::PathBuf;
use std::process::Command;
use std::rc::Rc;

use sluice_tuning::ScratchFolder;

use crate::broker::{Broker, OwnBrokerPlan};
use crate::client::{self, ClientSystem};
use crate::error::BenchError;
use crate::floor::WaitMode;
use crate::load::{self, Stop, measure_open, measure_read};
use crate::loads::{RestartLog, RestartScene, measure_closed, measure_idle};
use crate::measurement::Measurement;
use crate::options::{BenchOptions, SystemName};
use crate::result::RoundOutcome;
use crate::sluice::SluiceSystem;
use crate::system::AcksAsked;
use crate::workload::{Load, RestartLoad, Workload};

/// One system, round by round.
pub trait Target {
    fn name(&self) -> &str;

    /// How it and what measures it wait.
    fn mode(&self) -> WaitMode {
        WaitMode::Asleep
    }

    /// Whether it can be measured with this workload at all; one that cannot is left out, with a note.
    fn can_run(&self, workload: &Workload) -> bool;

    /// Why it is not there at all: it has no part in the run, which says so.
    fn missing(&self) -> Option<&str> {
        None
    }

    /// What an acknowledgement means, in a line, and whether it comes after a flush, when that is known.
    fn acknowledgement(&self, acks: AcksAsked) -> (String, Option<bool>);

    /// One round. A system that went away is an outcome of the round.
    ///
    /// # Errors When it could not be started, or refused what a round depends on.
    fn measure(&mut self, workload: &Workload, stop: &Stop) -> Result<Measurement, BenchError>;

    /// Its effective settings, as text.
    fn settings(&self) -> String;
}

/// Sluice, over one of the ways to it.
pub struct SluiceTarget<'a> {
    system: SystemName,
    /// One for all ways, so that no idle broker stands beside the one that is measured.
    host: Rc<RefCell<SluiceHost<'a>>>,
}

impl<'a> SluiceTarget<'a> {
    /// A target for each of `systems`, all of them on one broker: one of our own, or one given by its address.
    ///
    /// # Errors When the path of this program is not known.
    pub fn all(
        systems: &[SystemName],
        options: &'a BenchOptions,
        folder: &'a ScratchFolder,
    ) -> Result<Vec<Box<dyn Target + 'a>>, BenchError> {
        let host = Rc::new(RefCell::new(SluiceHost::new(options, folder)?));
        let target = |&system: &SystemName| -> Box<dyn Target + 'a> { Box::new(Self { system, host: host.clone() }) };
        Ok(systems.iter().map(target).collect())
    }
}

impl Target for SluiceTarget<'_> {
    fn name(&self) -> &str {
        match self.system {
            SystemName::Sluice | SystemName::SluiceSpinning => SystemName::Sluice.name(),
            SystemName::SluiceClient => self.system.name(),
        }
    }

    fn mode(&self) -> WaitMode {
        self.system.mode()
    }

    /// No client has a part in how a broker idles or comes back.
    fn can_run(&self, workload: &Workload) -> bool {
        self.system == SystemName::Sluice || matches!(workload.load, Load::Open(_) | Load::Closed(_) | Load::Read(_))
    }

    fn acknowledgement(&self, acks: AcksAsked) -> (String, Option<bool>) {
        let (text, flushed) = crate::sluice::acknowledgement(acks);
        (text.to_owned(), Some(flushed))
    }

    fn measure(&mut self, workload: &Workload, stop: &Stop) -> Result<Measurement, BenchError> {
        self.host.borrow_mut().measure(self.system, workload, stop)
    }

    fn settings(&self) -> String {
        let of_broker = self.host.borrow().settings.clone();
        match self.system {
            SystemName::Sluice => of_broker,
            SystemName::SluiceSpinning => of_broker + "\n# --busy-poll, which stands above it\nbusy_poll = true\n",
            SystemName::SluiceClient => of_broker + &client::settings(),
        }
    }
}

/// A broker of our own, or one given by its address.
struct SluiceHost<'a> {
    options: &'a BenchOptions,
    folder: &'a ScratchFolder,
    executable: PathBuf,
    settings: String,
    system: Option<SluiceSystem>,
    /// Of the broker of our own that runs.
    data_dir: Option<PathBuf>,
    scene: Option<(String, RestartScene)>,
    /// Each broker of our own has a folder of its own.
    started: u32,
}

impl<'a> SluiceHost<'a> {
    fn new(options: &'a BenchOptions, folder: &'a ScratchFolder) -> Result<Self, BenchError> {
        let executable = std::env::current_exe().map_err(BenchError::io("the path of this program"))?;
        let settings = if options.broker.is_some() { String::new() } else { settings(&executable, options) };
        Ok(Self { options, folder, executable, settings, system: None, data_dir: None, scene: None, started: 0 })
    }

    fn plan(&mut self, name: &str, mode: WaitMode) -> OwnBrokerPlan {
        self.started += 1;
        let name = format!("{name}-{}", self.started);
        let log_path = self.folder.join(&format!("{name}.log"));
        let data_dir = self.folder.join(&name);
        let (executable, config) = (self.executable.clone(), self.options.config.clone());
        OwnBrokerPlan { executable, data_dir, config, mode, log_path }
    }

    fn system(&mut self, mode: WaitMode) -> Result<&mut SluiceSystem, BenchError> {
        if self.system.as_ref().is_some_and(|system| system.mode != mode) {
            self.end_system();
        }
        if self.system.is_none() {
            let broker = match &self.options.broker {
                Some(address) => {
                    let broker = Broker::external(address, self.options.broker_pid);
                    // One that is not there is no broker that died.
                    broker.connect()?;
                    broker
                }
                None => {
                    let plan = self.plan("broker", mode);
                    let mut broker = Broker::start(&plan)?;
                    self.data_dir = Some(plan.data_dir);
                    broker.wait_until_ready()?;
                    broker
                }
            };
            self.system = Some(SluiceSystem::new(broker, self.settings.clone()).with_mode(mode));
        }
        Ok(self.system.as_mut().expect("it was just put there"))
    }

    /// Ends the broker, if it is ours, and removes what it wrote.
    fn end_system(&mut self) {
        self.system = None;
        if let Some(data_dir) = self.data_dir.take() {
            // What cannot be removed now goes with the scratch folder.
            let _ = std::fs::remove_dir_all(data_dir);
        }
    }

    fn measure_restart(&mut self, name: &str, load: &RestartLoad, stop: &Stop) -> Result<Measurement, BenchError> {
        // Another broker beside it would take its share of the machine.
        self.end_system();
        if self.scene.as_ref().is_none_or(|(of, _)| of != name) {
            let log = RestartLog { value_len: load.log_len, partition_count: load.partition_count };
            let plan = self.plan("restart", WaitMode::Asleep);
            let duration = std::time::Duration::from_secs_f64(load.seconds);
            self.scene = Some((name.to_owned(), RestartScene::prepare(plan, log, duration)?));
        }
        if stop.is_asked() {
            return Err(BenchError::Interrupted);
        }
        let (_, scene) = self.scene.as_mut().expect("it was just put there");
        let measured = scene.measure();
        if measured.is_err() {
            self.scene = None;
        }
        measured
    }

    fn measure_load(&mut self, name: SystemName, workload: &Workload, stop: &Stop) -> Result<Measurement, BenchError> {
        if let Load::Restart(load) = &workload.load {
            return self.measure_restart(&workload.name, load, stop);
        }
        if let Some((_, scene)) = &mut self.scene {
            scene.rest();
        }
        let system = self.system(name.mode())?;
        if name == SystemName::SluiceClient {
            return load::measure(&mut ClientSystem::new(system)?, workload, stop);
        }
        match &workload.load {
            Load::Open(load) => measure_open(system, workload, load, stop),
            Load::Closed(load) => measure_closed(system, workload, load, stop),
            Load::Read(load) => measure_read(system, workload, load, stop),
            Load::Idle { seconds } => measure_idle(system, *seconds, stop),
            Load::Restart(_) => unreachable!("it was measured above"),
        }
    }

    /// Why the broker went away or cannot be relied on; the next round has a new one.
    fn bury(&mut self, error: BenchError) -> Measurement {
        let error = match &mut self.system {
            Some(system) => system.broker.explain(error),
            None => error,
        };
        self.end_system();
        Measurement { outcome: RoundOutcome::BrokerDied, outcome_because: Some(error.to_string()), ..Measurement::default() }
    }

    fn measure(&mut self, name: SystemName, workload: &Workload, stop: &Stop) -> Result<Measurement, BenchError> {
        // A broker that cannot even be started is no outcome of a round.
        if !matches!(workload.load, Load::Restart(_)) {
            self.system(name.mode())?;
        }
        match self.measure_load(name, workload, stop) {
            Ok(measured) if measured.outcome == RoundOutcome::BrokerDied => {
                let because = measured.outcome_because.clone().unwrap_or_default();
                let buried = self.bury(BenchError::protocol(&because));
                Ok(Measurement { outcome_because: buried.outcome_because, ..measured })
            }
            Err(BenchError::Interrupted) => {
                let outcome_because = Some(BenchError::Interrupted.to_string());
                Ok(Measurement { outcome: RoundOutcome::Interrupted, outcome_because, ..Measurement::default() })
            }
            // What the user asked for cannot be had: no other round will do better.
            Err(error @ (BenchError::Option { .. } | BenchError::ProcessUnknown { .. })) => Err(error),
            Err(error) => Ok(self.bury(error)),
            Ok(measured) => Ok(measured),
        }
    }
}

/// What the broker says its defaults are, and what the user's file makes of them.
fn settings(executable: &std::path::Path, options: &BenchOptions) -> String {
    let printed = Command::new(executable).args(["serve", "--print-config"]).output();
    let defaults = printed.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    let keys = defaults.lines().map(|line| line.trim_start_matches("# ")).filter(|line| is_setting(line));
    let mut text: String = keys.map(|line| format!("{line}\n")).collect();
    if let Some(config) = &options.config {
        text.push_str(&format!("\n# {}, which stands above them\n", config.display()));
        text.push_str(&std::fs::read_to_string(config).unwrap_or_default());
    }
    text
}

fn is_setting(line: &str) -> bool {
    let key = line.split(" = ").next().unwrap_or_default();
    line.contains(" = ") && !key.is_empty() && key.chars().all(|letter| letter.is_ascii_lowercase() || letter == '_')
}
