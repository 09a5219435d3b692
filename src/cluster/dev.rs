//! `sluice cluster dev`: several brokers on this machine, one process each, for as long as this command runs.
//!
//! The expensive mistake is to leave a broker behind that nobody knows of: they end with this process, whatever ends it.
//! Deliberately absent: starting a broker again by itself. Somebody killed it to see what happens.

mod folder;
mod plan;
mod processes;

use crate::connect::BrokerArgs;
use crate::exit_status::{ExitStatus, Failure};
use crate::signals::StopSignal;
use crate::table::{Table, print_line};
use clap::Args;
use folder::ClusterFolder;
use plan::PlannedBroker;
use processes::{Ended, Processes};
use serde_json::json;
use sluice_client::{Admin, ClusterBrokerState};
use std::path::PathBuf;
use std::time::Duration;

/// After this long the table is shown although not all of them are active.
const READY_PATIENCE: Duration = Duration::from_secs(60);
const LOOK_AGAIN: Duration = Duration::from_millis(200);

pub(super) const HELP: &str = "Examples:
  sluice cluster dev                              three brokers, in a folder of this directory that is removed at the end
  sluice cluster dev --brokers 5 --data-dir play  keeps the folder; the same command takes it up again
  kill -9 PID                                     of one of them: the others go on, and it says how to start it again
  sluice cluster status                           from another terminal

Each broker is a process of its own with a folder of its own, DIR/broker-N: its settings (sluice.toml), its data and its
log. They share this machine's cores and disk, so this is to try things out, not to measure. SIGINT or SIGTERM ends all.";

#[derive(Args)]
pub(crate) struct DevArgs {
    /// Number of brokers [default: as many as DIR has, else 3]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(3..=9))]
    brokers: Option<u32>,
    /// Folder of all of them, made when missing, not on tmpfs [default: one in this directory that is removed at the end]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Shards of each broker, for a folder that is new
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=64))]
    shards: Option<u16>,
    /// First port to try, for a folder that is new; the following free ones are taken and stand in the settings
    #[arg(long, value_name = "PORT", default_value_t = 7400, value_parser = clap::value_parser!(u16).range(1024..=60_000))]
    port: u16,
    /// Print what was started as JSON, once all are active
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(args: DevArgs) -> Result<(), Failure> {
    let mut stop = StopSignal::install()?;
    let mut folder = ClusterFolder::open(args.data_dir.as_deref())?;
    let brokers = folder.plan(args.brokers, args.shards, args.port)?;
    let mut processes = Processes::start(&brokers)?;
    let result = attend(&mut processes, &brokers, &folder, args.json, &mut stop).await;
    let stopped = processes.stop().await;
    let result = result.and(stopped);
    folder.finish(&brokers, result.is_ok());
    result
}

/// From the start to the wish to stop, or to the end of the last broker.
async fn attend(
    processes: &mut Processes,
    brokers: &[PlannedBroker],
    folder: &ClusterFolder,
    json: bool,
    stop: &mut StopSignal,
) -> Result<(), Failure> {
    let mut is_shown = false;
    let mut first_failure = None;
    let ready = tokio::time::timeout(READY_PATIENCE, until_active(brokers));
    tokio::pin!(ready);
    loop {
        tokio::select! {
            () = stop.asked() => return Ok(()),
            result = &mut ready, if !is_shown => {
                is_shown = true;
                show(processes, brokers, folder, json)?;
                match result {
                    Ok(()) => eprintln!("all {} brokers are active; SIGINT or SIGTERM ends them", brokers.len()),
                    Err(_) => eprintln!("not all brokers are active after {} s; their logs say why", READY_PATIENCE.as_secs()),
                }
            }
            ended = processes.next_end() => {
                let Ended { broker, pid, how } = ended;
                let planned = &brokers[broker];
                eprintln!("broker {} (process {pid}) {}{}", planned.id, how.said, planned.last_words());
                first_failure.get_or_insert(how);
                if processes.running() > 0 {
                    eprintln!("the others go on; start it again with\n  sluice serve --config {}", planned.settings.display());
                    continue;
                }
                let failed = first_failure.map(|how| how.status).filter(|status| *status != ExitStatus::Success);
                let status = failed.unwrap_or(ExitStatus::Failed);
                let what = "every broker has ended; nothing runs any more";
                return Err(Failure::new(status, what).remedy(format!("see the logs in {}", folder.path().display())));
            }
        }
    }
}

/// Returns when one of the brokers says that all of them are active.
async fn until_active(brokers: &[PlannedBroker]) {
    let args = BrokerArgs {
        brokers: brokers.iter().map(|broker| broker.listen.to_string()).collect(),
        connect_timeout: Duration::from_secs(1),
    };
    loop {
        tokio::time::sleep(LOOK_AGAIN).await;
        let Ok(client) = args.connect().await else { continue };
        let Ok(cluster) = Admin::new(client).describe_cluster().await else { continue };
        let is_active =
            |id| cluster.brokers.iter().any(|broker| broker.broker_id == id && broker.state == ClusterBrokerState::Active as u8);
        if brokers.iter().all(|broker| is_active(broker.id)) {
            return;
        }
    }
}

fn show(processes: &Processes, brokers: &[PlannedBroker], folder: &ClusterFolder, json: bool) -> Result<(), Failure> {
    let mut table = Table::new(&["broker", "address", "controller_address", "pid", "folder", "settings", "log"]);
    for (number, broker) in brokers.iter().enumerate() {
        table.push(vec![
            broker.id.into(),
            broker.listen.to_string().into(),
            broker.controller_listen.to_string().into(),
            processes.pid(number).into(),
            broker.folder.display().to_string().into(),
            broker.settings.display().to_string().into(),
            broker.log.display().to_string().into(),
        ]);
    }
    if json {
        let document = json!({ "data_dir": folder.path().display().to_string(), "brokers": table.to_json() });
        return print_line(&format!("{document:#}"));
    }
    let mut short = Table::new(&["broker", "address", "pid", "folder"]);
    for (number, broker) in brokers.iter().enumerate() {
        let (address, folder) = (broker.listen.to_string(), broker.folder.display().to_string());
        short.push(vec![broker.id.into(), address.into(), processes.pid(number).into(), folder.into()]);
    }
    print_line(&short.to_text())?;
    let addresses: Vec<String> = brokers.iter().map(|broker| broker.listen.to_string()).collect();
    print_line(&format!("\nclients: --broker {}", addresses.join(",")))
}
