//! `sluice bench` as a user runs it: its own broker, a folder of results, one array of JSON, and bad input.

mod common;

use common::{folder, run, sluice};
use serde_json::Value;

/// A short spike with a consumer, and the figure that is asked for most.
const SPIKE: &str = "about = 'A short spike'
partitions = 2
readers = 1
yardstick = 'floor-asleep'
warm_up_s = 0.1
[spike]
base_per_s = 500
factor = 4
base_s = 0.1
rise_s = 0.1
hold_s = 0.2
settle_s = 0.1
";

#[test]
fn a_run_measures_its_own_broker_and_leaves_a_folder() {
    let folder = folder();
    let workload = folder.path().join("mine.toml");
    std::fs::write(&workload, SPIKE).expect("a workload file");
    let out = folder.path().join("out");
    let mut bench = sluice();
    bench.args(["bench", "run", "single-record", "--rounds", "1", "--seconds", "0.5", "--json"]).arg(&workload);
    bench.args(["--system", "sluice", "--system", "sluice-client"]);
    bench.arg("--data-dir").arg(folder.path().join("data")).arg("--out").arg(&out);
    let ended = run(&mut bench).expect(0, &[out.to_str().expect("a path of text")]);
    let results: Value = serde_json::from_str(&ended.stdout).expect("one array and nothing else");
    let of = |workload: &str, system: &str| -> &Value {
        let named = |result: &&Value| result["workload"] == workload && result["system"] == system;
        results.as_array().expect("an array").iter().find(named).expect("a result")
    };
    for (workload, system) in
        ["single-record", "mine"].into_iter().flat_map(|workload| [(workload, "sluice"), (workload, "sluice-client")])
    {
        let result = of(workload, system);
        // On a busy machine the generator may be late, and has to say so; nothing else may be wrong.
        assert!(["whole", "generator_behind"].contains(&result["outcome"].as_str().expect("an outcome")), "{result}");
        assert_eq!(result["rounds"].as_array().map(Vec::len), Some(1), "{workload}");
        assert!(result["latency_us"]["p50"].is_f64() && result["ratio"].is_f64(), "{workload}");
        assert!(result["broker_cpu_s_per_gb"].is_f64() && result["write_amplification"].is_f64(), "{workload}");
        let stages: Vec<&str> = result["stages"].as_array().expect("stages").iter().filter_map(|s| s["name"].as_str()).collect();
        assert_eq!(stages, ["admit", "queue", "write_flush", "replicate", "answer"], "{workload}");
        assert!(result["settings"].as_str().is_some_and(|text| text.contains("tail_budget_len")), "{workload}");
        let names_client = result["settings"].as_str().is_some_and(|text| text.contains("ProducerConfig"));
        assert_eq!(names_client, system == "sluice-client", "{workload}");
    }
    for system in ["sluice", "sluice-client"] {
        let spike = of("mine", system);
        assert_eq!((&spike["loop"], &spike["acks"], &spike["flushed"]), (&"open".into(), &"all".into(), &true.into()));
        let intervals = spike["timeline"].as_array().expect("intervals");
        let all: u64 = intervals.iter().filter_map(|second| second["consumed"].as_u64()).sum();
        assert_eq!(all, 50 + 50 + 125 + 400 + 50, "what the phases add up to was sent and read: {spike}");
    }
    let written = std::fs::read(out.join("results.json")).expect("the results");
    assert_eq!(serde_json::from_slice::<Value>(&written).expect("JSON")["version"], 1);
    assert!(std::fs::read_to_string(out.join("report.html")).expect("a page").contains("A short spike"));
    let shown = run(sluice().args(["bench", "report"]).arg(&out)).expect(0, &[]);
    assert!(shown.stdout.contains("A short spike") && shown.stdout.contains("report.html"), "{}", shown.stdout);
    let compared = run(sluice().args(["bench", "compare", "--json"]).arg(&out).arg(out.join("results.json"))).expect(0, &[]);
    let compared: Value = serde_json::from_str(&compared.stdout).expect("one object");
    assert!(compared["changes"].as_array().is_some_and(|changes| !changes.is_empty()), "{compared}");
    // A second run does not write over the first.
    let mut again = sluice();
    again.args(["bench", "run", "yardsticks", "--rounds", "1"]).arg("--out").arg(&out);
    run(again.arg("--data-dir").arg(folder.path())).expect(2, &["another folder"]);
    let old = folder.path().join("old.json");
    std::fs::write(&old, r#"{"version": 999}"#).expect("a file");
    run(sluice().args(["bench", "report"]).arg(&old)).expect(2, &["999", "another version"]);
}

#[test]
fn bad_input_is_refused_before_anything_runs() {
    let folder = folder();
    let file = folder.path().join("odd.toml");
    let run_with = |args: &[&str]| run(sluice().args(["bench", "run"]).args(args).arg("--data-dir").arg(folder.path()));
    run_with(&["spiek"]).expect(2, &["did you mean spike?"]);
    run_with(&["steady", "--rounds", "0"]).expect(2, &["--rounds"]);
    run_with(&["steady", "--system", "sluise"]).expect(2, &["--system", "did you mean sluice?"]);
    run_with(&["restart", "--broker", "127.0.0.1:1"]).expect(2, &["--broker"]);
    for (text, part) in [
        ("about = 'x'\nrate_per_s = 5\nspeed = 9", "speed"),
        ("about = 'x'\nrate_per_s = 0", "rate of zero"),
        ("about = 'x'\nloop = 'closed'\nwindow = 3", "window"),
    ] {
        std::fs::write(&file, text).expect("a workload file");
        run_with(&[file.to_str().expect("a path of text")]).expect(2, &["odd.toml", part]);
    }
    let listed = run(sluice().args(["bench", "list"])).expect(0, &[]);
    assert!(listed.stdout.contains("connections-1000") && listed.stdout.contains("flash sale"), "{}", listed.stdout);
    let spike = run(sluice().args(["bench", "list", "spike"])).expect(0, &[]);
    assert!(spike.stdout.contains("[spike]"), "{}", spike.stdout);
}
