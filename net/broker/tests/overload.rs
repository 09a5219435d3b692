//! More than can be taken: refused at once with a reason and a time, and nothing acknowledged is lost.

mod support;

use sluice_broker::{BrokerConfig, start};
use sluice_model::ErrorCode;
use sluice_protocol::ProduceAnswer;
use support::frames::frame;
use support::raw_client::{code, produce_request};
use support::{FrameSpec, RawClient, config, temp_dir};

#[test]
fn a_flood_is_refused_where_it_does_not_fit_and_the_rest_is_there() {
    let dir = temp_dir();
    let broker = start(BrokerConfig { produce_delay_ms_max: 20, ..config(dir.path()) }).expect("the broker starts");
    let mut client = RawClient::connect(broker.local_addrs()[0]);
    let topic = client.create_topic("t", 1);
    let bytes = frame(&FrameSpec::new(topic, &[&vec![3; 900_000]]));
    let count = 200;
    let mut reader = client.second_handle();
    let flood: Vec<Vec<u8>> = (0..count).map(|_| client.encode(&produce_request(topic, 0, bytes.len()), &bytes).1).collect();
    let writer = std::thread::spawn(move || flood.iter().try_for_each(|request| client.send_bytes(request)).map(|()| client));
    let (mut acknowledged, mut refused) = (Vec::new(), 0);
    for _ in 0..count {
        let answer = reader.receive().expect("an answer");
        let (error, retry_after_ms, offset) = if answer.prefix.api == sluice_protocol::Api::Refusal.number() {
            let refusal = answer.refusal();
            (refusal.error, refusal.retry_after_ms, 0)
        } else {
            let part = answer.decode::<ProduceAnswer>().partitions.remove(0);
            (part.error, part.retry_after_ms, part.base_offset)
        };
        match code(error) {
            ErrorCode::None => acknowledged.push(offset),
            ErrorCode::Overloaded => {
                assert!(retry_after_ms > 0);
                refused += 1;
            }
            other => panic!("{other:?}"),
        }
    }
    let mut client = writer.join().expect("joined").expect("sent");
    assert_eq!(acknowledged, (0..acknowledged.len() as u64).collect::<Vec<_>>(), "acknowledged in order, none skipped");
    assert_eq!(acknowledged.len() + refused, count);
    assert_eq!(client.consume(topic, 0, 0).len(), acknowledged.len());
    broker.shutdown().expect("a clean stop");
}
