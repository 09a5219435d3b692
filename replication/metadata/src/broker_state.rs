//! How far a broker's incarnation has got.
//!
//! ```text
//! Recovering ──on_report_recovery──> Fenced ──on_unfence_broker──> Active ──on_begin_shutdown──> ShuttingDown
//!                                       ^                             │                               │
//!                                       └───────────on_lease_ended────┴───────────────────────────────┘
//! ```
//!
//! Every registration begins at `Recovering`, but that of a broker without others, which is `Active` at once
//! (`on_register_broker`). The expensive mistake is to count a broker among those that may lead because it is alive:
//! one that has not said what its recovery found is not asked.

use rkyv::{Archive, Deserialize, Serialize};
use std::fmt;

/// Frozen with version 2 of the records.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum BrokerState {
    /// Registered; what its folder holds is not yet known. It holds no lease.
    Recovering,
    /// It holds no lease: it leads nothing, and nobody waits for it.
    Fenced,
    /// It holds a lease, may lead and may be in sync.
    Active,
    /// It holds a lease still, and gives away what it leads. It comes back only as another incarnation.
    ShuttingDown,
}

impl BrokerState {
    /// Whether what it leads may be led on.
    #[must_use]
    pub fn holds_lease(self) -> bool {
        matches!(self, Self::Active | Self::ShuttingDown)
    }
}

impl fmt::Display for BrokerState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Recovering => "recovering",
            Self::Fenced => "fenced",
            Self::Active => "active",
            Self::ShuttingDown => "shutting down",
        })
    }
}
