//! The folder of a stopped broker that a command is about to write to: locked as a broker locks it, from before the first
//! look to after the last write.

use super::folder;
use crate::exit_status::{ExitStatus, Failure};
use clap::Args;
use sluice_storage::layout::Layout;
use std::fs::{File, TryLockError};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

#[derive(Args)]
pub(crate) struct StoppedArgs {
    /// Folder that `sluice serve --data-dir` is given
    #[arg(long, value_name = "DIR", default_value = "sluice-data")]
    pub(crate) data_dir: PathBuf,
    /// Folder of the journals, where it is not the one the broker used last
    #[arg(long, value_name = "DIR")]
    journal_dir: Option<PathBuf>,
}

/// This process's until dropped.
pub(crate) struct Stopped {
    pub(crate) dir: PathBuf,
    pub(crate) layout: Layout,
    _lock: File,
}

impl Stopped {
    pub(crate) fn open(args: &StoppedArgs) -> Result<Self, Failure> {
        let dir = args.data_dir.canonicalize().map_err(|error| {
            Failure::io(args.data_dir.display(), &error).remedy("name the folder that `sluice serve --data-dir` was given")
        })?;
        let lock = lock(&dir)?;
        let reading = |error| Failure::io(format_args!("cannot read {}", dir.display()), &error);
        let mut layout = folder::layout_of(&dir)?;
        if let Some(journal_dir) = &args.journal_dir {
            layout = layout.with_journal_dir(&std::path::absolute(journal_dir).map_err(reading)?);
        }
        Ok(Self { dir, layout, _lock: lock })
    }
}

/// Exclusive, as a broker holds it.
fn lock(dir: &Path) -> Result<File, Failure> {
    let path = Layout::new(dir).lock();
    let file = File::options().read(true).write(true).open(&path).map_err(|error| match error.kind() {
        ErrorKind::NotFound | ErrorKind::NotADirectory => {
            Failure::io(format_args!("{} is no data folder of a broker ({})", dir.display(), path.display()), &error)
                .remedy("name the folder that `sluice serve --data-dir` was given")
        }
        _ => Failure::io(format_args!("cannot lock {}, which is done before anything is written", path.display()), &error)
            .remedy("run it from an account that may write there, on a file system that is writable"),
    })?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            let what = format!("a broker is using {}", dir.display());
            Err(Failure::new(ExitStatus::DataFolderInUse, what).remedy("stop the broker first"))
        }
        Err(TryLockError::Error(error)) => Err(Failure::io(path.display(), &error)),
    }
}
