//! `log repair`: what has rotted in segments and costs no record is put right.
//!
//! Every segment is verified first, and again after each write. The expensive mistake is to promise more than is done: what
//! cannot be put right is named, and decides the exit status. Deliberately absent: frames (`log accept-loss` gives up
//! what is lost) and checkpoints, which a start or the scrubber writes anew.

use super::files::{self, Files, SegmentFile, ShardFiles};
use super::finding::{Finding, Standing};
use super::plain_disk::PlainDisk;
use super::segment;
use super::stopped::{Stopped, StoppedArgs};
use crate::exit_status::{ExitStatus, Failure};
use crate::table::print_line;
use clap::Args;
use sluice_model::{Offset, TopicPartition};
use sluice_storage::checkpoint::PartitionCheckpoint;
use sluice_storage::segment_check::CheckedSegment;
use sluice_storage::segment_repair::{Repair, forget_footers, repair_in_place, repairs};
use std::collections::BTreeSet;

/// Padding is put right a block at a time, and may be bad in several.
const ROUNDS_MAX: usize = 1000;

#[derive(Args)]
pub(crate) struct RepairArgs {
    #[command(flatten)]
    stopped: StoppedArgs,
}

pub(crate) fn repair(args: &RepairArgs) -> Result<(), Failure> {
    let stopped = Stopped::open(&args.stopped)?;
    let files = files::find_unlocked(&stopped.dir, Some(&stopped.layout))?;
    let mut left = Vec::new();
    let mut count = 0;
    for shard in &files.shards {
        count += repair_shard(&stopped, &files, shard, &mut left)?;
    }
    match count {
        0 => print_line("nothing to put right was found")?,
        _ => print_line(&format!("{count} place(s) put right; no record was touched"))?,
    }
    if left.is_empty() {
        return Ok(());
    }
    for finding in &left {
        print_line(&format!("left as it is: {finding}"))?;
    }
    Err(Failure::new(ExitStatus::Damaged, format!("{} bad place(s) cannot be put right", left.len()))
        .remedy("`sluice log verify` says what each of them costs; `sluice log accept-loss` gives up records that are lost"))
}

/// How many places were put right; what was not goes to `left`.
fn repair_shard(stopped: &Stopped, files: &Files, shard: &ShardFiles, left: &mut Vec<Finding>) -> Result<usize, Failure> {
    let Some(newest) = shard.newest() else { return Ok(0) };
    let mut footers = BTreeSet::new();
    let mut count = 0;
    for partition in newest.checkpoint.partitions.iter().filter(|partition| files.counts(partition)) {
        for segment in files.segments.iter().filter(|segment| segment.id == partition.id) {
            count += repair_segment(files, segment, partition, &mut footers, left)?;
        }
    }
    if !footers.is_empty() {
        let written = files::ready(forget_footers(&PlainDisk::WRITABLE, &stopped.layout, newest, &footers));
        let dir = stopped.layout.shard_dir(shard.shard);
        written.map_err(|error| Failure::io(format_args!("cannot write the checkpoints in {}", dir.display()), &error))?;
    }
    Ok(count + footers.len())
}

fn repair_segment(
    files: &Files,
    segment: &SegmentFile,
    partition: &PartitionCheckpoint,
    footers: &mut BTreeSet<(TopicPartition, Offset)>,
    left: &mut Vec<Finding>,
) -> Result<usize, Failure> {
    let about = |error| Failure::io(segment.path.display(), &error);
    let mut count = 0;
    let mut checked: Option<CheckedSegment> = None;
    let mut forgets = false;
    for _ in 0..ROUNDS_MAX {
        checked = segment::check(segment, partition).map_err(about)?;
        let Some(checked) = &checked else { return Ok(count) };
        let repairs = repairs(segment.id, segment.base_offset, checked);
        forgets = repairs.contains(&Repair::Footer);
        let mut written = 0;
        for repair in repairs.iter().filter(|repair| **repair != Repair::Footer) {
            if files::ready(repair_in_place(&PlainDisk::WRITABLE, &segment.path, repair)).map_err(about)? {
                print_line(&describe(files, segment, repair))?;
                written += 1;
            }
        }
        count += written;
        if written == 0 {
            break;
        }
    }
    if forgets {
        print_line(&describe(files, segment, &Repair::Footer))?;
        footers.insert((segment.id, segment.base_offset));
    }
    if let Some(checked) = checked {
        let kept = checked.findings.iter().filter(|finding| !(forgets && checked.is_of_footer(finding)));
        let kept = kept.map(|finding| Finding::of_scrub(finding, Some(partition)));
        left.extend(kept.filter(|finding| finding.standing == Standing::Damaged));
    }
    Ok(count)
}

fn describe(files: &Files, segment: &SegmentFile, repair: &Repair) -> String {
    let (path, name) = (segment.path.display(), files.name(segment.id));
    match repair {
        Repair::Header(_) => format!("{path}: the header block is written again, from what its frames say ({name})"),
        Repair::Padding { position } => format!("{path}: padding at byte {position} is zeros again ({name})"),
        Repair::Footer => format!("{path}: the footer is given up, readers find their way by the frames ({name})"),
    }
}
