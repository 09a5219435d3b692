//! `sluice log dump|verify`: a stopped broker's files, read by ordinary reads and never written.
//!
//! What is found and judged stands in `log/`; this file prints it.

mod files;
mod finding;
mod journal;
mod plain_disk;
mod segment;

use crate::exit_status::{ExitStatus, Failure};
use crate::table::Table;
use crate::units::format_timestamp_ms;
use clap::Args;
use files::Files;
use finding::{Finding, crc};
use serde_json::{Value, json};
use sluice_model::FrameHeader;
use sluice_storage::checkpoint_slots::SlotFound;
use sluice_storage::commit_group::JournalEntry;
use std::io::{self, Write};
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

A torn end of the journal is no damage: nothing of it was acknowledged. Each finding names the file, the position,
what was expected and what is there.")]
    Verify(LogArgs),
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
        LogCommand::Dump(args) => dump(&args),
        LogCommand::Verify(args) => verify(&args),
    }
}

fn verify(args: &LogArgs) -> Result<(), Failure> {
    let (files, _lock) = files::find(&args.path)?;
    let mut table = Table::new(&["kind", "file", "state", "frames", "records", "from_offset", "next_offset", "bytes"]);
    let mut findings = Vec::new();
    for shard in &files.shards {
        verify_slots(shard, &mut table, &mut findings);
        let summary = journal::verify(shard, &files, &mut |_, _| {}).map_err(reading(&args.path))?;
        let state = format!(
            "{} of {} groups needed{}",
            summary.needed_count,
            summary.group_count,
            if summary.torn_end { ", torn end" } else { "" }
        );
        if let Some(dir) = shard.journal.first().and_then(|path| path.parent()) {
            let state = if summary.findings.is_empty() { state } else { "DAMAGED".to_owned() };
            let entry_count = summary.entry_count.into();
            table.push(vec![
                "journal".into(),
                shown(dir),
                state.into(),
                entry_count,
                Value::Null,
                Value::Null,
                Value::Null,
                Value::Null,
            ]);
        }
        findings.extend(summary.findings);
    }
    verify_segments(&files, &mut table, &mut findings).map_err(reading(&args.path))?;
    if args.json {
        let document = json!({ "files": table.to_json(), "findings": findings });
        crate::table::print_line(&format!("{document:#}"))?;
    } else {
        table.print(false, "no files")?;
        findings.iter().try_for_each(|finding| crate::table::print_line(&format!("DAMAGED {finding}")))?;
    }
    match findings.len() {
        0 => Ok(()),
        count => Err(Failure::new(ExitStatus::Damaged, format!("{count} finding(s) of damage in {}", args.path.display()))
            .remedy("keep a copy of the folder; a broker started on it serves all but the damaged ranges")),
    }
}

fn verify_slots(shard: &files::ShardFiles, table: &mut Table, findings: &mut Vec<Finding>) {
    let any_good = shard.newest().is_some();
    for (path, slot) in &shard.slots {
        let (state, partition_count) = match slot {
            SlotFound::Good(found) => ("good", Value::from(found.checkpoint.partitions.len())),
            SlotFound::Missing => ("missing", Value::Null),
            // A crash while a slot is written leaves it torn; the other one is the checkpoint then.
            SlotFound::Bad if any_good => ("torn, the other slot is good", Value::Null),
            SlotFound::Bad => {
                findings.push(Finding::new(path, 0, "checkpoint", "one good slot of the two", "none"));
                ("DAMAGED", Value::Null)
            }
        };
        table.push(vec![
            "checkpoint".into(),
            shown(path),
            state.into(),
            Value::Null,
            partition_count,
            Value::Null,
            Value::Null,
            Value::Null,
        ]);
    }
}

/// Segments one after the other; each must go on where the one before it in its partition ended.
fn verify_segments(files: &Files, table: &mut Table, findings: &mut Vec<Finding>) -> io::Result<()> {
    let mut before: Option<(sluice_model::TopicPartition, (sluice_model::Offset, u32))> = None;
    for segment in &files.segments {
        let checkpoint = files.partitions.get(&segment.id);
        let summary = segment::read(segment, checkpoint, &mut |_, _, _| {})?;
        let follows = before.filter(|(id, _)| *id == segment.id);
        if let (Some((_, expected)), true) = (follows, summary.findings.is_empty())
            && expected != (segment.base_offset, summary.first_prev_header_crc)
        {
            let text = |(offset, chain): (sluice_model::Offset, u32)| format!("offset {offset} after {}", crc(chain));
            let actual = text((segment.base_offset, summary.first_prev_header_crc));
            findings.push(Finding::new(
                &segment.path,
                0,
                "beginning of the segment after the one before it",
                text(expected),
                actual,
            ));
        }
        before = Some((segment.id, (summary.next_offset, summary.last_header_crc)));
        let state = match (summary.findings.is_empty(), summary.end_known) {
            (false, _) => "DAMAGED",
            (true, segment::EndKnown::Sealed) => "sealed",
            (true, segment::EndKnown::Active) => "active",
            (true, segment::EndKnown::Unknown) => "end unknown",
        };
        table.push(vec![
            "segment".into(),
            shown(&segment.path),
            state.into(),
            summary.frame_count.into(),
            summary.record_count.into(),
            segment.base_offset.0.into(),
            summary.next_offset.0.into(),
            summary.end_position.into(),
        ]);
        findings.extend(summary.findings);
    }
    Ok(())
}

fn dump(args: &LogArgs) -> Result<(), Failure> {
    let (files, _lock) = files::find(&args.path)?;
    let mut out = Dump { out: io::BufWriter::new(io::stdout().lock()), json: args.json, failed: None };
    for shard in &files.shards {
        for (path, slot) in &shard.slots {
            out.slot(path, slot);
        }
        journal::verify(shard, &files, &mut |group, entries| out.group(group, entries)).map_err(reading(&args.path))?;
        out.check()?;
    }
    for segment in &files.segments {
        out.object(&[
            ("segment", json!(shown(&segment.path))),
            ("partition", json!(segment.id.to_string())),
            ("base_offset", json!(segment.base_offset.0)),
        ]);
        let checkpoint = files.partitions.get(&segment.id);
        let summary = segment::read(segment, checkpoint, &mut |position, header, _| out.frame(position, header))
            .map_err(reading(&args.path))?;
        for finding in &summary.findings {
            out.object(&[("damage", json!(finding.to_string()))]);
        }
        out.check()?;
    }
    out.out.flush().map_err(|error| Failure::output(&error))
}

/// Writes one object a line: as JSON, or its members as `name=value`.
struct Dump<W> {
    out: W,
    json: bool,
    failed: Option<io::Error>,
}

impl<W: Write> Dump<W> {
    fn object(&mut self, members: &[(&str, Value)]) {
        if self.failed.is_some() {
            return;
        }
        let line = if self.json { to_json(members) } else { to_line(members) };
        self.failed = writeln!(self.out, "{line}").err();
    }

    fn check(&mut self) -> Result<(), Failure> {
        self.failed.take().map_or(Ok(()), |error| Err(Failure::output(&error)))
    }

    fn slot(&mut self, path: &Path, slot: &SlotFound) {
        let SlotFound::Good(found) = slot else {
            let state = if *slot == SlotFound::Missing { "missing" } else { "torn or damaged" };
            return self.object(&[("checkpoint", json!(shown(path))), ("state", json!(state))]);
        };
        let checkpoint = &found.checkpoint;
        self.object(&[
            ("checkpoint", json!(shown(path))),
            ("slot_sequence", json!(found.slot_sequence)),
            ("incarnation", json!(checkpoint.incarnation.to_string())),
            ("journal_sequence", json!(checkpoint.journal_sequence)),
            ("partition_count", json!(checkpoint.partitions.len())),
        ]);
        for partition in &checkpoint.partitions {
            let point = &partition.recovery_point;
            self.object(&[
                ("partition", json!(partition.id.to_string())),
                ("placement_epoch", json!(partition.placement_epoch.0)),
                ("log_start_offset", json!(partition.log_start_offset.0)),
                ("high_watermark", json!(partition.high_watermark.0)),
                ("recovery_offset", json!(point.offset.0)),
                ("segment_base", json!(point.segment_base.0)),
                ("position", json!(point.position)),
                ("held", json!(point.held.to_string())),
                ("sealed_segments", json!(partition.sealed.len())),
                ("producers", json!(partition.producers.len())),
            ]);
        }
    }

    fn group(&mut self, group: &journal::Group, entries: &[journal::EntryAt<'_>]) {
        let header = &group.header;
        self.object(&[
            ("group", json!(header.sequence)),
            ("file", json!(shown(&group.path))),
            ("position", json!(group.position)),
            ("len", json!(header.group_len())),
            ("incarnation", json!(header.incarnation.to_string())),
            ("durable_sequence", json!(header.durable_sequence)),
            ("entry_count", json!(header.entry_count)),
            ("body_ok", json!(group.body_ok)),
            ("prev_group_crc", json!(crc(header.prev_group_crc))),
            ("header_crc", json!(crc(group.header_crc))),
        ]);
        for (address, position, entry) in entries {
            match entry {
                Ok(JournalEntry::Frame { header, .. }) => self.frame(*position, header),
                Ok(JournalEntry::LogStart { id, offset }) => {
                    self.object(&[
                        ("log_start", json!(offset.0)),
                        ("partition", json!(id.to_string())),
                        ("entry", json!(address.to_string())),
                    ]);
                }
                Ok(JournalEntry::Truncate { id, end_offset }) => {
                    self.object(&[
                        ("truncate", json!(end_offset.0)),
                        ("partition", json!(id.to_string())),
                        ("entry", json!(address.to_string())),
                    ]);
                }
                Err(error) => self.object(&[("damage", json!(format!("entry {address} at byte {position}: {error:?}")))]),
            }
        }
    }

    fn frame(&mut self, position: u64, header: &FrameHeader) {
        self.object(&[
            ("frame", json!(header.base_offset().0)),
            ("partition", json!(header.topic_partition().to_string())),
            ("position", json!(position)),
            ("record_count", json!(header.record_count.to_native())),
            ("len", json!(header.frame_len())),
            ("leader_epoch", json!(header.leader_epoch().0)),
            ("append_time", json!(format_timestamp_ms(header.append_time_ms.to_native()))),
            ("max_timestamp", json!(format_timestamp_ms(header.max_timestamp_ms.to_native()))),
            ("producer_id", json!(header.producer_id().0)),
            ("producer_epoch", json!(header.producer_epoch().0)),
            ("base_sequence", json!(header.base_sequence().0)),
            ("attributes", json!(header.attributes.to_native())),
            ("batch_crc", json!(crc(header.batch_crc.to_native()))),
            ("header_crc", json!(crc(header.header_crc.to_native()))),
            ("prev_header_crc", json!(crc(header.prev_header_crc.to_native()))),
        ]);
    }
}

fn to_json(members: &[(&str, Value)]) -> String {
    Value::Object(members.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect()).to_string()
}

/// `frame 42  position=4096 …`: the first member names the thing.
fn to_line(members: &[(&str, Value)]) -> String {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned);
    let parts = members.iter().enumerate().map(|(i, (name, value))| match i {
        0 => format!("{name} {}", text(value)),
        _ => format!("  {name}={}", text(value)),
    });
    parts.collect()
}

fn shown(path: &Path) -> Value {
    let here = std::env::current_dir().unwrap_or_default();
    path.strip_prefix(&here).unwrap_or(path).display().to_string().into()
}

fn reading(path: &Path) -> impl Fn(io::Error) -> Failure + '_ {
    move |error| Failure::io(format_args!("cannot read {}", path.display()), &error)
}
