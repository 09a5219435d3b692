//! Reaching a broker: the flags every client command shares, and the client's errors as failures of the program.

use crate::exit_status::{ExitStatus, Failure};
use crate::units;
use clap::Args;
use sluice_client::{Client, ClientConfig, ClientError};
use sluice_model::ErrorCode;
use std::time::Duration;

pub(crate) const BROKER_DEFAULT: &str = "127.0.0.1:7400";

#[derive(Args, Clone, Debug)]
pub(crate) struct BrokerArgs {
    /// Brokers to ask first, HOST[:PORT] each, separated by commas; one that answers is enough
    #[arg(long = "broker", value_name = "ADDR[,ADDR…]", value_delimiter = ',', default_value = BROKER_DEFAULT, value_parser = check_address)]
    pub(crate) brokers: Vec<String>,
    /// How long each of them may take to answer; one that refuses the connection is passed over at once
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = units::parse_duration)]
    pub(crate) connect_timeout: Duration,
}

fn check_address(text: &str) -> Result<String, String> {
    let text = text.trim();
    sluice_client::Address::parse(text).map(|_| text.to_owned()).map_err(|error| error.to_string())
}

impl BrokerArgs {
    pub(crate) async fn connect(&self) -> Result<Client, Failure> {
        let connect_timeout_ms = u32::try_from(self.connect_timeout.as_millis()).unwrap_or(u32::MAX);
        let config = ClientConfig { client_id: "sluice".to_owned(), connect_timeout_ms, ..ClientConfig::default() };
        Client::connect(&self.brokers, config).await.map_err(|error| client_failure(&error))
    }
}

/// The program's word for what a client could not do.
pub(crate) fn client_failure(error: &ClientError) -> Failure {
    match error {
        ClientError::InvalidSetting { .. } | ClientError::InvalidAddress { .. } => Failure::usage(error.to_string()),
        ClientError::Unreachable { tried } => {
            let tried: Vec<_> = tried.iter().map(|(address, why)| format!("{address} ({why})")).collect();
            Failure::new(ExitStatus::Unreachable, format!("no broker answers at {}", tried.join(", ")))
                .remedy("start one with `sluice serve --data-dir DIR`, or name another with --broker HOST:PORT")
        }
        ClientError::Broker { code, .. } => {
            let failure = Failure::new(broker_status(*code), error.to_string());
            match broker_remedy(*code) {
                Some(remedy) => failure.remedy(remedy),
                None => failure,
            }
        }
        ClientError::Lost { .. } | ClientError::NoLeader { .. } => Failure::new(ExitStatus::Unreachable, error.to_string()),
        ClientError::Protocol { .. } => Failure::new(ExitStatus::Unreachable, error.to_string())
            .remedy("see that a sluice broker of a matching version listens there"),
        _ => Failure::new(ExitStatus::Failed, error.to_string()),
    }
}

fn broker_status(code: ErrorCode) -> ExitStatus {
    match code {
        ErrorCode::Damaged | ErrorCode::CorruptFrame => ExitStatus::Damaged,
        _ => ExitStatus::Refused,
    }
}

fn broker_remedy(code: ErrorCode) -> Option<&'static str> {
    match code {
        ErrorCode::UnknownTopic => {
            Some("`sluice topic list` shows the topics there are; `sluice topic create NAME --partitions N` makes one")
        }
        ErrorCode::UnknownPartition => Some("`sluice topic describe NAME` shows its partitions"),
        ErrorCode::TopicExists => Some("choose another name, or change it with `sluice topic alter`"),
        ErrorCode::OffsetOutOfRange => {
            Some("`sluice topic describe NAME` shows the offsets there are; --from beginning takes the first")
        }
        ErrorCode::DiskFull => Some("free space on the broker's device, delete a topic, or shorten a retention"),
        ErrorCode::Overloaded => Some("again, later or more slowly"),
        ErrorCode::NotReady => {
            Some("again in a moment: a broker is starting, or a partition has no leader that knows its end yet")
        }
        _ => None,
    }
}

/// The runtime of a command that talks to a broker: two threads, so that reading or writing files and talking go on
/// at the same time.
pub(crate) fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.worker_threads(2).enable_all().build().map_err(|error| Failure::io("cannot start the runtime", &error))
}
