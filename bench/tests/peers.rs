//! The parent's side of peers, against a child that is a shell script: what a good one says reaches the results, and whatever a
//! bad one does is an outcome of its round, marked and in no figure. No peer and no package client is needed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::rc::Rc;

use sluice_bench::measurement::Measurement;
use sluice_bench::peer::messages::{Acknowledgement, Answer, CONVERSATION_VERSION, Hello};
use sluice_bench::peer::{PeerTarget, PeersProgram, open};
use sluice_bench::result::RoundOutcome;
use sluice_bench::run::Target;
use sluice_bench::system::AcksAsked;
use sluice_bench::{BenchError, BenchOptions, Stop, Workload, workload};
use sluice_tuning::ScratchFolder;

fn tmp(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("peers-{name}"));
    // What an earlier test process left there is of no use to anybody.
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).expect("a folder");
    folder
}

/// A program that does this, in sh; `$HELLO` and `$ROUND` are the answers of a good one.
fn program(folder: &Path, script: &str) -> PeersProgram {
    let hello = Hello {
        version: CONVERSATION_VERSION,
        system: "redis-unflushed".to_owned(),
        acknowledgements: vec![Acknowledgement { acks: AcksAsked::All, text: "in memory".to_owned(), flushed: Some(false) }],
        settings: "appendfsync everysec".to_owned(),
    };
    let measured = Measurement { reached_per_s: Some(7.0), notes: vec!["it's fine".to_owned()], ..Measurement::default() };
    let line = |answer: &Answer| serde_json::to_string(answer).expect("an answer").replace('\'', "'\\''");
    let (hello, round) = (line(&Answer::Hello(hello)), line(&Answer::Measured(Box::new(measured))));
    let (text, path) = (folder.join("script"), folder.join("program"));
    fs::write(&text, format!("#!/bin/sh\nHELLO='{hello}'\nROUND='{round}'\n{script}\n")).expect("a script");
    // By another process: a child that another test starts meanwhile would inherit a descriptor of ours that writes to it, and
    // the kernel runs no file that is open for writing.
    let installed = Command::new("install").args(["-m", "755"]).args([&text, &path]).status().expect("install of coreutils");
    assert!(installed.success(), "a program");
    PeersProgram { path, folder: folder.to_path_buf() }
}

fn target(name: &str, script: &str) -> Result<PeerTarget, BenchError> {
    let folder = tmp(name);
    let scratch = Rc::new(ScratchFolder::create(&folder).expect("a folder on a disk"));
    PeerTarget::open(&program(&folder, script), "redis-unflushed", &scratch)
}

fn load(name: &str) -> Workload {
    workload::find(name).expect("a workload").remove(0).lasting(0.01)
}

fn round(target: &mut PeerTarget) -> Measurement {
    target.measure(&load("spike"), &Stop::default()).expect("whatever happens is an outcome")
}

const GOOD: &str = r#"echo "$HELLO"; while read -r line; do echo "$ROUND"; done"#;

#[test]
fn what_a_child_says_is_what_was_measured() {
    let mut target = target("good", GOOD).expect("a child");
    assert_eq!((target.name(), target.settings().as_str()), ("redis-unflushed", "appendfsync everysec"));
    assert_eq!(target.acknowledgement(AcksAsked::All), ("in memory".to_owned(), Some(false)));
    for _ in 0..3 {
        let measured = round(&mut target);
        assert_eq!((measured.outcome, measured.reached_per_s), (RoundOutcome::Whole, Some(7.0)));
        assert_eq!(measured.notes, ["it's fine"]);
    }
    let can_run = ["spike", "idle", "memory", "acks-none", "restart"].map(|name| target.can_run(&load(name)));
    assert_eq!(can_run, [true, true, true, false, false], "neither a kill nor acknowledgements that it does not know");
}

#[test]
fn a_child_is_told_the_whole_workload_and_ends_with_its_standard_input() {
    let heard = tmp("heard-what").join("heard");
    let script = format!(
        r#"echo "$HELLO"; while read -r line; do echo "$line" >> {0}; echo "$ROUND"; done; echo over >> {0}"#,
        heard.display()
    );
    let mut target = target("heard", &script).expect("a child");
    round(&mut target);
    drop(target);
    let lines: Vec<String> = fs::read_to_string(&heard).expect("what it heard").lines().map(str::to_owned).collect();
    let expected = sluice_bench::peer::messages::Command::Measure(Box::new(load("spike")));
    assert_eq!(serde_json::from_str::<sluice_bench::peer::messages::Command>(&lines[0]).expect("a command"), expected);
    assert_eq!(lines[1..], ["over"]);
}

#[test]
fn a_child_that_breaks_is_an_outcome_and_the_next_round_has_a_new_one() {
    let scripts = [
        ("ends", r#"echo "$HELLO"; read -r line; exit 3"#, "exit status: 3"),
        ("killed", r#"echo "$HELLO"; read -r line; kill -9 $$"#, "signal: 9"),
        ("nonsense", r#"echo "$HELLO"; read -r line; echo 'Segmentation fault'; read -r line"#, "no answer"),
        ("hello-again", r#"echo "$HELLO"; read -r line; echo "$HELLO"; read -r line"#, "something else was due"),
    ];
    for (name, script, expected) in scripts {
        let mut target = target(name, script).expect("a child");
        for _ in 0..2 {
            let measured = round(&mut target);
            let because = measured.outcome_because.clone().expect("why");
            assert!(measured.outcome == RoundOutcome::BrokerDied && because.contains(expected), "{name}: {because}");
            assert_eq!(measured.reached_per_s, None, "{name}");
        }
    }
}

#[test]
fn a_server_that_does_not_start_is_tried_once() {
    let script = r#"echo "$HELLO"; read -r line; echo '{"unstarted":{"because":"no such port"}}'; read -r line"#;
    let mut target = target("unstarted", script).expect("a child");
    let (first, second) = (round(&mut target), round(&mut target));
    assert_eq!(first.outcome, RoundOutcome::BrokerDied);
    assert_eq!(first.outcome_because.as_deref(), Some("redis-unflushed does not start: no such port"));
    assert_eq!(second, first);
}

#[test]
fn a_wish_to_stop_is_passed_on_during_a_round() {
    let interrupted = r#"{"measured":{"outcome":"interrupted"}}"#;
    let script =
        format!(r#"echo "$HELLO"; read -r line; read -r second; [ "$second" = '"stop"' ] && echo '{interrupted}'; read -r line"#);
    let mut target = target("stop", &script).expect("a child");
    let stop = Stop::default();
    stop.ask();
    let measured = target.measure(&load("spike"), &stop).expect("an outcome");
    assert_eq!(measured.outcome, RoundOutcome::Interrupted);
}

#[test]
fn a_program_of_another_version_or_none_is_refused_before_anything_is_measured() {
    let version = serde_json::to_string(&CONVERSATION_VERSION).expect("numbers");
    let other = format!(
        r#"echo "$HELLO" | sed 's/"version":\{version_in_sed}/"version":[0,0]/'; read -r line"#,
        version_in_sed = version
    );
    for (name, script, expected) in [
        ("other-version", other.as_str(), "build it again"),
        ("silent", "exit 1", "exit status: 1"),
        ("talks", "echo usage; read -r line", "no answer"),
    ] {
        let problem = target(name, script).err().expect("no child").to_string();
        assert!(problem.contains(expected), "{name}: {problem}");
    }
}

#[test]
fn peers_are_checked_and_installed_before_anything_is_started() {
    let folder = tmp("install");
    let script = r#"echo "$@" >> "${0%program}asked"; [ "$1" = install ] && case "$*" in *nats*) echo 'nats cannot be had: no network' >&2; exit 1;; *) exit 0;; esac
shift; echo "$HELLO" | sed "s/redis-unflushed/$2/"; read -r line"#;
    let program = program(&folder, script);
    let options = |peers: &[&str]| BenchOptions {
        peers: peers.iter().map(|&peer| peer.to_owned()).collect(),
        peers_program: Some(program.path.clone()),
        peers_dir: Some(folder.join("peers")),
        data_dir: folder.join("data"),
        ..BenchOptions::default()
    };
    let names = |targets: Vec<Box<dyn Target>>| targets.iter().map(|target| target.name().to_owned()).collect::<Vec<_>>();
    assert_eq!(names(open(&options(&[])).expect("no peer is asked for")), [] as [&str; 0]);
    assert!(!folder.join("asked").exists(), "nothing is run for no peer");
    let both = names(open(&options(&["redis", "iggy"])).expect("two systems of each"));
    assert_eq!(both, ["redis", "redis-unflushed", "iggy", "iggy-unflushed"]);
    let asked = fs::read_to_string(folder.join("asked")).expect("what it was asked");
    let first = asked.lines().next().unwrap_or_default();
    assert!(first.starts_with("install --folder") && first.ends_with("--peer redis"), "{asked}");
    let without = open(&options(&["nats", "iggy"])).expect("the other one can be had");
    assert_eq!(without[0].missing(), Some("no network"));
    assert_eq!(names(without), ["nats", "iggy", "iggy-unflushed"]);
    for (peers, expected) in [(&["rediss"][..], "did you mean redis?"), (&["iggy", "iggy"][..], "once")] {
        let problem = open(&options(peers)).err().expect("refused").to_string();
        assert!(problem.contains(expected), "{problem}");
    }
    let nonsense = BenchOptions { rounds: 0, ..options(&["redis"]) };
    assert!(open(&nonsense).err().expect("refused").to_string().contains("--rounds"), "other options are looked at first");
}
