//! The child's side of the conversation with `sluice bench run`; `messages` of `sluice_bench` says what is in it.
//!
//! Commands are read by a thread of their own, so that a wish to stop is heard during a round. The end of standard input is the
//! end: whatever ended the parent, no server is left behind.

use std::io::{BufRead, Write};
use std::sync::mpsc::{Receiver, channel};

use sluice_bench::peer::messages::{Answer, Command};
use sluice_bench::{BenchError, Stop, Workload};

use crate::session::Session;

/// What the thread that reads passes on.
enum Heard {
    Measure(Box<Workload>),
    /// A line that is no command.
    Nonsense(String),
}

/// Answers commands until there are no more.
///
/// # Errors When a command cannot be understood, or nobody reads the answers.
pub(crate) fn run(mut session: Session) -> Result<(), BenchError> {
    let stop = Stop::default();
    let commands = listen(stop.clone());
    let talked = say(&Answer::Hello(session.hello())).and_then(|()| talk(&mut session, &commands, &stop));
    session.end();
    talked
}

/// Says, in the place of a hello, that there is nothing to measure.
///
/// # Errors When nobody reads it.
pub(crate) fn refuse(because: &BenchError) -> Result<(), BenchError> {
    say(&Answer::Unstarted { because: because.to_string() })
}

fn talk(session: &mut Session, commands: &Receiver<Heard>, stop: &Stop) -> Result<(), BenchError> {
    for heard in commands {
        match heard {
            Heard::Measure(workload) => say(&session.measure(&workload, stop))?,
            Heard::Nonsense(problem) => {
                return Err(BenchError::Option { problem: format!("standard input holds no command: {problem}") });
            }
        }
    }
    Ok(())
}

/// Ends, and with it the channel, when standard input does.
fn listen(stop: Stop) -> Receiver<Heard> {
    let (heard, commands) = channel();
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            let passed_on = match serde_json::from_str(&line) {
                Ok(Command::Measure(workload)) => heard.send(Heard::Measure(workload)),
                Ok(Command::Stop) => {
                    stop.ask();
                    Ok(())
                }
                Err(error) => heard.send(Heard::Nonsense(error.to_string())),
            };
            if passed_on.is_err() {
                break;
            }
        }
        stop.ask();
    });
    commands
}

fn say(answer: &Answer) -> Result<(), BenchError> {
    let line = serde_json::to_string(answer).map_err(BenchError::protocol)?;
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}").and_then(|()| out.flush()).map_err(BenchError::io("standard output"))
}
