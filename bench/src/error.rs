//! Why a benchmark ended without a result. Slowness is never among the reasons.

use std::fmt;
use std::io;
use std::path::PathBuf;

use sluice_model::ErrorCode;
use sluice_tuning::{FolderError, ProbeError};

/// Every text says what to do where something can be done.
#[derive(Debug)]
pub enum BenchError {
    /// An option is outside its bounds.
    Option { problem: String },
    /// The yardsticks could not be taken.
    Probe(ProbeError),
    /// A system call of the benchmark itself.
    Io { what: String, source: io::Error },
    /// The benchmark's own broker did not start, or ended before it was told to. `log` is the end of what it wrote.
    BrokerEnded { problem: String, log: String },
    /// Results that cannot be read, or must not be written over.
    Results { problem: String },
    /// The broker could not be reached, or the connection broke.
    Connection { address: String, source: io::Error },
    /// The broker answered with something this program does not understand.
    Protocol { problem: String },
    /// The broker refused a request that the benchmark depends on.
    Refused { what: String, code: u16, text: String },
    /// The user asked for an end.
    Interrupted,
    /// The workload needs the broker's process id, and a broker given by address has none here.
    ProcessUnknown { workload: &'static str },
}

impl BenchError {
    /// A system call that failed while `what` was done or looked at.
    pub fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }

    /// An answer that nothing can be made of.
    pub fn protocol(problem: impl fmt::Display) -> Self {
        Self::Protocol { problem: problem.to_string() }
    }
}

impl fmt::Display for BenchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Option { problem } | Self::Results { problem } => f.write_str(problem),
            Self::Probe(error) => error.fmt(f),
            Self::Io { what, source } => write!(f, "{what}: {source}"),
            Self::BrokerEnded { problem, log } if log.is_empty() => write!(f, "the benchmark's broker: {problem}"),
            Self::BrokerEnded { problem, log } => write!(f, "the benchmark's broker: {problem}; it said last:\n{log}"),
            Self::Connection { address, source } => write!(f, "broker {address}: {source}"),
            Self::Protocol { problem } => write!(f, "the broker's answer: {problem}"),
            Self::Refused { what, code, text } => match ErrorCode::from_u16(*code) {
                Some(code) => write!(f, "{what} was refused ({code:?}): {text}"),
                None => write!(f, "{what} was refused (code {code}): {text}"),
            },
            Self::Interrupted => f.write_str("ended by a signal"),
            Self::ProcessUnknown { workload } => {
                write!(f, "{workload} looks at the broker's process: name it with --broker-pid, or leave --broker out")
            }
        }
    }
}

impl std::error::Error for BenchError {}

impl From<ProbeError> for BenchError {
    fn from(error: ProbeError) -> Self {
        Self::Probe(error)
    }
}

impl From<FolderError> for BenchError {
    fn from(error: FolderError) -> Self {
        Self::Probe(ProbeError::Folder(error))
    }
}

/// The folder's own way of saying that a path could not be used.
pub fn at(path: &std::path::Path) -> impl FnOnce(io::Error) -> BenchError {
    let path: PathBuf = path.to_path_buf();
    move |source| BenchError::Io { what: path.display().to_string(), source }
}
