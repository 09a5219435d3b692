//! One connection: what arrives, what goes out, and when it is left alone or closed.
//!
//! The expensive mistake is a peer that makes the shard hold bytes for it without end: it is not read while it has too
//! many requests under way or does not take its answers, and it is closed when it neither takes nor gives what it
//! owes. Deliberately absent: sockets and the meaning of requests.

use crate::config::BrokerConfig;
use crate::input::Input;
use crate::output::Output;
use crate::peer::Peer;
use crate::slab::Key;
use sluice_model::limits::REQUESTS_IN_FLIGHT_PER_CONNECTION_MAX;
use sluice_shard::Reservation;

/// A connection with more than this to be sent is not read, bytes.
const OUTPUT_PAUSE_LEN: usize = 1024 * 1024;
/// The same for answers that no budget knows of (refusals for want of room).
const UNRESERVED_PAUSE_LEN: usize = 4096;
/// The first request has to come within this time, milliseconds.
pub(crate) const HELLO_MS_MAX: u64 = 30_000;
/// A closing connection's last bytes are thrown away for this long, so that its last answer is not lost to a reset.
const CLOSING_MS_MAX: u64 = 1_000;

/// Requests that arrived together with earlier ones while the connection had to wait.
#[derive(Debug)]
pub(crate) struct Carry {
    pub(crate) bytes: Vec<u8>,
    pub(crate) position: usize,
    pub(crate) reservation: Reservation,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Nothing but Hello is taken.
    New,
    Open,
    /// The peer sends no more; what it asked is still answered.
    HalfClosed,
    /// The last answer is on its way; what arrives is thrown away.
    Closing {
        since_ms: u64,
    },
}

#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) phase: Phase,
    pub(crate) peer: Peer,
    pub(crate) input: Input,
    pub(crate) output: Output,
    pub(crate) carry: Option<Carry>,
    /// Which client this is one connection of, when it said so.
    pub(crate) session: Option<[u8; 16]>,
    /// Requests that wait for an answer.
    pub(crate) in_flight: usize,
    /// Fetches parked for this connection.
    pub(crate) parked: Vec<Key>,
    /// Grows with every fetch, so that each of its partitions is the first to be served in turn.
    pub(crate) fetch_turn: u32,
    /// Whether the peer's goodbye to sending was already told to the socket.
    pub(crate) is_shut: bool,
    /// What the socket is watched for: readable, writable.
    interest: (bool, bool),
    opened_ms: u64,
    /// The last request or answer.
    active_ms: u64,
    /// The last time the peer took bytes, or there were none for it.
    taken_ms: u64,
}

/// Why the sweep closes a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Overdue {
    Hello,
    Request,
    Output,
    Idle,
    Closing,
}

impl Connection {
    pub(crate) fn new(now_ms: u64) -> Self {
        Self {
            phase: Phase::New,
            peer: Peer::Client,
            input: Input::new(now_ms * 1000),
            output: Output::default(),
            carry: None,
            session: None,
            in_flight: 0,
            parked: Vec::new(),
            fetch_turn: 0,
            is_shut: false,
            interest: (true, false),
            opened_ms: now_ms,
            active_ms: now_ms,
            taken_ms: now_ms,
        }
    }

    /// The next request of this connection is left where it is until something was answered or sent.
    pub(crate) fn must_pause(&self) -> bool {
        self.in_flight >= REQUESTS_IN_FLIGHT_PER_CONNECTION_MAX
            || self.output.len() > OUTPUT_PAUSE_LEN
            || self.output.unreserved_len() > UNRESERVED_PAUSE_LEN
    }

    /// Whether its socket is to be read: never while requests that came before still wait here.
    pub(crate) fn wants_input(&self) -> bool {
        match self.phase {
            Phase::New | Phase::Open => self.carry.is_none() && !self.must_pause(),
            Phase::HalfClosed => false,
            Phase::Closing { .. } => true,
        }
    }

    /// Whether the socket is watched for something to read.
    pub(crate) fn watches_input(&self) -> bool {
        self.interest.0
    }

    /// The interest the socket should have now, when it is another than it has.
    pub(crate) fn changed_interest(&mut self) -> Option<(bool, bool)> {
        let wanted = (self.wants_input(), !self.output.is_empty());
        if wanted == self.interest {
            return None;
        }
        self.interest = wanted;
        Some(wanted)
    }

    pub(crate) fn on_request(&mut self, now_ms: u64) {
        self.active_ms = now_ms;
    }

    /// An answer is about to be put in the output.
    pub(crate) fn on_answer(&mut self, now_ms: u64) {
        self.active_ms = now_ms;
        if self.output.is_empty() {
            self.taken_ms = now_ms;
        }
    }

    pub(crate) fn on_sent(&mut self, now_ms: u64) {
        self.taken_ms = now_ms;
    }

    /// After the answers that are due, nothing more comes.
    pub(crate) fn begin_closing(&mut self, now_ms: u64) {
        if !matches!(self.phase, Phase::Closing { .. }) {
            self.phase = Phase::Closing { since_ms: now_ms };
        }
        self.carry = None;
    }

    /// Nothing is owed to a peer that sends no more.
    pub(crate) fn is_done(&self) -> bool {
        self.phase == Phase::HalfClosed && self.in_flight == 0 && self.output.is_empty() && self.carry.is_none()
    }

    /// What is owed for too long, if anything.
    pub(crate) fn overdue(&self, now_ms: u64, config: &BrokerConfig) -> Option<Overdue> {
        let since = |then: u64| now_ms.saturating_sub(then);
        if !self.output.is_empty() && since(self.taken_ms) > config.output_stall_ms_max {
            return Some(Overdue::Output);
        }
        match self.phase {
            Phase::Closing { since_ms } if self.output.is_empty() && since(since_ms.max(self.taken_ms)) > CLOSING_MS_MAX => {
                Some(Overdue::Closing)
            }
            Phase::Closing { .. } => None,
            _ if self.input.is_stalled(now_ms.saturating_mul(1000)) && self.wants_input() => Some(Overdue::Request),
            Phase::New if since(self.opened_ms) > HELLO_MS_MAX => Some(Overdue::Hello),
            _ if self.in_flight == 0 && self.output.is_empty() && since(self.active_ms) > config.connection_idle_ms_max => {
                Some(Overdue::Idle)
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::answer::AnswerFrames;
    use bytes::Bytes;

    fn config() -> BrokerConfig {
        BrokerConfig::new("x", "127.0.0.1:0".parse().expect("an address"))
    }

    #[test]
    fn a_connection_that_does_not_take_its_answers_is_not_read_and_then_closed() {
        let mut connection = Connection::new(0);
        connection.phase = Phase::Open;
        assert_eq!(connection.changed_interest(), None);
        connection.on_answer(1000);
        connection.output.push(Bytes::from(vec![0; UNRESERVED_PAUSE_LEN + 1]), AnswerFrames::default());
        assert_eq!(connection.changed_interest(), Some((false, true)));
        assert_eq!(connection.overdue(1000 + config().output_stall_ms_max, &config()), None);
        assert_eq!(connection.overdue(1001 + config().output_stall_ms_max, &config()), Some(Overdue::Output));
        connection.output.sent(UNRESERVED_PAUSE_LEN + 1, |_| {});
        connection.on_sent(2000);
        assert_eq!(connection.changed_interest(), Some((true, false)));
    }

    #[test]
    fn a_connection_with_many_requests_under_way_is_not_read() {
        let mut connection = Connection::new(0);
        connection.phase = Phase::Open;
        connection.in_flight = REQUESTS_IN_FLIGHT_PER_CONNECTION_MAX;
        assert!(!connection.wants_input());
        connection.in_flight -= 1;
        assert!(connection.wants_input());
    }

    #[test]
    fn silence_is_closed_after_its_time() {
        let mut connection = Connection::new(0);
        assert_eq!(connection.overdue(HELLO_MS_MAX, &config()), None);
        assert_eq!(connection.overdue(HELLO_MS_MAX + 1, &config()), Some(Overdue::Hello));
        connection.phase = Phase::Open;
        assert_eq!(connection.overdue(config().connection_idle_ms_max, &config()), None);
        assert_eq!(connection.overdue(config().connection_idle_ms_max + 1, &config()), Some(Overdue::Idle));
        connection.in_flight = 1;
        assert_eq!(connection.overdue(u64::MAX, &config()), None);
        connection.begin_closing(5000);
        assert_eq!(connection.overdue(5000 + CLOSING_MS_MAX, &config()), None);
        assert_eq!(connection.overdue(5001 + CLOSING_MS_MAX, &config()), Some(Overdue::Closing));
    }
}
