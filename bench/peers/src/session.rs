//! One peer, round by round: its server is started for the first and stays.
//!
//! A server that dies is an outcome of the round; the next round has a new one on an empty folder. One that does not start is
//! not tried again. Between rounds it must cost nothing: what it left in the page cache is written before the round's answer,
//! and a server that takes more than a hundredth of a core for nothing is held.

use std::fs::{self, File};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sluice_bench::error::at;
use sluice_bench::measurement::Measurement;
use sluice_bench::peer::messages::{Acknowledgement, Answer, CONVERSATION_VERSION, Hello};
use sluice_bench::peer::names::{Flush, system_name};
use sluice_bench::process::Process;
use sluice_bench::result::RoundOutcome;
use sluice_bench::system::AcksAsked;
use sluice_bench::{BenchError, Stop, Workload, load};

use crate::peer::{Peer, StartPlan, Started};

const IDLE_LOOK: Duration = Duration::from_secs(1);
/// Per cent of one core. More, and the server is held while others are measured.
const IDLE_CPU_MAX: f64 = 1.0;

/// A peer with its server, when one runs.
pub(crate) struct Session {
    peer: Box<dyn Peer>,
    flush: Flush,
    installed: PathBuf,
    data_dir: PathBuf,
    running: Option<Running>,
}

struct Running {
    started: Started,
    /// Of a server that nobody talks to, per cent of one core.
    idle_cpu_percent: f64,
}

impl Session {
    pub(crate) fn new(peer: Box<dyn Peer>, flush: Flush, installed: PathBuf, data_dir: PathBuf) -> Self {
        Self { peer, flush, installed, data_dir, running: None }
    }

    pub(crate) fn hello(&self) -> Hello {
        let one = |acks| {
            let (text, flushed) = self.peer.acknowledgement(self.flush, acks)?;
            Some(Acknowledgement { acks, text, flushed })
        };
        Hello {
            version: CONVERSATION_VERSION,
            system: system_name(self.peer.name(), self.flush),
            acknowledgements: [AcksAsked::None, AcksAsked::Leader, AcksAsked::All].into_iter().filter_map(one).collect(),
            settings: self.peer.settings(&self.installed, self.flush),
        }
    }

    /// One round.
    pub(crate) fn measure(&mut self, workload: &Workload, stop: &Stop) -> Answer {
        if self.running.is_none() {
            match self.start() {
                Ok(running) => self.running = Some(running),
                Err(error) => return Answer::Unstarted { because: error.to_string() },
            }
        }
        let running = self.running.as_mut().expect("it was just put there");
        let measured = running.measure(workload, stop).and_then(|measured| {
            running.rest(&self.data_dir)?;
            Ok(measured)
        });
        let measured = measured.unwrap_or_else(|error| match error {
            BenchError::Interrupted => failed(RoundOutcome::Interrupted, error),
            error => failed(RoundOutcome::BrokerDied, running.started.server.explain(error)),
        });
        if measured.outcome == RoundOutcome::BrokerDied {
            self.end();
        }
        Answer::Measured(Box::new(measured))
    }

    /// Ends the server and removes what it wrote.
    pub(crate) fn end(&mut self) {
        self.running = None;
        // What cannot be removed now goes with the folder that the parent made for it.
        let _ = fs::remove_dir_all(&self.data_dir);
    }

    fn start(&self) -> Result<Running, BenchError> {
        fs::create_dir_all(&self.data_dir).map_err(at(&self.data_dir))?;
        let data_dir = self.data_dir.canonicalize().map_err(at(&self.data_dir))?;
        let plan = StartPlan { installed: &self.installed, data_dir: &data_dir, flush: self.flush };
        let started = self.peer.start(&plan)?;
        let process = started.server.process();
        let idle_cpu_percent = idle_cpu_percent(process).map_err(BenchError::io("the server's processor time"))?;
        Ok(Running { started, idle_cpu_percent })
    }
}

impl Running {
    fn measure(&mut self, workload: &Workload, stop: &Stop) -> Result<Measurement, BenchError> {
        self.started.server.go_on();
        let mut measured = load::measure(self.started.system.as_mut(), workload, stop)?;
        if measured.outcome == RoundOutcome::BrokerDied {
            let because = measured.outcome_because.take().unwrap_or_default();
            let explained = self.started.server.explain(BenchError::protocol(&because)).to_string();
            return Ok(Measurement { outcome_because: Some(explained), ..measured });
        }
        if self.is_restless() {
            measured.notes.push(format!(
                "{:.1} % of a core is what the server takes for nothing: it is stopped (SIGSTOP) while others are measured",
                self.idle_cpu_percent
            ));
        }
        Ok(measured)
    }

    /// The next system begins on a machine that this one leaves alone.
    fn rest(&mut self, data_dir: &Path) -> Result<(), BenchError> {
        write_back(data_dir)?;
        if self.is_restless() {
            self.started.server.hold();
        }
        Ok(())
    }

    fn is_restless(&self) -> bool {
        self.idle_cpu_percent > IDLE_CPU_MAX
    }
}

fn failed(outcome: RoundOutcome, error: BenchError) -> Measurement {
    Measurement { outcome, outcome_because: Some(error.to_string()), ..Measurement::default() }
}

fn idle_cpu_percent(process: Process) -> std::io::Result<f64> {
    process.settle()?;
    let before = process.cpu_time()?;
    std::thread::sleep(IDLE_LOOK);
    Ok(100.0 * process.cpu_time()?.saturating_sub(before).as_secs_f64() / IDLE_LOOK.as_secs_f64())
}

/// Writes what the page cache holds for the file system under `folder`.
fn write_back(folder: &Path) -> Result<(), BenchError> {
    let opened = File::open(folder).map_err(at(folder))?;
    // SAFETY: syncfs takes no pointer, and the descriptor is open.
    if unsafe { libc::syncfs(opened.as_raw_fd()) } != 0 {
        return Err(at(folder)(std::io::Error::last_os_error()));
    }
    Ok(())
}
