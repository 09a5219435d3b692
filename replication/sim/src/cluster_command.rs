//! `sluice-sim cluster`: many seeds of a cluster, one with its trace, or the planted bugs of its protocol.

use clap::Subcommand;
use sluice_sim::cluster::run::{run_cluster, run_clusters};
use sluice_sim::plants;
use sluice_sim::sweep::{Range, tell_the_seed_of_a_panic};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

#[derive(Subcommand)]
pub(crate) enum ClusterCommand {
    /// Run many seeds, until one fails.
    Run {
        #[arg(long, default_value_t = 1000)]
        seeds: u64,
        #[arg(long, default_value_t = 0)]
        from: u64,
        #[arg(long, default_value_t = 2)]
        threads: usize,
        /// Print how often everything was met.
        #[arg(long)]
        coverage: bool,
        /// Go on after a seed that fails, and name every one.
        #[arg(long)]
        keep_going: bool,
    },
    /// Run one seed and print everything that happens.
    Replay { seed: u64 },
    /// Plant each known bug of the protocol in a copy of the sources and look whether it is caught.
    Plants {
        /// Seeds that each bug gets, at most.
        #[arg(long, default_value_t = 1000)]
        seeds: u64,
        /// Only the patches whose name contains this, or one of these with commas between them.
        #[arg(long, default_value = "")]
        only: String,
        /// The folder of the workspace.
        #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))]
        workspace: PathBuf,
    },
}

pub(crate) fn run(command: ClusterCommand) -> ExitCode {
    match command {
        ClusterCommand::Run { seeds, from, threads, coverage, keep_going } => {
            run_many(Range { from, count: seeds, threads, keeps_going: keep_going }, coverage)
        }
        ClusterCommand::Replay { seed } => replay(seed),
        ClusterCommand::Plants { seeds, only, workspace } => match plants::run_all(plants::CLUSTER, &workspace, &only, seeds) {
            Ok(()) => ExitCode::SUCCESS,
            Err(message) => super::failed(&message),
        },
    }
}

fn run_many(range: Range, coverage: bool) -> ExitCode {
    tell_the_seed_of_a_panic(replay_command);
    let started = Instant::now();
    let summary = run_clusters(range, &|seed, outcome| {
        let seconds = started.elapsed().as_secs_f64();
        if let Some(message) = &outcome.violation {
            println!("seed {seed} fails after {} events, {seconds:.1} s: {message}", outcome.events);
        } else if (seed + 1 - range.from).is_multiple_of(100) {
            eprintln!("seed {seed}, {seconds:.1} s");
        }
    });
    if coverage {
        summary.coverage.iter().for_each(|(name, count)| println!("{count:>10}  {name}"));
    }
    println!(
        "{} seeds from {} on, {} events, {} acknowledged, {} s of virtual time, {:.1} s",
        summary.seeds,
        range.from,
        summary.events,
        summary.acknowledged,
        summary.length_us / 1_000_000,
        started.elapsed().as_secs_f64()
    );
    match summary.failures.as_slice() {
        [] => ExitCode::SUCCESS,
        [(seed, message), ..] => super::failed(&format!(
            "{} seeds fail, the lowest is {seed}: {message}\nreplay it with: {}",
            summary.failures.len(),
            replay_command(*seed)
        )),
    }
}

fn replay(seed: u64) -> ExitCode {
    let outcome = run_cluster(seed, true);
    println!("{} events, {} acknowledged, trace {:016x}", outcome.events, outcome.acknowledged, outcome.trace_hash);
    match outcome.violation {
        None => ExitCode::SUCCESS,
        Some(message) => super::failed(&format!("seed {seed}: {message}")),
    }
}

fn replay_command(seed: u64) -> String {
    format!("cargo run --release -p sluice-sim -- cluster replay {seed}")
}
