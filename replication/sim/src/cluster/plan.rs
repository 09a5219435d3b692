//! What one seed of a cluster is: how many brokers and partitions, how quick its network and devices are, and which faults
//! come how often. Swarm testing, as for one broker: every seed leaves out some kinds of faults.
//!
//! The expensive mistake is a plan that changes with anything but the seed: a failing run could not be played again.

use crate::plan::pick;
use sluice_replica::IsrTimes;
use sluice_storage::testing::random::Random;

/// What befalls a cluster. Their order is part of what a seed means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    Crash,
    Kill,
    PowerLossOfAll,
    Isolate,
    CutOneWay,
    CutFromController,
    LossyLinks,
    SlowLink,
    SlowDisk,
    Freeze,
    Drift,
    DeviceError,
    ElectPreferred,
    HandOver,
    FreshFolder,
    WallClock,
    Shutdown,
}

/// Every fault, its name, and its weight when a seed has it.
pub const FAULTS: &[(Fault, &str, u64)] = &[
    (Fault::Crash, "fault: crash", 20),
    (Fault::Kill, "fault: kill", 8),
    (Fault::PowerLossOfAll, "fault: power loss of all", 4),
    (Fault::Isolate, "fault: isolate", 10),
    (Fault::CutOneWay, "fault: cut one way", 10),
    (Fault::CutFromController, "fault: cut from controller", 8),
    (Fault::LossyLinks, "fault: lossy links", 8),
    (Fault::SlowLink, "fault: slow link", 6),
    (Fault::SlowDisk, "fault: slow disk", 8),
    (Fault::Freeze, "fault: freeze", 6),
    (Fault::Drift, "fault: drift", 4),
    (Fault::DeviceError, "fault: device error", 5),
    (Fault::ElectPreferred, "fault: elect preferred", 6),
    (Fault::HandOver, "fault: hand over", 8),
    (Fault::FreshFolder, "fault: fresh folder", 2),
    (Fault::WallClock, "fault: wall clock", 2),
    (Fault::Shutdown, "fault: shutdown", 4),
];

#[derive(Clone, Debug)]
pub struct ClusterPlan {
    pub seed: u64,
    /// Time with clients and faults, microseconds.
    pub length_us: u64,
    /// Shards of each broker; as many brokers.
    pub shards: Vec<u16>,
    /// Partitions of each topic.
    pub topics: Vec<u32>,
    pub weights: Vec<(Fault, u64)>,
    /// Time from one fault to the next, on average, microseconds.
    pub fault_every_us: u64,
    pub isr_times: IsrTimes,
    /// A message takes at least this long and at most that, microseconds.
    pub delay_us: (u64, u64),
    /// One message in so many is lost, or doubled, or late, while nothing is wrong with the links; 0 for none.
    pub lost_one_in: u64,
    pub doubled_one_in: u64,
    pub late_one_in: u64,
    /// Virtual time that one turn of a task takes, microseconds.
    pub turn_us: u64,
    pub producers: u64,
    /// Time from one batch of a producer to its next, on average, microseconds.
    pub produce_every_us: u64,
    /// Batches of a producer that wait for their answer, at most.
    pub in_flight_max: usize,
    pub body_len_max: u64,
    /// Bytes of frames in one answer to a follower, at most, where the first frame is not longer.
    pub answer_len_max: usize,
    pub journal_file_len: u64,
    pub segment_len: u64,
    pub tail_budget: usize,
    pub write_back_interval_ms: u32,
    pub checkpoint_interval_ms: u32,
    /// What the controller says comes this much later, at most: decisions are in force long before leaders hear of them.
    pub controller_late_us_max: u64,
    /// One acknowledgement in so many is looked for on what the devices would have after a power cut.
    pub audit_one_in: u64,
}

const MS: u64 = 1000;

impl ClusterPlan {
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let mut random = Random::new(seed ^ 0xc1a5_7e40_u64.rotate_left(32));
        let random = &mut random;
        let mut weights = Vec::new();
        for &(fault, _, weight) in FAULTS {
            let is_chosen = random.coin();
            let scale = [1, 2, 4][pick(random, 3)];
            if is_chosen {
                weights.push((fault, weight * scale));
            }
        }
        let brokers = [3, 3, 3, 4, 5][pick(random, 5)];
        let delay = [(20, 200), (50, 1_000), (200, 5_000)][pick(random, 3)];
        let rare = |random: &mut Random| [0, 200, 50, 15][pick(random, 4)];
        Self {
            seed,
            length_us: [1_500, 3_000, 6_000][pick(random, 3)] * MS,
            shards: (0..brokers).map(|_| [1, 1, 2][pick(random, 3)]).collect(),
            topics: (0..=random.below(2)).map(|_| [1, 1, 2, 3][pick(random, 4)]).collect(),
            weights,
            fault_every_us: [60, 200, 600][pick(random, 3)] * MS,
            isr_times: IsrTimes {
                lag_us_max: [150, 400, 1_500][pick(random, 3)] * MS,
                slow_us: [10, 40, 200][pick(random, 3)] * MS,
                slow_for_us: [100, 400][pick(random, 2)] * MS,
                retry_us: [50, 200][pick(random, 2)] * MS,
            },
            delay_us: delay,
            lost_one_in: rare(random),
            doubled_one_in: rare(random),
            late_one_in: rare(random),
            turn_us: [10, 50, 200][pick(random, 3)],
            producers: 1 + random.below(3),
            produce_every_us: [2, 8, 30][pick(random, 3)] * MS,
            in_flight_max: [1, 3, 5][pick(random, 3)],
            body_len_max: [60, 400, 3_000][pick(random, 3)],
            answer_len_max: [500, 4_000, 60_000][pick(random, 3)],
            journal_file_len: [64, 128][pick(random, 2)] * 1024,
            segment_len: [16, 64][pick(random, 2)] * 1024,
            tail_budget: [64, 256][pick(random, 2)] * 1024,
            write_back_interval_ms: [20, 200, 1_000][pick(random, 3)],
            checkpoint_interval_ms: [50, 500][pick(random, 2)],
            controller_late_us_max: [0, 0, 30, 300][pick(random, 4)] * MS,
            audit_one_in: 60,
        }
    }

    /// The next fault; `None` when the seed has none.
    pub fn next_fault(&self, random: &mut Random) -> Option<Fault> {
        let total: u64 = self.weights.iter().map(|(_, weight)| weight).sum();
        let mut at = random.below(total.max(1));
        for &(fault, weight) in &self.weights {
            if at < weight {
                return Some(fault);
            }
            at -= weight;
        }
        None
    }
}

/// Around `mean_us`, and never nothing.
pub fn around(random: &mut Random, mean_us: u64) -> u64 {
    1 + random.below(2 * mean_us)
}

/// How a fault is called in what a run has met.
#[must_use]
pub fn name_of(fault: Fault) -> &'static str {
    FAULTS.iter().find(|(known, ..)| *known == fault).map_or("fault: none", |(_, name, _)| name)
}
