//! A peer's server: started as a child, waited for, held still while others are measured.
//!
//! It dies with this program, whatever ends that, and is killed by its own id when it is dropped. The expensive mistake: a
//! server that is "idle" and yet takes its share of two cores while another system is measured.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use sluice_bench::BenchError;
use sluice_bench::child::ChildServer;
use sluice_bench::process::Process;

const POLL: Duration = Duration::from_millis(20);

/// One that was started here. Dropping it ends it.
#[derive(Debug)]
pub(crate) struct Server {
    child: ChildServer,
    is_held: bool,
}

impl Server {
    /// Starts `command`, which writes to `server.log` in `data_dir`, with that as its working folder.
    pub(crate) fn start(mut command: Command, data_dir: &Path) -> Result<Self, BenchError> {
        command.current_dir(data_dir);
        Ok(Self { child: ChildServer::start(command, &data_dir.join("server.log"))?, is_held: false })
    }

    /// Asks again and again until `ask` has an answer.
    ///
    /// # Errors When the server has ended, with the end of its log; after `patience` what `ask` said last.
    pub(crate) fn wait_until<T>(
        &mut self,
        patience: Duration,
        mut ask: impl FnMut() -> Result<T, BenchError>,
    ) -> Result<T, BenchError> {
        let give_up_at = Instant::now() + patience;
        loop {
            let error = match ask() {
                Ok(answer) => return Ok(answer),
                Err(error) => self.explain(error),
            };
            if matches!(error, BenchError::BrokerEnded { .. }) {
                return Err(error);
            }
            if Instant::now() > give_up_at {
                let problem = format!("does not serve after {} s ({error})", patience.as_secs());
                return Err(BenchError::BrokerEnded { problem, log: self.child.last_lines() });
            }
            std::thread::sleep(POLL);
        }
    }

    pub(crate) fn process(&self) -> Process {
        self.child.process()
    }

    /// When the server has ended, that is why something failed.
    pub(crate) fn explain(&mut self, error: BenchError) -> BenchError {
        self.child.explain(error)
    }

    /// Stops it in its tracks (SIGSTOP), until [`Self::go_on`].
    pub(crate) fn hold(&mut self) {
        self.is_held = self.signal(libc::SIGSTOP);
    }

    pub(crate) fn go_on(&mut self) {
        if self.is_held {
            self.signal(libc::SIGCONT);
            self.is_held = false;
        }
    }

    fn signal(&self, signal: libc::c_int) -> bool {
        let Ok(id) = libc::pid_t::try_from(self.process().id()) else { return false };
        // SAFETY: kill takes no pointer; the child is not waited for before `self` is dropped, so its id is nobody else's.
        unsafe { libc::kill(id, signal) == 0 }
    }
}
