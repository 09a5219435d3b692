//! A blocking client that speaks the protocol, and can send what no client should.

use super::frames::{FrameSpec, frame, values};
use sluice_model::ErrorCode;
use sluice_protocol::{
    Api, CreateTopicRequest, FetchAnswer, FetchPartition, FetchRequest, HelloAnswer, HelloRequest, Message, MetadataAnswer,
    MetadataRequest, PREFIX_LEN, Prefix, ProduceAnswer, ProducePartition, ProduceRequest, ProducedPartition, Refusal, Request,
    decode, encode, supported_versions,
};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// Only against a test that hangs; no test is decided by it.
const PATIENCE: Duration = Duration::from_secs(60);

pub struct RawClient {
    pub stream: TcpStream,
    correlation_id: u32,
}

/// One answer as it came.
#[derive(Debug)]
pub struct Answered {
    pub prefix: Prefix,
    pub body: Vec<u8>,
    pub frames: Vec<u8>,
}

impl Answered {
    pub fn decode<M: Message>(&self) -> M {
        if self.prefix.api == Api::Refusal.number() {
            panic!("refused: {:?}", self.refusal());
        }
        assert_eq!(self.prefix.api, M::API.number());
        decode(&self.body).expect("a good answer")
    }

    pub fn refusal(&self) -> Refusal {
        assert_eq!(self.prefix.api, Api::Refusal.number(), "an answer in its own type");
        decode(&self.body).expect("a good refusal")
    }
}

impl RawClient {
    /// Connects without a word.
    pub fn silent(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).expect("the broker listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("set");
        stream.set_write_timeout(Some(PATIENCE)).expect("set");
        stream.set_nodelay(true).expect("set");
        Self { stream, correlation_id: 0 }
    }

    pub fn connect(address: SocketAddr) -> Self {
        let mut client = Self::silent(address);
        let hello = client.hello();
        assert_eq!(hello.error, 0, "{hello:?}");
        client
    }

    pub fn hello(&mut self) -> HelloAnswer {
        self.hello_in_session([0; 16], 0)
    }

    pub fn hello_in_session(&mut self, session_id: [u8; 16], session_attempt: u32) -> HelloAnswer {
        self.call(&hello_request(session_id, session_attempt))
    }

    /// The same connection, for another thread.
    pub fn second_handle(&self) -> Self {
        Self { stream: self.stream.try_clone().expect("cloned"), correlation_id: self.correlation_id }
    }

    pub fn send_bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// The bytes of a request under a fresh correlation id.
    pub fn encode<M: Message>(&mut self, message: &M, frames: &[u8]) -> (u32, Vec<u8>) {
        self.correlation_id += 1;
        let mut bytes =
            encode(self.correlation_id, M::API.versions().1, message, frames.len()).expect("within the limits").to_vec();
        bytes.extend_from_slice(frames);
        (self.correlation_id, bytes)
    }

    pub fn send<M: Message>(&mut self, message: &M, frames: &[u8]) -> u32 {
        let (id, bytes) = self.encode(message, frames);
        self.send_bytes(&bytes).expect("sent");
        id
    }

    pub fn receive(&mut self) -> io::Result<Answered> {
        let mut head = [0; PREFIX_LEN];
        self.stream.read_exact(&mut head)?;
        let prefix = Prefix::parse(&head).expect("a good prefix");
        let mut body = vec![0; prefix.body_len];
        self.stream.read_exact(&mut body)?;
        let mut frames = vec![0; prefix.frames_len];
        self.stream.read_exact(&mut frames)?;
        Ok(Answered { prefix, body, frames })
    }

    pub fn ask<M: Message>(&mut self, message: &M, frames: &[u8]) -> Answered {
        let id = self.send(message, frames);
        let answered = self.receive().expect("an answer");
        assert_eq!(answered.prefix.correlation_id, id);
        answered
    }

    /// The next answer, whichever request it is to.
    pub fn ask_any<M: Message>(&mut self, message: &M, frames: &[u8]) -> Answered {
        self.send(message, frames);
        self.receive().expect("an answer")
    }

    pub fn call<R: Request>(&mut self, request: &R) -> R::Answer {
        self.ask(request, &[]).decode()
    }

    /// The broker closes the connection; whatever it still says is read and thrown away.
    pub fn expect_close(&mut self) {
        let mut rest = Vec::new();
        match self.stream.read_to_end(&mut rest) {
            Ok(_) => {}
            Err(error) => assert_eq!(error.kind(), io::ErrorKind::ConnectionReset, "{error}"),
        }
    }

    pub fn create_topic(&mut self, name: &str, partitions: u32) -> [u8; 16] {
        self.create_topic_with(name, partitions, &[])
    }

    pub fn create_topic_with(&mut self, name: &str, partitions: u32, settings: &[(&str, &str)]) -> [u8; 16] {
        let settings = settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let answer = self.call(&CreateTopicRequest { name: name.to_owned(), partitions, replicas: None, settings });
        assert_eq!((answer.error, &*answer.text), (0, ""));
        answer.topic_id
    }

    pub fn metadata(&mut self, topic: &str) -> MetadataAnswer {
        self.call(&MetadataRequest { topics: Some(vec![topic.to_owned()]), after: None })
    }

    pub fn produce(&mut self, spec: &FrameSpec) -> ProducedPartition {
        self.produce_bytes(spec.topic_id, spec.partition, &frame(spec))
    }

    pub fn produce_bytes(&mut self, topic_id: [u8; 16], partition: u32, frame: &[u8]) -> ProducedPartition {
        let answer: ProduceAnswer = self.ask(&produce_request(topic_id, partition, frame.len()), frame).decode();
        answer.partitions.into_iter().next().expect("one partition")
    }

    pub fn fetch(&mut self, topic_id: [u8; 16], partition: u32, offset: u64) -> (FetchAnswer, Vec<u8>) {
        let answered = self.ask(&fetch_request(topic_id, partition, offset), &[]);
        (answered.decode(), answered.frames)
    }

    /// Every record from `offset` to the high watermark.
    pub fn consume(&mut self, topic_id: [u8; 16], partition: u32, offset: u64) -> Vec<(u64, Vec<u8>)> {
        let (mut out, mut next) = (Vec::new(), offset);
        loop {
            let (answer, frames) = self.fetch(topic_id, partition, next);
            let part = &answer.partitions[0];
            assert_eq!(part.error, 0, "{}", part.text);
            out.extend(values(&frames).into_iter().filter(|(at, _)| *at >= next));
            next = out.last().map_or(next, |(at, _)| at + 1);
            if next >= part.high_watermark {
                return out;
            }
        }
    }
}

pub fn hello_request(session_id: [u8; 16], session_attempt: u32) -> HelloRequest {
    HelloRequest { client_id: "test".to_owned(), session_id, session_attempt, versions: supported_versions() }
}

pub fn produce_request(topic_id: [u8; 16], partition: u32, frame_len: usize) -> ProduceRequest {
    let frame_len = u32::try_from(frame_len).expect("a small frame");
    ProduceRequest { acks: 2, partitions: vec![ProducePartition { topic_id, partition, frame_len }] }
}

pub fn fetch_request(topic_id: [u8; 16], partition: u32, offset: u64) -> FetchRequest {
    let partition = FetchPartition { topic_id, partition, leader_epoch: 0, offset, len_max: 4 << 20 };
    FetchRequest { wait_ms_max: 0, len_min: 0, len_max: 8 << 20, partitions: vec![partition] }
}

pub fn code(error: u16) -> ErrorCode {
    ErrorCode::from_u16(error).expect("a known code")
}
