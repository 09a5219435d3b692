//! Asking again, with a wait between the rounds, until `request_timeout_ms` is over.
//!
//! Only for what certainly was not done, or does no harm when it is done twice: the caller decides, not this file.

use crate::backoff::{Backoff, random_u64};
use crate::client::Client;
use crate::error::ClientError;
use sluice_model::ErrorCode;
use std::time::Duration;
use tokio::time::Instant;

/// For one answer at least, before the question is put again: to whom it belongs by then.
const PATIENCE_MIN: Duration = Duration::from_secs(1);

/// Rounds of asking, with a wait between them, until the time is up.
pub(crate) struct Rounds {
    began: Instant,
    deadline: Instant,
    backoff: Backoff,
    /// Something was unknown by metadata that may have been old; it is not old any more.
    unknown: bool,
}

impl Rounds {
    pub(crate) fn begin(client: &Client) -> Self {
        let (config, began) = (client.config(), Instant::now());
        Self {
            began,
            deadline: began + client.request_timeout(),
            backoff: Backoff::new(config.retry_backoff_ms, config.retry_backoff_ms_max, random_u64()),
            unknown: false,
        }
    }

    /// How long to wait for the answer of one broker in this round: as long again as it has taken so far. So a leader that
    /// has fallen silent is soon given up for the next one, and one that is merely slow is waited for all the same.
    pub(crate) fn patience(&self) -> Duration {
        let now = Instant::now();
        (now - self.began).max(PATIENCE_MIN).min(self.deadline.saturating_duration_since(now))
    }

    /// Waits before the next round; the error once there is none.
    pub(crate) async fn again(&mut self, error: ClientError) -> Result<(), ClientError> {
        let wait = Duration::from_millis(self.backoff.next_ms().into());
        let is_unknown = matches!(error.code(), Some(ErrorCode::UnknownTopic | ErrorCode::UnknownPartition));
        if is_unknown && std::mem::replace(&mut self.unknown, true) {
            return Err(error);
        }
        if !error.is_transient() || Instant::now() + wait >= self.deadline {
            return Err(error);
        }
        tokio::time::sleep(wait).await;
        Ok(())
    }
}
