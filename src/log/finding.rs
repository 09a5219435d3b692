//! What is wrong with a file: where, what was expected there, what is there.

use serde::Serialize;
use sluice_model::{FrameError, Offset, TopicPartition};
use sluice_storage::checkpoint::PartitionCheckpoint;
use sluice_storage::damage::{BlockError, DamageKind, DamagedRange};
use sluice_storage::scrub_finding::{ScrubFinding, ScrubKind};
use std::fmt;
use std::path::{Path, PathBuf};

/// Whether anybody has to do something about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Standing {
    Damaged,
    /// An operator has accepted the loss of all the offsets it costs.
    Accepted,
    /// The offsets it costs lie below the log start.
    Deleted,
}

/// Offsets from `from` (included) to `until` (not included).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Offsets {
    pub(crate) from: u64,
    pub(crate) until: u64,
}

/// One bad place. `expected` and `actual` are text, because they may be checksums, offsets or lengths.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Finding {
    pub(crate) file: PathBuf,
    /// Byte of the file at which it begins.
    pub(crate) position: u64,
    pub(crate) problem: String,
    pub(crate) expected: String,
    pub(crate) actual: String,
    #[serde(serialize_with = "as_text")]
    pub(crate) partition: Option<TopicPartition>,
    /// What cannot be served on account of it; `None` where no record is lost, or where that is not known.
    pub(crate) offsets: Option<Offsets>,
    /// No record is lost by it.
    pub(crate) is_harmless: bool,
    pub(crate) standing: Standing,
}

fn as_text<S: serde::Serializer>(id: &Option<TopicPartition>, serializer: S) -> Result<S::Ok, S::Error> {
    id.map(|id| id.to_string()).serialize(serializer)
}

impl Finding {
    pub(crate) fn new(
        file: &Path,
        position: u64,
        problem: impl Into<String>,
        expected: impl fmt::Display,
        actual: impl fmt::Display,
    ) -> Self {
        Self {
            file: file.to_owned(),
            position,
            problem: problem.into(),
            expected: expected.to_string(),
            actual: actual.to_string(),
            partition: None,
            offsets: None,
            is_harmless: false,
            standing: Standing::Damaged,
        }
    }

    pub(crate) fn of_partition(mut self, id: TopicPartition) -> Self {
        self.partition = Some(id);
        self
    }

    /// What it costs, as far as that is not deleted, and whether that has been given up.
    pub(crate) fn losing(mut self, lost: Option<DamagedRange>, checkpoint: Option<&PartitionCheckpoint>) -> Self {
        let Some(lost) = lost else { return self };
        let from = lost.from.max(checkpoint.map_or(Offset::ZERO, |checkpoint| checkpoint.log_start_offset));
        let accepted = checkpoint.map_or(&[][..], |checkpoint| &checkpoint.accepted);
        self.standing = if from >= lost.until {
            Standing::Deleted
        } else if accepted.iter().any(|range| range.from <= from && lost.until <= range.until) {
            Standing::Accepted
        } else {
            Standing::Damaged
        };
        let from = if self.standing == Standing::Deleted { lost.from } else { from };
        self.offsets = Some(Offsets { from: from.0, until: lost.until.0 });
        let until = if lost.until.0 == u64::MAX { "on".to_owned() } else { format!("up to {}", lost.until) };
        self.problem = format!("{} (offsets {from} {until})", self.problem);
        self
    }

    /// What the scrub of a segment has found; the checkpoint says what of it is given up.
    pub(crate) fn of_scrub(finding: &ScrubFinding, checkpoint: Option<&PartitionCheckpoint>) -> Self {
        let (problem, expected, actual) = scrub_parts(&finding.kind);
        let problem = match finding.lost {
            Some(_) => problem,
            None => format!("{problem} (no record is lost by it)"),
        };
        let found = Self::new(&finding.file, finding.position, problem, expected, actual);
        let mut found = finding.id.into_iter().fold(found, Self::of_partition);
        found.is_harmless = finding.lost.is_none();
        found.losing(finding.lost, checkpoint)
    }

    pub(crate) fn of_block(file: &Path, position: u64, block: &'static str, error: &BlockError) -> Self {
        let (problem, expected, actual) = block_parts(error);
        Self::new(file, position, format!("{block}: {problem}"), expected, actual)
    }

    pub(crate) fn of_frame(file: &Path, position: u64, error: &FrameError) -> Self {
        let (problem, expected, actual) = frame_parts(error);
        Self::new(file, position, problem, expected, actual)
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} at byte {}: {}: expected {}, actual {}",
            self.file.display(),
            self.position,
            self.problem,
            self.expected,
            self.actual
        )
    }
}

type Parts = (String, String, String);

fn parts(problem: &str, expected: impl fmt::Display, actual: impl fmt::Display) -> Parts {
    (problem.to_owned(), expected.to_string(), actual.to_string())
}

fn scrub_parts(kind: &ScrubKind) -> Parts {
    let prefixed = |block: &str, (problem, expected, actual): Parts| (format!("{block}: {problem}"), expected, actual);
    match kind {
        ScrubKind::Segment(kind) => damage_parts(kind),
        ScrubKind::Header(error) => prefixed("segment header", block_parts(error)),
        ScrubKind::Trailer(error) => prefixed("segment trailer", block_parts(error)),
        ScrubKind::Footer(error) => prefixed("segment footer", block_parts(error)),
        ScrubKind::Disagrees { field } => parts(&format!("segment footer: {field}"), "what the frames say", "something else"),
        ScrubKind::NotZero { actual } => parts("padding", "zeros", format_args!("{actual:02x}")),
        ScrubKind::Unreadable => parts("the device failed to read it", "the bytes that were written", "an error"),
        other => parts(&other.to_string(), "what was written", "something else"),
    }
}

fn damage_parts(kind: &DamageKind) -> Parts {
    match kind {
        DamageKind::Frame(error) => frame_parts(error),
        DamageKind::Block(error) => block_parts(error),
        DamageKind::Partition { expected, actual } => parts("frame of another partition", expected, actual),
        DamageKind::Offset { expected, actual } => parts("base offset of the frame", expected, actual),
        DamageKind::Chain { expected, actual } => {
            parts("checksum of the frame before, as named by the frame", crc(*expected), crc(*actual))
        }
        DamageKind::PastEnd { expected, actual } => parts("end of the frame", format_args!("{expected} at most"), actual),
        DamageKind::NoFrame => parts("no frame", "a frame", "zeros"),
        DamageKind::FileTooShort { expected, actual } => parts("length of the file", format_args!("{expected} at least"), actual),
        DamageKind::Replayed { expected, actual } => {
            parts("byte that the journal has too", format_args!("{expected:02x}"), format_args!("{actual:02x}"))
        }
        // A kind added later still says what it is.
        #[allow(unreachable_patterns)]
        other => parts(&other.to_string(), "a good frame", "damage"),
    }
}

fn frame_parts(error: &FrameError) -> Parts {
    match *error {
        FrameError::Truncated { wanted, got } => parts("length of the frame", wanted, got),
        FrameError::Magic { got } => parts(
            "first bytes of the frame",
            format_args!("{:02x?}", sluice_model::frame::FRAME_MAGIC),
            format_args!("{got:02x?}"),
        ),
        FrameError::BodyTooLong { got, max } => parts("length of the frame's body", format_args!("{max} at most"), got),
        FrameError::RecordCount { record_count, last_offset_delta } => parts(
            "record count of the frame",
            format_args!("one more than its last offset delta, {last_offset_delta}"),
            record_count,
        ),
        FrameError::HeaderCrc { expected, actual } => parts("checksum of the frame's header", crc(expected), crc(actual)),
        FrameError::BatchCrc { expected, actual } => parts("checksum of the frame's records", crc(expected), crc(actual)),
    }
}

fn block_parts(error: &BlockError) -> Parts {
    match error {
        BlockError::Truncated { wanted, got } => parts("length", wanted, got),
        BlockError::Magic { expected, actual } => {
            parts("first bytes", format_args!("{expected:016x}"), format_args!("{actual:016x}"))
        }
        BlockError::Version { expected, actual } => parts("format version", expected, actual),
        BlockError::Crc { expected, actual } => parts("checksum", crc(*expected), crc(*actual)),
        BlockError::Partition { expected, actual } => parts("partition", expected, actual),
        BlockError::BaseOffset { expected, actual } => parts("base offset", expected, actual),
        BlockError::Content { field } => parts(field, "a value within its bounds", "one outside them"),
    }
}

pub(crate) fn crc(crc: u32) -> String {
    format!("{crc:08x}")
}
