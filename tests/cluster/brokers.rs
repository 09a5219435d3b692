//! Three brokers as processes, each with its folder, settings and log; any of them may be killed, frozen and started again.

use crate::common::{PATIENCE, folder, free_port, output, run, sluice};
use crate::network::Network;
use serde_json::Value;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

pub(crate) const BROKERS: u32 = 3;

/// Small and restless, as in `tests/crash/process.rs`.
const SETTINGS: &str = "
shards = 1
pin_shards = false
checkpoint_interval_ms = 100
write_back_interval_ms = 50
journal_file_len = \"9MiB\"
journal_file_count = 4
tail_budget_len = \"32MiB\"
journal_buffer_budget_len = \"17MiB\"
";

pub(crate) struct Brokers {
    folder: tempfile::TempDir,
    pub(crate) network: Option<Network>,
    addresses: Vec<String>,
    lives: Vec<Option<Child>>,
    starts: Vec<u32>,
}

impl Brokers {
    /// Three that have been told of each other; each in a network of its own, if one is given.
    pub(crate) fn start(network: Option<Network>) -> Self {
        let folder = folder();
        let host = |broker: u32| network.as_ref().map_or_else(|| "127.0.0.1".to_owned(), |network| network.address(broker));
        let addresses: Vec<_> = (1..=BROKERS).map(|broker| format!("{}:{}", host(broker), free_port())).collect();
        let controllers: Vec<_> = (1..=BROKERS).map(|broker| format!("{}:{}", host(broker), free_port())).collect();
        let secret = folder.path().join("secret");
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&secret).expect("a file can be made");
        writeln!(file, "{}", "0123456789abcdef".repeat(4)).expect("a file can be written");
        let voters: Vec<_> = (1..).zip(&controllers).map(|(id, address)| format!("\"{id}@{address}\"")).collect();
        let voters = voters.join(", ");
        let mut brokers =
            Self { folder, network, addresses, lives: (0..BROKERS).map(|_| None).collect(), starts: vec![0; BROKERS as usize] };
        for broker in 1..=BROKERS {
            let (listen, controller) = (brokers.address(broker), &controllers[broker as usize - 1]);
            let text = format!(
                "broker_id = {broker}\ncluster_voters = [{voters}]\ncluster_secret_file = {secret:?}\nlisten = \"{listen}\"\n\
                 controller_listen = \"{controller}\"\ndata_dir = {:?}\n{SETTINGS}",
                brokers.data_dir(broker),
            );
            fs::write(brokers.settings(broker), text).expect("settings can be written");
        }
        (1..=BROKERS).for_each(|broker| brokers.revive(broker));
        brokers.wait_until_healthy();
        brokers
    }

    pub(crate) fn address(&self, broker: u32) -> &str {
        &self.addresses[broker as usize - 1]
    }

    /// All of them, with commas.
    pub(crate) fn addresses(&self) -> String {
        self.addresses.join(",")
    }

    pub(crate) fn data_dir(&self, broker: u32) -> PathBuf {
        self.folder.path().join(format!("data-{broker}"))
    }

    fn settings(&self, broker: u32) -> PathBuf {
        self.folder.path().join(format!("broker-{broker}.toml"))
    }

    fn log(&self, broker: u32, start: u32) -> PathBuf {
        self.folder.path().join(format!("broker-{broker}-{start}.log"))
    }

    /// Starts one that does not run.
    pub(crate) fn revive(&mut self, broker: u32) {
        let index = broker as usize - 1;
        assert!(self.lives[index].is_none(), "broker {broker} runs");
        self.starts[index] += 1;
        let log = self.log(broker, self.starts[index]);
        let mut command = sluice();
        command.args(["serve", "--log-format", "json", "--config"]).arg(self.settings(broker));
        let mut command = match &self.network {
            // `ip netns exec` becomes the program that it runs: signals reach that.
            Some(network) => network.command(broker, &command),
            None => command,
        };
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(File::create(&log).expect("a log file can be made"));
        self.lives[index] = Some(command.spawn().expect("the binary runs"));
    }

    /// kill -9. Fails when it has ended by itself before.
    pub(crate) fn kill(&mut self, broker: u32) {
        self.assert_alive();
        let mut child = self.lives[broker as usize - 1].take().expect("it runs");
        child.kill().expect("a child can be killed");
        child.wait().expect("a child can be waited for");
        self.assert_no_errors(broker);
    }

    pub(crate) fn signal(&self, broker: u32, signal: &str) {
        let child = self.lives[broker as usize - 1].as_ref().expect("it runs");
        let status = Command::new("kill").args([signal, &child.id().to_string()]).status().expect("kill exists");
        assert!(status.success(), "broker {broker} is still there");
    }

    /// SIGTERM to all at once: whoever is left alone waits a while for somebody to hand its partitions to.
    pub(crate) fn stop_all(&mut self) {
        (1..=BROKERS).for_each(|broker| self.signal(broker, "-TERM"));
        (1..=BROKERS).for_each(|broker| self.wait_for_end(broker));
    }

    /// SIGTERM, and a clean end.
    pub(crate) fn stop(&mut self, broker: u32) {
        self.signal(broker, "-TERM");
        self.wait_for_end(broker);
    }

    fn wait_for_end(&mut self, broker: u32) {
        let mut child = self.lives[broker as usize - 1].take().expect("it runs");
        let began = Instant::now();
        let status = loop {
            if let Some(status) = child.try_wait().expect("a child can be asked") {
                break status;
            }
            assert!(began.elapsed() < PATIENCE, "broker {broker} does not stop: {}", self.said(broker));
            std::thread::sleep(Duration::from_millis(10));
        };
        assert_eq!(status.code(), Some(0), "broker {broker}: {}", self.said(broker));
        self.assert_no_errors(broker);
    }

    /// None has ended by itself.
    pub(crate) fn assert_alive(&mut self) {
        for broker in 1..=BROKERS {
            let Some(child) = self.lives[broker as usize - 1].as_mut() else { continue };
            let ended = child.try_wait().expect("a child can be asked");
            assert!(ended.is_none(), "broker {broker} ended by itself ({ended:?}): {}", self.said(broker));
        }
    }

    /// What it has said since its last start.
    pub(crate) fn said(&self, broker: u32) -> String {
        fs::read_to_string(self.log(broker, self.starts[broker as usize - 1])).unwrap_or_default()
    }

    fn assert_no_errors(&self, broker: u32) {
        let said = self.said(broker);
        let is_bad = |line: &&str| line.contains("\"level\":\"ERROR\"") || line.contains("panicked");
        if let Some(line) = said.lines().find(is_bad) {
            panic!("broker {broker} called this an error: {line}\nin {said}");
        }
    }

    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = sluice();
        command.args(args).args(["--broker", &self.addresses(), "--connect-timeout", "1s"]);
        command
    }

    /// Everybody is there and everything in sync.
    pub(crate) fn wait_until_healthy(&mut self) {
        let began = Instant::now();
        loop {
            let said = output(&mut self.command(&["cluster", "health"]));
            if said.status.success() {
                return;
            }
            self.assert_alive();
            let why = String::from_utf8_lossy(&said.stderr).into_owned();
            assert!(began.elapsed() < PATIENCE, "the cluster does not heal: {why}{}", self.last_words());
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    fn last_words(&self) -> String {
        let last = |broker| {
            let said = self.said(broker);
            let lines: Vec<_> = said.lines().collect();
            format!("\nbroker {broker}:\n{}", lines[lines.len().saturating_sub(12)..].join("\n"))
        };
        (1..=BROKERS).map(last).collect()
    }

    /// The broker that leads a partition, as far as anybody says.
    pub(crate) fn leader_of(&self, topic: &str, partition: usize) -> Option<u32> {
        let said = run(&mut self.command(&["topic", "describe", topic, "--json"]));
        let document: Value = serde_json::from_str(&said.stdout).ok()?;
        document["partitions"][partition]["leader"].as_u64().and_then(|leader| u32::try_from(leader).ok())
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }
}

impl Drop for Brokers {
    fn drop(&mut self) {
        for child in self.lives.iter_mut().flatten() {
            let _already_gone = child.kill();
            let _already_reaped = child.wait();
        }
        if std::thread::panicking() {
            self.folder.disable_cleanup(true);
            eprintln!("the brokers' folders and logs are kept in {}", self.folder().display());
        }
    }
}
