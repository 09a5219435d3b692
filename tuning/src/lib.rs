//! What this host can do, measured: the device probe and the scratch files it needs. Host checks and a plan made from stored
//! figures join later.
//!
//! Nothing here tunes anything by itself and nothing here knows the broker: the figures are yardsticks, taken with plain
//! threads and plain system calls so that no executor of ours can flatter or spoil them.

pub mod direct_file;
pub mod folder;
pub mod latency;
pub mod probe;

pub use folder::{FolderError, ScratchFolder};
pub use latency::{LatencyHistogram, LatencySummary};
pub use probe::{DurableBlockFile, ProbeError, SequentialFile, Throughput};
