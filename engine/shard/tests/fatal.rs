//! A fatal reason ends the process with its own status and one line. The test runs itself as the process that ends.

use std::process::Command;

use sluice_shard::{FatalReason, fatal};

const CHILD: &str = "SLUICE_TEST_FATAL_CHILD";

#[test]
fn the_process_ends_with_the_status_of_the_reason_and_says_why() {
    if std::env::var_os(CHILD).is_some() {
        fatal(FatalReason::IoFailure("write of shard-0/0001.journal: no such device".to_owned()));
    }
    let this_test = std::env::current_exe().expect("the path of this test");
    let name = "the_process_ends_with_the_status_of_the_reason_and_says_why";
    let ended = Command::new(this_test).args(["--exact", name, "--nocapture"]).env(CHILD, "1").output().expect("a child");
    assert_eq!(ended.status.code(), Some(70));
    let said = String::from_utf8_lossy(&ended.stderr);
    let line = "sluice: fatal: I/O failure: write of shard-0/0001.journal: no such device (exit status 70)";
    assert!(said.lines().any(|found| found == line), "{said}");
}
