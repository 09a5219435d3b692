//! The connections of one controller to the others, one for each address.

use super::ControllerIdentity;
use super::dial::{Outgoing, run_connection};
use sluice_model::BrokerId;
use sluice_model::limits::CONTROLLER_MESSAGE_LEN_MAX;
use sluice_protocol::ControllerMessageKind;
use std::collections::HashMap;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::{mpsc, oneshot};

/// Calls that wait for one connection to take them.
const CALLS_WAITING_MAX: usize = 64;

type Connections = HashMap<(BrokerId, String), mpsc::Sender<Outgoing>>;

/// Carries messages to other controllers. Clones are the same connections.
#[derive(Clone)]
pub struct ControllerLinks {
    identity: ControllerIdentity,
    connections: Arc<Mutex<Connections>>,
}

impl ControllerLinks {
    #[must_use]
    pub fn new(identity: ControllerIdentity) -> Self {
        Self { identity, connections: Arc::default() }
    }

    /// Carries `message` to broker `to`'s controller at `address` (`host:port`) and its answer back. Call on a tokio
    /// runtime. A future that is dropped has given the call up.
    ///
    /// # Errors
    /// No answer came; the message may have arrived all the same.
    pub fn call(
        &self,
        to: BrokerId,
        address: &str,
        kind: ControllerMessageKind,
        message: Vec<u8>,
    ) -> Pin<Box<dyn Future<Output = io::Result<Vec<u8>>> + Send>> {
        if message.len() > CONTROLLER_MESSAGE_LEN_MAX {
            let problem = format!("a message of {} bytes, at most {CONTROLLER_MESSAGE_LEN_MAX} are allowed", message.len());
            return Box::pin(std::future::ready(Err(io::Error::new(io::ErrorKind::InvalidInput, problem))));
        }
        let (answer, answered) = oneshot::channel();
        let connection = self.connection(to, address);
        Box::pin(async move {
            let call = Outgoing { kind, message, answer };
            connection.send(call).await.map_err(|_| io::Error::from(io::ErrorKind::ConnectionAborted))?;
            answered.await.map_err(|_| io::Error::from(io::ErrorKind::ConnectionAborted))?
        })
    }

    /// The open connection, or one that is begun now.
    fn connection(&self, to: BrokerId, address: &str) -> mpsc::Sender<Outgoing> {
        let mut connections = self.connections.lock().unwrap_or_else(PoisonError::into_inner);
        connections.retain(|_, connection| !connection.is_closed());
        let key = (to, address.to_owned());
        let connection = connections.entry(key).or_insert_with(|| {
            let (sender, calls) = mpsc::channel(CALLS_WAITING_MAX);
            tokio::spawn(run_connection(self.identity.clone(), to, address.to_owned(), calls));
            sender
        });
        connection.clone()
    }
}

const _: () = assert!(sluice_controller::CONTROLLER_MESSAGE_LEN_MAX <= CONTROLLER_MESSAGE_LEN_MAX);

impl sluice_controller::Transport for ControllerLinks {
    fn call(&self, to: BrokerId, address: &str, message: Vec<u8>) -> sluice_controller::Call {
        Self::call(self, to, address, ControllerMessageKind::Raft, message)
    }
}
