//! Whether this host can run shards: what is read, what is needed, and for each thing missing the setting to change.
//!
//! Reading and judging are apart, so every judgement is tested with made readings. The expensive mistake is a problem
//! found later, in the words of a library that does not know what to change.

use std::fmt;
use std::fs;
use std::io;

/// What was read of the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostReadings {
    pub kernel: KernelVersion,
    pub io_uring: IoUringReading,
    /// RLIMIT_MEMLOCK in bytes; none when unlimited or when this process may lock what it likes (CAP_IPC_LOCK).
    pub memlock_len: Option<u64>,
    /// RLIMIT_NOFILE, as far as this process may raise it itself.
    pub descriptor_count: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct KernelVersion {
    pub major: u32,
    pub minor: u32,
    pub patch: u32,
}

/// What `io_uring_setup` answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IoUringReading {
    Available,
    /// The kernel was built without it.
    Missing,
    /// Forbidden by `kernel.io_uring_disabled` (its value) or, when that is 0, by a seccomp profile.
    Forbidden {
        sysctl: u32,
    },
    /// Another error, by number.
    Failed {
        code: i32,
    },
}

/// What the shards will ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HostNeeds {
    pub shard_count: usize,
    /// `ShardConfig::io_memory_len` of each shard.
    pub io_memory_len: usize,
    /// Descriptors for connections, files and what shards keep for themselves.
    pub descriptor_count: u64,
}

/// Something missing; the message names the remedy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostProblem {
    NoIoUring,
    IoUringForbidden {
        sysctl: u32,
    },
    IoUringFailed {
        code: i32,
    },
    KernelTooOld {
        found: KernelVersion,
    },
    /// Works, but now and then fails a submission for want of memory that is there.
    KernelUnpatched {
        found: KernelVersion,
    },
    LockedMemory {
        found_len: u64,
        needed_len: u64,
    },
    Descriptors {
        found: u64,
        needed: u64,
    },
}

const KERNEL_MIN: KernelVersion = KernelVersion { major: 6, minor: 1, patch: 0 };
/// What an executor locks besides its arena, bytes (glommio refuses to start below it).
const MEMLOCK_LEN_PER_SHARD: u64 = 512 * 1024;
/// Rings that each register the arena.
const RINGS_PER_SHARD: u64 = 3;

impl HostProblem {
    /// Whether the program cannot run; otherwise it is advice. An arena that cannot be locked is used all the same, only
    /// a little slower; below what an executor locks for itself it does not start.
    pub fn is_fatal(&self) -> bool {
        match self {
            HostProblem::KernelUnpatched { .. } => false,
            HostProblem::LockedMemory { found_len, .. } => *found_len < MEMLOCK_LEN_PER_SHARD,
            _ => true,
        }
    }
}

/// Everything that is missing, in the order in which it is best mended.
pub fn judge_host(found: &HostReadings, needs: &HostNeeds) -> Vec<HostProblem> {
    let kernel = judge_kernel(found.kernel);
    let ring = match found.io_uring {
        IoUringReading::Available => None,
        IoUringReading::Missing => Some(HostProblem::NoIoUring),
        IoUringReading::Forbidden { sysctl } => Some(HostProblem::IoUringForbidden { sysctl }),
        IoUringReading::Failed { code } => Some(HostProblem::IoUringFailed { code }),
    };
    let memlock = found.memlock_len.and_then(|found_len| {
        let needed_len = memlock_needed_len(needs);
        (found_len < needed_len).then_some(HostProblem::LockedMemory { found_len, needed_len })
    });
    let descriptors = (found.descriptor_count < needs.descriptor_count)
        .then_some(HostProblem::Descriptors { found: found.descriptor_count, needed: needs.descriptor_count });
    [kernel, ring, memlock, descriptors].into_iter().flatten().collect()
}

/// Bytes of locked memory the shards need.
pub fn memlock_needed_len(needs: &HostNeeds) -> u64 {
    let arena = (needs.io_memory_len as u64).next_multiple_of(4096).saturating_mul(RINGS_PER_SHARD);
    (needs.shard_count as u64).saturating_mul(arena.saturating_add(MEMLOCK_LEN_PER_SHARD))
}

fn judge_kernel(found: KernelVersion) -> Option<HostProblem> {
    if found < KERNEL_MIN {
        return Some(HostProblem::KernelTooOld { found });
    }
    let mended = match (found.major, found.minor) {
        (6, 6) => found.patch >= 86,
        (6, 12) => found.patch >= 21,
        (major, minor) => (major, minor) >= (6, 14),
    };
    (!mended).then_some(HostProblem::KernelUnpatched { found })
}

impl HostReadings {
    /// Reads this host. Creates one ring and closes it.
    pub fn read() -> io::Result<HostReadings> {
        Ok(HostReadings {
            kernel: KernelVersion::read()?,
            io_uring: read_io_uring(),
            memlock_len: read_memlock()?,
            descriptor_count: limit(libc::RLIMIT_NOFILE)?.rlim_max,
        })
    }
}

impl KernelVersion {
    fn read() -> io::Result<KernelVersion> {
        let text = fs::read_to_string("/proc/sys/kernel/osrelease")?;
        KernelVersion::parse(&text).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, format!("kernel release {text:?}")))
    }

    /// `6.18.44-fc-v657`, `6.1`: numbers up to the first thing that is none.
    fn parse(text: &str) -> Option<KernelVersion> {
        let mut numbers = text.trim().split(['.', '-', '+', '_']).map_while(|part| part.parse().ok());
        Some(KernelVersion { major: numbers.next()?, minor: numbers.next()?, patch: numbers.next().unwrap_or(0) })
    }
}

/// Raises the soft limit of open descriptors to the hard one; returns what holds then.
pub fn raise_descriptor_limit() -> io::Result<u64> {
    let mut limit = limit(libc::RLIMIT_NOFILE)?;
    limit.rlim_cur = limit.rlim_max;
    // SAFETY: the structure is valid for the duration of the call.
    if unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &limit) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(limit.rlim_cur)
}

fn limit(resource: libc::__rlimit_resource_t) -> io::Result<libc::rlimit> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the structure is valid for the duration of the call.
    if unsafe { libc::getrlimit(resource, &mut limit) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(limit)
}

/// glommio itself asks for its 512 KiB even of those who may lock what they like, so a tiny limit counts for them too.
fn read_memlock() -> io::Result<Option<u64>> {
    let limit = limit(libc::RLIMIT_MEMLOCK)?.rlim_cur;
    let free = limit == libc::RLIM_INFINITY || (may_lock_all() && limit >= MEMLOCK_LEN_PER_SHARD);
    Ok((!free).then_some(limit))
}

fn may_lock_all() -> bool {
    const CAP_IPC_LOCK: u32 = 14;
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    effective.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_some_and(|mask| mask >> CAP_IPC_LOCK & 1 == 1)
}

fn read_io_uring() -> IoUringReading {
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
        Some(libc::EPERM | libc::EACCES) => IoUringReading::Forbidden { sysctl: read_sysctl() },
        code => IoUringReading::Failed { code: code.unwrap_or(0) },
    }
}

fn read_sysctl() -> u32 {
    let text = fs::read_to_string("/proc/sys/kernel/io_uring_disabled").unwrap_or_default();
    text.trim().parse().unwrap_or(0)
}

impl fmt::Display for KernelVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

impl fmt::Display for HostProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HostProblem::NoIoUring => write!(
                f,
                "io_uring is not there (io_uring_setup: ENOSYS): either this kernel was built without it (CONFIG_IO_URING), or a \
                 container's seccomp profile hides it; allow io_uring_setup, io_uring_enter and io_uring_register there"
            ),
            HostProblem::IoUringForbidden { sysctl: 0 } => write!(
                f,
                "io_uring is forbidden, most likely by a container's seccomp profile (Docker's and containerd's default): allow \
                 io_uring_setup, io_uring_enter and io_uring_register in a profile of your own (--security-opt seccomp=FILE)"
            ),
            HostProblem::IoUringForbidden { sysctl } => write!(
                f,
                "io_uring is forbidden by the sysctl kernel.io_uring_disabled = {sysctl}: set it to 0, or to 1 and put this user's \
                 group into kernel.io_uring_group"
            ),
            HostProblem::IoUringFailed { code } => {
                write!(f, "io_uring_setup failed: {}", io::Error::from_raw_os_error(*code))
            }
            HostProblem::KernelTooOld { found } => {
                write!(f, "the kernel is {found}; at least {KERNEL_MIN} is needed (6.6.86, 6.12.21, 6.14 or newer is advised)")
            }
            HostProblem::KernelUnpatched { found } => {
                write!(
                    f,
                    "the kernel is {found}; 6.6.86, 6.12.21, 6.14 or newer is advised (older ones fail now and then with ENOMEM)"
                )
            }
            HostProblem::LockedMemory { found_len, .. } if self.is_fatal() => write!(
                f,
                "the limit of locked memory is {} KiB and a broker starts with at least {} KiB: raise it (ulimit -l {}, \
                 LimitMEMLOCK={MEMLOCK_LEN_PER_SHARD} in a systemd unit, --ulimit memlock={MEMLOCK_LEN_PER_SHARD} for a container)",
                found_len / 1024,
                MEMLOCK_LEN_PER_SHARD / 1024,
                MEMLOCK_LEN_PER_SHARD / 1024
            ),
            HostProblem::LockedMemory { found_len, needed_len } => write!(
                f,
                "the limit of locked memory is {} KiB; with {} KiB every I/O buffer would be locked and I/O a little quicker: raise it \
                 (ulimit -l {}, LimitMEMLOCK={needed_len} in a systemd unit, --ulimit memlock={needed_len} for a container), or give \
                 fewer shards",
                found_len / 1024,
                needed_len.div_ceil(1024),
                needed_len.div_ceil(1024)
            ),
            HostProblem::Descriptors { found, needed } => write!(
                f,
                "the limit of open files is {found} and {needed} are needed: raise it (ulimit -n {needed}, LimitNOFILE={needed} in a \
                 systemd unit)"
            ),
        }
    }
}

#[cfg(test)]
#[path = "host_test.rs"]
mod tests;
