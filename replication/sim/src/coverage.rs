//! What a run has met: operations, faults, and the events that make them interesting. Counted by name, so that a
//! simulator that tests nothing is noticed.

use std::collections::BTreeMap;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Coverage(BTreeMap<&'static str, u64>);

impl Coverage {
    pub fn hit(&mut self, name: &'static str) {
        *self.0.entry(name).or_default() += 1;
    }

    pub fn hit_if(&mut self, condition: bool, name: &'static str) {
        if condition {
            self.hit(name);
        }
    }

    #[must_use]
    pub fn count(&self, name: &str) -> u64 {
        self.0.get(name).copied().unwrap_or_default()
    }

    pub fn add(&mut self, other: &Self) {
        for (name, count) in &other.0 {
            *self.0.entry(name).or_default() += count;
        }
    }

    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.0.iter().map(|(&name, &count)| (name, count))
    }
}

/// What every large enough number of seeds has to meet.
pub const EXPECTED: &[&str] = &[
    "op: produce",
    "op: retry",
    "op: old duplicate",
    "op: bad frame",
    "op: fetch",
    "op: delete records",
    "op: pass time",
    "op: create topic",
    "op: delete topic",
    "op: alter topic",
    "op: clean stop",
    "op: kill",
    "op: power cut",
    "op: clock jump",
    "op: rot",
    "op: device error",
    "op: disk full",
    "op: slow device",
    "op: truncate",
    "op: lose checkpoints",
    "op: accept loss",
    "op: fill ring",
    "crash: kept",
    "crash: lost",
    "crash: torn",
    "crash: newest checkpoint lost",
    "crash: while a shard opens",
    "crash: while a shard closes",
    "crash: answers were awaited",
    "start: another number of shards",
    "start: another ring",
    "start: partitions moved",
    "start: device error",
    "recovery: torn group cut",
    "recovery: ends marked",
    "recovery: entries replayed",
    "recovery: nothing replayed",
    "recovery: a slot was bad",
    "recovery: damaged group",
    "recovery: damaged range",
    "recovery: possibly short",
    "recovery: files set aside",
    "recovery: rebuilt",
    "recovery: without both slots",
    "recovery: without the spare",
    "accept-loss: a damaged range",
    "accept-loss: a doubt",
    "recovery: unacknowledged frames lost",
    "recovery: unacknowledged frames kept",
    "produce: appended",
    "produce: flood",
    "produce: answered",
    "produce: acks none",
    "produce: acks leader",
    "produce: duplicate answered",
    "produce: duplicate waits for the first",
    "produce: old duplicate answered",
    "produce: fenced",
    "produce: out of order",
    "produce: unknown producer",
    "produce: too large",
    "produce: bad checksum",
    "produce: not enough replicas",
    "produce: refused, delay",
    "produce: refused, journal buffer",
    "produce: refused, ring",
    "produce: refused, tail",
    "produce: refused, disk full",
    "produce: refused, shutting down",
    "produce: unknown partition",
    "fetch: memory",
    "fetch: disk",
    "fetch: empty",
    "fetch: inside a batch",
    "fetch: too small",
    "fetch: out of range",
    "fetch: damaged",
    "fetch: below a frozen high watermark",
    "delete: answered",
    "delete: refused for the ring",
    "delete: out of range",
    "truncate: cut",
    "truncate: nothing to cut",
    "truncate: answers unknown",
    "truncate: done by a start",
    "truncate: undone by a crash",
    "truncate: refused, below the log start",
    "produce: refused, truncating",
    "retention: by bytes",
    "retention: by age",
    "watch: came true",
    "disk full: begun",
    "disk full: over",
    "segments: rolled",
    "ring: wrapped",
    "failure: journal",
    "failure: write back",
    "failure: flush",
    "failure: checkpoint",
    "topic: removed while answers were awaited",
    "op: astray",
    "astray: a journal group",
    "astray: a segment",
    "astray: a checkpoint slot",
];
