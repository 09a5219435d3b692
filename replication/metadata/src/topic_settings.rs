//! What can be set per topic: one table with name, unit, default, bounds and meaning of each setting.
//!
//! A topic keeps only what differs from the default. The expensive mistake is to trust a stored number to be within
//! today's bounds: getters clamp. Deliberately absent: settings of a broker, which are the program's.

use crate::human_value::{self, Unit, ValueError};
use crate::record::SettingOverride;
use crate::refusal::{Refusal, SettingFault};
use sluice_model::limits::{
    FRAME_BODY_LEN_MAX, FRAME_LEN_MAX_DEFAULT, REPLICAS_PER_PARTITION_MAX, SEGMENT_LEN_DEFAULT, SEGMENT_LEN_MAX, SEGMENT_LEN_MIN,
    SETTINGS_PER_TOPIC_MAX,
};
use sluice_model::nearest::nearest;
use std::collections::BTreeMap;

/// The stored value of a setting that is `none`.
const NONE: i64 = -1;
const DAY_MS: i64 = 24 * 3600 * 1000;

/// A setting; its number is what the log stores and never changes meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u16)]
pub enum SettingKey {
    SegmentLen = 1,
    RetentionBytes = 2,
    RetentionMs = 3,
    FrameLenMax = 4,
    MinInsyncReplicas = 5,
}

/// One row of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Setting {
    pub key: SettingKey,
    pub name: &'static str,
    pub unit: Unit,
    pub default: i64,
    pub min: i64,
    pub max: i64,
    /// Whether `none` (also written `-1`) lifts the limit altogether.
    pub may_be_none: bool,
    pub doc: &'static str,
}

/// Every setting of a topic, by name.
pub const SETTINGS: &[Setting] = &[
    Setting {
        key: SettingKey::FrameLenMax,
        name: "frame_len_max",
        unit: Unit::Bytes,
        default: FRAME_LEN_MAX_DEFAULT as i64,
        min: 1024,
        max: FRAME_BODY_LEN_MAX as i64,
        may_be_none: false,
        doc: "largest frame (record batch with its header) the topic accepts",
    },
    Setting {
        key: SettingKey::MinInsyncReplicas,
        name: "min_insync_replicas",
        unit: Unit::Count,
        default: 1,
        min: 1,
        max: REPLICAS_PER_PARTITION_MAX as i64,
        may_be_none: false,
        doc: "replicas that must hold a record before it is acknowledged; with fewer in sync, produce is refused; 2 where there are 3 or more",
    },
    Setting {
        key: SettingKey::RetentionBytes,
        name: "retention_bytes",
        unit: Unit::Bytes,
        default: NONE,
        min: SEGMENT_LEN_MIN as i64,
        max: 1 << 60,
        may_be_none: true,
        doc: "bytes kept per partition; beyond them the oldest whole segments are deleted",
    },
    Setting {
        key: SettingKey::RetentionMs,
        name: "retention_ms",
        unit: Unit::Milliseconds,
        default: 7 * DAY_MS,
        min: 1000,
        max: 100 * 366 * DAY_MS,
        may_be_none: true,
        doc: "how long records are kept after their append; older whole segments are deleted",
    },
    Setting {
        key: SettingKey::SegmentLen,
        name: "segment_len",
        unit: Unit::Bytes,
        default: SEGMENT_LEN_DEFAULT as i64,
        min: SEGMENT_LEN_MIN as i64,
        max: SEGMENT_LEN_MAX as i64,
        may_be_none: false,
        doc: "length at which a segment is closed and the next one begun",
    },
];

const _: () = {
    let mut index = 0;
    while index < SETTINGS.len() {
        let s = &SETTINGS[index];
        assert!(0 < s.min && s.min <= s.max, "bounds are positive and in order");
        assert!(
            (s.min <= s.default && s.default <= s.max) || (s.may_be_none && s.default == NONE),
            "the default is within the bounds"
        );
        index += 1;
    }
    assert!(SETTINGS.len() <= SETTINGS_PER_TOPIC_MAX);
};

impl Setting {
    #[must_use]
    pub fn by_name(name: &str) -> Option<&'static Self> {
        SETTINGS.iter().find(|s| s.name == name)
    }

    /// Reads a value as people write it (`human_value` says how) and checks its bounds.
    pub fn parse(&self, text: &str) -> Result<i64, SettingFault> {
        if self.may_be_none && matches!(text.trim(), "none" | "-1") {
            return Ok(NONE);
        }
        let value = human_value::parse(text, self.unit).map_err(|error| match error {
            ValueError::TooLarge => self.out_of_bounds(),
            other => SettingFault::Value(other),
        })?;
        if (self.min..=self.max).contains(&value) { Ok(value) } else { Err(self.out_of_bounds()) }
    }

    /// A stored value as people write it.
    #[must_use]
    pub fn format(&self, value: i64) -> String {
        if self.may_be_none && value == NONE { "none".to_owned() } else { human_value::format(value, self.unit) }
    }

    fn out_of_bounds(&self) -> SettingFault {
        SettingFault::OutOfBounds { min: self.min, max: self.max, unit: self.unit, may_be_none: self.may_be_none }
    }

    fn by_key(key: SettingKey) -> &'static Self {
        SETTINGS.iter().find(|s| s.key == key).expect("a test finds every key in the table")
    }
}

/// The settings of one topic.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TopicSettings {
    overrides: BTreeMap<SettingKey, i64>,
}

impl TopicSettings {
    /// The defaults of a topic whose partitions have so many replicas: what one broker's death takes away must not stop
    /// the topic, and what two hold one may lose.
    #[must_use]
    pub fn of_replicas(replicas: u32) -> Self {
        let mut settings = Self::default();
        settings.default_min_insync(replicas);
        settings
    }

    fn default_min_insync(&mut self, replicas: u32) {
        self.overrides.remove(&SettingKey::MinInsyncReplicas);
        if replicas >= 3 {
            self.overrides.insert(SettingKey::MinInsyncReplicas, 2);
        }
    }

    /// Bytes.
    #[must_use]
    pub fn segment_len(&self) -> u64 {
        self.bounded(SettingKey::SegmentLen).cast_unsigned()
    }

    /// Bytes per partition; `None` keeps all.
    #[must_use]
    pub fn retention_bytes(&self) -> Option<u64> {
        self.optional(SettingKey::RetentionBytes).map(i64::cast_unsigned)
    }

    /// Milliseconds; `None` keeps all.
    #[must_use]
    pub fn retention_ms(&self) -> Option<i64> {
        self.optional(SettingKey::RetentionMs)
    }

    /// Bytes, header included.
    #[must_use]
    pub fn frame_len_max(&self) -> usize {
        usize::try_from(self.bounded(SettingKey::FrameLenMax)).expect("bounded by FRAME_BODY_LEN_MAX")
    }

    #[must_use]
    pub fn min_insync_replicas(&self) -> u32 {
        u32::try_from(self.bounded(SettingKey::MinInsyncReplicas)).expect("bounded by its row of the table")
    }

    /// What differs from the default, by name, as text.
    #[must_use]
    pub fn overrides(&self) -> Vec<(&'static str, String)> {
        let mut texts: Vec<_> = self.overrides.iter().map(|(&key, &value)| (Setting::by_key(key), value)).collect();
        texts.sort_by_key(|(setting, _)| setting.name);
        texts.into_iter().map(|(setting, value)| (setting.name, setting.format(value))).collect()
    }

    /// Every setting with the value in force, default or not, by name, as text.
    #[must_use]
    pub fn all(&self) -> Vec<(&'static Setting, String)> {
        SETTINGS.iter().map(|s| (s, s.format(self.raw(s.key)))).collect()
    }

    /// These settings with `changes` made: pairs of name and value as people write them, where an empty value puts the
    /// default back. Nothing is changed unless all is good. `replicas` bounds `min_insync_replicas`.
    pub fn changed(&self, changes: &[(String, String)], replicas: u32) -> Result<Self, Refusal> {
        let mut next = self.clone();
        for (index, (name, text)) in changes.iter().enumerate() {
            if changes[..index].iter().any(|(earlier, _)| earlier == name) {
                return Err(Refusal::RepeatedSetting { name: name.clone() });
            }
            let Some(setting) = Setting::by_name(name) else {
                return Err(Refusal::UnknownSetting {
                    name: name.clone(),
                    nearest: nearest(name, SETTINGS.iter().map(|s| s.name)),
                });
            };
            let refused = |fault| Refusal::InvalidSetting { setting: setting.name, value: text.clone(), fault };
            if text.trim().is_empty() {
                next.overrides.remove(&setting.key);
                if setting.key == SettingKey::MinInsyncReplicas {
                    next.default_min_insync(replicas);
                }
                continue;
            }
            let value = setting.parse(text).map_err(refused)?;
            if setting.key == SettingKey::MinInsyncReplicas && value > i64::from(replicas) {
                return Err(refused(SettingFault::MoreThanReplicas { replicas }));
            }
            next.overrides.insert(setting.key, value);
        }
        Ok(next)
    }

    pub(crate) fn to_record(&self) -> Vec<SettingOverride> {
        self.overrides.iter().map(|(&key, &value)| SettingOverride { code: key as u16, value }).collect()
    }

    /// `Err` is a code this build does not know.
    pub(crate) fn from_record(overrides: &[SettingOverride]) -> Result<Self, u16> {
        let key_of = |code| SETTINGS.iter().map(|s| s.key).find(|&key| key as u16 == code).ok_or(code);
        let overrides = overrides.iter().map(|o| Ok((key_of(o.code)?, o.value))).collect::<Result<_, u16>>()?;
        Ok(Self { overrides })
    }

    fn raw(&self, key: SettingKey) -> i64 {
        self.overrides.get(&key).copied().unwrap_or(Setting::by_key(key).default)
    }

    fn bounded(&self, key: SettingKey) -> i64 {
        let setting = Setting::by_key(key);
        self.raw(key).clamp(setting.min, setting.max)
    }

    fn optional(&self, key: SettingKey) -> Option<i64> {
        (self.raw(key) != NONE).then(|| self.bounded(key))
    }
}

#[cfg(test)]
#[path = "topic_settings_test.rs"]
mod tests;
