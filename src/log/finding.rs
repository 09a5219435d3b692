//! What is wrong with a file: where, what was expected there, what is there.

use serde::Serialize;
use sluice_model::FrameError;
use sluice_storage::damage::{BlockError, DamageKind, SegmentDamage};
use std::fmt;
use std::path::{Path, PathBuf};

/// One piece of damage. `expected` and `actual` are text, because they may be checksums, offsets or lengths.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Finding {
    pub(crate) file: PathBuf,
    /// Byte of the file at which it begins.
    pub(crate) position: u64,
    pub(crate) problem: String,
    pub(crate) expected: String,
    pub(crate) actual: String,
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
        }
    }

    pub(crate) fn of_segment(file: &Path, damage: &SegmentDamage) -> Self {
        let (problem, expected, actual) = damage_parts(&damage.kind);
        let (from, until) = (damage.range.from, damage.range.until);
        let known = until > from && until.0 != u64::MAX;
        let until = if known { format!("up to {until}") } else { "on".to_owned() };
        let what = format!("{problem} (offsets {from} {until})");
        Self { file: file.to_owned(), position: damage.position, problem: what, expected, actual }
    }

    pub(crate) fn of_block(file: &Path, position: u64, block: &'static str, error: &BlockError) -> Self {
        let (problem, expected, actual) = block_parts(error);
        Self { file: file.to_owned(), position, problem: format!("{block}: {problem}"), expected, actual }
    }

    pub(crate) fn of_frame(file: &Path, position: u64, error: &FrameError) -> Self {
        let (problem, expected, actual) = frame_parts(error);
        Self { file: file.to_owned(), position, problem, expected, actual }
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
