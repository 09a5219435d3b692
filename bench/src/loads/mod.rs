//! Loads that are no open loop: one request outstanding, none at all, and a broker that is killed.

mod closed;
mod idle;
mod restart;

pub use closed::measure_closed;
pub use idle::measure_idle;
pub use restart::{RestartLog, RestartScene};
