//! Produces that the background does not keep up with, and the power that goes in the middle of them: between a journal
//! file that is written over and the checkpoint that gave it free lie a few calls, and those are where it goes.

use crate::oracle::Violation;
use crate::plan::pick;
use crate::world::World;

/// Produces of one step, at most: more than any ring of a run takes.
const PRODUCES_MAX: usize = 400;
/// Turns after a produce that was taken, and after one that was not: then only the background makes room.
const TURNS_TAKEN: u64 = 4;
const TURNS_REFUSED: u64 = 12;
/// Turns of a call that does not go to the journal.
const SLOW_TURNS: [u64; 3] = [40, 150, 400];

impl World {
    /// Everything but the journal becomes slow, the ring fills, and mostly the power goes before it is empty again; sometimes
    /// with the newest checkpoints, so that the older ones have to do.
    pub(super) fn fill_ring(&mut self) -> Result<(), Violation> {
        let before = (self.faults.is_slow, self.faults.journal_turns_max, self.faults.turns_max);
        let turns_max = SLOW_TURNS[pick(&mut self.random, SLOW_TURNS.len())];
        (self.faults.is_slow, self.faults.journal_turns_max, self.faults.turns_max) = (true, 0, turns_max);
        self.set_speed();
        let count = 1 + pick(&mut self.random, PRODUCES_MAX);
        for _ in 0..count {
            let is_taken = self.produce_some()?;
            self.turns(if is_taken { TURNS_TAKEN } else { TURNS_REFUSED })?;
            if self.failed.is_some() {
                break;
            }
        }
        (self.faults.is_slow, self.faults.journal_turns_max, self.faults.turns_max) = before;
        self.set_speed();
        // A shard that cannot go on ends the process, and the step sees to that.
        if self.failed.is_some() || self.random.below(4) == 0 {
            return Ok(());
        }
        self.cut_power_and_start()
    }
}
