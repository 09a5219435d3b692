//! A shard that takes long to recover keeps no other from serving, and says of its own partitions that they are not ready.
//!
//! What makes it slow is real: a lease on a file of its journal, so that the kernel holds up the broker's open of it until
//! the test lets go.

mod support;

use sluice_broker::{BrokerConfig, start, start_listening};
use sluice_model::ErrorCode;
use sluice_protocol::{DescribeMetricsRequest, DescribePartitionsRequest, InitProducerAnswer, InitProducerRequest, PartitionRef};
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::path::Path;
use support::{FrameSpec, RawClient, config, temp_dir};

const NOT_READY: u16 = ErrorCode::NotReady as u16;

/// Holds up whoever opens a file, for as long as it lives (and 45 s at most, by the kernel's default).
struct Lease(File);

impl Lease {
    fn take(path: &Path) -> Lease {
        let file = File::options().read(true).write(true).open(path).expect("the file is there");
        // SAFETY: ignoring a signal and asking for a lease on an open descriptor touch no memory. The kernel tells the
        // holder of a lease with SIGIO that somebody waits, which would end this process.
        let taken = unsafe {
            libc::signal(libc::SIGIO, libc::SIG_IGN);
            libc::fcntl(file.as_raw_fd(), libc::F_SETLEASE, libc::F_WRLCK)
        };
        assert_eq!(taken, 0, "no lease on {}: {}", path.display(), io::Error::last_os_error());
        Lease(file)
    }

    /// Somebody waits for it.
    fn is_wanted(&self) -> bool {
        // SAFETY: asks for a number about an open descriptor.
        unsafe { libc::fcntl(self.0.as_raw_fd(), libc::F_GETLEASE) != libc::F_WRLCK }
    }
}

/// What a shard says of one of its partitions, by produce and by fetch.
fn codes(client: &mut RawClient, topic: [u8; 16], partition: u32) -> (u16, u16) {
    let produced = client.produce(&FrameSpec { partition, ..FrameSpec::new(topic, &[b"v"]) });
    let (fetched, _) = client.fetch(topic, partition, 0);
    (produced.error, fetched.partitions[0].error)
}

#[test]
fn a_shard_that_recovers_keeps_no_other_from_serving() {
    let dir = temp_dir();
    let two_shards = || BrokerConfig { shards: Some(2), ..config(dir.path()) };
    let first = start(two_shards()).expect("the broker starts");
    let mut clients: Vec<RawClient> = first.local_addrs().iter().map(|address| RawClient::connect(*address)).collect();
    let old = clients[0].create_topic("old", 4);
    let places: Vec<(u32, usize)> =
        clients[0].metadata("old").topics[0].partitions.iter().map(|p| (p.partition, usize::from(p.shard))).collect();
    for &(partition, shard) in &places {
        assert_eq!(codes(&mut clients[shard], old, partition), (0, 0));
    }
    drop(clients);
    first.shutdown().expect("a clean stop");

    let lease = Lease::take(&dir.path().join("journal/shard-1/0000.journal"));
    let broker = start_listening(two_shards()).expect("both shards listen");
    let mut clients: Vec<RawClient> = broker.local_addrs().iter().map(|address| RawClient::connect(*address)).collect();
    // Shard 0 is open soon, shard 1 not before the lease is given up.
    let (healthy, slow): (Vec<_>, Vec<_>) = places.iter().partition(|(_, shard)| *shard == 0);
    assert!(!healthy.is_empty() && !slow.is_empty(), "{places:?}");
    for &(partition, _) in &healthy {
        while codes(&mut clients[0], old, partition) != (0, 0) {
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
    }
    while !lease.is_wanted() {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    for &(partition, _) in &slow {
        assert_eq!(codes(&mut clients[1], old, partition), (NOT_READY, NOT_READY), "partition {partition} is not open");
        let partitions = vec![PartitionRef { topic_id: old, partition }];
        let described = clients[1].call(&DescribePartitionsRequest { partitions });
        assert_eq!(described.partitions[0].error, NOT_READY);
        assert_eq!(clients[1].call(&DescribeMetricsRequest {}).error, NOT_READY);
        let elsewhere = codes(&mut clients[0], old, partition).0;
        assert_eq!(elsewhere, ErrorCode::NotLeader as u16, "shard 0 still says where it is");
    }
    assert_eq!(clients[1].metadata("old").topics[0].partitions.len(), 4, "a shard that recovers knows the cluster");
    // Administration does not wait for the slow shard either; what it is to open, it opens later.
    let new = clients[1].create_topic("new", 2);
    // Producer ids are given out once it is known which ones the partitions of every shard know.
    let asked = clients[0].send(&InitProducerRequest {}, &[]);
    let new_places = clients[0].metadata("new").topics[0].partitions.clone();
    for place in &new_places {
        let expected = if place.shard == 0 { (0, 0) } else { (NOT_READY, NOT_READY) };
        assert_eq!(codes(&mut clients[usize::from(place.shard)], new, place.partition), expected);
    }
    assert!(lease.is_wanted(), "all of that while shard 1 was held up");

    drop(lease);
    let reports = broker.readiness().wait().expect("shard 1 comes up");
    let answered = clients[0].receive().expect("an answer");
    assert_eq!((answered.prefix.correlation_id, answered.decode::<InitProducerAnswer>().error), (asked, 0));
    assert_eq!(reports.iter().map(|report| report.shard.0).collect::<Vec<_>>(), [0, 1]);
    for &(partition, shard) in &places {
        assert_eq!(clients[shard].consume(old, partition, 0)[0], (0, b"v".to_vec()));
    }
    for place in &new_places {
        assert_eq!(codes(&mut clients[usize::from(place.shard)], new, place.partition), (0, 0));
    }
    drop(clients);
    broker.shutdown().expect("a clean stop");
}

#[test]
fn a_stop_while_a_shard_recovers_ends_cleanly_once_it_is_open() {
    let dir = temp_dir();
    let two_shards = || BrokerConfig { shards: Some(2), ..config(dir.path()) };
    start(two_shards()).expect("the broker starts").shutdown().expect("a clean stop");
    let lease = Lease::take(&dir.path().join("journal/shard-1/0000.journal"));
    let broker = start_listening(two_shards()).expect("both shards listen");
    while !lease.is_wanted() {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    let stopping = std::thread::spawn(move || broker.shutdown());
    drop(lease);
    stopping.join().expect("no panic").expect("a clean stop");
    let again = start(two_shards()).expect("the broker starts");
    assert!(again.report().iter().all(|report| report.is_clean() && report.entries_replayed == 0));
    again.shutdown().expect("a clean stop");
}

#[test]
fn a_shard_that_cannot_be_recovered_ends_the_start_with_its_reason() {
    let dir = temp_dir();
    let two_shards = || BrokerConfig { shards: Some(2), ..config(dir.path()) };
    start(two_shards()).expect("the broker starts").shutdown().expect("a clean stop");
    std::fs::remove_file(dir.path().join("journal/shard-1/0001.journal")).expect("the file is there");
    let error = start(two_shards()).err().expect("shard 1 has lost a file of its journal").to_string();
    assert!(error.contains("shard 1") && error.contains("0001.journal"), "{error}");
}
