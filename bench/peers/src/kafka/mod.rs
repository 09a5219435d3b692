//! Apache Kafka: one broker that is its own controller, spoken to through librdkafka; and any broker of its protocol that runs
//! already, of which `given` says what can be known.
//!
//! Flushed and not flushed are two kinds of topic on the same broker: `flush.messages=1` has it call fsync for each batch it
//! appends, before it answers. Without it, Kafka leaves flushing to the kernel and durability to replicas, of which there is
//! one here. The expensive mistake is a client that is slower than the broker: `client` says why each of its settings is
//! what it is.

mod client;
mod given;
mod install;
mod producer;
mod reader;
mod server_files;
mod system;
mod wake;
mod warm_up;

use std::net::Ipv4Addr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use sluice_bench::BenchError;
use sluice_bench::peer::names::{Flush, GivenServer};
use sluice_bench::system::AcksAsked;

use crate::peer::{Attached, Peer, Say, StartPlan, Started};
use crate::port::free_ports;
use crate::server::Server;
use server_files::{Heap, Ports};
use system::KafkaSystem;

/// Of the broker's jars.
pub(super) const VERSION: &str = "4.3.1";
/// A JVM that loads its classes from a cold disk takes a while; ready within 8 s on two quiet cores.
const START_PATIENCE: Duration = Duration::from_secs(120);

pub(crate) struct Kafka;

impl Peer for Kafka {
    fn name(&self) -> &'static str {
        "kafka"
    }

    fn version(&self) -> &'static str {
        VERSION
    }

    fn install(&self, into: &Path, say: Say<'_>) -> Result<(), BenchError> {
        install::install(into, say)
    }

    fn acknowledgement(&self, flush: Flush, acks: AcksAsked) -> Option<(String, bool)> {
        let (text, flushed) = match (acks, flush) {
            (AcksAsked::None, _) => ("none: the socket has taken it, nothing more is known", false),
            (AcksAsked::Leader, Flush::BeforeAck) => ("fsync on the leader before it answers (flush.messages=1)", true),
            (AcksAsked::Leader, Flush::Later) => ("in the leader's page cache, flushed by the kernel some time later", false),
            (AcksAsked::All, Flush::BeforeAck) => {
                ("fsync before it answers (flush.messages=1), on every in-sync replica (of one broker: on it)", true)
            }
            (AcksAsked::All, Flush::Later) => (
                "in the page cache of every in-sync replica (of one broker: of it), flushed by the kernel some time later",
                false,
            ),
        };
        Some((text.to_owned(), flushed))
    }

    fn settings(&self, _installed: &Path, flush: Flush) -> String {
        let heap = Heap::for_this_machine();
        let topic: Vec<String> =
            system::topic_settings(flush, 0).into_iter().map(|(key, value)| format!("{key}={value}")).collect();
        format!(
            "Apache Kafka {VERSION}\nJVM: {}\n{}\neach topic: {}\n{}",
            server_files::jvm_options(heap).join(" "),
            server_files::server_properties(Ports { broker: 0, controller: 0 }).trim_end(),
            topic.join(", "),
            client_settings(),
        )
    }

    fn start(&self, plan: &StartPlan<'_>) -> Result<Started, BenchError> {
        install::check_java()?;
        let ports = free_ports(2)?;
        let ports = Ports { broker: ports[0], controller: ports[1] };
        server_files::write(plan.data_dir, ports)?;
        install::format_storage(plan)?;
        let mut command = Command::new("java");
        command.args(server_files::jvm_options(Heap::for_this_machine()));
        command.args(server_files::java_arguments(plan.installed, "kafka.Kafka"));
        command.arg(server_files::SERVER_PROPERTIES);
        let mut server = Server::start(command, plan.data_dir)?;
        let address = format!("{}:{}", Ipv4Addr::LOCALHOST, ports.broker);
        server.wait_until(START_PATIENCE, || client::ask_for_brokers(&address))?;
        let mut system = KafkaSystem::own(address, plan.data_dir, plan.flush, server.process());
        warm_up::warm_up(&mut system).map_err(|error| server.explain(error))?;
        Ok(Started { server, system: Box::new(system) })
    }

    fn attach(&self, given: &GivenServer) -> Result<Attached, BenchError> {
        given::check(&given.address)?;
        Ok(Attached {
            system: Box::new(KafkaSystem::given(&given.address)),
            acknowledgements: given::acknowledgements(given.flush),
            settings: given::settings(),
        })
    }
}

/// Of both kinds of client.
fn client_settings() -> String {
    format!(
        "producer (librdkafka): {}\nconsumer (librdkafka): {}",
        client::as_text(&client::producer_settings(AcksAsked::All, &client::ProducerShape { window: 1, flow_count: 1 })),
        client::as_text(&client::consumer_settings(0)),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_flush_before_the_answer_is_called_flushed() {
        for acks in [AcksAsked::None, AcksAsked::Leader, AcksAsked::All] {
            for flush in Flush::BOTH {
                let (text, flushed) = Kafka.acknowledgement(flush, acks).expect("Kafka knows all of them");
                assert_eq!(flushed, flush == Flush::BeforeAck && acks != AcksAsked::None, "{acks:?}, {flush:?}");
                assert_eq!(text.starts_with("fsync"), flushed, "{text}");
            }
        }
    }

    #[test]
    fn settings_name_what_makes_the_difference() {
        let settings = |flush| Kafka.settings(Path::new(""), flush);
        let (flushed, not) = (settings(Flush::BeforeAck), settings(Flush::Later));
        assert!(flushed.contains("flush.messages=1") && !not.contains("flush.messages"), "{flushed}\n{not}");
        for expected in [VERSION, "-Xmx", "linger.ms=0", "acks=all", "check.crcs=true"] {
            assert!(flushed.contains(expected), "{expected} in {flushed}");
        }
    }
}
