//! One child program, and what it says.
//!
//! Its answers are read by a thread, so that waiting for one never outlasts a wish to stop or a child that says nothing. The
//! child dies with the thread that started it, and its server with the child.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdin, Command as Program, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use super::messages::{Answer, CONVERSATION_VERSION, Command, Hello};
use super::program::PeersProgram;
use crate::child::die_with_parent;
use crate::error::{BenchError, at};
use crate::load::Stop;

/// A child says hello at once.
const HELLO_PATIENCE: Duration = Duration::from_secs(20);
/// A round that is told to stop ends within its own settling, or is given up.
const STOP_PATIENCE: Duration = Duration::from_secs(40);
const LOOK: Duration = Duration::from_millis(50);
/// Time for a child that was told to end to end its server in order.
const END_PATIENCE: Duration = Duration::from_secs(10);

/// What a child is for.
#[derive(Clone, Copy, Debug)]
pub(super) enum ChildJob<'a> {
    /// A system on a server of its own, whose data goes under `data_dir`.
    Serve { system: &'a str, data_dir: &'a Path },
    /// A server that runs already, as `--peer` names it.
    Attach { peer: &'a str },
}

/// A child that has said hello.
#[derive(Debug)]
pub(super) struct PeerChild {
    child: Child,
    /// `None` once it was told to end.
    commands: Option<ChildStdin>,
    answers: Receiver<Result<Answer, String>>,
}

impl PeerChild {
    /// Starts the program with `what` to do, and waits for its hello.
    ///
    /// # Errors When it cannot be started, ends at once or is of another version; when a server given by address is not there.
    pub(super) fn start(program: &PeersProgram, what: &ChildJob<'_>) -> Result<(Self, Hello), BenchError> {
        let mut command = Program::new(&program.path);
        match what {
            ChildJob::Serve { system, data_dir } => {
                command.args(["serve", "--system", system]).arg("--folder").arg(&program.folder).arg("--data-dir").arg(data_dir);
            }
            ChildJob::Attach { peer } => {
                command.args(["attach", "--peer", peer]);
            }
        }
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        // Its own group: Ctrl-C is for the benchmark, which passes it on.
        command.process_group(0);
        die_with_parent(&mut command);
        let mut child = command.spawn().map_err(at(&program.path))?;
        let commands = child.stdin.take();
        let stdout = child.stdout.take().expect("it was piped");
        let (said, answers) = channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                let answer = serde_json::from_str(&line).map_err(|error| format!("{error} in {:.80}", line));
                if said.send(answer).is_err() {
                    break;
                }
            }
        });
        let mut child = Self { child, commands, answers };
        match child.answer(HELLO_PATIENCE, None)? {
            Answer::Hello(hello) if hello.version == CONVERSATION_VERSION => Ok((child, hello)),
            Answer::Hello(hello) => Err(BenchError::Option {
                problem: format!(
                    "{} is of another version ({:?}, this is {CONVERSATION_VERSION:?}): build it again",
                    program.path.display(),
                    hello.version
                ),
            }),
            Answer::Unstarted { because } => {
                let address = match what {
                    ChildJob::Serve { system, .. } => *system,
                    ChildJob::Attach { peer } => peer,
                };
                Err(BenchError::Connection { address: address.to_owned(), source: std::io::Error::other(because) })
            }
            answer => Err(unexpected(&answer)),
        }
    }

    /// Sends one command.
    ///
    /// # Errors When the child has ended.
    pub(super) fn tell(&mut self, command: &Command) -> Result<(), BenchError> {
        let line = serde_json::to_string(command).map_err(BenchError::protocol)?;
        let told = self.commands.as_mut().map(|commands| writeln!(commands, "{line}").and_then(|()| commands.flush()));
        match told {
            Some(Ok(())) => Ok(()),
            _ => Err(self.ended()),
        }
    }

    /// Waits for the next answer; a wish to stop is passed on.
    ///
    /// # Errors When the child ends, says what is no answer, or nothing for longer than `patience`.
    pub(super) fn answer(&mut self, patience: Duration, stop: Option<&Stop>) -> Result<Answer, BenchError> {
        let mut give_up_at = Instant::now() + patience;
        let mut was_told = false;
        loop {
            match self.answers.recv_timeout(LOOK) {
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(problem)) => return Err(BenchError::protocol(format!("sluice-bench-peers said no answer: {problem}"))),
                Err(RecvTimeoutError::Disconnected) => return Err(self.ended()),
                Err(RecvTimeoutError::Timeout) => {}
            }
            if !was_told && stop.is_some_and(Stop::is_asked) {
                was_told = true;
                self.tell(&Command::Stop)?;
                give_up_at = give_up_at.min(Instant::now() + STOP_PATIENCE);
            }
            if Instant::now() > give_up_at {
                return Err(BenchError::protocol("sluice-bench-peers gave no answer in time"));
            }
        }
    }

    fn ended(&mut self) -> BenchError {
        // Its streams close a moment before it can be waited for.
        let problem = match self.wait(Duration::from_secs(1)) {
            Some(status) => format!("sluice-bench-peers ended with {status}"),
            None => "sluice-bench-peers has closed its standard streams".to_owned(),
        };
        BenchError::BrokerEnded { problem, log: String::new() }
    }

    fn wait(&mut self, patience: Duration) -> Option<std::process::ExitStatus> {
        let give_up_at = Instant::now() + patience;
        loop {
            match self.child.try_wait() {
                Ok(Some(status)) => return Some(status),
                Ok(None) if Instant::now() < give_up_at => std::thread::sleep(LOOK / 5),
                _ => return None,
            }
        }
    }
}

impl Drop for PeerChild {
    fn drop(&mut self) {
        // The end of its standard input is its end; one that does not heed it is killed, and its server dies with it.
        self.commands = None;
        if self.wait(END_PATIENCE).is_none() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

pub(super) fn unexpected(answer: &Answer) -> BenchError {
    let kind = match answer {
        Answer::Hello(_) => "hello",
        Answer::Measured(_) => "a measurement",
        Answer::Unstarted { .. } => "that its server does not start",
    };
    BenchError::protocol(format!("sluice-bench-peers said {kind} where something else was due"))
}
