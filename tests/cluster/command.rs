//! `sluice cluster dev` and the commands that look at a cluster, as a user runs them.

use crate::common::{PATIENCE, Watched, folder, free_port, run, sluice, terminate};
use serde_json::Value;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Instant;

/// A `cluster dev` that runs.
struct Dev {
    child: Child,
    document: Value,
    said: Receiver<String>,
    _watched: Watched,
}

impl Dev {
    /// Starts it and waits until it says that all are active.
    fn start(data_dir: &Path, args: &[&str]) -> Self {
        let mut command = sluice();
        command.args(["cluster", "dev", "--json", "--data-dir"]).arg(data_dir).args(args);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary runs");
        let watched = Watched::new(&child);
        let said = lines(child.stderr.take().expect("stderr is piped"));
        let mut dev = Self { child, document: Value::Null, said, _watched: watched };
        dev.wait_until_said("are active");
        let mut stdout = dev.child.stdout.take().expect("stdout is piped");
        let mut text = Vec::new();
        let document = loop {
            let mut some = [0; 4096];
            let len = stdout.read(&mut some).expect("stdout is readable");
            text.extend_from_slice(&some[..len]);
            if let Ok(document) = serde_json::from_slice(&text) {
                break document;
            }
            assert!(len > 0, "no JSON: {}", String::from_utf8_lossy(&text));
        };
        dev.document = document;
        dev
    }

    fn broker(&self, number: usize) -> &Value {
        &self.document["brokers"][number]
    }

    fn text(&self, number: usize, name: &str) -> &str {
        self.broker(number)[name].as_str().unwrap_or_else(|| panic!("{name} of {}", self.document))
    }

    fn addresses(&self) -> String {
        (0..3).map(|number| self.text(number, "address")).collect::<Vec<_>>().join(",")
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = sluice();
        command.args(args).args(["--broker", &self.addresses()]);
        command
    }

    fn wait_until_said(&self, words: &str) -> String {
        let mut all = String::new();
        while !all.contains(words) {
            let line = self.said.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("it does not say {words:?}: {all}"));
            all.push_str(&line);
            all.push('\n');
        }
        all
    }

    /// SIGTERM ends it and all that it started.
    fn stop(mut self) {
        terminate(&self.child);
        let status = self.child.wait().expect("a child can be waited for");
        assert_eq!(status.code(), Some(0), "{:?}", self.said.iter().collect::<Vec<_>>());
        for number in 0..3 {
            let pid = self.broker(number)["pid"].as_u64().expect("a number");
            assert!(!runs_this_program(pid), "broker {} was left behind", number + 1);
        }
    }
}

impl Drop for Dev {
    fn drop(&mut self) {
        let _already_gone = self.child.kill();
        let _already_reaped = self.child.wait();
    }
}

fn lines(pipe: ChildStderr) -> Receiver<String> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || BufReader::new(pipe).lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
    receiver
}

/// Numbers of processes are used again, but not for a broker.
fn runs_this_program(pid: u64) -> bool {
    std::fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| String::from_utf8_lossy(&line).contains("serve"))
}

fn kill_9(pid: &Value) {
    let status = Command::new("kill").args(["-KILL", &pid.to_string()]).status().expect("kill exists");
    assert!(status.success(), "{pid} is there");
}

#[test]
fn a_cluster_on_one_machine_outlives_a_broker_and_is_taken_up_again() {
    let folder = folder();
    let data_dir = folder.path().join("play");
    let port = free_port().to_string();
    let dev = Dev::start(&data_dir, &["--port", &port]);
    assert_eq!(dev.document["brokers"].as_array().map(Vec::len), Some(3), "{}", dev.document);

    run(&mut dev.command(&["topic", "create", "orders", "--partitions", "3"])).expect(0, &[]);
    run(&mut dev.command(&["cluster", "health", "--wait", "60s"])).expect(0, &[]);
    let described = run(&mut dev.command(&["topic", "describe", "orders", "--json"])).expect(0, &[]);
    let described: Value = serde_json::from_str(&described.stdout).expect("JSON");
    for partition in described["partitions"].as_array().expect("partitions") {
        assert_eq!(partition["replicas"].as_array().map(Vec::len), Some(3), "three replicas are the default: {partition}");
        assert_eq!(partition["in_sync"].as_array().map(Vec::len), Some(3), "{partition}");
    }
    let status = run(&mut dev.command(&["cluster", "status"])).expect(0, &[]).stdout;
    assert!(status.contains("is the controller") && status.contains(dev.text(2, "address")), "{status}");

    kill_9(&dev.broker(1)["pid"]);
    let said = dev.wait_until_said("sluice serve --config");
    assert!(said.contains("broker 2") && said.contains("signal 9"), "{said}");
    assert!(said.contains(dev.text(1, "settings")), "it says how to start it again: {said}");
    // It takes a lease until the others know.
    let began = Instant::now();
    while run(&mut dev.command(&["cluster", "health"])).status != Some(9) {
        assert!(began.elapsed() < PATIENCE, "a broker that is dead is not missed");
    }
    run(&mut dev.command(&["cluster", "health"])).expect(9, &["broker 2, which votes, is fenced"]);
    let mut produce = dev.command(&["produce", "orders"]);
    let mut produce = produce.stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary runs");
    std::io::Write::write_all(&mut produce.stdin.take().expect("stdin is piped"), b"one\ntwo\nthree\n").expect("a pipe takes it");
    assert!(produce.wait().expect("a child can be waited for").success(), "two of three are enough");

    // As it said.
    let settings = dev.text(1, "settings").to_owned();
    let mut again = sluice().args(["serve", "--config", &settings]).stderr(Stdio::null()).spawn().expect("the binary runs");
    run(&mut dev.command(&["cluster", "health", "--wait", "60s"])).expect(0, &[]);
    run(&mut dev.command(&["topic", "elect", "orders"])).expect(0, &["3 partition(s)"]);
    terminate(&again);
    assert_eq!(again.wait().expect("a child can be waited for").code(), Some(0));
    let addresses = dev.addresses();
    dev.stop();

    let dev = Dev::start(&data_dir, &[]);
    assert_eq!(dev.addresses(), addresses, "the same ports");
    run(&mut dev.command(&["cluster", "health", "--wait", "60s"])).expect(0, &[]);
    let read = run(&mut dev.command(&["consume", "orders", "--until-end"])).expect(0, &[]);
    let mut lines: Vec<_> = read.stdout.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, ["one", "three", "two"], "the same records");
    dev.stop();
}

#[test]
fn a_cluster_is_not_begun_in_memory() {
    let shm = tempfile::tempdir_in("/dev/shm").expect("this test needs a tmpfs at /dev/shm");
    let data_dir = shm.path().join("play");
    run(sluice().args(["cluster", "dev", "--data-dir"]).arg(&data_dir)).expect(74, &["tmpfs"]);
    assert!(!data_dir.exists(), "nothing is made in memory");
}
