//! `sluice log dump|verify|accept-loss|repair`: a stopped broker's files, read by ordinary reads, and written only to accept
//! a loss or to put right what costs no record.
//!
//! What is found and judged stands in `log/`.

mod accept_loss;
mod dump;
pub(crate) mod files;
pub(crate) mod finding;
pub(crate) mod folder;
pub(crate) mod journal;
mod lost_shard;
pub(crate) mod plain_disk;
mod repair;
pub(crate) mod segment;
mod stopped;
mod verify;

use crate::exit_status::Failure;
use clap::Args;
use serde_json::Value;
use std::io;
use std::path::{Path, PathBuf};

#[derive(clap::Subcommand)]
pub(crate) enum LogCommand {
    /// Print what stands in the files: checkpoints, journal groups and entries, segments and frames
    #[command(after_help = "Examples:
  sluice log dump data                                           everything, in the order of shards and partitions
  sluice log dump data/partitions/3f…/0/00000000000000000000.log --json
                                                                 one segment, one JSON object a line")]
    Dump(LogArgs),
    /// Check every checksum, offset and chain; end with status 6 when something is damaged
    #[command(after_help = "Examples:
  sluice log verify data
  sluice log verify data --json | jq '.findings[]'

A torn end of the journal is no damage: nothing of it was acknowledged. Each finding names the file, the position, what
was expected, what is there, and the offsets it costs. What was accepted as lost or deleted is shown and is no damage.")]
    Verify(LogArgs),
    /// Give up what a broker refuses because it is damaged or missing, after showing exactly what that is
    #[command(after_help = "Examples:
  sluice log accept-loss --data-dir data                 shows what is lost and asks for the word yes
  sluice log accept-loss --data-dir data --yes           for scripts

The broker must be stopped. Every segment is read. What is lost is stepped over by readers from then on, what may be missing
is no longer reported, and a journal that is gone is no longer asked for. Nothing is changed but the checkpoints, and where a
shard has lost both of them with its journal, the journal files that are missing are made, empty. Nothing is ever accepted
without this command.")]
    AcceptLoss(accept_loss::AcceptLossArgs),
    /// Put right what has rotted and costs no record: headers, padding and footers of segments
    #[command(after_help = "Examples:
  sluice log repair --data-dir data

The broker must be stopped. A header block and padding are written again with the bytes that belong there, which the
frames around them prove. A footer is given up: readers find their way by the frames, which is slower for the first read
of a segment. No frame is touched, and a power cut while it runs leaves nothing worse than it was.")]
    Repair(repair::RepairArgs),
}

#[derive(Args)]
pub(crate) struct LogArgs {
    /// Data folder, a folder in it, or one .log, .journal or checkpoint file
    path: PathBuf,
    /// Print JSON: one object a line for `dump`, one document for `verify`
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(command: LogCommand) -> Result<(), Failure> {
    match command {
        LogCommand::Dump(args) => dump::dump(&args),
        LogCommand::Verify(args) => verify::verify(&args),
        LogCommand::Repair(args) => repair::repair(&args),
        LogCommand::AcceptLoss(args) => accept_loss::accept_loss(&args),
    }
}

fn shown(path: &Path) -> Value {
    let here = std::env::current_dir().unwrap_or_default();
    path.strip_prefix(&here).unwrap_or(path).display().to_string().into()
}

fn reading(path: &Path) -> impl Fn(io::Error) -> Failure + '_ {
    move |error| Failure::io(format_args!("cannot read {}", path.display()), &error)
}
