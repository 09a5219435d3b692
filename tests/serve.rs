//! Where a broker must not start, and how it stops.

mod common;

use common::{Broker, folder, run, sluice};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
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
    if !shm.is_dir() {
        return;
    }
    let folder = tempfile::tempdir_in(shm).unwrap();
    let address = format!("127.0.0.1:{}", common::free_port());
    run(&mut serve(folder.path(), &address)).expect(74, &["tmpfs"]);
    run(sluice().args(["demo", "--data-dir"]).arg(folder.path())).expect(74, &["tmpfs"]);
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
