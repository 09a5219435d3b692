//! What the program says to wrong flags and wrong settings, and its help. No broker runs.

mod common;

use common::{folder, run, sluice};

#[test]
fn wrong_flags_are_usage_errors_that_teach() {
    for (args, part) in [
        (&["serve", "--shard", "2"][..], "--shards"),
        (&["prodce", "t"], "produce"),
        (&["produce"], "<TOPIC>"),
        (&["produce", "t", "--acks", "some"], "all"),
        (&["produce", "t", "--compression", "rar"], "zstd"),
        (&["produce", "t", "--key-separator", ""], "--key-separator"),
        (&["consume", "t", "--from", "noon"], "@2026-11-22T10:00:00Z"),
        (&["consume", "t", "--format", "{ofset}"], "{offset}"),
        (&["consume", "t", "--broker", "a b"], "HOST:PORT"),
        (&["topic", "create", "t", "--partitions", "0"], "--partitions"),
        (&["topic", "create", "t", "--partitions", "1", "--set", "x"], "KEY=VALUE"),
        (&["consume", "t", "--from", "-5"], "beginning, end, an offset"),
        (&["consume", "t", "--broker", "127.0.0.1:99999"], "1 to 65535"),
        (&["log", "verify"], "<PATH>"),
        (&["log", "accept-loss", "--journal-file-count", "1"], "2..=64"),
        (&["orphan", "adopt", "xyz"], "32 hexadecimal digits"),
        (&["demo", "--steady", "0"], "--steady"),
    ] {
        run(sluice().args(args)).expect(2, &[part]);
    }
}

#[test]
fn every_command_has_help_with_examples() {
    for command in ["serve", "check", "produce", "consume", "demo", "bench"] {
        let help = run(sluice().args([command, "--help"])).expect(0, &[]);
        assert!(help.stdout.contains("Examples:"), "{command}: {}", help.stdout);
    }
    for (command, sub) in [
        ("topic", "create"),
        ("topic", "list"),
        ("topic", "describe"),
        ("topic", "alter"),
        ("topic", "elect"),
        ("cluster", "dev"),
        ("cluster", "status"),
        ("cluster", "health"),
        ("topic", "delete"),
        ("log", "dump"),
        ("log", "verify"),
        ("log", "accept-loss"),
        ("log", "repair"),
        ("orphan", "list"),
        ("orphan", "adopt"),
        ("orphan", "remove"),
        ("orphan", "new-metadata"),
        ("broker", "describe"),
    ] {
        let help = run(sluice().args([command, sub, "--help"])).expect(0, &[]);
        assert!(help.stdout.contains("Examples:"), "{command} {sub}: {}", help.stdout);
    }
}

#[test]
fn wrong_settings_are_named_with_file_line_and_the_nearest_known() {
    let folder = folder();
    let file = folder.path().join("sluice.toml");
    for (text, parts) in [
        ("# settings\ntail_bugdet_len = \"1GiB\"\n", &["sluice.toml:2", "`tail_bugdet_len`", "`tail_budget_len`"][..]),
        ("shards = 100000\n", &["sluice.toml:1", "`shards`", "1 to 1024"]),
        ("listen = 7400\n", &["sluice.toml:1", "`listen`", "127.0.0.1:7400"]),
        ("produce_delay_ms_max = \"5 parsecs\"\n", &["sluice.toml:1", "\"500ms\""]),
        ("shards = \n", &["sluice.toml:1"]),
    ] {
        std::fs::write(&file, text).unwrap();
        let data_dir = folder.path().join("data");
        run(sluice().arg("serve").arg("--config").arg(&file).arg("--data-dir").arg(&data_dir)).expect(2, parts);
        assert!(!data_dir.exists(), "nothing is started with wrong settings");
    }
    run(sluice().args(["serve", "--config", "no-such.toml"])).expect(2, &["no-such.toml", "--print-config"]);
    run(sluice().args(["serve", "--set", "shard=2"])).expect(2, &["--set", "`shards`"]);
}

#[test]
fn the_printed_settings_are_accepted_as_they_are() {
    let printed = run(sluice().args(["serve", "--print-config"])).expect(0, &[]);
    let folder = folder();
    let file = folder.path().join("sluice.toml");
    std::fs::write(&file, &printed.stdout).unwrap();
    let again = run(sluice().args(["serve", "--print-config", "--config"]).arg(&file)).expect(0, &[]);
    assert_eq!(again.stdout, printed.stdout);
}

#[test]
fn what_is_no_folder_and_no_file_is_named_with_what_to_do() {
    let folder = folder();
    let file = folder.path().join("file");
    std::fs::write(&file, "a line\n").unwrap();
    let file = file.to_str().unwrap();
    let remedy = "`sluice serve --data-dir`";
    run(sluice().args(["log", "accept-loss", "--data-dir", file])).expect(1, &[file, "is no data folder", remedy]);
    run(sluice().args(["log", "repair", "--data-dir", file])).expect(1, &[file, "is no data folder", remedy]);
    run(sluice().args(["log", "verify", file])).expect(1, &[file, "is no file of a broker", "data folder"]);
    run(sluice().args(["orphan", "list", "--data-dir", file])).expect(74, &[file, "is no folder", remedy]);
    run(sluice().args(["serve", "--data-dir", file])).expect(74, &[file, "choose another path"]);
    run(sluice().args(["bench", "run", "idle", "--data-dir", file])).expect(1, &[file, "--data-dir"]);
}

#[test]
fn a_broker_that_is_not_there_is_named_with_what_to_do() {
    let address = format!("127.0.0.1:{}", common::free_port());
    for args in [&["topic", "list"][..], &["consume", "t", "--until-end"], &["produce", "t"]] {
        run(sluice().args(args).args(["--broker", &address, "--connect-timeout", "300ms"]))
            .expect(3, &[&address, "sluice serve"]);
    }
}
