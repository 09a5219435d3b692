//! One connection that XADDs are pipelined over: what goes out, what is out, and what the answers say.
//!
//! The client crate's blocking connection waits for the answers of one pipeline before it sends the next, and its asynchronous
//! one has a task and an allocation for each record. So commands are encoded and answers read here; both are a few bytes of
//! Redis's protocol.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::fd::{AsRawFd, RawFd};

use sluice_bench::BenchError;
use sluice_bench::system::{Outcome, Settled};

const RECEIVE_LEN: usize = 64 * 1024;
/// No answer to an XADD is longer than this line.
const LINE_LEN_MAX: usize = 64 * 1024;

/// A record that is not answered yet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pending {
    pub token: u64,
    pub flow: usize,
    pub value_len: usize,
}

#[derive(Debug)]
pub(super) struct Wire {
    stream: TcpStream,
    out: Vec<u8>,
    sent_len: usize,
    received: Vec<u8>,
    pub pending: VecDeque<Pending>,
    /// The socket took not everything: it is watched for room.
    pub is_blocked: bool,
}

impl Wire {
    pub(super) fn open(port: u16) -> Result<Self, BenchError> {
        let stream = TcpStream::connect(("127.0.0.1", port)).and_then(|stream| {
            stream.set_nodelay(true)?;
            stream.set_nonblocking(true)?;
            Ok(stream)
        });
        let stream = stream.map_err(|source| BenchError::Connection { address: format!("127.0.0.1:{port}"), source })?;
        Ok(Self { stream, out: Vec::new(), sent_len: 0, received: Vec::new(), pending: VecDeque::new(), is_blocked: false })
    }

    pub(super) fn fd(&self) -> RawFd {
        self.stream.as_raw_fd()
    }

    /// `begin` is the command up to the length of its value.
    pub(super) fn queue(&mut self, begin: &[u8], value: &[u8]) {
        self.out.extend_from_slice(begin);
        let mut digits = [0; 20];
        self.out.extend_from_slice(decimal(value.len(), &mut digits));
        self.out.extend_from_slice(b"\r\n");
        self.out.extend_from_slice(value);
        self.out.extend_from_slice(b"\r\n");
    }

    /// Sends what the socket takes; whether that was all.
    pub(super) fn send(&mut self) -> Result<bool, BenchError> {
        while self.sent_len < self.out.len() {
            match self.stream.write(&self.out[self.sent_len..]) {
                Ok(0) => return Err(failed(ErrorKind::WriteZero.into())),
                Ok(len) => self.sent_len += len,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(failed(error)),
            }
        }
        self.out.clear();
        self.sent_len = 0;
        Ok(true)
    }

    /// Reads what has come; the answered records go to `settled` and their flows to `answered`.
    pub(super) fn receive(&mut self, settled: &mut Vec<Settled>, answered: &mut Vec<Pending>) -> Result<(), BenchError> {
        loop {
            let old_len = self.received.len();
            self.received.resize(old_len + RECEIVE_LEN, 0);
            let read = self.stream.read(&mut self.received[old_len..]);
            self.received.truncate(old_len + *read.as_ref().unwrap_or(&0));
            match read {
                Ok(0) => return Err(failed(ErrorKind::UnexpectedEof.into())),
                Ok(len) => {
                    self.settle(settled, answered)?;
                    if len < RECEIVE_LEN {
                        return Ok(());
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(failed(error)),
            }
        }
    }

    fn settle(&mut self, settled: &mut Vec<Settled>, answered: &mut Vec<Pending>) -> Result<(), BenchError> {
        let mut used = 0;
        while let Some((outcome, len)) = answer(&self.received[used..])? {
            used += len;
            let Some(pending) = self.pending.pop_front() else {
                return Err(BenchError::protocol("Redis answers more commands than it was sent"));
            };
            settled.push(Settled { token: pending.token, outcome });
            answered.push(pending);
        }
        self.received.drain(..used);
        Ok(())
    }
}

/// The answer to one XADD at the begin of `bytes`, and its length; `None` while it is not whole.
fn answer(bytes: &[u8]) -> Result<Option<(Outcome, usize)>, BenchError> {
    let Some(line_len) = bytes.windows(2).take(LINE_LEN_MAX).position(|pair| pair == b"\r\n") else {
        if bytes.len() > LINE_LEN_MAX {
            return Err(BenchError::protocol("Redis answers with a line without an end"));
        }
        return Ok(None);
    };
    let line = &bytes[..line_len];
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    match line.split_first() {
        Some((b'$', digits)) => {
            let len: Option<usize> = std::str::from_utf8(digits).ok().and_then(|digits| digits.parse().ok());
            let Some(len) = len.filter(|len| *len <= LINE_LEN_MAX) else {
                return Err(BenchError::protocol(format!("Redis answers an XADD with {:?}", text(line))));
            };
            let whole = line_len + 2 + len + 2;
            Ok((bytes.len() >= whole).then_some((Outcome::Acknowledged, whole)))
        }
        Some((b'-', problem)) => Ok(Some((Outcome::Failed { because: text(problem) }, line_len + 2))),
        _ => Err(BenchError::protocol(format!("Redis answers an XADD with {:?}", text(line)))),
    }
}

fn failed(source: std::io::Error) -> BenchError {
    BenchError::Connection { address: "Redis".to_owned(), source }
}

fn decimal(mut number: usize, digits: &mut [u8; 20]) -> &[u8] {
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            return &digits[at..];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read_whole_or_not_at_all() {
        let bytes = b"$15\r\n1700000000000-0\r\n-OOM command not allowed\r\n";
        for len in 0..22 {
            assert_eq!(answer(&bytes[..len]).expect("no nonsense"), None, "{len} bytes");
        }
        assert_eq!(answer(bytes).expect("an id"), Some((Outcome::Acknowledged, 22)));
        let failed = Outcome::Failed { because: "OOM command not allowed".to_owned() };
        assert_eq!(answer(&bytes[22..]).expect("a refusal"), Some((failed, 26)));
        for nonsense in [&b":5\r\n"[..], b"$-1\r\n", b"$x\r\n", b"\r\n", b"$99999999999999999999\r\n"] {
            assert!(answer(nonsense).is_err(), "{nonsense:?}");
        }
        assert!(answer(&vec![b'x'; LINE_LEN_MAX + 1]).is_err());
    }

    #[test]
    fn lengths_are_written_in_full() {
        for number in [0, 9, 10, 1024, usize::MAX] {
            assert_eq!(decimal(number, &mut [0; 20]), number.to_string().as_bytes());
        }
    }
}
