//! Replication over the network: a shard that leads serves the shards that follow it, and a shard that follows fetches.
//!
//! Both run in the data task, which alone may wait for the shard's sockets: a follower's answer is appended, and its next
//! fetch sent, in the turn in which it came. The leader's end is `leading` (and the handlers of the three requests), the
//! follower's end is `following`, one `fetcher` for each shard it follows. What has to read the disk or to wait is done by
//! a few tasks (`reads`). The rules are `sluice_replica`'s, the logs `sluice_partition`'s.
//!
//! The expensive mistake is an answer that is taken for one to another fetch; sessions number the requests, and every
//! partition's entry names the leader epoch and the offset that it answers. Deliberately absent: who leads what (`view`).

pub(crate) mod backoff;
pub(crate) mod beginnings;
pub(crate) mod convert;
pub(crate) mod fetcher;
pub(crate) mod following;
pub(crate) mod gather;
pub(crate) mod introduce;
pub(crate) mod leading;
pub(crate) mod on_leader_answer;
pub(crate) mod on_lease;
pub(crate) mod propose_isr;
pub(crate) mod reads;
pub(crate) mod resolve;
pub(crate) mod serve_follower;
pub(crate) mod tell_repaired;
