//! Whole runs against a pretended broker: what is measured, that refusals are counted and sent again, and that a broker
//! which goes away or misbehaves is a failure. No assertion depends on how quick anything was.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use sluice_bench::{BenchError, BenchOptions, Report, Workload, run};
use sluice_model::ErrorCode;
use sluice_protocol::{
    Api, CreateTopicAnswer, CreateTopicRequest, DeleteTopicAnswer, Durability, HelloAnswer, Message, MetadataAnswer,
    MetadataRequest, PREFIX_LEN, PartitionMetadata, Prefix, ProduceAnswer, ProduceRequest, ProducedPartition, ShardAddress,
    TopicMetadata, decode, encode, supported_versions,
};

/// A broker in memory with one shard, whose only topic has as many partitions as was last asked for.
struct Pretended {
    port: u16,
    partition_count: AtomicU64,
    produce_count: AtomicU64,
    behaviour: Behaviour,
}

#[derive(Clone, Copy, PartialEq)]
enum Behaviour {
    Answers,
    /// Refuses every third produce for want of room, the first one too.
    RefusesSome,
    /// Says that it has only written to memory.
    AcknowledgesWeakly,
    /// Closes the connection at the hundredth produce.
    GoesAway,
}

fn start(behaviour: Behaviour) -> (String, Arc<Pretended>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("its address");
    let (partition_count, produce_count) = (AtomicU64::new(0), AtomicU64::new(0));
    let broker = Arc::new(Pretended { port: address.port(), partition_count, produce_count, behaviour });
    let shared = broker.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let broker = shared.clone();
            std::thread::spawn(move || broker.serve(stream));
        }
    });
    (address.to_string(), broker)
}

impl Pretended {
    fn serve(&self, mut stream: TcpStream) {
        let mut head = [0; PREFIX_LEN];
        while stream.read_exact(&mut head).is_ok() {
            let prefix = Prefix::parse(&head).expect("a good prefix");
            let mut rest = vec![0; prefix.rest_len()];
            if stream.read_exact(&mut rest).is_err() {
                return;
            }
            let Some(answer) = self.answer(&prefix, &rest[..prefix.body_len]) else { return };
            if stream.write_all(&answer).is_err() {
                return;
            }
        }
    }

    fn answer(&self, prefix: &Prefix, body: &[u8]) -> Option<Vec<u8>> {
        let id = prefix.correlation_id;
        Some(match prefix.api().expect("a known api") {
            Api::Hello => reply(id, &HelloAnswer { versions: supported_versions(), ..HelloAnswer::default() }),
            Api::CreateTopic => {
                let request = decode::<CreateTopicRequest>(body).expect("a valid body");
                self.partition_count.store(request.partitions.into(), Ordering::Relaxed);
                reply(id, &CreateTopicAnswer::default())
            }
            Api::DeleteTopic => reply(id, &DeleteTopicAnswer::default()),
            Api::Metadata => reply(id, &self.metadata(decode::<MetadataRequest>(body).expect("a valid body"))),
            Api::Produce => reply(id, &self.produced(decode::<ProduceRequest>(body).expect("a valid body"))?),
            other => panic!("a benchmark has no use for {other}"),
        })
    }

    fn metadata(&self, request: MetadataRequest) -> MetadataAnswer {
        let partition = |partition| PartitionMetadata { partition, leader: Some(1), ..PartitionMetadata::default() };
        let count = u32::try_from(self.partition_count.load(Ordering::Relaxed)).expect("a partition count");
        let name = request.topics.expect("a topic asked for by name").remove(0);
        let topic = TopicMetadata { name, partitions: (0..count).map(partition).collect(), ..TopicMetadata::default() };
        let shard = ShardAddress { broker_id: 1, shard: 0, host: "127.0.0.1".to_owned(), port: self.port };
        MetadataAnswer { shards: vec![shard], topics: vec![topic], ..MetadataAnswer::default() }
    }

    fn produced(&self, request: ProduceRequest) -> Option<ProduceAnswer> {
        let number = self.produce_count.fetch_add(1, Ordering::Relaxed);
        let (error, durability) = match self.behaviour {
            Behaviour::GoesAway if number >= 100 => return None,
            Behaviour::RefusesSome if number.is_multiple_of(3) => (ErrorCode::Overloaded, Durability::None),
            Behaviour::AcknowledgesWeakly => (ErrorCode::None, Durability::Flushed),
            _ => (ErrorCode::None, Durability::Committed),
        };
        let partition =
            ProducedPartition { error: error as u16, durability: durability as u8, retry_after_ms: 1, ..Default::default() };
        Some(ProduceAnswer { partitions: vec![partition; request.partitions.len()] })
    }
}

fn reply<M: Message>(correlation_id: u32, answer: &M) -> Vec<u8> {
    encode(correlation_id, 0, answer, 0).expect("a short answer").to_vec()
}

fn measure(name: &str, behaviour: Behaviour, workloads: &[Workload]) -> Result<Report, BenchError> {
    let (address, _broker) = start(behaviour);
    let options = BenchOptions {
        workloads: workloads.to_vec(),
        broker: Some(address),
        broker_pid: Some(std::process::id()),
        rounds: 2,
        seconds: 0.05,
        data_dir: Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("bench-{name}")),
        ..BenchOptions::default()
    };
    let mut steps = 0;
    let report = run(&options, &mut |progress| {
        assert!(progress.done < progress.total && progress.what.starts_with("round "), "{progress:?}");
        steps += 1;
    });
    assert!(steps > 0);
    let left_behind = std::fs::read_dir(&options.data_dir).expect("the data folder").count();
    assert_eq!(left_behind, 0, "scratch files are removed");
    report
}

fn result<'a>(report: &'a Report, workload: &str) -> &'a sluice_bench::WorkloadResult {
    report.results.iter().find(|result| result.workload == workload).expect("a result")
}

#[test]
fn closed_loops_are_compared_with_the_floor_and_bulk_with_the_raw_write() {
    let workloads = [Workload::SingleRecord, Workload::Partitions64, Workload::Bulk, Workload::Memory];
    let report = measure("all", Behaviour::Answers, &workloads).expect("a report");
    for (workload, yardstick) in [("single-record", "floor-asleep"), ("partitions-64", "floor-asleep"), ("bulk", "raw-write")] {
        let result = result(&report, workload);
        assert_eq!(result.yardstick.as_ref().map(|yardstick| yardstick.name.as_str()), Some(yardstick));
        assert!(result.ratio.is_some(), "{workload}");
        assert_eq!((result.round_count, result.refused_count), (2, 0));
        assert!(result.broker_cpu_s_per_gb.is_some() && result.broker_memory.is_some());
    }
    assert!(result(&report, "bulk").throughput_mb_s.is_some());
    assert!(report.results.iter().any(|result| result.workload == "probe" && result.latency_us.is_some()));
}

#[test]
fn what_is_refused_for_want_of_room_is_counted_and_sent_again() {
    let report = measure("refuses", Behaviour::RefusesSome, &[Workload::SingleRecord, Workload::Bulk]).expect("a report");
    for workload in ["single-record", "bulk"] {
        assert!(result(&report, workload).refused_count > 0, "{workload}");
    }
}

#[test]
fn a_broker_that_goes_away_is_a_failure() {
    for workload in [Workload::SingleRecord, Workload::Bulk] {
        let error = measure(workload.name(), Behaviour::GoesAway, &[workload]).expect_err("half a round is no round");
        assert!(matches!(error, BenchError::Connection { .. }), "{error}");
    }
}

#[test]
fn a_weaker_acknowledgement_is_never_counted() {
    let error = measure("weak", Behaviour::AcknowledgesWeakly, &[Workload::Partitions64]).expect_err("not what was asked for");
    assert!(matches!(error, BenchError::Protocol { .. }), "{error}");
}

#[test]
fn a_folder_in_memory_is_refused_before_anything_runs() {
    let options = BenchOptions { data_dir: "/dev/shm".into(), workloads: vec![Workload::Yardsticks], ..BenchOptions::default() };
    if options.data_dir.is_dir() {
        let error = run(&options, &mut |_| panic!("nothing may run")).expect_err("tmpfs");
        assert!(error.to_string().contains("tmpfs"), "{error}");
    }
}
