//! A small file system in a file, mounted through a loop device: needs root, and says so aloud where it has none.

use crate::common::{PATIENCE, output};
use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::process::Command;
use std::time::Instant;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FileSystem {
    Ext4,
    Xfs,
}

impl FileSystem {
    /// The smallest that is worth a test: mkfs.xfs makes none below 300 MB.
    fn image_len(self) -> u64 {
        match self {
            FileSystem::Ext4 => 192 << 20,
            FileSystem::Xfs => 320 << 20,
        }
    }

    /// Without blocks that are kept for root, or for nobody.
    fn mkfs(self) -> &'static [&'static str] {
        match self {
            FileSystem::Ext4 => &["mkfs.ext4", "-q", "-F", "-m", "0"],
            FileSystem::Xfs => &["mkfs.xfs", "-q", "-f"],
        }
    }
}

/// Mounted until dropped.
pub(crate) struct Mount {
    folder: tempfile::TempDir,
}

impl Mount {
    /// `None`, said aloud, where it cannot be had.
    pub(crate) fn new(file_system: FileSystem) -> Option<Self> {
        match Self::try_new(file_system) {
            Ok(mount) => Some(mount),
            Err(why) => {
                eprintln!("NOT TESTED: a full {file_system:?} file system, because {why}");
                None
            }
        }
    }

    fn try_new(file_system: FileSystem) -> Result<Self, String> {
        let folder = crate::common::folder();
        let owner = std::fs::metadata("/proc/self").map_err(|error| error.to_string())?.uid();
        if owner != 0 {
            return Err("only root may mount one".to_owned());
        }
        let (image, at) = (folder.path().join("image"), folder.path().join("mnt"));
        std::fs::create_dir(&at).map_err(|error| error.to_string())?;
        let made = File::create(&image).and_then(|file| file.set_len(file_system.image_len()));
        made.map_err(|error| error.to_string())?;
        let [program, args @ ..] = file_system.mkfs() else { unreachable!("a program is named") };
        succeed(Command::new(program).args(args).arg(&image))?;
        succeed(Command::new("mount").args(["-o", "loop"]).arg(&image).arg(&at))?;
        Ok(Self { folder })
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.folder.path().join("mnt")
    }

    pub(crate) fn free_len(&self) -> u64 {
        let said = output(Command::new("df").args(["--output=avail", "-B1"]).arg(self.path()));
        let text = String::from_utf8_lossy(&said.stdout).into_owned();
        text.lines().last().and_then(|line| line.trim().parse().ok()).unwrap_or_else(|| panic!("df says {text:?}"))
    }

    /// A file of somebody else's that takes all room but `left`.
    pub(crate) fn fill_up(&self, left: u64) -> PathBuf {
        let path = self.path().join("foreign");
        let len = self.free_len().saturating_sub(left).max(4096);
        let said = output(Command::new("fallocate").args(["-l", &len.to_string()]).arg(&path));
        assert!(said.status.success(), "fallocate {len}: {}", String::from_utf8_lossy(&said.stderr));
        path
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        // The broker has just been killed; the kernel may still be closing its files.
        let began = Instant::now();
        while !output(Command::new("umount").arg(self.path())).status.success() && began.elapsed() < PATIENCE / 10 {
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        let _gone_already = output(Command::new("umount").arg("-l").arg(self.path()));
    }
}

fn succeed(command: &mut Command) -> Result<(), String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let said = command.output().map_err(|error| format!("{name} cannot be run: {error}"))?;
    match said.status.success() {
        true => Ok(()),
        false => Err(format!("{name} failed: {}", String::from_utf8_lossy(&said.stderr).trim())),
    }
}
