//! What the counted paths are given: the same frames, messages, partitions and disk every time.
//!
//! A count is worth something only when nothing but the code can change it. So there is no clock, no randomness, no
//! map of random order and no device here; whatever a path needs is made, and the path itself warmed up, before
//! counting begins. The expensive mistake is to count the making of the input: a `setup` does it.

pub mod inputs;
pub mod memory_disk;
pub mod shard;

use gungraun::{Callgrind, LibraryBenchmarkConfig};

/// Instructions only, and a copy counted by what it executes: callgrind counts every byte of a `rep movsb` as an
/// instruction, which the C library takes for larger copies unless it is told not to.
#[must_use]
pub fn counting() -> LibraryBenchmarkConfig {
    let mut config = LibraryBenchmarkConfig::default();
    config.tool(Callgrind::with_args(["--cache-sim=no"]));
    config.env("GLIBC_TUNABLES", "glibc.cpu.x86_rep_movsb_threshold=0x40000000:glibc.cpu.x86_rep_stosb_threshold=0x40000000");
    config
}
