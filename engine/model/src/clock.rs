//! Time as a value. Rules and flow never ask an operating system for it.

/// One reading of both clocks of a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Now {
    /// Milliseconds since 1970-01-01 UTC. May jump in either direction.
    pub wall_ms: i64,
    /// Microseconds since some fixed moment of this process. Never goes back.
    pub mono_us: u64,
}

/// Where a flow that waits for a device learns what time it is afterwards. The machine ring passes the real
/// one, a simulator its virtual one.
pub trait Clock: Clone + 'static {
    fn now(&self) -> Now;
}
