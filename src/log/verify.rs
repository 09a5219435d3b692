//! `log verify`: a table of the files, then every finding; damage decides the exit status.

use super::files::{self, Files, SegmentFile, ShardFiles};
use super::finding::{Finding, Standing};
use super::journal::{self, JournalSummary};
use super::segment::{self, EndKnown, SegmentSummary};
use super::{LogArgs, reading, shown};
use crate::exit_status::{ExitStatus, Failure};
use crate::table::{Table, print_line};
use serde_json::{Value, json};
use sluice_storage::checkpoint_slots::{CHECKPOINT_FORMAT_VERSION, SlotFound};
use std::io;
use std::path::Path;

const COLUMNS: &[&str] = &["kind", "file", "state", "frames", "records", "from_offset", "next_offset", "bytes"];

pub(crate) fn verify(args: &LogArgs) -> Result<(), Failure> {
    let (files, _lock) = files::find(&args.path)?;
    let mut table = Table::new(COLUMNS);
    let mut findings = Vec::new();
    for shard in &files.shards {
        verify_slots(shard, &mut table, &mut findings);
        let summary = journal::verify(shard, &files, &mut |_, _| {}).map_err(reading(&args.path))?;
        if let Some(dir) = shard.journal.first().and_then(|path| path.parent()) {
            table.push(plain_row("journal", dir, journal_state(&summary)));
        }
        // Both slots are written before the first group is.
        if summary.group_count > 0 && shard.slots.iter().all(|(_, slot)| matches!(slot, SlotFound::Missing)) {
            findings.push(Finding::new(&shard.slots[0].0, 0, "checkpoint", "one good slot of the two", "no file of either"));
        }
        findings.extend(summary.findings);
    }
    for (dir, error) in &files.missing_journals {
        findings.push(Finding::new(dir, 0, "journal that the checkpoint names", "every file of it, whole", error));
        table.push(plain_row("journal", dir, "MISSING OR NOT WHOLE".to_owned()));
    }
    if let Some((path, problem)) = &files.metadata_problem {
        findings.push(Finding::new(path, 0, "what says whose folder it is and which topics there are", "a good file", problem));
        table.push(plain_row("metadata", path, "UNUSABLE".to_owned()));
    }
    for (dir, id) in &files.unnamed {
        let finding = Finding::new(dir, 0, "segments that nobody names", "a checkpoint or a journal that names them", "neither");
        findings.push(finding.of_partition(*id));
    }
    verify_segments(&files, &mut table, &mut findings).map_err(reading(&args.path))?;
    findings.extend(remembered(&files, &findings));
    let (findings, given_up): (Vec<_>, Vec<_>) = findings.into_iter().partition(|one| one.standing == Standing::Damaged);
    if args.json {
        let document = json!({ "files": table.to_json(), "findings": findings, "given_up": given_up });
        print_line(&format!("{document:#}"))?;
    } else {
        table.print(false, "no files")?;
        for finding in given_up.iter().chain(&findings) {
            let whose = finding.partition.map_or_else(String::new, |id| format!("; {}", files.name(id)));
            print_line(&format!("{} {finding}{whose}", word(finding.standing)))?;
        }
    }
    match findings.len() {
        0 => Ok(()),
        count => Err(Failure::new(ExitStatus::Damaged, format!("{count} finding(s) of damage in {}", args.path.display()))
            .remedy(remedy(&findings))),
    }
}

fn word(standing: Standing) -> &'static str {
    match standing {
        Standing::Damaged => "DAMAGED",
        Standing::Accepted => "accepted as lost:",
        Standing::Deleted => "deleted before it was damaged:",
    }
}

fn remedy(findings: &[Finding]) -> &'static str {
    if findings.iter().all(|finding| finding.is_harmless) {
        "`sluice log repair` puts right what costs no record; look at the device's health before that changes"
    } else {
        "keep a copy of the folder, then see \"When something broke\" in the README: `sluice log repair` puts right what costs no record, `sluice log accept-loss` shows what is lost and gives it up"
    }
}

/// What checkpoints remember and files do not show; of a whole data folder.
fn remembered(files: &Files, found: &[Finding]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for shard in &files.shards {
        let Some(newest) = shard.newest() else { continue };
        let slot = &shard.slots[newest.slot].0;
        for partition in newest.checkpoint.partitions.iter().filter(|partition| files.counts(partition)) {
            findings.extend(segment::remembered(partition, slot, found));
        }
    }
    findings
}

fn verify_slots(shard: &ShardFiles, table: &mut Table, findings: &mut Vec<Finding>) {
    let any_good = shard.newest().is_some();
    for (path, slot) in &shard.slots {
        let state = match slot {
            SlotFound::Good(found) => format!("good, {} partition(s)", found.checkpoint.partitions.len()),
            SlotFound::Missing => "missing".to_owned(),
            // A crash while a slot is written leaves it torn; the other one is the checkpoint then.
            SlotFound::OtherVersion { found } => {
                findings.push(Finding::new(path, 3, "format version", CHECKPOINT_FORMAT_VERSION, found));
                format!("of version {found}")
            }
            SlotFound::Unreadable { error } => {
                findings.push(Finding::new(path, 0, "checkpoint", "bytes that can be read", error));
                "UNREADABLE".to_owned()
            }
            SlotFound::Bad if any_good => "torn, the other slot is good".to_owned(),
            SlotFound::Bad => {
                findings.push(Finding::new(path, 0, "checkpoint", "one good slot of the two", "none"));
                "DAMAGED".to_owned()
            }
        };
        table.push(plain_row("checkpoint", path, state));
    }
}

fn journal_state(summary: &JournalSummary) -> String {
    if !summary.findings.is_empty() {
        return "DAMAGED".to_owned();
    }
    let torn = if summary.torn_end { ", torn end" } else { "" };
    format!("{} of {} groups needed, {} entries{torn}", summary.needed_count, summary.group_count, summary.entry_count)
}

/// A row of a file that has no offsets of its own.
fn plain_row(kind: &str, path: &Path, state: String) -> Vec<Value> {
    let mut row = vec![kind.into(), shown(path), state.into()];
    row.resize(COLUMNS.len(), Value::Null);
    row
}

/// Segments one after the other; each must go on where the one before it in its partition ended.
fn verify_segments(files: &Files, table: &mut Table, findings: &mut Vec<Finding>) -> io::Result<()> {
    let mut before: Option<(SegmentFile, SegmentSummary)> = None;
    for segment in &files.segments {
        let mut summary = segment::read(segment, files.partitions.get(&segment.id), &mut |_, _| {})?;
        if summary.end_known == EndKnown::Unnamed {
            table.push(segment_row(segment, &summary));
            continue;
        }
        let follows =
            before.as_ref().filter(|(before, _)| before.id == segment.id && !is_missing_between(files, before, segment));
        summary.findings.extend(follows.and_then(|(_, before)| summary.gap_after(before, segment)));
        table.push(segment_row(segment, &summary));
        findings.extend(summary.findings.iter().cloned());
        before = Some((segment.clone(), summary));
    }
    for segment in files.missing_segments.iter().filter(|segment| !files.is_deleted(segment.id)) {
        let finding = segment::missing(segment, files.partitions.get(&segment.id));
        let state = if finding.standing == Standing::Damaged { "MISSING" } else { "missing, and given up" };
        table.push(plain_row("segment", &segment.path, state.to_owned()));
        findings.push(finding);
    }
    Ok(())
}

/// The segment behind one that is gone, given up or not, is not to blame for the gap.
fn is_missing_between(files: &Files, before: &SegmentFile, segment: &SegmentFile) -> bool {
    let between = before.base_offset..segment.base_offset;
    let partition = files.partitions.get(&segment.id);
    let known = partition.into_iter().flat_map(|partition| partition.accepted.iter().chain(&partition.damaged));
    files.missing_segments.iter().any(|missing| missing.id == segment.id && between.contains(&missing.base_offset))
        || known.into_iter().any(|range| range.until == segment.base_offset)
}

fn segment_row(segment: &SegmentFile, summary: &SegmentSummary) -> Vec<Value> {
    vec![
        "segment".into(),
        shown(&segment.path),
        segment::state(summary).into(),
        summary.frame_count.into(),
        summary.record_count.into(),
        segment.base_offset.0.into(),
        summary.next_offset.0.into(),
        summary.end_position.into(),
    ]
}
