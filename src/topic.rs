//! `sluice topic create|list|describe|alter|elect|delete`.

mod describe;
mod elect;
mod unclean;

use crate::connect::{BrokerArgs, client_failure};
use crate::exit_status::{ExitStatus, Failure};
use crate::table::Table;
use clap::Args;
use serde_json::Value;
use sluice_client::Admin;
use sluice_model::limits::{PARTITIONS_PER_TOPIC_MAX, REPLICAS_PER_PARTITION_MAX};

#[derive(clap::Subcommand)]
pub(crate) enum TopicCommand {
    /// Create a topic
    #[command(after_help = SETTINGS_HELP_CREATE)]
    Create(CreateArgs),
    /// List the topics
    #[command(after_help = "Examples:\n  sluice topic list\n  sluice topic list --json | jq -r '.[].name'")]
    List(ListArgs),
    /// Show a topic's settings and the state of its partitions
    #[command(after_help = "Examples:
  sluice topic describe events
  sluice topic describe events --json

A partition's records are those from log start to high watermark; what lies between high watermark and log end is
appended and not yet durable everywhere it has to be. `in sync` are the replicas that must hold a record before it is
acknowledged; `eligible` are others that are known to hold all that was. Of a partition that nobody leads, nobody knows
the offsets.")]
    Describe(describe::DescribeArgs),
    /// Change a topic's settings, or give it more partitions
    #[command(after_help = "Examples:
  sluice topic alter events --set retention_ms=1d
  sluice topic alter events --partitions 16

More partitions move keys: records of a key that were sent before stay where they are. Fewer are not possible.")]
    Alter(AlterArgs),
    /// Let partitions be led by their preferred brokers again
    #[command(after_help = elect::HELP)]
    Elect(elect::ElectArgs),
    /// Delete a topic with everything in it
    #[command(after_help = "Examples:\n  sluice topic delete events")]
    Delete(DeleteArgs),
}

const SETTINGS_HELP_CREATE: &str = "Examples:
  sluice topic create events --partitions 8
  sluice topic create audit --partitions 1 --set retention_ms=30d --set segment_len=64MiB
  sluice topic create orders --partitions 8 --replicas 3 --min-in-sync 2

In a cluster of three or more brokers a partition has three replicas, of which two have to be in sync, unless something
else is asked for; otherwise one.

Settings of a topic, lengths as \"64MiB\", durations as \"30d\":
  segment_len            bytes of a segment before the next one is begun
  retention_bytes        bytes each partition keeps; older segments are removed
  retention_ms           how long records are kept, by the broker's clock
  frame_len_max          bytes of the largest batch that is accepted
  min_insync_replicas    replicas that must hold a record before it is acknowledged";

#[derive(Args)]
pub(crate) struct CreateArgs {
    /// Letters, digits, `.`, `_` and `-`
    name: String,
    /// Number of partitions: what is sent to different ones may be consumed at once, and in no order
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=i64::from(PARTITIONS_PER_TOPIC_MAX)))]
    partitions: u32,
    /// Brokers that hold each partition
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=i64::from(REPLICAS_PER_PARTITION_MAX)))]
    replicas: Option<u32>,
    /// So many of them must hold a record before it is acknowledged [setting min_insync_replicas]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=i64::from(REPLICAS_PER_PARTITION_MAX)))]
    min_in_sync: Option<u32>,
    /// A setting of the topic; may be given several times
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = parse_setting)]
    settings: Vec<(String, String)>,
    #[command(flatten)]
    broker: BrokerArgs,
}

#[derive(Args)]
pub(crate) struct ListArgs {
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    broker: BrokerArgs,
}

#[derive(Args)]
pub(crate) struct AlterArgs {
    /// Topic to change
    name: String,
    /// A setting to change; may be given several times
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = parse_setting)]
    settings: Vec<(String, String)>,
    /// New number of partitions, greater than now
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=i64::from(PARTITIONS_PER_TOPIC_MAX)))]
    partitions: Option<u32>,
    #[command(flatten)]
    broker: BrokerArgs,
}

#[derive(Args)]
pub(crate) struct DeleteArgs {
    /// Topic to delete; what it holds cannot be brought back
    name: String,
    #[command(flatten)]
    broker: BrokerArgs,
}

/// `KEY=VALUE`. The broker reads the value, with its unit, and knows its limits.
pub(crate) fn parse_setting(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.trim().is_empty() => Ok((key.trim().to_owned(), value.trim().to_owned())),
        _ => Err(format!("{text:?} is not KEY=VALUE, such as retention_ms=7d")),
    }
}

pub(crate) fn run(command: TopicCommand) -> Result<(), Failure> {
    let runtime = crate::connect::runtime()?;
    runtime.block_on(async {
        match command {
            TopicCommand::Create(args) => create(args).await,
            TopicCommand::List(args) => list(args).await,
            TopicCommand::Describe(args) => describe::run(args).await,
            TopicCommand::Alter(args) => alter(args).await,
            TopicCommand::Elect(args) => elect::run(args).await,
            TopicCommand::Delete(args) => delete(args).await,
        }
    })
}

async fn create(args: CreateArgs) -> Result<(), Failure> {
    let mut settings = args.settings;
    if let Some(min_in_sync) = args.min_in_sync {
        settings.push(("min_insync_replicas".to_owned(), min_in_sync.to_string()));
    }
    let admin = Admin::new(args.broker.connect().await?);
    let created = admin.create_replicated_topic(&args.name, args.partitions, args.replicas, &settings).await;
    created.map_err(|error| client_failure(&error))?;
    eprintln!("created topic {} with {} partition(s)", args.name, args.partitions);
    Ok(())
}

async fn list(args: ListArgs) -> Result<(), Failure> {
    let admin = Admin::new(args.broker.connect().await?);
    let topics = admin.list_topics().await.map_err(|error| client_failure(&error))?;
    let mut table = Table::new(&["name", "partitions", "topic_id", "settings"]);
    for topic in topics {
        let settings: serde_json::Map<_, _> =
            topic.settings.iter().map(|(key, value)| (key.clone(), value.clone().into())).collect();
        table.push(vec![
            topic.name.as_ref().into(),
            topic.partitions.len().into(),
            topic.topic_id.to_string().into(),
            Value::Object(settings),
        ]);
    }
    table.print(args.json, "no topics; `sluice topic create NAME --partitions N` makes one")
}

async fn alter(args: AlterArgs) -> Result<(), Failure> {
    if args.settings.is_empty() && args.partitions.is_none() {
        return Err(Failure::new(ExitStatus::Usage, "nothing to change").remedy("--set KEY=VALUE, --partitions N, or both"));
    }
    let admin = Admin::new(args.broker.connect().await?);
    admin.alter_topic(&args.name, &args.settings, args.partitions).await.map_err(|error| client_failure(&error))?;
    eprintln!("changed topic {}", args.name);
    Ok(())
}

async fn delete(args: DeleteArgs) -> Result<(), Failure> {
    let admin = Admin::new(args.broker.connect().await?);
    admin.delete_topic(&args.name).await.map_err(|error| client_failure(&error))?;
    eprintln!("deleted topic {}", args.name);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_split_at_the_first_equals_sign() {
        assert_eq!(parse_setting("retention_ms = 7d"), Ok(("retention_ms".to_owned(), "7d".to_owned())));
        assert!(parse_setting("segment_len").is_err() && parse_setting("=5").is_err());
    }

    #[test]
    fn help_and_readme_name_every_setting_there_is() {
        let readme = include_str!("../README.md");
        for setting in sluice_metadata::topic_settings::SETTINGS {
            assert!(SETTINGS_HELP_CREATE.contains(&format!("  {} ", setting.name)), "help lacks {}", setting.name);
            assert!(readme.contains(&format!("| `{}` |", setting.name)), "README.md lacks {}", setting.name);
        }
    }
}
