//! `log dump`: one line for each thing in the files, in the order of shards, then of partitions and offsets.

use super::finding::crc;
use super::{LogArgs, files, journal, reading, segment, shown};
use crate::exit_status::Failure;
use crate::units::format_timestamp_ms;
use serde_json::{Value, json};
use sluice_model::FrameHeader;
use sluice_storage::checkpoint_slots::SlotFound;
use sluice_storage::commit_group::JournalEntry;
use std::io::{self, Write};
use std::path::Path;

pub(crate) fn dump(args: &LogArgs) -> Result<(), Failure> {
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
        let summary = segment::read(segment, checkpoint, &mut |position, header| out.frame(position, header))
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
            let state = match slot {
                SlotFound::Missing => "missing",
                SlotFound::OtherVersion { .. } => "of another version",
                SlotFound::Unreadable { .. } => "unreadable",
                _ => "torn or damaged",
            };
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
                Ok(JournalEntry::Truncate { id, end_offset, .. }) => {
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
