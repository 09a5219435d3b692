//! `orphan list`: a row for each partition without a topic, and one for each file set aside.

use super::ListArgs;
use super::found::{self, FoundPartition, NamedBy};
use super::set_aside::{self, SetAsideFile};
use super::stopped_folder::{Standing, StoppedFolder};
use crate::exit_status::Failure;
use crate::table::{Table, print_line};
use crate::units::format_timestamp_ms;
use serde_json::{Value, json};
use sluice_model::TopicPartition;

pub(super) const COLUMNS: &[&str] =
    &["topic_id", "partition", "state", "topic", "log_start", "log_end", "records", "bytes", "shard", "newest_append", "damaged"];
const SET_ASIDE_COLUMNS: &[&str] = &["topic_id", "partition", "base_offset", "bytes", "start", "file"];

pub(crate) fn list(args: &ListArgs) -> Result<(), Failure> {
    let data_dir = &args.folder.data_dir;
    let folder = StoppedFolder::open(data_dir)?;
    let reading = |error| Failure::io(format_args!("cannot read {}", data_dir.display()), &error);
    let found = found::find(&folder.files, &|id| folder.standing(id).is_some()).map_err(reading)?;
    let mut orphans = Table::new(COLUMNS);
    found.iter().for_each(|(&id, partition)| orphans.push(row(&folder, id, partition)));
    let mut set_aside = Table::new(SET_ASIDE_COLUMNS);
    set_aside::find(&folder.layout).map_err(reading)?.iter().for_each(|file| set_aside.push(set_aside_row(file)));
    if folder.image().is_none() {
        eprintln!("{} is missing: every partition in the folder is an orphan", folder.layout.metadata().display());
    }
    if args.json {
        let deleted = folder.image().into_iter().flat_map(|image| image.deleted_topics());
        let deleted: Vec<_> = deleted.map(|(id, topic)| json!({ "topic_id": id.to_string(), "name": topic.name })).collect();
        let document = json!({ "orphans": orphans.to_json(), "set_aside": set_aside.to_json(), "tombstones": deleted });
        return print_line(&format!("{document:#}"));
    }
    orphans.print(false, "no orphans: the metadata knows every partition in the folder")?;
    if set_aside.is_empty() { Ok(()) } else { print_line(&format!("\nset aside by recovery:\n{}", set_aside.to_text())) }
}

pub(super) fn row(folder: &StoppedFolder, id: TopicPartition, partition: &FoundPartition) -> Vec<Value> {
    let state = match (folder.standing(id), partition.named_by) {
        (Some(Standing::Deleted), _) => "deleted",
        (_, NamedBy::Checkpoint) => "orphan",
        (_, NamedBy::Journal) => "not checkpointed",
        (_, NamedBy::Nobody) => "no checkpoint",
    };
    let topic = folder.image().and_then(|image| image.topic(id.topic_id));
    vec![
        id.topic_id.to_string().into(),
        id.partition.0.into(),
        state.into(),
        topic.map_or(Value::Null, |topic| topic.name.as_str().into()),
        partition.log_start.0.into(),
        partition.log_end.0.into(),
        partition.record_count.into(),
        partition.bytes.into(),
        partition.shard.map_or(Value::Null, |shard| shard.0.into()),
        partition.append_time_ms.map_or(Value::Null, |ms| format_timestamp_ms(ms).into()),
        partition.is_damaged.into(),
    ]
}

pub(super) fn set_aside_row(file: &SetAsideFile) -> Vec<Value> {
    vec![
        file.id.topic_id.to_string().into(),
        file.id.partition.0.into(),
        file.base_offset.0.into(),
        file.len.into(),
        file.start.into(),
        file.path.display().to_string().into(),
    ]
}
