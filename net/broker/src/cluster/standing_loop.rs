//! How this broker stands among the others, written down now and then for whoever asks a shard.

use crate::standing::{Heard, Known, Standing};
use sluice_controller::{ControllerNode, LeaseState};
use sluice_shard::{FatalReason, fatal};
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};

/// Who leads the controllers is looked at this often.
const LOOK: Duration = Duration::from_millis(200);

/// Runs as long as the runtime does. A renewed lease is the controller's word. An engine that has failed ends the process.
pub(super) async fn keep_standing(node: ControllerNode, mut lease: watch::Receiver<LeaseState>, standing: Standing) {
    let mut looks = interval(LOOK);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut heard = Heard::Never;
    loop {
        tokio::select! {
            _ = looks.tick() => {}
            changed = lease.changed() => {
                if changed.is_err() {
                    return;
                }
                if matches!(*lease.borrow_and_update(), LeaseState::Held { .. }) {
                    heard = Heard::At(Instant::now());
                }
            }
        }
        let status = node.status();
        if let Some(failure) = status.failure {
            // A broker without its controller would be half alive.
            fatal(FatalReason::Metadata(failure));
        }
        standing.set(Known { controller: status.controller, term: status.term, voters: status.voters, heard });
    }
}
