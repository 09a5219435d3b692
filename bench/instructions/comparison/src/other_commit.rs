//! Another commit, checked out beside this one for as long as it is counted.
//!
//! Its tree lies in a temporary folder, always the same one, under the target folder of the benchmarks; what its build
//! leaves is kept, so that the next comparison has only our own packages to build. Two comparisons at a time are
//! refused, a tree that a broken-off one has left is removed.

use crate::Problem;
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::process::Command;

pub(crate) struct OtherCommit {
    pub(crate) hash: String,
    /// The folder of the benchmarks there.
    pub(crate) package: PathBuf,
    /// Where it is built.
    pub(crate) target_dir: PathBuf,
    /// What has to be known to read the differences.
    pub(crate) notes: Vec<String>,
    repository: PathBuf,
    tree: PathBuf,
    _lock: File,
}

impl OtherCommit {
    /// `package` is the folder of the benchmarks here, `commit` anything that git knows.
    pub(crate) fn check_out(package: &Path, commit: &str) -> Result<Self, Problem> {
        let repository = PathBuf::from(git(package, &["rev-parse", "--show-toplevel"])?);
        let hash = git(package, &["rev-parse", "--verify", "--quiet", &format!("{commit}^{{commit}}")])
            .map_err(|_| format!("git knows no commit {commit:?}"))?;
        let place = place(package);
        std::fs::create_dir_all(&place).map_err(|error| format!("{}: {error}", place.display()))?;
        let lock = lock(&place.join("lock"))?;
        let within = package.strip_prefix(&repository).map_err(|_| format!("{} is not in the repository", package.display()))?;
        let tree = place.join("tree");
        let other = Self {
            hash: hash[..12.min(hash.len())].to_owned(),
            package: tree.join(within),
            // As long as the name of the one that is counted here.
            target_dir: place.join("else"),
            notes: Vec::new(),
            repository,
            tree,
            _lock: lock,
        };
        other.remove();
        let path = other.tree.to_string_lossy().into_owned();
        git(&other.repository, &["worktree", "add", "--force", "--detach", "--quiet", &path, &hash])?;
        other.with_benchmarks(package, within, &hash)
    }

    /// A commit that has no benchmarks is counted with those of here.
    fn with_benchmarks(mut self, package: &Path, within: &Path, hash: &str) -> Result<Self, Problem> {
        if !self.package.join("Cargo.toml").exists() {
            copy(package, &self.package).map_err(|error| format!("the benchmarks cannot be copied: {error}"))?;
            self.notes.push(format!("{} has no benchmarks of its own: those of here were counted there.", self.hash));
            return Ok(self);
        }
        let paths: Vec<String> = ["benches", "src", "Cargo.toml", "Cargo.lock"]
            .iter()
            .map(|name| within.join(name).to_string_lossy().into_owned())
            .collect();
        let mut arguments = vec!["diff", "--quiet", hash, "--"];
        arguments.extend(paths.iter().map(String::as_str));
        if git(&self.repository, &arguments).is_err() {
            let note = "The benchmarks themselves differ between the two: a difference may be theirs. See git diff";
            self.notes.push(format!("{note} {} -- {}", self.hash, within.display()));
        }
        Ok(self)
    }

    fn remove(&self) {
        if self.tree.exists() {
            let path = self.tree.to_string_lossy();
            let _not_a_worktree = git(&self.repository, &["worktree", "remove", "--force", &path]);
            let _removed = std::fs::remove_dir_all(&self.tree);
        }
        let _nothing_to_prune = git(&self.repository, &["worktree", "prune"]);
    }
}

impl Drop for OtherCommit {
    fn drop(&mut self) {
        self.remove();
    }
}

/// Where all that belongs to comparisons is kept.
pub(crate) fn place(package: &Path) -> PathBuf {
    package.join("target").join("compare")
}

fn lock(path: &Path) -> Result<File, Problem> {
    let file = File::create(path).map_err(|error| format!("{}: {error}", path.display()))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(format!("another comparison is under way ({} is locked)", path.display())),
        Err(TryLockError::Error(error)) => Err(format!("{}: {error}", path.display())),
    }
}

/// What git says, when it succeeds.
fn git(dir: &Path, arguments: &[&str]) -> Result<String, Problem> {
    let output = Command::new("git")
        .arg("-C")
        .arg(dir)
        .args(arguments)
        .output()
        .map_err(|error| format!("git does not start: {error}"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned());
    }
    Err(format!("git {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr).trim()))
}

/// Everything but what was built.
fn copy(from: &Path, to: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let (path, name) = (entry.path(), entry.file_name());
        if entry.file_type()?.is_dir() {
            if name != "target" {
                copy(&path, &to.join(name))?;
            }
        } else {
            std::fs::copy(&path, to.join(name))?;
        }
    }
    Ok(())
}
