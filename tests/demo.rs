//! The demo, shortened: it runs by itself, proves what it says, and leaves nothing behind.

mod common;

use common::{folder, run, sluice};

#[test]
fn a_short_demo_proves_what_it_says_and_cleans_up() {
    let folder = folder();
    let demo = &mut sluice();
    demo.args(["demo", "--steady", "500", "--steady-for", "1s", "--spike-for", "1s", "--json", "--data-dir"]).arg(folder.path());
    let ended = run(demo).expect(0, &["SPIKE", "backlog"]);
    let report: serde_json::Value = serde_json::from_str(&ended.stdout).unwrap();
    let count = |name: &str| report[name].as_u64().unwrap();
    assert!(count("offered") >= 500 + 5000, "{report}");
    assert_eq!(count("offered"), count("acknowledged") + count("refused") + count("unknown"));
    assert_eq!(report["verdict"]["consumed_exactly_once"], report["acknowledged"]);
    let first = report["admitted_at_first"]["record_count"].as_u64().unwrap();
    assert_eq!(first + report["refused_at_first"]["record_count"].as_u64().unwrap(), count("acknowledged"));
    assert!(count("backlog_peak") > 0, "a spike of ten times the load leaves a backlog: {report}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "the demo's folder is removed");
}
