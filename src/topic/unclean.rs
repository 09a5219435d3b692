//! An unclean election: what each replica has is shown, agreed to, and only then decided.
//!
//! The expensive mistake is to give up records that somebody still has: a replica that could not be asked is shown as such,
//! and the controller refuses when the partition has changed since it was shown.

use crate::connect::client_failure;
use crate::exit_status::{ExitStatus, Failure};
use crate::table::{Table, print_line};
use serde_json::Value;
use sluice_client::{
    Admin, DescribedReplicas, PartitionRef, ReplicaEndShown, ReplicaLog, ShardAddress, ShownReplicaEnd, TopicInfo,
    UncleanElection,
};
use std::io::{BufRead, IsTerminal};
use std::time::Duration;

/// A broker that does not answer within this is shown as one that could not be asked.
const PATIENCE: Duration = Duration::from_secs(5);

pub(super) async fn elect(admin: &Admin, topic: &TopicInfo, partition: u32, replica: u32, yes: bool) -> Result<(), Failure> {
    let held = admin.describe_replicas(topic.topic_id, &[partition]).await.map_err(|error| client_failure(&error))?;
    let held = held.into_iter().next().expect("one was asked for");
    let name = format!("{}/{partition}", topic.name);
    if let Some(leader) = held.leader {
        let what = format!("broker {leader} leads {name}: nothing has to be given up, and nothing was changed");
        return Err(Failure::new(ExitStatus::Refused, what).remedy("`sluice topic elect` without --unclean"));
    }
    let logs = ask_replicas(admin, topic, &held).await?;
    print_line(&format!("nobody leads {name}; its replicas:\n{}", table(&held, &logs).to_text()))?;
    let Some((_, Some(log))) = logs.iter().find(|(broker, _)| *broker == replica) else {
        let what = format!("broker {replica} holds no replica of {name} that could be asked; nothing was changed");
        return Err(Failure::new(ExitStatus::Refused, what).remedy("--replica with one that shows how far its log goes"));
    };
    let end = log.log_end_offset;
    if !yes {
        agree(&name, replica, end)?;
    }
    let shown = logs.iter().map(|(broker, log)| ShownReplicaEnd {
        broker_id: *broker,
        end: log.map(|log| ReplicaEndShown { leader_epoch: log.last_epoch, end_offset: log.log_end_offset }),
    });
    let election = UncleanElection {
        partition: PartitionRef { topic_id: topic.topic_id.0, partition },
        broker_id: replica,
        partition_epoch: held.partition_epoch,
        shown: shown.collect(),
    };
    admin.elect_unclean_leader(election).await.map_err(|error| client_failure(&error))?;
    eprintln!("broker {replica} leads {name}; it goes on at offset {end}");
    Ok(())
}

/// How far the log of each replica goes; `None` where nobody answers.
async fn ask_replicas(
    admin: &Admin,
    topic: &TopicInfo,
    held: &DescribedReplicas,
) -> Result<Vec<(u32, Option<ReplicaLog>)>, Failure> {
    let cluster = admin.cluster().await.map_err(|error| client_failure(&error))?;
    let mut logs = Vec::new();
    for replica in &held.replicas {
        let is_its = |shard: &&ShardAddress| (shard.broker_id, shard.shard) == (replica.broker_id, replica.shard);
        let log = match cluster.shards.iter().find(is_its) {
            Some(shard) => admin.describe_replica_at(shard, topic.topic_id, held.partition, PATIENCE).await.ok(),
            None => None,
        };
        logs.push((replica.broker_id, log.and_then(|described| described.log)));
    }
    Ok(logs)
}

fn table(held: &DescribedReplicas, logs: &[(u32, Option<ReplicaLog>)]) -> Table {
    let mut table = Table::new(&["broker", "was", "log_start", "high_watermark", "log_end", "last_epoch"]);
    for (broker, log) in logs {
        let was = if held.isr.contains(broker) {
            "in sync"
        } else if held.eligible_leader_replicas.contains(broker) {
            "eligible"
        } else {
            "behind"
        };
        let was = if held.damaged.contains(broker) { format!("{was}, damaged") } else { was.to_owned() };
        let cell = |of: fn(&ReplicaLog) -> u64| log.as_ref().map_or_else(|| Value::from("not asked"), |log| of(log).into());
        table.push(vec![
            (*broker).into(),
            was.into(),
            cell(|log| log.log_start_offset),
            cell(|log| log.high_watermark),
            cell(|log| log.log_end_offset),
            cell(|log| log.last_epoch.into()),
        ]);
    }
    table
}

fn agree(name: &str, replica: u32, end: u64) -> Result<(), Failure> {
    let stdin = std::io::stdin();
    if !stdin.is_terminal() {
        let what = "nothing was changed: there is no terminal to ask on";
        return Err(Failure::usage(what).remedy("--yes, once the above is agreed to"));
    }
    eprint!(
        "Broker {replica} leads {name} from then on; acknowledged records from offset {end} on are given up for good. Type yes: "
    );
    let mut answer = String::new();
    stdin.lock().read_line(&mut answer).map_err(|error| Failure::io("cannot read the answer", &error))?;
    if answer.trim() == "yes" { Ok(()) } else { Err(Failure::new(ExitStatus::Failed, "nothing was changed")) }
}
