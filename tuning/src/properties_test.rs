use super::testing::made_up;
use super::*;

/// The made-up file with one text in place of another, which has to be there once or more.
fn with(from: &str, to: &str) -> String {
    let text = made_up().to_text();
    assert!(text.contains(from), "{from:?} is not in\n{text}");
    text.replacen(from, to, 1)
}

#[track_caller]
fn refused(text: &str) -> String {
    Properties::parse(text).map(|_| ()).expect_err("it has to be refused").to_string()
}

#[test]
fn what_is_written_reads_back_and_has_units() {
    let text = made_up().to_text();
    assert_eq!(Properties::parse(&text).expect("its own text"), made_up(), "{text}");
    for part in [
        "measured_at = \"2026-11-18T11:06:40Z\"",
        "measured_for = \"95.123 s\"",
        "rows = 6",
        "size = \"64 KiB\"\ndepth = 4\nrate = \"983 MB/s\"",
        "rate = \"40.9603 MB/s\"",
        "latency = { samples = 1000, p50 = \"97.5 us\", p90 = \"195 us\"",
        "load = \"50 %\"\nwritten = \"800 MB/s\"",
        "disks = [{ name = \"nvme0n1\", model = 'A \"MODEL\"', serial = \"S1\" }]",
    ] {
        assert!(text.contains(part), "{part} is not in\n{text}");
    }
}

#[test]
fn other_spellings_of_a_unit_are_the_same_figure() {
    for (from, to) in [("97.5 us", "0.0975ms"), ("983 MB/s", "0.983 GB/s"), ("64 KiB", "65536 bytes"), ("95.123 s", "95123ms")] {
        assert_eq!(Properties::parse(&with(from, to)).expect(to), made_up(), "{to}");
    }
}

#[test]
fn no_part_of_a_file_is_a_whole_one() {
    let text = made_up().to_text();
    let whole = text.trim_end().len();
    for len in (0..whole).filter(|len| text.is_char_boundary(*len)) {
        let said = refused(&text[..len]);
        assert!(!said.is_empty(), "the first {len} bytes");
    }
    // Rows that are cut out of the middle are missed as well.
    let (start, end) = (text.find("[[flush_under_load]]").expect("rows"), text.rfind("[[flush_under_load]]").expect("rows"));
    let said = refused(&format!("{}{}", &text[..start], &text[end..]));
    assert_eq!(said, "it says that it has 6 rows and has 5: it is cut, or was changed");
}

#[test]
fn what_a_file_must_not_be_is_named() {
    for (text, part) in [
        (String::new(), "it is empty"),
        (" \n\t\n".to_owned(), "it is empty"),
        ("shards = 3\n".to_owned(), "format = \"sluice-probe\""),
        ("{\"format\": \"sluice-probe\"}".to_owned(), "line 1"),
        ("format = \"sluice-probe\"\n".to_owned(), "version: it is no whole number"),
        (with("version = 1", "version = 2"), "a newer one wrote it"),
        (with("version = 1", "version = 2\n[and]\nmore = 1"), "a newer one wrote it"),
        (with("version = 1", "version = 0"), "there has never been"),
        (with("version = 1", "version = \"1\""), "version: it is no whole number"),
        (with("sluice-probe\"\n", "fio\"\n"), "has not written it"),
        (with("rows = 6", "rows = 6\nspeed = \"fast\""), "unknown field `speed`"),
        (with("rows = 6\n", ""), "missing field `rows`"),
        (with("2026-11-18T11:06:40Z", "yesterday"), "measured_at: \"yesterday\" is no time"),
        (with("2026-11-18T11:06:40Z", "1926-11-18T11:06:40Z"), "measured_at"),
        (with("95.123 s", "95.123"), "measured_for: \"95.123\" is not understood: it has no unit"),
        (with("97.5 us", "97.5 US"), "durable_write 1: latency.p50: \"97.5 US\" is not understood"),
        (with("97.5 us", "-97.5 us"), "durable_write 1: latency.p50"),
        (with("97.5 us", "NaN us"), "durable_write 1: latency.p50"),
        (with("97.5 us", "0 us"), "is not 0.001 us to"),
        (with("97.5 us", "2 h"), "is not 0.001 us to 3600000000 us"),
        (with("97.5 us", "196 us"), "durable_write 1: latency: p50 is greater than p90"),
        (with("\"97.5 us\"", "97.5"), "invalid type"),
        (with("samples = 1000", "samples = 0"), "samples: 0 is not"),
        (with("samples = 1000", "samples = -1"), "line"),
        (with("983 MB/s", "983 Mb/s"), "read 1: rate: \"983 Mb/s\" is not understood"),
        (with("983 MB/s", "983"), "read 1: rate: \"983\" is not understood: it has no unit"),
        (with("983 MB/s", "0 MB/s"), "read 1: rate: \"0 MB/s\" is not 100 B/s to"),
        (with("983 MB/s", "100 TB/s"), "is not 100 B/s to 10000000000000 B/s"),
        (with("64 KiB", "64K"), "may mean two things"),
        (with("64 KiB", "1000 B"), "multiple of 512"),
        (with("64 KiB", "1 GiB"), "read 1: size"),
        (with("depth = 4", "depth = 0"), "direct_write 1: depth: 0 is not 1 to 1024"),
        (with("depth = 4", "depth = 99999"), "direct_write 1: depth"),
        (with("load = \"50 %\"", "load = \"0 %\""), "flush_under_load 2: there is another row for the same"),
        (with("load = \"50 %\"", "load = \"150 %\""), "is not 0 % to 100 %"),
        (with("number = \"259:1\"", "number = \"\""), "device.number: it is empty"),
        (with("file_system = \"ext4\"", "file_system = \"a\\nb\""), "device.file_system"),
        (with("1099511627776 B", "much"), "device.size"),
        (format!("{}\n[device]\nname = \"x\"\n", made_up().to_text()), "line"),
        ("format = \"sluice-probe\"\na = ".to_owned() + &"[".repeat(100_000), "line"),
    ] {
        let said = refused(&text);
        assert!(said.contains(part), "{said:?} lacks {part:?}");
    }
}

/// Beside the test's own executable, as `/tmp` is none of the program's business.
fn folder() -> tempfile::TempDir {
    tempfile::tempdir().expect("a temporary folder can be made")
}

#[test]
fn a_file_is_of_one_device() {
    let folder = folder();
    let path = folder.path().join("data.probe.toml");
    made_up().store(&path).expect("stored");
    assert_eq!(Properties::load(&path, &made_up().device).expect("its own"), made_up());
    let other = DeviceIdentity { machine: Some("beef".to_owned()), len: Some(7), ..made_up().device };
    let said = Properties::load(&path, &other).expect_err("another's").to_string();
    for part in ["data.probe.toml was measured on another device", "the machine was 0123", "here it is beef", "size was 1099"] {
        assert!(said.contains(part), "{said}");
    }
    assert_eq!(Properties::read(&path).expect("to be shown"), made_up());
    assert_eq!(fs::read_dir(folder.path()).expect("the folder").count(), 1, "nothing else is left behind");
}

#[test]
fn what_is_no_file_of_text_is_refused_with_its_name() {
    let folder = folder();
    let path = folder.path().join("x.probe.toml");
    let read = || Properties::read(&path).expect_err("refused").to_string();
    assert!(read().starts_with(&format!("there is no {}", path.display())));
    fs::write(&path, [0xff, 0xfe, 0]).expect("a file");
    assert!(read().contains("not text in UTF-8"), "{}", read());
    fs::write(&path, "# \n".repeat(200_000)).expect("a file");
    assert!(read().contains("262145 bytes or more"), "{}", read());
    fs::remove_file(&path).and_then(|()| fs::create_dir(&path)).expect("a folder");
    assert!(read().contains("it is no file"), "{}", read());
}

#[test]
fn only_files_of_a_probe_are_written_over() {
    let folder = folder();
    let path = folder.path().join("x.probe.toml");
    assert_eq!(may_store(&path), Ok(()));
    for (text, allowed) in [
        (made_up().to_text(), true),
        (made_up().to_text()[..400].to_owned(), true),
        (with("version = 1", "version = 9"), true),
        (String::new(), true),
        ("shards = 3\n".to_owned(), false),
    ] {
        fs::write(&path, &text).expect("a file");
        assert_eq!(may_store(&path).is_ok(), allowed, "{text}");
        assert_eq!(fs::read_to_string(&path).expect("the file"), text, "asking changes nothing");
    }
    assert!(may_store(&folder.path().join("no/such/folder/x.toml")).is_err());
    assert!(may_store(folder.path()).is_err(), "a folder");
    assert_eq!(fs::read_dir(folder.path()).expect("the folder").count(), 1, "nothing is left behind");
}

#[test]
fn the_default_place_is_beside_the_folder_whatever_it_is_called_by() {
    let folder = folder();
    let real = fs::canonicalize(folder.path()).expect("a path");
    fs::create_dir(real.join("data")).expect("a folder");
    std::os::unix::fs::symlink(real.join("data"), real.join("link")).expect("a link");
    let expected = real.join("data.probe.toml");
    for name in ["data", "link", "data/", "./data", "link/../data"] {
        assert_eq!(default_path(&folder.path().join(name)), expected, "{name}");
    }
    assert_eq!(default_path(&real.join("later/data")), real.join("later/data.probe.toml"));
    assert_eq!(default_path(Path::new("/")), Path::new("/root.probe.toml"));
}
