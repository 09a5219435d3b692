//! `sluice bench`: hands its flags to the benchmark package and its failure to the exit status.

use crate::exit_status::{ExitStatus, Failure};
use crate::signals::ask_at_signal;
use crate::table::print_line;
use clap::{Args, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};
use sluice_bench::result::RoundOutcome;
use sluice_bench::run::Finished;
use sluice_bench::{BenchError, Run, Stop, peer, report, workload};
use std::path::PathBuf;
use std::time::Duration;

const STOPPING: &str = "stopping: what is under way is ended, what is whole is reported; another signal ends it at once";

#[derive(Subcommand)]
#[command(after_help = "Examples:
  sluice bench list                                      every workload, and what it is for
  sluice bench run spike                                 on a broker started for the purpose in the current folder
  sluice bench run spike --system sluice --system sluice-client
                                                         and what a program gets through the client library, beside it
  sluice bench run single-record bulk --rounds 9         more rounds for a steadier median
  sluice bench run mine.toml --broker 10.0.0.7:7400      a workload of your own, on a broker that runs
  sluice bench run bulk --peer redis --peer nats         the same records to what you would pick instead
  sluice bench run bulk --peer kafka=10.0.0.9:9092       the same to a broker of Kafka's protocol that runs already
  sluice bench run yardsticks --data-dir /data           what the machine itself can do, without a broker
  sluice bench report bench-results/20261122-101500-spike
  sluice bench compare before/results.json after/results.json

Each figure stands beside those of yardsticks measured in the same rounds, because only the ratio carries over to another
machine.")]
pub(crate) enum BenchCommand {
    /// Show every workload, or the file of one
    List(ListArgs),
    /// Measure workloads, in turns with the machine's own limits
    Run(RunArgs),
    /// Show what a run left behind, and make its page anew
    Report(ReportArgs),
    /// Say what changed from one run to another, and whether that is more than noise
    Compare(CompareArgs),
}

#[derive(Args)]
pub(crate) struct ListArgs {
    /// Print this workload's file, to begin one of your own with
    #[arg(value_name = "WORKLOAD")]
    workload: Option<String>,
}

#[derive(Args)]
pub(crate) struct RunArgs {
    #[command(flatten)]
    options: sluice_bench::BenchOptions,
}

#[derive(Args)]
#[command(after_help = "Examples:
  sluice bench report bench-results/20261122-101500-spike
  sluice bench report run.json                            what `bench run --json` printed, or a results.json")]
pub(crate) struct ReportArgs {
    /// A folder of results, or a file of them
    #[arg(value_name = "DIR")]
    results: PathBuf,
    /// Print one JSON array instead of tables
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
#[command(after_help = "Examples:
  sluice bench compare bench-results/before bench-results/after
  sluice bench compare a.json b.json --json

A change counts when it is larger than what the rounds of one run differ by; the rule stands above the table.")]
pub(crate) struct CompareArgs {
    /// The older run: its folder, or a file of results
    #[arg(value_name = "A")]
    before: PathBuf,
    /// The newer one
    #[arg(value_name = "B")]
    after: PathBuf,
    /// Print one JSON object instead of tables
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(command: BenchCommand) -> Result<(), Failure> {
    match command {
        BenchCommand::List(args) => list(&args),
        BenchCommand::Run(args) => measure(&args),
        BenchCommand::Report(args) => show(&args),
        BenchCommand::Compare(args) => compare(&args),
    }
}

fn list(args: &ListArgs) -> Result<(), Failure> {
    let listed = workload::list().map_err(failure)?;
    let Some(name) = &args.workload else {
        let width = listed.iter().map(|listed| listed.workload.name.len()).max().unwrap_or(0);
        let line = |listed: &workload::Listed| {
            let workload = &listed.workload;
            format!("{:width$}  {:>3.0} s  {}", workload.name, workload.seconds(), workload.about)
        };
        return print_line(&listed.iter().map(line).collect::<Vec<_>>().join("\n"));
    };
    // An unknown name is an error that names the nearest.
    let found = workload::find(name).map_err(failure)?;
    let texts = listed.iter().filter(|listed| found.iter().any(|found| found.name == listed.workload.name));
    print_line(texts.map(|listed| listed.text.trim_end()).collect::<Vec<_>>().join("\n\n").as_str())
}

fn measure(args: &RunArgs) -> Result<(), Failure> {
    let stop = Stop::default();
    // Kept until the end: with it ends the task that listens for signals.
    let _listening = ask_at_signal(&stop, STOPPING)?;
    let peers = peer::open(&args.options).map_err(failure)?;
    let bar = ProgressBar::new(0).with_style(
        ProgressStyle::with_template("{bar:30} {pos}/{len} {msg} ({elapsed})").expect("the template is a constant that parses"),
    );
    bar.enable_steady_tick(Duration::from_secs(1));
    let measured = sluice_bench::run(&args.options, peers, &stop, &mut |progress| {
        bar.set_length(progress.total);
        bar.set_position(progress.done);
        bar.set_message(progress.what.clone());
    });
    bar.finish_and_clear();
    let Finished { run, written, missing, failure: ended_by } = measured.map_err(failure)?;
    if args.options.json {
        print_line(&report::json(&run))?;
        eprintln!("results: {}\nreport: {}", written.results.display(), written.html.display());
    } else {
        print_line(&run.to_string())?;
        print_line(&format!("\nresults: {}\nreport: {}", written.results.display(), written.html.display()))?;
    }
    ended_by.map_or_else(|| verdict(&run, &missing), |error| Err(failure(error)))
}

fn show(args: &ReportArgs) -> Result<(), Failure> {
    let run = report::folder::read(&args.results).map_err(failure)?;
    if args.json {
        return print_line(&report::json(&run));
    }
    print_line(&run.to_string())?;
    if !args.results.is_dir() {
        return Ok(());
    }
    let written = report::folder::write(&args.results, &run).map_err(failure)?;
    print_line(&format!("\nreport: {}", written.html.display()))
}

fn compare(args: &CompareArgs) -> Result<(), Failure> {
    let read = |path| report::folder::read(path).map_err(failure);
    let comparison = report::compare(&read(&args.before)?, &read(&args.after)?);
    if args.json { print_line(&comparison.to_json()) } else { print_line(comparison.to_string().trim_end()) }
}

/// What was measured is printed and kept, and yet the run may not have been what was asked for.
fn verdict(run: &Run, missing: &[String]) -> Result<(), Failure> {
    if run.interrupted {
        return Err(Failure::new(ExitStatus::Interrupted, "ended by a signal: only what was whole by then is reported"));
    }
    let died = run.results.iter().find(|result| result.outcome == RoundOutcome::BrokerDied);
    if let Some(result) = died {
        let because = result.outcome_because.clone().unwrap_or_default();
        let problem = format!("{} went away during {}: {because}", result.system, result.workload);
        return Err(Failure::new(ExitStatus::Failed, problem));
    }
    if missing.is_empty() {
        return Ok(());
    }
    let problem = format!("{} cannot be had here (the warnings say why): all else was measured", missing.join(", "));
    Err(Failure::new(ExitStatus::Failed, problem))
}

fn failure(error: BenchError) -> Failure {
    Failure::new(status(&error), error.to_string())
}

fn status(error: &BenchError) -> ExitStatus {
    match error {
        BenchError::Option { .. } | BenchError::ProcessUnknown { .. } | BenchError::Results { .. } => ExitStatus::Usage,
        BenchError::Connection { .. } => ExitStatus::Unreachable,
        BenchError::Refused { .. } => ExitStatus::Refused,
        BenchError::Interrupted => ExitStatus::Interrupted,
        _ => ExitStatus::Failed,
    }
}
