//! The properties file: what `sluice probe` measured of one device, for whoever paces, calibrates or plans by it.
//!
//! A text in TOML that people can read, each figure with its unit. The expensive mistake is to plan from figures that are not
//! this device's, so a file is bound to the device and the machine it was measured on (`identity`), and [`Properties::load`]
//! refuses any other, as it does what is cut, of another version or out of all bounds (`reader`). Deliberately absent: repair,
//! and defaults for what is missing. Measuring again takes two minutes.

mod error;
mod figures;
mod identity;
mod reader;
pub mod testing;
mod writer;

pub use error::{LoadError, PropertiesError};
pub use figures::{Figures, FlushUnderLoad, Latency, Transfer, WriteBesideReads, rate_of};
pub use identity::{DeviceIdentity, Difference, Disk};

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// The one version there is; a file of any other is refused.
pub const VERSION: i64 = 1;
/// Much more than a probe writes, bytes.
pub const FILE_LEN_MAX: u64 = 256 << 10;

/// What a probe measured, when, by which build, and of what.
#[derive(Clone, Debug, PartialEq)]
pub struct Properties {
    /// Whole seconds since 1970.
    pub measured_at: SystemTime,
    /// How long it took, whole milliseconds.
    pub measured_for: Duration,
    /// The program that measured: its version, its commit where that is known, and how it was built.
    pub build: String,
    pub kernel: String,
    pub device: DeviceIdentity,
    pub figures: Figures,
}

/// Where the properties of the device under `data_dir` are looked for unless told otherwise: beside that folder, as
/// `NAME.probe.toml`. Links are followed, so that each name of one folder has the same file.
#[must_use]
pub fn default_path(data_dir: &Path) -> PathBuf {
    let absolute = std::path::absolute(data_dir).unwrap_or_else(|_| data_dir.to_path_buf());
    let mut real = absolute.clone();
    // Of a folder that is not there yet, what holds it may be a link.
    for above in absolute.ancestors() {
        if let (Ok(found), Ok(rest)) = (fs::canonicalize(above), absolute.strip_prefix(above)) {
            real = if rest.as_os_str().is_empty() { found } else { found.join(rest) };
            break;
        }
    }
    let mut name = real.file_name().unwrap_or("root".as_ref()).to_owned();
    name.push(".probe.toml");
    real.parent().unwrap_or(Path::new("/")).join(name)
}

impl Properties {
    /// Reads any text.
    ///
    /// # Errors When it is not whole, not of this version, not of a probe, or out of bounds.
    pub fn parse(text: &str) -> Result<Self, PropertiesError> {
        reader::read(text)
    }

    /// The file's text; [`Self::parse`] reads it back.
    #[must_use]
    pub fn to_text(&self) -> String {
        writer::write(self)
    }

    /// Reads a file, whichever device it is of.
    ///
    /// # Errors When there is none, it cannot be read, or see [`Self::parse`].
    pub fn read(path: &Path) -> Result<Self, LoadError> {
        let own = || path.to_path_buf();
        let text = read_text(path).map_err(|problem| match problem {
            Unreadable::Io(error) if error.kind() == io::ErrorKind::NotFound => LoadError::Missing { path: own() },
            Unreadable::Io(source) => LoadError::Io { path: own(), source },
            Unreadable::Content(error) => LoadError::Content { path: own(), error },
        })?;
        Self::parse(&text).map_err(|error| LoadError::Content { path: own(), error })
    }

    /// Reads the file of `here`.
    ///
    /// # Errors As [`Self::read`], and when it is of another device.
    pub fn load(path: &Path, here: &DeviceIdentity) -> Result<Self, LoadError> {
        let properties = Self::read(path)?;
        let differences = properties.device.differences(here);
        if differences.is_empty() {
            return Ok(properties);
        }
        Err(LoadError::OtherDevice { path: path.to_path_buf(), here: Box::new(here.clone()), differences })
    }

    /// Puts the file in its place whole, or leaves what was there.
    ///
    /// # Errors When it cannot be written, or would not be read: a figure is out of all bounds.
    pub fn store(&self, path: &Path) -> io::Result<()> {
        Self::parse(&self.to_text()).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        let beside = beside(path);
        let written = File::create(&beside).and_then(|mut file| {
            file.write_all(self.to_text().as_bytes())?;
            file.sync_all()?;
            fs::rename(&beside, path)
        });
        if written.is_err() {
            let _ = fs::remove_file(&beside);
        }
        written
    }
}

/// Whether [`Properties::store`] may and can write there, tried before the time for measuring is spent: the folder takes a file,
/// and what stands there, if anything, is a file of a probe, of whatever version and however damaged.
///
/// # Errors In words, without the path.
pub fn may_store(path: &Path) -> Result<(), String> {
    match read_text(path) {
        Ok(text) if reader::is_of_a_probe(&text) || text.trim().is_empty() => {}
        Ok(_) | Err(Unreadable::Content(_)) => return Err("something else stands there, which is not written over".to_owned()),
        Err(Unreadable::Io(error)) if error.kind() == io::ErrorKind::NotFound => {}
        Err(Unreadable::Io(error)) => return Err(error.to_string()),
    }
    let beside = beside(path);
    let tried = File::create(&beside).and_then(|_| fs::remove_file(&beside));
    tried.map_err(|error| format!("it cannot be written: {error}"))
}

fn beside(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.tmp", std::process::id()));
    path.with_file_name(name)
}

enum Unreadable {
    Io(io::Error),
    Content(PropertiesError),
}

fn read_text(path: &Path) -> Result<String, Unreadable> {
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(Unreadable::Io)?;
    // A pipe or a device would be waited for; nothing else than a file has a length.
    if !file.metadata().map_err(Unreadable::Io)?.is_file() {
        return Err(Unreadable::Io(io::Error::new(io::ErrorKind::InvalidInput, "it is no file")));
    }
    file.take(FILE_LEN_MAX + 1).read_to_end(&mut bytes).map_err(Unreadable::Io)?;
    let len = bytes.len() as u64;
    if len > FILE_LEN_MAX {
        return Err(Unreadable::Content(PropertiesError::TooLong { len }));
    }
    String::from_utf8(bytes).map_err(|_| Unreadable::Content(PropertiesError::NotText))
}

#[cfg(test)]
#[path = "properties_test.rs"]
mod tests;
