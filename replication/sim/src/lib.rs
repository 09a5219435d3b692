//! The storage simulator: the unchanged `storage`, `replica` and `partition` packages on a disk that fails, a clock
//! that only the simulator moves, and tasks in an order that a seed decides; beside them a model that knows what was
//! promised.
//!
//! One seed is one run, the same every time. The expensive mistake is to believe a simulator that meets nothing:
//! what every run met is counted (`coverage`), and planted bugs have to be found (`plants`). Deliberately absent: the
//! machine ring. Whole clusters, with a network and a controller, are in `cluster`.

pub mod astray;
pub mod audit;
pub mod changed_bits;
pub mod clients;
pub mod clock;
pub mod cluster;
pub mod control;
pub mod coverage;
pub mod faults;
pub mod operations;
pub mod oracle;
pub mod plan;
pub mod plants;
pub mod rot;
pub mod run;
pub mod shard_life;
pub mod sweep;
pub mod trace;
pub mod world;
