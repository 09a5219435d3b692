use std::cell::Cell;

use sluice_bench::peer::names::Flush;
use sluice_bench::system::AcksAsked;

use super::*;
use crate::peer::{StartPlan, Started};

/// A peer whose installation fails as often as it is told to.
struct Pretended {
    version: &'static str,
    failures: Cell<u32>,
    installed: Cell<u32>,
}

impl Pretended {
    fn new(version: &'static str, failures: u32) -> Self {
        Self { version, failures: Cell::new(failures), installed: Cell::new(0) }
    }
}

impl Peer for Pretended {
    fn name(&self) -> &'static str {
        "redis"
    }

    fn version(&self) -> &'static str {
        self.version
    }

    fn install(&self, into: &Path, _: Say<'_>) -> Result<(), BenchError> {
        fs::write(into.join("half"), "").expect("an empty folder that can be written to");
        self.installed.set(self.installed.get() + 1);
        if self.failures.get() > 0 {
            self.failures.set(self.failures.get() - 1);
            return Err(BenchError::Option { problem: "no network".to_owned() });
        }
        Ok(())
    }

    fn acknowledgement(&self, _: Flush, _: AcksAsked) -> Option<(String, bool)> {
        None
    }

    fn settings(&self, _: &Path, _: Flush) -> String {
        String::new()
    }

    fn start(&self, _: &StartPlan<'_>) -> Result<Started, BenchError> {
        Err(BenchError::Option { problem: "a pretended peer has no server".to_owned() })
    }
}

fn names(path: &Path) -> Vec<String> {
    let entries = fs::read_dir(path).expect("the folder").flatten();
    let mut names: Vec<String> = entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

#[test]
fn an_installation_is_whole_or_not_there() {
    let scratch = tempfile::tempdir().expect("a folder");
    let path = scratch.path().join("deep/er");
    let folder = PeersFolder::open(&path).expect("a new folder");
    let peer = Pretended::new("1.0", 1);
    let mut said = Vec::new();
    let missing = folder.installed(&peer).expect_err("it is not there").to_string();
    assert!(missing.contains("install --peer redis"), "{missing}");
    let failed = folder.install(&peer, &mut |line| said.push(line.to_owned())).expect_err("it fails once");
    assert_eq!(failed.to_string(), "no network");
    assert_eq!(names(&path), ["LAYOUT"], "nothing is left of what is not whole");
    for _ in 0..2 {
        folder.install(&peer, &mut |line| said.push(line.to_owned())).expect("it is there");
    }
    assert_eq!(peer.installed.get(), 2, "what is there is not installed again");
    folder.install(&Pretended::new("2.0", 0), &mut |_| {}).expect("another version beside it");
    assert_eq!(names(&path), ["LAYOUT", "redis-1.0", "redis-2.0"]);
    assert!(said.iter().any(|line| line.starts_with("installing redis 1.0 into")), "{said:?}");
}

#[test]
fn a_folder_of_another_version_is_refused_by_name() {
    let scratch = tempfile::tempdir().expect("a folder");
    PeersFolder::open(scratch.path()).expect("a new folder");
    PeersFolder::open(scratch.path()).expect("its own folder");
    fs::write(scratch.path().join(LAYOUT_FILE), "sluice-bench-peers 99\n").expect("a file");
    let refused = PeersFolder::open(scratch.path()).expect_err("another version's").to_string();
    assert!(refused.contains("sluice-bench-peers 99") && refused.contains("--peers-dir"), "{refused}");
    let file = scratch.path().join("file");
    fs::write(&file, "").expect("a file");
    assert!(PeersFolder::open(&file).is_err());
}

#[test]
fn a_server_that_does_not_start_is_said() {
    let scratch = tempfile::tempdir().expect("a folder");
    let peer = Box::new(Pretended::new("1.0", 0));
    let data_dir = scratch.path().join("data");
    let mut session = crate::session::Session::new(peer, Flush::Later, scratch.path().to_path_buf(), data_dir);
    assert_eq!(session.hello().system, "redis-unflushed");
    let workload = sluice_bench::workload::find("spike").expect("a workload").remove(0);
    let answer = session.measure(&workload, &sluice_bench::Stop::default());
    let sluice_bench::peer::messages::Answer::Unstarted { because } = answer else { panic!("{answer:?}") };
    assert_eq!(because, "a pretended peer has no server");
}
