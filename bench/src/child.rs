//! A server that runs as a child of this process: how it is started, explained and ended.
//!
//! The expensive mistake is a server left running: a child dies with the thread that started it, whatever ends that thread,
//! and is killed when it is dropped. What it writes to its standard streams goes into a file, whose end is shown when it
//! fails. Absent: waiting until it serves; every server has its own way to say so.

use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::error::{BenchError, at};
use crate::process::Process;

const LOG_LINES_SHOWN: usize = 15;

/// A server started here. Dropping it kills it and waits until it is gone.
#[derive(Debug)]
pub struct ChildServer {
    child: Child,
    log_path: PathBuf,
}

impl ChildServer {
    /// Starts `command` with nothing on its standard input; what it writes is added to the file at `log_path`. Call it on a
    /// thread that lives as long as the server shall.
    ///
    /// # Errors When the log cannot be written or the program not be started.
    pub fn start(mut command: Command, log_path: &Path) -> Result<Self, BenchError> {
        let log = File::options().create(true).append(true).open(log_path).map_err(at(log_path))?;
        let log_too = log.try_clone().map_err(at(log_path))?;
        command.stdin(Stdio::null()).stdout(log).stderr(log_too);
        // Its own group: Ctrl-C is for the benchmark, which then ends the server itself.
        command.process_group(0);
        die_with_parent(&mut command);
        let program = PathBuf::from(command.get_program());
        let child = command.spawn().map_err(at(&program))?;
        Ok(Self { child, log_path: log_path.to_path_buf() })
    }

    #[must_use]
    pub fn process(&self) -> Process {
        Process::new(self.child.id())
    }

    /// Explains a failure: when the server has ended, that is the reason, and its log says more.
    pub fn explain(&mut self, error: BenchError) -> BenchError {
        let problem = match self.child.try_wait() {
            Ok(Some(status)) => format!("ended with {status}"),
            Ok(None) => return error,
            Err(error) => error.to_string(),
        };
        BenchError::BrokerEnded { problem, log: last_lines(&self.log_path) }
    }

    /// The end of what it has written so far.
    #[must_use]
    pub fn last_lines(&self) -> String {
        last_lines(&self.log_path)
    }
}

impl Drop for ChildServer {
    fn drop(&mut self) {
        // An error means that it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Has the kernel kill the child when the thread that starts it ends, for whatever reason.
pub fn die_with_parent(command: &mut Command) {
    let parent = std::process::id();
    // SAFETY: prctl with these arguments only sets an attribute of the calling process; it and getppid are safe between fork
    // and exec.
    unsafe {
        command.pre_exec(move || {
            if libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) != 0 {
                return Err(std::io::Error::last_os_error());
            }
            // The parent may have ended before it was asked for.
            if libc::getppid().cast_unsigned() == parent { Ok(()) } else { Err(std::io::ErrorKind::BrokenPipe.into()) }
        });
    }
}

/// Every line of a log; none where it cannot be read.
#[must_use]
pub fn log_lines(path: &Path) -> Vec<String> {
    let text = std::fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

fn last_lines(path: &Path) -> String {
    let lines = log_lines(path);
    lines[lines.len().saturating_sub(LOG_LINES_SHOWN)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, Instant};

    fn is_alive(process: Process) -> bool {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", process.id())).unwrap_or_default();
        // Behind the name, which is in brackets: Z is one that has ended and was not waited for.
        stat.rsplit_once(')').is_some_and(|(_, rest)| !rest.trim_start().starts_with(['Z', 'X']))
    }

    fn sleeper(name: &str) -> ChildServer {
        let mut command = Command::new("sleep");
        command.arg("1000");
        let path = std::env::temp_dir().join(format!("sluice-child-{name}-{}", std::process::id()));
        let child = ChildServer::start(command, &path).expect("a child");
        std::fs::remove_file(&path).expect("its log");
        child
    }

    #[test]
    fn a_server_dies_with_the_thread_that_started_it() {
        let started = std::thread::spawn(|| {
            let child = sleeper("thread");
            let process = child.process();
            assert!(is_alive(process));
            std::mem::forget(child);
            process
        });
        let process = started.join().expect("a process");
        let give_up_at = Instant::now() + Duration::from_secs(20);
        while is_alive(process) {
            assert!(Instant::now() < give_up_at, "it outlives its thread");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    #[test]
    fn a_server_that_is_dropped_is_gone_and_one_that_has_ended_is_the_reason() {
        let mut child = sleeper("dropped");
        let process = child.process();
        assert!(matches!(child.explain(BenchError::Interrupted), BenchError::Interrupted), "it runs");
        drop(child);
        assert!(!is_alive(process));
        let mut command = Command::new("sh");
        command.args(["-c", "echo no room; exit 4"]);
        let path = std::env::temp_dir().join(format!("sluice-child-ended-{}", std::process::id()));
        let mut child = ChildServer::start(command, &path).expect("a child");
        child.child.wait().expect("its end");
        let problem = child.explain(BenchError::Interrupted).to_string();
        std::fs::remove_file(&path).expect("its log");
        assert!(problem.contains("exit status: 4") && problem.contains("no room"), "{problem}");
    }
}
