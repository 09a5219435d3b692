//! Which version of each request two peers speak: the greatest both know.

use crate::api::Api;
use rkyv::{Archive, Deserialize, Serialize};
use std::collections::BTreeMap;
use std::ops::RangeInclusive;

/// The versions of one api a peer speaks, as Hello carries them.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub struct ApiVersions {
    pub api: u16,
    pub min: u16,
    pub max: u16,
}

pub type VersionRange = RangeInclusive<u16>;

/// Every request of this program with its versions: what to put into Hello, request or answer.
#[must_use]
pub fn supported_versions() -> Vec<ApiVersions> {
    let requests = Api::ALL.iter().filter(|api| api.is_request());
    requests.map(|api| ApiVersions { api: api.number(), min: api.versions().0, max: api.versions().1 }).collect()
}

/// The version to speak for each api both peers have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Negotiated {
    versions: BTreeMap<u16, u16>,
}

impl Negotiated {
    /// `None`: the peer does not have this api in any version this program speaks.
    #[must_use]
    pub fn version(&self, api: Api) -> Option<u16> {
        self.versions.get(&api.number()).copied()
    }
}

/// The greatest version of each api that stands in both lists. Apis only one side has, and ranges that are empty or
/// do not meet, are left out; of an api listed twice the last entry counts.
#[must_use]
pub fn negotiate(mine: &[ApiVersions], theirs: &[ApiVersions]) -> Negotiated {
    let theirs: BTreeMap<u16, &ApiVersions> = theirs.iter().map(|v| (v.api, v)).collect();
    let common = mine.iter().filter_map(|mine| {
        let theirs = theirs.get(&mine.api)?;
        let (min, max) = (mine.min.max(theirs.min), mine.max.min(theirs.max));
        (min <= max).then_some((mine.api, max))
    });
    Negotiated { versions: common.collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn versions(api: u16, min: u16, max: u16) -> ApiVersions {
        ApiVersions { api, min, max }
    }

    #[test]
    fn the_greatest_common_version_is_spoken() {
        let mine = [versions(1, 0, 3), versions(2, 2, 4), versions(3, 0, 1), versions(4, 1, 1)];
        let theirs = [versions(1, 1, 7), versions(2, 0, 2), versions(3, 2, 3), versions(9, 0, 0), versions(4, 3, 0)];
        let negotiated = negotiate(&mine, &theirs);
        assert_eq!(negotiated.version(Api::Metadata), Some(3));
        assert_eq!(negotiated.version(Api::Produce), Some(2));
        assert_eq!(negotiated.version(Api::Fetch), None);
        assert_eq!(negotiated.version(Api::ListOffsets), None);
        assert_eq!(negotiated.version(Api::Hello), None);
        assert_eq!(negotiated, {
            let mut other = negotiate(&theirs, &mine);
            other.versions.remove(&9);
            other
        });
    }

    #[test]
    fn a_program_speaks_everything_with_itself() {
        let negotiated = negotiate(&supported_versions(), &supported_versions());
        for &api in Api::ALL {
            assert_eq!(negotiated.version(api).is_some(), api.is_request(), "{api}");
        }
    }
}
