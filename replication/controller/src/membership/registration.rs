//! A broker registers: nothing that an earlier start of it said counts from then on.
//!
//! The expensive mistake is to take the place of a process that is alive: a copied data folder would put an end to the
//! broker that it is a copy of. So whoever holds a lease under this id is watched first, until the lease ends or proves
//! to be renewed.

use super::MembershipError;
use crate::command::Command;
use crate::command_error::CommandError;
use crate::node::ControllerNode;
use crate::node_config::LEASE_MS;
use crate::state_machine::AppliedImage;
use sluice_metadata::{Address, ElectPreferredLeaders, FolderId, HeldPartitions, Image, Refusal, RegisterBroker, Start};
use sluice_model::{BrokerId, Incarnation};
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// A lease that stands for so long under one controller is renewed by somebody.
const ALIVE_WAIT: Duration = Duration::from_millis(3 * LEASE_MS);
const PAUSE: Duration = Duration::from_millis(100);
/// How often it is said that no controller is there.
const COMPLAINT_INTERVAL: Duration = Duration::from_secs(10);

/// What a broker registers with. The number of its incarnation is found on the way.
#[derive(Clone, Debug)]
pub struct Registration {
    pub folder_id: FolderId,
    /// Where each shard can be reached by clients; as many as there are shards.
    pub addresses: Vec<Address>,
    /// What the folder holds.
    pub held: HeldPartitions,
    /// What fails together with the broker.
    pub rack: Option<String>,
    /// The folder that is lost and that this one takes the place of.
    pub replaces_folder: Option<FolderId>,
    /// Of the incarnation, drawn by the caller.
    pub random: u64,
}

/// The broker is registered.
#[derive(Clone, Debug)]
pub struct Registered {
    pub incarnation: Incarnation,
    /// The registration is in it.
    pub image: AppliedImage,
}

/// Registers this broker. It waits for a controller for as long as it takes: drop it to give up.
///
/// # Errors
/// Something has to be put right before the broker can start; nothing has changed.
pub async fn register(node: &ControllerNode, registration: Registration) -> Result<Registered, MembershipError> {
    let mut complaint = Complaint { due: Instant::now() + COMPLAINT_INTERVAL };
    let mut least_number = registration.held.incarnation_number.saturating_add(1);
    loop {
        let image = vacant(node, &mut complaint).await?;
        least_number = least_number.max(image.next_incarnation_number(node.shared.config.broker));
        let request = request(node, &registration, least_number);
        let incarnation = request.incarnation;
        match repeated(node, &Command::RegisterBroker(request), &mut complaint).await {
            Ok(()) => return Ok(Registered { incarnation, image: node.image() }),
            // Somebody was quicker.
            Err(CommandError::Refused(Refusal::FencedIncarnation { current, .. })) => {
                least_number = current.number.saturating_add(1);
            }
            Err(CommandError::Refused(refusal)) => return Err(MembershipError::Refused(refusal)),
            Err(error) => return Err(store(error)),
        }
    }
}

fn request(node: &ControllerNode, registration: &Registration, number: u64) -> RegisterBroker {
    let Registration { folder_id, addresses, held, rack, replaces_folder, random } = registration.clone();
    let incarnation = Incarnation { number, random };
    let start = Start::InCluster { rack, replaces_folder };
    RegisterBroker { broker: node.shared.config.broker, incarnation, folder_id, addresses, held, start }
}

/// Waits until nobody holds a lease under this broker's id, by the newest image.
async fn vacant(node: &ControllerNode, complaint: &mut Complaint) -> Result<std::sync::Arc<Image>, MembershipError> {
    let broker = node.shared.config.broker;
    let mut watched: Option<(Holder, Instant)> = None;
    loop {
        // It changes nothing; once it is decided, the image here is as new as any.
        let nothing = Command::ElectPreferredLeaders(ElectPreferredLeaders { partitions: Vec::new() });
        repeated(node, &nothing, complaint).await.map_err(store)?;
        let image = node.image().image;
        let Some(holder) = Holder::of(node, &image, broker) else { return Ok(image) };
        match &watched {
            Some((known, since)) if *known == holder => {
                if since.elapsed() >= ALIVE_WAIT {
                    return Err(MembershipError::Alive { broker, incarnation: holder.incarnation });
                }
            }
            _ => watched = Some((holder, Instant::now())),
        }
        sleep(PAUSE).await;
    }
}

/// Who holds a lease, and who grants it: another controller gives everybody a full one first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Holder {
    incarnation: Incarnation,
    term: u64,
}

impl Holder {
    fn of(node: &ControllerNode, image: &Image, broker: BrokerId) -> Option<Self> {
        let known = image.broker(broker).filter(|known| known.state.holds_lease())?;
        Some(Self { incarnation: known.incarnation, term: node.status().term })
    }
}

/// Until it is decided, however long that takes.
async fn repeated(node: &ControllerNode, command: &Command, complaint: &mut Complaint) -> Result<(), CommandError> {
    loop {
        match node.submit(command.clone()).await {
            Ok(_) => return Ok(()),
            Err(error @ (CommandError::Refused(_) | CommandError::Store(_))) => return Err(error),
            Err(error) => complaint.about(&error),
        }
        sleep(PAUSE).await;
    }
}

struct Complaint {
    due: Instant,
}

impl Complaint {
    fn about(&mut self, error: &CommandError) {
        if Instant::now() >= self.due {
            self.due = Instant::now() + COMPLAINT_INTERVAL;
            tracing::warn!(%error, "this broker waits to be registered");
        }
    }
}

fn store(error: CommandError) -> MembershipError {
    match error {
        CommandError::Store(error) => MembershipError::Store(error),
        CommandError::Refused(refusal) => MembershipError::Refused(refusal),
        other => MembershipError::Store(std::io::Error::other(other.to_string())),
    }
}
