//! What comes in on a socket: the prefix of a message, and its body.

use sluice_protocol::*;
use std::fmt::Debug;

/// The first bytes of a message.
pub fn prefix(data: &[u8]) -> bool {
    let Some(bytes) = data.first_chunk::<PREFIX_LEN>() else { return false };
    match Prefix::parse(bytes) {
        Ok(prefix) => {
            assert_eq!(&prefix.to_bytes(), bytes, "a prefix says the same as its bytes");
            prefix.api().is_some()
        }
        Err(error) => error.to_string().is_empty(),
    }
}

/// `data` as the body of every message there is; and the frames that its first message names, over any length.
pub fn message(data: &[u8]) -> bool {
    macro_rules! any { ($($message:ty),* $(,)?) => { [$(body::<$message>(data)),*].contains(&true) }; }
    if let Ok(archived) = access::<ProduceRequest>(data) {
        check_ranges(archived.frame_ranges(data.len()), data.len());
        let _ = archived.acks();
    }
    if let Ok(archived) = access::<FetchAnswer>(data) {
        check_ranges(archived.frame_ranges(data.len()), data.len());
    }
    if let Ok(answer) = decode::<ReplicaFetchAnswer>(data) {
        check_ranges(answer.frame_ranges(data.len()), data.len());
    }
    if let Ok(request) = access::<ControllerMessageRequest>(data) {
        let _ = (request.kind(), request.check_payload(data.len()));
    }
    if let Ok(mut metrics) = decode::<DescribeMetricsAnswer>(data) {
        // A broker may name the same thing twice: the outcome is anything but a panic.
        let difference = metrics.since(&metrics);
        metrics.merge(&difference.unwrap_or_default());
    }
    if let Ok(hello) = decode::<HelloRequest>(data) {
        let _ = negotiate(&supported_versions(), &hello.versions);
    }
    any!(
        HelloRequest,
        HelloAnswer,
        MetadataRequest,
        MetadataAnswer,
        ProduceRequest,
        ProduceAnswer,
        FetchRequest,
        FetchAnswer,
        ListOffsetsRequest,
        ListOffsetsAnswer,
        InitProducerRequest,
        InitProducerAnswer,
        DescribePartitionsRequest,
        DescribePartitionsAnswer,
        DescribeShardRequest,
        DescribeShardAnswer,
        DescribeMetricsRequest,
        DescribeMetricsAnswer,
        DescribeClusterRequest,
        DescribeClusterAnswer,
        DescribeReplicasRequest,
        DescribeReplicasAnswer,
        ElectLeadersRequest,
        ElectLeadersAnswer,
        CreateTopicRequest,
        CreateTopicAnswer,
        DeleteTopicRequest,
        DeleteTopicAnswer,
        AlterTopicRequest,
        AlterTopicAnswer,
        DeleteRecordsRequest,
        DeleteRecordsAnswer,
        BrokerChallengeRequest,
        BrokerChallengeAnswer,
        BrokerProofRequest,
        BrokerProofAnswer,
        ReplicaFetchRequest,
        ReplicaFetchAnswer,
        ReplicaFlushRequest,
        ReplicaFlushAnswer,
        ReplicaBeginningRequest,
        ReplicaBeginningAnswer,
        ControllerMessageRequest,
        ControllerMessageAnswer,
        Refusal,
    )
}

fn body<M: Message + PartialEq + Debug>(data: &[u8]) -> bool {
    match decode::<M>(data) {
        Ok(message) => {
            let again = encode(1, 0, &message, 0).expect("what fits in a body as it came fits when it is written again");
            assert_eq!(decode::<M>(&again[PREFIX_LEN..]).as_ref(), Ok(&message), "{} reads back", M::NAME);
            true
        }
        Err(error) => error.to_string().is_empty(),
    }
}

fn check_ranges(ranges: Result<FrameRanges, Malformed>, len: usize) {
    if let Ok(ranges) = ranges {
        assert!(ranges.iter().all(|range| range.start <= range.end && range.end <= len), "{ranges:?} lie in {len} bytes");
    }
}
