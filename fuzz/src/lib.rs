//! Every decoder of bytes from outside, as a function over any bytes: none may panic, and what is taken must read back.
//!
//! A function gives back whether the bytes were taken as something good. Behind `cargo fuzz` it is a fuzz target; the
//! program's test `fuzz_corpus` runs it over `corpus/<name>` and over mutations of that, without a fuzzer. The
//! expensive mistake is to fuzz checksums: nothing gets past one by chance, so what carries one is tried as it came and
//! once more with its checksums made good (`seal`). Deliberately absent: the
//! settings file, whose parser is the program's: `fuzz_targets/config.rs` takes that in by its path.

mod metadata;
mod protocol;
mod records;
mod seal;
mod segment;
mod shard;

pub mod seeds;

pub use metadata::{metadata_batch, metadata_snapshot};
pub use protocol::{message, prefix};
pub use records::{decompress, frame, records};
pub use segment::segment;
pub use shard::{checkpoint_slot, journal_group, recovery};
pub use sluice_controller::fuzzing::{controller_command, controller_message, controller_row};

/// Takes any bytes; true when they are something good.
pub type Target = fn(&[u8]) -> bool;

/// Every target with the name that its corpus and its binary have.
pub const TARGETS: [(&str, Target); 14] = [
    ("prefix", prefix),
    ("message", message),
    ("frame", frame),
    ("records", records),
    ("decompress", decompress),
    ("journal_group", journal_group),
    ("checkpoint_slot", checkpoint_slot),
    ("recovery", recovery),
    ("segment", segment),
    ("metadata_batch", metadata_batch),
    ("metadata_snapshot", metadata_snapshot),
    ("controller_message", controller_message),
    ("controller_row", controller_row),
    ("controller_command", controller_command),
];
