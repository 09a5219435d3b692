//! `sluice produce`: lines in, records out, and the truth about every one of them at the end.
//!
//! A thread reads lines and hands them to the producer, which waits when its memory is full; outcomes come back from
//! the producer's own tasks. The expensive mistake is an exit status of 0 with a line that was not acknowledged.

mod lines;
mod tally;

use crate::connect::{BrokerArgs, client_failure, runtime};
use crate::exit_status::{ExitStatus, Failure};
use crate::signals::StopSignal;
use crate::units::{self, format_count};
use clap::{Args, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};
use lines::{LineError, Lines};
use sluice_client::{Acks, Compression, Delivery, OnFull, Producer, ProducerConfig, ProducerRecord, SendError};
use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tally::Tally;

const READ_LEN: usize = 1024 * 1024;
const RAISE_LIMIT: &str = "shorter lines, or `sluice topic alter TOPIC --set frame_len_max=8MiB`, which is the largest";
/// After this long without an outcome, although some are due, a person is told.
const QUIET: Duration = Duration::from_secs(5);

#[derive(Args)]
#[command(after_help = "Examples:
  sluice produce events --file access.log
  seq 1000000 | sluice produce numbers
  sluice produce users --key-separator : --file users.txt      \"17:Ada\" becomes key 17, value Ada
  tail -F app.log | sluice produce logs --compression zstd

A record is acknowledged once it is durable (--acks all). When the broker goes away, sending goes on when it is back,
nothing is written twice, and the order stays. The summary on standard error counts what was acknowledged, refused
(certainly not written) and unknown (may be written), and names the lines of the latter two; status 0 means that every line
was acknowledged.")]
pub(crate) struct ProduceArgs {
    /// Topic to write to; it has to exist
    topic: String,
    /// Read lines from this file instead of standard input
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// What ends the key and begins the value in each line; without it records have no key
    #[arg(long, value_name = "S", value_parser = parse_separator)]
    key_separator: Option<String>,
    /// When a record counts as acknowledged
    #[arg(long, value_enum, default_value_t = AcksArg::All)]
    acks: AcksArg,
    /// How batches are compressed on their way and on disk
    #[arg(long, value_enum, default_value_t = CompressionArg::None)]
    compression: CompressionArg,
    /// How long to try to get a record acknowledged before its line is given up
    #[arg(long, value_name = "TIME", default_value = "2min", value_parser = units::parse_duration)]
    delivery_timeout: Duration,
    /// Write a row `LINE PARTITION OFFSET` for every acknowledged line to this file (offset `-` when it is not known)
    #[arg(long, value_name = "FILE")]
    acknowledged: Option<PathBuf>,
    #[command(flatten)]
    broker: BrokerArgs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum AcksArg {
    /// Flushed on every in-sync replica
    All,
    /// Flushed on the partition's leader
    Leader,
    /// Not at all: it has left this machine
    None,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum CompressionArg {
    None,
    Lz4,
    Zstd,
    Snappy,
    Gzip,
}

fn parse_separator(text: &str) -> Result<String, String> {
    if text.is_empty() { Err("--key-separator must not be empty".to_owned()) } else { Ok(text.to_owned()) }
}

pub(crate) fn run(args: ProduceArgs) -> Result<(), Failure> {
    runtime()?.block_on(produce(args))
}

async fn produce(args: ProduceArgs) -> Result<(), Failure> {
    let (input, input_len) = open_input(args.file.as_ref())?;
    let mut stop = StopSignal::install()?;
    let (producer, frame_len_max) = stop.unless_asked(prepare(&args)).await?;
    let ledger = Arc::new(Ledger::new(args.acknowledged.as_ref())?);
    let bar = progress_bar(input_len);
    let began = Instant::now();
    let separator = args.key_separator.clone().map(String::into_bytes);
    let lines = Lines::new(input, frame_len_max, separator);
    let sending = Sending { producer: producer.clone(), ledger: ledger.clone(), topic: args.topic.clone(), bar: bar.clone() };
    let mut done = sending.start(lines);
    let watching = watch(ledger.clone(), bar.clone(), args.delivery_timeout);
    let ended = tokio::select! {
        ended = &mut done => ended.map_err(|_| Failure::new(ExitStatus::Failed, "the thread that reads lines ended"))?,
        () = stop.asked() => {
            ledger.stopped.store(true, Ordering::Relaxed);
            Ended::Interrupted
        }
        never = watching => never,
    };
    // Every line handed over gets its outcome: at the latest when its delivery timeout is over.
    let settled = async {
        producer.flush().await;
        while !ledger.is_settled() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    let told = async {
        stop.asked().await;
        if !ledger.is_settled() {
            bar.suspend(|| eprintln!("stopping: waiting for the outcome of what was sent; another signal ends it at once"));
        }
        std::future::pending::<()>().await;
    };
    tokio::select! { () = settled => {} () = told => {} never = watch(ledger.clone(), bar.clone(), args.delivery_timeout) => never }
    bar.finish_and_clear();
    conclude(&args, &ledger, ended, began.elapsed())
}

/// A producer that knows the topic, and the longest frame the topic takes.
async fn prepare(args: &ProduceArgs) -> Result<(Producer, usize), Failure> {
    let client = args.broker.connect().await?;
    let topic = client.topic(&args.topic).await.map_err(|error| client_failure(&error))?;
    let config = ProducerConfig {
        acks: args.acks.into(),
        compression: args.compression.into(),
        delivery_timeout_ms: u64::try_from(args.delivery_timeout.as_millis()).unwrap_or(u64::MAX),
        // Room comes when the lines in front have their outcome, be it that their time is over.
        on_full: OnFull::Block { timeout_ms: sluice_model::limits::DELIVERY_TIMEOUT_MS_MAX },
        ..ProducerConfig::default()
    };
    let producer = Producer::new(client, config).await.map_err(|error| client_failure(&error))?;
    producer.prepare(&args.topic).await.map_err(|error| Failure::new(ExitStatus::Refused, error.to_string()))?;
    Ok((producer, topic.frame_len_max as usize))
}

fn open_input(file: Option<&PathBuf>) -> Result<(Box<dyn BufRead + Send>, Option<u64>), Failure> {
    let Some(path) = file else {
        return Ok((Box::new(BufReader::with_capacity(READ_LEN, io::stdin())), None));
    };
    let open = || -> io::Result<_> {
        let file = File::open(path)?;
        let metadata = file.metadata()?;
        if metadata.is_dir() {
            return Err(io::Error::from(io::ErrorKind::IsADirectory));
        }
        Ok((file, metadata.is_file().then_some(metadata.len())))
    };
    let (file, len) = open().map_err(|error| {
        Failure::io(format_args!("cannot read {}", path.display()), &error)
            .remedy("--file with a file that can be read, or no --file for the lines of standard input")
    })?;
    Ok((Box::new(BufReader::with_capacity(READ_LEN, file)), len))
}

/// Drawn on standard error when that is a terminal, and nowhere otherwise.
fn progress_bar(len: Option<u64>) -> ProgressBar {
    let (bar, template) = match len {
        Some(len) => (ProgressBar::new(len), "{bytes} of {total_bytes} {bar:24} {bytes_per_sec}, {msg}, {eta} left"),
        None => (ProgressBar::new_spinner(), "{spinner} {bytes} {bytes_per_sec}, {msg}"),
    };
    bar.set_style(ProgressStyle::with_template(template).expect("a template of a constant"));
    bar.enable_steady_tick(Duration::from_millis(100));
    bar
}

/// How the reading of lines ended.
enum Ended {
    AllSent,
    Interrupted,
    /// This line was not sent, and none after it.
    Line {
        number: u64,
        problem: String,
        remedy: Option<&'static str>,
    },
}

/// What has become of the lines so far; shared with the producer's tasks.
struct Ledger {
    state: Mutex<LedgerState>,
    settled: AtomicU64,
    sent: AtomicU64,
    stopped: AtomicBool,
}

struct LedgerState {
    tally: Tally,
    rows: Option<BufWriter<File>>,
    rows_error: Option<io::Error>,
}

impl Ledger {
    fn new(acknowledged: Option<&PathBuf>) -> Result<Self, Failure> {
        let open = |path: &PathBuf| {
            File::create(path).map_err(|error| Failure::io(format_args!("cannot write {}", path.display()), &error))
        };
        let rows = acknowledged.map(open).transpose()?.map(|file| BufWriter::with_capacity(READ_LEN, file));
        let state = Mutex::new(LedgerState { tally: Tally::default(), rows, rows_error: None });
        Ok(Self { state, settled: AtomicU64::new(0), sent: AtomicU64::new(0), stopped: AtomicBool::new(false) })
    }

    fn lock(&self) -> MutexGuard<'_, LedgerState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_settled(&self) -> bool {
        self.settled.load(Ordering::Acquire) == self.sent.load(Ordering::Acquire)
    }

    fn note(&self, line: u64, delivery: Delivery) {
        let mut state = self.lock();
        match delivery {
            Delivery::Acknowledged(ack) => {
                state.tally.acknowledged += 1;
                if let Some(rows) = &mut state.rows {
                    let offset = ack.offset.map_or_else(|| "-".to_owned(), |offset| offset.to_string());
                    if let Err(error) = writeln!(rows, "{line} {} {offset}", ack.partition) {
                        state.rows_error = Some(error);
                    }
                }
            }
            Delivery::Refused(failure) => {
                state.tally.refused.insert(line);
                state.tally.note_reason(line, || failure.to_string());
            }
            Delivery::Unknown(failure) => {
                state.tally.unknown.insert(line);
                state.tally.note_reason(line, || failure.to_string());
            }
        }
        drop(state);
        self.settled.fetch_add(1, Ordering::Release);
    }
}

/// The thread that reads lines and hands them to the producer.
struct Sending {
    producer: Producer,
    ledger: Arc<Ledger>,
    topic: String,
    bar: ProgressBar,
}

impl Sending {
    /// The receiver gets how it ended. A read that never returns keeps only this thread.
    fn start(self, lines: Lines<Box<dyn BufRead + Send>>) -> tokio::sync::oneshot::Receiver<Ended> {
        let (sender, receiver) = tokio::sync::oneshot::channel();
        let runtime = tokio::runtime::Handle::current();
        std::thread::spawn(move || {
            let ended = self.send_all(lines, &runtime);
            // Nobody waits any more after an interruption.
            let _ = sender.send(ended);
        });
        receiver
    }

    fn send_all(&self, mut lines: Lines<Box<dyn BufRead + Send>>, runtime: &tokio::runtime::Handle) -> Ended {
        loop {
            let line = match lines.next_line() {
                Ok(Some(line)) => line,
                Ok(None) => return Ended::AllSent,
                Err(error) => return line_problem(error),
            };
            if self.ledger.stopped.load(Ordering::Relaxed) {
                return Ended::Interrupted;
            }
            let record =
                ProducerRecord { topic: &self.topic, key: line.key, value: Some(line.value), ..ProducerRecord::default() };
            let taken = match self.producer.try_send(record) {
                Err(SendError::BufferFull) => runtime.block_on(self.producer.send(record)),
                taken => taken,
            };
            let number = line.number;
            match taken {
                Ok(confirm) => {
                    self.ledger.sent.fetch_add(1, Ordering::Release);
                    let ledger = self.ledger.clone();
                    confirm.on_outcome(move |delivery| ledger.note(number, delivery));
                }
                Err(error) => return send_problem(number, &error),
            }
            self.bar.inc(line.read_len as u64);
        }
    }
}

fn line_problem(error: LineError) -> Ended {
    let (number, problem, remedy) = match error {
        LineError::TooLong { number, len_max } => (
            number,
            format!("it is longer than the topic's frame_len_max, {} bytes", format_count(len_max as u64)),
            Some(RAISE_LIMIT),
        ),
        LineError::NoSeparator { number, separator } => (number, format!("it has no key separator {separator:?}"), None),
        LineError::Read { number, error } => (number, format!("it cannot be read: {error}"), None),
    };
    Ended::Line { number, problem, remedy }
}

fn send_problem(number: u64, error: &SendError) -> Ended {
    let remedy = matches!(error, SendError::TooLarge { .. }).then_some(RAISE_LIMIT);
    Ended::Line { number, problem: error.to_string(), remedy }
}

/// Keeps the bar's message fresh and says when the broker is silent. Never returns.
async fn watch(ledger: Arc<Ledger>, bar: ProgressBar, delivery_timeout: Duration) -> ! {
    let (mut last, mut since, mut told) = (0, Instant::now(), false);
    loop {
        tokio::time::sleep(Duration::from_millis(200)).await;
        let settled = ledger.settled.load(Ordering::Acquire);
        bar.set_message(format!("{} acknowledged", format_count(ledger.lock().tally.acknowledged)));
        if settled != last || ledger.is_settled() {
            (last, since, told) = (settled, Instant::now(), false);
        } else if since.elapsed() > QUIET && !told {
            told = true;
            let timeout =
                units::format_exact(u64::try_from(delivery_timeout.as_millis()).unwrap_or(u64::MAX), units::Unit::Milliseconds);
            bar.suspend(|| {
                eprintln!("no answer from the broker for {} s; trying on, {timeout} for each record", QUIET.as_secs())
            });
        }
    }
}

fn conclude(args: &ProduceArgs, ledger: &Ledger, ended: Ended, took: Duration) -> Result<(), Failure> {
    let mut state = ledger.lock();
    let sent = ledger.sent.load(Ordering::Acquire);
    state.tally.sent = sent;
    let flushed = state.rows.as_mut().map_or(Ok(()), Write::flush);
    let rows_error = state.rows_error.take().or(flushed.err());
    let tally = &state.tally;
    let meaning =
        if args.acks == AcksArg::None { " (with --acks none: handed to the network, nothing more is known)" } else { "" };
    eprintln!(
        "{sent} sent, {} acknowledged{meaning}, {} refused, {} unknown, in {:.1} s",
        tally.acknowledged,
        tally.refused.count(),
        tally.unknown.count(),
        took.as_secs_f64()
    );
    if tally.refused.count() > 0 {
        eprintln!("refused, certainly not written: lines {}", tally.refused.describe());
    }
    if tally.unknown.count() > 0 {
        eprintln!("unknown, may or may not be written: lines {}", tally.unknown.describe());
    }
    if let Some(error) = rows_error {
        let path = args.acknowledged.as_deref().unwrap_or(std::path::Path::new("")).display();
        return Err(Failure::io(format_args!("cannot write {path}"), &error));
    }
    match ended {
        Ended::Line { number, problem, remedy } => {
            let failure =
                Failure::new(ExitStatus::NotAcknowledged, format!("line {number} was not sent, nor any after it: {problem}"));
            Err(remedy.into_iter().fold(failure, Failure::remedy))
        }
        _ if !tally.is_complete() => {
            let reason =
                tally.first_reason.as_ref().map(|(line, why)| format!("; the first, line {line}: {why}")).unwrap_or_default();
            Err(Failure::new(ExitStatus::NotAcknowledged, format!("not every line was acknowledged{reason}")))
        }
        Ended::Interrupted => Err(Failure::new(ExitStatus::Interrupted, "stopped by a signal before the end of the input")),
        Ended::AllSent => Ok(()),
    }
}

impl From<AcksArg> for Acks {
    fn from(acks: AcksArg) -> Self {
        match acks {
            AcksArg::All => Self::All,
            AcksArg::Leader => Self::Leader,
            AcksArg::None => Self::None,
        }
    }
}

impl From<CompressionArg> for Compression {
    fn from(compression: CompressionArg) -> Self {
        match compression {
            CompressionArg::None => Self::None,
            CompressionArg::Lz4 => Self::Lz4,
            CompressionArg::Zstd => Self::Zstd,
            CompressionArg::Snappy => Self::Snappy,
            CompressionArg::Gzip => Self::Gzip,
        }
    }
}
