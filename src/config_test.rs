#[path = "../tests/common/mutations.rs"]
mod mutations;

use super::*;
use sluice_storage::testing::random::Random;

fn read(text: &str) -> Result<Settings, String> {
    let mut values = defaults();
    read_file(text, "sluice.toml", &mut values)?;
    Ok(serde_json::from_value(Value::Object(values)).unwrap())
}

#[test]
fn the_table_and_the_struct_agree() {
    let settings = load(None, &[]).unwrap();
    assert_eq!(settings.listen.to_string(), "127.0.0.1:7400");
    assert_eq!(settings.shards, None);
    let mut names: Vec<_> = SETTINGS.iter().chain(CLUSTER_SETTINGS).map(|setting| setting.name).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), SETTINGS.len() + CLUSTER_SETTINGS.len());
    for setting in SETTINGS {
        if let (Some((min, max)), Some(default)) = (setting.kind.limits(), setting.default_value()) {
            assert!((min..=max).contains(&default.as_u64().unwrap()), "{} has a default outside its limits", setting.name);
        }
    }
}

#[test]
fn the_defaults_are_those_of_the_broker() {
    let settings = load(None, &[]).unwrap();
    let config = settings.broker_config().unwrap();
    assert_eq!(config, sluice_broker::BrokerConfig::new("sluice-data", settings.listen));
    config.check().unwrap();
}

#[test]
fn every_limit_is_accepted_by_the_broker() {
    for setting in SETTINGS {
        for number in setting.kind.limits().map_or(vec![], |(min, max)| vec![min, max]) {
            let given = Override { setting: setting.name.into(), origin: "--set".into(), text: number.to_string() };
            load(None, &[given])
                .unwrap()
                .broker_config()
                .unwrap()
                .check()
                .unwrap_or_else(|wrong| panic!("{}: {wrong}", setting.name));
        }
    }
}

#[test]
fn what_clients_are_told_has_a_port() {
    for (host, told) in [
        ("b1", ("b1", 7400)),
        ("b1:9", ("b1", 9)),
        ("::1", ("::1", 7400)),
        ("[::1]:9", ("::1", 9)),
        ("10.0.0.1", ("10.0.0.1", 7400)),
    ] {
        let given = Override { setting: "advertise".into(), origin: "--advertise".into(), text: host.into() };
        let config = load(None, &[given]).unwrap().broker_config().unwrap();
        assert_eq!(config.advertise, Some((told.0.to_owned(), told.1)), "{host}");
    }
}

#[test]
fn the_printed_default_file_reads_back_as_the_defaults() {
    assert_eq!(read(&default_file()).unwrap(), load(None, &[]).unwrap());
}

#[test]
fn values_carry_their_units() {
    let settings =
        read("tail_budget_len = \"256MiB\"\nproduce_delay_ms_max = \"2s\"\nshards = 2\nnetwork_budget_len = 67108864").unwrap();
    assert_eq!((settings.tail_budget_len, settings.produce_delay_ms_max, settings.shards), (256 << 20, 2000, Some(2)));
}

#[test]
fn errors_name_file_line_and_what_would_be_right() {
    for (text, parts) in [
        ("listen = \"127.0.0.1:7400\"\n\ndata_dri = \"x\"", ["sluice.toml:3", "`data_dri`", "`data_dir`"]),
        ("zzz = 1", ["sluice.toml:1", "`zzz`", "--print-config"]),
        ("[server]\nx = 1", ["sluice.toml:1", "`server`", "unknown"]),
        ("\nshards = 0", ["sluice.toml:2", "`shards`", "1 to 1024"]),
        ("tail_budget_len = \"1GiBB\"", ["sluice.toml:1", "`tail_budget_len`", "unit"]),
        ("tail_budget_len = \"1KiB\"", ["sluice.toml:1", "1KiB", "MiB to 64GiB"]),
        ("produce_delay_ms_max = \"14d\"", ["sluice.toml:1", "14d", "1ms to 1min"]),
        ("listen = \"localhost\"", ["sluice.toml:1", "`listen`", "127.0.0.1:7400"]),
        ("shards = 1.5", ["sluice.toml:1", "`shards`", "float"]),
        ("shards = [1]", ["sluice.toml:1", "`shards`", "array"]),
        ("a = 1\nb = = 2", ["sluice.toml:2", "", ""]),
    ] {
        let error = read(text).unwrap_err();
        for part in parts {
            assert!(error.contains(part), "{text:?} gives {error:?}, which lacks {part:?}");
        }
    }
}

#[test]
fn flags_stand_above_the_file_and_are_checked_alike() {
    let given = |setting: &str, text: &str| Override { setting: setting.into(), origin: "--shards".into(), text: text.into() };
    assert_eq!(load(None, &[given("shards", "3")]).unwrap().shards, Some(3));
    let error = load(None, &[given("shards", "many")]).unwrap_err().to_string();
    assert!(error.contains("--shards") && error.contains("\"many\""), "{error}");
}

/// Settings of a file, with a secret that is good.
fn read_cluster(text: &str, dir: &Path) -> Result<Settings, String> {
    let secret = dir.join("secret");
    std::fs::write(&secret, [b'x'; 32]).unwrap();
    std::fs::set_permissions(&secret, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    read(&text.replace("SECRET", &secret.display().to_string()))
}

const CLUSTER: &str = "cluster_voters = [\"1@b1:7500\", \"2@b2:7500\", \"3@[::1]:7500\"]\ncontroller_listen = \"0.0.0.0:7500\"\n\
                       cluster_secret_file = \"SECRET\"\nbroker_id = 2\nrack = \"r1\"\ncontroller_advertise = \"b2\"";

#[test]
fn the_settings_of_a_cluster_are_read() {
    let dir = tempfile::tempdir().unwrap();
    let settings = read_cluster(CLUSTER, dir.path()).unwrap();
    let cluster = settings.cluster().unwrap().expect("it has voters");
    let voters: Vec<_> = cluster.voters.iter().map(|voter| (voter.broker.0, voter.host.as_str(), voter.port)).collect();
    assert_eq!(voters, [(1, "b1", 7500), (2, "b2", 7500), (3, "::1", 7500)]);
    assert_eq!(cluster.controller_listen.to_string(), "0.0.0.0:7500");
    assert_eq!(cluster.controller_advertise, Some(("b2".to_owned(), 7500)));
    assert_eq!((cluster.rack.as_deref(), settings.broker_id), (Some("r1"), Some(2)));
    let as_text = CLUSTER.replace("[\"1@", "\"1@").replace("\", \"", ", ").replace("7500\"]", "7500\"");
    assert_eq!(read_cluster(&as_text, dir.path()).unwrap(), settings, "a list or one text");
}

#[test]
fn the_settings_of_a_cluster_belong_together() {
    let dir = tempfile::tempdir().unwrap();
    for (without, named) in [
        ("cluster_voters", "`broker_id`, `controller_advertise`, `controller_listen`, `rack`, `cluster_secret_file`"),
        ("cluster_secret_file", "`cluster_secret_file`"),
        ("controller_listen", "`controller_listen`"),
        ("broker_id", "`broker_id`"),
    ] {
        let lines: Vec<_> = CLUSTER.lines().filter(|line| !line.trim_start().starts_with(without)).collect();
        let problem = read_cluster(&lines.join("\n"), dir.path()).unwrap().cluster().unwrap_err();
        assert!(problem.contains("cluster_voters"), "{problem}");
        assert!(named.contains(problem.split(':').next().unwrap()), "{problem}");
    }
    let error = read("\ncluster_voters = [\"1@b1:7500\", 2]").unwrap_err();
    assert!(error.contains("sluice.toml:2") && error.contains("1@broker-1.example:7500"), "{error}");
    let error = read("cluster_voters = \"1@b1\"").unwrap_err();
    assert!(error.contains("sluice.toml:1") && error.contains("`cluster_voters`"), "{error}");
}

#[test]
fn hosts_are_checked() {
    for host in ["broker-1.example", "10.0.0.5", "10.0.0.5:7400", "::1", "[::1]:7400", "localhost:1"] {
        assert!(settings::check_host(host).is_ok(), "{host}");
    }
    for host in ["a b", ":7400", "host:0", "host:99999", "http://host"] {
        assert!(settings::check_host(host).is_err(), "{host}");
    }
}

#[test]
fn the_readme_shows_this_very_table() {
    let readme = include_str!("../README.md");
    assert!(readme.contains(&markdown_table()), "README.md's settings table should be:\n{}", markdown_table());
}

/// Any text, as a file and line by line as overrides: what the fuzz target `config` does.
fn survive(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    let overrides: Vec<Override> = text
        .lines()
        .filter_map(|line| line.split_once('='))
        .map(|(setting, text)| Override {
            setting: setting.trim().to_owned(),
            origin: "--set".to_owned(),
            text: text.trim().to_owned(),
        })
        .collect();
    let _ = merge(None, &overrides).map(|settings| settings.broker_config().map(|config| config.check().is_ok()));
    merge(Some((text, "f")), &[]).and_then(|settings| settings.broker_config()).is_ok_and(|config| config.check().is_ok())
}

#[test]
fn no_mutation_of_the_corpus_makes_the_parser_panic() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/config");
    let paths = std::fs::read_dir(corpus).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<(String, Vec<u8>)> =
        paths.map(|path| (path.file_name().unwrap().to_string_lossy().into_owned(), std::fs::read(&path).unwrap())).collect();
    files.sort();
    assert!(files.iter().any(|(name, _)| name.starts_with("seed-")), "the corpus has a seed");
    for (number, (name, bytes)) in (1..).zip(&files) {
        assert!(bytes.len() <= 8192, "{name} has {} bytes", bytes.len());
        assert!(survive(bytes) || !name.starts_with("seed-"), "{name} is refused; has a setting changed?");
        let mut random = Random::new(number);
        for round in 0..500 {
            let mutated = mutations::mutated(bytes, &files, &mut random);
            let survived = std::panic::catch_unwind(|| survive(&mutated)).is_ok();
            assert!(survived, "mutation {round} of {name}: {:?}", String::from_utf8_lossy(&mutated));
        }
    }
}
