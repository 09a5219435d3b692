//! One core: an executor, its disk, its sockets, its clock, and the budgets that keep it upright.
//!
//! This is the only package that names glommio. The rest of the program sees a thread that runs futures
//! (`run_shard`), a `Disk` (`DirectDisk`), sockets that answer at once (`Sockets`), and values. The expensive mistake
//! is to let a glommio type, or a file system call that may block, leak out of here onto the path of a produce.
//!
//! Deliberately absent: channels of our own. The control thread and a shard talk over a bounded `async-channel`, whose
//! wakers cross threads (`tests/mailbox.rs` proves it with both sides asleep).

pub mod blocking_wait;
pub mod budget;
pub mod clock;
pub mod cores;
pub mod direct_disk;
pub mod executor;
pub mod fatal;
pub mod folder;
pub mod inline_choice;
pub mod metrics;
pub mod pacing;
mod readiness;
pub mod sockets;
mod spawned;
pub mod stall;
pub mod task_queues;
mod task_wakes;
mod timers;
pub mod wake;

pub use blocking_wait::WaitMode;
pub use budget::{Budget, Reservation};
pub use clock::SystemClock;
pub use cores::{CoreReadings, plan_cores};
pub use direct_disk::{DirectBuffer, DirectDisk, DirectFile};
pub use executor::{Shard, ShardConfig, ShardThread, StartError, run_shard};
pub use fatal::{FatalReason, fatal};
pub use folder::FolderProblem;
pub use metrics::{ShardCounters, ShardMetrics};
pub use pacing::{PaceClass, Pacer, PacerConfig, Permit, ProduceActivity};
pub use sockets::{ConnectionId, ConnectionMap, ListenerId, Received, Sent, SocketEvent, Sockets};
pub use task_queues::Queue;
pub use wake::Wake;
