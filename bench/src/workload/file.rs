//! A workload's file: TOML, every key checked. A key that is unknown, that has no meaning beside another, or whose value is out
//! of bounds is an error that names it.

use std::time::Duration;

use serde::Deserialize;

use super::{ClosedLoad, ConsumeLoad, Load, OnFull, OpenLoad, ReadLoad, RestartLoad, Workload, YardstickName};
use crate::load::{Phase, TraceReplay, trace_phases};
use crate::system::{AcksAsked, STAMP_LEN};

const SECONDS_MAX: f64 = 24.0 * 3600.0;
const RATE_MAX: f64 = 1e9;
const PARTITIONS_MAX: u32 = 10_000;
const CONNECTIONS_MAX: u32 = 10_000;
const VALUE_LEN_MAX: usize = 1_000_000;
const LANES_MAX: u32 = 64;
const GROUPS_MAX: u32 = 64;
const READERS_MAX: u32 = 64;
/// Of the counted time; at least, unless the file says otherwise.
const WARM_UP_SHARE: f64 = 0.1;
const WARM_UP_S_MIN: f64 = 0.5;
pub(super) const BATCH_LEN: usize = 256 << 10;
/// As many as the native client keeps in flight for a partition.
pub(super) const WINDOW: u32 = 5;
pub(super) const TICK_US: f64 = 100.0;
const DRAIN_S: f64 = 10.0;

/// Keys as they stand in the file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct WorkloadFile {
    /// What it is for, in a line.
    about: String,
    /// Names of the same workload elsewhere.
    #[serde(default)]
    aliases: Vec<String>,
    /// `open` (the default), `closed`, `read`, `idle` or `restart`.
    #[serde(default, rename = "loop")]
    kind: Kind,
    /// 1 unless told otherwise.
    #[serde(default = "one")]
    partitions: u32,
    /// Bytes; 1024.
    value_len: Option<usize>,
    /// `all` (the default), `leader` or `none`.
    acks: Option<AcksAsked>,
    /// What latency or throughput, and the readers' throughput, are held against.
    yardstick: Option<YardstickName>,
    read_yardstick: Option<YardstickName>,
    /// Counted time; a spike, a trace and phases have their own.
    seconds: Option<f64>,
    /// How much to ask for: one of these four.
    rate_per_s: Option<f64>,
    spike: Option<SpikeFile>,
    trace: Option<TraceFile>,
    phase: Option<Vec<PhaseFile>>,
    /// Ahead of it, uncounted, at its first rate; a tenth of it, half a second at least.
    warm_up_s: Option<f64>,
    /// Threads that produce; 1.
    lanes: Option<u32>,
    /// Over all lanes; one each.
    connections: Option<u32>,
    /// Batches in flight for each partition of a connection; 5.
    window: Option<u32>,
    /// Bytes of values in a batch; 256 KiB.
    batch_len_max: Option<usize>,
    /// What befalls a record that finds no room when it is due: `block` (it waits, the default) or `fail` (it is refused there).
    on_full: Option<OnFull>,
    /// What falls due within this goes out together; 100.
    tick_us: Option<f64>,
    /// After the schedule's end what is due is still offered, and readers read on, for this long at most; 10.
    drain_s: Option<f64>,
    /// Readers of each group; none unless told otherwise (one in a `read` loop). Each group reads everything.
    readers: Option<u32>,
    groups: Option<u32>,
    /// Records a second that a group takes at most while the schedule lasts.
    consume_per_s: Option<f64>,
    /// Written before the round, for readers to catch up with.
    preload_mb: Option<f64>,
    /// Written before a restart, or before it is read; 1000.
    log_mb: Option<f64>,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Kind {
    #[default]
    Open,
    Closed,
    Read,
    Idle,
    Restart,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct SpikeFile {
    base_per_s: f64,
    factor: f64,
    base_s: f64,
    rise_s: f64,
    hold_s: f64,
    #[serde(default)]
    fall_s: f64,
    settle_s: f64,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct TraceFile {
    file: String,
    #[serde(default = "unchanged")]
    compress: f64,
    #[serde(default = "unchanged")]
    rate_factor: f64,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct PhaseFile {
    name: String,
    seconds: f64,
    rate_per_s: f64,
    /// The rate at its end, when it is another.
    to_per_s: Option<f64>,
}

fn one() -> u32 {
    1
}

fn unchanged() -> f64 {
    1.0
}

/// Reads the workload `name` from its file's text. `beside` reads a file that lies beside it, by name.
///
/// # Errors In words, naming the key.
pub fn parse(name: &str, text: &str, beside: &dyn Fn(&str) -> Result<String, String>) -> Result<Workload, String> {
    let file: WorkloadFile = toml::from_str(text).map_err(|error| error.to_string().trim_end().to_owned())?;
    file.check_keys()?;
    let load = match file.kind {
        Kind::Open => Load::Open(file.open(beside)?),
        Kind::Closed => Load::Closed(ClosedLoad {
            partition_count: within("partitions", file.partitions, 1, PARTITIONS_MAX)?,
            value_len: file.value_len()?,
            seconds: file.seconds()?,
        }),
        Kind::Read => Load::Read(file.read()?),
        Kind::Idle => Load::Idle { seconds: file.seconds()? },
        Kind::Restart => Load::Restart(RestartLoad {
            partition_count: within("partitions", file.partitions, 1, PARTITIONS_MAX)?,
            log_len: file.log_len()?,
            seconds: file.seconds()?,
        }),
    };
    Ok(Workload {
        name: name.to_owned(),
        about: file.about,
        aliases: file.aliases,
        acks: file.acks.unwrap_or_default(),
        load,
        yardstick: file.yardstick,
        read_yardstick: file.read_yardstick,
    })
}

impl WorkloadFile {
    /// Every key has a meaning beside the others.
    fn check_keys(&self) -> Result<(), String> {
        let open_only = [
            ("rate_per_s", self.rate_per_s.is_some()),
            ("spike", self.spike.is_some()),
            ("trace", self.trace.is_some()),
            ("phase", self.phase.is_some()),
            ("warm_up_s", self.warm_up_s.is_some()),
            ("lanes", self.lanes.is_some()),
            ("connections", self.connections.is_some()),
            ("window", self.window.is_some()),
            ("batch_len_max", self.batch_len_max.is_some()),
            ("on_full", self.on_full.is_some()),
            ("tick_us", self.tick_us.is_some()),
            ("drain_s", self.drain_s.is_some()),
            ("consume_per_s", self.consume_per_s.is_some()),
            ("preload_mb", self.preload_mb.is_some()),
            ("read_yardstick", self.read_yardstick.is_some()),
        ];
        let kind = format!("{:?}", self.kind).to_lowercase();
        let alone = |keys: &[(&str, bool)]| match keys.iter().find(|(_, is_there)| *is_there) {
            Some((key, _)) => Err(format!("key `{key}` has no meaning with loop = \"{kind}\"")),
            None => Ok(()),
        };
        if self.kind != Kind::Open {
            alone(&open_only)?;
        }
        if !matches!(self.kind, Kind::Open | Kind::Read) {
            alone(&[("groups", self.groups.is_some()), ("readers", self.readers.is_some())])?;
        }
        if matches!(self.kind, Kind::Idle | Kind::Restart) {
            alone(&[("value_len", self.value_len.is_some()), ("acks", self.acks.is_some())])?;
        }
        if self.kind == Kind::Closed && self.acks.is_some_and(|acks| acks != AcksAsked::All) {
            return Err("key `acks`: a closed loop waits for what is durable; it is always \"all\"".to_owned());
        }
        if self.kind == Kind::Read && self.acks.is_some() {
            return Err("key `acks`: what is read was acknowledged before, with \"all\"".to_owned());
        }
        if !matches!(self.kind, Kind::Read | Kind::Restart) {
            alone(&[("log_mb", self.log_mb.is_some())])?;
        }
        self.check_consumers()
    }

    fn check_consumers(&self) -> Result<(), String> {
        let needs_readers = [
            ("groups", self.groups.is_some() && self.kind == Kind::Open),
            ("consume_per_s", self.consume_per_s.is_some()),
            ("preload_mb", self.preload_mb.is_some()),
            ("read_yardstick", self.read_yardstick.is_some()),
        ];
        if let Some((key, _)) = needs_readers.iter().find(|(_, is_there)| *is_there && self.readers.is_none()) {
            return Err(format!("key `{key}` needs `readers`: there is nobody to read"));
        }
        let shapes = [
            ("rate_per_s", self.rate_per_s.is_some()),
            ("spike", self.spike.is_some()),
            ("trace", self.trace.is_some()),
            ("phase", self.phase.is_some()),
        ];
        let given: Vec<&str> = shapes.iter().filter(|(_, is_there)| *is_there).map(|(key, _)| *key).collect();
        match given[..] {
            [] if self.kind == Kind::Open => {
                Err("one of `rate_per_s`, `spike`, `trace`, `phase` is needed: how much to ask for".to_owned())
            }
            [one, other, ..] => Err(format!("keys `{one}` and `{other}` contradict each other: both say how much to ask for")),
            [key] if key != "rate_per_s" && self.seconds.is_some() => {
                Err(format!("keys `seconds` and `{key}` contradict each other: both say how long it takes"))
            }
            _ => Ok(()),
        }
    }

    fn open(&self, beside: &dyn Fn(&str) -> Result<String, String>) -> Result<OpenLoad, String> {
        let phases = self.phases(beside)?;
        let lanes = within("lanes", self.lanes.unwrap_or(1), 1, LANES_MAX)?;
        let connections = within("connections", self.connections.unwrap_or(lanes), 1, CONNECTIONS_MAX)?;
        if connections % lanes != 0 {
            return Err(format!("keys `connections` = {connections} and `lanes` = {lanes}: each lane needs the same number"));
        }
        let value_len = self.value_len()?;
        let batch_len_max = within("batch_len_max", self.batch_len_max.unwrap_or(BATCH_LEN), 1, VALUE_LEN_MAX)?;
        Ok(OpenLoad {
            partition_count: within("partitions", self.partitions, 1, PARTITIONS_MAX)?,
            value_len,
            lanes,
            connections,
            window: within("window", self.window.unwrap_or(WINDOW), 1, 10_000)?,
            batch_len_max: batch_len_max.max(value_len),
            on_full: self.on_full.unwrap_or_default(),
            tick: Duration::from_secs_f64(within("tick_us", self.tick_us.unwrap_or(TICK_US), 0.0, 1e6)? / 1e6),
            phases,
            drain: Duration::from_secs_f64(within("drain_s", self.drain_s.unwrap_or(DRAIN_S), 0.0, SECONDS_MAX)?),
            consume: self.consume()?,
            preload_len: (within("preload_mb", self.preload_mb.unwrap_or(0.0), 0.0, 1e7)? * 1e6) as u64,
        })
    }

    fn read(&self) -> Result<ReadLoad, String> {
        let value_len = self.value_len()?;
        let log_len = self.log_len()?;
        if log_len < value_len as u64 {
            return Err(format!("key `log_mb`: {log_len} bytes hold no record of {value_len}"));
        }
        Ok(ReadLoad {
            partition_count: within("partitions", self.partitions, 1, PARTITIONS_MAX)?,
            value_len,
            log_len,
            groups: within("groups", self.groups.unwrap_or(1), 1, GROUPS_MAX)?,
            readers: within("readers", self.readers.unwrap_or(1), 1, self.partitions.min(READERS_MAX))?,
            seconds: self.seconds()?,
        })
    }

    fn log_len(&self) -> Result<u64, String> {
        Ok((within("log_mb", self.log_mb.unwrap_or(1000.0), 0.0, 1e7)? * 1e6) as u64)
    }

    fn consume(&self) -> Result<Option<ConsumeLoad>, String> {
        let Some(readers) = self.readers else { return Ok(None) };
        let per_s_max = self.consume_per_s.map(|per_s| within("consume_per_s", per_s, 1.0, RATE_MAX)).transpose()?;
        Ok(Some(ConsumeLoad {
            groups: within("groups", self.groups.unwrap_or(1), 1, GROUPS_MAX)?,
            readers: within("readers", readers, 1, self.partitions.min(READERS_MAX))?,
            per_s_max,
        }))
    }

    /// The schedule, warm-up included: it runs at the first rate there is.
    fn phases(&self, beside: &dyn Fn(&str) -> Result<String, String>) -> Result<Vec<Phase>, String> {
        let counted = self.counted_phases(beside)?;
        let seconds: f64 = counted.iter().map(|phase| phase.seconds).sum();
        let asked: f64 = counted.iter().map(|phase| phase.seconds * (phase.from_per_s + phase.to_per_s) / 2.0).sum();
        if asked < 1.0 {
            return Err("a rate of zero asks for no record at all: the schedule needs at least one".to_owned());
        }
        within("seconds (of all phases)", seconds, 0.001, SECONDS_MAX)?;
        let warm_up_s = self.warm_up_s.unwrap_or((seconds * WARM_UP_SHARE).max(WARM_UP_S_MIN));
        let rate = counted[0].from_per_s;
        let warm_up = Phase {
            name: "warm-up".to_owned(),
            seconds: within("warm_up_s", warm_up_s, 0.0, SECONDS_MAX)?,
            from_per_s: rate,
            to_per_s: rate,
            is_counted: false,
        };
        Ok(std::iter::once(warm_up).filter(|phase| phase.seconds > 0.0).chain(counted).collect())
    }

    fn counted_phases(&self, beside: &dyn Fn(&str) -> Result<String, String>) -> Result<Vec<Phase>, String> {
        if let Some(spike) = &self.spike {
            return spike.phases();
        }
        if let Some(trace) = &self.trace {
            let replay = TraceReplay {
                compress: within("trace.compress", trace.compress, 1e-3, 1e9)?,
                rate_factor: within("trace.rate_factor", trace.rate_factor, 0.0, 1e9)?,
            };
            return trace_phases(&beside(&trace.file)?, replay).map_err(|problem| format!("key `trace.file`: {problem}"));
        }
        if let Some(phases) = &self.phase {
            return phases.iter().map(PhaseFile::phase).collect();
        }
        let per_s = within("rate_per_s", self.rate_per_s.unwrap_or(0.0), 0.0, RATE_MAX)?;
        Ok(vec![Phase {
            name: "load".to_owned(),
            seconds: self.seconds()?,
            from_per_s: per_s,
            to_per_s: per_s,
            is_counted: true,
        }])
    }

    fn seconds(&self) -> Result<f64, String> {
        within("seconds", self.seconds.unwrap_or(5.0), 0.001, SECONDS_MAX)
    }

    fn value_len(&self) -> Result<usize, String> {
        within("value_len", self.value_len.unwrap_or(1024), STAMP_LEN, VALUE_LEN_MAX)
    }
}

impl SpikeFile {
    fn phases(&self) -> Result<Vec<Phase>, String> {
        let base = within("spike.base_per_s", self.base_per_s, 0.0, RATE_MAX)?;
        let peak = within("spike.factor", self.factor, 1.0, 1e6)? * base;
        let stretches = [
            ("base", self.base_s, base, base),
            ("rise", self.rise_s, base, peak),
            ("hold", self.hold_s, peak, peak),
            ("fall", self.fall_s, peak, base),
            ("settle", self.settle_s, base, base),
        ];
        let phase = |(name, seconds, from_per_s, to_per_s): (&str, f64, f64, f64)| {
            within(&format!("spike.{name}_s"), seconds, 0.0, SECONDS_MAX)?;
            Ok(Phase { name: name.to_owned(), seconds, from_per_s, to_per_s, is_counted: true })
        };
        stretches.into_iter().filter(|(_, seconds, ..)| *seconds != 0.0).map(phase).collect()
    }
}

impl PhaseFile {
    fn phase(&self) -> Result<Phase, String> {
        let from_per_s = within("phase.rate_per_s", self.rate_per_s, 0.0, RATE_MAX)?;
        let to_per_s = within("phase.to_per_s", self.to_per_s.unwrap_or(from_per_s), 0.0, RATE_MAX)?;
        let seconds = within("phase.seconds", self.seconds, 0.001, SECONDS_MAX)?;
        Ok(Phase { name: self.name.clone(), seconds, from_per_s, to_per_s, is_counted: true })
    }
}

fn within<T: PartialOrd + std::fmt::Display + Copy>(key: &str, value: T, min: T, max: T) -> Result<T, String> {
    if (min..=max).contains(&value) { Ok(value) } else { Err(format!("key `{key}` = {value}: between {min} and {max}")) }
}

#[cfg(test)]
#[path = "file_test.rs"]
mod tests;
