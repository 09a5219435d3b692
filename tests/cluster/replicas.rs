//! The logs of a stopped cluster's brokers beside each other, frame by frame, as `sluice log dump` reads them.
//!
//! A frame's header carries the checksum of its body and of the frame before it, so equal headers are equal histories.

use crate::common::{run, sluice};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// By partition: each frame's base offset and header checksum, in order.
type Log = BTreeMap<String, Vec<(u64, String)>>;

/// Fails when any two replicas of a partition differ, or a folder is damaged. All brokers were in sync, then idle, then stopped
/// cleanly: nothing excuses a difference.
pub(crate) fn assert_equal(data_dirs: &[PathBuf]) {
    let logs: Vec<Log> = data_dirs.iter().map(|data_dir| read(data_dir)).collect();
    let frames: usize = logs[0].values().map(Vec::len).sum();
    assert!(frames > 0, "there is something to compare");
    for (broker, log) in (2..).zip(&logs[1..]) {
        assert_eq!(logs[0].keys().collect::<Vec<_>>(), log.keys().collect::<Vec<_>>(), "broker {broker} has other partitions");
        for (partition, first) in &logs[0] {
            let other = &log[partition];
            // Retention is each broker's own; what both have has to be the same.
            let begin = first.first().max(other.first()).map_or(0, |frame| frame.0);
            let tail = |frames: &[(u64, String)]| frames.iter().filter(|frame| frame.0 >= begin).cloned().collect::<Vec<_>>();
            let (first, other) = (tail(first), tail(other));
            let differs = first.iter().zip(&other).find(|(a, b)| a != b);
            assert!(
                differs.is_none() && first.len() == other.len(),
                "partition {partition}: brokers 1 and {broker} differ, first in {differs:?}; they have {} and {} frames",
                first.len(),
                other.len()
            );
        }
    }
}

fn read(data_dir: &Path) -> Log {
    run(sluice().args(["log", "verify"]).arg(data_dir)).expect(0, &[]);
    let dump = run(sluice().args(["log", "dump", "--json"]).arg(data_dir)).expect(0, &[]);
    let mut log = Log::new();
    let objects = dump.stdout.lines().map(|line| serde_json::from_str::<Value>(line).expect("a line is JSON"));
    // Journals come first; after a clean stop the segments have everything.
    for object in objects.skip_while(|object| object.get("segment").is_none()) {
        let Some(base_offset) = object["frame"].as_u64() else { continue };
        let text = |name: &str| object[name].as_str().expect("a frame has it").to_owned();
        log.entry(text("partition")).or_default().push((base_offset, text("header_crc")));
    }
    log
}
