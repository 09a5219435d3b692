//! One peer, round by round: its server is started for the first and stays, or it is somebody else's and only spoken with.
//!
//! A server that dies is an outcome of the round; the next round has a new one on an empty folder, or looks whether somebody
//! else's is back. One that does not start is not tried again. Between rounds it must cost nothing: what it left in the page cache is written before the round's answer,
//! and a server that takes more than a hundredth of a core for nothing is held.

use std::fs::{self, File};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sluice_bench::error::at;
use sluice_bench::measurement::Measurement;
use sluice_bench::peer::messages::{Acknowledgement, Answer, CONVERSATION_VERSION, Hello};
use sluice_bench::peer::names::{Flush, GivenServer, system_name};
use sluice_bench::process::Process;
use sluice_bench::result::RoundOutcome;
use sluice_bench::system::{AcksAsked, System};
use sluice_bench::{BenchError, Stop, Workload, load};

use crate::peer::{Attached, Peer, StartPlan, Started};
use crate::server::Server;

const IDLE_LOOK: Duration = Duration::from_secs(1);
/// Per cent of one core. More, and the server is held while others are measured.
const IDLE_CPU_MAX: f64 = 1.0;
const NOT_OURS: &str = "the server was given by its address: where it runs and what else it does is not known here, nor its \
                        processor time, memory and writes";

/// A peer with its server, when one runs.
pub(crate) struct Session {
    peer: Box<dyn Peer>,
    /// What is said of it before anything is measured.
    hello: Hello,
    origin: Origin,
    running: Option<Running>,
}

/// Whose the server is.
enum Origin {
    /// Ours: started when it is needed.
    Own { flush: Flush, installed: PathBuf, data_dir: PathBuf },
    /// Somebody else's.
    Given(GivenServer),
}

struct Running {
    system: Box<dyn System>,
    own: Option<OwnServer>,
}

/// One that was started here.
struct OwnServer {
    server: Server,
    /// When nobody talks to it, per cent of one core.
    idle_cpu_percent: f64,
}

impl Session {
    /// Of a server that is started for the purpose.
    pub(crate) fn new(peer: Box<dyn Peer>, flush: Flush, installed: PathBuf, data_dir: PathBuf) -> Self {
        let one = |acks| {
            let (text, flushed) = peer.acknowledgement(flush, acks)?;
            Some(Acknowledgement { acks, text, flushed: Some(flushed) })
        };
        let hello = Hello {
            version: CONVERSATION_VERSION,
            system: system_name(peer.name(), flush),
            acknowledgements: [AcksAsked::None, AcksAsked::Leader, AcksAsked::All].into_iter().filter_map(one).collect(),
            settings: peer.settings(&installed, flush),
        };
        Self { peer, hello, origin: Origin::Own { flush, installed, data_dir }, running: None }
    }

    /// Of a server that runs already, and answers.
    ///
    /// # Errors When it does not.
    pub(crate) fn attach(peer: Box<dyn Peer>, given: GivenServer) -> Result<Self, BenchError> {
        let Attached { system, acknowledgements, settings } = peer.attach(&given)?;
        let hello = Hello { version: CONVERSATION_VERSION, system: system.name().to_owned(), acknowledgements, settings };
        let running = Running { system, own: None };
        Ok(Self { peer, hello, origin: Origin::Given(given), running: Some(running) })
    }

    pub(crate) fn hello(&self) -> Hello {
        self.hello.clone()
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
            if let Origin::Own { data_dir, .. } = &self.origin {
                running.rest(data_dir)?;
            }
            Ok(measured)
        });
        let measured = measured.unwrap_or_else(|error| match error {
            BenchError::Interrupted => failed(RoundOutcome::Interrupted, error),
            error => failed(RoundOutcome::BrokerDied, running.explain(error)),
        });
        if measured.outcome == RoundOutcome::BrokerDied {
            self.end();
        }
        Answer::Measured(Box::new(measured))
    }

    /// Ends the server and removes what it wrote, if it is ours.
    pub(crate) fn end(&mut self) {
        self.running = None;
        if let Origin::Own { data_dir, .. } = &self.origin {
            // What cannot be removed now goes with the folder that the parent made for it.
            let _ = fs::remove_dir_all(data_dir);
        }
    }

    fn start(&self) -> Result<Running, BenchError> {
        let (flush, installed, data_dir) = match &self.origin {
            Origin::Own { flush, installed, data_dir } => (*flush, installed, data_dir),
            Origin::Given(given) => return Ok(Running { system: self.peer.attach(given)?.system, own: None }),
        };
        fs::create_dir_all(data_dir).map_err(at(data_dir))?;
        let data_dir = data_dir.canonicalize().map_err(at(data_dir))?;
        let Started { server, system } = self.peer.start(&StartPlan { installed, data_dir: &data_dir, flush })?;
        let idle_cpu_percent = idle_cpu_percent(server.process()).map_err(BenchError::io("the server's processor time"))?;
        Ok(Running { system, own: Some(OwnServer { server, idle_cpu_percent }) })
    }
}

impl Running {
    fn measure(&mut self, workload: &Workload, stop: &Stop) -> Result<Measurement, BenchError> {
        if let Some(own) = &mut self.own {
            own.server.go_on();
        }
        let mut measured = load::measure(self.system.as_mut(), workload, stop)?;
        if measured.outcome == RoundOutcome::BrokerDied {
            let because = measured.outcome_because.take().unwrap_or_default();
            let explained = self.explain(BenchError::protocol(&because)).to_string();
            return Ok(Measurement { outcome_because: Some(explained), ..measured });
        }
        match &self.own {
            None => measured.notes.push(NOT_OURS.to_owned()),
            Some(own) if own.is_restless() => measured.notes.push(format!(
                "{:.1} % of a core is what the server takes for nothing: it is stopped (SIGSTOP) while others are measured",
                own.idle_cpu_percent
            )),
            Some(_) => {}
        }
        Ok(measured)
    }

    /// The next system begins on a machine that this one leaves alone.
    fn rest(&mut self, data_dir: &Path) -> Result<(), BenchError> {
        write_back(data_dir)?;
        if let Some(own) = self.own.as_mut().filter(|own| own.is_restless()) {
            own.server.hold();
        }
        Ok(())
    }

    /// When a server of ours has ended, that is why something failed.
    fn explain(&mut self, error: BenchError) -> BenchError {
        match &mut self.own {
            Some(own) => own.server.explain(error),
            None => error,
        }
    }
}

impl OwnServer {
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
