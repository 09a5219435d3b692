//! Every peer for real: installed, measured both ways through the parent's own side, its server killed in the middle, and
//! nothing left running. Peers go into `SLUICE_PEERS_DIR`, or a folder in `target`; one that cannot be had here is said aloud.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::rc::Rc;
use std::time::{Duration, Instant};

use sluice_bench::measurement::Measurement;
use sluice_bench::peer::names::{Flush, system_name};
use sluice_bench::peer::{PeerTarget, PeersProgram};
use sluice_bench::result::RoundOutcome;
use sluice_bench::run::Target;
use sluice_bench::{Stop, workload};
use sluice_tuning::ScratchFolder;

const PROGRAM: &str = env!("CARGO_BIN_EXE_sluice-bench-peers");

fn program() -> PeersProgram {
    let tmp = Path::new(env!("CARGO_TARGET_TMPDIR")).join("peers");
    let folder = std::env::var_os("SLUICE_PEERS_DIR").map_or(tmp, PathBuf::from);
    PeersProgram { path: PROGRAM.into(), folder }
}

fn measure(target: &mut PeerTarget, name: &str) -> Measurement {
    let workload = workload::find(name).expect("a workload").remove(0).lasting(0.3);
    assert!(target.can_run(&workload), "{name}");
    target.measure(&workload, &Stop::default()).expect("an outcome")
}

/// Children of children of this process that run `data_dir`'s server: found by its name in their working folder.
fn servers(data_dir: &Path) -> Vec<u32> {
    let entries = std::fs::read_dir("/proc").expect("/proc").flatten();
    let ids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    ids.filter(|id| std::fs::read_link(format!("/proc/{id}/cwd")).is_ok_and(|cwd| cwd.starts_with(data_dir))).collect()
}

fn check(peer: &str) {
    let program = program();
    if let Some(because) = program.install(peer).expect("the program runs") {
        eprintln!("SKIPPED: {peer} cannot be had here: {because}");
        return;
    }
    for flush in Flush::BOTH {
        let system = system_name(peer, flush);
        let scratch = Rc::new(ScratchFolder::create(Path::new(env!("CARGO_TARGET_TMPDIR"))).expect("a folder on a disk"));
        let data_dir = scratch.path().canonicalize().expect("its path");
        let mut target = PeerTarget::open(&program, &system, &scratch).expect("a child");
        for name in ["single-record", "partitions-64", "steady", "bulk", "acks-leader", "connections-1000", "idle"] {
            let measured = measure(&mut target, name);
            let because = measured.outcome_because.clone().unwrap_or_default();
            // A generator that is late on a loaded machine is no fault of the driver's.
            let is_whole = matches!(measured.outcome, RoundOutcome::Whole | RoundOutcome::GeneratorBehind);
            assert!(is_whole, "{system}, {name}: {because}");
            assert_eq!(
                (measured.failed_count, measured.timed_out_count),
                (0, 0),
                "{system}, {name}: {:?}",
                measured.failed_because
            );
            // More is asked for in bulk than is taken, and it has no time after its schedule: a slow machine may answer too late.
            if name != "bulk" {
                assert_eq!(measured.latencies.is_some(), name != "idle", "{system}, {name}");
            }
            assert!(measured.broker.memory.is_some(), "{system}, {name}");
            assert_eq!(measured.end_to_end.is_some(), name == "steady", "{system}, {name}");
        }
        let server = servers(&data_dir);
        assert_eq!(server.len(), 1, "one server of {system}: {server:?}");
        let killed = Command::new("kill").args(["-9", &server[0].to_string()]).status().expect("kill");
        assert!(killed.success());
        let died = measure(&mut target, "single-record");
        assert_eq!((died.outcome, died.latencies), (RoundOutcome::BrokerDied, None), "{system}");
        assert_eq!(measure(&mut target, "single-record").outcome, RoundOutcome::Whole, "{system} is started anew");
        drop(target);
        let give_up_at = Instant::now() + Duration::from_secs(20);
        while !servers(&data_dir).is_empty() {
            assert!(Instant::now() < give_up_at, "a server of {system} is left running");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

#[test]
fn iggy() {
    check("iggy");
}

#[test]
fn kafka() {
    check("kafka");
}

#[test]
fn nats() {
    check("nats");
}

#[test]
fn redis() {
    check("redis");
}
