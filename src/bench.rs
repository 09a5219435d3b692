//! `sluice bench`: hands its flags to the benchmark package and its failure to the exit status.

use crate::exit_status::{ExitStatus, Failure};
use crate::table::print_line;
use indicatif::{ProgressBar, ProgressStyle};
use sluice_bench::BenchError;

#[derive(clap::Args)]
#[command(after_help = "Examples:
  sluice bench                              everything, on a broker started for the purpose in the current folder
  sluice bench single-record --rounds 9     one workload, with more rounds for a steadier median
  sluice bench yardsticks --data-dir /data  what the device and a bare server can do, without a broker

Each figure stands beside that of a yardstick measured in the same rounds, because only the ratio carries over to
another machine.")]
pub(crate) struct BenchArgs {
    #[command(flatten)]
    options: sluice_bench::BenchOptions,
}

pub(crate) fn run(args: BenchArgs) -> Result<(), Failure> {
    let bar = ProgressBar::new(0).with_style(
        ProgressStyle::with_template("{bar:30} {pos}/{len} {msg} ({elapsed})").expect("the template is a constant that parses"),
    );
    let measured = sluice_bench::run(&args.options, &mut |progress| {
        bar.set_length(progress.total);
        bar.set_position(progress.done);
        bar.set_message(progress.what.clone());
    });
    bar.finish_and_clear();
    let report = measured.map_err(|error| Failure::new(status(&error), error.to_string()))?;
    if args.options.json {
        return print_line(&report.to_json());
    }
    print_line(report.to_string().trim_end())
}

fn status(error: &BenchError) -> ExitStatus {
    match error {
        BenchError::Option { .. } | BenchError::ProcessUnknown { .. } => ExitStatus::Usage,
        BenchError::BrokerEnded { .. } => ExitStatus::Failed,
        BenchError::Connection { .. } => ExitStatus::Unreachable,
        BenchError::Refused { .. } => ExitStatus::Refused,
        _ => ExitStatus::Failed,
    }
}
