//! Peers: what our users would pick instead, measured by a program of its own with this package's generator.
//!
//! That program (`bench/peers`) is outside the workspace, because clients of four systems are more to build than Sluice is.
//! This side only finds it, has it install what is missing, and talks to one child for each system over its standard
//! streams: `messages` is the conversation. The expensive mistake is a peer's figure that is no measurement: a child or a
//! server that goes away is an outcome of its round, marked and in no median.

mod child;
pub mod messages;
mod missing;
pub mod names;
mod program;
mod target;

use std::rc::Rc;

use sluice_tuning::ScratchFolder;

pub use program::PeersProgram;
pub use target::PeerTarget;

use crate::error::BenchError;
use crate::options::BenchOptions;
use crate::run::Target;
use missing::MissingPeer;
use names::{Flush, system_name};

/// The systems of every peer that `options` name, each both ways it can flush, after installing what is missing; of a server that
/// runs already the one there is. A peer that cannot be had is one that says so ([`Target::missing`]). Call it on the thread that
/// measures.
///
/// # Errors When the options are wrong, there is no program for peers, or a server that was given by its address is not there.
pub fn open(options: &BenchOptions) -> Result<Vec<Box<dyn Target>>, BenchError> {
    let peers = names::select(&options.peers)?;
    if peers.is_empty() {
        return Ok(Vec::new());
    }
    // What is wrong with the other options is said before anything is installed.
    options.check()?;
    let program = PeersProgram::find(options.peers_program.as_deref(), options.peers_dir.as_deref())?;
    let folder = Rc::new(ScratchFolder::create(&options.data_dir)?);
    let mut targets: Vec<Box<dyn Target>> = Vec::new();
    for peer in peers {
        if peer.given.is_some() {
            targets.push(Box::new(PeerTarget::attach(&program, &peer.to_string(), &folder)?));
            continue;
        }
        if let Some(because) = program.install(peer.name)? {
            targets.push(Box::new(MissingPeer { name: peer.name, because }));
            continue;
        }
        for flush in Flush::BOTH {
            targets.push(Box::new(PeerTarget::open(&program, &system_name(peer.name, flush), &folder)?));
        }
    }
    Ok(targets)
}
