use super::testing::{good, needs, tell};
use super::*;
use crate::host::{Root, StartReadings};
use std::collections::BTreeSet;

#[test]
fn a_good_host_has_no_problem() {
    let findings = judge(&good(), &needs());
    let problems: Vec<Finding> = findings.iter().filter(|finding| finding.is_problem()).cloned().collect();
    assert_eq!(tell(&problems), [""; 0]);
    let ids: BTreeSet<&str> = findings.iter().map(|finding| finding.id).collect();
    assert_eq!(ids.len(), START.len() + REST.len(), "every check says something, under an id of its own");
}

#[test]
fn ids_are_never_changed() {
    let ids: BTreeSet<&str> = judge(&good(), &needs()).iter().map(|finding| finding.id).collect();
    let known = "accept-queue cgroup-cpu cgroup-io cgroup-pids clock-source core-count cpu-governor data-folder device-probe \
                 dirty-pages file-system io-uring irq-affinity isolated-cores kernel-version memlock memory mount-options network-queues \
                 nofile numa queue-depth rotational scheduler smt swap transparent-huge-pages write-cache";
    assert_eq!(ids.into_iter().collect::<Vec<_>>().join(" "), known);
}

/// A tree without a single file: nothing is known, and nothing is called fine that needs a file.
#[test]
fn nothing_read_is_no_all_clear() {
    let tree = testing::tree(&[]);
    let readings = Readings::read(&Root::at(tree.path()), &["/data".into()]);
    let findings = judge(&readings, &needs());
    let fine: Vec<&str> =
        findings.iter().filter(|finding| finding.severity == Severity::Fine).map(|finding| finding.id).collect();
    // These ask the kernel by a call, or count what they are given.
    let known = ["io-uring", "nofile", "memlock", "core-count"];
    assert!(fine.iter().all(|id| known.contains(id)), "{fine:?}");
    for id in [
        "kernel-version",
        "file-system",
        "mount-options",
        "clock-source",
        "memory",
        "cgroup-cpu",
        "smt",
        "cpu-governor",
        "accept-queue",
    ] {
        let finding = findings.iter().find(|finding| finding.id == id).expect(id);
        assert_eq!(finding.severity, Severity::Unread, "{}", tell(std::slice::from_ref(finding))[0]);
        assert!(finding.found.starts_with("could not be read: /"), "{}", finding.found);
    }
}

#[test]
fn the_worst_comes_first() {
    let mut readings = good();
    readings.accept_queue_max = Ok(1);
    readings.memory.swappiness = Err(testing::unread());
    readings.memory.swaps = Ok(vec!["/dev/sda3".to_owned()]);
    readings.start.folders[0].mount.as_mut().unwrap().options = vec!["ro".to_owned(), "discard".to_owned()];
    let findings = judge(&readings, &needs());
    let worst: Vec<_> = findings.iter().take(5).map(|finding| (finding.severity.name(), finding.id)).collect();
    let expected = [("fatal", "mount-options"), ("warn", "accept-queue"), ("unread", "swap"), ("note", "mount-options")];
    assert_eq!(worst[..4], expected);
    assert_eq!(findings[4..].iter().find(|finding| finding.is_problem()), None);
}

#[test]
fn every_problem_says_what_is_wanted_and_why() {
    let readings = Readings::read(&Root::of_this_host(), &["/".into(), "/dev/shm".into(), "/proc".into(), "/no/such".into()]);
    for finding in
        judge(&readings, &Needs { shards: vec![None; 4096], descriptor_count_min: 1 << 40, memory_len: u64::MAX, ..needs() })
    {
        if finding.is_problem() {
            assert!(!finding.wanted.is_empty() && !finding.why.is_empty(), "{finding:?}");
            assert!(finding.fixes.iter().all(|fix| !fix.command.is_empty() && !fix.undo.is_empty()), "{finding:?}");
        }
    }
}

#[test]
fn this_host_can_be_read_and_runs_io_uring() {
    let readings = StartReadings::read(&Root::of_this_host(), &[std::env::current_dir().expect("a current folder")]);
    let findings = judge_start(&readings, &Needs { shards: vec![None], ..needs() });
    let bad: Vec<_> = findings.iter().filter(|finding| matches!(finding.severity, Severity::Fatal | Severity::Unread)).collect();
    assert!(bad.is_empty(), "{bad:?}");
    let allowed = crate::host::raise_descriptor_limit().expect("a limit");
    assert!(allowed <= readings.limits.descriptor_count.expect("a limit"));
}
