//! `orphan new-metadata`: an explicit beginning for a folder whose metadata is lost.

use super::NewMetadataArgs;
use crate::exit_status::{ExitStatus, Failure};

pub(crate) fn new_metadata(args: &NewMetadataArgs) -> Result<(), Failure> {
    let data_dir = &args.folder.data_dir;
    let made = sluice_broker::make_new_metadata(data_dir, args.journal_dir.as_deref());
    let made =
        made.map_err(|error| Failure::new(ExitStatus::of_broker(error.fatal_reason().exit_status()), error.to_string()))?;
    if made.meta {
        eprintln!("made a new meta.json in {}", data_dir.display());
    }
    if made.metadata {
        eprintln!("made a new metadata.redb in {} that knows no topic; see `sluice orphan list`", data_dir.display());
    }
    Ok(())
}
