use super::*;

use std::io::Read;
use std::net::TcpListener;
use std::thread::JoinHandle;

use crate::payload::BatchShape;
use sluice_model::ids::{PartitionIndex, TopicId, TopicPartition};
use sluice_protocol::{HelloAnswer, PREFIX_LEN, ProducedPartition};

/// A broker of one connection that answers Hello, then each request with the next of `answers`.
fn scripted(answers: Vec<Answer>) -> (String, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("its address").to_string();
    let broker = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a client");
        let hello = HelloAnswer { versions: supported_versions(), ..HelloAnswer::default() };
        let id = read_request(&mut stream).expect("a Hello");
        stream.write_all(&encode(id, 0, &hello, 0).expect("an answer")).expect("sent");
        for answer in answers {
            let Some(id) = read_request(&mut stream) else { return };
            let bytes = match answer {
                Answer::Produced(partitions) => encode(id, 0, &ProduceAnswer { partitions }, 0).expect("an answer"),
                Answer::Refused(refusal) => encode(id, 0, &refusal, 0).expect("an answer"),
                Answer::Garbage => bytes::BytesMut::from(&b"GET / HTTP/1.1\r\n\r\n"[..]),
            };
            // In two pieces, so that a message that arrives in parts is met too.
            let (first, rest) = bytes.split_at(bytes.len() / 2);
            stream.write_all(first).expect("sent");
            std::thread::sleep(Duration::from_millis(2));
            stream.write_all(rest).expect("sent");
        }
    });
    (address, broker)
}

enum Answer {
    Produced(Vec<ProducedPartition>),
    Refused(Refusal),
    Garbage,
}

fn read_request(stream: &mut TcpStream) -> Option<u32> {
    let mut head = [0; PREFIX_LEN];
    stream.read_exact(&mut head).ok()?;
    let prefix = Prefix::parse(&head).expect("a good prefix");
    stream.read_exact(&mut vec![0; prefix.rest_len()]).ok()?;
    Some(prefix.correlation_id)
}

fn partition(error: ErrorCode, durability: Durability) -> ProducedPartition {
    ProducedPartition { error: error as u16, durability: durability as u8, retry_after_ms: 7, ..ProducedPartition::default() }
}

/// What the client makes of one answer to one produce.
fn outcome(answer: Answer) -> Result<Produced, BenchError> {
    let (address, broker) = scripted(vec![answer]);
    let mut connection = Connection::open(&address).expect("a connection");
    let id = TopicPartition { topic_id: TopicId([1; 16]), partition: PartitionIndex(0) };
    let mut produce =
        PreparedProduce::new(&[id], BatchShape { record_count: 1, value_len: 64 }, connection.version(Api::Produce)?)
            .expect("a request");
    let sent_id = connection.send_produce(&mut produce)?;
    let result = connection.receive_produced();
    drop(connection);
    broker.join().expect("the scripted broker");
    result.map(|(id, produced)| {
        assert_eq!(id, sent_id);
        produced
    })
}

#[test]
fn only_what_is_committed_counts_as_acknowledged() {
    let committed = || partition(ErrorCode::None, Durability::Committed);
    assert_eq!(outcome(Answer::Produced(vec![committed(), committed()])).expect("acknowledged"), Produced::Acknowledged);
    let weak = outcome(Answer::Produced(vec![committed(), partition(ErrorCode::None, Durability::Flushed)]));
    assert!(matches!(weak, Err(BenchError::Protocol { .. })), "{weak:?}");
}

#[test]
fn overload_is_a_figure_and_everything_else_a_failure() {
    let later = |reason: &str| Produced::Later { retry_after: Duration::from_millis(7), reason: reason.to_owned() };
    let overloaded = partition(ErrorCode::Overloaded, Durability::None);
    assert_eq!(outcome(Answer::Produced(vec![overloaded])).expect("refused"), later(""));
    let refusal = |error| Refusal { error: error as u16, text: "no room".to_owned(), retry_after_ms: 7 };
    assert_eq!(outcome(Answer::Refused(refusal(ErrorCode::Overloaded))).expect("refused"), later("no room"));
    let full = outcome(Answer::Refused(refusal(ErrorCode::DiskFull))).expect_err("not overload");
    assert!(full.to_string().contains("DiskFull") && full.to_string().contains("no room"), "{full}");
    let unknown = outcome(Answer::Produced(vec![partition(ErrorCode::UnknownTopic, Durability::None)]));
    assert!(matches!(unknown, Err(BenchError::Refused { .. })), "{unknown:?}");
}

#[test]
fn a_peer_that_speaks_something_else_is_an_error() {
    assert!(matches!(outcome(Answer::Garbage), Err(BenchError::Protocol { .. })));
}

#[test]
fn nobody_there_is_an_error_that_names_the_address() {
    let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port that is free again");
    let error = Connection::open(&free.to_string()).expect_err("nobody listens");
    assert!(error.to_string().contains(&free.to_string()), "{error}");
}
