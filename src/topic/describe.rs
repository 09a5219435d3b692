//! `sluice topic describe`: settings, and the partitions with their leaders, replicas and offsets.

use crate::connect::{BrokerArgs, client_failure};
use crate::exit_status::Failure;
use crate::table::{Table, print_line};
use clap::Args;
use serde_json::{Value, json};
use sluice_client::{Admin, DescribedPartition, DescribedReplicas, PartitionInfo, TopicInfo};
use std::collections::HashMap;

#[derive(Args)]
pub(crate) struct DescribeArgs {
    /// Topic to show
    name: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    broker: BrokerArgs,
}

pub(super) async fn run(args: DescribeArgs) -> Result<(), Failure> {
    let admin = Admin::new(args.broker.connect().await?);
    let described = admin.describe_topic(&args.name).await.map_err(|error| client_failure(&error))?;
    let numbers: Vec<u32> = described.partitions.iter().map(|partition| partition.partition).collect();
    let replicas = admin.describe_replicas(described.topic_id, &numbers).await.map_err(|error| client_failure(&error))?;
    // Nobody knows the offsets of a partition that nobody leads.
    let led: Vec<_> = described.partitions.iter().filter(|partition| partition.leader.is_some()).collect();
    let wanted: Vec<_> = led.iter().map(|partition| (args.name.as_str(), partition.partition)).collect();
    let states = admin.describe_partitions(&wanted).await.map_err(|error| client_failure(&error))?;
    let states: HashMap<u32, DescribedPartition> = led.iter().map(|partition| partition.partition).zip(states).collect();
    let table = table(&described, &replicas, &states);
    if args.json {
        let settings: serde_json::Map<_, _> =
            described.settings.iter().map(|(key, value)| (key.clone(), value.clone().into())).collect();
        let document = json!({
            "name": args.name, "topic_id": described.topic_id.to_string(), "settings": settings, "partitions": table.to_json(),
        });
        return print_line(&format!("{document:#}"));
    }
    let settings: Vec<_> = described.settings.iter().map(|(key, value)| format!("{key}={value}")).collect();
    let settings = if settings.is_empty() { "all settings are the defaults".to_owned() } else { settings.join(" ") };
    print_line(&format!("{}  id {}  {settings}\n{}", args.name, described.topic_id, table.to_text()))
}

fn table(described: &TopicInfo, replicas: &[DescribedReplicas], states: &HashMap<u32, DescribedPartition>) -> Table {
    let mut table = Table::new(&[
        "partition",
        "leader",
        "shard",
        "address",
        "leader_epoch",
        "replicas",
        "in_sync",
        "eligible",
        "log_start",
        "high_watermark",
        "log_end",
        "bytes",
        "segments",
    ]);
    for (placed, held) in described.partitions.iter().zip(replicas) {
        let mut row = leader_cells(placed);
        row.extend([
            held.replicas.iter().map(|replica| replica.broker_id).collect::<Vec<_>>().into(),
            held.isr.clone().into(),
            held.eligible_leader_replicas.clone().into(),
        ]);
        row.extend(match states.get(&placed.partition) {
            Some(state) => [
                state.log_start_offset.into(),
                state.high_watermark.into(),
                state.log_end_offset.into(),
                state.log_len.into(),
                state.segment_count.into(),
            ],
            None => [const { Value::Null }; 5],
        });
        table.push(row);
    }
    table
}

fn leader_cells(placed: &PartitionInfo) -> Vec<Value> {
    vec![
        placed.partition.into(),
        placed.leader.into(),
        placed.leader.map(|_| placed.shard).into(),
        placed.address.as_ref().map(ToString::to_string).into(),
        placed.leader_epoch.into(),
    ]
}
