//! Why a properties file is not used. Every text says what is wrong and where; what to do is the same for all: measure.

use super::identity::{DeviceIdentity, Difference};
use std::fmt;
use std::io;
use std::path::PathBuf;

/// Without the file's name, which [`LoadError`] adds.
#[derive(Debug)]
pub enum PropertiesError {
    Empty,
    /// Longer than any such file is; bytes.
    TooLong {
        len: u64,
    },
    NotText,
    /// No TOML.
    Syntax {
        line: usize,
        problem: String,
    },
    /// TOML of something else.
    Foreign,
    Version {
        found: String,
        is_newer: bool,
    },
    /// A key, and what is wrong with it.
    Malformed {
        key: String,
        problem: String,
    },
    /// Rows are missing: the file is cut, or was changed.
    RowCount {
        said: usize,
        found: usize,
    },
}

impl fmt::Display for PropertiesError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => write!(f, "it is empty"),
            Self::TooLong { len } => write!(f, "it has {len} bytes or more, which no file of `sluice probe` has"),
            Self::NotText => write!(f, "it is not text in UTF-8"),
            Self::Syntax { line, problem } => write!(f, "line {line}: {problem}; it is cut, or was changed"),
            Self::Foreign => write!(f, "it does not say format = \"sluice-probe\": `sluice probe` has not written it"),
            Self::Version { found, is_newer: true } => {
                write!(f, "it has version {found}, and this program knows none above {}: a newer one wrote it", super::VERSION)
            }
            Self::Version { found, is_newer: false } => write!(f, "its version is {found}, which there has never been"),
            Self::Malformed { key, problem } => write!(f, "{key}: {problem}"),
            Self::RowCount { said, found } => {
                write!(f, "it says that it has {said} rows and has {found}: it is cut, or was changed")
            }
        }
    }
}

/// With the file's name.
#[derive(Debug)]
pub enum LoadError {
    Missing {
        path: PathBuf,
    },
    Io {
        path: PathBuf,
        source: io::Error,
    },
    Content {
        path: PathBuf,
        error: PropertiesError,
    },
    /// It is whole, and of another device or machine.
    OtherDevice {
        path: PathBuf,
        here: Box<DeviceIdentity>,
        differences: Vec<Difference>,
    },
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing { path } => write!(f, "there is no {}: this device was not measured yet", path.display()),
            Self::Io { path, source } => write!(f, "{} cannot be read: {source}", path.display()),
            Self::Content { path, error } => write!(f, "{} cannot be used: {error}", path.display()),
            Self::OtherDevice { path, here, differences } => {
                let differences: Vec<String> = differences.iter().map(ToString::to_string).collect();
                write!(f, "{} was measured on another device than {here}: {}", path.display(), differences.join("; "))
            }
        }
    }
}

impl std::error::Error for PropertiesError {}

impl std::error::Error for LoadError {}
