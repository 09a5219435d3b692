//! What one seed does: shapes, sizes, and how often each operation comes. Swarm testing: every seed leaves out some
//! kinds of operations, because what one kind keeps repairing hides what another breaks.
//!
//! The expensive mistake is a plan that changes with anything but the seed and the mask: a failing run could not be
//! played again.

use sluice_storage::testing::random::Random;

/// The kinds of steps. Their order is part of what a seed means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Operation {
    Produce,
    Retry,
    OldDuplicate,
    BadFrame,
    Fetch,
    Watch,
    DeleteRecords,
    PassTime,
    CreateTopic,
    DeleteTopic,
    AlterTopic,
    CleanStop,
    Kill,
    PowerCut,
    ClockJump,
    Rot,
    DeviceError,
    DiskFull,
    SlowDevice,
    Truncate,
    LoseCheckpoints,
    AcceptLoss,
    Astray,
    FillRing,
}

/// Every operation, its name on the command line, and its weight when a seed has it.
pub const OPERATIONS: &[(Operation, &str, u64)] = &[
    (Operation::Produce, "produce", 400),
    (Operation::Retry, "retry", 60),
    (Operation::OldDuplicate, "old-duplicate", 20),
    (Operation::BadFrame, "bad-frame", 10),
    (Operation::Fetch, "fetch", 120),
    (Operation::Watch, "watch", 20),
    (Operation::DeleteRecords, "delete-records", 12),
    (Operation::PassTime, "pass-time", 60),
    (Operation::CreateTopic, "create-topic", 6),
    (Operation::DeleteTopic, "delete-topic", 4),
    (Operation::AlterTopic, "alter-topic", 8),
    (Operation::CleanStop, "clean-stop", 4),
    (Operation::Kill, "kill", 4),
    (Operation::PowerCut, "power-cut", 10),
    (Operation::ClockJump, "clock-jump", 4),
    (Operation::Rot, "rot", 6),
    (Operation::DeviceError, "device-error", 6),
    (Operation::DiskFull, "disk-full", 8),
    (Operation::SlowDevice, "slow-device", 6),
    (Operation::Truncate, "truncate", 12),
    (Operation::LoseCheckpoints, "lose-checkpoints", 5),
    (Operation::AcceptLoss, "accept-loss", 6),
    (Operation::Astray, "astray", 12),
    (Operation::FillRing, "fill-ring", 8),
];

/// Operations that are not to be done, whatever the seed says: bits in the order of [`OPERATIONS`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Mask(u32);

impl Mask {
    #[must_use]
    pub fn with(self, operation: Operation) -> Self {
        Self(self.0 | 1 << operation as u32)
    }

    #[must_use]
    pub fn has(self, operation: Operation) -> bool {
        self.0 & (1 << operation as u32) != 0
    }

    /// An ordinary run without the operations that are named, with commas between them. An error says which name is none.
    pub fn parse(without: &str) -> Result<Self, String> {
        let mut names = without.split(',').filter(|name| !name.is_empty());
        names.try_fold(Self::default(), |mask, name| Ok(mask.with(operation_called(name)?)))
    }

    /// What the command line has to say for this, with a space before it; nothing for an ordinary run.
    #[must_use]
    pub fn options(self) -> String {
        if self == Self::default() { String::new() } else { format!(" --without {}", self.names()) }
    }

    #[must_use]
    pub fn names(self) -> String {
        OPERATIONS.iter().filter(|(operation, ..)| self.has(*operation)).map(|(_, name, _)| *name).collect::<Vec<_>>().join(",")
    }
}

fn operation_called(name: &str) -> Result<Operation, String> {
    let known = || OPERATIONS.iter().map(|(_, name, _)| *name).collect::<Vec<_>>().join(", ");
    let found = OPERATIONS.iter().find(|(_, known, _)| *known == name);
    found.map(|(operation, ..)| *operation).ok_or_else(|| format!("no operation is called {name}; there are {}", known()))
}

/// The shape of every shard's journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RingShape {
    pub file_len: u64,
    pub file_count: u32,
    pub group_len_target: usize,
}

/// What a seed decides before anything happens.
#[derive(Clone, Debug)]
pub struct Plan {
    pub seed: u64,
    pub steps: u64,
    pub weights: Vec<(Operation, u64)>,
    pub shards_max: u64,
    pub ring: RingShape,
    pub tail_budget: usize,
    pub journal_buffer_budget: u64,
    pub produce_delay_ms_max: u32,
    pub write_back_interval_ms: u32,
    pub checkpoint_interval_ms: u32,
    /// Bodies are at most this long, and usually much shorter when `few_large`.
    pub body_len_max: usize,
    pub few_large: bool,
    /// Turns of the executor after each step, at most.
    pub turns_per_step: u64,
    /// Virtual time that one turn takes, microseconds.
    pub turn_us: u64,
    pub producers: u64,
    pub partitions_max: u64,
    pub changes_ring: bool,
    /// Now and then far more comes at once than the background keeps up with.
    pub has_floods: bool,
}

const KIB: u64 = 1024;

impl Plan {
    /// `steps_max` cuts the run short, to find the shortest one that fails.
    #[must_use]
    pub fn new(seed: u64, mask: Mask, steps_max: Option<u64>) -> Self {
        let mut random = Random::new(seed ^ 0x5eed_0f51_u64.rotate_left(32));
        let mut weights = Vec::new();
        // Of their own, so that a seed without one is the run that it was before there was this operation.
        let mut of_astray = Random::new(seed ^ 0x0a57_4a1d_u64.rotate_left(32));
        let mut of_fill_ring = Random::new(seed ^ 0xf111_4119_u64.rotate_left(32));
        for &(operation, _, weight) in OPERATIONS {
            let random = match operation {
                Operation::Astray => &mut of_astray,
                Operation::FillRing => &mut of_fill_ring,
                _ => &mut random,
            };
            let always = matches!(operation, Operation::Produce | Operation::Fetch | Operation::PassTime);
            // Rot and lost checkpoints are repaired at each start, and hide what else would be met: most seeds are without.
            // So does a power that goes in the middle of everything.
            let is_rare =
                matches!(operation, Operation::Rot | Operation::LoseCheckpoints | Operation::Astray | Operation::FillRing);
            let odds = if is_rare { 4 } else { 2 };
            let chosen = random.below(odds) == 0 || always;
            let scale = [1, 2, 4][pick(random, 3)];
            if chosen && !mask.has(operation) {
                weights.push((operation, weight * scale));
            }
        }
        let ring = ring_shape(&mut random);
        let body_cap = usize::try_from(ring.file_len / 4).expect("small");
        // Smaller than the ring, or larger: what runs out first decides what is refused.
        let tail_budget = (32 * 1024) << pick(&mut random, 6);
        let steps = [60, 120, 200, 300, 450][pick(&mut random, 5)];
        Self {
            seed,
            steps: steps_max.map_or(steps, |max| max.min(steps)),
            weights,
            shards_max: 1 + random.below(4),
            ring,
            tail_budget,
            journal_buffer_budget: [16 * KIB, 64 * KIB, 256 * KIB][pick(&mut random, 3)],
            produce_delay_ms_max: [2, 20, 1000][pick(&mut random, 3)],
            write_back_interval_ms: [20, 200, 1000][pick(&mut random, 3)],
            checkpoint_interval_ms: [50, 500, 2000][pick(&mut random, 3)],
            body_len_max: [300, 2_000, 9_000, 40_000][pick(&mut random, 4)].min(body_cap).min(tail_budget / 4),
            few_large: random.coin(),
            turns_per_step: [2, 8, 30, 100][pick(&mut random, 4)],
            turn_us: [1, 20, 100, 1000][pick(&mut random, 4)],
            producers: 1 + random.below(4),
            partitions_max: 1 + random.below(8),
            changes_ring: random.below(3) == 0,
            has_floods: random.below(3) == 0,
        }
    }

    #[must_use]
    pub fn has(&self, operation: Operation) -> bool {
        self.weights.iter().any(|(chosen, _)| *chosen == operation)
    }

    /// The next operation.
    pub fn next(&self, random: &mut Random) -> Operation {
        let total: u64 = self.weights.iter().map(|(_, weight)| weight).sum();
        let mut at = random.below(total.max(1));
        for &(operation, weight) in &self.weights {
            if at < weight {
                return operation;
            }
            at -= weight;
        }
        Operation::PassTime
    }
}

/// A ring that is small enough to wrap, and whose files are a few groups long.
pub fn ring_shape(random: &mut Random) -> RingShape {
    let file_len = [64 * KIB, 96 * KIB, 128 * KIB, 256 * KIB][pick(random, 4)];
    let file_count = u32::try_from(3 + random.below(4)).expect("small");
    RingShape { file_len, file_count, group_len_target: [16 * 1024, 32 * 1024][pick(random, 2)] }
}

/// An index below `count`.
pub fn pick(random: &mut Random, count: usize) -> usize {
    usize::try_from(random.below(count as u64)).expect("below a usize")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ordinary_run_leaves_out_nothing_but_what_it_is_told_to() {
        let ordinary = Mask::parse("").expect("no names");
        assert!(OPERATIONS.iter().all(|(operation, ..)| !ordinary.has(*operation)));
        assert_eq!(ordinary.options(), "");
        let asked = Mask::parse("astray,kill").expect("known names");
        assert!(asked.has(Operation::Astray) && asked.has(Operation::Kill) && !asked.has(Operation::Rot));
        assert_eq!(asked.options(), " --without kill,astray");
        assert_eq!(Mask::parse("kill,astray"), Ok(asked));
        assert!(Mask::parse("astry").is_err());
    }
}
