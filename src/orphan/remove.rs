//! `orphan remove`: says exactly what goes, asks, and leaves a tombstone.
//!
//! Segments and journals are not touched here: a journal's frames would bring them back. The broker's next start drops
//! both under the tombstone. Files set aside belong to nobody any more and are removed at once.

use super::RemoveArgs;
use super::adopt::orphans_of;
use super::list;
use super::set_aside::{self, SetAsideFile};
use super::stopped_folder::{StoppedFolder, command_failure};
use crate::exit_status::{ExitStatus, Failure};
use crate::table::Table;
use crate::units::format_len;
use sluice_broker::BROKER;
use sluice_metadata::RemoveOrphan;
use sluice_model::TopicPartition;
use std::io::BufRead;

pub(crate) fn remove(args: &RemoveArgs) -> Result<(), Failure> {
    let mut folder = StoppedFolder::open(&args.folder.data_dir)?;
    let reading = |error| Failure::io(format_args!("cannot read {}", args.folder.data_dir.display()), &error);
    let mut files = set_aside::find(&folder.layout).map_err(reading)?;
    files.retain(|file| file.id.topic_id == args.topic_id);
    if args.set_aside {
        if files.is_empty() {
            let what = format!("no file of topic {} was set aside", args.topic_id);
            return Err(Failure::new(ExitStatus::Refused, what).remedy("`sluice orphan list` shows what there is"));
        }
        show_files(&files);
    } else {
        folder.controller()?;
        show_partitions(&folder, args)?;
        show_files(&files);
    }
    if !args.yes && !confirmed()? {
        return Err(Failure::new(ExitStatus::Failed, "nothing was removed").remedy("answer `yes`, or give --yes"));
    }
    if !args.set_aside {
        folder.remember_last_start()?;
        let request = RemoveOrphan { topic_id: args.topic_id, broker: BROKER };
        folder.controller()?.remove_orphan(&request).map_err(|error| command_failure(&error))?;
    }
    let removing = |error| Failure::io("cannot remove the files that were set aside", &error);
    set_aside::remove(&folder.layout, &files).map_err(removing)?;
    if args.set_aside {
        eprintln!("removed {} file(s) that were set aside", files.len());
    } else {
        eprintln!("topic {} is marked as deleted; the broker's next start drops what is left of it", args.topic_id);
    }
    Ok(())
}

fn show_partitions(folder: &StoppedFolder, args: &RemoveArgs) -> Result<(), Failure> {
    let found = orphans_of(folder, args.topic_id)?;
    if let Some(topic) = folder.image().and_then(|image| image.topic(args.topic_id)) {
        let what = format!("these partitions belong to topic {}, and cannot be removed without it", topic.name);
        let remedy = format!("let it adopt them: `sluice orphan adopt {}`; or delete the topic", args.topic_id);
        return Err(Failure::new(ExitStatus::Refused, what).remedy(remedy));
    }
    let mut table = Table::new(list::COLUMNS);
    for (&partition, found) in &found {
        table.push(list::row(folder, TopicPartition { topic_id: args.topic_id, partition }, found));
    }
    let records: u64 = found.values().map(|found| found.record_count).sum();
    let bytes: u64 = found.values().map(|found| found.bytes).sum();
    eprintln!("{}", table.to_text());
    eprintln!(
        "{} partition(s) with {records} records, {} ({bytes} bytes), will be gone for ever",
        found.len(),
        format_len(bytes)
    );
    Ok(())
}

fn show_files(files: &[SetAsideFile]) {
    for file in files {
        eprintln!("{} ({} bytes) will be removed", file.path.display(), file.len);
    }
}

fn confirmed() -> Result<bool, Failure> {
    eprintln!("Type `yes` to remove this:");
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line).map_err(|error| Failure::io("cannot read the answer", &error))?;
    Ok(line.trim() == "yes")
}
