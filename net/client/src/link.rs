//! The way to one shard for one purpose: a connection that is opened when it is needed and opened again when it ended.

use crate::address::Address;
use crate::backoff::{Backoff, random_u64};
use crate::config::ClientConfig;
use crate::connection::{Connection, Session, connect, lock};
use crate::error::ClientError;
use std::sync::Mutex;
use std::time::Duration;
use tokio::time::Instant;

/// A connection that stood this long was a good one.
const LASTED: Duration = Duration::from_secs(2);

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
        Self { address, config, session_id, open: Mutex::new(None), attempts: tokio::sync::Mutex::new(attempts) }
    }

    /// The connection, if it stands.
    pub(crate) fn open(&self) -> Option<Connection> {
        lock(&self.open).clone().filter(|connection| !connection.is_closed())
    }

    /// The connection; when it does not stand, one attempt to open it, not before the wait after the last failed one
    /// is over.
    pub(crate) async fn connection(&self) -> Result<Connection, ClientError> {
        if let Some(connection) = self.open() {
            return Ok(connection);
        }
        let contended = self.attempts.try_lock().is_err();
        let mut attempts = self.attempts.lock().await;
        if let Some(connection) = self.open() {
            return Ok(connection);
        }
        if contended && let Some(error) = attempts.last_error.clone() {
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
                Err(error)
            }
        }
    }
}
