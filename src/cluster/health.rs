//! `sluice cluster health`: one answer, for scripts and for whoever restarts one broker after the other.
//!
//! The expensive mistake is to call a cluster healthy because the broker that answers has not heard otherwise: one that is
//! out of touch is no witness.

use super::status::state_name;
use crate::connect::{BrokerArgs, client_failure};
use crate::exit_status::{ExitStatus, Failure};
use crate::table::print_line;
use crate::units;
use clap::Args;
use serde_json::json;
use sluice_client::{Admin, AilingPartition, ClusterBrokerState, DescribeClusterAnswer};
use std::time::{Duration, Instant};

/// Three leases: a broker that has not been confirmed for so long knows nothing of now.
const HEARD_MS_MAX: u64 = 3000;
/// Partitions named in words; the others are counted.
const NAMED_MAX: usize = 8;
const LOOK_AGAIN: Duration = Duration::from_millis(300);

#[derive(Args)]
pub(crate) struct HealthArgs {
    /// Look again for as long as this, until all is well
    #[arg(long, value_name = "TIME", value_parser = units::parse_duration)]
    wait: Option<Duration>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    broker: BrokerArgs,
}

pub(crate) async fn run(args: HealthArgs) -> Result<(), Failure> {
    let deadline = args.wait.map(|wait| Instant::now() + wait);
    loop {
        let looked = look(&args.broker).await;
        let is_well = looked.as_ref().is_ok_and(|cluster| reasons(cluster).is_empty());
        if is_well || deadline.is_none_or(|deadline| Instant::now() >= deadline) {
            return tell(&looked?, args.json);
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

async fn look(broker: &BrokerArgs) -> Result<DescribeClusterAnswer, Failure> {
    let admin = Admin::new(broker.connect().await?);
    admin.describe_cluster().await.map_err(|error| client_failure(&error))
}

fn tell(cluster: &DescribeClusterAnswer, json: bool) -> Result<(), Failure> {
    let reasons = reasons(cluster);
    let all_well =
        format!("healthy: {} broker(s), {} partition(s), all led and in sync", cluster.broker_count, cluster.counts.total);
    if json {
        let document = json!({ "healthy": reasons.is_empty(), "answered_by": cluster.broker_id, "reasons": reasons });
        print_line(&format!("{document:#}"))?;
    } else if reasons.is_empty() {
        print_line(&all_well)?;
    }
    if reasons.is_empty() {
        return Ok(());
    }
    let what = format!("not healthy, as broker {} knows it:\n  {}", cluster.broker_id, reasons.join("\n  "));
    Err(Failure::new(ExitStatus::Unhealthy, what).remedy("`sluice cluster status` shows brokers and partitions"))
}

/// What is missing; nothing when all is well.
fn reasons(cluster: &DescribeClusterAnswer) -> Vec<String> {
    let mut reasons = Vec::new();
    if cluster.controller.is_none() {
        reasons.push("no controller is known: a majority of the voters has to be there".to_owned());
    }
    let me = cluster.broker_id;
    match cluster.heard_ms_ago {
        None => reasons.push(format!("broker {me} has not heard the controller since its start; ask another with --broker")),
        Some(ms) if ms > HEARD_MS_MAX => {
            reasons.push(format!("broker {me} has not heard the controller for {ms} ms; ask another with --broker"));
        }
        Some(_) => {}
    }
    for &voter in &cluster.voters {
        match cluster.brokers.iter().find(|broker| broker.broker_id == voter) {
            Some(broker) if broker.state == ClusterBrokerState::Active as u8 => {}
            Some(broker) => reasons.push(format!("broker {voter}, which votes, is {}", state_name(broker.state))),
            None => reasons.push(format!("broker {voter}, which votes, has never registered")),
        }
    }
    reasons.extend(cluster.ailing.iter().take(NAMED_MAX).map(ailment));
    let more = cluster.ailing_count.saturating_sub(NAMED_MAX as u64);
    if more > 0 {
        reasons.push(format!("{more} more partition(s) are not led or not fully in sync"));
    }
    reasons
}

fn ailment(partition: &AilingPartition) -> String {
    let AilingPartition { topic, partition, leader, replicas, isr, min_insync_replicas } = partition;
    if leader.is_none() {
        return format!("partition {topic}/{partition} has no leader; its replicas are on {}", list(replicas));
    }
    let missing: Vec<u32> = replicas.iter().copied().filter(|broker| !isr.contains(broker)).collect();
    let below = if isr.len() < *min_insync_replicas as usize {
        format!(", which is below min in-sync, {min_insync_replicas}: nothing more is acknowledged")
    } else {
        String::new()
    };
    format!(
        "partition {topic}/{partition} has {} of {} replicas in sync{below}; missing: {}",
        isr.len(),
        replicas.len(),
        list(&missing)
    )
}

fn list(brokers: &[u32]) -> String {
    let numbers: Vec<String> = brokers.iter().map(ToString::to_string).collect();
    format!("broker {}", numbers.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use sluice_client::{ClusterBroker, ShardAddress};

    fn healthy() -> DescribeClusterAnswer {
        let broker = |broker_id| ClusterBroker {
            broker_id,
            incarnation: 1,
            state: ClusterBrokerState::Active as u8,
            rack: None,
            address: ShardAddress { broker_id, shard: 0, host: "b".into(), port: 1 },
            shard_count: 1,
        };
        DescribeClusterAnswer {
            broker_id: 1,
            controller: Some(2),
            heard_ms_ago: Some(200),
            voters: vec![1, 2, 3],
            brokers: (1..=3).map(broker).collect(),
            broker_count: 3,
            ..DescribeClusterAnswer::default()
        }
    }

    #[test]
    fn every_want_is_a_reason() {
        assert_eq!(reasons(&healthy()), Vec::<String>::new());
        let ailing = AilingPartition {
            topic: "t".into(),
            partition: 4,
            leader: Some(1),
            replicas: vec![1, 2, 3],
            isr: vec![1],
            min_insync_replicas: 2,
        };
        type Change = fn(&mut DescribeClusterAnswer);
        let changes: [(Change, &str); 5] = [
            (|c| c.controller = None, "no controller is known"),
            (|c| c.heard_ms_ago = None, "since its start"),
            (|c| c.heard_ms_ago = Some(HEARD_MS_MAX + 1), "for 3001 ms"),
            (|c| c.brokers[2].state = ClusterBrokerState::Fenced as u8, "broker 3, which votes, is fenced"),
            (|c| drop(c.brokers.remove(0)), "broker 1, which votes, has never registered"),
        ];
        for (change, said) in changes {
            let mut cluster = healthy();
            change(&mut cluster);
            let reasons = reasons(&cluster);
            assert!(reasons.len() == 1 && reasons[0].contains(said), "{reasons:?} say {said}");
        }
        assert_eq!(
            ailment(&ailing),
            "partition t/4 has 1 of 3 replicas in sync, which is below min in-sync, 2: nothing more is acknowledged; missing: broker 2, 3"
        );
        assert!(ailment(&AilingPartition { leader: None, ..ailing.clone() }).contains("has no leader"));
        let cluster = DescribeClusterAnswer { ailing: vec![ailing; 10], ailing_count: 300, ..healthy() };
        assert!(reasons(&cluster).last().is_some_and(|last| last.starts_with("292 more")), "{:?}", reasons(&cluster));
    }

    #[test]
    fn what_ails_makes_the_status() {
        let cluster = DescribeClusterAnswer { controller: None, ..healthy() };
        assert_eq!(tell(&cluster, false).expect_err("not healthy").status, ExitStatus::Unhealthy);
    }
}
