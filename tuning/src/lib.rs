//! What this host is and can do: its checks (`host` reads, `check` judges), the device probe, the scratch files it needs and the
//! file that keeps its figures (`properties`).
//!
//! Nothing here tunes anything unasked and nothing here knows the broker: what it needs comes in as numbers, and figures are
//! yardsticks, taken with plain threads and plain system calls so that no executor of ours can flatter or spoil them.

pub mod check;
pub mod closed_loop;
pub mod direct_file;
pub mod floor;
pub mod folder;
pub mod host;
pub mod latency;
pub mod machine_speed;
pub mod probe;
pub mod properties;
pub mod quantity;
mod stop;

pub use folder::{FolderError, ScratchFolder};
pub use latency::{LatencyHistogram, LatencySummary};
pub use probe::{DurableBlockFile, ProbeError, SequentialFile, Throughput};
pub use properties::Properties;
pub use stop::Stop;
