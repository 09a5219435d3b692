//! The processes of a cluster's brokers: started, watched, ended.
//!
//! Each is in a process group of its own, so that Ctrl-C in a terminal reaches this program alone, which then ends them in
//! order; and each is told by the kernel to end when this program is gone, whatever ended it.

use super::plan::PlannedBroker;
use crate::exit_status::{ExitStatus, Failure};
use std::fs::OpenOptions;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::{ExitStatus as ProcessStatus, Stdio};
use tokio::process::{Child, Command};
use tokio::task::JoinSet;

/// How a broker ended.
#[derive(Clone, Debug)]
pub(super) struct HowEnded {
    pub(super) said: String,
    /// What this program ends with when that was the first one and all have ended.
    pub(super) status: ExitStatus,
}

/// A broker has ended: its number in the plan, from 0.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) broker: usize,
    pub(super) pid: u32,
    pub(super) how: HowEnded,
}

#[derive(Debug)]
pub(super) struct Processes {
    pids: Vec<u32>,
    is_running: Vec<bool>,
    waiting: JoinSet<(usize, io::Result<ProcessStatus>)>,
}

impl Processes {
    /// Starts each. On the thread that lives as long as the program: the kernel ends them when that one ends.
    pub(super) fn start(brokers: &[PlannedBroker]) -> Result<Self, Failure> {
        let program = std::env::current_exe().map_err(|error| Failure::io("this program cannot be found", &error))?;
        let mut processes = Self { pids: Vec::new(), is_running: Vec::new(), waiting: JoinSet::new() };
        for (number, broker) in brokers.iter().enumerate() {
            let log = OpenOptions::new().create(true).append(true).open(&broker.log);
            let log = log.map_err(|error| super::folder::cannot_write(&broker.log, &error))?;
            let mut command = Command::new(&program);
            command.args(["serve", "--config"]).arg(&broker.settings);
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).process_group(0);
            // SAFETY: between fork and exec one system call is made, which allocates nothing and takes no lock.
            unsafe { command.pre_exec(end_with_parent) };
            // Those that run end with this process.
            let child = command.spawn().map_err(|error| Failure::io(program.display(), &error))?;
            processes.pids.push(child.id().unwrap_or_default());
            processes.is_running.push(true);
            processes.waiting.spawn(wait(number, child));
        }
        Ok(processes)
    }

    pub(super) fn pid(&self, broker: usize) -> u32 {
        self.pids[broker]
    }

    pub(super) fn running(&self) -> usize {
        self.is_running.iter().filter(|runs| **runs).count()
    }

    /// The next broker that ends; never, when none runs.
    pub(super) async fn next_end(&mut self) -> Ended {
        loop {
            match self.waiting.join_next().await {
                Some(Ok((broker, status))) => {
                    self.is_running[broker] = false;
                    return Ended { broker, pid: self.pids[broker], how: how_ended(status) };
                }
                Some(Err(_)) => {}
                None => std::future::pending::<()>().await,
            }
        }
    }

    /// Ends those that run, and waits for them.
    pub(super) async fn stop(mut self) -> Result<(), Failure> {
        for (broker, pid) in self.pids.iter().enumerate() {
            // It has not been waited for, so the number is still its own.
            if self.is_running[broker] && self.waiting_for_has_not_ended(broker) {
                terminate(*pid);
            }
        }
        let mut result = Ok(());
        while self.running() > 0 {
            let Ended { broker, how, .. } = self.next_end().await;
            if how.status != ExitStatus::Success && result.is_ok() {
                result = Err(Failure::new(how.status, format!("broker {} {}", broker + 1, how.said)));
            }
        }
        result
    }

    /// A task that waits takes the number back as soon as the process has ended; what it found out is taken here later.
    fn waiting_for_has_not_ended(&self, broker: usize) -> bool {
        // `/proc` names the process that has the number now, and its parent.
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pids[broker])).unwrap_or_default();
        let behind_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
        behind_name.split_whitespace().nth(1) == Some(&std::process::id().to_string())
    }
}

async fn wait(number: usize, mut child: Child) -> (usize, io::Result<ProcessStatus>) {
    (number, child.wait().await)
}

fn how_ended(status: io::Result<ProcessStatus>) -> HowEnded {
    match status {
        Ok(status) => match (status.code(), status.signal()) {
            (Some(code), _) => HowEnded { said: format!("ended with status {code}"), status: ExitStatus::of_broker(code) },
            (None, signal) => HowEnded {
                said: signal.map_or_else(|| "was killed".to_owned(), |signal| format!("was killed by signal {signal}")),
                status: ExitStatus::Failed,
            },
        },
        Err(error) => HowEnded { said: format!("cannot be waited for: {error}"), status: ExitStatus::Failed },
    }
}

fn terminate(pid: u32) {
    let Ok(pid) = libc::pid_t::try_from(pid) else { return };
    // SAFETY: sends a signal to a child of this process; touches no memory.
    unsafe { libc::kill(pid, libc::SIGTERM) };
}

fn end_with_parent() -> io::Result<()> {
    // SAFETY: sets a number of the calling process; touches no memory.
    match unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGTERM) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
