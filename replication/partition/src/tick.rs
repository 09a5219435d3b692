//! What happens because time passes: the idle marker, write-back of what has waited, retention, expiry.

use crate::append_clock::ClockChange;
use crate::partitions::Partitions;
use sluice_model::limits::PRODUCER_EXPIRY_MS;
use sluice_model::{Clock, Now};
use sluice_storage::disk::Disk;

/// One empty group follows the last one when none was issued for this long, microseconds.
const IDLE_MARKER_US: u64 = 10_000;
/// Retention, a full disk and other slow things are looked at this often, microseconds.
const HOUSEKEEPING_US: u64 = 1_000_000;
/// Producers are expired this often, microseconds.
const EXPIRY_US: u64 = 60_000_000;
/// The longest time until the next tick, microseconds.
const TICK_US_MAX: u64 = 50_000;

/// When each of them was done last.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timers {
    last_group_us: u64,
    marker_due: bool,
    housekeeping_us: u64,
    expiry_us: u64,
    pub(crate) last_checkpoint_us: u64,
    pub(crate) retention_wanted: bool,
    pub(crate) removal_wanted: bool,
    pub(crate) clock_jump_ms: Option<i64>,
    pub(crate) clock_settled: bool,
}

impl Timers {
    pub(crate) fn new(now: Now) -> Self {
        Self {
            last_group_us: now.mono_us,
            marker_due: false,
            housekeeping_us: now.mono_us,
            expiry_us: now.mono_us,
            last_checkpoint_us: now.mono_us,
            retention_wanted: false,
            removal_wanted: false,
            clock_jump_ms: None,
            clock_settled: false,
        }
    }

    pub(crate) fn on_group(&mut self, now: Now, has_entries: bool) {
        self.last_group_us = now.mono_us;
        self.marker_due = has_entries;
    }

    fn is_due(last_us: &mut u64, now: Now, interval_us: u64) -> bool {
        if now.mono_us.saturating_sub(*last_us) < interval_us {
            return false;
        }
        *last_us = now.mono_us;
        true
    }
}

impl<D: Disk, C: Clock> Partitions<D, C> {
    /// To be called at least as often as it asks; gives back after how many microseconds it wants the next call.
    pub fn on_tick(&self, now: Now) -> u64 {
        self.observe_clock(now);
        let (housekeeping, expiry, marker_in_us) = {
            let mut timers = self.shared.timers.borrow_mut();
            let housekeeping = Timers::is_due(&mut timers.housekeeping_us, now, HOUSEKEEPING_US);
            let expiry = Timers::is_due(&mut timers.expiry_us, now, EXPIRY_US);
            let waited_us = now.mono_us.saturating_sub(timers.last_group_us);
            (housekeeping, expiry, timers.marker_due.then(|| IDLE_MARKER_US.saturating_sub(waited_us)))
        };
        // A clock that ran ahead would forget producers that may still ask about what they sent last.
        if expiry && self.shared.append_clock.borrow().is_settled() {
            let before_ms = self.shared.append_clock.borrow().append_time_ms(now).saturating_sub(PRODUCER_EXPIRY_MS);
            for cell in self.cells() {
                let mut partition = cell.borrow_mut();
                partition.replica.on_expire_producers(before_ms);
                partition.log.expire_producers(before_ms);
            }
        }
        self.tick_isr(now);
        if housekeeping {
            self.shared.timers.borrow_mut().retention_wanted = true;
            self.want_write_back();
            self.tick_scrub(now);
        }
        match marker_in_us {
            Some(0) if self.shared.journal.queued_len() == 0 => {
                self.shared.timers.borrow_mut().marker_due = false;
                self.shared.journal.request_idle_marker();
                TICK_US_MAX
            }
            Some(wait_us) => wait_us.clamp(1_000, TICK_US_MAX),
            None => TICK_US_MAX,
        }
    }

    /// By how much the wall clock has jumped against the monotonic one, milliseconds, when it has since the last
    /// call; deletion by age waits until it has settled. For the machine to log.
    #[must_use]
    pub fn take_clock_jump(&self) -> Option<i64> {
        self.shared.timers.borrow_mut().clock_jump_ms.take()
    }

    /// Whether the clocks agree again, or the wall clock is believed again, since the last call. For the machine to log.
    #[must_use]
    pub fn take_clock_settled(&self) -> bool {
        std::mem::take(&mut self.shared.timers.borrow_mut().clock_settled)
    }

    fn observe_clock(&self, now: Now) {
        let change = self.shared.append_clock.borrow_mut().observe(now);
        self.note_clock(change);
    }

    pub(crate) fn note_clock(&self, change: ClockChange) {
        let mut timers = self.shared.timers.borrow_mut();
        match change {
            ClockChange::None => {}
            ClockChange::Jumped { by_ms } => timers.clock_jump_ms = Some(by_ms),
            ClockChange::Settled => timers.clock_settled = true,
        }
    }
}
