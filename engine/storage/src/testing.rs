//! What tests of every package use: a disk that fails as devices fail, the rules every disk keeps, and executors
//! that run the same way twice. Ordinary modules, no cargo feature.

pub mod busy_shard;
pub mod disk_contract;
pub mod executor;
pub mod fault_astray;
pub mod fault_cuts;
pub mod fault_disk;
mod fault_image;
mod fault_plan;
mod fault_platter;
mod fault_state;
pub mod frames;
pub mod random;
pub mod shard_model;
pub mod test_shard;
