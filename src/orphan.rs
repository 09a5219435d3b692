//! `sluice orphan list|adopt|remove|new-metadata`: partitions in a stopped broker's folder that its metadata does not know.
//!
//! They are there when an older copy of the metadata was put back, or when it was lost. The expensive mistake is to
//! touch a record on the way: adopting and removing write to the metadata, to the checkpoint that has to name what was
//! adopted, and nowhere else; the broker's next start does the rest. Only files that recovery set aside are removed here.

mod adopt;
mod found;
mod list;
mod new_metadata;
mod remove;
mod set_aside;
mod stopped_folder;

use crate::exit_status::Failure;
use clap::Args;
use sluice_model::TopicId;
use std::path::PathBuf;

#[derive(clap::Subcommand)]
pub(crate) enum OrphanCommand {
    /// Show partitions that the metadata does not know, and files that recovery set aside
    #[command(after_help = "Examples:
  sluice orphan list --data-dir data
  sluice orphan list --data-dir data --json | jq -r '.orphans[].topic_id' | sort -u

States of a partition:
  orphan             its records are kept and not served; adopt or remove its topic
  not checkpointed   only the journal names it; start and stop the broker once, then it is an orphan
  no checkpoint      segments that no checkpoint and no journal names, because the checkpoints were lost: adopted as the
                     segments have it, and reported as possibly short
  deleted            its topic was deleted or removed; the broker's next start drops what is left")]
    List(ListArgs),
    /// Give the partitions of a topic id a topic again; after the next start it serves all their records
    #[command(after_help = "Examples:
  sluice orphan adopt 3f0c… --name events --data-dir data
  sluice orphan adopt 3f0c… --name events --set retention_ms=30d --data-dir data

The topic gets as many partitions as the highest number found, plus one; those that were not found are empty. Its
settings were lost with the metadata: without --set it keeps everything (retention_ms=none, retention_bytes=none).
When the metadata knows the topic and only lacks some of its partitions, --name is not needed.")]
    Adopt(AdoptArgs),
    /// Remove the partitions of a topic id: a tombstone is made, and the next start drops their records and files
    #[command(after_help = "Examples:
  sluice orphan remove 3f0c… --data-dir data                 shows what goes, and asks
  sluice orphan remove 3f0c… --yes --data-dir data           does not ask
  sluice orphan remove 3f0c… --set-aside --data-dir data     only the files that recovery set aside, of any topic")]
    Remove(RemoveArgs),
    /// Make new metadata that knows no topic, for a folder that lost its own and has no copy of it
    #[command(after_help = "Examples:
  sluice orphan new-metadata --data-dir data
  sluice orphan list --data-dir data                         everything in the folder is an orphan now

Put back a copy of metadata.redb instead when there is one, however old: it knows names and settings.")]
    NewMetadata(NewMetadataArgs),
}

#[derive(Args)]
pub(crate) struct FolderArgs {
    /// Folder of a stopped broker
    #[arg(long, value_name = "DIR", default_value = "sluice-data")]
    data_dir: PathBuf,
}

#[derive(Args)]
pub(crate) struct ListArgs {
    #[command(flatten)]
    folder: FolderArgs,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
pub(crate) struct AdoptArgs {
    /// The topic's id, 32 digits, as `orphan list` shows it
    #[arg(value_parser = parse_topic_id)]
    topic_id: TopicId,
    /// Name of the topic: letters, digits, `.`, `_` and `-`
    #[arg(long)]
    name: Option<String>,
    /// A setting of the topic; may be given several times
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = crate::topic::parse_setting)]
    settings: Vec<(String, String)>,
    #[command(flatten)]
    folder: FolderArgs,
}

#[derive(Args)]
pub(crate) struct RemoveArgs {
    /// The topic's id, 32 digits, as `orphan list` shows it
    #[arg(value_parser = parse_topic_id)]
    topic_id: TopicId,
    /// Remove only the files that recovery set aside
    #[arg(long)]
    set_aside: bool,
    /// Do not ask
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    folder: FolderArgs,
}

#[derive(Args)]
pub(crate) struct NewMetadataArgs {
    #[command(flatten)]
    folder: FolderArgs,
    /// Folder of the journals, when it is not in the data folder
    #[arg(long, value_name = "DIR")]
    journal_dir: Option<PathBuf>,
}

fn parse_topic_id(text: &str) -> Result<TopicId, String> {
    TopicId::parse(text).ok_or_else(|| format!("{text:?} is no topic id; one has 32 hexadecimal digits"))
}

pub(crate) fn run(command: OrphanCommand) -> Result<(), Failure> {
    match command {
        OrphanCommand::List(args) => list::list(&args),
        OrphanCommand::Adopt(args) => adopt::adopt(&args),
        OrphanCommand::Remove(args) => remove::remove(&args),
        OrphanCommand::NewMetadata(args) => new_metadata::new_metadata(&args),
    }
}
