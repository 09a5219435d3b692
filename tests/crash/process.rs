//! The broker as a process of its own, which may be killed, stopped or frozen at any moment of its life.

use crate::common::{PATIENCE, free_port, sluice};
use std::ffi::OsString;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// Small and restless: segments roll, checkpoints are written and journal files recycled many times a second.
const SETTINGS: [&str; 6] = [
    "checkpoint_interval_ms=40",
    "write_back_interval_ms=20",
    "journal_file_len=9MiB",
    "journal_file_count=3",
    "tail_budget_len=17MiB",
    "journal_buffer_budget_len=17MiB",
];

/// The folder and address a broker is started on again and again.
pub(crate) struct Home {
    folder: tempfile::TempDir,
    data_dir: PathBuf,
    pub(crate) port: u16,
    starts: u32,
    pub(crate) environment: Vec<(&'static str, OsString)>,
}

/// One life of a broker.
pub(crate) struct Life {
    child: Child,
    log: PathBuf,
    began: Instant,
}

impl Home {
    pub(crate) fn new() -> Self {
        let folder = crate::common::folder();
        let data_dir = folder.path().join("data");
        Self { folder, data_dir, port: free_port(), starts: 0, environment: Vec::new() }
    }

    /// With the data on another file system than the logs.
    pub(crate) fn with_data_dir(data_dir: PathBuf) -> Self {
        let mut home = Self::new();
        home.data_dir = data_dir;
        home
    }

    /// For what a test needs beside the broker's own.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn data_dir(&self) -> &Path {
        &self.data_dir
    }

    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Begins a life and does not wait for anything.
    pub(crate) fn spawn(&mut self, shards: u32) -> Life {
        self.starts += 1;
        let log = self.folder.path().join(format!("broker-{}.log", self.starts));
        let mut command = sluice();
        command.args(["serve", "--log-format", "json", "--shards", &shards.to_string(), "--listen", &self.address()]);
        command.arg("--data-dir").arg(&self.data_dir).args(SETTINGS.iter().flat_map(|setting| ["--set", setting]));
        command.envs(self.environment.iter().cloned());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(File::create(&log).expect("a log file can be made"));
        Life { child: command.spawn().expect("the binary runs"), log, began: Instant::now() }
    }

    /// Begins a life and waits until it serves.
    pub(crate) fn start(&mut self, shards: u32) -> Life {
        let mut life = self.spawn(shards);
        life.wait_until_serving();
        life
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.folder.disable_cleanup(true);
            eprintln!("the broker's folder and logs are kept in {}", self.folder.path().display());
        }
    }
}

impl Life {
    /// How long it took.
    pub(crate) fn wait_until_serving(&mut self) -> Duration {
        self.wait_until_said("\"serving\"");
        self.began.elapsed()
    }

    pub(crate) fn wait_until_said(&mut self, words: &str) {
        while !self.said().contains(words) {
            let ended = self.child.try_wait().expect("a child can be asked");
            assert!(ended.is_none(), "the broker ended by itself ({ended:?}): {}", self.said());
            assert!(self.began.elapsed() < PATIENCE, "the broker does not say {words}: {}", self.said());
            std::thread::sleep(Duration::from_millis(3));
        }
    }

    pub(crate) fn said(&self) -> String {
        fs::read_to_string(&self.log).expect("the log can be read")
    }

    /// kill -9. Fails when the broker has ended by itself before, or called something an error.
    pub(crate) fn kill(mut self) {
        let ended = self.child.try_wait().expect("a child can be asked");
        assert!(ended.is_none(), "the broker ended by itself ({ended:?}): {}", self.said());
        self.end_now();
        self.assert_no_errors();
    }

    /// kill -9 of one that may have stopped by itself, as it was asked to.
    pub(crate) fn kill_while_it_stops(mut self) {
        self.end_now();
        self.assert_no_errors();
    }

    fn end_now(&mut self) -> ExitStatus {
        // The pid is ours until the child has been waited for.
        self.child.kill().expect("a child can be killed");
        self.child.wait().expect("a child can be waited for")
    }

    pub(crate) fn signal(&self, signal: &str) {
        let status = Command::new("kill").args([signal, &self.child.id().to_string()]).status().expect("kill exists");
        assert!(status.success(), "the broker is still there");
    }

    /// SIGTERM, and a clean end.
    pub(crate) fn stop(mut self) {
        self.signal("-TERM");
        let status = self.child.wait().expect("a child can be waited for");
        assert_eq!(status.code(), Some(0), "{}", self.said());
        self.assert_no_errors();
    }

    /// The status it ends with by itself.
    pub(crate) fn wait(mut self) -> (ExitStatus, String) {
        let status = self.child.wait().expect("a child can be waited for");
        (status, self.said())
    }

    fn assert_no_errors(&self) {
        let said = self.said();
        assert!(!said.contains("\"level\":\"ERROR\"") && !said.contains("panicked"), "a killed process damages nothing: {said}");
    }
}

impl Drop for Life {
    fn drop(&mut self) {
        let _already_gone = self.child.kill();
        let _already_reaped = self.child.wait();
    }
}
