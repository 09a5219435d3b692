//! `sluice topic elect`: preferred leaders again; and, shown and asked for first, a leader that may lack records.

use super::unclean;
use crate::connect::{BrokerArgs, client_failure};
use crate::exit_status::{ExitStatus, Failure};
use clap::Args;
use sluice_client::Admin;

pub(super) const HELP: &str = "Examples:
  sluice topic elect --all                              after restarts: every partition is led by its preferred broker
  sluice topic elect events                             those of one topic
  sluice topic elect events --partition 3
  sluice topic elect events --partition 3 --unclean --replica 2

The preferred leader is the first of a partition's replicas; it leads again only where it is in sync, and nothing is lost.

--unclean is for one partition that nobody leads, because every broker that may be trusted with it is gone for good. It
shows how far the log of each replica goes that can be asked, asks, and makes the named one lead. Records that were
acknowledged and that it lacks are LOST, also where a broker that has them comes back.";

#[derive(Args)]
pub(crate) struct ElectArgs {
    /// Topic whose partitions are to be led anew
    #[arg(required_unless_present = "all")]
    name: Option<String>,
    /// Every partition of every topic
    #[arg(long, conflicts_with_all = ["name", "partitions", "unclean"])]
    all: bool,
    /// One partition; may be given several times [default: all of the topic]
    #[arg(long = "partition", value_name = "N")]
    partitions: Vec<u32>,
    /// Let a replica lead that may lack acknowledged records
    #[arg(long, requires = "replica")]
    unclean: bool,
    /// With --unclean: the broker that is to lead
    #[arg(long, value_name = "BROKER", requires = "unclean")]
    replica: Option<u32>,
    /// With --unclean: do not ask
    #[arg(long, requires = "unclean")]
    yes: bool,
    #[command(flatten)]
    broker: BrokerArgs,
}

pub(super) async fn run(args: ElectArgs) -> Result<(), Failure> {
    if args.unclean && args.partitions.len() != 1 {
        return Err(Failure::usage("--unclean is for one partition at a time").remedy("--partition N, once"));
    }
    let admin = Admin::new(args.broker.connect().await?);
    let Some(name) = &args.name else {
        let changed = admin.elect_all_preferred_leaders().await.map_err(|error| client_failure(&error))?;
        eprintln!("{}", if changed { "leaders have changed" } else { "no leader has changed" });
        let left = admin.describe_cluster().await.map_err(|error| client_failure(&error))?.counts.not_led_by_preferred;
        if left > 0 {
            eprintln!(
                "{left} partition(s) are led by others still: their preferred brokers are not in sync, or were not just now"
            );
        }
        return Ok(());
    };
    let topic = admin.describe_topic(name).await.map_err(|error| client_failure(&error))?;
    if let (Some(replica), [partition]) = (args.replica, &args.partitions[..]) {
        return unclean::elect(&admin, &topic, *partition, replica, args.yes).await;
    }
    let partitions: Vec<u32> = match args.partitions.is_empty() {
        true => topic.partitions.iter().map(|partition| partition.partition).collect(),
        false => args.partitions.clone(),
    };
    let (mut led, mut refused) = (0, Vec::new());
    for of in partitions.chunks(sluice_model::limits::PARTITIONS_PER_REQUEST_MAX) {
        let elected = admin.elect_preferred_leaders(topic.topic_id, of).await.map_err(|error| client_failure(&error))?;
        for (partition, elected) in of.iter().zip(elected) {
            match elected.error {
                0 => led += 1,
                _ => refused.push(format!("partition {partition}: {}", elected.text)),
            }
        }
    }
    eprintln!("{led} partition(s) are led by their preferred broker");
    if refused.is_empty() {
        return Ok(());
    }
    let what = format!("{} partition(s) of {name} stay as they are:\n  {}", refused.len(), refused.join("\n  "));
    Err(Failure::new(ExitStatus::Refused, what).remedy("wait until the preferred brokers are in sync: `sluice cluster status`"))
}
