//! What every end-to-end test needs: the real binary, a folder on a real device, a broker that can be killed.
#![allow(dead_code, reason = "each test file uses the part of it that it needs")]

use std::io::{BufRead, BufReader, Read};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

/// Nothing a test waits for takes this long on any machine; reached only when something hangs.
pub(crate) const PATIENCE: Duration = Duration::from_secs(150);

pub(crate) fn sluice() -> Command {
    Command::new(env!("CARGO_BIN_EXE_sluice"))
}

/// A fresh folder under the build's own folder, which is not tmpfs as `/tmp` may be.
pub(crate) fn folder() -> tempfile::TempDir {
    tempfile::Builder::new().prefix("e2e-").tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a temporary folder can be made")
}

/// A port nobody listens on, below those that kernels hand to outgoing connections.
pub(crate) fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let seed = u16::try_from(std::process::id() % 11_000).expect("a remainder fits");
    loop {
        let port = 20_000 + (seed + NEXT.fetch_add(7, Ordering::Relaxed)) % 11_000;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// Runs to the end and returns what was said.
pub(crate) fn run(command: &mut Command) -> Ended {
    Ended::of(output(command))
}

/// Runs to the end; killed when that does not come.
pub(crate) fn output(command: &mut Command) -> Output {
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary runs");
    let _watched = Watched::new(&child);
    child.wait_with_output().expect("a child can be waited for")
}

/// Kills a child that has not ended after `PATIENCE`; forgets it when dropped.
pub(crate) struct Watched(#[allow(dead_code, reason = "dropping it is its use")] Sender<()>);

impl Watched {
    pub(crate) fn new(child: &Child) -> Self {
        let (ended, watching) = channel();
        let pid = child.id().to_string();
        std::thread::spawn(move || {
            if watching.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout) {
                // The test sees a status without a code, and says what was printed.
                let _status = Command::new("kill").args(["-KILL", &pid]).status();
            }
        });
        Self(ended)
    }
}

/// A process that has ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) status: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ended {
    pub(crate) fn of(output: Output) -> Self {
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Self { status: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
    }

    /// Asserts the exit status and that every part is said on standard error.
    #[track_caller]
    pub(crate) fn expect(self, status: i32, parts: &[&str]) -> Self {
        assert_eq!(self.status, Some(status), "stdout: {}\nstderr: {}", self.stdout, self.stderr);
        for part in parts {
            assert!(self.stderr.contains(part), "standard error lacks {part:?}: {}", self.stderr);
        }
        self
    }
}

/// A broker in a process of its own, killed when dropped.
pub(crate) struct Broker {
    child: Child,
    pub(crate) address: String,
    pub(crate) data_dir: PathBuf,
    /// What it said until it served.
    pub(crate) said: String,
}

impl Broker {
    /// Starts one on a fresh port and waits until it serves.
    pub(crate) fn start(data_dir: &Path) -> Self {
        Self::start_at(data_dir, &format!("127.0.0.1:{}", free_port()), &[])
    }

    pub(crate) fn start_at(data_dir: &Path, address: &str, args: &[&str]) -> Self {
        Self::start_by(sluice(), data_dir, address, args)
    }

    /// `program` is the binary, or what runs it with the arguments that follow.
    pub(crate) fn start_by(mut program: Command, data_dir: &Path, address: &str, args: &[&str]) -> Self {
        let shards: &[&str] = if args.contains(&"--shards") { &[] } else { &["--shards", "1"] };
        let mut child = program
            .args(["serve", "--log-format", "json", "--listen", address, "--data-dir"])
            .arg(data_dir)
            .args(shards)
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary runs");
        let mut lines = BufReader::new(child.stderr.take().expect("stderr is piped"));
        let mut said = String::new();
        let began = Instant::now();
        loop {
            let mut line = String::new();
            let read = lines.read_line(&mut line).expect("stderr is readable");
            assert!(read > 0 && began.elapsed() < PATIENCE, "the broker did not start: {said}");
            if line.contains("\"serving\"") {
                break;
            }
            said.push_str(&line);
        }
        // Whatever it says later is read, so that it never waits for us.
        std::thread::spawn(move || std::io::copy(&mut lines, &mut std::io::sink()));
        Self { child, address: address.to_owned(), data_dir: data_dir.to_owned(), said }
    }

    /// kill -9, then a new start on the same folder and port.
    pub(crate) fn crash_and_restart(mut self) -> Self {
        self.kill();
        Self::start_at(&self.data_dir, &self.address, &[])
    }

    pub(crate) fn kill(&mut self) {
        self.child.kill().expect("a child can be killed");
        self.child.wait().expect("a child can be waited for");
    }

    /// SIGTERM; gives back its exit status.
    pub(crate) fn terminate(&mut self) -> Option<i32> {
        terminate(&self.child);
        self.child.wait().expect("a child can be waited for").code()
    }

    /// `sluice COMMAND… --broker` this one.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = sluice();
        command.args(args).args(["--broker", &self.address]);
        command
    }

    pub(crate) fn create_topic(&self, name: &str, partitions: u32) {
        run(&mut self.command(&["topic", "create", name, "--partitions", &partitions.to_string()])).expect(0, &[]);
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _already_gone = self.child.kill();
        let _already_reaped = self.child.wait();
    }
}

/// Sends SIGTERM.
pub(crate) fn terminate(child: &Child) {
    let status = Command::new("kill").args(["-TERM", &child.id().to_string()]).status().expect("kill exists");
    assert!(status.success(), "the child is still there");
}

/// Everything a pipe gives until its end.
pub(crate) fn read_all(mut pipe: impl Read) -> String {
    let mut text = String::new();
    pipe.read_to_string(&mut text).expect("text");
    text
}
