//! A connection that speaks the native protocol: one thread, one socket, asleep while it waits or spinning, as the floor's
//! client is.
//!
//! The client library is the right way to talk to a broker; here its tasks and queues would be measured along with the
//! broker. Absent: retries, reconnection, routing. A connection that breaks is a failed measurement.

use std::io::{self, ErrorKind, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

use sluice_model::ErrorCode;
use sluice_protocol::{
    Api, Durability, HelloRequest, Negotiated, Prefix, ProduceAnswer, Refusal, Request, access, decode, encode, negotiate,
    supported_versions,
};

use crate::error::BenchError;
use crate::floor::{WaitMode, send_all};
use crate::payload::PreparedProduce;
use crate::received::Received;

/// A broker that says nothing for this long has failed.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Nothing is retried on another connection, so there is nothing to fence.
const NO_SESSION: [u8; 16] = [0; 16];
const RECEIVE_LEN: usize = 64 * 1024;

/// An open connection, past its Hello.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    address: String,
    versions: Negotiated,
    next_correlation_id: u32,
    received: Received,
    mode: WaitMode,
}

/// What became of one produce request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Produced {
    /// Every batch in it is flushed on the whole in-sync set.
    Acknowledged,
    /// Nothing or not all of it was taken, for want of room or because a partition is not open yet; to be sent again no sooner than this.
    Later { retry_after: Duration, reason: String },
}

impl Connection {
    pub fn open(address: &str) -> Result<Self, BenchError> {
        let failed = |source| BenchError::Connection { address: address.to_owned(), source };
        let stream = connect(address).map_err(failed)?;
        stream.set_nodelay(true).map_err(failed)?;
        stream.set_read_timeout(Some(ANSWER_TIMEOUT)).map_err(failed)?;
        stream.set_write_timeout(Some(ANSWER_TIMEOUT)).map_err(failed)?;
        let mut connection = Self {
            stream,
            address: address.to_owned(),
            versions: Negotiated::default(),
            next_correlation_id: 0,
            received: Received::new(RECEIVE_LEN),
            mode: WaitMode::Asleep,
        };
        let hello = HelloRequest {
            client_id: "sluice-bench".to_owned(),
            session_id: NO_SESSION,
            session_attempt: 0,
            versions: supported_versions(),
        };
        let answer = connection.exchange(&hello, 0)?;
        refuse_error("Hello", answer.error, &answer.text)?;
        connection.versions = negotiate(&supported_versions(), &answer.versions);
        Ok(connection)
    }

    /// As it waits from now on.
    pub fn with_mode(mut self, mode: WaitMode) -> Result<Self, BenchError> {
        let set = self.stream.set_nonblocking(mode == WaitMode::Spinning);
        set.map_err(|source| self.failed(source))?;
        self.mode = mode;
        Ok(self)
    }

    /// The version both sides speak of this api.
    pub fn version(&self, api: Api) -> Result<u16, BenchError> {
        self.versions
            .version(api)
            .ok_or_else(|| BenchError::protocol(format!("the broker has no {api} that this program speaks")))
    }

    /// Sends a request and waits for its answer. The answer's own error is the caller's to look at.
    pub fn call<R: Request>(&mut self, request: &R) -> Result<R::Answer, BenchError> {
        let version = self.version(R::API)?;
        self.exchange(request, version)
    }

    /// Sends one produce and returns its correlation id without waiting.
    pub fn send_produce(&mut self, produce: &mut PreparedProduce) -> Result<u32, BenchError> {
        let correlation_id = self.take_correlation_id();
        self.send(produce.stamped(correlation_id))?;
        Ok(correlation_id)
    }

    /// The next answer to a produce, whichever of those in flight it belongs to.
    pub fn receive_produced(&mut self) -> Result<(u32, Produced), BenchError> {
        let prefix = self.receive_message()?;
        let produced = produced(&prefix, self.received.body(&prefix))?;
        self.received.consume(&prefix);
        Ok((prefix.correlation_id, produced))
    }

    /// The bare stream, with nothing received and unused: for a lane that waits on many of them at once.
    pub(crate) fn into_stream(self) -> TcpStream {
        self.stream
    }

    fn exchange<R: Request>(&mut self, request: &R, version: u16) -> Result<R::Answer, BenchError> {
        let correlation_id = self.take_correlation_id();
        let message = encode(correlation_id, version, request, 0).map_err(BenchError::protocol)?;
        self.send(&message)?;
        let prefix = self.receive_message()?;
        if prefix.correlation_id != correlation_id {
            return Err(BenchError::protocol(format!("answers request {}, not {correlation_id}", prefix.correlation_id)));
        }
        let body = self.received.body(&prefix);
        let answer = match prefix.api() {
            Some(api) if api == R::API => decode::<R::Answer>(body).map_err(BenchError::protocol),
            _ => Err(refusal_of(&prefix, body, R::NAME)),
        };
        self.received.consume(&prefix);
        answer
    }

    fn take_correlation_id(&mut self) -> u32 {
        let correlation_id = self.next_correlation_id;
        self.next_correlation_id = correlation_id.wrapping_add(1);
        correlation_id
    }

    fn send(&mut self, bytes: &[u8]) -> Result<(), BenchError> {
        let sent = match self.mode {
            WaitMode::Asleep => self.stream.write_all(bytes),
            WaitMode::Spinning => send_all(&mut self.stream, bytes),
        };
        sent.map_err(|source| self.failed(source))
    }

    /// Waits until a whole message is there. As few receives as can be: what has arrived is taken at once.
    fn receive_message(&mut self) -> Result<Prefix, BenchError> {
        let give_up_at = Instant::now() + ANSWER_TIMEOUT;
        loop {
            if let Some(prefix) = self.received.whole_message()? {
                return Ok(prefix);
            }
            match self.received.fill_from(&mut self.stream) {
                Ok(_) => {}
                Err(error) if error.kind() != ErrorKind::WouldBlock => return Err(self.failed(error)),
                Err(_) if self.mode == WaitMode::Spinning && Instant::now() < give_up_at => std::thread::yield_now(),
                Err(_) => return Err(self.failed(no_answer())),
            }
        }
    }

    fn failed(&self, source: io::Error) -> BenchError {
        BenchError::Connection { address: self.address.clone(), source }
    }
}

/// An error code that is not `None`, as an error that names what was asked for.
pub fn refuse_error(what: &str, code: u16, text: &str) -> Result<(), BenchError> {
    if code == ErrorCode::None as u16 {
        return Ok(());
    }
    Err(BenchError::Refused { what: what.to_owned(), code, text: text.to_owned() })
}

fn no_answer() -> io::Error {
    io::Error::new(ErrorKind::TimedOut, format!("no answer for {} s", ANSWER_TIMEOUT.as_secs()))
}

fn connect(address: &str) -> io::Result<TcpStream> {
    let mut last_error = io::Error::new(ErrorKind::NotFound, "the name has no address");
    for address in address.to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, CONNECT_TIMEOUT) {
            Ok(stream) => return Ok(stream),
            Err(error) => last_error = error,
        }
    }
    Err(last_error)
}

fn produced(prefix: &Prefix, body: &[u8]) -> Result<Produced, BenchError> {
    if prefix.api() != Some(Api::Produce) {
        return match refusal_of(prefix, body, "Produce") {
            BenchError::Refused { code, text, .. } if may_come_later(code) => {
                let retry_after_ms = access::<Refusal>(body).map_or(1, |refusal| refusal.retry_after_ms.to_native());
                Ok(later(retry_after_ms, text))
            }
            error => Err(error),
        };
    }
    let answer = access::<ProduceAnswer>(body).map_err(BenchError::protocol)?;
    let mut refused: Option<(u32, &str)> = None;
    for partition in answer.partitions.iter() {
        let code = partition.error.to_native();
        if may_come_later(code) {
            refused = refused.max(Some((partition.retry_after_ms.to_native(), partition.text.as_str())));
            continue;
        }
        refuse_error("Produce", code, &partition.text)?;
        if Durability::from_u8(partition.durability) != Some(Durability::Committed) {
            return Err(BenchError::protocol(format!("acks=all was acknowledged at durability {}", partition.durability)));
        }
    }
    Ok(refused.map_or(Produced::Acknowledged, |(retry_after_ms, text)| later(retry_after_ms, text.to_owned())))
}

pub(crate) fn may_come_later(code: u16) -> bool {
    [ErrorCode::Overloaded as u16, ErrorCode::NotReady as u16].contains(&code)
}

fn later(retry_after_ms: u32, reason: String) -> Produced {
    Produced::Later { retry_after: Duration::from_millis(u64::from(retry_after_ms)), reason }
}

/// What an answer that is not of its request's own type says.
pub(crate) fn refusal_of(prefix: &Prefix, body: &[u8], what: &str) -> BenchError {
    match (prefix.api(), access::<Refusal>(body)) {
        (Some(Api::Refusal), Ok(refusal)) => {
            BenchError::Refused { what: what.to_owned(), code: refusal.error.to_native(), text: refusal.text.to_string() }
        }
        _ => BenchError::protocol(format!("a {what} is answered with api {}", prefix.api)),
    }
}

#[cfg(test)]
#[path = "connection_test.rs"]
mod tests;
