//! How a broker that is one of several comes to its incarnation: it takes part in the metadata log, waits until a controller
//! is there, looks whether this start is one that may be recorded, and registers.
//!
//! Nothing of the folder is changed before it is registered but the metadata log, and nothing is served. The expensive
//! mistake is to record a start that would move partitions off a shard that has lost its checkpoints, so what the metadata
//! would say of it is foreseen.

use super::ClusterNode;
use crate::cancel::Cancel;
use crate::cluster_config::ClusterConfig;
use crate::data_folder::DataFolder;
use crate::preparation::{held_partitions, refuse_lost_data, refuse_moves, refuse_other_broker, warn_of_older_metadata};
use crate::random::random_bytes;
use crate::start_error::StartError;
use crate::view::View;
use sluice_controller::{AppliedImage, Command, CommandError, ControllerNode, Registration, register};
use sluice_metadata::{Address, Batch, ElectPreferredLeaders, FolderId, Image, RegisterBroker, Start, on_register_broker};
use sluice_model::{BrokerId, Incarnation};
use sluice_partition::Survey;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// Between two questions whether a controller is there.
const PAUSE: Duration = Duration::from_millis(100);
/// It is said this often that there is none.
const COMPLAINT_INTERVAL: Duration = Duration::from_secs(5);

/// A broker that takes part, and what it is.
pub(crate) struct InCluster {
    pub(crate) node: ClusterNode,
    pub(crate) image: AppliedImage,
    pub(crate) incarnation: Incarnation,
    /// To move partitions between shards under.
    pub(crate) moving: Incarnation,
}

/// What this start brings along.
pub(crate) struct Brought<'a> {
    pub(crate) broker: BrokerId,
    pub(crate) folder: &'a mut DataFolder,
    pub(crate) survey: &'a Survey,
    pub(crate) shard_count: usize,
    pub(crate) addresses: Vec<Address>,
}

pub(crate) fn start_in_cluster(config: &ClusterConfig, brought: Brought<'_>, cancel: &Cancel) -> Result<InCluster, StartError> {
    let node = ClusterNode::open(config, brought.broker, brought.folder)?;
    let work = registered(&node.node, config, brought);
    let (image, incarnation, moving) = node.handle.block_on(async {
        tokio::select! {
            result = work => result,
            () = cancel.cancelled() => Err(StartError::Cancelled),
        }
    })?;
    Ok(InCluster { node, image, incarnation, moving })
}

async fn registered(
    node: &ControllerNode,
    config: &ClusterConfig,
    brought: Brought<'_>,
) -> Result<(AppliedImage, Incarnation, Incarnation), StartError> {
    let Brought { broker, folder, survey, shard_count, addresses } = brought;
    let image = await_controller(node).await?;
    refuse_other_broker(broker, folder, &image)?;
    refuse_lost_data(broker, folder, &image, survey)?;
    warn_of_older_metadata(broker, &image, survey);
    let mut held = held_partitions(survey);
    // The number before the registered one is for moving partitions.
    held.incarnation_number = held.incarnation_number.max(folder.incarnation_number()).saturating_add(1);
    let urandom = |error| StartError::Folder { path: "/dev/urandom".into(), error };
    let registration = Registration {
        folder_id: FolderId(folder.folder_id),
        addresses,
        held,
        rack: config.rack.clone(),
        replaces_folder: config.replaces_folder,
        random: u64::from_le_bytes(random_bytes().map_err(urandom)?),
    };
    if let Some(foreseen) = foresee(&image, broker, &registration) {
        refuse_moves(&View { broker, image: Arc::new(foreseen) }, survey, shard_count)?;
    }
    let registered = register(node, registration).await.map_err(StartError::Membership)?;
    let moving = folder.begin_registered(registered.incarnation)?;
    Ok((registered.image, registered.incarnation, moving))
}

/// Waits until somebody decides commands; the image is as new as that.
async fn await_controller(node: &ControllerNode) -> Result<Arc<Image>, StartError> {
    let mut complaint_due = Instant::now() + COMPLAINT_INTERVAL;
    loop {
        // It changes nothing.
        let nothing = Command::ElectPreferredLeaders(ElectPreferredLeaders { partitions: Vec::new() });
        match node.submit(nothing).await {
            Ok(_) => return Ok(node.image().image),
            Err(error @ (CommandError::Refused(_) | CommandError::Store(_))) => {
                return Err(StartError::Metadata { problem: error.to_string() });
            }
            Err(error) if Instant::now() >= complaint_due => {
                complaint_due = Instant::now() + COMPLAINT_INTERVAL;
                complain(node, &error);
            }
            Err(_) => {}
        }
        sleep(PAUSE).await;
    }
}

fn complain(node: &ControllerNode, error: &CommandError) {
    let status = node.status();
    if let Some(foreign) = status.foreign {
        tracing::error!(
            broker = foreign.broker.0,
            "a broker of another cluster answers: `cluster_voters` names a wrong address, or one of both brokers has the data \
             folder of another cluster"
        );
    }
    let voters = status.voters.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    tracing::warn!(
        voters, term = status.term, %error,
        "no controller answers: a majority of the voters has to run, be reachable at the addresses of `cluster_voters`, and have \
         the same cluster secret; waiting"
    );
}

/// What a registration would lead to; `None` where it will be refused, which says more.
fn foresee(image: &Image, broker: BrokerId, registration: &Registration) -> Option<Image> {
    let number = image.next_incarnation_number(broker).max(registration.held.incarnation_number.saturating_add(1));
    let request = RegisterBroker {
        broker,
        incarnation: Incarnation { number, random: registration.random },
        folder_id: registration.folder_id,
        addresses: registration.addresses.clone(),
        held: registration.held.clone(),
        start: Start::InCluster { rack: registration.rack.clone(), replaces_folder: registration.replaces_folder },
    };
    let mut image = image.clone();
    image.apply_batch(&Batch { records: on_register_broker(&image, &request).ok()? }).ok()?;
    Some(image)
}
