//! The program: flags in, packages put together, exit status out. Composition only; what a command needs beyond
//! that stands in files beside it that know neither flags nor sockets.
//!
//! Standard output carries data (records, tables, the demo's account of itself), standard error everything else.

mod bench;
mod broker;
mod check;
mod cluster;
mod config;
mod connect;
mod consume;
mod demo;
mod exit_status;
mod log;
mod logging;
mod orphan;
mod produce;
mod serve;
mod signals;
mod table;
mod topic;
mod units;

use clap::{Parser, Subcommand};
use exit_status::Failure;
use logging::LoggingArgs;
use std::io::Write;
use std::process::ExitCode;
use tracing_subscriber::filter::LevelFilter;

#[derive(Parser)]
#[command(
    name = "sluice",
    version,
    about = "A message log engine: durable before it answers, steady in a flood",
    after_help = "Begin with:\n  sluice demo                                        a flood, shaved to a steady flow, with proof\n  sluice serve --data-dir data                       a broker on 127.0.0.1:7400\n  sluice topic create events --partitions 4\n  seq 1000 | sluice produce events\n  sluice consume events --until-end\n\n`sluice COMMAND --help` explains each with examples. Exit status 0 means that all of it was done;\nthe README has the table of the others."
)]
struct Cli {
    #[command(flatten)]
    logging: LoggingArgs,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run a broker
    Serve(serve::ServeArgs),
    /// Say what this host lacks for a broker, why, and how to change it
    Check(check::CheckArgs),
    /// Create, list, describe, change and delete topics
    #[command(subcommand)]
    Topic(topic::TopicCommand),
    /// Show how a broker is, and what is wrong on its disk
    #[command(subcommand)]
    Broker(broker::BrokerCommand),
    /// Run a cluster on this machine, show how one is and what it lacks
    #[command(subcommand)]
    Cluster(cluster::ClusterCommand),
    /// Send the lines of a file or of standard input as records
    Produce(produce::ProduceArgs),
    /// Write records to standard output
    Consume(consume::ConsumeArgs),
    /// Look at a stopped broker's files, put right what has rotted, give up what is lost
    #[command(subcommand)]
    Log(log::LogCommand),
    /// List, adopt or remove partitions in a stopped broker's folder that its metadata does not know
    #[command(subcommand)]
    Orphan(orphan::OrphanCommand),
    /// See a flood of records shaved to a steady flow, and nothing lost: needs nothing, takes less than a minute
    Demo(demo::DemoArgs),
    /// Measure a broker on this machine against what the machine itself can do
    #[command(subcommand)]
    Bench(bench::BenchCommand),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let level = if matches!(cli.command, Command::Serve(_)) { LevelFilter::INFO } else { LevelFilter::WARN };
    let result = logging::install(&cli.logging, level).map_err(Failure::usage).and_then(|()| match cli.command {
        Command::Serve(args) => serve::run(args),
        Command::Check(args) => check::run(args),
        Command::Topic(command) => topic::run(command),
        Command::Broker(command) => broker::run(command),
        Command::Cluster(command) => cluster::run(command),
        Command::Produce(args) => produce::run(args),
        Command::Consume(args) => consume::run(args),
        Command::Log(command) => log::run(command),
        Command::Orphan(command) => orphan::run(command),
        Command::Demo(args) => demo::run(args),
        Command::Bench(command) => bench::run(command),
    });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            if !failure.is_quiet() {
                // The exit status still tells when nothing can be written.
                let _ = writeln!(std::io::stderr(), "{failure}");
            }
            ExitCode::from(failure.status as u8)
        }
    }
}
