//! A peer's system as a target of a run.
//!
//! Nothing that happens to it ends the run: a server that does not start, one that dies, a child that breaks are outcomes of
//! their rounds. After one that died the next round begins anew; one that does not start is not tried again, since that takes
//! a minute each time.

use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use sluice_tuning::ScratchFolder;

use super::child::{ChildJob, PeerChild, unexpected};
use super::messages::{Answer, Command, Hello};
use super::program::PeersProgram;
use crate::error::BenchError;
use crate::load::Stop;
use crate::measurement::Measurement;
use crate::result::RoundOutcome;
use crate::run::Target;
use crate::system::AcksAsked;
use crate::workload::{Load, Workload};

/// Beyond a round's own time: a start of the server, records written ahead, readers that lag, settling.
const ROUND_PATIENCE: Duration = Duration::from_secs(900);

/// One system of a peer.
pub struct PeerTarget {
    program: PeersProgram,
    /// Of a server that runs already: what `--peer` said.
    given: Option<String>,
    hello: Hello,
    child: Option<PeerChild>,
    /// The server does not start, and why.
    unstarted: Option<String>,
    folder: Rc<ScratchFolder>,
    started: u32,
}

impl PeerTarget {
    /// Starts the child; its server starts with the first round. Call it on a thread that lives until the target is dropped.
    ///
    /// # Errors When the child does not start, or is of another version.
    pub fn open(program: &PeersProgram, system: &str, folder: &Rc<ScratchFolder>) -> Result<Self, BenchError> {
        let (child, hello) = PeerChild::start(program, &ChildJob::Serve { system, data_dir: &folder.join(system) })?;
        Ok(Self::of(program, hello, child, folder, None))
    }

    /// The same on a server that runs already, as `--peer` names it; it has answered when this returns.
    ///
    /// # Errors As [`Self::open`]; [`BenchError::Connection`] when nobody is there or it speaks something else.
    pub fn attach(program: &PeersProgram, given: &str, folder: &Rc<ScratchFolder>) -> Result<Self, BenchError> {
        let (child, hello) = PeerChild::start(program, &ChildJob::Attach { peer: given })?;
        Ok(Self::of(program, hello, child, folder, Some(given.to_owned())))
    }

    fn of(program: &PeersProgram, hello: Hello, child: PeerChild, folder: &Rc<ScratchFolder>, given: Option<String>) -> Self {
        let (program, folder) = (program.clone(), Rc::clone(folder));
        Self { program, given, hello, child: Some(child), unstarted: None, folder, started: 1 }
    }

    fn child(&mut self) -> Result<&mut PeerChild, BenchError> {
        if self.child.is_none() {
            self.started += 1;
            let data_dir: PathBuf = self.folder.join(&format!("{}-{}", self.hello.system, self.started));
            let job = match &self.given {
                Some(peer) => ChildJob::Attach { peer },
                None => ChildJob::Serve { system: &self.hello.system, data_dir: &data_dir },
            };
            self.child = Some(PeerChild::start(&self.program, &job)?.0);
        }
        Ok(self.child.as_mut().expect("it was just put there"))
    }

    fn ask(&mut self, workload: &Workload, stop: &Stop) -> Result<Measurement, BenchError> {
        let patience = ROUND_PATIENCE + Duration::from_secs_f64(workload.seconds());
        let child = self.child()?;
        child.tell(&Command::Measure(Box::new(workload.clone())))?;
        match child.answer(patience, Some(stop))? {
            Answer::Measured(measured) => Ok(*measured),
            Answer::Unstarted { because } => {
                let what = if self.given.is_some() { "does not answer any more" } else { "does not start" };
                let because = format!("{} {what}: {because}", self.hello.system);
                self.unstarted = Some(because.clone());
                self.child = None;
                Ok(died(because))
            }
            answer => Err(unexpected(&answer)),
        }
    }
}

impl Target for PeerTarget {
    fn name(&self) -> &str {
        &self.hello.system
    }

    fn can_run(&self, workload: &Workload) -> bool {
        match workload.load {
            // It kills and starts again what it measures.
            Load::Restart(_) => false,
            // It looks at the server's process.
            Load::Idle { .. } => self.given.is_none(),
            Load::Open(_) | Load::Closed(_) | Load::Read(_) => {
                self.hello.acknowledgements.iter().any(|known| known.acks == workload.acks)
            }
        }
    }

    fn acknowledgement(&self, acks: AcksAsked) -> (String, Option<bool>) {
        let known = self.hello.acknowledgements.iter().find(|known| known.acks == acks);
        known.map(|known| (known.text.clone(), known.flushed)).unwrap_or_default()
    }

    fn measure(&mut self, workload: &Workload, stop: &Stop) -> Result<Measurement, BenchError> {
        if let Some(because) = &self.unstarted {
            return Ok(died(because.clone()));
        }
        Ok(self.ask(workload, stop).unwrap_or_else(|error| {
            // Whatever it is at, it is not to be relied on.
            self.child = None;
            if stop.is_asked() {
                let outcome_because = Some(error.to_string());
                return Measurement { outcome: RoundOutcome::Interrupted, outcome_because, ..Measurement::default() };
            }
            died(error.to_string())
        }))
    }

    fn settings(&self) -> String {
        self.hello.settings.clone()
    }
}

fn died(because: String) -> Measurement {
    Measurement { outcome: RoundOutcome::BrokerDied, outcome_because: Some(because), ..Measurement::default() }
}
