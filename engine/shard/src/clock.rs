//! The real clocks of this machine, read as one value.
//!
//! Every thread of the process counts `mono_us` from the same moment, so readings of two shards and of the control
//! thread can be compared. Deliberately absent: timers (`Shard::sleep`).

use std::sync::OnceLock;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use sluice_model::{Clock, Now};

/// Both clocks of the machine. Two system calls in user space (vDSO), about 50 ns together.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Now {
        Now { wall_ms: wall_ms(), mono_us: self.mono_us() }
    }
}

impl SystemClock {
    /// Microseconds since the first reading in this process. Never goes back.
    pub fn mono_us(&self) -> u64 {
        u64::try_from(process_start().elapsed().as_micros()).unwrap_or(u64::MAX)
    }
}

fn process_start() -> Instant {
    static START: OnceLock<Instant> = OnceLock::new();
    *START.get_or_init(Instant::now)
}

/// Negative before 1970: a machine without a battery may start there.
fn wall_ms() -> i64 {
    match SystemTime::now().duration_since(UNIX_EPOCH) {
        Ok(since) => i64::try_from(since.as_millis()).unwrap_or(i64::MAX),
        Err(before) => i64::try_from(before.duration().as_millis()).map_or(i64::MIN, |ms| -ms),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mono_never_goes_back_and_wall_is_past_2020() {
        let clock = SystemClock;
        let first = clock.now();
        let second = clock.now();
        assert!(second.mono_us >= first.mono_us);
        assert!(first.wall_ms > 1_577_836_800_000);
    }
}
