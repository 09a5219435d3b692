//! A broker's membership of its cluster, from registration to a clean stop.
//!
//! ```text
//! register ── shards recover ── report ── unfence, once the image is up to date ── renew every LEASE_RENEWAL_MS
//!                                            ^                                        │
//!                                            └────── fenced by the controller ────────┘
//! ```
//!
//! `Member` is the rule: events and the time come in, effects go out. `driver.rs` carries them out, `registration.rs`
//! comes before. The expensive mistake is a lease that is believed for longer than the controller counts it: it begins
//! at the sending of the renewal that was answered, and whoever reads it knows when it ends without being told.
//! Deliberately absent: what shards do about it.

mod driver;
mod error;
mod lease_state;
mod next_step;
mod on_image;
mod on_renewed;
mod on_shutdown;
mod on_submitted;
mod on_time;
mod registration;

pub use driver::Membership;
pub use error::MembershipError;
pub use lease_state::LeaseState;
pub use registration::{Registered, Registration, register};

use crate::command::Command;
use sluice_metadata::{BrokerState, Recovered, ReportRecovery};
use sluice_model::limits::PARTITIONS_PER_COMMAND_MAX;
use sluice_model::{BrokerId, Incarnation, TopicPartition};
use std::collections::VecDeque;
use std::time::Duration;

/// What failed is tried again after this.
const RETRY_PAUSE: Duration = Duration::from_millis(200);
/// How often a broker that shuts down asks whether somebody else can lead by now what it leads.
const HAND_OVER_PAUSE: Duration = Duration::from_millis(500);

/// What is to be done. Commands and renewals are answered, one of each is under way at a time.
#[derive(Debug)]
pub(crate) enum Effect {
    Submit(Command),
    Renew,
    /// The lease ends then; `None`: there is none.
    Lease(Option<Duration>),
    /// Nothing follows.
    End(Result<(), MembershipError>),
}

pub(crate) type Effects = Vec<Effect>;

/// One incarnation of a broker, and what the metadata says of it. Times are of one monotonic clock.
#[derive(Debug)]
pub(crate) struct Member {
    broker: BrokerId,
    incarnation: Incarnation,
    known: Option<Known>,
    /// What is still to be reported.
    report: VecDeque<ReportRecovery>,
    asked: Option<Asked>,
    /// Nothing is asked before.
    retry_at: Option<Duration>,
    is_renewing: bool,
    next_renewal: Duration,
    lease_until: Option<Duration>,
    /// The greatest index of a renewal that granted a lease.
    granted_index: u64,
    heard: Option<Heard>,
    /// It is to stop, and waits for others to lead no longer than until then.
    stop_until: Option<Duration>,
    /// The lease was given up, and none is taken any more.
    has_resigned: bool,
    is_over: bool,
}

/// What the newest image says of this broker.
#[derive(Clone, Copy, Debug)]
struct Known {
    state: BrokerState,
    index: u64,
    leads: bool,
    /// The image that showed it fenced first.
    fenced_index: Option<u64>,
}

/// How far the controller was, and when it said so.
#[derive(Clone, Copy, Debug)]
struct Heard {
    index: u64,
    at: Duration,
}

/// The command that is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    Report,
    Unfence,
    BeginShutdown,
    EndLease,
}

impl Member {
    pub(crate) fn new(broker: BrokerId, incarnation: Incarnation) -> Self {
        Self {
            broker,
            incarnation,
            known: None,
            report: VecDeque::new(),
            asked: None,
            retry_at: None,
            is_renewing: false,
            next_renewal: Duration::ZERO,
            lease_until: None,
            granted_index: 0,
            heard: None,
            stop_until: None,
            has_resigned: false,
            is_over: false,
        }
    }

    /// All shards have recovered: what they found, cut into pieces that one command takes.
    pub(crate) fn on_recovered(&mut self, now: Duration, replicas: &[(TopicPartition, Recovered)], effects: &mut Effects) {
        let Self { broker, incarnation, .. } = *self;
        let piece = |replicas: &[_]| ReportRecovery { broker, incarnation, replicas: replicas.to_vec(), complete: false };
        self.report = replicas.chunks(PARTITIONS_PER_COMMAND_MAX).map(piece).collect();
        if self.report.is_empty() {
            self.report.push_back(piece(&[]));
        }
        if let Some(last) = self.report.back_mut() {
            last.complete = true;
        }
        self.next_step(now, effects);
    }

    fn lose_lease(&mut self, effects: &mut Effects) {
        if self.lease_until.take().is_some() {
            effects.push(Effect::Lease(None));
        }
    }

    fn end(&mut self, result: Result<(), MembershipError>, effects: &mut Effects) {
        if !self.is_over {
            self.is_over = true;
            self.lose_lease(effects);
            effects.push(Effect::End(result));
        }
    }

    fn superseded(&mut self, current: Incarnation, effects: &mut Effects) {
        let Self { broker, incarnation: own, .. } = *self;
        self.end(Err(MembershipError::Superseded { broker, own, current }), effects);
    }
}

#[cfg(test)]
#[path = "member_test.rs"]
mod tests;
