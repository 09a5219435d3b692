//! The way to one shard for one purpose: a connection that is opened when it is needed and opened again when it ended.

use crate::address::Address;
use crate::backoff::{Backoff, random_u64};
use crate::config::ClientConfig;
use crate::connection::{Connection, Session, connect, lock};
use crate::error::ClientError;
use crate::producer::partition_queue::ConnectionId;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::time::Instant;

/// A connection that stood this long was a good one.
const LASTED: Duration = Duration::from_secs(2);
/// Who leads is asked again while a connection takes longer than this to stand.
const PATIENCE: Duration = Duration::from_millis(200);

/// What a connection is for. Each purpose has its own, so that a large fetch answer never stands before an
/// acknowledgement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Lane {
    Produce,
    Fetch,
    Admin,
}

pub(crate) struct Link {
    address: Address,
    config: ClientConfig,
    session_id: [u8; 16],
    open: Mutex<Option<Connection>>,
    /// Held while connecting, so that all who want the connection share the attempt.
    attempts: tokio::sync::Mutex<Attempts>,
    /// Attempts that have failed so far. Changed only by who holds `attempts`.
    failures: AtomicU64,
}

struct Attempts {
    count: u32,
    backoff: Backoff,
    not_before: Instant,
    opened_at: Option<Instant>,
    last_error: Option<ClientError>,
}

impl Link {
    pub(crate) fn new(address: Address, config: ClientConfig) -> Self {
        let mut session_id = [0; 16];
        session_id[..8].copy_from_slice(&random_u64().to_le_bytes());
        session_id[8..].copy_from_slice(&random_u64().to_le_bytes());
        let backoff = Backoff::new(config.retry_backoff_ms, config.retry_backoff_ms_max, random_u64());
        let attempts = Attempts { count: 0, backoff, not_before: Instant::now(), opened_at: None, last_error: None };
        Self {
            address,
            config,
            session_id,
            open: Mutex::new(None),
            attempts: tokio::sync::Mutex::new(attempts),
            failures: AtomicU64::new(0),
        }
    }

    /// The connection, if it stands.
    pub(crate) fn open(&self) -> Option<Connection> {
        lock(&self.open).clone().filter(|connection| !connection.is_closed())
    }

    /// One attempt to have a connection. `look_elsewhere` is called whenever it takes long, and when it fails.
    pub(crate) async fn connection_or(&self, look_elsewhere: impl Fn()) {
        let mut connecting = std::pin::pin!(self.connection());
        let connected = loop {
            tokio::select! {
                connected = &mut connecting => break connected,
                () = tokio::time::sleep(PATIENCE) => look_elsewhere(),
            }
        };
        if let Err(error) = connected {
            tracing::debug!(address = %self.address, %error, "no connection to a shard");
            look_elsewhere();
        }
    }

    /// Ends this connection, if it still stands: its peer does not answer, and another broker leads what it was sent.
    pub(crate) fn leave(&self, connection: ConnectionId) {
        if let Some(open) = self.open().filter(|open| open.id() == connection) {
            open.close("it does not answer, and another broker leads what was sent to it");
        }
    }

    /// The connection; when it does not stand, one attempt to open it, not before the wait after the last failed one
    /// is over.
    pub(crate) async fn connection(&self) -> Result<Connection, ClientError> {
        if let Some(connection) = self.open() {
            return Ok(connection);
        }
        let failures = self.failures.load(Ordering::Acquire);
        let mut attempts = self.attempts.lock().await;
        if let Some(connection) = self.open() {
            return Ok(connection);
        }
        // Shared is only an attempt that failed while this caller waited. Whoever came after it makes one of its own, or
        // callers that come back at once would hand each other the same old error and nobody would ever try again.
        if self.failures.load(Ordering::Acquire) != failures
            && let Some(error) = attempts.last_error.clone()
        {
            return Err(error);
        }
        tokio::time::sleep_until(attempts.not_before).await;
        if attempts.opened_at.is_some_and(|at| at.elapsed() > LASTED) {
            attempts.backoff.reset();
        }
        attempts.count = attempts.count.wrapping_add(1);
        let connected = connect(&self.address, &self.config, Session { id: self.session_id, attempt: attempts.count }).await;
        // Also after a success: a broker that takes connections and drops them is not to be stormed.
        attempts.not_before = Instant::now() + Duration::from_millis(attempts.backoff.next_ms().into());
        match connected {
            Ok(connection) => {
                attempts.opened_at = Some(Instant::now());
                attempts.last_error = None;
                *lock(&self.open) = Some(connection.clone());
                Ok(connection)
            }
            Err(error) => {
                attempts.last_error = Some(error.clone());
                self.failures.fetch_add(1, Ordering::Release);
                Err(error)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Several producers of one client that come back at once must not keep each other from trying.
    #[tokio::test]
    async fn every_caller_learns_of_an_attempt_that_was_still_to_come() {
        const CALLS: u32 = 20;
        let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let config = ClientConfig { retry_backoff_ms: 1, retry_backoff_ms_max: 1, ..ClientConfig::default() };
        let link = std::sync::Arc::new(Link::new(Address::new("127.0.0.1", nobody.port()), config));
        let callers: Vec<_> = (0..4)
            .map(|_| {
                let link = link.clone();
                tokio::spawn(async move {
                    for _ in 0..CALLS {
                        assert!(link.connection().await.is_err());
                    }
                })
            })
            .collect();
        for caller in callers {
            caller.await.unwrap();
        }
        let count = link.attempts.lock().await.count;
        assert!((CALLS..=4 * CALLS).contains(&count), "{count} attempts for {CALLS} calls of each of four callers");
    }
}
