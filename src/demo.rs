//! `sluice demo`: the main job, self-contained. A broker in this process on a fresh folder, a flood, a slow consumer,
//! and the proof that nothing was lost.
//!
//! What the load says and when (`load`), what the consumer's downstream takes (`downstream`), what is proved
//! (`proof`) and printed (`report`) are plain code with tests; `generate` and `drain` connect them to a producer and a
//! consumer. The expensive mistake is a demo that cannot fail, or one that fails because a machine is slow: it waits
//! for as long as there is progress, and judges only what was told and read.

mod downstream;
mod drain;
mod folder;
mod generate;
mod load;
mod proof;
mod report;
mod tracker;

use crate::connect::client_failure;
use crate::exit_status::{ExitStatus, Failure};
use crate::serve::start_failure;
use crate::signals::StopSignal;
use crate::table::print_line;
use crate::units::{format_count, format_len, parse_duration};
use clap::Args;
use folder::DemoFolder;
use load::{KEY_COUNT, LoadPlan, Phase, VALUE_LEN};
use report::{LIVE_HEADING, Report, live_line};
use sluice_broker::{Broker, BrokerConfig};
use sluice_client::{Admin, Client, ClientConfig};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tracker::Tracker;

const TOPIC: &str = "demo";
const PARTITIONS: u32 = 4;
const SPIKE_FACTOR: u64 = 10;
/// The downstream takes this many times the steady rate.
const DOWNSTREAM_FACTOR: u64 = 2;
/// Without any progress for this long, waiting for the rest is over.
const NO_PROGRESS: Duration = Duration::from_secs(60);

#[derive(Args)]
#[command(after_help = "Examples:
  sluice demo
  sluice demo --steady 5000                  a gentler flood, for a small machine
  sluice demo --json > figures.json          the summary as JSON; the live lines go to standard error
  sluice demo --data-dir /data --keep        on another device; look at what is left with `sluice log dump`

A steady load, ten times that for a while, then the steady load again until the backlog is drained; the consumer's
downstream takes twice the steady rate. Exit status 7 means that the proof failed.")]
pub(crate) struct DemoArgs {
    /// Records a second of the steady load, 1 KiB each
    #[arg(long, value_name = "N", default_value_t = 20_000, value_parser = clap::value_parser!(u64).range(100..=1_000_000))]
    steady: u64,
    /// How long the steady load lasts before the spike
    #[arg(long, value_name = "TIME", default_value = "8s", value_parser = parse_phase)]
    steady_for: Duration,
    /// How long the spike lasts; its backlog drains for eight times that
    #[arg(long, value_name = "TIME", default_value = "4s", value_parser = parse_phase)]
    spike_for: Duration,
    /// Where the demo's folder is made; not on tmpfs [default: the current folder]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Leave the folder and say where it is
    #[arg(long)]
    keep: bool,
    /// Print the summary as JSON, and the live lines on standard error
    #[arg(long)]
    json: bool,
}

fn parse_phase(text: &str) -> Result<Duration, String> {
    let duration = parse_duration(text)?;
    let limits = Duration::from_millis(100)..=Duration::from_secs(600);
    if limits.contains(&duration) { Ok(duration) } else { Err("it may be 100ms to 10min".to_owned()) }
}

/// At most so long after the spike: its backlog is (10 - 2) times the steady rate for its length, and shrinks by
/// (2 - 1) times the steady rate.
fn drain_for(spike: Duration) -> Duration {
    let factor = (SPIKE_FACTOR - DOWNSTREAM_FACTOR) / (DOWNSTREAM_FACTOR - 1);
    spike * u32::try_from(factor).expect("a small constant") + Duration::from_secs(4)
}

pub(crate) fn run(args: DemoArgs) -> Result<(), Failure> {
    crate::connect::runtime()?.block_on(demo(args))
}

async fn demo(args: DemoArgs) -> Result<(), Failure> {
    let mut stop = StopSignal::install()?;
    let folder = DemoFolder::create(args.data_dir.as_deref(), args.keep)?;
    let say = Voice { json: args.json };
    let steady_per_s = args.steady;
    let downstream_per_s = DOWNSTREAM_FACTOR * steady_per_s;
    say.line(&format!(
        "A broker on a fresh folder ({}), one topic of {PARTITIONS} partitions, {KEY_COUNT} keys, records of {}.\n\
         Load: {} records/s for {} s, {} records/s for {} s, then {} again while the backlog drains.\n\
         The consumer's downstream takes {} records/s.\n",
        folder.path().display(),
        format_len(VALUE_LEN as u64),
        format_count(steady_per_s),
        args.steady_for.as_secs_f64(),
        format_count(steady_per_s * SPIKE_FACTOR),
        args.spike_for.as_secs_f64(),
        format_count(steady_per_s),
        format_count(downstream_per_s),
    ))?;
    let broker = start_broker(&folder).await?;
    let plan = LoadPlan::new(steady_per_s, SPIKE_FACTOR, [args.steady_for, args.spike_for, drain_for(args.spike_for)]);
    let outcome = tokio::select! {
        outcome = flood(&broker, plan, downstream_per_s, &say) => outcome,
        () = stop.asked() => Err(Failure::new(ExitStatus::Interrupted, "stopped by a signal")),
    };
    let stopped = tokio::task::spawn_blocking(move || broker.shutdown()).await.expect("a stop does not panic");
    let report = outcome?;
    stopped.map_err(|error| Failure::new(ExitStatus::DeviceFailed, error.to_string()))?;
    if args.json {
        print_line(&serde_json::to_string_pretty(&report).expect("plain figures serialise"))?;
    } else {
        print_line(&format!("\n{}", report.to_text().trim_end()))?;
    }
    folder.finish();
    if report.verdict.holds() {
        Ok(())
    } else {
        Err(Failure::new(ExitStatus::ProofFailed, "the proof failed")
            .remedy("again with --keep, and `sluice log verify` on the folder; then report it"))
    }
}

/// Where the live lines go.
struct Voice {
    json: bool,
}

impl Voice {
    fn line(&self, text: &str) -> Result<(), Failure> {
        if self.json {
            eprintln!("{text}");
            return Ok(());
        }
        print_line(text)
    }
}

async fn start_broker(folder: &DemoFolder) -> Result<Broker, Failure> {
    let config = BrokerConfig::new(folder.path(), "127.0.0.1:0".parse().expect("an address"));
    let started = tokio::task::spawn_blocking(move || sluice_broker::start(config));
    started.await.expect("a start does not panic").map_err(|error| start_failure(&error))
}

/// Runs the load to its end and the consumer to the end of what was acknowledged; gives back what was seen.
async fn flood(broker: &Broker, plan: LoadPlan, downstream_per_s: u64, say: &Voice) -> Result<Report, Failure> {
    let failed = |error| client_failure(&error);
    let brokers = [broker.local_addrs()[0].to_string()];
    let connect = || Client::connect(&brokers, ClientConfig { client_id: "demo".to_owned(), ..ClientConfig::default() });
    let client = connect().await.map_err(failed)?;
    Admin::new(client.clone()).create_topic(TOPIC, PARTITIONS, &[]).await.map_err(failed)?;
    let tracker = Arc::new(Tracker::new(plan));
    let consumer = drain::Drain::start(connect().await.map_err(failed)?, tracker.clone(), downstream_per_s).await?;
    let producer = generate::Generator::start(client, tracker.clone()).await?;
    say.line(LIVE_HEADING)?;
    watch(&tracker, &producer, &consumer, say).await?;
    let outcomes = producer.finish().await?;
    let consumed = consumer.finish().await?;
    Ok(tracker.report(&outcomes, &consumed, downstream_per_s))
}

/// Prints a line each second until all that was acknowledged is consumed.
async fn watch(tracker: &Tracker, producer: &generate::Generator, consumer: &drain::Drain, say: &Voice) -> Result<(), Failure> {
    let mut ticks = tokio::time::interval(Duration::from_secs(1));
    ticks.tick().await;
    let mut before = tracker.counts();
    let (mut progress, mut stuck) = (before, Duration::ZERO);
    for second in 1.. {
        ticks.tick().await;
        producer.check()?;
        if consumer.check().is_err() {
            // Its own result says why.
            return Ok(());
        }
        let (now, at_us) = (tracker.counts(), tracker.now_us());
        say.line(&live_line(second, tracker.phase(at_us.saturating_sub(500_000)), &before, &now, tracker.backlog_scale()))?;
        before = now;
        tracker.on_second(at_us, &now);
        if tracker.phase(at_us) == Phase::Over && tracker.is_settled() && now.backlog() == 0 {
            return Ok(());
        }
        stuck = if now == progress { stuck + Duration::from_secs(1) } else { Duration::ZERO };
        progress = now;
        if stuck >= NO_PROGRESS {
            let what = format!(
                "nothing has moved for {} s; {} records are acknowledged and not consumed",
                NO_PROGRESS.as_secs(),
                now.backlog()
            );
            return Err(Failure::new(ExitStatus::Failed, what).remedy("again with --keep and --log-level debug"));
        }
    }
    Ok(())
}
