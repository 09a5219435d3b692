//! Where a broker must not start, and how it stops.

mod common;

use common::{Broker, folder, run, sluice};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

fn serve(data_dir: &Path, address: &str) -> Command {
    let mut command = sluice();
    command.args(["serve", "--shards", "1", "--listen", address, "--data-dir"]).arg(data_dir);
    command
}

#[test]
fn a_port_in_use_is_named() {
    let folder = folder();
    let port = common::free_port();
    let _taken = TcpListener::bind(("127.0.0.1", port)).unwrap();
    let address = format!("127.0.0.1:{port}");
    run(&mut serve(&folder.path().join("data"), &address)).expect(76, &[&address, "in use"]);
}

#[test]
fn a_folder_in_use_by_another_broker_is_named_with_its_process() {
    let folder = folder();
    let broker = Broker::start(folder.path());
    let address = format!("127.0.0.1:{}", common::free_port());
    run(&mut serve(folder.path(), &address)).expect(75, &["in use by another broker", "process"]);
    run(sluice().args(["log", "verify"]).arg(&broker.data_dir)).expect(75, &["stop the broker first"]);
}

#[test]
fn a_log_that_cannot_be_written_ends_no_broker() {
    let (folder, address) = (folder(), format!("127.0.0.1:{}", common::free_port()));
    let full = || std::fs::File::options().write(true).open("/dev/full").expect("a device that is always full");
    let taken = TcpListener::bind(&address).unwrap();
    let status = serve(&folder.path().join("data"), &address).stderr(full()).status().unwrap();
    assert_eq!(status.code(), Some(76), "a failure keeps its status");
    drop(taken);

    let mut broker = serve(&folder.path().join("data"), &address).stderr(full()).spawn().unwrap();
    let began = std::time::Instant::now();
    while run(sluice().args(["topic", "list", "--broker", &address])).status != Some(0) {
        assert!(broker.try_wait().unwrap().is_none(), "the broker ended");
        assert!(began.elapsed() < common::PATIENCE, "the broker does not serve");
    }
    common::terminate(&broker);
    assert_eq!(broker.wait().unwrap().code(), Some(0));
}

#[test]
fn a_read_only_folder_is_named() {
    let folder = folder();
    let data_dir = folder.path().join("data");
    std::fs::create_dir(&data_dir).unwrap();
    let address = format!("127.0.0.1:{}", common::free_port());
    std::fs::set_permissions(&data_dir, std::fs::Permissions::from_mode(0o555)).unwrap();
    if std::fs::write(data_dir.join("probe"), b"").is_ok() {
        // Root writes anywhere but to a file system mounted read-only, as /proc is for folders.
        std::fs::remove_file(data_dir.join("probe")).unwrap();
        run(&mut serve(Path::new("/proc/sluice"), &address)).expect(74, &["/proc/sluice"]);
    } else {
        run(&mut serve(&data_dir, &address)).expect(74, &[data_dir.to_str().unwrap(), "right to write"]);
    }
}

#[test]
fn tmpfs_is_refused() {
    let shm = Path::new("/dev/shm");
    assert!(shm.is_dir(), "this test needs a tmpfs at {}", shm.display());
    let folder = tempfile::tempdir_in(shm).unwrap();
    let address = format!("127.0.0.1:{}", common::free_port());
    run(&mut serve(folder.path(), &address)).expect(74, &["tmpfs"]);
    // An existing folder is only looked at.
    let (data_dir, journal_dir) = (folder.path().join("new/data"), folder.path().join("new/journal"));
    run(&mut serve(&data_dir, &address)).expect(74, &["tmpfs", data_dir.to_str().unwrap()]);
    let on_disk = common::folder();
    run(serve(&on_disk.path().join("data"), &address).arg("--journal-dir").arg(&journal_dir)).expect(74, &["tmpfs"]);
    run(sluice().args(["demo", "--data-dir"]).arg(folder.path())).expect(74, &["tmpfs"]);
    let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().collect();
    assert!(left.is_empty(), "nothing is made in memory: {left:?}");
}

#[test]
fn too_little_locked_memory_is_refused_with_the_limit_to_raise() {
    let folder = folder();
    let mut limited = std::process::Command::new("sh");
    limited.args(["-c", "ulimit -l 64 && exec \"$0\" serve --data-dir \"$1\" --listen \"$2\""]).arg(env!("CARGO_BIN_EXE_sluice"));
    limited.arg(folder.path().join("data")).arg(format!("127.0.0.1:{}", common::free_port()));
    run(&mut limited).expect(72, &["locked memory is 64 KiB", "ulimit -l 512", "LimitMEMLOCK=524288"]);
}

#[test]
fn the_locked_memory_that_the_refusal_asks_for_is_enough() {
    let folder = folder();
    let mut wrapped = std::process::Command::new("sh");
    // Root may lock what it likes, and gives that right up first.
    let script = "ulimit -l 512 && if [ \"$(id -u)\" = 0 ]; then exec setpriv --bounding-set -ipc_lock --inh-caps -ipc_lock \"$@\"; fi; exec \"$@\"";
    wrapped.args(["-c", script, "sh", env!("CARGO_BIN_EXE_sluice")]);
    let mut broker = Broker::start_by(wrapped, folder.path(), &format!("127.0.0.1:{}", common::free_port()), &[]);
    assert_eq!(broker.terminate(), Some(0));
}

#[test]
fn a_forbidden_io_uring_is_refused_with_what_to_allow() {
    let folder = folder();
    let address = format!("127.0.0.1:{}", common::free_port());
    let mut forbidden = serve(&folder.path().join("data"), &address);
    // SAFETY: between fork and exec only two prctl calls are made, which allocate nothing and take no locks.
    unsafe { forbidden.pre_exec(forbid_io_uring) };
    run(&mut forbidden).expect(73, &["io_uring", "seccomp"]);
}

/// What the default seccomp profile of a container does: `io_uring_setup` fails with EPERM in this process.
fn forbid_io_uring() -> std::io::Result<()> {
    const OFFSET_OF_CALL_NUMBER: u32 = 0;
    let step = |code: u32, jt: u8, jf: u8, k: u32| libc::sock_filter { code: code as u16, jt, jf, k };
    let mut filter = [
        step(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, OFFSET_OF_CALL_NUMBER),
        step(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 0, 1, libc::SYS_io_uring_setup as u32),
        step(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ERRNO | libc::EPERM as u32),
        step(libc::BPF_RET | libc::BPF_K, 0, 0, libc::SECCOMP_RET_ALLOW),
    ];
    let program = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_mut_ptr() };
    // SAFETY: the program and its filter live until the calls return; the kernel copies both.
    let failed = unsafe {
        libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0
            || libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program) != 0
    };
    if failed { Err(std::io::Error::last_os_error()) } else { Ok(()) }
}

#[test]
fn a_folder_of_a_newer_version_is_left_alone() {
    let folder = folder();
    let mut broker = Broker::start(folder.path());
    assert_eq!(broker.terminate(), Some(0));
    let meta = folder.path().join("meta.json");
    let newer = std::fs::read_to_string(&meta).unwrap().replacen("\"format_version\": 1", "\"format_version\": 99", 1);
    let newer = newer.replacen("\"format_version\":1", "\"format_version\":99", 1);
    std::fs::write(&meta, &newer).unwrap();
    let address = broker.address.clone();
    run(&mut serve(folder.path(), &address)).expect(74, &["version 99", "newer"]);
    assert_eq!(std::fs::read_to_string(&meta).unwrap(), newer);
}

#[test]
fn a_file_where_the_folder_should_be_is_named() {
    let folder = folder();
    let file = folder.path().join("file");
    std::fs::write(&file, b"x").unwrap();
    let address = format!("127.0.0.1:{}", common::free_port());
    run(&mut serve(&file, &address)).expect(74, &[file.to_str().unwrap()]);
}

#[test]
fn it_stops_cleanly_and_comes_back_at_once() {
    let folder = folder();
    let mut broker = Broker::start(folder.path());
    broker.create_topic("t", 2);
    assert_eq!(broker.terminate(), Some(0));
    let address = broker.address.clone();
    let broker = Broker::start_at(folder.path(), &address, &[]);
    let listed = run(&mut broker.command(&["topic", "list", "--json"])).expect(0, &[]);
    assert!(listed.stdout.contains("\"t\""), "{}", listed.stdout);
}
