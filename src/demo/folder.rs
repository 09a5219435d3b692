//! The demo's folder: fresh, on a real device, gone afterwards unless it is to be kept.

use crate::exit_status::{ExitStatus, Failure};
use std::io;
use std::path::{Path, PathBuf};

pub(crate) struct DemoFolder {
    path: PathBuf,
    keep: bool,
}

impl DemoFolder {
    /// Makes a folder that nobody else has in `parent`, or in the current one. What kind of file system it lies on is
    /// the broker's to judge when it starts there.
    pub(crate) fn create(parent: Option<&Path>, keep: bool) -> Result<Self, Failure> {
        let parent = parent.unwrap_or(Path::new("."));
        let failed = |error: io::Error| {
            let what = format!("cannot make a folder for the demo in {}: {error}", parent.display());
            Failure::new(ExitStatus::DataFolder, what).remedy("--data-dir DIR, a folder on a disk that this user may write to")
        };
        std::fs::create_dir_all(parent).map_err(failed)?;
        for number in 0..1000 {
            let path = parent.join(format!("sluice-demo-{}-{number}", std::process::id()));
            match std::fs::create_dir(&path) {
                Ok(()) => return Ok(Self { path, keep }),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(failed(error)),
            }
        }
        Err(failed(io::Error::from(io::ErrorKind::AlreadyExists)))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Removes the folder, or says where it is.
    pub(crate) fn finish(self) {
        if self.keep {
            eprintln!("kept {}", self.path.display());
        }
    }
}

impl Drop for DemoFolder {
    fn drop(&mut self) {
        if self.keep {
            return;
        }
        if let Err(error) = std::fs::remove_dir_all(&self.path) {
            eprintln!("{} could not be removed: {error}", self.path.display());
        }
    }
}
