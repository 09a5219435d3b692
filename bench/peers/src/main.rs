//! `sluice-bench-peers`: installs peers, and measures one of them round by round for `sluice bench run`.
//!
//! It links the generator of `sluice-bench`, so that a peer sees the same records at the same times by the same clock as
//! Sluice does. Absent: choosing workloads, medians, reports; the parent does that.

mod conversation;
mod folder;
mod peer;
mod port;
mod server;
mod session;
mod tools;

#[cfg(feature = "iggy")]
mod iggy;
#[cfg(feature = "kafka")]
mod kafka;
#[cfg(feature = "nats")]
mod nats;
#[cfg(feature = "redis")]
mod redis;
// What clients on tokio share.
#[cfg(any(feature = "iggy", feature = "nats"))]
mod sharp_timer;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use sluice_bench::BenchError;
use sluice_bench::peer::names::{PEERS, peer_of, select};

use crate::folder::PeersFolder;
use crate::session::Session;

#[derive(Parser)]
#[command(name = "sluice-bench-peers", about = "Peers for `sluice bench run --peer`, which runs this program by itself")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Put peers into the folder, unless they are there
    Install {
        /// kafka, nats, redis or iggy; may be given several times
        #[arg(long = "peer", required = true)]
        peers: Vec<String>,
        #[arg(long, value_name = "DIR")]
        folder: PathBuf,
    },
    /// Say which peers are there; the exit status is 1 when one is missing
    Check {
        #[arg(long = "peer")]
        peers: Vec<String>,
        #[arg(long, value_name = "DIR")]
        folder: PathBuf,
    },
    /// Measure rounds on a server that runs already, as told on standard input, until it ends
    Attach {
        /// kafka=HOST:PORT, with `,flushed` or `,unflushed` behind it when that is known
        #[arg(long)]
        peer: String,
    },
    /// Measure rounds as told on standard input, until it ends
    Serve {
        /// A peer's name, with `-unflushed` behind it for the one that acknowledges before it flushes
        #[arg(long)]
        system: String,
        /// Where peers are installed
        #[arg(long, value_name = "DIR")]
        folder: PathBuf,
        /// Where the server keeps its data; made, and removed in the end
        #[arg(long, value_name = "DIR")]
        data_dir: PathBuf,
    },
}

fn main() -> ExitCode {
    match run(Arguments::parse().command) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<ExitCode, BenchError> {
    match command {
        Command::Install { peers, folder } => install(&peers, &PeersFolder::open(&folder)?),
        Command::Check { peers, folder } => check(&peers, &PeersFolder::open(&folder)?),
        Command::Serve { system, folder, data_dir } => {
            raise_descriptor_limit();
            let (name, flush) = peer_of(&system);
            let peer = peer::find(name)?;
            let installed = PeersFolder::open(&folder)?.installed(peer.as_ref())?;
            conversation::run(Session::new(peer, flush, installed, data_dir)).map(|()| ExitCode::SUCCESS)
        }
        Command::Attach { peer } => {
            raise_descriptor_limit();
            attach(&peer).map(|()| ExitCode::SUCCESS)
        }
    }
}

/// That nobody is there is an answer like others: the parent says it to its user.
fn attach(asked: &str) -> Result<(), BenchError> {
    let asked = select(&[asked.to_owned()])?.remove(0);
    let name = asked.name;
    let Some(given) = asked.given else {
        return Err(BenchError::Option { problem: format!("--peer {name}: it needs an address, {name}=HOST:PORT") });
    };
    match Session::attach(peer::find(name)?, given) {
        Ok(session) => conversation::run(session),
        Err(error) => conversation::refuse(&error),
    }
}

/// A thousand connections are more than many systems allow at first; the server inherits it. Where it cannot be raised, a
/// workload that needs it fails by name.
fn raise_descriptor_limit() {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is a valid place for one limit, and lives until the calls return.
    unsafe {
        if libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) == 0 {
            limit.rlim_cur = limit.rlim_max;
            libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit);
        }
    }
}

/// Every one that can be had, even after one that cannot.
fn install(names: &[String], folder: &PeersFolder) -> Result<ExitCode, BenchError> {
    let mut code = ExitCode::SUCCESS;
    for name in names {
        let found = peer::find(name);
        let installed = found.and_then(|peer| folder.install(peer.as_ref(), &mut |line| eprintln!("{name}: {line}")));
        if let Err(error) = installed {
            eprintln!("{name} cannot be had: {error}");
            code = ExitCode::FAILURE;
        }
    }
    Ok(code)
}

fn check(names: &[String], folder: &PeersFolder) -> Result<ExitCode, BenchError> {
    let mut code = ExitCode::SUCCESS;
    let all: Vec<String> = PEERS.map(str::to_owned).to_vec();
    for name in if names.is_empty() { &all } else { names } {
        match peer::find(name).and_then(|peer| folder.installed(peer.as_ref())) {
            Ok(path) => println!("{name}: {}", path.display()),
            Err(error) => {
                println!("{name}: {error}");
                code = ExitCode::FAILURE;
            }
        }
    }
    Ok(code)
}
