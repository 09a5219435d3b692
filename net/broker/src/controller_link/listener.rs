//! The controller listener: whoever connects proves that it is a broker of the cluster, and then its messages are answered,
//! each when its answer is there.

use super::parts::{BROKER_LEN_MAX, Incoming, STRANGER_LEN_MAX, Unfinished, invalid, parts, read_message, written};
use super::{AskedBy, ControllerIdentity};
use crate::error_table::WireError;
use crate::random::random_bytes;
use sluice_model::limits::CONTROLLER_MESSAGE_LEN_MAX;
use sluice_model::{BrokerId, ErrorCode};
use sluice_protocol::{
    Api, BrokerChallengeAnswer, BrokerChallengeRequest, BrokerProofAnswer, BrokerProofRequest, BrokerRole,
    ControllerMessageAnswer, ControllerMessageKind, ControllerMessageRequest, HelloAnswer, HelloRequest, Introduction, ProofOf,
    Refusal, supported_versions,
};
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncWriteExt, BufReader};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::timeout;

/// Connections at once: every broker has one or two, and a few may be on their way out.
const CONNECTIONS_MAX: usize = 1024;
/// Who has proved nothing by then is closed.
const PROOF_TIMEOUT: Duration = Duration::from_secs(5);
/// Messages of one connection that are being answered; more are left unread.
const MESSAGES_IN_FLIGHT_MAX: usize = 64;
/// A peer that takes none of its answers for so long is closed.
const WRITE_STALL_MAX: Duration = Duration::from_secs(10);

/// What answers messages. Any bytes may come.
pub trait MessageHandler: Send + Sync + 'static {
    fn on_message(&self, asked_by: AskedBy, message: Vec<u8>) -> Pin<Box<dyn Future<Output = Vec<u8>> + Send>>;
}

/// Answers the controllers of other brokers.
pub struct ControllerListener {
    identity: ControllerIdentity,
    handler: Arc<dyn MessageHandler>,
}

impl ControllerListener {
    #[must_use]
    pub fn new(identity: ControllerIdentity, handler: Arc<dyn MessageHandler>) -> Self {
        Self { identity, handler }
    }

    /// Accepts until it is dropped. Connections that are open then go on until their peers close them or the runtime ends.
    pub async fn run(self, listener: TcpListener) {
        let this = Arc::new(self);
        let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        loop {
            let stream = match listener.accept().await {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!(%error, "a controller's connection could not be accepted");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
            };
            // One connection too many is closed at once.
            let Ok(place) = Arc::clone(&room).try_acquire_owned() else { continue };
            let this = Arc::clone(&this);
            tokio::spawn(async move {
                if let Err(error) = this.serve(stream).await {
                    tracing::debug!(%error, "a controller's connection has ended");
                }
                drop(place);
            });
        }
    }

    async fn serve(&self, stream: TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        let (reader, mut writer) = stream.into_split();
        let mut reader = BufReader::new(reader);
        let proved = timeout(PROOF_TIMEOUT, self.admit(&mut reader, &mut writer)).await;
        let broker = proved.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
        self.answer_messages(broker, reader, writer).await
    }

    /// Who has connected, once that is proved.
    async fn admit(&self, reader: &mut BufReader<OwnedReadHalf>, writer: &mut OwnedWriteHalf) -> io::Result<BrokerId> {
        let mut introduction = None;
        loop {
            let message = read_message(reader, STRANGER_LEN_MAX).await?;
            let id = message.prefix.correlation_id;
            if let Err(error) = check_version(&message) {
                return refuse_and_end(writer, id, error).await;
            }
            match message.prefix.api() {
                Some(Api::Hello) => {
                    message.decode::<HelloRequest>()?;
                    let answer = HelloAnswer {
                        broker_id: self.identity.broker.0,
                        incarnation_number: self.identity.incarnation.number,
                        incarnation_random: self.identity.incarnation.random,
                        versions: supported_versions(),
                        message_len_max: u32::try_from(BROKER_LEN_MAX).unwrap_or(u32::MAX),
                        ..HelloAnswer::default()
                    };
                    writer.write_all(&written(id, &answer, &[])?).await?;
                }
                Some(Api::BrokerChallenge) if introduction.is_none() => {
                    let told = match self.introduction(&message.decode()?) {
                        Ok(told) => told,
                        Err(error) => return refuse_and_end(writer, id, error).await,
                    };
                    introduction = Some(told);
                    writer.write_all(&written(id, &BrokerChallengeAnswer::new(told.accepting), &[])?).await?;
                }
                Some(Api::BrokerProof) if introduction.is_some() => {
                    let BrokerProofRequest { proof } = message.decode()?;
                    let secret = &self.identity.secret;
                    let told = introduction.filter(|told| secret.is_proof(ProofOf::Connecting, told, &proof));
                    let Some(told) = told else {
                        let text = "the proof does not hold: all brokers of a cluster need the same cluster secret";
                        return refuse_and_end(writer, id, WireError::not_authenticated(text)).await;
                    };
                    let proof = secret.prove(ProofOf::Accepting, &told);
                    writer.write_all(&written(id, &BrokerProofAnswer { proof, ..Default::default() }, &[])?).await?;
                    return Ok(told.connecting.broker);
                }
                _ => {
                    let text = "this is for the controllers of this cluster, and this connection has not proved to be one's";
                    let error = WireError::new(ErrorCode::AuthenticationRequired, text);
                    writer.write_all(&refused(id, error)?).await?;
                }
            }
        }
    }

    fn introduction(&self, request: &BrokerChallengeRequest) -> Result<Introduction, WireError> {
        let own = self.identity.broker;
        if request.wanted_broker_id != own.0 || request.broker_id == own.0 {
            let text = format!("broker {} is wanted here, this is broker {own}", request.wanted_broker_id);
            return Err(WireError::not_authenticated(text));
        }
        if request.role() != Some(BrokerRole::Controller) {
            return Err(WireError::new(
                ErrorCode::InvalidArgument,
                "followers fetch at a shard's listener, not at a controller's",
            ));
        }
        let nonce = random_bytes().map_err(|error| WireError::not_ready(format!("no random bytes: {error}")))?;
        let accepting = self.identity.name(nonce);
        Ok(Introduction { role: BrokerRole::Controller, connecting: request.name(), accepting })
    }

    /// Answers in whatever order they are ready.
    async fn answer_messages(
        &self,
        broker: BrokerId,
        mut reader: BufReader<OwnedReadHalf>,
        writer: OwnedWriteHalf,
    ) -> io::Result<()> {
        let (answers, to_write) = mpsc::channel::<Vec<u8>>(MESSAGES_IN_FLIGHT_MAX);
        let writing = tokio::spawn(write_all(writer, to_write));
        let room = Arc::new(Semaphore::new(MESSAGES_IN_FLIGHT_MAX));
        let mut unfinished = Unfinished::default();
        let ended = loop {
            if writing.is_finished() {
                break io::ErrorKind::BrokenPipe.into();
            }
            let place = Arc::clone(&room).acquire_owned().await.map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))?;
            let message = match read_message(&mut reader, BROKER_LEN_MAX).await {
                Ok(message) => message,
                Err(error) => break error,
            };
            let id = message.prefix.correlation_id;
            let (kind, message) = match taken(&mut unfinished, message) {
                Ok(Some(taken)) => taken,
                Ok(None) => continue,
                Err(error) => break error,
            };
            let (handler, answers) = (Arc::clone(&self.handler), answers.clone());
            tokio::spawn(async move {
                let answer = handler.on_message(AskedBy { broker, kind }, message).await;
                if let Ok(all) = answer_parts(id, &answer) {
                    for bytes in all {
                        if answers.send(bytes).await.is_err() {
                            break;
                        }
                    }
                }
                drop(place);
            });
        };
        writing.abort();
        Err(ended)
    }
}

/// A whole message, when this was the last part of one.
fn taken(unfinished: &mut Unfinished, message: Incoming) -> io::Result<Option<(ControllerMessageKind, Vec<u8>)>> {
    if message.prefix.api() != Some(Api::ControllerMessage) {
        return Err(invalid(format!("api {} is not spoken between controllers", message.prefix.api)));
    }
    check_version(&message).map_err(|error| invalid(error.text))?;
    let request: ControllerMessageRequest = message.decode()?;
    if request.payload_len as usize != message.payload.len() {
        return Err(invalid(format!("{} bytes follow, {} are named", message.payload.len(), request.payload_len)));
    }
    let kind = ControllerMessageKind::from_u8(request.kind).ok_or_else(|| invalid("an unknown kind of message".to_owned()))?;
    let whole = unfinished.on_part(message.prefix.correlation_id, message.payload, request.more)?;
    Ok(whole.map(|whole| (kind, whole)))
}

/// A body of another version is never read as one of this.
fn check_version(message: &Incoming) -> Result<(), WireError> {
    let Some(api) = message.prefix.api() else { return Ok(()) };
    let (min, max) = api.versions();
    if (min..=max).contains(&message.prefix.version) {
        return Ok(());
    }
    let text = format!("{api} is spoken in versions {min} to {max} here, not {}", message.prefix.version);
    Err(WireError::new(ErrorCode::UnsupportedVersion, text))
}

/// What is said is bounded: an answer that is too long is refused instead, so that nobody waits for it.
fn answer_parts(id: u32, answer: &[u8]) -> io::Result<Vec<Vec<u8>>> {
    if answer.len() > CONTROLLER_MESSAGE_LEN_MAX {
        let text = format!("the answer has {} bytes", answer.len());
        return Ok(vec![refused(id, WireError::new(ErrorCode::RequestTooLarge, text))?]);
    }
    let part = |(part, more): (&[u8], bool)| {
        let payload_len = u32::try_from(part.len()).unwrap_or(u32::MAX);
        written(id, &ControllerMessageAnswer { payload_len, more, ..Default::default() }, part)
    };
    parts(answer).map(part).collect()
}

async fn write_all(mut writer: OwnedWriteHalf, mut answers: mpsc::Receiver<Vec<u8>>) {
    while let Some(bytes) = answers.recv().await {
        match timeout(WRITE_STALL_MAX, writer.write_all(&bytes)).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) | Err(_) => return,
        }
    }
}

fn refused(id: u32, error: WireError) -> io::Result<Vec<u8>> {
    let refusal = Refusal { error: error.code(), text: error.text, retry_after_ms: error.retry_after_ms };
    written(id, &refusal, &[])
}

/// The last word on a connection.
async fn refuse_and_end<T>(writer: &mut OwnedWriteHalf, id: u32, error: WireError) -> io::Result<T> {
    let text = error.text.clone();
    writer.write_all(&refused(id, error)?).await?;
    writer.shutdown().await?;
    Err(io::Error::new(io::ErrorKind::PermissionDenied, text))
}
