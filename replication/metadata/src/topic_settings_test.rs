use super::*;

fn changed(changes: &[(&str, &str)]) -> Result<TopicSettings, Refusal> {
    let changes: Vec<_> = changes.iter().map(|&(k, v)| (k.to_owned(), v.to_owned())).collect();
    TopicSettings::default().changed(&changes, 1)
}

const KEYS: [SettingKey; 5] = [
    SettingKey::SegmentLen,
    SettingKey::RetentionBytes,
    SettingKey::RetentionMs,
    SettingKey::FrameLenMax,
    SettingKey::MinInsyncReplicas,
];

#[test]
fn every_key_stands_in_the_table_once_and_names_are_sorted() {
    assert_eq!(SETTINGS.len(), KEYS.len());
    for key in KEYS {
        assert_eq!(SETTINGS.iter().filter(|s| s.key == key).count(), 1, "{key:?}");
    }
    assert!(SETTINGS.is_sorted_by(|a, b| a.name < b.name));
    for setting in SETTINGS {
        let shown = setting.format(setting.default);
        assert_eq!(setting.parse(&shown), Ok(setting.default), "{} {shown}", setting.name);
        assert!(!setting.doc.is_empty());
    }
}

#[test]
fn numbers_of_the_format_never_change() {
    assert_eq!(KEYS.map(|key| key as u16), [1, 2, 3, 4, 5]);
}

#[test]
fn defaults() {
    let settings = TopicSettings::default();
    assert_eq!(settings.segment_len(), 256 << 20);
    assert_eq!(settings.retention_bytes(), None);
    assert_eq!(settings.retention_ms(), Some(604_800_000));
    assert_eq!(settings.frame_len_max(), (1 << 20) + 4096);
    assert_eq!(settings.min_insync_replicas(), 1);
    assert_eq!(settings.overrides(), []);
    assert_eq!(settings.all().len(), SETTINGS.len());
}

#[test]
fn values_are_read_as_people_write_them() {
    let settings = changed(&[("segment_len", "64MiB"), ("retention_ms", "none"), ("retention_bytes", "10 GB")]).unwrap();
    assert_eq!((settings.segment_len(), settings.retention_ms()), (64 << 20, None));
    assert_eq!(settings.retention_bytes(), Some(10_000_000_000));
    let expected = [("retention_bytes", "9765625KiB"), ("retention_ms", "none"), ("segment_len", "64MiB")];
    assert_eq!(settings.overrides(), expected.map(|(name, text)| (name, text.to_owned())));
    assert_eq!(TopicSettings::from_record(&settings.to_record()), Ok(settings.clone()));
    let back = settings.changed(&[("retention_ms".into(), String::new()), ("segment_len".into(), " ".into())], 1).unwrap();
    assert_eq!((back.segment_len(), back.retention_ms()), (256 << 20, Some(7 * DAY_MS)));
}

#[test]
fn what_is_refused_and_what_is_said() {
    for (name, value, said) in [
        ("retention.ms", "7d", "there is no topic setting \"retention.ms\"; did you mean retention_ms?"),
        (
            "colour",
            "red",
            "there is no topic setting \"colour\"; there are frame_len_max, min_insync_replicas, retention_bytes, retention_ms, segment_len",
        ),
        ("segment_len", "1KiB", "topic setting segment_len cannot be \"1KiB\": it must be 1MiB to 1GiB"),
        ("segment_len", "-1", "topic setting segment_len cannot be \"-1\": it is not a whole number"),
        ("retention_ms", "7 days", "topic setting retention_ms cannot be \"7 days\": its unit is none of ms, s, min, h, d"),
        ("retention_ms", "1ms", "topic setting retention_ms cannot be \"1ms\": it must be 1s to 36600d, or none"),
        (
            "retention_bytes",
            "99999999TiB",
            "topic setting retention_bytes cannot be \"99999999TiB\": it must be 1MiB to 1048576TiB, or none",
        ),
        ("min_insync_replicas", "2", "topic setting min_insync_replicas cannot be \"2\": the topic has 1 replica"),
    ] {
        assert_eq!(changed(&[(name, value)]).unwrap_err().to_string(), said);
    }
    let repeated = changed(&[("segment_len", "1MiB"), ("segment_len", "2MiB")]).unwrap_err();
    assert_eq!(repeated, Refusal::RepeatedSetting { name: "segment_len".into() });
    let long = changed(&[("segment_len", &"9".repeat(1_000_000))]).unwrap_err();
    assert!(long.to_string().len() < 300, "{}", long.to_string().len());
}

#[test]
fn of_three_replicas_two_have_to_be_in_sync_unless_something_else_is_asked_for() {
    assert_eq!([1, 2, 3, 5].map(|replicas| TopicSettings::of_replicas(replicas).min_insync_replicas()), [1, 1, 2, 2]);
    let set = |settings: &TopicSettings, value: &str| settings.changed(&[("min_insync_replicas".into(), value.into())], 3);
    let asked = set(&TopicSettings::of_replicas(3), "1").unwrap();
    assert_eq!(asked.min_insync_replicas(), 1);
    assert_eq!(set(&asked, "").unwrap(), TopicSettings::of_replicas(3), "an empty value puts that back");
}

#[test]
fn stored_values_out_of_bounds_do_no_harm() {
    let stored = |code, value| TopicSettings::from_record(&[SettingOverride { code, value }]);
    assert_eq!(stored(1, i64::MIN).unwrap().segment_len(), SEGMENT_LEN_MIN);
    assert_eq!(stored(4, i64::MAX).unwrap().frame_len_max(), FRAME_BODY_LEN_MAX);
    assert_eq!(stored(5, -1).unwrap().min_insync_replicas(), 1);
    assert_eq!(stored(99, 1), Err(99));
}
