//! One connection to another controller: opened, proved, and used by any number of calls at once until it ends.

use super::ControllerIdentity;
use super::parts::{BROKER_LEN_MAX, Incoming, STRANGER_LEN_MAX, Unfinished, invalid, parts, read_message, written};
use crate::random::random_bytes;
use sluice_model::BrokerId;
use sluice_protocol::{
    Api, BrokerChallengeAnswer, BrokerChallengeRequest, BrokerProofAnswer, BrokerProofRequest, BrokerRole,
    ControllerMessageAnswer, ControllerMessageKind, ControllerMessageRequest, HelloAnswer, HelloRequest, Introduction, ProofOf,
    Refusal, negotiate, supported_versions,
};
use std::collections::HashMap;
use std::io;
use std::time::Duration;
use tokio::io::{AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until, timeout};

/// A connection is there by then.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(150);
/// Both sides have proved themselves by then.
const PROOF_TIMEOUT: Duration = Duration::from_millis(1000);
/// A peer that owes answers and says nothing for so long is given up: longer than a command may take to be decided.
const SILENCE_MAX: Duration = Duration::from_secs(6);
/// The same once a caller has given up waiting for one.
const GIVEN_UP_SILENCE_MAX: Duration = Duration::from_millis(1500);
/// Nothing was asked for so long: the connection is closed.
const IDLE_MAX: Duration = Duration::from_secs(60);

/// A call on its way to the connection.
pub(super) struct Outgoing {
    pub(super) kind: ControllerMessageKind,
    pub(super) message: Vec<u8>,
    pub(super) answer: oneshot::Sender<io::Result<Vec<u8>>>,
}

/// Runs one connection until it ends; calls that are not answered by then get an error.
pub(super) async fn run_connection(
    identity: ControllerIdentity,
    to: BrokerId,
    address: String,
    mut calls: mpsc::Receiver<Outgoing>,
) {
    let opened = open(&identity, to, &address).await;
    let error = match opened {
        Ok((reader, writer)) => carry(reader, writer, &mut calls).await,
        Err(error) => error,
    };
    tracing::debug!(to = to.0, address, %error, "the connection to a controller has ended");
    calls.close();
    while let Ok(call) = calls.try_recv() {
        let _given_up = call.answer.send(Err(copy_of(&error)));
    }
}

fn copy_of(error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), error.to_string())
}

fn timed_out(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, what.to_owned())
}

async fn open(
    identity: &ControllerIdentity,
    to: BrokerId,
    address: &str,
) -> io::Result<(BufReader<OwnedReadHalf>, OwnedWriteHalf)> {
    let stream =
        timeout(CONNECT_TIMEOUT, TcpStream::connect(address)).await.map_err(|_| timed_out("no connection in time"))??;
    stream.set_nodelay(true)?;
    let (reader, mut writer) = stream.into_split();
    let mut reader = BufReader::new(reader);
    let proved = timeout(PROOF_TIMEOUT, prove(identity, to, &mut reader, &mut writer)).await;
    proved.map_err(|_| timed_out("the other controller has not proved itself in time"))??;
    Ok((reader, writer))
}

/// Says who this is, proves it, and sees the other side's proof.
async fn prove(
    identity: &ControllerIdentity,
    to: BrokerId,
    reader: &mut BufReader<OwnedReadHalf>,
    writer: &mut OwnedWriteHalf,
) -> io::Result<()> {
    let connecting = identity.name(random_bytes()?);
    let hello = HelloRequest {
        client_id: format!("controller of broker {}", identity.broker),
        session_id: [0; 16],
        session_attempt: 0,
        versions: supported_versions(),
    };
    let mut first = written(1, &hello, &[])?;
    first.extend(written(2, &BrokerChallengeRequest::new(connecting, BrokerRole::Controller, to), &[])?);
    writer.write_all(&first).await?;
    let hello: HelloAnswer = accepted(&read_message(reader, STRANGER_LEN_MAX).await?)?;
    check_versions(&hello)?;
    let challenge: BrokerChallengeAnswer = accepted(&read_message(reader, STRANGER_LEN_MAX).await?)?;
    let accepting = challenge.name();
    if hello.error != 0 || challenge.error != 0 || accepting.broker != to {
        return Err(invalid(format!("broker {} answers there: {}{}", accepting.broker, hello.text, challenge.text)));
    }
    let introduction = Introduction { role: BrokerRole::Controller, connecting, accepting };
    let proof = identity.secret.prove(ProofOf::Connecting, &introduction);
    writer.write_all(&written(3, &BrokerProofRequest { proof }, &[])?).await?;
    let answer: BrokerProofAnswer = accepted(&read_message(reader, STRANGER_LEN_MAX).await?)?;
    if answer.error != 0 || !identity.secret.is_proof(ProofOf::Accepting, &introduction, &answer.proof) {
        return Err(invalid(format!("broker {to} has not proved to know the cluster's secret: {}", answer.text)));
    }
    Ok(())
}

/// What follows has to be spoken by both.
fn check_versions(hello: &HelloAnswer) -> io::Result<()> {
    let spoken = negotiate(&supported_versions(), &hello.versions);
    let needed = [Api::BrokerChallenge, Api::BrokerProof, Api::ControllerMessage];
    match needed.into_iter().find(|api| spoken.version(*api).is_none()) {
        Some(api) if hello.error == 0 => Err(io::Error::new(
            io::ErrorKind::Unsupported,
            format!("it does not speak {api} as this broker does: run the same version on both"),
        )),
        _ => Ok(()),
    }
}

/// The answer in its own type; a refusal is an error.
fn accepted<M: sluice_protocol::Message>(incoming: &Incoming) -> io::Result<M> {
    if incoming.prefix.api == Api::Refusal.number() {
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, incoming.decode::<Refusal>()?.text));
    }
    incoming.decode()
}

/// Calls out and answers in, until something ends it; why.
async fn carry(
    mut reader: BufReader<OwnedReadHalf>,
    mut writer: OwnedWriteHalf,
    calls: &mut mpsc::Receiver<Outgoing>,
) -> io::Error {
    let (incoming, mut arrived) = mpsc::channel(16);
    let (outgoing, mut to_write) = mpsc::channel::<Vec<u8>>(16);
    // Each half has a task of its own: a peer that does not read must not keep this side from hearing it, nor the reverse.
    let reading = tokio::spawn(async move {
        loop {
            let read = read_message(&mut reader, BROKER_LEN_MAX).await;
            let is_over = read.is_err();
            if incoming.send(read).await.is_err() || is_over {
                return;
            }
        }
    });
    let writing = tokio::spawn(async move {
        while let Some(bytes) = to_write.recv().await {
            if writer.write_all(&bytes).await.is_err() {
                return;
            }
        }
    });
    let error = Carrier::default().run(calls, &outgoing, &mut arrived).await;
    reading.abort();
    writing.abort();
    error
}

/// The calls of one connection.
#[derive(Default)]
struct Carrier {
    last_correlation_id: u32,
    waiting: HashMap<u32, oneshot::Sender<io::Result<Vec<u8>>>>,
    unfinished: Unfinished,
}

impl Carrier {
    async fn run(
        mut self,
        calls: &mut mpsc::Receiver<Outgoing>,
        outgoing: &mpsc::Sender<Vec<u8>>,
        arrived: &mut mpsc::Receiver<io::Result<Incoming>>,
    ) -> io::Error {
        let mut heard = Instant::now();
        let error = loop {
            let silent_at = heard + self.patience();
            tokio::select! {
                call = calls.recv() => match call {
                    Some(call) => {
                        if self.waiting.is_empty() {
                            heard = Instant::now();
                        }
                        if let Err(error) = self.send(call, outgoing).await {
                            break error;
                        }
                    }
                    None => break io::ErrorKind::ConnectionAborted.into(),
                },
                read = arrived.recv() => {
                    heard = Instant::now();
                    match read.unwrap_or_else(|| Err(io::ErrorKind::UnexpectedEof.into())) {
                        Ok(message) => if let Err(error) = self.on_message(message) { break error },
                        Err(error) => break error,
                    }
                }
                () = sleep_until(silent_at) => break timed_out("nothing was heard from the other controller"),
            }
        };
        for (_, answer) in self.waiting.drain() {
            let _given_up = answer.send(Err(copy_of(&error)));
        }
        error
    }

    fn patience(&self) -> Duration {
        match self.waiting.values().any(oneshot::Sender::is_closed) {
            true => GIVEN_UP_SILENCE_MAX,
            false if self.waiting.is_empty() => IDLE_MAX,
            false => SILENCE_MAX,
        }
    }

    async fn send(&mut self, call: Outgoing, outgoing: &mpsc::Sender<Vec<u8>>) -> io::Result<()> {
        // Calls that were given up leave their numbers behind until an answer comes; they are few.
        self.last_correlation_id = self.last_correlation_id.wrapping_add(1).max(16);
        let correlation_id = self.last_correlation_id;
        self.waiting.insert(correlation_id, call.answer);
        for (part, more) in parts(&call.message) {
            let payload_len = u32::try_from(part.len()).unwrap_or(u32::MAX);
            let request = ControllerMessageRequest { kind: call.kind as u8, payload_len, more };
            let bytes = written(correlation_id, &request, part)?;
            // Whoever does not read for so long answers nobody.
            let sent =
                timeout(SILENCE_MAX, outgoing.send(bytes)).await.map_err(|_| timed_out("the other controller does not read"))?;
            sent.map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))?;
        }
        Ok(())
    }

    fn on_message(&mut self, message: Incoming) -> io::Result<()> {
        let correlation_id = message.prefix.correlation_id;
        let answer: ControllerMessageAnswer = match accepted(&message) {
            Ok(answer) => answer,
            Err(error) => {
                if let Some(waiting) = self.waiting.remove(&correlation_id) {
                    let _given_up = waiting.send(Err(error));
                }
                return Ok(());
            }
        };
        answer.check_payload(message.payload.len()).map_err(|malformed| invalid(malformed.to_string()))?;
        let result = if answer.error == 0 {
            let Some(whole) = self.unfinished.on_part(correlation_id, message.payload, answer.more)? else { return Ok(()) };
            Ok(whole)
        } else {
            Err(io::Error::other(answer.text))
        };
        if let Some(waiting) = self.waiting.remove(&correlation_id) {
            let _given_up = waiting.send(result);
        }
        Ok(())
    }
}
