//! Asking again, with a wait between the rounds, until `request_timeout_ms` is over.
//!
//! Only for what certainly was not done, or does no harm when it is done twice: the caller decides, not this file.

use crate::backoff::{Backoff, random_u64};
use crate::client::Client;
use crate::error::ClientError;
use sluice_model::ErrorCode;
use std::time::Duration;
use tokio::time::Instant;

/// Rounds of asking, with a wait between them, until the time is up.
pub(crate) struct Rounds {
    deadline: Instant,
    backoff: Backoff,
    /// Something was unknown by metadata that may have been old; it is not old any more.
    unknown: bool,
}

impl Rounds {
    pub(crate) fn begin(client: &Client) -> Self {
        let config = client.config();
        Self {
            deadline: Instant::now() + client.request_timeout(),
            backoff: Backoff::new(config.retry_backoff_ms, config.retry_backoff_ms_max, random_u64()),
            unknown: false,
        }
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
