//! This broker's controller, and the runtime of the control thread that it runs on.
//!
//! The thread begins with the start, because the start itself waits for other controllers, and goes over to `control` once
//! there are shards. Whoever drops this ends it.

use super::ClusterControl;
use crate::cluster_config::{ClusterConfig, ClusterVoter};
use crate::controller_link::{AskedBy, ControllerIdentity, ControllerLinks, ControllerListener, MessageHandler};
use crate::data_folder::DataFolder;
use crate::random::random_bytes;
use crate::start_error::StartError;
use sluice_controller::{ControllerNode, LEASE_MS, NodeConfig, SNAPSHOT_AFTER_LEN};
use sluice_metadata::{ClusterId, FolderId};
use sluice_model::{BrokerId, Incarnation};
use std::io;
use std::net::TcpListener;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

pub(crate) struct ClusterNode {
    pub(crate) node: ControllerNode,
    pub(crate) handle: Handle,
    /// The control thread waits for it.
    control: Option<oneshot::Sender<ClusterControl>>,
    thread: Option<JoinHandle<()>>,
}

/// What other controllers say, given to the node.
struct ForNode(ControllerNode);

impl MessageHandler for ForNode {
    fn on_message(&self, _asked_by: AskedBy, message: Vec<u8>) -> Pin<Box<dyn Future<Output = Vec<u8>> + Send>> {
        let node = self.0.clone();
        Box::pin(async move { node.on_message(&message).await })
    }
}

impl ClusterNode {
    /// Opens the metadata log, listens for the other controllers, and takes part from now on.
    pub(crate) fn open(config: &ClusterConfig, broker: BrokerId, folder: &DataFolder) -> Result<Self, StartError> {
        // A voter that makes its log anew has forgotten what it voted for.
        let log = folder.layout.metadata();
        if folder.incarnation_number() > 0 && !log.try_exists().unwrap_or(true) {
            return Err(StartError::MetadataMissing { path: log });
        }
        let listener = bind(config)?;
        let thread_error = |error: io::Error| StartError::Thread { problem: error.to_string() };
        let runtime = Builder::new_current_thread().enable_all().build().map_err(thread_error)?;
        let handle = runtime.handle().clone();
        let (control, control_parts) = oneshot::channel::<ClusterControl>();
        let run = move || {
            runtime.block_on(async move {
                if let Ok(control) = control_parts.await {
                    control.run().await;
                }
            });
        };
        let thread = std::thread::Builder::new().name("control".to_owned()).spawn(run).map_err(thread_error)?;
        let opened = handle.block_on(open_node(config, broker, folder, listener));
        match opened {
            Ok(node) => Ok(Self { node, handle, control: Some(control), thread: Some(thread) }),
            Err(error) => {
                drop(control);
                join(thread);
                Err(error)
            }
        }
    }

    /// From now on the thread answers shards; it ends when that does.
    pub(crate) fn hand_over(mut self, control: ClusterControl) -> JoinHandle<()> {
        if let Some(waiting) = self.control.take() {
            assert!(waiting.send(control).is_ok(), "the control thread waits for its work");
        }
        self.thread.take().expect("it is given away once")
    }
}

impl Drop for ClusterNode {
    fn drop(&mut self) {
        if let Some(thread) = self.thread.take() {
            self.handle.block_on(self.node.stop());
            drop(self.control.take());
            join(thread);
        }
    }
}

fn join(thread: JoinHandle<()>) {
    if thread.join().is_err() {
        tracing::error!("the control thread panicked");
    }
}

async fn open_node(
    config: &ClusterConfig,
    broker: BrokerId,
    folder: &DataFolder,
    listener: TcpListener,
) -> Result<ControllerNode, StartError> {
    let urandom = |error| StartError::Folder { path: Path::new("/dev/urandom").to_owned(), error };
    // It names this process to its peers, as one that may not be registered yet.
    let incarnation = Incarnation { number: 0, random: u64::from_le_bytes(random_bytes().map_err(urandom)?) };
    let identity = ControllerIdentity { broker, incarnation, secret: config.secret.clone() };
    let links = ControllerLinks::new(identity.clone());
    let voter_address = |voter: &ClusterVoter| (voter.broker, host_and_port(&voter.host, voter.port));
    let address = match &config.controller_advertise {
        Some((host, port)) => host_and_port(host, *port),
        None => config.controller_listen.to_string(),
    };
    let new_cluster_id = if folder.is_new { Some(ClusterId(random_bytes().map_err(urandom)?)) } else { None };
    let node_config = NodeConfig {
        path: folder.layout.metadata(),
        folder_id: FolderId(folder.folder_id),
        broker,
        voters: config.voters.iter().map(voter_address).collect(),
        address,
        founding: new_cluster_id,
        lease: Some(Duration::from_millis(LEASE_MS)),
        snapshot_after_len: SNAPSHOT_AFTER_LEN,
    };
    let node = ControllerNode::open(node_config, Arc::new(links)).await.map_err(StartError::OpenMetadata)?;
    let listening = listener.set_nonblocking(true).and_then(|()| tokio::net::TcpListener::from_std(listener));
    match listening {
        Ok(listener) => {
            tokio::spawn(ControllerListener::new(identity, Arc::new(ForNode(node.clone()))).run(listener));
            Ok(node)
        }
        Err(error) => {
            node.stop().await;
            Err(StartError::Listen { address: config.controller_listen, error })
        }
    }
}

/// Taken before anything is opened, so that a port in use changes nothing.
fn bind(config: &ClusterConfig) -> Result<TcpListener, StartError> {
    TcpListener::bind(config.controller_listen).map_err(|error| StartError::Listen { address: config.controller_listen, error })
}

/// As a name is written in front of a port.
fn host_and_port(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}
