//! Controllers together: who decides, what becomes of brokers that die, who catches up, who is not listened to.

mod failover;
mod membership;
mod proposals;
mod support;
