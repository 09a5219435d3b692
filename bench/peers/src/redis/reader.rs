//! XREAD over all of a reader's streams at once, as much as fits a reply of moderate size, waiting in the server.

use std::collections::HashMap;
use std::time::Instant;

use redis::{Connection, Value, cmd};
use sluice_bench::BenchError;
use sluice_bench::system::{ReadBatch, ReadPlan, Reader, Topic};

use super::system::{connect, refused, stream_of};

/// Entries of one answer, over all its streams.
const ENTRIES_MAX: usize = 1000;
/// And of each stream, however many there are.
const ENTRIES_MIN: usize = 10;

pub(super) struct RedisReader {
    connection: Connection,
    streams: Vec<Stream>,
    by_name: HashMap<Vec<u8>, usize>,
    /// Of each stream in one answer.
    count: usize,
}

struct Stream {
    name: Vec<u8>,
    /// Of the last entry that was read.
    last_id: Vec<u8>,
}

impl RedisReader {
    pub(super) fn open(port: u16, topic: &Topic, plan: &ReadPlan) -> Result<Self, BenchError> {
        let stream = |&partition| Stream { name: stream_of(&topic.name, partition).into_bytes(), last_id: b"0".to_vec() };
        let streams: Vec<Stream> = plan.partitions.iter().map(stream).collect();
        let by_name = streams.iter().enumerate().map(|(number, stream)| (stream.name.clone(), number)).collect();
        let count = (ENTRIES_MAX / streams.len().max(1)).max(ENTRIES_MIN);
        Ok(Self { connection: connect(port)?, streams, by_name, count })
    }

    /// The entries of one stream's answer: its name, and entries of an id and fields.
    fn take(&mut self, stream: &Value, seen: &mut ReadBatch) -> Option<()> {
        let [Value::BulkString(name), Value::Array(entries)] = array(stream)? else { return None };
        let number = *self.by_name.get(name)?;
        for entry in entries {
            let [Value::BulkString(_), fields] = array(entry)? else { return None };
            let [_, Value::BulkString(value)] = array(fields)? else { return None };
            seen.add(value);
        }
        let [Value::BulkString(last_id), _] = array(entries.last()?)? else { return None };
        self.streams[number].last_id.clone_from(last_id);
        Some(())
    }
}

impl Reader for RedisReader {
    fn poll(&mut self, until: Instant, seen: &mut ReadBatch) -> Result<(), BenchError> {
        // Zero would wait without an end.
        let wait_ms = until.saturating_duration_since(Instant::now()).as_millis().max(1) as u64;
        let mut command = cmd("XREAD");
        command.arg("COUNT").arg(self.count).arg("BLOCK").arg(wait_ms).arg("STREAMS");
        self.streams.iter().for_each(|stream| {
            command.arg(&stream.name);
        });
        self.streams.iter().for_each(|stream| {
            command.arg(&stream.last_id);
        });
        let answer: Value = command.query(&mut self.connection).map_err(|error| refused("XREAD", &error))?;
        match &answer {
            Value::Nil => Ok(()),
            Value::Array(streams) => {
                let taken = streams.iter().try_for_each(|stream| self.take(stream, seen));
                taken.ok_or_else(|| BenchError::protocol("Redis answers an XREAD with something else than entries"))
            }
            other => Err(BenchError::protocol(format!("Redis answers an XREAD with {other:?}"))),
        }
    }
}

fn array(value: &Value) -> Option<&[Value]> {
    match value {
        Value::Array(values) => Some(values),
        _ => None,
    }
}
