//! `sluice cluster status`: the cluster as a broker knows it.

use crate::connect::{BrokerArgs, client_failure};
use crate::exit_status::Failure;
use crate::table::{Table, print_line};
use crate::units::{Unit, format_exact};
use clap::Args;
use serde_json::{Value, json};
use sluice_client::{Admin, ClusterBrokerState, DescribeClusterAnswer, TopicId};

#[derive(Args)]
pub(crate) struct StatusArgs {
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    broker: BrokerArgs,
}

pub(crate) async fn run(args: StatusArgs) -> Result<(), Failure> {
    let admin = Admin::new(args.broker.connect().await?);
    let cluster = admin.describe_cluster().await.map_err(|error| client_failure(&error))?;
    if args.json {
        return print_line(&format!("{:#}", to_json(&cluster)));
    }
    print_line(&heading(&cluster))?;
    print_line(&brokers(&cluster).to_text())?;
    print_line(&counts_text(&cluster))?;
    if cluster.ailing.is_empty() {
        return Ok(());
    }
    let (shown, all) = (cluster.ailing.len() as u64, cluster.ailing_count);
    let first = if shown < all { format!(", the first {shown} of {all}") } else { String::new() };
    print_line(&format!("\nNOT AS THEY SHOULD BE{first}\n{}", ailing(&cluster).to_text()))
}

fn heading(cluster: &DescribeClusterAnswer) -> String {
    let controller = match cluster.controller {
        Some(broker) => format!("broker {broker} is the controller, in term {}", cluster.term),
        None => "NO CONTROLLER IS KNOWN".to_owned(),
    };
    let heard = match cluster.heard_ms_ago {
        Some(ms) => format!("heard {} ago", format_exact(ms, Unit::Milliseconds)),
        None => "not heard since its start".to_owned(),
    };
    let voters: Vec<String> = cluster.voters.iter().map(ToString::to_string).collect();
    format!(
        "cluster {}  {controller}, of the voters {}\nas broker {} knows it, {heard}",
        TopicId(cluster.cluster_id),
        voters.join(", "),
        cluster.broker_id,
    )
}

fn brokers(cluster: &DescribeClusterAnswer) -> Table {
    let mut table = Table::new(&["broker", "state", "address", "shards", "rack", "incarnation", "votes"]);
    for broker in &cluster.brokers {
        table.push(vec![
            broker.broker_id.into(),
            state_name(broker.state).into(),
            format!("{}:{}", broker.address.host, broker.address.port).into(),
            broker.shard_count.into(),
            broker.rack.clone().into(),
            broker.incarnation.into(),
            (if cluster.voters.contains(&broker.broker_id) { "yes" } else { "no" }).into(),
        ]);
    }
    table
}

fn counts_text(cluster: &DescribeClusterAnswer) -> String {
    let counts = &cluster.counts;
    format!(
        "\npartitions: {}; without a leader: {}, below min in-sync: {}, under-replicated: {}, not led by the preferred: {}",
        counts.total, counts.without_leader, counts.below_min_insync, counts.under_replicated, counts.not_led_by_preferred,
    )
}

fn ailing(cluster: &DescribeClusterAnswer) -> Table {
    let mut table = Table::new(&["topic", "partition", "leader", "replicas", "in_sync", "min_in_sync"]);
    for partition in &cluster.ailing {
        table.push(vec![
            partition.topic.clone().into(),
            partition.partition.into(),
            partition.leader.into(),
            partition.replicas.clone().into(),
            partition.isr.clone().into(),
            partition.min_insync_replicas.into(),
        ]);
    }
    table
}

pub(super) fn state_name(state: u8) -> &'static str {
    match ClusterBrokerState::from_u8(state) {
        Some(ClusterBrokerState::Recovering) => "recovering",
        Some(ClusterBrokerState::Fenced) => "fenced",
        Some(ClusterBrokerState::Active) => "active",
        Some(ClusterBrokerState::ShuttingDown) => "shutting down",
        None => "unknown",
    }
}

fn to_json(cluster: &DescribeClusterAnswer) -> Value {
    let counts = &cluster.counts;
    json!({
        "cluster_id": TopicId(cluster.cluster_id).to_string(),
        "answered_by": cluster.broker_id,
        "controller": cluster.controller,
        "term": cluster.term,
        "heard_ms_ago": cluster.heard_ms_ago,
        "voters": cluster.voters,
        "brokers": brokers(cluster).to_json(),
        "broker_count": cluster.broker_count,
        "partitions": {
            "total": counts.total,
            "without_leader": counts.without_leader,
            "below_min_in_sync": counts.below_min_insync,
            "under_replicated": counts.under_replicated,
            "not_led_by_preferred": counts.not_led_by_preferred,
        },
        "ailing": ailing(cluster).to_json(),
        "ailing_count": cluster.ailing_count,
    })
}
