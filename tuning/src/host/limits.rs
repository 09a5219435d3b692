//! Limits of this process: locked memory and open descriptors.

use super::root::{Read, Root, Unread};
use std::io;

/// What an executor locks besides its arena, bytes (glommio refuses to start below it).
pub const MEMLOCK_LEN_PER_SHARD: u64 = 512 * 1024;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// RLIMIT_MEMLOCK in bytes; none when unlimited or when this process may lock what it likes (CAP_IPC_LOCK).
    pub memlock_len: Read<Option<u64>>,
    /// RLIMIT_NOFILE, as far as this process may raise it itself.
    pub descriptor_count: Read<u64>,
}

pub(super) fn read(root: &Root) -> Limits {
    let limit = |resource| limit(resource).map_err(|error| Unread::io("the limits of this process", &error));
    Limits {
        memlock_len: limit(libc::RLIMIT_MEMLOCK).and_then(|limit| memlock(limit.rlim_cur, || may_lock_all(root))),
        descriptor_count: limit(libc::RLIMIT_NOFILE).map(|limit| limit.rlim_max),
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
fn memlock(limit: u64, may_lock_all: impl Fn() -> Read<bool>) -> Read<Option<u64>> {
    let free = limit == libc::RLIM_INFINITY || (limit >= MEMLOCK_LEN_PER_SHARD && may_lock_all()?);
    Ok((!free).then_some(limit))
}

fn may_lock_all(root: &Root) -> Read<bool> {
    const CAP_IPC_LOCK: u32 = 14;
    const PATH: &str = "/proc/self/status";
    let status = root.text(PATH)?;
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:")).unwrap_or_default();
    let mask = u64::from_str_radix(effective.trim(), 16).map_err(|_| Unread::malformed(PATH, effective))?;
    Ok(mask >> CAP_IPC_LOCK & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tiny_limit_counts_even_for_those_who_may_lock_all() {
        assert_eq!(memlock(libc::RLIM_INFINITY, || Ok(false)), Ok(None));
        assert_eq!(memlock(8 << 20, || Ok(true)), Ok(None));
        assert_eq!(memlock(8 << 20, || Ok(false)), Ok(Some(8 << 20)));
        assert_eq!(memlock(65_536, || Ok(true)), Ok(Some(65_536)));
        assert!(memlock(8 << 20, || Err(Unread::malformed("status", ""))).is_err());
    }
}
