//! `sluice consume`: records out, values and newlines on standard output, everything else on standard error.
//!
//! The expensive mistake is work per record: a record is one copy from the batch it came in into the output buffer.

mod format;
mod start;

use crate::connect::{BrokerArgs, client_failure, runtime};
use crate::exit_status::{ExitStatus, Failure};
use crate::signals::StopSignal;
use clap::Args;
use format::{Format, RecordView};
use sluice_client::{Admin, Assignment, Client, ConsumeCause, ConsumeError, Consumer, ConsumerConfig, RecordBatch, StartAt};
use start::Start;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

/// Bytes gathered before they are written, unless nothing more is there yet.
const OUTPUT_LEN: usize = 256 * 1024;
const POLL: Duration = Duration::from_millis(200);
/// With `--until-end`, when nothing comes for this long although there is more to read, somebody is told.
const QUIET: Duration = Duration::from_secs(10);

#[derive(Args)]
#[command(after_help = "Examples:
  sluice consume events                                   everything, then whatever comes, until it is stopped
  sluice consume events --until-end > copy.txt            what is there now, then end
  sluice consume events --from @2026-11-22T10:00:00Z --format json
  sluice consume events --partition 3 --from 4711 --format '{offset} {key} {value}'

Order holds within a partition; records of different partitions come as they come. A time begins with the first batch
that has a record at or after it. What is damaged is never written: it ends the command with status 6 and is named, or
is stepped over with --skip-damaged. With --until-end a partition whose end may have been lost is named in a warning.")]
pub(crate) struct ConsumeArgs {
    /// Topic to read
    topic: String,
    /// Where to begin: beginning, end, an offset, or @ and a time (milliseconds since 1970, or UTC as in @2026-11-22T10:00:00Z)
    #[arg(long, value_name = "WHERE", default_value = "beginning", allow_negative_numbers = true)]
    from: Start,
    /// Only this partition; all of them without it
    #[arg(long, value_name = "P")]
    partition: Option<u32>,
    /// End when all that was committed at the start of the command has been read
    #[arg(long)]
    until_end: bool,
    #[arg(long, value_name = "FORMAT", default_value = "value", help = format!("How a record is written: {}", format::HELP))]
    format: Format,
    /// Step over damaged records, name them, and end with status 6 all the same
    #[arg(long)]
    skip_damaged: bool,
    #[command(flatten)]
    broker: BrokerArgs,
}

pub(crate) fn run(args: ConsumeArgs) -> Result<(), Failure> {
    runtime()?.block_on(consume(args))
}

async fn consume(args: ConsumeArgs) -> Result<(), Failure> {
    let mut stop = StopSignal::install()?;
    let prepare = async {
        let client = args.broker.connect().await?;
        let partitions = partitions(&client, &args).await?;
        let ends = committed_ends(&client, &args, &partitions).await?;
        let short = if args.until_end { possibly_short(&client, &args, &partitions).await? } else { Vec::new() };
        Ok((client, partitions, ends, short))
    };
    let (client, partitions, ends, short) = stop.unless_asked(prepare).await?;
    let mut consumer = Consumer::new(client, ConsumerConfig::default()).map_err(|error| client_failure(&error))?;
    let assignment = |&partition: &u32| Assignment { topic: args.topic.clone(), partition, start: args.from.into() };
    let assignments: Vec<_> = partitions.iter().map(assignment).collect();
    consumer.assign(&assignments).await.map_err(|error| client_failure(&error))?;
    let mut reading = Reading::new(&args, ends)?;
    loop {
        if reading.is_done(&consumer) {
            break;
        }
        let polled = tokio::select! {
            polled = consumer.poll(POLL) => polled,
            () = stop.asked() => {
                reading.output.flush()?;
                return if args.until_end { Err(Failure::new(ExitStatus::Interrupted, "stopped by a signal before the end")) } else { Ok(()) };
            }
        };
        reading.take(&consumer, polled)?;
        loop {
            match consumer.try_poll() {
                Ok(None) => break,
                polled => reading.take(&consumer, polled)?,
            }
        }
        reading.output.flush()?;
        reading.tell_when_quiet(&consumer);
    }
    reading.output.flush()?;
    short.iter().for_each(|warning| eprintln!("{warning}"));
    match reading.skipped {
        0 => Ok(()),
        count => Err(Failure::new(ExitStatus::Damaged, format!("{count} damaged range(s) of offsets were stepped over"))),
    }
}

async fn partitions(client: &Client, args: &ConsumeArgs) -> Result<Vec<u32>, Failure> {
    let topic = client.topic(&args.topic).await.map_err(|error| client_failure(&error))?;
    let count = u32::try_from(topic.partitions.len()).unwrap_or(u32::MAX);
    match args.partition {
        None => Ok((0..count).collect()),
        Some(partition) if partition < count => Ok(vec![partition]),
        Some(partition) => {
            let what = format!("topic {} has {count} partition(s), numbered from 0; there is no {partition}", args.topic);
            Err(Failure::new(ExitStatus::Refused, what))
        }
    }
}

/// A line for each partition that was read to its end and of which the end may be missing. All that is there was written,
/// so the command has done what it was asked for; but nobody should take that for all that was acknowledged.
async fn possibly_short(client: &Client, args: &ConsumeArgs, partitions: &[u32]) -> Result<Vec<String>, Failure> {
    let admin = Admin::new(client.clone());
    let topic = client.topic(&args.topic).await.map_err(|error| client_failure(&error))?;
    // Who leads none of it need not be there to be asked.
    let wanted: Vec<_> = partitions.iter().map(|&partition| (args.topic.as_str(), partition)).collect();
    let shards = admin.describe_leaders(&wanted).await.map_err(|error| client_failure(&error))?;
    let of_topic = shards
        .iter()
        .flat_map(|shard| &shard.state.possibly_short)
        .filter(|short| short.topic_id == topic.topic_id.0 && partitions.contains(&short.partition));
    let lines = of_topic.map(|short| {
        format!(
            "warning: partition {} of {} is possibly short: acknowledged records may be missing from offset {} on; compare with what was sent, \
             then give them up with `sluice log accept-loss` on the stopped broker",
            short.partition, args.topic, short.from
        )
    });
    let unnamed: u64 =
        shards.iter().map(|shard| shard.state.possibly_short_count.saturating_sub(shard.state.possibly_short.len() as u64)).sum();
    let rest = (unnamed > 0).then(|| format!("warning: {unnamed} more partition(s) of the broker are possibly short"));
    Ok(lines.chain(rest).collect())
}

/// The high watermark of each partition now, from leaders that know it: a new one says for a moment that it does not, and is
/// asked again up to the client's `request_timeout_ms`. An offset to begin at that lies outside the log is refused here, with
/// the range there is.
async fn committed_ends(client: &Client, args: &ConsumeArgs, partitions: &[u32]) -> Result<BTreeMap<u32, u64>, Failure> {
    let admin = Admin::new(client.clone());
    let ask = async |place| {
        let wanted: Vec<_> = partitions.iter().map(|&partition| (args.topic.as_str(), partition, place)).collect();
        let listed = admin.list_offsets(&wanted).await.map_err(|error| client_failure(&error))?;
        Ok::<_, Failure>(listed.iter().map(|listed| listed.offset).collect::<Vec<_>>())
    };
    let ends = ask(StartAt::End).await?;
    if let Start::Offset(offset) = args.from {
        for ((&partition, &begin), &end) in partitions.iter().zip(&ask(StartAt::Beginning).await?).zip(&ends) {
            if offset < begin || offset > end {
                let what =
                    format!("offset {offset} is out of range: partition {partition} of {} has {begin} to {end}", args.topic);
                return Err(Failure::new(ExitStatus::Refused, what)
                    .remedy("--from beginning, or --partition P with an offset that it has"));
            }
        }
    }
    Ok(partitions.iter().copied().zip(ends).collect())
}

/// What has been read, and what is still to be read.
struct Reading<'a> {
    output: Output<'a>,
    /// With `--until-end`: the partitions that are not read to their end yet.
    ends: Option<BTreeMap<u32, u64>>,
    skipped: u64,
    /// When something last came; `None` once it was told that nothing comes.
    came: Option<Instant>,
    args: &'a ConsumeArgs,
}

impl<'a> Reading<'a> {
    fn new(args: &'a ConsumeArgs, ends: BTreeMap<u32, u64>) -> Result<Self, Failure> {
        let ends = args.until_end.then_some(ends);
        Ok(Self { output: Output::new(args)?, ends, skipped: 0, came: Some(Instant::now()), args })
    }

    /// The command ends when all is read, however long a partition has no leader; so it says what it waits for.
    fn tell_when_quiet(&mut self, consumer: &Consumer) {
        let Some(ends) = self.ends.as_ref().filter(|_| self.came.is_some_and(|at| at.elapsed() >= QUIET)) else { return };
        self.came = None;
        for (&partition, end) in ends {
            let position = consumer.position(&self.args.topic, partition).unwrap_or_default();
            eprintln!(
                "nothing came for {} s, and partition {partition} of {} is read to {position} of {end}; trying on",
                QUIET.as_secs(),
                self.args.topic
            );
        }
    }

    fn is_done(&mut self, consumer: &Consumer) -> bool {
        let Some(ends) = &mut self.ends else { return false };
        ends.retain(|&partition, &mut end| consumer.position(&self.args.topic, partition).is_none_or(|position| position < end));
        ends.is_empty()
    }

    fn take(&mut self, consumer: &Consumer, polled: Result<Option<RecordBatch>, ConsumeError>) -> Result<(), Failure> {
        match polled {
            Ok(None) => Ok(()),
            Ok(Some(batch)) => {
                self.came = Some(Instant::now());
                // What came after the command was started is not asked for.
                let end = self.ends.as_ref().map_or(u64::MAX, |ends| ends.get(&batch.partition()).copied().unwrap_or(0));
                self.output.write_batch(&batch, end)
            }
            Err(error) => self.on_error(consumer, &error),
        }
    }

    fn on_error(&mut self, consumer: &Consumer, error: &ConsumeError) -> Result<(), Failure> {
        self.output.flush()?;
        let Some(last) = error.skippable().filter(|_| self.args.skip_damaged) else { return Err(consume_failure(error)) };
        eprintln!("stepping over damage: {}", describe(error));
        self.skipped += 1;
        consumer.skip_past(&error.topic, error.partition, last).map_err(|error| client_failure(&error))
    }
}

fn consume_failure(error: &ConsumeError) -> Failure {
    let what = describe(error);
    match &error.cause {
        ConsumeCause::Client(error) => client_failure(error),
        ConsumeCause::OffsetOutOfRange { start, .. } => Failure::new(ExitStatus::Refused, what)
            .remedy(format!("--from beginning, or --partition {} --from {start}", error.partition)),
        ConsumeCause::TooLarge { .. } => Failure::new(ExitStatus::Refused, what),
        _ => {
            let failure = Failure::new(ExitStatus::Damaged, what);
            match error.skippable() {
                Some(last) => failure.remedy(format!(
                    "--skip-damaged, or go on behind it with --partition {} --from {}; `sluice log accept-loss` on the stopped broker gives it up for good",
                    error.partition,
                    last + 1
                )),
                None => failure.remedy("again; when it stays, `sluice log verify` on the stopped broker's folder"),
            }
        }
    }
}

/// What happened, in the words of a command line rather than a library.
fn describe(error: &ConsumeError) -> String {
    let at = format!("partition {} of {}", error.partition, error.topic);
    match &error.cause {
        ConsumeCause::OffsetOutOfRange { offset, start, end } => {
            format!("offset {offset} is out of range: {at} has {start} to {end}")
        }
        ConsumeCause::Damaged { first, last } => {
            format!("{at}: offsets {first} to {last} are damaged on the broker and not served")
        }
        ConsumeCause::BadBatch { first, last, text } => {
            format!("{at}: the batch of offsets {first} to {last} cannot be read: {text}")
        }
        ConsumeCause::BadFrame { offset, text } => format!("{at}: what came at offset {offset} is no good frame: {text}"),
        ConsumeCause::Gap { expected, got } => format!("{at}: offset {expected} was asked for and {got} came"),
        ConsumeCause::TooLarge { offset, len } => {
            format!("{at}: the batch at offset {offset} has {len} bytes, more than an answer may have")
        }
        ConsumeCause::Client(error) => format!("{at}: {error}"),
    }
}

/// Standard output without a line buffer.
struct Output<'a> {
    file: File,
    buffer: Vec<u8>,
    topic: &'a str,
    format: &'a Format,
    needs_headers: bool,
}

impl<'a> Output<'a> {
    fn new(args: &'a ConsumeArgs) -> Result<Self, Failure> {
        let file = std::io::stdout().as_fd().try_clone_to_owned().map(File::from).map_err(|error| Failure::output(&error))?;
        let buffer = Vec::with_capacity(2 * OUTPUT_LEN);
        Ok(Self { file, buffer, topic: &args.topic, format: &args.format, needs_headers: args.format.needs_headers() })
    }

    fn write_batch(&mut self, batch: &RecordBatch, end: u64) -> Result<(), Failure> {
        let mut headers = Vec::new();
        for record in batch.records().take_while(|record| record.offset < end) {
            if self.needs_headers {
                headers.clear();
                headers.extend(record.headers.map(|header| (header.key, header.value)));
            }
            let view = RecordView {
                partition: batch.partition(),
                offset: record.offset,
                timestamp_ms: record.timestamp_ms,
                key: record.key,
                value: record.value,
                headers: &headers,
            };
            self.format.write(self.topic, &view, &mut self.buffer);
            if self.buffer.len() >= OUTPUT_LEN {
                self.flush()?;
            }
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Failure> {
        let written = self.file.write_all(&self.buffer);
        self.buffer.clear();
        written.map_err(|error| Failure::output(&error))
    }
}

impl From<Start> for StartAt {
    fn from(start: Start) -> Self {
        match start {
            Start::Beginning => Self::Beginning,
            Start::End => Self::End,
            Start::Offset(offset) => Self::Offset(offset),
            Start::Timestamp(at_ms) => Self::Timestamp(at_ms),
        }
    }
}
