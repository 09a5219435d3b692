use super::*;

const NEEDS: HostNeeds = HostNeeds { shard_count: 2, io_memory_len: 16 << 20, descriptor_count: 4096 };

fn good() -> HostReadings {
    HostReadings {
        kernel: KernelVersion { major: 6, minor: 18, patch: 44 },
        io_uring: IoUringReading::Available,
        memlock_len: None,
        descriptor_count: 1 << 20,
    }
}

fn kernel(text: &str) -> KernelVersion {
    KernelVersion::parse(text).expect("a kernel version")
}

#[test]
fn a_good_host_has_no_problem() {
    assert_eq!(judge_host(&good(), &NEEDS), []);
}

#[test]
fn every_way_io_uring_can_be_missing_names_its_setting() {
    let table = [
        (IoUringReading::Missing, "CONFIG_IO_URING"),
        (IoUringReading::Forbidden { sysctl: 0 }, "seccomp"),
        (IoUringReading::Forbidden { sysctl: 1 }, "kernel.io_uring_disabled = 1"),
        (IoUringReading::Forbidden { sysctl: 2 }, "kernel.io_uring_disabled = 2"),
        (IoUringReading::Failed { code: libc::ENOMEM }, "io_uring_setup failed"),
    ];
    for (io_uring, words) in table {
        let problems = judge_host(&HostReadings { io_uring, ..good() }, &NEEDS);
        assert_eq!(problems.len(), 1);
        assert!(problems[0].is_fatal());
        assert!(problems[0].to_string().contains(words), "{}", problems[0]);
    }
}

#[test]
fn kernels_are_too_old_advised_against_or_good() {
    let verdict =
        |text: &str| judge_host(&HostReadings { kernel: kernel(text), ..good() }, &NEEDS).first().map(HostProblem::is_fatal);
    for (text, expected) in [
        ("5.15.0-91-generic", Some(true)),
        ("6.0.19", Some(true)),
        ("6.1.0", Some(false)),
        ("6.6.85", Some(false)),
        ("6.6.86", None),
        ("6.8.0-40-generic", Some(false)),
        ("6.12.20", Some(false)),
        ("6.12.21-amd64", None),
        ("6.13.5", Some(false)),
        ("6.14", None),
        ("6.18.44-fc-v657", None),
        ("7.0.0-rc1", None),
    ] {
        assert_eq!(verdict(text), expected, "{text}");
    }
    assert_eq!(KernelVersion::parse("garbage"), None);
}

#[test]
fn locked_memory_is_needed_for_every_ring_of_every_shard() {
    let needed = 2 * (3 * (16 << 20) + (512 << 10));
    assert_eq!(memlock_needed_len(&NEEDS), needed);
    let judge = |len| judge_host(&HostReadings { memlock_len: Some(len), ..good() }, &NEEDS);
    assert_eq!(judge(needed), []);
    let problems = judge(needed - 1);
    assert_eq!(problems, [HostProblem::LockedMemory { found_len: needed - 1, needed_len: needed }]);
    let text = problems[0].to_string();
    assert!(text.contains("ulimit -l 99328") && text.contains("LimitMEMLOCK=101711872"), "{text}");
}

#[test]
fn too_little_locked_memory_is_fatal_only_below_what_an_executor_locks_itself() {
    let fatal = |found_len| HostProblem::LockedMemory { found_len, needed_len: 1 << 30 }.is_fatal();
    assert!(fatal(65_536));
    assert!(!fatal(512 << 10));
    assert!(!fatal(8 << 20));
}

#[test]
fn a_fatal_limit_is_told_with_the_least_that_would_do() {
    let text = HostProblem::LockedMemory { found_len: 65_536, needed_len: 1 << 30 }.to_string();
    assert!(text.contains("ulimit -l 512,") && text.contains("LimitMEMLOCK=524288") && !text.contains("1048576"), "{text}");
}

#[test]
fn too_few_descriptors_name_the_limit() {
    let problems = judge_host(&HostReadings { descriptor_count: 1024, ..good() }, &NEEDS);
    assert_eq!(problems, [HostProblem::Descriptors { found: 1024, needed: 4096 }]);
    assert!(problems[0].to_string().contains("ulimit -n 4096"));
}

#[test]
fn problems_are_told_together() {
    let bad = HostReadings {
        kernel: kernel("5.4.0"),
        io_uring: IoUringReading::Forbidden { sysctl: 2 },
        memlock_len: Some(65536),
        descriptor_count: 256,
    };
    assert_eq!(judge_host(&bad, &NEEDS).len(), 4);
}

#[test]
fn this_host_can_be_read_and_runs_io_uring() {
    let found = HostReadings::read().expect("readings");
    assert_eq!(found.io_uring, IoUringReading::Available);
    assert!(found.kernel >= KERNEL_MIN, "{found:?}");
    assert!(raise_descriptor_limit().expect("a limit") <= found.descriptor_count);
}
