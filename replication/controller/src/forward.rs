//! Commands and leases from any broker: asked of whoever leads the controllers, here or elsewhere, until somebody has
//! decided or the time is up.
//!
//! The expensive mistake is an answer that says more than is known. A command whose answer was lost may be done, or may
//! yet be; whatever is said of it later is said with that in mind (`repetition.rs`). On the controller itself nothing is
//! made into bytes.

use crate::codec::FramedError;
use crate::command::Command;
use crate::command_codec::{ErrorRow, RenewAnswer, RenewedRow, SubmitAnswer, SubmittedRow};
use crate::command_error::CommandError;
use crate::controller::ProducerIdBlock;
use crate::messages::{AnswerBody, RequestBody, WhyRefused};
use crate::node::{Applied, Renewed, Shared};
use crate::node_config::{LEASE_MS, LEASE_RENEWAL_MS, PROPOSAL_MS_MAX};
use crate::repetition::after_loss;
use crate::route::{Route, Whom};
use sluice_metadata::{PartitionRefusal, PartitionState, Record, Refusal};
use sluice_model::{BrokerId, Incarnation};
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, timeout, timeout_at};

/// A command that took effect: on a majority of the voters, and in the image here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Submitted {
    /// The image here stands at this batch or at a later one.
    pub index: u64,
    /// `false`: what the command asked for was so already. After a lost answer that is not known, and `true`.
    pub has_changed: bool,
    /// Of a command that names partitions: what is said of each, in its order.
    pub answers: Vec<Result<PartitionState, PartitionRefusal>>,
    /// Of [`Command::AllocateProducerIds`].
    pub producer_ids: Option<ProducerIdBlock>,
}

impl Submitted {
    fn new(command: &Command, applied: Applied) -> Self {
        let producer_ids = match (command, applied.records.first()) {
            (Command::AllocateProducerIds(_), Some(Record::ProducerIdsAllocated(block))) => {
                Some(ProducerIdBlock { first: block.first, count: block.count })
            }
            _ => None,
        };
        let (index, has_changed) = (applied.index, !applied.records.is_empty());
        Self { index, has_changed, answers: applied.answers, producer_ids }
    }
}

/// A command on its way.
struct Submission<'a> {
    shared: &'a Shared,
    command: Arc<Command>,
    /// Made when another broker has to be asked.
    bytes: Option<Vec<u8>>,
    until: Instant,
    /// An answer was lost: the command may be done.
    is_lost: bool,
}

pub(crate) async fn submit(shared: &Shared, command: Command) -> Result<Submitted, CommandError> {
    let until = Instant::now() + Duration::from_millis(PROPOSAL_MS_MAX);
    let mut submission = Submission { shared, command: Arc::new(command), bytes: None, until, is_lost: false };
    let mut route = Route::until(until);
    while let Some(whom) = route.next(shared).await {
        match submission.ask(&whom).await {
            Ok(submitted) => return submission.on_taken(submitted).await,
            Err(CommandError::NotController { leader }) => route.on_not_controller(&whom, leader),
            Err(CommandError::Undecided) => {
                submission.is_lost = true;
                if !submission.command.may_be_repeated() {
                    return Err(CommandError::Undecided);
                }
                route.on_silence();
            }
            Err(error @ CommandError::Store(_)) => return Err(error),
            Err(error) if !submission.is_lost => return Err(error),
            Err(CommandError::Refused(refusal)) => return submission.on_refused_again(&refusal).await,
            Err(CommandError::DiskFull) => return Err(CommandError::Undecided),
        }
    }
    Err(if submission.is_lost { CommandError::Undecided } else { not_controller(shared) })
}

impl Submission<'_> {
    async fn ask(&mut self, whom: &Whom) -> Result<Submitted, CommandError> {
        match whom {
            Whom::Here => match timeout_at(self.until, self.shared.propose(self.command.clone())).await {
                Ok(applied) => Ok(Submitted::new(&self.command, applied?)),
                Err(_) => Err(CommandError::Undecided),
            },
            Whom::Broker { id, address } => self.ask_broker(*id, address).await,
        }
    }

    async fn ask_broker(&mut self, id: BrokerId, address: &str) -> Result<Submitted, CommandError> {
        let command = self.command_bytes()?;
        let call = self.shared.peers.ask(id, address, RequestBody::Submit { command });
        let answer = tokio::select! {
            answer = timeout_at(self.until, call) => answer,
            // Another one leads: it may never answer.
            () = another_leads(self.shared, id) => return Err(CommandError::Undecided),
        };
        match answer {
            Ok(Ok(AnswerBody::Submitted { answer })) => match SubmitAnswer::decode(&answer) {
                Ok(answer) if answer.is_sound() => answer.0.map(Into::into).map_err(Into::into),
                Ok(_) | Err(_) => Err(CommandError::Undecided),
            },
            Ok(Ok(AnswerBody::Refused { why: WhyRefused::Malformed })) => Err(Refusal::CommandNotUnderstood { by: id }.into()),
            Ok(Ok(AnswerBody::Refused { .. })) => Err(CommandError::NotController { leader: None }),
            Ok(Ok(_)) | Err(_) => Err(CommandError::Undecided),
            Ok(Err(error)) => {
                tracing::debug!(controller = %id, %error, "the controller did not answer a command");
                Err(if was_sent(&error) { CommandError::Undecided } else { CommandError::NotController { leader: None } })
            }
        }
    }

    fn command_bytes(&mut self) -> Result<Vec<u8>, CommandError> {
        if let Some(bytes) = &self.bytes {
            return Ok(bytes.clone());
        }
        let too_long = |error| match error {
            FramedError::TooLong { got, max } => Refusal::CommandTooLong { got, max },
            other => panic!("a command does not become bytes: {other}"),
        };
        let bytes = self.command.try_encode().map_err(too_long)?;
        Ok(self.bytes.insert(bytes).clone())
    }

    /// Taken, and applied here soon.
    async fn on_taken(&self, submitted: Submitted) -> Result<Submitted, CommandError> {
        let submitted = if self.is_lost { after_loss(submitted).ok_or(CommandError::Undecided)? } else { submitted };
        let mut images = self.shared.peers.state.images();
        let applied = timeout_at(self.until, images.wait_for(|image| image.index >= submitted.index)).await;
        match applied {
            Ok(Ok(_)) => Ok(submitted),
            Ok(Err(_)) | Err(_) => Err(CommandError::Undecided),
        }
    }

    /// Refused after a lost answer: it is done, or nothing is known of it.
    async fn on_refused_again(&self, refusal: &Refusal) -> Result<Submitted, CommandError> {
        if !self.command.is_refused_when_done(refusal) {
            return Err(CommandError::Undecided);
        }
        let mut images = self.shared.peers.state.images();
        let done = timeout_at(self.until, images.wait_for(|image| self.command.is_done(&image.image))).await;
        match done {
            Ok(Ok(image)) => Ok(Submitted { index: image.index, has_changed: true, answers: Vec::new(), producer_ids: None }),
            Ok(Err(_)) | Err(_) => Err(CommandError::Undecided),
        }
    }
}

pub(crate) async fn renew_lease(shared: &Shared, incarnation: Incarnation) -> Result<Renewed, CommandError> {
    let until = Instant::now() + Duration::from_millis(LEASE_MS);
    let (mut route, mut is_lost) = (Route::until(until), false);
    while let Some(whom) = route.next(shared).await {
        let sent = Instant::now();
        let answered = async {
            match &whom {
                Whom::Here => shared.heartbeat(shared.config.broker, incarnation).await,
                Whom::Broker { id, address } => renew_with(shared, *id, address, incarnation).await,
            }
        };
        let answered = timeout(Duration::from_millis(LEASE_RENEWAL_MS), answered).await;
        match answered.unwrap_or(Err(CommandError::Undecided)) {
            Ok(renewed) => return Ok(Renewed { sent, ..renewed }),
            Err(CommandError::NotController { leader }) => route.on_not_controller(&whom, leader),
            Err(CommandError::Undecided) => {
                is_lost = true;
                route.on_silence();
            }
            Err(error) => return Err(error),
        }
    }
    Err(if is_lost { CommandError::Undecided } else { not_controller(shared) })
}

async fn renew_with(shared: &Shared, id: BrokerId, address: &str, incarnation: Incarnation) -> Result<Renewed, CommandError> {
    let Incarnation { number, random } = incarnation;
    match shared.peers.ask(id, address, RequestBody::Renew { number, random }).await {
        Ok(AnswerBody::Renewed { answer }) => match RenewAnswer::decode(&answer) {
            Ok(answer) if answer.is_sound() => {
                let RenewedRow { state, index, lease_ms } = answer.0?;
                Ok(Renewed { state, index, lease: Duration::from_millis(lease_ms), sent: Instant::now() })
            }
            Ok(_) | Err(_) => Err(CommandError::Undecided),
        },
        Ok(AnswerBody::Refused { .. }) => Err(CommandError::NotController { leader: None }),
        Err(error) if !was_sent(&error) => Err(CommandError::NotController { leader: None }),
        Ok(_) | Err(_) => Err(CommandError::Undecided),
    }
}

/// `Transport` says so.
fn was_sent(error: &io::Error) -> bool {
    !matches!(error.kind(), io::ErrorKind::NotConnected | io::ErrorKind::ConnectionRefused)
}

fn not_controller(shared: &Shared) -> CommandError {
    let leader = shared.raft().metrics().borrow().current_leader;
    CommandError::NotController { leader: leader.and_then(|id| u32::try_from(id).ok()).map(BrokerId) }
}

/// Resolves once a broker other than `asked` is known to lead.
async fn another_leads(shared: &Shared, asked: BrokerId) {
    let mut metrics = shared.raft().metrics();
    let other = |id: u64| id != u64::from(asked.0);
    if metrics.wait_for(|metrics| metrics.current_leader.is_some_and(other)).await.is_err() {
        // The engine has ended, and knows nothing more.
        std::future::pending::<()>().await;
    }
}

/// Another broker wants a command decided.
pub(crate) async fn on_submit(shared: &Shared, bytes: &[u8]) -> AnswerBody {
    let command = match Command::decode(bytes) {
        Ok(command) if command.is_sound() => Arc::new(command),
        Ok(_) => return AnswerBody::Refused { why: WhyRefused::Malformed },
        Err(error) => {
            tracing::warn!(%error, "a command of another broker cannot be read");
            return AnswerBody::Refused { why: WhyRefused::Malformed };
        }
    };
    let decided = timeout(Duration::from_millis(PROPOSAL_MS_MAX), shared.propose(command.clone())).await;
    let decided = decided.unwrap_or(Err(CommandError::Undecided));
    let row = decided.map(|applied| Submitted::new(&command, applied).into()).map_err(ErrorRow::from);
    AnswerBody::Submitted { answer: SubmitAnswer(row).encode() }
}

/// Another broker renews its lease.
pub(crate) async fn on_renew(shared: &Shared, broker: BrokerId, incarnation: Incarnation) -> AnswerBody {
    let row = shared.heartbeat(broker, incarnation).await.map_err(ErrorRow::from).map(|renewed| {
        let lease_ms = u64::try_from(renewed.lease.as_millis()).unwrap_or(u64::MAX);
        RenewedRow { state: renewed.state, index: renewed.index, lease_ms }
    });
    AnswerBody::Renewed { answer: RenewAnswer(row).encode() }
}

impl From<Submitted> for SubmittedRow {
    fn from(submitted: Submitted) -> Self {
        let Submitted { index, has_changed, answers, producer_ids } = submitted;
        Self { index, has_changed, answers, producer_ids: producer_ids.map(|block| (block.first, block.count)) }
    }
}

impl From<SubmittedRow> for Submitted {
    fn from(row: SubmittedRow) -> Self {
        let producer_ids = row.producer_ids.map(|(first, count)| ProducerIdBlock { first, count });
        Self { index: row.index, has_changed: row.has_changed, answers: row.answers, producer_ids }
    }
}

impl From<CommandError> for ErrorRow {
    fn from(error: CommandError) -> Self {
        match error {
            CommandError::Refused(refusal) => Self::Refused(refusal),
            CommandError::NotController { leader } => Self::NotController { leader: leader.map(|leader| leader.0) },
            CommandError::DiskFull => Self::DiskFull,
            // Whether it is in the log is not known, and who asks has nothing to end for it.
            CommandError::Undecided | CommandError::Store(_) => Self::Undecided,
        }
    }
}

impl From<ErrorRow> for CommandError {
    fn from(row: ErrorRow) -> Self {
        match row {
            ErrorRow::Refused(refusal) => Self::Refused(refusal),
            ErrorRow::NotController { leader } => Self::NotController { leader: leader.map(BrokerId) },
            ErrorRow::Undecided => Self::Undecided,
            ErrorRow::DiskFull => Self::DiskFull,
        }
    }
}
