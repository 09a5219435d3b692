//! The cluster simulator: three to five brokers, each with a device that loses power, a clock that drifts and one or two
//! shards of the unchanged `storage`, `replica` and `partition` packages; a controller that decides by the unchanged rules
//! of `metadata`; a network that loses, delays, doubles and reorders; producers and consumers.
//!
//! One seed is one run, the same every time. After every event the invariants are looked at (`checks`, `truth`), now and
//! then what the devices would have after a power cut (`audit`); in the end all faults stop, and everything has to heal
//! (`run`). Deliberately absent: the consensus under the controller, encoding, sockets.

pub mod audit;
pub mod broker;
mod checks;
pub mod clients;
pub mod controller;
mod dispatch;
pub mod faults;
pub mod following;
pub mod leading;
pub mod message;
pub mod network;
pub mod plan;
pub mod run;
pub mod shard;
pub mod start;
pub mod truth;
pub mod world;
