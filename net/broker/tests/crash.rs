//! A broker that is killed outright: what it acknowledged is there afterwards, once and in order.

mod support;

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use support::{FrameSpec, RawClient, start_in, temp_dir};

const DIR_VARIABLE: &str = "SLUICE_BROKER_TEST_DIR";
const ADDRESS_NAME: &str = "address-of-the-test";

/// Not a test: the process that is killed. It serves until then.
#[test]
#[ignore = "runs in a child process of the tests of this file"]
fn child_that_is_killed() {
    let Some(dir) = std::env::var_os(DIR_VARIABLE) else { return };
    let dir = Path::new(&dir);
    let broker = start_in(dir);
    let beside = dir.join("address-unfinished");
    fs::write(&beside, broker.local_addrs()[0].to_string()).expect("written");
    fs::rename(&beside, dir.join(ADDRESS_NAME)).expect("renamed");
    broker.wait().expect("never");
}

struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        self.0.kill().expect("killed");
        self.0.wait().expect("gone");
    }
}

fn start_child(dir: &Path) -> (Killed, SocketAddr) {
    let _absent_at_first = fs::remove_file(dir.join(ADDRESS_NAME));
    let program = std::env::current_exe().expect("this program");
    let mut command = Command::new(program);
    command.args(["--ignored", "--exact", "child_that_is_killed"]).env(DIR_VARIABLE, dir).stdout(Stdio::null());
    let mut child = Killed(command.spawn().expect("a child"));
    loop {
        if let Ok(address) = fs::read_to_string(dir.join(ADDRESS_NAME)) {
            return (child, address.parse().expect("an address"));
        }
        assert!(child.0.try_wait().expect("asked").is_none(), "the child ended while starting");
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
}

#[test]
fn what_was_acknowledged_before_a_kill_is_there_once_and_in_order() {
    let dir = temp_dir();
    let mut topic = [0; 16];
    let mut sequence = 0;
    for round in 0..6 {
        let (child, address) = start_child(dir.path());
        let mut client = RawClient::connect(address);
        if round == 0 {
            topic = client.create_topic("t", 1);
        }
        // The last frame of the round before may have been written without being acknowledged: it is sent again.
        for _ in 0..=40 * (round + 1) {
            let value = [&sequence.to_string().into_bytes()[..], &vec![b'.'; 700 * (sequence as usize % 40)]].concat();
            let produced = client.produce(&FrameSpec::new(topic, &[&value]).sequenced(9, 0, sequence));
            assert_eq!((produced.error, produced.base_offset), (0, sequence as u64), "{}", produced.text);
            sequence += 1;
        }
        let value = [&sequence.to_string().into_bytes()[..], &vec![b'.'; 700 * (sequence as usize % 40)]].concat();
        let spec = FrameSpec::new(topic, &[&value]).sequenced(9, 0, sequence);
        let bytes = support::frames::frame(&spec);
        client.send(&support::raw_client::produce_request(topic, 0, bytes.len()), &bytes);
        drop(child);
    }
    let broker = start_in(dir.path());
    assert!(broker.report()[0].is_clean(), "{}", broker.report()[0]);
    let mut client = RawClient::connect(broker.local_addrs()[0]);
    let read = client.consume(topic, 0, 0);
    assert!(read.len() == sequence as usize || read.len() == sequence as usize + 1, "{} of {sequence}", read.len());
    for (n, (offset, value)) in read.iter().enumerate() {
        let number = value.iter().take_while(|byte| **byte != b'.').copied().collect::<Vec<u8>>();
        assert_eq!((*offset, number), (n as u64, n.to_string().into_bytes()));
    }
    broker.shutdown().expect("a clean stop");
}
