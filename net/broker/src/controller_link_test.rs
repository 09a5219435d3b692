use super::*;
use sluice_model::ErrorCode;
use sluice_model::limits::CONTROLLER_PART_LEN_MAX;
use sluice_protocol::{
    BrokerChallengeRequest, BrokerRole, ControllerMessageRequest, HelloRequest, Message, PREFIX_LEN, Prefix, Refusal, decode,
    encode,
};
use std::future::Future;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::Notify;

fn identity(broker: u32, secret: u8) -> ControllerIdentity {
    let incarnation = Incarnation { number: 0, random: u64::from(broker) };
    ControllerIdentity { broker: BrokerId(broker), incarnation, secret: ClusterSecret::new(&[secret; 32]).expect("long enough") }
}

/// Gives back what it is asked, the bytes reversed; what begins with a `w` waits until it is told to go on.
#[derive(Default)]
struct Echo {
    asked: AtomicUsize,
    go_on: Notify,
}

struct Shared(Arc<Echo>);

impl MessageHandler for Shared {
    fn on_message(&self, asked_by: AskedBy, mut message: Vec<u8>) -> Pin<Box<dyn Future<Output = Vec<u8>> + Send>> {
        assert_eq!(asked_by.broker, BrokerId(2));
        let echo = Arc::clone(&self.0);
        echo.asked.fetch_add(1, Ordering::SeqCst);
        Box::pin(async move {
            if message.first() == Some(&b'w') {
                echo.go_on.notified().await;
            }
            message.reverse();
            message
        })
    }
}

fn on_runtime(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async { tokio::time::timeout(Duration::from_secs(120), test).await.expect("it does not hang") });
}

async fn listen(at: &str, identity: ControllerIdentity) -> (SocketAddr, Arc<Echo>, tokio::task::JoinHandle<()>) {
    let echo = Arc::new(Echo::default());
    let listener = TcpListener::bind(at).await.expect("a free port");
    let address = listener.local_addr().expect("bound");
    let task = tokio::spawn(ControllerListener::new(identity, Arc::new(Shared(Arc::clone(&echo)))).run(listener));
    (address, echo, task)
}

async fn ask(links: &ControllerLinks, address: SocketAddr, message: &[u8]) -> std::io::Result<Vec<u8>> {
    links.call(BrokerId(1), &address.to_string(), ControllerMessageKind::Raft, message.to_vec()).await
}

#[test]
fn messages_of_any_length_come_back_whole() {
    on_runtime(async {
        let (address, echo, _task) = listen("127.0.0.1:0", identity(1, 7)).await;
        let links = ControllerLinks::new(identity(2, 7));
        for len in [0, 1, 500, CONTROLLER_PART_LEN_MAX, CONTROLLER_PART_LEN_MAX + 1, 20 << 20] {
            let message: Vec<u8> = (0..len).map(|at| (at % 251) as u8).collect();
            let answer = ask(&links, address, &message).await.expect("an answer");
            assert!(answer.iter().rev().eq(&message), "{len} bytes");
        }
        assert_eq!(echo.asked.load(Ordering::SeqCst), 6);
    });
}

#[test]
fn calls_overlap_and_one_that_is_given_up_gives_its_answer_to_nobody() {
    on_runtime(async {
        let (address, echo, _task) = listen("127.0.0.1:0", identity(1, 7)).await;
        let links = ControllerLinks::new(identity(2, 7));
        let slow = tokio::spawn({
            let links = links.clone();
            async move { ask(&links, address, b"wait for it").await }
        });
        let given_up = tokio::time::timeout(Duration::from_millis(50), ask(&links, address, b"wanted no more")).await;
        assert!(given_up.is_err());
        while echo.asked.load(Ordering::SeqCst) < 2 {
            tokio::task::yield_now().await;
        }
        assert_eq!(ask(&links, address, b"abc").await.expect("an answer"), b"cba", "while two others wait");
        echo.go_on.notify_waiters();
        assert_eq!(slow.await.expect("joined").expect("an answer"), b"ti rof tiaw");
        assert_eq!(ask(&links, address, b"def").await.expect("an answer"), b"fed");
    });
}

#[test]
fn only_brokers_of_the_cluster_are_listened_to() {
    on_runtime(async {
        let (address, echo, _task) = listen("127.0.0.1:0", identity(1, 7)).await;
        let error = ask(&ControllerLinks::new(identity(2, 8)), address, b"a").await.expect_err("another secret");
        assert!(error.to_string().contains("the same cluster secret"), "{error}");
        // Neither does this side believe whoever answers.
        let (impostor, other, _task) = listen("127.0.0.1:0", identity(3, 7)).await;
        let error = ask(&ControllerLinks::new(identity(2, 7)), impostor, b"a").await.expect_err("another broker");
        assert!(error.to_string().contains("broker 1 is wanted here, this is broker 3"), "{error}");
        assert_eq!((echo.asked.load(Ordering::SeqCst), other.asked.load(Ordering::SeqCst)), (0, 0));
    });
}

fn exchange(stream: &mut std::net::TcpStream, message: &impl Message, payload: &[u8]) -> (Prefix, Vec<u8>) {
    let head = encode(1, 0, message, payload.len()).expect("small");
    stream.write_all(&[&head, payload].concat()).expect("sent");
    let mut head = [0; PREFIX_LEN];
    stream.read_exact(&mut head).expect("an answer");
    let prefix = Prefix::parse(&head).expect("a good prefix");
    let mut body = vec![0; prefix.rest_len()];
    stream.read_exact(&mut body).expect("all of it");
    (prefix, body)
}

#[test]
fn a_stranger_is_refused_by_name() {
    on_runtime(async {
        let (address, echo, _task) = listen("127.0.0.1:0", identity(1, 7)).await;
        let refusals = tokio::task::spawn_blocking(move || {
            let mut stream = std::net::TcpStream::connect(address).expect("it listens");
            let message = ControllerMessageRequest { kind: 0, payload_len: 1, more: false };
            let before = exchange(&mut stream, &message, b"x").1;
            let versions = sluice_protocol::supported_versions();
            let hello = HelloRequest { client_id: "nobody".into(), session_id: [0; 16], session_attempt: 0, versions };
            exchange(&mut stream, &hello, &[]);
            let name = BrokerName { nonce: [1; 32], ..identity(2, 7).name([0; 32]) };
            exchange(&mut stream, &BrokerChallengeRequest::new(name, BrokerRole::Controller, BrokerId(1)), &[]);
            let challenged = exchange(&mut stream, &message, b"x").1;
            let mut follower = std::net::TcpStream::connect(address).expect("it listens");
            let request = BrokerChallengeRequest::new(name, BrokerRole::Follower, BrokerId(1));
            let role = exchange(&mut follower, &request, &[]).1;
            let mut rest = Vec::new();
            assert!(matches!(follower.read_to_end(&mut rest), Ok(0)), "closed after the refusal");
            [before, challenged, role].map(|body| decode::<Refusal>(&body).expect("a refusal").error)
        });
        let expected = [ErrorCode::AuthenticationRequired, ErrorCode::AuthenticationRequired, ErrorCode::InvalidArgument];
        assert_eq!(refusals.await.expect("joined"), expected.map(|code| code as u16));
        assert_eq!(echo.asked.load(Ordering::SeqCst), 0);
    });
}

#[test]
fn a_controller_that_is_not_there_is_an_error_and_one_that_comes_back_is_reached() {
    on_runtime(async {
        let (address, _, task) = listen("127.0.0.1:0", identity(1, 7)).await;
        let links = ControllerLinks::new(identity(2, 7));
        ask(&links, address, b"a").await.expect("it is there");
        task.abort();
        let _aborted = task.await;
        // The open connection may go on; a new one finds nobody.
        let fresh = ControllerLinks::new(identity(2, 7));
        ask(&fresh, address, b"a").await.expect_err("nobody listens");
        let (again, echo, _task) = listen(&address.to_string(), identity(1, 7)).await;
        assert_eq!(again, address);
        assert_eq!(ask(&fresh, address, b"abc").await.expect("it is there again"), b"cba");
        assert_eq!(echo.asked.load(Ordering::SeqCst), 1);
    });
}

#[test]
fn another_version_of_a_message_is_refused_by_name_at_either_end() {
    on_runtime(async {
        let (address, echo, _task) = listen("127.0.0.1:0", identity(1, 7)).await;
        let refused = tokio::task::spawn_blocking(move || {
            let mut stream = std::net::TcpStream::connect(address).expect("it listens");
            let name = identity(2, 7).name([1; 32]);
            let request = BrokerChallengeRequest::new(name, BrokerRole::Controller, BrokerId(1));
            stream.write_all(&encode(1, 9, &request, 0).expect("small")).expect("sent");
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer).expect("closed after the refusal");
            decode::<Refusal>(&answer[PREFIX_LEN..]).expect("a refusal")
        });
        let refused = refused.await.expect("joined");
        assert_eq!(refused.error, ErrorCode::UnsupportedVersion as u16);
        assert!(refused.text.contains("not 9"), "{}", refused.text);
        // A controller from before there were messages between controllers.
        let older = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = older.local_addr().expect("bound");
        let answering = tokio::task::spawn_blocking(move || {
            let (mut stream, _) = older
                .into_std()
                .and_then(|older| {
                    older.set_nonblocking(false)?;
                    older.accept()
                })
                .expect("called");
            let mut head = [0; PREFIX_LEN];
            stream.read_exact(&mut head).expect("Hello");
            let versions = sluice_protocol::supported_versions();
            let known = versions.into_iter().filter(|known| known.api != sluice_protocol::Api::ControllerMessage.number());
            let hello = sluice_protocol::HelloAnswer { broker_id: 1, versions: known.collect(), ..Default::default() };
            stream.write_all(&encode(1, 0, &hello, 0).expect("small")).expect("sent");
            let mut rest = Vec::new();
            let _reset = stream.read_to_end(&mut rest);
        });
        let links = ControllerLinks::new(identity(2, 7));
        let error = ask(&links, address, b"a").await.expect_err("it cannot carry this");
        assert!(error.to_string().contains("run the same version on both"), "{error}");
        answering.await.expect("joined");
        assert_eq!(echo.asked.load(Ordering::SeqCst), 0);
    });
}
