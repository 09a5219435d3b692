//! The program: many seeds, one seed with its trace, or the planted bugs. Exit status 0 when all is well, 1 when a seed
//! fails or a planted bug is not caught, 2 for a command line that makes no sense.

mod cluster_command;

use clap::{Parser, Subcommand};
use sluice_sim::plan::Mask;
use sluice_sim::plants;
use sluice_sim::run::{Failure, Progress, Settings, minimised, run_seed, run_seeds};
use sluice_sim::sweep::{Range, tell_the_seed_of_a_panic};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

/// Simulates the storage of one broker, or a whole cluster, from seeds.
#[derive(Parser)]
#[command(name = "sluice-sim")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run many seeds, until one fails.
    Run {
        #[arg(long, default_value_t = 1000)]
        seeds: u64,
        #[arg(long, default_value_t = 0)]
        from: u64,
        #[arg(long, default_value_t = 2)]
        threads: usize,
        /// Operations to leave out, with commas between them.
        #[arg(long, default_value = "")]
        without: String,
        /// Print how often everything was met.
        #[arg(long)]
        coverage: bool,
        /// Go on after a seed that fails, and name every one.
        #[arg(long)]
        keep_going: bool,
    },
    /// Run one seed and print everything that happens.
    Replay {
        seed: u64,
        /// Stop after this many steps.
        #[arg(long)]
        steps: Option<u64>,
        /// Print what is done to the disk as well.
        #[arg(long)]
        calls: bool,
        #[arg(long, default_value = "")]
        without: String,
    },
    /// Plant each known bug in a copy of the sources and look whether it is caught.
    Plants {
        /// Seeds that each bug gets, at most.
        #[arg(long, default_value_t = 4000)]
        seeds: u64,
        /// Only the patches whose name contains this, or one of these with commas between them.
        #[arg(long, default_value = "")]
        only: String,
        /// The folder of the workspace.
        #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))]
        workspace: PathBuf,
    },
    /// The same for a whole cluster.
    #[command(subcommand)]
    Cluster(cluster_command::ClusterCommand),
}

fn main() -> ExitCode {
    match Arguments::parse().command {
        Command::Run { seeds, from, threads, without, coverage, keep_going } => match Mask::parse(&without) {
            Ok(mask) => run(Range { from, count: seeds, threads, keeps_going: keep_going }, mask, coverage),
            Err(message) => usage(&message),
        },
        Command::Replay { seed, steps, calls, without } => match Mask::parse(&without) {
            Ok(mask) => replay(seed, Settings { mask, steps_max: steps, is_printed: true, prints_calls: calls }),
            Err(message) => usage(&message),
        },
        Command::Plants { seeds, only, workspace } => match plants::run_all(plants::STORAGE, &workspace, &only, seeds) {
            Ok(()) => ExitCode::SUCCESS,
            Err(message) => failed(&message),
        },
        Command::Cluster(command) => cluster_command::run(command),
    }
}

fn run(range: Range, mask: Mask, coverage: bool) -> ExitCode {
    let settings = Settings { mask, ..Settings::default() };
    tell_the_seed_of_a_panic(move |seed| Failure { seed, message: String::new(), settings }.command());
    let started = Instant::now();
    let summary = run_seeds(range, mask, &|progress| match progress {
        Progress::Ran(count) => eprintln!("{count} seeds, {:.1} s", started.elapsed().as_secs_f64()),
        Progress::Failed(seed, outcome) => {
            let message = outcome.violation.as_deref().unwrap_or_default();
            println!("seed {seed} fails at step {} after {:.1} s: {message}", outcome.steps, started.elapsed().as_secs_f64());
        }
    });
    if coverage {
        summary.coverage.iter().for_each(|(name, count)| println!("{count:>10}  {name}"));
    }
    println!(
        "{} seeds from {} on, {} steps, {} events, {:.1} s",
        summary.seeds,
        range.from,
        summary.steps,
        summary.events,
        started.elapsed().as_secs_f64()
    );
    let Some((seed, outcome)) = summary.failure else { return ExitCode::SUCCESS };
    if summary.failures > 1 {
        return failed(&format!("{} seeds fail, the lowest is {seed}", summary.failures));
    }
    let failure = minimised(seed, mask, &outcome);
    failed(&format!("seed {seed}: {}\nreplay it with: {}", failure.message, failure.command()))
}

fn replay(seed: u64, settings: Settings) -> ExitCode {
    let outcome = run_seed(seed, settings);
    println!("{} steps, {} events, trace {:016x}", outcome.steps, outcome.events, outcome.trace_hash);
    match outcome.violation {
        None => ExitCode::SUCCESS,
        Some(message) => failed(&format!("seed {seed}: {message}")),
    }
}

fn usage(message: &str) -> ExitCode {
    eprintln!("sluice-sim: {message}");
    ExitCode::from(2)
}

fn failed(message: &str) -> ExitCode {
    eprintln!("sluice-sim: {message}");
    ExitCode::FAILURE
}
