//! The name of a setting, which lives as long as the program, as bytes: read back it is one of those that there are.

use crate::topic_settings::Setting;
use rkyv::rancor::{Fallible, Source, fail};
use rkyv::string::{ArchivedString, StringResolver};
use rkyv::with::{ArchiveWith, DeserializeWith, SerializeWith};
use rkyv::{Place, SerializeUnsized};
use std::{error, fmt};

pub struct SettingName;

#[derive(Debug)]
struct NoSuchSetting;

impl fmt::Display for NoSuchSetting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("there is no setting of that name")
    }
}

impl error::Error for NoSuchSetting {}

impl ArchiveWith<&'static str> for SettingName {
    type Archived = ArchivedString;
    type Resolver = StringResolver;

    fn resolve_with(name: &&'static str, resolver: StringResolver, out: Place<ArchivedString>) {
        ArchivedString::resolve_from_str(name, resolver, out);
    }
}

impl<S: Fallible<Error: Source> + ?Sized> SerializeWith<&'static str, S> for SettingName
where
    str: SerializeUnsized<S>,
{
    fn serialize_with(name: &&'static str, serializer: &mut S) -> Result<StringResolver, S::Error> {
        ArchivedString::serialize_from_str(name, serializer)
    }
}

impl<D: Fallible<Error: Source> + ?Sized> DeserializeWith<ArchivedString, &'static str, D> for SettingName {
    fn deserialize_with(name: &ArchivedString, _: &mut D) -> Result<&'static str, D::Error> {
        match Setting::by_name(name) {
            Some(setting) => Ok(setting.name),
            None => fail!(NoSuchSetting),
        }
    }
}
