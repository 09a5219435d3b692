//! What this program has to know of a peer: how it is had, how it is started, and how it is spoken to.
//!
//! A new peer is a module with one implementation of [`Peer`] and a line in [`find`]. The expensive mistake is an
//! acknowledgement that means something else than [`Peer::acknowledgement`] says: read the server's own documentation for it,
//! and look at its system calls.

use std::path::Path;

use sluice_bench::BenchError;
use sluice_bench::peer::messages::Acknowledgement;
use sluice_bench::peer::names::{Flush, GivenServer, PEERS};
use sluice_bench::system::{AcksAsked, System};

use crate::server::Server;

/// Tells people what an installation is at, a line at a time.
pub(crate) type Say<'a> = &'a mut dyn FnMut(&str);

/// One that can be installed and measured.
pub(crate) trait Peer {
    /// One of [`PEERS`].
    fn name(&self) -> &'static str;

    /// Of the server; part of the name of its folder, so a new version is installed beside an old one. A-Z, digits, `.`, `-`.
    fn version(&self) -> &'static str;

    /// Puts the server into the empty folder `into`, which is renamed afterwards: no file in it may name its path.
    ///
    /// # Errors What is missing, and which command gets it.
    fn install(&self, into: &Path, say: Say<'_>) -> Result<(), BenchError>;

    /// What an acknowledgement means, in one line, and whether it comes after a flush; `None` when it cannot be asked for.
    fn acknowledgement(&self, flush: Flush, acks: AcksAsked) -> Option<(String, bool)>;

    /// Its version, and the settings that [`Self::start`] starts it with, as text.
    fn settings(&self, installed: &Path, flush: Flush) -> String;

    /// Starts the server on free ports of 127.0.0.1 and waits until it serves. Called on the main thread, whose end is the
    /// server's.
    ///
    /// # Errors When it does not serve in time; it is gone then.
    fn start(&self, plan: &StartPlan<'_>) -> Result<Started, BenchError>;

    /// Speaks with a server that runs already, and that nothing here ends.
    ///
    /// # Errors When nobody is there, or it speaks something else; always, of a peer that has to be set up for the purpose.
    fn attach(&self, _: &GivenServer) -> Result<Attached, BenchError> {
        Err(BenchError::Option { problem: format!("a server of {} that runs already cannot be measured", self.name()) })
    }
}

/// A server that was not started here, and what its user says of it.
pub(crate) struct Attached {
    /// Without processes, which are not known.
    pub system: Box<dyn System>,
    pub acknowledgements: Vec<Acknowledgement>,
    pub settings: String,
}

/// Where and how to start a server.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StartPlan<'a> {
    /// The folder that [`Peer::install`] filled.
    pub installed: &'a Path,
    /// An empty folder for its data, configuration and log (`server.log`).
    pub data_dir: &'a Path,
    pub flush: Flush,
}

/// A server that serves.
pub(crate) struct Started {
    pub server: Server,
    /// Its `processes` are the server's; its `settle` waits for them. `create_topic` may rely on nothing else being there, and
    /// `delete_topic` gives the room back that the topic took on disk and in memory.
    pub system: Box<dyn System>,
}

/// The peer of this name.
///
/// # Errors When it is none, or this program was built without it.
pub(crate) fn find(name: &str) -> Result<Box<dyn Peer>, BenchError> {
    match name {
        #[cfg(feature = "iggy")]
        "iggy" => Ok(Box::new(crate::iggy::Iggy)),
        #[cfg(feature = "kafka")]
        "kafka" => Ok(Box::new(crate::kafka::Kafka)),
        #[cfg(feature = "nats")]
        "nats" => Ok(Box::new(crate::nats::Nats)),
        #[cfg(feature = "redis")]
        "redis" => Ok(Box::new(crate::redis::Redis)),
        known if PEERS.contains(&known) => Err(BenchError::Option {
            problem: format!(
                "this sluice-bench-peers was built without {known}: build it with its default features, \
                 cargo build --release --manifest-path bench/peers/Cargo.toml"
            ),
        }),
        unknown => Err(BenchError::Option { problem: format!("there is no peer {unknown}, but {}", PEERS.join(", ")) }),
    }
}
