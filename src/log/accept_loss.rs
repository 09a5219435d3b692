//! `log accept-loss`: shows what a stopped broker refuses or doubts, asks, and only then writes that it is accepted.
//!
//! The expensive mistake is to accept more than was shown or less than was agreed to, so the folder is locked from
//! before the first look to after the last write. Nothing but checkpoint slots is written, and the mark of a journal
//! folder that has to be begun anew.

use super::files;
use super::plain_disk::PlainDisk;
use crate::exit_status::{ExitStatus, Failure};
use crate::table::print_line;
use clap::Args;
use sluice_metadata::Image;
use sluice_model::TopicPartition;
use sluice_storage::accepted_loss::{PartitionLoss, ShardLoss, find_loss};
use sluice_storage::layout::Layout;
use std::fs::File;
use std::io::{BufRead, IsTerminal, Write};
use std::path::{Path, PathBuf};

#[derive(Args)]
pub(crate) struct AcceptLossArgs {
    /// Folder that `sluice serve --data-dir` is given
    #[arg(long, value_name = "D")]
    data_dir: PathBuf,
    /// Folder of the journals, where it is not the one the broker used last
    #[arg(long, value_name = "J")]
    journal_dir: Option<PathBuf>,
    /// Accept without asking
    #[arg(long)]
    yes: bool,
}

/// Everything there is to accept.
struct Losses {
    layout: Layout,
    /// The journal folder's mark is gone, and what it has to say.
    unmarked: Option<String>,
    shards: Vec<ShardLoss>,
}

pub(crate) fn accept_loss(args: &AcceptLossArgs) -> Result<(), Failure> {
    let dir = args.data_dir.canonicalize().map_err(|error| {
        Failure::io(args.data_dir.display(), &error).remedy("name the folder that `sluice serve --data-dir` was given")
    })?;
    let _locked = lock(&dir)?;
    let losses = find(&dir, args)?;
    if losses.shards.iter().all(ShardLoss::is_empty) && losses.unmarked.is_none() {
        return print_line(
            "there is nothing to accept: no damage and no doubt stands in the checkpoints; what `sluice log verify` finds stands there once a broker has met it",
        );
    }
    // A partition is named by its id where the metadata cannot be read.
    let names = files::read_metadata(&losses.layout);
    for line in losses.describe(names.as_ref()) {
        print_line(&line)?;
    }
    if !args.yes {
        ask()?;
    }
    losses.accept()?;
    print_line("accepted: the next start of the broker steps over all of the above")
}

/// Exclusive, as a broker holds it.
fn lock(dir: &Path) -> Result<File, Failure> {
    let path = Layout::new(dir).lock();
    let file = File::options().read(true).write(true).open(&path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => {
            Failure::io(format_args!("{} is no data folder of a broker ({})", dir.display(), path.display()), &error)
                .remedy("name the folder that `sluice serve --data-dir` was given")
        }
        _ => Failure::io(format_args!("cannot lock {}, which is done before checkpoints are written", path.display()), &error)
            .remedy("accept from an account that may write there, on a file system that is writable"),
    })?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(std::fs::TryLockError::WouldBlock) => {
            let what = format!("a broker is using {}", dir.display());
            Err(Failure::new(ExitStatus::DataFolderInUse, what).remedy("stop the broker first"))
        }
        Err(std::fs::TryLockError::Error(error)) => Err(Failure::io(path.display(), &error)),
    }
}

fn find(dir: &Path, args: &AcceptLossArgs) -> Result<Losses, Failure> {
    let reading = |error| Failure::io(format_args!("cannot read {}", dir.display()), &error);
    let mut layout = files::layout_of(dir).map_err(reading)?;
    if let Some(journal_dir) = &args.journal_dir {
        layout = layout.with_journal_dir(&std::path::absolute(journal_dir).map_err(reading)?);
    }
    let folder_id = folder_id(&layout)?;
    let owner = layout.journal_owner();
    let unmarked = match std::fs::read_to_string(&owner) {
        Ok(text) if text.trim() == folder_id => None,
        Ok(text) => {
            let what = format!("{} holds the journal of data folder {}, not of this one", owner.display(), text.trim());
            return Err(Failure::new(ExitStatus::DataFolder, what).remedy("another --journal-dir"));
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Some(folder_id),
        Err(error) => return Err(Failure::io(owner.display(), &error)),
    };
    let mut shards = Vec::new();
    for shard in files::shards(&layout).map_err(reading)? {
        let loss = files::ready(find_loss(&PlainDisk::READ_ONLY, &layout, shard));
        match loss.map_err(|error| Failure::new(ExitStatus::DataFolder, error.to_string()))? {
            Some(loss) => shards.push(loss),
            None if unmarked.is_some() => {
                let what = format!("shard {shard} has neither a good checkpoint nor a journal: nothing says what it held");
                return Err(Failure::new(ExitStatus::Damaged, what)
                    .remedy(format!("put back a copy of its folder, shard-{shard}, or its journal; nothing was changed")));
            }
            None => print_line(&format!(
                "shard {shard} has no good checkpoint: the next start rebuilds it from segments and journal, and there is nothing to accept before that"
            ))?,
        }
    }
    Ok(Losses { layout, unmarked, shards })
}

fn folder_id(layout: &Layout) -> Result<String, Failure> {
    let path = layout.meta();
    let text = std::fs::read_to_string(&path).map_err(|error| {
        Failure::io(format_args!("cannot read {}", path.display()), &error)
            .remedy("put back a copy of it; without one, see `sluice orphan new-metadata --help`")
    })?;
    let meta = serde_json::from_str::<serde_json::Value>(&text).ok();
    let id = meta.as_ref().and_then(|meta| meta.get("folder_id")?.as_str()).map(ToOwned::to_owned);
    id.ok_or_else(|| Failure::new(ExitStatus::DataFolder, format!("{} names no folder id", path.display())))
}

impl Losses {
    fn describe(&self, image: Option<&Image>) -> Vec<String> {
        let mut lines = Vec::new();
        if self.unmarked.is_some() {
            lines.push(format!("journal folder {} is missing or empty: it is begun anew", self.layout.journal_dir().display()));
        }
        for loss in &self.shards {
            if let Some((dir, error)) = &loss.journal {
                lines.push(format!("shard {}: the journal in {} is given up ({error})", loss.shard, dir.display()));
            }
            for partition in &loss.partitions {
                describe_partition(partition, &name(image, partition.id), &mut lines);
            }
        }
        lines
    }

    fn accept(self) -> Result<(), Failure> {
        if let Some(folder_id) = &self.unmarked {
            let path = self.layout.journal_owner();
            mark(self.layout.journal_dir(), &path, folder_id).map_err(|error| Failure::io(path.display(), &error))?;
        }
        for loss in self.shards.into_iter().filter(|loss| !loss.is_empty()) {
            let dir = self.layout.shard_dir(loss.shard);
            let written = files::ready(loss.accept(&PlainDisk::WRITABLE, &self.layout));
            written.map_err(|error| Failure::io(format_args!("cannot write the checkpoints in {}", dir.display()), &error))?;
        }
        Ok(())
    }
}

fn mark(dir: &Path, path: &Path, folder_id: &str) -> std::io::Result<()> {
    std::fs::create_dir_all(dir)?;
    let mut file = File::create_new(path)?;
    file.write_all(folder_id.as_bytes())?;
    file.sync_all()?;
    File::open(dir)?.sync_all()
}

fn name(image: Option<&Image>, id: TopicPartition) -> String {
    match image.and_then(|image| image.topic(id.topic_id)) {
        Some(topic) => format!("topic {}, partition {}", topic.name, id.partition),
        None => format!("topic id {} (no topic of this name is known), partition {}", id.topic_id, id.partition),
    }
}

fn describe_partition(loss: &PartitionLoss, name: &str, lines: &mut Vec<String>) {
    for range in &loss.damaged {
        let (from, until) = (range.from.0, range.until.0);
        lines.push(format!("{name}: offsets {from} up to {until} are lost, {} record(s)", until - from));
    }
    if let Some(offset) = loss.possibly_short {
        lines.push(format!("{name}: possibly short from offset {offset}; how many records were lost is not known"));
    }
    if let Some(offset) = loss.journal_from {
        lines.push(format!("{name}: with the journal, records from offset {offset} on may be lost; how many is not known"));
    }
}

fn ask() -> Result<(), Failure> {
    let stdin = std::io::stdin();
    if !stdin.is_terminal() {
        let what = "nothing was accepted: there is no terminal to ask on";
        return Err(Failure::usage(what).remedy("--yes, once the above is agreed to"));
    }
    eprint!("These records are given up for good. Type yes to accept that: ");
    let mut answer = String::new();
    stdin.lock().read_line(&mut answer).map_err(|error| Failure::io("cannot read the answer", &error))?;
    if answer.trim() == "yes" { Ok(()) } else { Err(Failure::new(ExitStatus::Failed, "nothing was accepted")) }
}
