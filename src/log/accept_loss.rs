//! `log accept-loss`: shows what a stopped broker refuses or doubts, asks, and only then writes that it is accepted.
//!
//! The expensive mistake is to accept more than was shown or less than was agreed to, so the folder is locked from
//! before the first look to after the last write. Nothing but checkpoint slots is written, the mark of a journal folder
//! that has to be begun anew, and journal files that nobody has any more.

use super::files::{self, Files};
use super::folder;
use super::lost_shard;
use super::plain_disk::PlainDisk;
use super::segment;
use super::stopped::{Stopped, StoppedArgs};
use crate::exit_status::{ExitStatus, Failure};
use crate::table::print_line;
use clap::Args;
use sluice_metadata::Image;
use sluice_model::TopicPartition;
use sluice_storage::accepted_loss::{PartitionLoss, ShardLoss, find_loss};
use sluice_storage::layout::Layout;
use sluice_storage::lost_shard::LostShard;
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufRead, IsTerminal, Write};
use std::path::Path;

#[derive(Args)]
pub(crate) struct AcceptLossArgs {
    #[command(flatten)]
    stopped: StoppedArgs,
    /// How many journal files each shard has by the broker's settings (`journal_file_count`); asked for where no
    /// checkpoint says it any more
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u32).range(2..=64))]
    journal_file_count: u32,
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
    /// Without checkpoints, and without a whole journal.
    lost: Vec<LostShard>,
    /// No checkpoint names them.
    unnamed: BTreeSet<TopicPartition>,
    /// What the metadata says; a partition is named by its id where it cannot be read.
    image: Option<Image>,
}

pub(crate) fn accept_loss(args: &AcceptLossArgs) -> Result<(), Failure> {
    let stopped = Stopped::open(&args.stopped)?;
    let losses = find(&stopped, args)?;
    if losses.is_empty() {
        return print_line("there is nothing to accept: nothing is lost or in doubt that a broker refuses or reports");
    }
    for line in losses.describe() {
        print_line(&line)?;
    }
    if !args.yes {
        ask()?;
    }
    let rebuilds = !losses.lost.is_empty();
    losses.accept()?;
    print_line("accepted: the next start of the broker steps over all of the above")?;
    if rebuilds {
        print_line(
            "that start says what of a rebuilt shard is in doubt; this command, run again after it, accepts that as well",
        )?;
    }
    Ok(())
}

fn find(stopped: &Stopped, args: &AcceptLossArgs) -> Result<Losses, Failure> {
    let reading = |error| Failure::io(format_args!("cannot read {}", stopped.dir.display()), &error);
    let layout = stopped.layout.clone();
    let Some(meta) = folder::read_meta(&layout)? else {
        return Err(Failure::new(ExitStatus::DataFolder, format!("{} is missing", layout.meta().display()))
            .remedy("put back a copy of it; without one, see `sluice orphan new-metadata --help`"));
    };
    let folder_id = meta.folder_id.to_string();
    let owner = layout.journal_owner();
    let unmarked = match std::fs::read_to_string(&owner) {
        Ok(text) if text.trim() == folder_id => None,
        Ok(text) => {
            let what = format!("{} holds the journal of data folder {}, not of this one", owner.display(), text.trim());
            return Err(Failure::new(ExitStatus::DataFolder, what).remedy("another --journal-dir"));
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            refuse_other_folder(stopped, &folder_id)?;
            Some(folder_id)
        }
        Err(error) => return Err(Failure::io(owner.display(), &error)),
    };
    let files = files::find_unlocked(&stopped.dir, Some(&layout))?;
    let (mut shards, mut lost, mut unnamed) = (Vec::new(), Vec::new(), BTreeSet::new());
    for shard in lost_shard::all_shards(&layout, files.image.as_ref()).map_err(reading)? {
        let loss = files::ready(find_loss(&PlainDisk::READ_ONLY, &layout, shard));
        if let Some(mut loss) = loss.map_err(|error| Failure::new(ExitStatus::DataFolder, error.to_string()))? {
            add_unmet(&files, &mut loss)?;
            for partition in lost_shard::unnamed_on(&files, &layout, shard)? {
                unnamed.insert(partition.id);
                loss.on_unnamed(partition);
            }
            shards.push(loss);
        } else if let Some(found) = lost_shard::find(&layout, shard, args.journal_file_count, files.image.as_ref())? {
            if files.image.is_none() {
                let what = format!(
                    "shard {shard} has neither a good checkpoint nor a whole journal, and without metadata nothing says what it held"
                );
                return Err(Failure::new(ExitStatus::Metadata, what)
                    .remedy("put back metadata.redb, an older copy will do; nothing was changed"));
            }
            lost.push(found);
        } else if layout.shard_dir(shard).exists() {
            print_line(&format!(
                "shard {shard} has no good checkpoint: the next start rebuilds it from segments and journal; what is lost is known after that"
            ))?;
        }
    }
    Ok(Losses { layout, unmarked, shards, lost, unnamed, image: files.image })
}

/// The journal is where the broker had it last, and another folder was named: nothing is lost.
fn refuse_other_folder(stopped: &Stopped, folder_id: &str) -> Result<(), Failure> {
    let last = folder::layout_of(&stopped.dir)?;
    if folder::journal_owner(&last).is_none_or(|owner| owner != folder_id) {
        return Ok(());
    }
    let (named, last) = (stopped.layout.journal_dir().display(), last.journal_dir().display());
    let what = format!("the journal of this data folder is in {last}, not in {named}: it is not lost");
    Err(Failure::new(ExitStatus::DataFolder, what).remedy(format!("--journal-dir {last}")))
}

/// What no broker has met yet: every segment is read.
fn add_unmet(files: &Files, loss: &mut ShardLoss) -> Result<(), Failure> {
    for segment in files.segments.iter().chain(&files.missing_segments) {
        let of_shard = loss.checkpoint().partitions.iter().find(|partition| partition.id == segment.id);
        let Some(partition) = of_shard.filter(|partition| files.counts(partition)).cloned() else { continue };
        let about = |error| Failure::io(segment.path.display(), &error);
        for finding in segment::lost(segment, &partition).map_err(about)? {
            loss.on_found(segment.id, finding);
        }
    }
    Ok(())
}

impl Losses {
    fn is_empty(&self) -> bool {
        self.shards.iter().all(ShardLoss::is_empty) && self.unmarked.is_none() && self.lost.is_empty()
    }

    fn describe(&self) -> Vec<String> {
        let (mut lines, image) = (Vec::new(), self.image.as_ref());
        if self.unmarked.is_some() {
            let dir = self.layout.journal_dir().display();
            lines.push(format!("journal folder {dir} is missing or empty (is its device mounted?): it is begun anew"));
        }
        for loss in &self.shards {
            if let Some((dir, error)) = &loss.journal {
                lines.push(format!("shard {}: the journal in {} is given up ({error})", loss.shard, dir.display()));
            }
            for partition in &loss.partitions {
                let name = files::name(image, partition.id);
                if self.unnamed.contains(&partition.id) {
                    lines.push(format!(
                        "{name}: no checkpoint and no journal names it any more; it becomes what its segments hold"
                    ));
                }
                describe_partition(partition, &name, &mut lines);
            }
        }
        self.lost.iter().for_each(|lost| lost_shard::describe(lost, image, &mut lines));
        lines
    }

    fn accept(self) -> Result<(), Failure> {
        if let Some(folder_id) = &self.unmarked {
            let path = self.layout.journal_owner();
            mark(self.layout.journal_dir(), &path, folder_id).map_err(|error| Failure::io(path.display(), &error))?;
        }
        for lost in &self.lost {
            lost_shard::accept(lost)
                .map_err(|error| Failure::io(format_args!("cannot make the journal in {}", lost.dir.display()), &error))?;
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
