//! What a data folder says of itself: whose it is and where its journals lie (`meta.json`), and which topics there are.
//!
//! The expensive mistake is to go on with a guess: where `meta.json` is no good, every command on a stopped folder ends
//! and says what to put back.

use crate::exit_status::{ExitStatus, Failure};
use sluice_controller::{OpenError, read_image};
use sluice_metadata::{FolderId, Image};
use sluice_storage::layout::Layout;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

pub(crate) struct Meta {
    pub(crate) folder_id: FolderId,
    journal_dir: PathBuf,
}

/// `None` when the file is not there.
pub(crate) fn read_meta(layout: &Layout) -> Result<Option<Meta>, Failure> {
    let path = layout.meta();
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => return Ok(None),
        Err(error) => return Err(unusable(format!("cannot read {}: {error}", path.display()))),
    };
    let parsed: Result<serde_json::Value, _> = serde_json::from_str(&text);
    let meta = parsed.map_err(|error| unusable(format!("{} is damaged ({error})", path.display())))?;
    let id = meta.get("folder_id").and_then(|id| id.as_str()).filter(|id| id.len() == 32);
    let id = id.and_then(|id| u128::from_str_radix(id, 16).ok());
    let id = id.ok_or_else(|| unusable(format!("{} is damaged: it has no folder_id", path.display())))?;
    let lacks = |field: &str| unusable(format!("{} is damaged: it has no {field}", path.display()));
    // What a start asks for, too: a file that it refuses is not good.
    for field in ["format_version", "incarnation_number"] {
        meta.get(field).and_then(serde_json::Value::as_u64).ok_or_else(|| lacks(field))?;
    }
    let journal_dir = meta.get("journal_dir").and_then(|dir| dir.as_str()).ok_or_else(|| lacks("journal_dir"))?;
    Ok(Some(Meta { folder_id: FolderId(id.to_be_bytes()), journal_dir: PathBuf::from(journal_dir) }))
}

fn unusable(what: String) -> Failure {
    Failure::new(ExitStatus::DataFolder, what)
        .remedy("put back a copy of it; without one move it away, and `sluice orphan new-metadata` makes a new one")
}

/// Where things are in the data folder `root`, its journals included.
pub(crate) fn layout_of(root: &Path) -> Result<Layout, Failure> {
    let layout = Layout::new(root);
    let Some(meta) = read_meta(&layout)? else { return Ok(layout) };
    // A folder that was copied or moved has its own journal in it, and the path it remembers is another's.
    if journal_owner(&layout).is_some_and(|owner| owner == meta.folder_id.to_string()) {
        return Ok(layout);
    }
    Ok(layout.with_journal_dir(&meta.journal_dir))
}

/// Whose journal lies where this folder's should.
pub(crate) fn journal_owner(layout: &Layout) -> Option<String> {
    Some(std::fs::read_to_string(layout.journal_owner()).ok()?.trim().to_owned())
}

/// What the metadata says, read and left as it is; `None` when the file is not there.
pub(crate) fn read_metadata(layout: &Layout, folder_id: FolderId) -> Result<Option<Image>, OpenError> {
    match read_image(&layout.metadata(), folder_id) {
        Ok(image) => Ok(Some(image)),
        Err(OpenError::Missing { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}
