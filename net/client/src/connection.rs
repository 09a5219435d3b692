//! One connection to one shard: requests go out in the order they are submitted, answers come back in any order and
//! are matched by correlation id.
//!
//! Whoever submits a request also writes it, when the socket takes it at once; what it does not take is left to the
//! connection's one task, which reads. So a small request costs no wake-up on its way out, and one on its way in.
//! The expensive mistake is to say of a request that it never left when it did: [`CallError::NotSent`] is given only
//! while at least one byte of it is still here.
//!
//! A request that stays unanswered for its timeout ends the connection: behind a peer that does not answer, nothing
//! sent later can be trusted to arrive soon. So does one that wants no answer and has not left by then.

mod handshake;
mod incoming;
mod outgoing;

use crate::address::Address;
use crate::error::ClientError;
use crate::producer::partition_queue::ConnectionId;
use bytes::{Bytes, BytesMut};
use incoming::Incoming;
use outgoing::{OnSent, Outgoing};
use sluice_model::limits::MESSAGE_BODY_LEN_MAX;
use sluice_protocol::{Api, Malformed, Negotiated, PREFIX_LEN, Prefix, Refusal, Request, decode, encode};
use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::Notify;
use tokio::time::Instant;

pub(crate) use handshake::{Session, connect};

/// A message as it came.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) prefix: Prefix,
    pub(crate) body: Bytes,
    pub(crate) frames: Bytes,
}

/// Why a request has no answer of its own type.
#[derive(Clone, Debug)]
pub(crate) enum CallError {
    /// The broker cannot have carried it out.
    NotSent(ClientError),
    /// The broker may have carried it out.
    Lost(ClientError),
    /// The broker says that it did nothing.
    Refused(Refusal),
}

impl CallError {
    pub(crate) fn into_client_error(self) -> ClientError {
        match self {
            // Not a byte of it left: the address is what is wrong, and nothing can have been carried out.
            Self::NotSent(ClientError::Lost { address, text }) => ClientError::Unreachable { tried: vec![(address, text)] },
            Self::NotSent(error) | Self::Lost(error) => error,
            Self::Refused(refusal) => ClientError::Broker { code: crate::error::code_of(refusal.error), text: refusal.text },
        }
    }
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.clone().into_client_error().fmt(f)
    }
}

pub(crate) type OnAnswer = Box<dyn FnOnce(Result<Answer, CallError>) + Send>;

/// A handle; the connection closes when the last one is dropped.
#[derive(Clone)]
pub(crate) struct Connection(Arc<Guard>);

struct Guard(Arc<Shared>);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.close("closed by this client");
    }
}

struct Shared {
    id: ConnectionId,
    address: Address,
    versions: Negotiated,
    message_len_max: usize,
    writer: OwnedWriteHalf,
    outgoing: Mutex<Outgoing>,
    pending: Mutex<Pending>,
    next_correlation_id: AtomicU32,
    /// When the task looks for requests without answer, milliseconds after `started`; `u64::MAX` is never.
    next_check_ms: AtomicU64,
    started: Instant,
    closed: AtomicBool,
    wake: Notify,
}

#[derive(Default)]
struct Pending {
    waiting: HashMap<u32, Waiting>,
    /// Set once; whatever comes later gets it as an error.
    closed: Option<Arc<str>>,
}

struct Waiting {
    deadline: Instant,
    /// Where the request ends in the stream of bytes sent.
    end_position: u64,
    on_answer: OnAnswer,
}

impl Connection {
    fn start(parts: handshake::Parts) -> Self {
        static NEXT_ID: AtomicU64 = AtomicU64::new(1);
        let shared = Arc::new(Shared {
            id: ConnectionId { number: NEXT_ID.fetch_add(1, Ordering::Relaxed), peer: parts.peer },
            address: parts.address,
            versions: parts.versions,
            message_len_max: parts.message_len_max,
            writer: parts.writer,
            outgoing: Mutex::default(),
            pending: Mutex::default(),
            next_correlation_id: AtomicU32::new(1),
            next_check_ms: AtomicU64::new(u64::MAX),
            started: Instant::now(),
            closed: AtomicBool::new(false),
            wake: Notify::new(),
        });
        tokio::spawn(run(shared.clone(), parts.reader, parts.incoming));
        Self(Arc::new(Guard(shared)))
    }

    pub(crate) fn id(&self) -> ConnectionId {
        self.0.0.id
    }

    pub(crate) fn address(&self) -> &Address {
        &self.0.0.address
    }

    /// Bytes of frames that the broker takes in one request.
    pub(crate) fn frames_len_max(&self) -> usize {
        self.0.0.frames_len_max()
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.0.0.closed.load(Ordering::Acquire)
    }

    /// Ends the connection; every request that waits gets its end from the connection's task.
    pub(crate) fn close(&self, why: &str) {
        self.0.0.close(why);
    }

    /// Sends a request; `on_answer` is called exactly once, from the connection's task or from here.
    pub(crate) fn submit<R: Request>(&self, request: &R, frames: Vec<Bytes>, timeout: Duration, on_answer: OnAnswer) {
        match self.0.0.encode(request, &frames) {
            Ok((correlation_id, head)) => self.0.0.send(head, frames, Some((correlation_id, timeout, on_answer)), None),
            Err(error) => on_answer(Err(CallError::NotSent(error))),
        }
    }

    /// Sends a request that gets no answer; `on_sent` is called with true when its last byte has left.
    pub(crate) fn submit_unanswered<R: Request>(&self, request: &R, frames: Vec<Bytes>, timeout: Duration, on_sent: OnSent) {
        match self.0.0.encode(request, &frames) {
            Ok((_, head)) => self.0.0.send(head, frames, None, Some((Instant::now() + timeout, on_sent))),
            Err(_) => on_sent(false),
        }
    }

    /// Sends a request and waits for its answer and the frames with it.
    pub(crate) async fn call<R: Request>(&self, request: &R, timeout: Duration) -> Result<(R::Answer, Bytes), CallError> {
        let (sender, receiver) = tokio::sync::oneshot::channel();
        let on_answer = Box::new(move |answer| drop(sender.send(answer)));
        self.submit(request, Vec::new(), timeout, on_answer);
        let lost = |text: String| CallError::Lost(ClientError::Lost { address: self.0.0.address.to_string(), text });
        let answer = receiver.await.map_err(|_| lost("the runtime is shutting down".into()))??;
        let message = decode_answer::<R>(&answer).map_err(|malformed| lost(malformed.to_string()))?;
        Ok((message, answer.frames))
    }
}

/// The answer to a request of type `R`.
pub(crate) fn decode_answer<R: Request>(answer: &Answer) -> Result<R::Answer, Malformed> {
    decode::<R::Answer>(&answer.body)
}

impl Shared {
    /// Never nothing, however short the messages are that the broker takes.
    fn frames_len_max(&self) -> usize {
        self.message_len_max.saturating_sub(PREFIX_LEN + MESSAGE_BODY_LEN_MAX).max(1)
    }

    fn encode<R: Request>(&self, request: &R, frames: &[Bytes]) -> Result<(u32, BytesMut), ClientError> {
        let protocol = |text: String| ClientError::Protocol { address: self.address.to_string(), text };
        let version = self.versions.version(R::API).ok_or_else(|| {
            protocol(format!("the broker does not speak {} in a version this client knows; update the older of the two", R::NAME))
        })?;
        let frames_len: usize = frames.iter().map(Bytes::len).sum();
        if frames_len > self.frames_len_max() {
            return Err(protocol(format!(
                "{frames_len} bytes of frames are more than the broker accepts in a message of {}",
                self.message_len_max
            )));
        }
        let correlation_id = self.next_correlation_id.fetch_add(1, Ordering::Relaxed);
        let head = encode(correlation_id, version, request, frames_len).map_err(|e| protocol(e.to_string()))?;
        Ok((correlation_id, head))
    }

    fn send(
        &self,
        head: BytesMut,
        frames: Vec<Bytes>,
        answered: Option<(u32, Duration, OnAnswer)>,
        unanswered: Option<(Instant, OnSent)>,
    ) {
        let mut outgoing = lock(&self.outgoing);
        let end_position = outgoing.end_position() + (head.len() + frames.iter().map(Bytes::len).sum::<usize>()) as u64;
        if let Some((correlation_id, timeout, on_answer)) = answered {
            let deadline = Instant::now() + timeout;
            let mut pending = lock(&self.pending);
            if let Some(why) = pending.closed.clone() {
                drop((pending, outgoing));
                return on_answer(Err(CallError::NotSent(self.lost(&why))));
            }
            pending.waiting.insert(correlation_id, Waiting { deadline, end_position, on_answer });
            drop(pending);
            self.check_by(deadline);
        } else if self.closed.load(Ordering::Acquire) {
            drop(outgoing);
            return unanswered.into_iter().for_each(|(_, on_sent)| on_sent(false));
        }
        outgoing.push(head.freeze(), frames, unanswered);
        let written = outgoing.write_to(&self.writer);
        let sent = outgoing.take_sent();
        let (unwritten, deadline) = (!outgoing.is_empty(), outgoing.deadline());
        drop(outgoing);
        deadline.into_iter().for_each(|deadline| self.check_by(deadline));
        sent.into_iter().for_each(|on_sent| on_sent(true));
        if let Err(error) = written {
            self.close(&error.to_string());
        } else if unwritten {
            self.wake.notify_one();
        }
    }

    /// Lets the task look for overdue requests by `deadline`.
    fn check_by(&self, deadline: Instant) {
        let at_ms = u64::try_from((deadline - self.started).as_millis()).unwrap_or(u64::MAX - 1);
        if self.next_check_ms.fetch_min(at_ms, Ordering::AcqRel) > at_ms {
            self.wake.notify_one();
        }
    }

    /// Ends overdue requests' connection, or says when to look again.
    fn check_overdue(&self) -> Result<(), String> {
        self.next_check_ms.store(u64::MAX, Ordering::Release);
        let (now, unsent) = (Instant::now(), lock(&self.outgoing).deadline());
        if unsent.is_some_and(|deadline| deadline <= now) {
            return Err("the broker has taken nothing for as long as a request may take".into());
        }
        let unanswered = lock(&self.pending).waiting.values().map(|w| w.deadline).min();
        if unanswered.is_some_and(|deadline| deadline <= now) {
            return Err("no answer within the request's timeout".into());
        }
        if let Some(deadline) = unanswered.into_iter().chain(unsent).min() {
            self.check_by(deadline + Duration::from_millis(1));
        }
        Ok(())
    }

    fn lost(&self, why: &str) -> ClientError {
        ClientError::Lost { address: self.address.to_string(), text: why.into() }
    }

    fn close(&self, why: &str) {
        self.closed.store(true, Ordering::Release);
        {
            let mut pending = lock(&self.pending);
            pending.closed.get_or_insert_with(|| why.into());
        }
        self.wake.notify_one();
    }

    /// Gives every request that waits its end. Called once, by the task.
    fn end(&self, why: &str) {
        self.close(why);
        // `send` inserts under the lock of `outgoing`, so after this nothing is added and positions stand still.
        let (written_position, unsent) = {
            let mut outgoing = lock(&self.outgoing);
            (outgoing.written_position(), outgoing.take_unsent())
        };
        let waiting = std::mem::take(&mut lock(&self.pending).waiting);
        unsent.into_iter().for_each(|on_sent| on_sent(false));
        // In the order they were sent, so that what depends on an order keeps it.
        let mut waiting: Vec<Waiting> = waiting.into_values().collect();
        waiting.sort_unstable_by_key(|w| w.end_position);
        for request in waiting {
            let error = self.lost(why);
            let left = request.end_position <= written_position;
            (request.on_answer)(Err(if left { CallError::Lost(error) } else { CallError::NotSent(error) }));
        }
    }

    fn on_message(&self, answer: Answer) -> Result<(), String> {
        let waiting = lock(&self.pending).waiting.remove(&answer.prefix.correlation_id);
        let Some(waiting) = waiting else {
            return Err(format!("the broker answered a request {} that was not sent", answer.prefix.correlation_id));
        };
        if answer.prefix.api() == Some(Api::Refusal) {
            let refusal = decode::<Refusal>(&answer.body).map_err(|e| e.to_string());
            let result = match &refusal {
                Ok(refusal) => Err(CallError::Refused(refusal.clone())),
                Err(why) => Err(CallError::Lost(self.lost(why))),
            };
            (waiting.on_answer)(result);
            return refusal.map(|_| ());
        }
        (waiting.on_answer)(Ok(answer));
        Ok(())
    }
}

/// The connection's task: reads, writes what was left over, and watches the time, until the connection ends.
async fn run(shared: Arc<Shared>, mut reader: OwnedReadHalf, mut incoming: Incoming) {
    let why = loop {
        match step(&shared, &mut reader, &mut incoming).await {
            Ok(()) => {}
            Err(why) => break why,
        }
        let closed = lock(&shared.pending).closed.clone();
        if let Some(why) = closed {
            break why.to_string();
        }
    };
    tracing::debug!(address = %shared.address, why, "connection ended");
    shared.end(&why);
}

async fn step(shared: &Shared, reader: &mut OwnedReadHalf, incoming: &mut Incoming) -> Result<(), String> {
    let unwritten = !lock(&shared.outgoing).is_empty();
    let check_ms = shared.next_check_ms.load(Ordering::Acquire);
    let check_at = shared.started + Duration::from_millis(check_ms.min(1 << 40));
    tokio::select! {
        read = incoming.read_from(reader) => {
            if read.map_err(|e| e.to_string())? == 0 {
                return Err("the broker closed the connection".into());
            }
            while let Some(answer) = incoming.take_message().map_err(|e| e.to_string())? {
                shared.on_message(answer)?;
            }
            Ok(())
        }
        ready = shared.writer.writable(), if unwritten => {
            ready.map_err(|e| e.to_string())?;
            let mut outgoing = lock(&shared.outgoing);
            let written = outgoing.write_to(&shared.writer);
            let sent = outgoing.take_sent();
            drop(outgoing);
            sent.into_iter().for_each(|on_sent| on_sent(true));
            written.map_err(|e| e.to_string())
        }
        () = shared.wake.notified() => Ok(()),
        () = tokio::time::sleep_until(check_at), if check_ms != u64::MAX => shared.check_overdue(),
    }
}

/// A panic ends the process or the test; there is no half-changed state to fear behind a poisoned lock.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
