//! The folder in which peers are installed: one folder for each peer and version, whole or not there.
//!
//! An installation is made under another name and renamed when it is whole, so one that was interrupted is never taken for one
//! that was not. The expensive mistake is to measure a server that is half another version: what is in a folder says who
//! made it, and anything else is refused by name.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use sluice_bench::BenchError;
use sluice_bench::error::at;

use crate::peer::{Peer, Say};

/// Of the layout of this folder.
const LAYOUT: &str = "sluice-bench-peers 1";
const LAYOUT_FILE: &str = "LAYOUT";
const UNFINISHED: &str = "unfinished";

/// Where peers are, and where they are put.
#[derive(Debug)]
pub(crate) struct PeersFolder {
    path: PathBuf,
}

impl PeersFolder {
    /// Makes it when there is none.
    ///
    /// # Errors When it is another version's or cannot be written to.
    pub(crate) fn open(path: &Path) -> Result<Self, BenchError> {
        fs::create_dir_all(path).map_err(at(path))?;
        // The server's working folder is another one.
        let path = path.canonicalize().map_err(at(path))?;
        let layout_path = path.join(LAYOUT_FILE);
        match fs::read_to_string(&layout_path) {
            Ok(layout) if layout.trim_end() == LAYOUT => {}
            Ok(layout) => {
                let found = layout.lines().next().unwrap_or_default().to_owned();
                return Err(BenchError::Option {
                    problem: format!(
                        "{} was made by another version ({found:?}, this is {LAYOUT:?}): name another folder with --peers-dir",
                        path.display()
                    ),
                });
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {
                fs::write(&layout_path, format!("{LAYOUT}\n")).map_err(at(&layout_path))?;
            }
            Err(error) => return Err(at(&layout_path)(error)),
        }
        Ok(Self { path })
    }

    /// Where the peer is.
    ///
    /// # Errors When it is not there.
    pub(crate) fn installed(&self, peer: &dyn Peer) -> Result<PathBuf, BenchError> {
        let path = self.path_of(peer);
        if path.is_dir() {
            return Ok(path);
        }
        let (name, folder) = (peer.name(), self.path.display());
        Err(BenchError::Option {
            problem: format!("not installed (sluice-bench-peers install --peer {name} --folder {folder} does it)"),
        })
    }

    /// Puts the peer there, unless it is.
    ///
    /// # Errors What is missing, and how to get it.
    pub(crate) fn install(&self, peer: &dyn Peer, say: Say<'_>) -> Result<PathBuf, BenchError> {
        if let Ok(path) = self.installed(peer) {
            return Ok(path);
        }
        // Another process may be at the same: each has its own, and the first to be whole stays.
        let unfinished = self.path.join(format!("{}-{UNFINISHED}-{}", peer.name(), std::process::id()));
        remove(&unfinished)?;
        fs::create_dir_all(&unfinished).map_err(at(&unfinished))?;
        let path = self.path_of(peer);
        say(&format!("installing {} {} into {}", peer.name(), peer.version(), path.display()));
        let installed = peer.install(&unfinished, say);
        if installed.is_err() {
            remove(&unfinished)?;
        }
        installed?;
        match fs::rename(&unfinished, &path) {
            Err(_) if path.is_dir() => remove(&unfinished)?,
            renamed => renamed.map_err(at(&path))?,
        }
        say("installed");
        Ok(path)
    }

    fn path_of(&self, peer: &dyn Peer) -> PathBuf {
        self.path.join(format!("{}-{}", peer.name(), peer.version()))
    }
}

fn remove(path: &Path) -> Result<(), BenchError> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(at(path)(error)),
        _ => Ok(()),
    }
}

#[cfg(test)]
#[path = "folder_test.rs"]
mod tests;
