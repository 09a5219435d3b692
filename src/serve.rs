//! `sluice serve`: settings together, broker up, wait for a signal, broker down.

use crate::config::{self, Override};
use crate::exit_status::{ExitStatus, Failure};
use crate::signals::StopSignal;
use crate::table::print_line;
use clap::Args;
use sluice_broker::{Broker, Cancel, StartError};
use sluice_metadata::FolderId;
use std::path::PathBuf;

#[derive(Args)]
#[command(after_help = "Examples:
  sluice serve --data-dir data                        on 127.0.0.1:7400, one shard for every core but one
  sluice serve --print-config > sluice.toml           every setting with its unit, default and limits
  sluice serve --config sluice.toml --shards 2        flags stand above the file
  sluice serve --listen 0.0.0.0:7400 --advertise broker-1.example

SIGTERM or SIGINT stops it cleanly: what is acknowledged is on disk anyway, and the next start has nothing to replay.
After kill -9 the next start replays the journal; \"listening\" in the log says that it answers, \"serving\" that every
partition is served. Shard N listens on the port N above the first.")]
pub(crate) struct ServeArgs {
    /// Folder of everything the broker keeps; made when missing [setting data_dir]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<String>,
    /// Folder of the journals, on another device perhaps [setting journal_dir]
    #[arg(long, value_name = "DIR")]
    journal_dir: Option<String>,
    /// Address and port of the first shard [setting listen]
    #[arg(long, value_name = "ADDR:PORT")]
    listen: Option<String>,
    /// Host, with a port or without, that clients are told to connect to [setting advertise]
    #[arg(long, value_name = "HOST[:PORT]")]
    advertise: Option<String>,
    /// Number of shards, each on a core of its own [setting shards]
    #[arg(long, value_name = "N")]
    shards: Option<String>,
    /// Shards never sleep: lowest latency, a whole core each even when idle [setting busy_poll]
    #[arg(long)]
    busy_poll: bool,
    /// Any setting, as it would stand in the settings file; may be given several times
    #[arg(long = "set", value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// The data folder that the cluster knows this broker with is lost for good, and this start is on an empty one: its id, as
    /// the refusal of the start without this flag names it. What only that folder held is given up
    #[arg(long, value_name = "FOLDER_ID", value_parser = parse_folder_id)]
    replaces_folder: Option<FolderId>,
    /// File of settings
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Print a settings file with every default and what it means, and end
    #[arg(long)]
    print_config: bool,
}

pub(crate) fn run(args: ServeArgs) -> Result<(), Failure> {
    let settings = config::load(args.config.as_deref(), &overrides(&args)?)?;
    let mut config = settings.broker_config().map_err(Failure::usage)?;
    if let Some(folder_id) = args.replaces_folder {
        let what = "--replaces-folder: only a broker with `cluster_voters` has others that know its folder";
        let cluster = config.cluster.as_mut().ok_or_else(|| Failure::usage(what))?;
        cluster.replaces_folder = Some(folder_id);
    }
    config.check().map_err(|error| start_failure(&error))?;
    if args.print_config {
        return print_line(config::default_file().trim_end());
    }
    let runtime = crate::connect::runtime()?;
    runtime.block_on(async {
        // Before the start, so that a signal during recovery is not lost.
        let mut stop = StopSignal::install()?;
        let cancel = Cancel::default();
        let given_up = cancel.clone();
        let mut started = tokio::task::spawn_blocking(move || sluice_broker::start_listening_unless(config, &given_up));
        let started = tokio::select! {
            started = &mut started => started,
            () = stop.asked() => {
                cancel.cancel();
                started.await
            }
        };
        let broker: Broker = match started.expect("a start does not panic") {
            Err(error @ StartError::Cancelled) => {
                tracing::info!(%error, "stopped");
                return Ok(());
            }
            started => started.map_err(|error| start_failure(&error))?,
        };
        let addresses: Vec<_> = broker.local_addrs().iter().map(ToString::to_string).collect();
        let (addresses, incarnation) = (addresses.join(","), broker.incarnation());
        tracing::info!(addresses, %incarnation, "listening; what is not open yet is answered with NotReady");
        let readiness = broker.readiness();
        let ready = tokio::task::spawn_blocking(move || readiness.wait());
        tokio::select! {
            ready = ready => {
                ready.expect("waiting does not panic").map_err(|error| start_failure(&error))?;
                tracing::info!(addresses, %incarnation, "serving");
                stop.asked().await;
            }
            () = stop.asked() => {}
        }
        tracing::info!("stopping: everything goes to its segments");
        let stopped = tokio::task::spawn_blocking(move || broker.shutdown()).await.expect("a stop does not panic");
        stopped.map_err(|error| Failure::new(ExitStatus::DeviceFailed, error.to_string()))?;
        tracing::info!("stopped");
        Ok(())
    })
}

/// 32 hexadecimal digits.
fn parse_folder_id(text: &str) -> Result<FolderId, String> {
    let is_id = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let number = is_id.then(|| u128::from_str_radix(text, 16).ok()).flatten();
    number
        .map(|number| FolderId(number.to_be_bytes()))
        .ok_or_else(|| format!("{text:?} is no id of a folder: 32 hexadecimal digits"))
}

fn overrides(args: &ServeArgs) -> Result<Vec<Override>, Failure> {
    let mut overrides = Vec::new();
    for text in &args.set {
        let (key, value) =
            text.split_once('=').ok_or_else(|| Failure::usage(format!("--set {text:?} is not KEY=VALUE, such as shards=2")))?;
        overrides.push(Override { setting: key.trim().to_owned(), origin: "--set".to_owned(), text: value.trim().to_owned() });
    }
    let flags = [
        ("data_dir", "--data-dir", &args.data_dir),
        ("journal_dir", "--journal-dir", &args.journal_dir),
        ("listen", "--listen", &args.listen),
        ("advertise", "--advertise", &args.advertise),
        ("shards", "--shards", &args.shards),
    ];
    for (setting, origin, text) in flags {
        if let Some(text) = text {
            overrides.push(Override { setting: setting.to_owned(), origin: origin.to_owned(), text: text.clone() });
        }
    }
    if args.busy_poll {
        overrides.push(Override { setting: "busy_poll".to_owned(), origin: "--busy-poll".to_owned(), text: "true".to_owned() });
    }
    Ok(overrides)
}

/// A reason not to start has the status the broker itself would end with, were it to meet it later.
pub(crate) fn start_failure(error: &StartError) -> Failure {
    let status = ExitStatus::of_broker(error.fatal_reason().exit_status());
    Failure::new(status, format!("the broker did not start: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_named_as_it_is_shown() {
        let folder_id = FolderId(*b"0123456789abcdef");
        assert_eq!(parse_folder_id(&folder_id.to_string()), Ok(folder_id));
        for wrong in ["", "12", "+123456789012345678901234567890a", &"g".repeat(32)] {
            assert!(parse_folder_id(wrong).is_err(), "{wrong}");
        }
    }
}
