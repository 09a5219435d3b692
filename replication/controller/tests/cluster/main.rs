//! Controllers together: who decides, what becomes of brokers that die, who catches up, who is not listened to.

mod failover;
mod forward;
mod joining;
mod membership;
mod proposals;
mod renewal;
mod support;
