//! Whom to ask, and when, until the time is up.

use crate::node::Shared;
use sluice_model::BrokerId;
use std::time::Duration;
use tokio::time::{Instant, sleep_until};

const PAUSE_MIN: Duration = Duration::from_millis(10);
const PAUSE_MAX: Duration = Duration::from_millis(200);

/// Who is believed to be the controller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Whom {
    Here,
    Broker { id: BrokerId, address: String },
}

#[derive(Debug)]
pub(crate) struct Route {
    until: Instant,
    /// The one that was asked last has named it.
    hint: Option<BrokerId>,
    /// Before the next one is asked.
    pause: Option<Duration>,
    next_pause: Duration,
}

impl Route {
    pub(crate) fn until(until: Instant) -> Self {
        Self { until, hint: None, pause: None, next_pause: PAUSE_MIN }
    }

    /// The next one to ask; `None` when the time is up.
    pub(crate) async fn next(&mut self, shared: &Shared) -> Option<Whom> {
        loop {
            if let Some(pause) = self.pause.take() {
                sleep_until(self.until.min(Instant::now() + pause)).await;
            }
            if Instant::now() >= self.until {
                return None;
            }
            if let Some(whom) = whom(shared, self.hint.take()) {
                return Some(whom);
            }
            self.pause_longer();
        }
    }

    /// `asked` does not decide. It may know who does, and is believed at once the first time.
    pub(crate) fn on_not_controller(&mut self, asked: &Whom, leader: Option<BrokerId>) {
        let is_asked = |leader: &BrokerId| matches!(asked, Whom::Broker { id, .. } if id == leader);
        self.hint = leader.filter(|leader| !is_asked(leader));
        if self.hint.is_none() || self.next_pause > PAUSE_MIN {
            return self.pause_longer();
        }
        self.next_pause = PAUSE_MIN * 2;
    }

    /// No answer came.
    pub(crate) fn on_silence(&mut self) {
        self.hint = None;
        self.pause_longer();
    }

    fn pause_longer(&mut self) {
        self.pause = Some(self.next_pause);
        self.next_pause = PAUSE_MAX.min(self.next_pause * 2);
    }
}

fn whom(shared: &Shared, hint: Option<BrokerId>) -> Option<Whom> {
    let own = shared.config.broker;
    if shared.config.is_alone() {
        return Some(Whom::Here);
    }
    let metrics = shared.raft().metrics();
    let metrics = metrics.borrow();
    let known = || metrics.current_leader.and_then(|id| u32::try_from(id).ok()).map(BrokerId);
    let id = hint.or_else(known)?;
    if id == own {
        return Some(Whom::Here);
    }
    let node = metrics.membership_config.membership().get_node(&u64::from(id.0));
    Some(Whom::Broker { id, address: node.map(|node| node.addr.clone()).unwrap_or_default() })
}
