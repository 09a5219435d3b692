//! Apache Iggy: one server, spoken to through its own client crate over TCP.
//!
//! Flushed and not flushed are two settings of the server: with `enforce_fsync` and a threshold of one message it writes and
//! flushes each batch it appends before it answers; by default it answers when it has the batch in memory. The expensive
//! mistake is a client and a server of different protocols: Iggy has no fallback, so each client fits one line of servers.
//! The server is on no package registry; `install` says so, and takes one that is there already.

mod client;
mod install;
mod producer;
mod reader;
mod system;

use std::fs;
use std::net::Ipv4Addr;
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
use system::IggySystem;

/// The servers that this client speaks with: those whose version begins so.
pub(super) const SERVER_LINE: &str = "0.8";
pub(super) const CLIENT_VERSION: &str = "0.10.0";
pub(super) const PROGRAM: &str = "iggy-server";
const CONFIG: &str = "iggy.toml";
const START_PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct Iggy;

impl Peer for Iggy {
    fn name(&self) -> &'static str {
        "iggy"
    }

    fn version(&self) -> &'static str {
        SERVER_LINE
    }

    fn install(&self, into: &Path, say: Say<'_>) -> Result<(), BenchError> {
        install::install(into, say)
    }

    /// Its clients do not choose: what a topic promises holds for every send, and every send is answered.
    fn acknowledgement(&self, flush: Flush, acks: AcksAsked) -> Option<(String, bool)> {
        let (text, flushed) = match flush {
            Flush::BeforeAck => ("written and flushed (enforce_fsync, messages_required_to_save = 1)", true),
            Flush::Later => ("in the server's memory; written each 1,024 messages or 1 MiB, and flushed later", false),
        };
        (acks != AcksAsked::None).then(|| (text.to_owned(), flushed))
    }

    fn settings(&self, installed: &Path, flush: Flush) -> String {
        let version = install::version_of(&installed.join(PROGRAM)).unwrap_or_else(|_| format!("{SERVER_LINE}.x"));
        format!(
            "Apache Iggy server {version}, client {CLIENT_VERSION} (TCP, TCP_NODELAY)\n{}\notherwise the defaults",
            config(flush, 0).trim_end(),
        )
    }

    fn start(&self, plan: &StartPlan<'_>) -> Result<Started, BenchError> {
        let port = free_ports(1)?[0];
        let config_path = plan.data_dir.join(CONFIG);
        fs::write(&config_path, config(plan.flush, port)).map_err(at(&config_path))?;
        let mut command = Command::new(plan.installed.join(PROGRAM));
        // It keeps its data in its working folder.
        command.env("IGGY_CONFIG_PATH", CONFIG);
        command.env("IGGY_ROOT_USERNAME", client::USER).env("IGGY_ROOT_PASSWORD", client::PASSWORD);
        let mut server = Server::start(command, plan.data_dir)?;
        let address = format!("{}:{port}", Ipv4Addr::LOCALHOST);
        let system = server.wait_until(START_PATIENCE, || IggySystem::connect(&address, plan.flush))?;
        let system = system.of_process(server.process());
        Ok(Started { server, system: Box::new(system) })
    }
}

/// Its defaults, with one listener on loopback and no others, and what is flushed.
fn config(flush: Flush, port: u16) -> String {
    let partition = match flush {
        Flush::BeforeAck => "\n[system.partition]\nenforce_fsync = true\nmessages_required_to_save = 1\n",
        Flush::Later => "",
    };
    format!(
        "[tcp]\nenabled = true\naddress = \"127.0.0.1:{port}\"\n\n[http]\nenabled = false\n\n[quic]\nenabled = false\n\n\
         [websocket]\nenabled = false\n{partition}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_server_that_flushes_each_message_is_called_flushed() {
        for flush in Flush::BOTH {
            let (text, flushed) = Iggy.acknowledgement(flush, AcksAsked::All).expect("it acknowledges");
            assert_eq!(flushed, flush == Flush::BeforeAck, "{text}");
            assert_eq!(Iggy.acknowledgement(flush, AcksAsked::None), None);
            assert_eq!(text.contains("enforce_fsync"), flushed, "{text}");
            let config: toml::Table = config(flush, 1).parse().expect("TOML");
            let partition = config.get("system").map(|system| &system["partition"]);
            let flushes = partition.map(|own| (own["enforce_fsync"].as_bool(), own["messages_required_to_save"].as_integer()));
            assert_eq!(flushes, flushed.then_some((Some(true), Some(1))));
        }
    }

    #[test]
    fn the_server_listens_on_loopback_and_nowhere_else() {
        let config: toml::Table = config(Flush::BeforeAck, 12_345).parse().expect("TOML");
        assert_eq!(config["tcp"]["address"].as_str(), Some("127.0.0.1:12345"));
        for other in ["http", "quic", "websocket"] {
            assert_eq!(config[other]["enabled"].as_bool(), Some(false), "{other}");
        }
    }

    #[test]
    fn the_client_is_the_one_that_is_built_in() {
        let lock: toml::Table = include_str!("../../Cargo.lock").parse().expect("TOML");
        let packages = lock["package"].as_array().expect("packages");
        let iggy = packages.iter().find(|package| package["name"].as_str() == Some("iggy")).expect("the client");
        assert_eq!(iggy["version"].as_str(), Some(CLIENT_VERSION));
    }
}
