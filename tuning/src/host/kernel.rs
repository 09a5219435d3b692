//! The kernel: its version, and what `io_uring_setup` answers this process.

use super::root::{Read, Root, Unread, if_there};
use std::fmt;
use std::io;
use std::str::FromStr;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct KernelVersion {
    pub major: u32,
    pub minor: u32,
    pub patch: u32,
}

/// What `io_uring_setup` answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IoUringReading {
    Available,
    /// The kernel was built without it.
    Missing,
    /// Forbidden by `kernel.io_uring_disabled` (its value) or, when that is 0, by a seccomp profile.
    Forbidden {
        sysctl: Read<u32>,
    },
    /// Another error, by number.
    Failed {
        code: i32,
    },
}

pub(super) fn read_version(root: &Root) -> Read<KernelVersion> {
    root.parsed("/proc/sys/kernel/osrelease")
}

/// Asks for one ring of this process and closes it.
pub(super) fn read_io_uring(root: &Root) -> IoUringReading {
    // The parameter block of io_uring_setup is 120 bytes; all zero asks for the defaults.
    let mut parameters = [0_u64; 15];
    // SAFETY: the block is valid for the size the kernel reads and writes.
    let descriptor = unsafe { libc::syscall(libc::SYS_io_uring_setup, 4, parameters.as_mut_ptr()) };
    if descriptor >= 0 {
        // SAFETY: the call has just returned this descriptor; nobody else knows it.
        unsafe { libc::close(descriptor as i32) };
        return IoUringReading::Available;
    }
    match io::Error::last_os_error().raw_os_error() {
        Some(libc::ENOSYS) => IoUringReading::Missing,
        Some(libc::EPERM | libc::EACCES) => IoUringReading::Forbidden { sysctl: read_sysctl(root) },
        code => IoUringReading::Failed { code: code.unwrap_or(0) },
    }
}

/// Kernels before 6.6 have no such sysctl, and forbid nothing by it.
fn read_sysctl(root: &Root) -> Read<u32> {
    if_there(root.parsed("/proc/sys/kernel/io_uring_disabled")).map(|value| value.unwrap_or(0))
}

impl FromStr for KernelVersion {
    type Err = Unread;

    /// `6.18.44-fc-v657`, `6.1`: numbers up to the first thing that is none.
    fn from_str(text: &str) -> Result<Self, Unread> {
        let mut numbers = text.trim().split(['.', '-', '+', '_']).map_while(|part| part.parse().ok());
        let version = |numbers: &mut dyn Iterator<Item = u32>| {
            Some(KernelVersion { major: numbers.next()?, minor: numbers.next()?, patch: numbers.next().unwrap_or(0) })
        };
        version(&mut numbers).ok_or_else(|| Unread::malformed("kernel release", text))
    }
}

impl fmt::Display for KernelVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}
