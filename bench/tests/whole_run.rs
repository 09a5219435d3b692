//! Whole runs against a pretended broker: what is measured, that refusals are counted and offered again, and that a round in
//! which the broker goes away or misbehaves is marked and in no figure. No assertion depends on how quick anything was.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use sluice_bench::broker::Broker;
use sluice_bench::client::ClientSystem;
use sluice_bench::floor::WaitMode;
use sluice_bench::measurement::Measurement;
use sluice_bench::result::{LoopKind, RoundOutcome};
use sluice_bench::run::Target;
use sluice_bench::sluice::SluiceSystem;
use sluice_bench::system::AcksAsked;
use sluice_bench::workload::Load;
use sluice_bench::{BenchError, BenchOptions, Run, Stop, Workload, WorkloadResult, load, run};
use sluice_model::ErrorCode;
use sluice_model::limits::MESSAGE_LEN_MAX;
use sluice_protocol::{
    Acks, Api, CreateTopicAnswer, CreateTopicRequest, DeleteTopicAnswer, DescribeMetricsAnswer, Durability, HelloAnswer,
    InitProducerAnswer, Message, MetadataAnswer, MetadataRequest, PREFIX_LEN, PartitionMetadata, Prefix, ProduceAnswer,
    ProducePartition, ProduceRequest, ProducedPartition, ShardAddress, TopicMetadata, decode, encode, supported_versions,
};

/// A broker in memory with one shard, whose only topic has as many partitions as was last asked for.
struct Pretended {
    port: u16,
    partition_count: AtomicU64,
    produce_count: AtomicU64,
    is_dead: AtomicBool,
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
    /// Ends at the tenth produce: nobody listens any more.
    Dies,
}

fn start(behaviour: Behaviour) -> (String, Arc<Pretended>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("its address");
    let (partition_count, produce_count) = (AtomicU64::new(0), AtomicU64::new(0));
    let broker =
        Arc::new(Pretended { port: address.port(), partition_count, produce_count, is_dead: AtomicBool::new(false), behaviour });
    let shared = broker.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            if shared.is_dead.load(Ordering::Relaxed) {
                return;
            }
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
            Api::Hello => {
                let message_len_max = u32::try_from(MESSAGE_LEN_MAX).expect("a limit of the wire");
                reply(id, &HelloAnswer { versions: supported_versions(), message_len_max, ..HelloAnswer::default() })
            }
            Api::CreateTopic => {
                let request = decode::<CreateTopicRequest>(body).expect("a valid body");
                self.partition_count.store(request.partitions.into(), Ordering::Relaxed);
                reply(id, &CreateTopicAnswer::default())
            }
            Api::DeleteTopic => reply(id, &DeleteTopicAnswer::default()),
            Api::Metadata => reply(id, &self.metadata(decode::<MetadataRequest>(body).expect("a valid body"))),
            Api::Produce => {
                let request = decode::<ProduceRequest>(body).expect("a valid body");
                let wants_answer = request.acks != Acks::None as u8;
                let answer = self.produced(request)?;
                if wants_answer { reply(id, &answer) } else { Vec::new() }
            }
            Api::InitProducer => reply(id, &InitProducerAnswer::default()),
            Api::DescribeMetrics => reply(id, &DescribeMetricsAnswer::default()),
            other => panic!("a benchmark has no use for {other}"),
        })
    }

    fn metadata(&self, request: MetadataRequest) -> MetadataAnswer {
        let partition = |partition| PartitionMetadata { partition, leader: Some(1), ..PartitionMetadata::default() };
        let count = u32::try_from(self.partition_count.load(Ordering::Relaxed)).expect("a partition count");
        let partitions: Vec<_> = (0..count).map(partition).collect();
        let topic =
            |name| TopicMetadata { name, frame_len_max: 1 << 20, partitions: partitions.clone(), ..TopicMetadata::default() };
        let topics = request.topics.expect("topics asked for by name").into_iter().map(topic).collect();
        let shard = ShardAddress { broker_id: 1, shard: 0, host: "127.0.0.1".to_owned(), port: self.port };
        MetadataAnswer { shards: vec![shard], topics, ..MetadataAnswer::default() }
    }

    fn produced(&self, request: ProduceRequest) -> Option<ProduceAnswer> {
        let number = self.produce_count.fetch_add(1, Ordering::Relaxed);
        let (error, durability) = match self.behaviour {
            Behaviour::GoesAway if number >= 100 => return None,
            Behaviour::Dies if number >= 10 => {
                self.is_dead.store(true, Ordering::Relaxed);
                // So that the one who listens looks at the flag.
                drop(TcpStream::connect(("127.0.0.1", self.port)));
                return None;
            }
            Behaviour::RefusesSome if number.is_multiple_of(3) => (ErrorCode::Overloaded, Durability::None),
            Behaviour::AcknowledgesWeakly => (ErrorCode::None, Durability::Flushed),
            _ => (ErrorCode::None, Durability::Committed),
        };
        let partition = |of: &ProducePartition| ProducedPartition {
            topic_id: of.topic_id,
            partition: of.partition,
            error: error as u16,
            durability: durability as u8,
            retry_after_ms: 1,
            ..Default::default()
        };
        Some(ProduceAnswer { partitions: request.partitions.iter().map(partition).collect() })
    }
}

fn reply<M: Message>(correlation_id: u32, answer: &M) -> Vec<u8> {
    encode(correlation_id, 0, answer, 0).expect("a short answer").to_vec()
}

fn options(name: &str, workloads: &[&str]) -> BenchOptions {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("bench-{name}"));
    // What a run of an earlier test process left there is of no use to anybody.
    let _ = std::fs::remove_dir_all(&folder);
    BenchOptions {
        workloads: workloads.iter().map(|&name| name.to_owned()).collect(),
        rounds: if ["goes-away", "stopped"].contains(&name) { 2 } else { 1 },
        seconds: Some(0.05),
        out: Some(folder.join("out")),
        data_dir: folder.join("data"),
        ..BenchOptions::default()
    }
}

fn measure(name: &str, behaviour: Behaviour, workloads: &[&str]) -> Run {
    let (address, _broker) = start(behaviour);
    // One test looks at a process, this one: it is quiet only when the other tests are.
    let broker_pid = (name == "all").then(std::process::id);
    let options = BenchOptions { broker: Some(address), broker_pid, ..options(name, workloads) };
    let mut steps = 0;
    let finished = run(&options, Vec::new(), &Stop::default(), &mut |progress| {
        assert!(progress.done < progress.total && progress.what.starts_with("round "), "{progress:?}");
        steps += 1;
    })
    .expect("a run");
    assert!(steps > 0 && finished.failure.is_none(), "{:?}", finished.failure);
    let left_behind = std::fs::read_dir(&options.data_dir).expect("the data folder").count();
    assert_eq!(left_behind, 0, "scratch files are removed");
    finished.run
}

fn result<'a>(run: &'a Run, workload: &str) -> &'a WorkloadResult {
    run.results.iter().find(|result| result.workload == workload).expect("a result")
}

#[test]
fn every_load_is_held_against_its_yardstick_of_the_same_rounds() {
    let crowd = Path::new(env!("CARGO_TARGET_TMPDIR")).join("crowd.toml");
    let text = "about = 'Many connections'\nrate_per_s = 2000\npartitions = 4\nconnections = 24\nlanes = 2\nwindow = 1\nyardstick = 'floor-asleep'";
    std::fs::write(&crowd, text).expect("a workload file");
    let workloads = ["single-record", "partitions-64", "bulk", crowd.to_str().expect("a path of text")];
    let run = measure("all", Behaviour::Answers, &workloads);
    for (workload, yardstick) in
        [("single-record", "floor-asleep"), ("partitions-64", "floor-asleep"), ("bulk", "raw-write"), ("crowd", "floor-asleep")]
    {
        let result = result(&run, workload);
        assert_eq!(result.yardstick.as_ref().map(|yardstick| yardstick.name.as_str()), Some(yardstick));
        assert!(result.ratio.is_some() && !result.limits.is_empty(), "{workload}");
        assert_eq!((result.rounds.len(), result.refused_count, result.failed_count), (1, 0, 0), "{workload}");
        assert!(result.broker_cpu_s_per_gb.is_some() && result.broker_memory.is_some(), "{workload}");
        assert!(result.generator_cpu_percent.is_some() && result.reached_per_s.is_some(), "{workload}");
    }
    assert!(!result(&run, "crowd").percentiles.is_empty());
    assert_eq!(result(&run, "crowd").loop_kind, Some(LoopKind::Open));
    assert!(!result(&run, "crowd").timeline.is_empty());
    assert!(run.results.iter().any(|result| result.workload == "probe" && result.latency_us.is_some()));
    assert_eq!(run.version, sluice_bench::result::RESULT_VERSION);
}

#[test]
fn a_generator_that_spins_measures_the_same_loads() {
    let (address, _broker) = start(Behaviour::RefusesSome);
    let mut system = SluiceSystem::new(Broker::external(&address, None), String::new()).with_mode(WaitMode::Spinning);
    for name in ["single-record", "partitions-64"] {
        let workload = sluice_bench::workload::find(name).expect("a workload").remove(0).lasting(0.05);
        let Load::Closed(load) = &workload.load else { panic!("{name} is a closed loop") };
        let measured = sluice_bench::loads::measure_closed(&mut system, &workload, load, &Stop::default()).expect("a round");
        assert!(measured.refused_count > 0 && measured.latencies.is_some_and(|latencies| latencies.count() > 0), "{name}");
    }
    let workload = sluice_bench::workload::find("acks-leader").expect("a workload").remove(0).lasting(0.05);
    let measured = load::measure(&mut system, &workload, &Stop::default()).expect("a round");
    assert!(measured.refused_count > 0 && measured.failed_count == 0, "{:?}", measured.failed_because);
}

#[test]
fn any_system_is_measured_by_the_same_generator_open_or_closed() {
    let (address, broker) = start(Behaviour::RefusesSome);
    let mut system = SluiceSystem::new(Broker::external(&address, None), String::new());
    for name in ["single-record", "partitions-64", "acks-leader"] {
        let workload = sluice_bench::workload::find(name).expect("a workload").remove(0).lasting(0.05);
        let before = broker.produce_count.load(Ordering::Relaxed);
        let measured = load::measure(&mut system, &workload, &Stop::default()).expect("a round");
        assert!(broker.produce_count.load(Ordering::Relaxed) > before, "{name}");
        assert!(measured.latencies.is_some_and(|latencies| latencies.count() > 0), "{name}");
        assert!(measured.refused_count > 0 && measured.failed_count == 0, "{name}");
    }
    let restart = sluice_bench::workload::find("restart").expect("a workload").remove(0);
    assert!(load::measure(&mut system, &restart, &Stop::default()).is_err(), "only a broker of our own is killed");
}

/// The same, by way of the client library.
fn measure_client(behaviour: Behaviour, workload: &str, seconds: f64) -> Measurement {
    let (address, _broker) = start(behaviour);
    let mut sluice = SluiceSystem::new(Broker::external(&address, None), String::new());
    let workload = sluice_bench::workload::find(workload).expect("a workload").remove(0).lasting(seconds);
    let mut client = ClientSystem::new(&mut sluice).expect("threads");
    load::measure(&mut client, &workload, &Stop::default()).expect("a round")
}

#[test]
fn the_client_library_is_a_system_like_any_other() {
    for workload in ["single-record", "partitions-64", "acks-leader", "acks-none"] {
        let measured = measure_client(Behaviour::Answers, workload, 0.1);
        let not_acknowledged = (measured.refused_count, measured.failed_count, measured.timed_out_count);
        assert_eq!(not_acknowledged, (0, 0, 0), "{workload}: {:?}", measured.failed_because);
        assert!(measured.latencies.is_some_and(|latencies| latencies.count() > 0), "{workload}");
        assert!(measured.generator_cpu_percent.is_some_and(|percent| percent > 0.0), "{workload}");
    }
    let refused = measure_client(Behaviour::RefusesSome, "acks-leader", 0.2);
    assert!(refused.refused_count > 0 && refused.failed_count == 0, "{} failed", refused.failed_count);
    assert!(refused.latencies_refused_first.is_some(), "what the client offered again has a row of its own");
    let weak = measure_client(Behaviour::AcknowledgesWeakly, "acks-all", 0.1);
    assert!(weak.failed_because.is_some_and(|because| because.contains("Flushed")) && weak.latencies.is_none());
}

#[test]
fn a_client_that_waits_for_a_dead_broker_ends_the_round() {
    let measured = measure_client(Behaviour::Dies, "acks-all", 0.5);
    assert_eq!(measured.outcome, RoundOutcome::BrokerDied);
    assert!(measured.outcome_because.is_some_and(|because| because.contains("127.0.0.1")));
}

#[test]
fn what_is_refused_for_want_of_room_is_counted_and_sent_again() {
    let run = measure("refuses", Behaviour::RefusesSome, &["single-record", "acks-leader"]);
    assert!(result(&run, "single-record").refused_count > 0);
    let open = result(&run, "acks-leader");
    assert!(open.refused_count > 0 && open.latency_refused_first_us.is_some(), "a row of their own");
}

#[test]
fn more_than_can_be_offered_is_said_in_words_and_rates() {
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join("too-much.toml");
    std::fs::write(&file, "about = 'More than anything takes'\nrate_per_s = 1e9\ndrain_s = 0").expect("a workload file");
    let run = measure("too-much", Behaviour::Answers, &[file.to_str().expect("a path of text")]);
    let result = result(&run, "too-much");
    let (asked, offered) = (result.asked_per_s.expect("asked"), result.offered_per_s.expect("offered"));
    assert!((asked - 1e9).abs() < 1e7 && offered < asked / 10.0, "{asked} asked, {offered} offered");
    assert!(result.notes.iter().any(|note| note.contains("never handed over")), "{:?}", result.notes);
}

#[test]
fn a_broker_that_goes_away_is_an_outcome_and_in_no_figure() {
    let workloads = ["single-record", "acks-leader"];
    let run = measure("goes-away", Behaviour::GoesAway, &workloads);
    for workload in workloads {
        let result = result(&run, workload);
        assert_eq!((result.outcome, result.round_count), (RoundOutcome::BrokerDied, 0), "{workload}");
        assert!(result.outcome_because.is_some() && result.latency_us.is_none(), "{workload}");
    }
    assert!(run.results.iter().any(|result| result.workload == "probe" && result.round_count == 2), "the rest is whole");
}

/// A peer that has one answer to everything but restarts.
struct Peer(&'static str, RoundOutcome);

impl Target for Peer {
    fn name(&self) -> &str {
        self.0
    }

    fn missing(&self) -> Option<&str> {
        (self.0 == "gone").then_some("no network")
    }

    fn can_run(&self, workload: &Workload) -> bool {
        workload.name != "partitions-64"
    }

    fn acknowledgement(&self, _: AcksAsked) -> (String, Option<bool>) {
        ("in memory".to_owned(), Some(false))
    }

    fn measure(&mut self, _: &Workload, _: &Stop) -> Result<Measurement, BenchError> {
        Ok(Measurement { outcome: self.1, reached_per_s: Some(7.0), ..Measurement::default() })
    }

    fn settings(&self) -> String {
        "as it comes".to_owned()
    }
}

#[test]
fn peers_take_turns_with_sluice_and_a_dead_one_ends_nothing() {
    let (address, _broker) = start(Behaviour::Answers);
    let workloads = ["single-record", "partitions-64", "acks-all"];
    let options = BenchOptions { broker: Some(address), ..options("peers", &workloads) };
    let kinds = [("dead", RoundOutcome::BrokerDied), ("gone", RoundOutcome::Whole), ("well", RoundOutcome::Whole)];
    let peers = kinds.map(|(name, outcome)| -> Box<dyn Target> { Box::new(Peer(name, outcome)) }).into();
    let mut steps = Vec::new();
    let finished = run(&options, peers, &Stop::default(), &mut |progress| steps.push(progress.what.clone())).expect("a run");
    assert!(finished.failure.is_none(), "{:?}", finished.failure);
    assert_eq!(finished.missing, ["gone"], "what can be had is measured without it");
    assert!(finished.run.warnings.contains(&"gone is not measured: no network".to_owned()), "{:?}", finished.run.warnings);
    let loads: Vec<&str> =
        steps.iter().filter_map(|step| Some(step.strip_prefix("round 1/1: ")?.split_once(" on ")?.1)).collect();
    assert_eq!(loads, ["sluice", "dead", "well", "sluice", "sluice", "dead", "well"]);
    let of = |system: &str| {
        let found = finished.run.results.iter().find(|result| result.system == system && result.workload == "acks-all");
        found.expect("a result")
    };
    assert_eq!((of("dead").outcome, of("dead").round_count, of("dead").reached_per_s), (RoundOutcome::BrokerDied, 0, None));
    assert_eq!((of("well").round_count, of("well").reached_per_s, of("well").flushed), (1, Some(7.0), Some(false)));
    assert_eq!((of("well").acknowledgement.as_deref(), of("well").settings.as_str()), (Some("in memory"), "as it comes"));
    assert!(of("sluice").latency_us.is_some());
    assert!(finished.run.warnings.iter().any(|warning| warning.contains("well has no part in partitions-64")));
}

#[test]
fn a_weaker_acknowledgement_is_never_counted() {
    let workloads = ["partitions-64", "acks-all"];
    let run = measure("weak", Behaviour::AcknowledgesWeakly, &workloads);
    for workload in workloads {
        let because = result(&run, workload).outcome_because.clone().expect("why");
        assert!(because.contains("durability"), "{because}");
        assert_eq!(result(&run, workload).latency_us, None);
    }
}

#[test]
fn a_run_that_is_asked_to_stop_keeps_what_is_whole() {
    let (address, _broker) = start(Behaviour::Answers);
    let options = BenchOptions { broker: Some(address), ..options("stopped", &["acks-all"]) };
    let stop = Stop::default();
    let asked = stop.clone();
    let finished = run(&options, Vec::new(), &stop, &mut |progress| {
        if progress.what.starts_with("round 2") {
            asked.ask();
        }
    });
    let run = finished.expect("what is whole").run;
    assert!(run.interrupted);
    assert_eq!(result(&run, "acks-all").rounds.first().map(|round| round.outcome == RoundOutcome::Interrupted), Some(false));
    let text = std::fs::read_to_string(options.out.expect("named above").join("results.json")).expect("results");
    let read: Run = serde_json::from_str(&text).expect("the schema");
    assert_eq!((read.version, read.interrupted, read.results.len()), (run.version, true, run.results.len()));
}

#[test]
fn a_folder_in_memory_is_refused_before_anything_runs() {
    let options = BenchOptions { data_dir: "/dev/shm".into(), ..BenchOptions::default() };
    if !options.data_dir.is_dir() {
        eprintln!("skipped: this machine has no /dev/shm to be refused");
        return;
    }
    let error = run(&options, Vec::new(), &Stop::default(), &mut |_| panic!("nothing may run")).expect_err("tmpfs");
    assert!(error.to_string().contains("tmpfs"), "{error}");
}
