//! The floor: the barest durable server there can be. A thread receives a record, writes 4 KiB that are flushed when the
//! call returns, and answers.
//!
//! Whatever a broker adds (framing, routing, checksums, an executor) stands above this, so its p50 over the floor's is the
//! price of the broker. The expensive mistake would be a floor that is handicapped: no allocation, no lock and no shared
//! state stands in its way, and the spinning variant has a core for each side. Absent: any protocol, any second connection.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::time::Duration;

use core_affinity::CoreId;
use serde::{Deserialize, Serialize};

use crate::closed_loop::{LoopFigures, closed_loop, paced_loop};
use crate::probe::DurableBlockFile;

/// A 1 KiB record with about the headers that a produce request puts around it.
pub const REQUEST_LEN: usize = 1024 + 128;
pub const ANSWER_LEN: usize = 64;

/// How both sides wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WaitMode {
    /// In blocking calls, so the core sleeps.
    Asleep,
    /// In non-blocking calls over and over, each side pinned to a core of its own.
    Spinning,
}

/// Whether this host has a core for each side, as the spinning floor needs.
pub fn can_spin() -> bool {
    two_cores().is_some()
}

/// The closed loop of one client against the bare server, over loopback, for `duration`.
pub fn measure_floor(mode: WaitMode, file: &mut DurableBlockFile, duration: Duration) -> io::Result<LoopFigures> {
    against_server(mode, Some(file), |wire| closed_loop(duration, || wire.exchange()))
}

/// The same, both sides asleep, at a rate: latency counts from the time at which each request was meant to be sent.
pub fn measure_floor_open(file: &mut DurableBlockFile, per_s: f64, duration: Duration) -> io::Result<LoopFigures> {
    against_server(WaitMode::Asleep, Some(file), |wire| paced_loop(per_s, duration, || wire.exchange()))
}

/// The closed loop without the write: there and back over loopback, both sides asleep.
pub fn measure_echo(duration: Duration) -> io::Result<LoopFigures> {
    against_server(WaitMode::Asleep, None, |wire| closed_loop(duration, || wire.exchange()))
}

fn against_server(
    mode: WaitMode,
    file: Option<&mut DurableBlockFile>,
    client: impl FnOnce(&mut Client) -> io::Result<LoopFigures> + Send,
) -> io::Result<LoopFigures> {
    let cores = if mode == WaitMode::Spinning { two_cores() } else { None };
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let address = listener.local_addr()?;
    std::thread::scope(|scope| {
        let server = scope.spawn(move || {
            pin(cores.map(|(first, _)| first));
            let (stream, _) = listener.accept()?;
            serve(&mut Wire::new(stream, mode)?, file)
        });
        let client = scope.spawn(move || {
            pin(cores.map(|(_, second)| second));
            client(&mut Client { wire: Wire::new(TcpStream::connect(address)?, mode)?, answer: [0; ANSWER_LEN] })
        });
        let figures = client.join().expect("the floor's client does not panic");
        let served = server.join().expect("the floor's server does not panic");
        // A server that failed is why its client failed: its error says more.
        served.and(figures)
    })
}

struct Client {
    wire: Wire,
    answer: [u8; ANSWER_LEN],
}

impl Client {
    fn exchange(&mut self) -> io::Result<()> {
        self.wire.send(&[0x5a; REQUEST_LEN])?;
        self.wire.receive(&mut self.answer)
    }
}

/// Answers until the client hangs up.
fn serve(wire: &mut Wire, mut file: Option<&mut DurableBlockFile>) -> io::Result<()> {
    let (mut request, answer) = ([0; REQUEST_LEN], [0xa5; ANSWER_LEN]);
    loop {
        match wire.receive(&mut request) {
            Ok(()) => {}
            Err(error) if matches!(error.kind(), ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset) => return Ok(()),
            Err(error) => return Err(error),
        }
        if let Some(file) = &mut file {
            file.write_next()?;
        }
        wire.send(&answer)?;
    }
}

/// A connection whose calls wait in one of the two ways.
struct Wire {
    stream: TcpStream,
}

impl Wire {
    fn new(stream: TcpStream, mode: WaitMode) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        stream.set_nonblocking(mode == WaitMode::Spinning)?;
        Ok(Self { stream })
    }

    fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        send_all(&mut self.stream, bytes)
    }

    fn receive(&mut self, buffer: &mut [u8]) -> io::Result<()> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self.stream.read(&mut buffer[filled..]) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(len) => filled += len,
                Err(error) if is_not_yet(&error) => std::thread::yield_now(),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// Sends all of it; on a socket that does not block it looks for room over and over.
///
/// # Errors What the socket says, but that it has no room now.
pub fn send_all(stream: &mut TcpStream, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match stream.write(bytes) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(len) => bytes = &bytes[len..],
            Err(error) if is_not_yet(&error) => std::thread::yield_now(),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn is_not_yet(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}

fn two_cores() -> Option<(CoreId, CoreId)> {
    let cores = core_affinity::get_core_ids()?;
    match cores[..] {
        [first, .., last] => Some((last, first)),
        _ => None,
    }
}

/// Pins the calling thread; where pinning is forbidden the thread stays where the kernel puts it.
fn pin(core: Option<CoreId>) {
    if let Some(core) = core {
        core_affinity::set_for_current(core);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    use crate::folder::ScratchFolder;

    /// Beside the test's own executable, which lies on a disk, as `/tmp` may not.
    fn scratch() -> ScratchFolder {
        let executable = std::env::current_exe().expect("the test's own path");
        ScratchFolder::create(&executable.parent().unwrap_or(Path::new(".")).join("floor-test"))
            .expect("a scratch folder on a disk")
    }

    #[test]
    fn every_answer_follows_a_write_in_both_modes() {
        let folder = scratch();
        let mut file = DurableBlockFile::create(&folder.join("durable"), 64 << 10).expect("a pre-written file");
        for mode in [WaitMode::Asleep, WaitMode::Spinning] {
            if mode == WaitMode::Spinning && !can_spin() {
                continue;
            }
            let figures = measure_floor(mode, &mut file, Duration::from_millis(30)).expect("a floor");
            assert!(figures.latencies.count() > 0 && figures.per_s() > 0.0, "{mode:?}");
        }
        let paced = measure_floor_open(&mut file, 1000.0, Duration::from_millis(30)).expect("a paced floor");
        let (count, slow) = (paced.latencies.count(), crate::closed_loop::saturation(&paced, 1000.0));
        assert!(count >= 30 || slow.is_some(), "every request of the schedule is sent, or it says why not: {count}");
        assert!(measure_echo(Duration::from_millis(10)).expect("an echo").latencies.count() > 0);
    }
}
