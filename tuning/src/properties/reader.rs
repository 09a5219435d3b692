//! A text to properties, or to the reason why not. Any text may come.
//!
//! The expensive mistake is to believe a file that is nearly right: a key that is not known, a unit that is missing, a row that
//! was cut off, quantiles that fall, each refuses the whole, by name. The version is looked at first, since a newer file may
//! have any shape.

use super::error::PropertiesError;
use super::figures::{
    DEPTH_MAX, Figures, FlushUnderLoad, LEN_PER_SECOND_MAX, LEN_PER_SECOND_MIN, Latency, ROWS_MAX, SIZE_MAX, SIZE_MIN, TIME_MAX,
    TIME_MIN, Transfer, WriteBesideReads,
};
use super::identity::{DeviceIdentity, Disk};
use super::{Properties, VERSION};
use crate::quantity::{Quantity, parse};
use serde::Deserialize;
use std::ops::RangeInclusive;
use std::time::{Duration, UNIX_EPOCH};
use toml::{Table, Value};

const FORMAT: &str = "sluice-probe";
/// Characters of a name, a serial number and the like.
const WORD_LEN_MAX: usize = 4096;
/// Longest probe that is believed, microseconds.
const MEASURED_FOR_MAX: f64 = 86_400e6;
const SAMPLES_MAX: u64 = 1 << 48;
/// Bytes of a device: at most an exabyte.
const DEVICE_LEN: RangeInclusive<f64> = 0.0..=1e18;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawFile {
    #[serde(rename = "format")]
    _format: String,
    #[serde(rename = "version")]
    _version: i64,
    measured_at: String,
    measured_for: String,
    build: String,
    kernel: String,
    rows: usize,
    memory: RawMemory,
    loopback: RawLoopback,
    direct_write: Vec<RawTransfer>,
    durable_write: Vec<RawTransfer>,
    read: Vec<RawTransfer>,
    flush_under_load: Vec<RawFlush>,
    write_beside_reads: Vec<RawBeside>,
    device: RawDevice,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawMemory {
    copy: String,
    checksum: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawLoopback {
    stream: String,
    round_trip: RawLatency,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawLatency {
    samples: u64,
    p50: String,
    p90: String,
    p99: String,
    p99_9: String,
    max: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawTransfer {
    size: String,
    depth: u32,
    rate: String,
    latency: RawLatency,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawFlush {
    load: String,
    written: String,
    latency: RawLatency,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawBeside {
    size: String,
    depth: u32,
    read: String,
    read_latency: RawLatency,
    latency: RawLatency,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawDevice {
    machine: Option<String>,
    name: String,
    number: String,
    size: Option<String>,
    volume_uuid: Option<String>,
    file_system: String,
    file_system_uuid: Option<String>,
    disks: Vec<RawDisk>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawDisk {
    name: String,
    model: Option<String>,
    serial: Option<String>,
}

type Refused<T> = Result<T, PropertiesError>;

/// Whether the text is TOML that calls itself a probe's, of whatever version; or it was until it was cut.
pub(super) fn is_of_a_probe(text: &str) -> bool {
    text.lines().any(|line| line.trim() == "format = \"sluice-probe\"")
}

pub(super) fn read(text: &str) -> Refused<Properties> {
    if text.trim().is_empty() {
        return Err(PropertiesError::Empty);
    }
    let table: Table = toml::from_str(text).map_err(|error| syntax(text, &error))?;
    if table.get("format").and_then(Value::as_str) != Some(FORMAT) {
        return Err(PropertiesError::Foreign);
    }
    match table.get("version").unwrap_or(&Value::Boolean(false)) {
        Value::Integer(VERSION) => {}
        Value::Integer(other) => {
            return Err(PropertiesError::Version { found: other.to_string(), is_newer: *other > VERSION });
        }
        _ => return Err(malformed("version", "it is no whole number")),
    }
    // From the text once more, so that an error has a line.
    let raw: RawFile = toml::from_str(text).map_err(|error| syntax(text, &error))?;
    checked(raw)
}

fn syntax(text: &str, error: &toml::de::Error) -> PropertiesError {
    let before = error.span().and_then(|span| text.as_bytes().get(..span.start)).unwrap_or_default();
    let line = 1 + before.iter().filter(|&&byte| byte == b'\n').count();
    PropertiesError::Syntax { line, problem: error.message().lines().collect::<Vec<_>>().join(" ") }
}

fn malformed(key: &str, problem: impl ToString) -> PropertiesError {
    PropertiesError::Malformed { key: key.to_owned(), problem: problem.to_string() }
}

fn checked(raw: RawFile) -> Refused<Properties> {
    let measured_at = humantime::parse_rfc3339(&raw.measured_at)
        .ok()
        .and_then(|time| time.duration_since(UNIX_EPOCH).ok())
        .map(|since| UNIX_EPOCH + Duration::from_secs(since.as_secs()))
        .ok_or_else(|| malformed("measured_at", format!("{:?} is no time such as 2026-11-24T10:00:00Z", raw.measured_at)))?;
    let measured_for = bounded("measured_for", &raw.measured_for, Quantity::Time, 0.0..=MEASURED_FOR_MAX)?;
    let figures = Figures {
        direct_writes: transfers("direct_write", raw.direct_write)?,
        durable_writes: transfers("durable_write", raw.durable_write)?,
        reads: transfers("read", raw.read)?,
        flushes_under_load: rows("flush_under_load", raw.flush_under_load, flush_under_load, |row| row.load.to_bits())?,
        writes_beside_reads: rows("write_beside_reads", raw.write_beside_reads, beside_reads, |row| (row.size, row.depth))?,
        loopback_rate: rate("loopback.stream", &raw.loopback.stream)?,
        loopback_round_trip: latency("loopback.round_trip", &raw.loopback.round_trip)?,
        memory_copy_rate: rate("memory.copy", &raw.memory.copy)?,
        checksum_rate: rate("memory.checksum", &raw.memory.checksum)?,
    };
    if raw.rows != figures.row_count() {
        return Err(PropertiesError::RowCount { said: raw.rows, found: figures.row_count() });
    }
    Ok(Properties {
        measured_at,
        measured_for: Duration::from_millis((measured_for / 1e3).round() as u64),
        build: word("build", raw.build)?,
        kernel: word("kernel", raw.kernel)?,
        device: device(raw.device)?,
        figures,
    })
}

fn device(raw: RawDevice) -> Refused<DeviceIdentity> {
    let optional = |key: &str, text: Option<String>| text.map(|text| word(key, text)).transpose();
    let disk = |raw: RawDisk| {
        Ok(Disk {
            name: word("device.disks.name", raw.name)?,
            model: optional("device.disks.model", raw.model)?,
            serial: optional("device.disks.serial", raw.serial)?,
        })
    };
    if raw.disks.len() > ROWS_MAX {
        return Err(malformed("device.disks", format!("more than {ROWS_MAX} of them")));
    }
    let len = raw.size.map(|text| bounded("device.size", &text, Quantity::Len, DEVICE_LEN)).transpose()?;
    Ok(DeviceIdentity {
        machine: optional("device.machine", raw.machine)?,
        name: word("device.name", raw.name)?,
        number: word("device.number", raw.number)?,
        len: len.map(|len| len.round() as u64),
        volume_uuid: optional("device.volume_uuid", raw.volume_uuid)?,
        file_system: word("device.file_system", raw.file_system)?,
        file_system_uuid: optional("device.file_system_uuid", raw.file_system_uuid)?,
        disks: raw.disks.into_iter().map(disk).collect::<Refused<_>>()?,
    })
}

/// A text of one line that says something.
fn word(key: &str, text: String) -> Refused<String> {
    if text.trim().is_empty() || text.len() > WORD_LEN_MAX || text.contains(char::is_control) {
        return Err(malformed(key, "it is empty, too long or not of one line"));
    }
    Ok(text)
}

/// Every row of a kind, no two of one key, and at least one.
fn rows<R, T, K: PartialEq>(
    kind: &str,
    raw: Vec<R>,
    read: impl Fn(&str, &R) -> Refused<T>,
    key_of: impl Fn(&T) -> K,
) -> Refused<Vec<T>> {
    if raw.is_empty() || raw.len() > ROWS_MAX {
        return Err(malformed(kind, format!("{} rows, where 1 to {ROWS_MAX} are wanted", raw.len())));
    }
    let mut found: Vec<T> = Vec::with_capacity(raw.len());
    for (number, raw) in (1..).zip(&raw) {
        let name = format!("{kind} {number}");
        let row = read(&name, raw)?;
        if found.iter().any(|known| key_of(known) == key_of(&row)) {
            return Err(malformed(&name, "there is another row for the same"));
        }
        found.push(row);
    }
    Ok(found)
}

fn transfers(kind: &str, raw: Vec<RawTransfer>) -> Refused<Vec<Transfer>> {
    let read = |name: &str, raw: &RawTransfer| {
        Ok(Transfer {
            size: size(name, &raw.size)?,
            depth: depth(name, raw.depth)?,
            rate: rate(&format!("{name}: rate"), &raw.rate)?,
            latency: latency(&format!("{name}: latency"), &raw.latency)?,
        })
    };
    rows(kind, raw, read, |row| (row.size, row.depth))
}

fn flush_under_load(name: &str, raw: &RawFlush) -> Refused<FlushUnderLoad> {
    let load = bounded(&format!("{name}: load"), &raw.load, Quantity::Percent, 0.0..=100.0)?;
    let written = bounded(&format!("{name}: written"), &raw.written, Quantity::LenPerSecond, 0.0..=LEN_PER_SECOND_MAX)?;
    Ok(FlushUnderLoad { load, written: written.round(), latency: latency(&format!("{name}: latency"), &raw.latency)? })
}

fn beside_reads(name: &str, raw: &RawBeside) -> Refused<WriteBesideReads> {
    Ok(WriteBesideReads {
        size: size(name, &raw.size)?,
        depth: depth(name, raw.depth)?,
        read: rate(&format!("{name}: read"), &raw.read)?,
        read_latency: latency(&format!("{name}: read_latency"), &raw.read_latency)?,
        latency: latency(&format!("{name}: latency"), &raw.latency)?,
    })
}

fn size(name: &str, text: &str) -> Refused<u32> {
    let key = format!("{name}: size");
    let len = bounded(&key, text, Quantity::Len, f64::from(SIZE_MIN)..=f64::from(SIZE_MAX))?;
    if len.fract() != 0.0 || !(len as u32).is_multiple_of(SIZE_MIN) {
        return Err(malformed(&key, format!("{text:?} is not a multiple of {SIZE_MIN} bytes")));
    }
    Ok(len as u32)
}

fn depth(name: &str, depth: u32) -> Refused<u32> {
    if (1..=DEPTH_MAX).contains(&depth) {
        return Ok(depth);
    }
    Err(malformed(&format!("{name}: depth"), format!("{depth} is not 1 to {DEPTH_MAX}")))
}

fn rate(key: &str, text: &str) -> Refused<f64> {
    Ok(bounded(key, text, Quantity::LenPerSecond, LEN_PER_SECOND_MIN..=LEN_PER_SECOND_MAX)?.round())
}

fn latency(key: &str, raw: &RawLatency) -> Refused<Latency> {
    let time = |step: &str, text: &str| bounded(&format!("{key}.{step}"), text, Quantity::Time, TIME_MIN..=TIME_MAX);
    if raw.samples == 0 || raw.samples > SAMPLES_MAX {
        return Err(malformed(&format!("{key}.samples"), format!("{} is not 1 to {SAMPLES_MAX}", raw.samples)));
    }
    let latency = Latency {
        samples: raw.samples,
        p50: time("p50", &raw.p50)?,
        p90: time("p90", &raw.p90)?,
        p99: time("p99", &raw.p99)?,
        p99_9: time("p99_9", &raw.p99_9)?,
        max: time("max", &raw.max)?,
    };
    if let Some(pair) = latency.steps().windows(2).find(|pair| pair[0].1 > pair[1].1) {
        return Err(malformed(key, format!("{} is greater than {}", pair[0].0, pair[1].0)));
    }
    Ok(latency)
}

/// A quantity with its unit, within bounds that are told in the unit that it is held in.
fn bounded(key: &str, text: &str, quantity: Quantity, bounds: RangeInclusive<f64>) -> Refused<f64> {
    let value = parse(text, quantity).map_err(|error| malformed(key, format!("{text:?} is not understood: {error}")))?;
    if bounds.contains(&value) {
        return Ok(value);
    }
    let show = |value: &f64| crate::quantity::format(*value, quantity);
    Err(malformed(key, format!("{text:?} is not {} to {}", show(bounds.start()), show(bounds.end()))))
}
