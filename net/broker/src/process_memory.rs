//! How much memory this process has, as the kernel counts it.

/// Bytes; 0 where the kernel does not say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ProcessMemory {
    pub(crate) resident_len: u64,
    /// The most there ever was.
    pub(crate) resident_len_max: u64,
}

impl ProcessMemory {
    /// A read of procfs, which never waits for a device; some ten microseconds, so never on the way of a produce.
    pub(crate) fn read() -> Self {
        std::fs::read_to_string("/proc/self/status").map_or_else(|_| Self::default(), |status| Self::parse(&status))
    }

    fn parse(status: &str) -> Self {
        let len_of = |key: &str| {
            let value = status.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?;
            value.trim().strip_suffix(" kB")?.parse::<u64>().ok()?.checked_mul(1024)
        };
        Self { resident_len: len_of("VmRSS").unwrap_or(0), resident_len_max: len_of("VmHWM").unwrap_or(0) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_lines_are_read() {
        let status = "Name:\tsluice\nVmPeak:\t  900 kB\nVmHWM:\t  300 kB\nVmRSS:\t   20 kB\nThreads:\t4\n";
        assert_eq!(ProcessMemory::parse(status), ProcessMemory { resident_len: 20 << 10, resident_len_max: 300 << 10 });
        assert_eq!(ProcessMemory::parse("VmRSS:\tmany kB\nVmHWM: 18446744073709551615 kB"), ProcessMemory::default());
        let own = ProcessMemory::read();
        assert!(own.resident_len > 0 && own.resident_len <= own.resident_len_max, "{own:?}");
    }
}
