//! Asking again, with a wait between the rounds, until `request_timeout_ms` is over.
//!
//! Only for what certainly was not done, or does no harm when it is done twice: the caller decides, not this file. The
//! expensive mistake is to end with the last silence, which only says that the time was up, and to keep back what a broker
//! had said before.

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
    /// What a broker said last.
    said: Option<(ErrorCode, String)>,
}

impl Rounds {
    pub(crate) fn begin(client: &Client) -> Self {
        let (config, began) = (client.config(), Instant::now());
        Self {
            began,
            deadline: began + client.request_timeout(),
            backoff: Backoff::new(config.retry_backoff_ms, config.retry_backoff_ms_max, random_u64()),
            unknown: false,
            said: None,
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
        self.wait(error, wait).await
    }

    /// As `again`, after an error of the broker that leads a partition by metadata: it may not have heard yet of a topic that
    /// was created elsewhere a moment ago. Whether the topic is there is for metadata to say.
    pub(crate) async fn again_at_leader(&mut self, error: ClientError) -> Result<(), ClientError> {
        let wait = Duration::from_millis(self.backoff.next_ms().into());
        self.wait(error, wait).await
    }

    async fn wait(&mut self, error: ClientError, wait: Duration) -> Result<(), ClientError> {
        if !error.is_transient() {
            return Err(error);
        }
        if Instant::now() + wait >= self.deadline {
            return Err(self.end_with(error));
        }
        if let ClientError::Broker { code, text } = error {
            self.said = Some((code, text));
        }
        tokio::time::sleep(wait).await;
        Ok(())
    }

    /// The error when the time is up: of a silence, what had been said before it.
    fn end_with(&mut self, last: ClientError) -> ClientError {
        match (last, self.said.take()) {
            (last @ (ClientError::Lost { .. } | ClientError::Unreachable { .. }), Some((code, text))) => {
                ClientError::Broker { code, text: format!("{text}; asked again until the time was up, at last: {last}") }
            }
            (last, _) => last,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rounds(deadline: Instant) -> Rounds {
        Rounds { began: Instant::now(), deadline, backoff: Backoff::new(1, 1, 1), unknown: false, said: None }
    }

    fn lost() -> ClientError {
        ClientError::Lost { address: "a:1".into(), text: "no answer".into() }
    }

    #[tokio::test]
    async fn a_silence_at_the_end_does_not_hide_what_was_said_before() {
        let hour = Instant::now() + Duration::from_secs(3600);
        let not_ready = ClientError::Broker { code: ErrorCode::NotReady, text: "it is being opened".into() };
        for last in [lost(), ClientError::Unreachable { tried: vec![("a:1".into(), "refused".into())] }] {
            let mut rounds = rounds(hour);
            rounds.again(not_ready.clone()).await.unwrap();
            rounds.again(lost()).await.unwrap();
            rounds.deadline = Instant::now();
            let error = rounds.again(last.clone()).await.unwrap_err();
            assert_eq!(error.code(), Some(ErrorCode::NotReady));
            let text = error.to_string();
            assert!(text.contains("it is being opened") && text.contains(&last.to_string()), "{text}");
        }
    }

    #[tokio::test]
    async fn what_is_known_at_the_end_counts_more_than_what_was_said_before() {
        let mut rounds = rounds(Instant::now() + Duration::from_secs(3600));
        rounds.again(ClientError::Broker { code: ErrorCode::NotReady, text: String::new() }).await.unwrap();
        rounds.deadline = Instant::now();
        let no_leader = ClientError::NoLeader { topic: "t".into(), partition: 0 };
        assert_eq!(rounds.again(no_leader.clone()).await, Err(no_leader));
    }
}
