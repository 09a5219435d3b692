//! How a broker stands among the others: who is the controller, and when that was last heard.
//!
//! The control thread writes it, every shard reads it for whoever asks how the cluster is. It is kept apart from the view,
//! which is told again only when something was decided: silence has to show, too.

use sluice_model::BrokerId;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// Clones are the same.
#[derive(Clone, Debug)]
pub(crate) struct Standing(Arc<Mutex<Known>>);

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Known {
    /// `None` while there is none, or it is not known here.
    pub(crate) controller: Option<BrokerId>,
    pub(crate) term: u64,
    pub(crate) voters: Vec<BrokerId>,
    /// When the controller last confirmed this broker's lease.
    pub(crate) heard: Heard,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    /// It stands alone: what it knows is all there is.
    Always,
    At(Instant),
    /// Not since its start.
    Never,
}

impl Standing {
    /// Of a broker without others.
    pub(crate) fn alone(broker: BrokerId) -> Self {
        let known = Known { controller: Some(broker), term: 0, voters: vec![broker], heard: Heard::Always };
        Self(Arc::new(Mutex::new(known)))
    }

    /// Of a broker that has heard of nobody yet.
    pub(crate) fn unknown() -> Self {
        Self(Arc::new(Mutex::new(Known { controller: None, term: 0, voters: Vec::new(), heard: Heard::Never })))
    }

    pub(crate) fn set(&self, known: Known) {
        *self.lock() = known;
    }

    pub(crate) fn get(&self) -> Known {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        // Values are replaced, never left half changed.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    /// Milliseconds since the controller was heard.
    pub(crate) fn heard_ms_ago(&self, now: Instant) -> Option<u64> {
        match self.heard {
            Heard::Always => Some(0),
            Heard::At(at) => Some(u64::try_from(now.saturating_duration_since(at).as_millis()).unwrap_or(u64::MAX)),
            Heard::Never => None,
        }
    }
}
