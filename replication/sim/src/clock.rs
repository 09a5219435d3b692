//! Time that only the simulator moves. Both clocks stand still while a task has its turn.

use sluice_model::{Clock, Now};
use std::cell::Cell;
use std::rc::Rc;

/// The first reading: 2026-01-01, and a process that is a second old.
const WALL_START_MS: i64 = 1_767_225_600_000;
const MONO_START_US: u64 = 1_000_000;

/// A clone is the same clock.
#[derive(Clone)]
pub struct SimClock(Rc<Cell<Reading>>);

#[derive(Clone, Copy)]
struct Reading {
    now: Now,
    /// Microseconds that have really passed since the run began, whatever either clock says.
    true_us: u64,
    /// Microseconds of the present millisecond that the wall clock does not show.
    wall_rest_us: u64,
}

impl Clock for SimClock {
    fn now(&self) -> Now {
        self.0.get().now
    }
}

impl Default for SimClock {
    fn default() -> Self {
        let now = Now { wall_ms: WALL_START_MS, mono_us: MONO_START_US };
        Self(Rc::new(Cell::new(Reading { now, true_us: 0, wall_rest_us: 0 })))
    }
}

impl SimClock {
    pub fn advance_us(&self, us: u64) {
        let mut reading = self.0.get();
        reading.true_us += us;
        reading.now.mono_us += us;
        let wall_us = reading.wall_rest_us + us;
        reading.now.wall_ms += i64::try_from(wall_us / 1000).expect("runs are short");
        reading.wall_rest_us = wall_us % 1000;
        self.0.set(reading);
    }

    /// The wall clock is set to another time.
    pub fn jump_ms(&self, by: i64) {
        let mut reading = self.0.get();
        reading.now.wall_ms += by;
        self.0.set(reading);
    }

    /// A new process: its monotonic clock begins anew.
    pub fn restart(&self) {
        let mut reading = self.0.get();
        reading.now.mono_us = MONO_START_US;
        self.0.set(reading);
    }

    #[must_use]
    pub fn true_us(&self) -> u64 {
        self.0.get().true_us
    }
}
