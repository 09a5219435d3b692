//! `sluice broker describe`: how the shards of a broker are, or of all brokers of its cluster, and what is wrong on their disks.

mod stages;

use crate::connect::{BrokerArgs, client_failure};
use crate::exit_status::{ExitStatus, Failure};
use crate::table::{Table, print_line};
use crate::units::{Unit, format_exact, format_len, format_timestamp_ms};
use clap::Args;
use serde_json::{Value, json};
use sluice_client::{Admin, ClusterBrokerState, ClusterInfo, DescribedShard, ScrubProgress, ScrubbedFinding, ShardAddress};
use std::collections::HashMap;

#[derive(clap::Subcommand)]
pub(crate) enum BrokerCommand {
    /// Show how each shard is: journal, memory, disk, the scrubber's progress, and all damage that is known
    #[command(after_help = "Examples:
  sluice broker describe
  sluice broker describe --json | jq '.damaged'
  sluice broker describe --stages

The exit status is 6 when a shard reports damage: a bad place on its disk, offsets that are not served, or a partition
whose newest records may be missing. A finding that is repaired is shown until a whole pass of the scrubber has not
found it again.")]
    Describe(DescribeArgs),
}

#[derive(Args)]
pub(crate) struct DescribeArgs {
    /// Show where the time of produces and fetches went, what was written for them and what was refused, since the
    /// broker's start
    #[arg(long)]
    stages: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    broker: BrokerArgs,
}

pub(crate) fn run(command: BrokerCommand) -> Result<(), Failure> {
    let runtime = crate::connect::runtime()?;
    runtime.block_on(async {
        match command {
            BrokerCommand::Describe(args) => describe(args).await,
        }
    })
}

async fn describe(args: DescribeArgs) -> Result<(), Failure> {
    let admin = Admin::new(args.broker.connect().await?);
    let cluster = admin.cluster().await.map_err(|error| client_failure(&error))?;
    let there = shards_that_are_there(&admin, &cluster).await?;
    let shards = admin.describe_shards(&there).await.map_err(|error| client_failure(&error))?;
    let metrics = match args.stages {
        true => Some(admin.describe_metrics(&there).await.map_err(|error| client_failure(&error))?),
        false => None,
    };
    let names = Names::new(&cluster);
    let damage = [not_served(&shards, &names), possibly_short(&shards, &names), findings(&shards)];
    if args.json {
        let [damaged, possibly_short, _] = damage.each_ref().map(|damage| damage.table.to_json());
        let findings = findings_json(&shards, &names);
        let shards: Vec<Value> = shards.iter().map(shard_json).collect();
        let mut document =
            json!({ "shards": shards, "damaged": damaged, "possibly_short": possibly_short, "findings": findings });
        if let Some(metrics) = metrics {
            document["metrics"] = stages::to_json(&metrics);
        }
        print_line(&format!("{document:#}"))?;
    } else {
        print_line(&shard_table(&shards).to_text())?;
        damage.iter().try_for_each(Damage::print)?;
        if damage.iter().all(|damage| damage.count == 0) {
            print_line("no damage is known")?;
        }
        metrics.map_or(Ok(()), |metrics| stages::print(&metrics))?;
    }
    let [lost, short, found] = damage.map(|damage| damage.count);
    if lost + short + found == 0 {
        return Ok(());
    }
    let what =
        format!("damage: {lost} range(s) not served, {short} partition(s) possibly short, {found} finding(s) of the scrubber");
    let remedy = if lost + short > 0 {
        "everything else goes on being served. Look at the device's health first; then stop the broker and keep a copy of the data folder: `sluice log verify DATA_DIR` shows every bad place, `sluice log accept-loss` gives up what is lost"
    } else {
        "no record is lost by it; look at the device's health (`smartctl -a`, the kernel's log) and replace it before that changes. With the broker stopped, `sluice log repair` puts such places right"
    };
    Err(Failure::new(ExitStatus::Damaged, what).remedy(remedy))
}

/// Those of brokers that hold a lease; the others are named, and not waited for.
async fn shards_that_are_there(admin: &Admin, cluster: &ClusterInfo) -> Result<Vec<ShardAddress>, Failure> {
    let known = admin.describe_cluster().await.map_err(|error| client_failure(&error))?;
    let is_away = |state: u8| state == ClusterBrokerState::Fenced as u8 || state == ClusterBrokerState::Recovering as u8;
    let away: Vec<u32> = known.brokers.iter().filter(|broker| is_away(broker.state)).map(|broker| broker.broker_id).collect();
    for broker in &away {
        eprintln!("broker {broker} is not there, and was not asked; see `sluice cluster status`");
    }
    Ok(cluster.shards.iter().filter(|shard| !away.contains(&shard.broker_id)).cloned().collect())
}

/// One kind of damage, of all shards.
struct Damage {
    heading: &'static str,
    table: Table,
    /// All there is; more than the table has rows when a shard did not name everything.
    count: u64,
}

impl Damage {
    fn print(&self) -> Result<(), Failure> {
        if self.count == 0 {
            return Ok(());
        }
        print_line(&format!("\n{} ({})\n{}", self.heading, self.count, self.table.to_text()))
    }
}

/// Topics by their ids.
struct Names(HashMap<[u8; 16], String>);

impl Names {
    fn new(cluster: &ClusterInfo) -> Self {
        Self(cluster.topics.iter().map(|topic| (topic.topic_id.0, topic.name.to_string())).collect())
    }

    /// The name, or the id of a topic that was deleted since.
    fn of(&self, topic_id: [u8; 16]) -> Value {
        self.0.get(&topic_id).cloned().unwrap_or_else(|| sluice_model::TopicId(topic_id).to_string()).into()
    }
}

/// The broker, and the shard there.
fn place(shard: &DescribedShard) -> [Value; 2] {
    [shard.address.broker_id.into(), shard.state.shard.into()]
}

fn not_served(shards: &[DescribedShard], names: &Names) -> Damage {
    let mut table = Table::new(&["topic", "partition", "from_offset", "until_offset", "broker", "shard"]);
    for shard in shards {
        for range in &shard.state.damaged {
            let (from, until) = (range.from.into(), range.until.into());
            let mut row = vec![names.of(range.topic_id), range.partition.into(), from, until];
            row.extend(place(shard));
            table.push(row);
        }
    }
    let count = shards.iter().map(|shard| shard.state.damaged_count).sum();
    Damage { heading: "DAMAGED: these offsets are not served", table, count }
}

fn possibly_short(shards: &[DescribedShard], names: &Names) -> Damage {
    let mut table = Table::new(&["topic", "partition", "from_offset", "broker", "shard"]);
    for shard in shards {
        for short in &shard.state.possibly_short {
            let mut row = vec![names.of(short.topic_id), short.partition.into(), short.from.into()];
            row.extend(place(shard));
            table.push(row);
        }
    }
    let count = shards.iter().map(|shard| shard.state.possibly_short_count).sum();
    Damage { heading: "POSSIBLY SHORT: acknowledged records may be missing from these offsets on", table, count }
}

fn findings(shards: &[DescribedShard]) -> Damage {
    let mut table = Table::new(&["broker", "shard", "file", "position", "what", "state"]);
    for shard in shards {
        for finding in &shard.state.findings {
            let state = match (&finding.lost, finding.is_repaired) {
                (_, true) => "repaired".to_owned(),
                (Some(lost), false) => format!("offsets {} up to {} are lost", lost.from, lost.until),
                (None, false) => "no record is lost".to_owned(),
            };
            let (file, what) = (finding.file.clone().into(), finding.text.clone().into());
            let [broker, number] = place(shard);
            table.push(vec![broker, number, file, finding.position.into(), what, state.into()]);
        }
    }
    let count = shards.iter().map(|shard| shard.state.finding_count).sum();
    Damage { heading: "BAD PLACES found by the scrubber", table, count }
}

fn findings_json(shards: &[DescribedShard], names: &Names) -> Value {
    let one = |shard: &DescribedShard, finding: &ScrubbedFinding| {
        let lost = finding.lost.map(|lost| {
            json!({
                "topic": names.of(lost.topic_id), "partition": lost.partition,
                "from_offset": lost.from, "until_offset": lost.until,
            })
        });
        json!({
            "broker": shard.address.broker_id, "shard": shard.state.shard, "file": finding.file, "position": finding.position, "what": finding.text,
            "lost": lost, "is_repaired": finding.is_repaired,
        })
    };
    shards.iter().flat_map(|shard| shard.state.findings.iter().map(|finding| one(shard, finding))).collect()
}

fn shard_table(shards: &[DescribedShard]) -> Table {
    let columns = &[
        "broker",
        "shard",
        "address",
        "start",
        "partitions",
        "journal",
        "memory",
        "disk",
        "scrub",
        "last_whole_pass",
        "findings",
    ];
    let mut table = Table::new(columns);
    for DescribedShard { address, state } in shards {
        let of = |used: u64, all: u64| Value::from(format!("{} of {}", format_len(used), format_len(all)));
        table.push(vec![
            address.broker_id.into(),
            state.shard.into(),
            format!("{}:{}", address.host, address.port).into(),
            state.incarnation.into(),
            state.partition_count.into(),
            of(state.journal_distance, state.journal_capacity),
            of(state.tail_used_len, state.tail_budget_len),
            if state.disk_full { "FULL" } else { "ok" }.into(),
            scrub_text(&state.scrub).into(),
            state.scrub.last_ended_ms.map_or_else(|| "none yet".into(), |ms| format_timestamp_ms(ms).into()),
            state.finding_count.into(),
        ]);
    }
    table
}

/// How far the scrubber is, and how long what is left takes at its rate.
fn scrub_text(scrub: &ScrubProgress) -> String {
    if scrub.rate_len == 0 {
        return "off".to_owned();
    }
    if !scrub.is_running {
        return match scrub.pass {
            0 => "not begun yet".to_owned(),
            pass => format!("pass {pass} done, {} read", format_len(scrub.done_len)),
        };
    }
    let left = scrub.total_len.saturating_sub(scrub.done_len);
    let left_ms = left.saturating_mul(1000) / scrub.rate_len;
    let (done, total) = (format_len(scrub.done_len), format_len(scrub.total_len));
    let left_text = format_exact(left_ms.div_ceil(60_000) * 60_000, Unit::Milliseconds);
    format!("pass {}: {done} of {total}, at least {left_text} to go", scrub.pass)
}

fn shard_json(shard: &DescribedShard) -> Value {
    let DescribedShard { address, state } = shard;
    let scrub = &state.scrub;
    json!({
        "broker": address.broker_id,
        "shard": state.shard,
        "address": format!("{}:{}", address.host, address.port),
        "incarnation": state.incarnation,
        "partitions": state.partition_count,
        "journal_queued_len": state.journal_queued_len,
        "journal_distance": state.journal_distance,
        "journal_capacity": state.journal_capacity,
        "tail_used_len": state.tail_used_len,
        "tail_budget_len": state.tail_budget_len,
        "disk_full": state.disk_full,
        "scrub": {
            "rate_len": scrub.rate_len,
            "interval_ms": scrub.interval_ms,
            "pass": scrub.pass,
            "is_running": scrub.is_running,
            "done_len": scrub.done_len,
            "total_len": scrub.total_len,
            "last_ended_ms": scrub.last_ended_ms,
        },
        "finding_count": state.finding_count,
        "damaged_count": state.damaged_count,
        "possibly_short_count": state.possibly_short_count,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_says_how_long_a_pass_takes() {
        let progress = ScrubProgress {
            rate_len: 20_000_000,
            is_running: true,
            pass: 2,
            total_len: 1_200_000_000,
            ..ScrubProgress::default()
        };
        assert_eq!(
            scrub_text(&progress),
            format!("pass 2: {} of {}, at least 1min to go", format_len(0), format_len(1_200_000_000))
        );
        assert_eq!(scrub_text(&ScrubProgress { rate_len: 0, ..progress }), "off");
        assert_eq!(scrub_text(&ScrubProgress { rate_len: 5, ..ScrubProgress::default() }), "not begun yet");
    }
}
