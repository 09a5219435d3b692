//! Sockets served by one task that sleeps: echo with both sides asleep, wakes, deadlines, ids, many connections.

mod common;

use std::io::{IoSlice, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use common::on_shard;
use sluice_model::ShardIndex;
use sluice_shard::{ConnectionId, Queue, Received, Sent, Shard, ShardConfig, SocketEvent, Sockets, WaitMode, Wake, run_shard};

fn any_port() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

/// Accepts and echoes until `connections` of them have come and gone again.
async fn echo_until_all_gone(shard: Shard, address: mpsc::Sender<SocketAddr>, connections: usize) {
    let (sockets, wake) = (shard.sockets().expect("sockets"), Wake::new());
    let listener = sockets.listen(any_port()).expect("listen");
    address.send(sockets.local_addr(listener).expect("address")).expect("the test waits");
    let (mut gone, mut events) = (0, Vec::new());
    while gone < connections {
        sockets.wait(&wake, None).await;
        sockets.poll(&mut events);
        for event in events.drain(..) {
            match event {
                SocketEvent::Acceptable(listener) => while sockets.accept(listener).expect("accept").is_some() {},
                SocketEvent::Ready { connection, .. } => gone += usize::from(!echo(&sockets, connection)),
            }
        }
    }
    assert_eq!(sockets.connection_count(), 0);
}

/// Whether the connection is still there. The messages of these tests fit into a socket's buffer.
fn echo(sockets: &Sockets, connection: ConnectionId) -> bool {
    let mut buffer = [0; 4096];
    match sockets.recv(connection, &mut buffer) {
        Received::Bytes(len) => {
            let (first, second) = buffer[..len].split_at(len / 2);
            match sockets.send(connection, &[IoSlice::new(first), IoSlice::new(second)]) {
                Sent::Bytes(sent) => assert_eq!(sent, len),
                other => panic!("{other:?}"),
            }
            true
        }
        Received::WouldBlock => true,
        Received::Closed | Received::Failed(_) => {
            sockets.close(connection);
            false
        }
    }
}

fn start_echo(connections: usize) -> (SocketAddr, sluice_shard::ShardThread<()>) {
    let (sender, receiver) = mpsc::channel();
    let config = ShardConfig { index: ShardIndex(0), core: None, io_memory_len: 1 << 20, wait_mode: WaitMode::Asleep };
    let thread = run_shard(config, move |shard| echo_until_all_gone(shard, sender, connections)).expect("a shard");
    (receiver.recv().expect("an address"), thread)
}

#[test]
fn an_echo_comes_back_while_both_sides_sleep_in_between() {
    let (address, shard) = start_echo(1);
    let mut client = TcpStream::connect(address).expect("connect");
    client.set_read_timeout(Some(Duration::from_secs(20))).expect("timeout");
    for round in 0..200_u32 {
        if round % 20 == 0 {
            thread::sleep(Duration::from_millis(70));
        }
        let message = [round as u8; 1100];
        client.write_all(&message).expect("send");
        let mut back = [0; 1100];
        client.read_exact(&mut back).expect("the echo");
        assert_eq!(back, message);
    }
    drop(client);
    shard.join();
}

#[test]
fn many_connections_are_served_by_one_task() {
    const CONNECTIONS: usize = 300;
    let (address, shard) = start_echo(CONNECTIONS);
    let mut clients: Vec<TcpStream> = (0..CONNECTIONS).map(|_| TcpStream::connect(address).expect("connect")).collect();
    for round in 0..3_u8 {
        for client in &mut clients {
            client.write_all(&[round; 64]).expect("send");
        }
        for client in &mut clients {
            let mut back = [0; 64];
            client.read_exact(&mut back).expect("the echo");
            assert_eq!(back, [round; 64]);
        }
    }
    drop(clients);
    shard.join();
}

#[test]
fn a_wake_from_another_task_of_the_shard_ends_the_wait() {
    on_shard(|shard| async move {
        let (sockets, wake) = (shard.sockets().expect("sockets"), Wake::new());
        for delay_us in [0, 1, 100, 5_000] {
            let (other, notified, delay) = (shard.clone(), wake.clone(), Duration::from_micros(delay_us));
            shard.spawn(Queue::Background, async move {
                other.sleep(delay).await;
                notified.notify();
            });
            sockets.wait(&wake, None).await;
            assert!(!wake.is_notified(), "the notice is taken");
        }
        wake.notify();
        sockets.wait(&wake, None).await;
    });
}

#[test]
fn a_wake_notified_before_the_wait_arms_nothing() {
    on_shard(|shard| async move {
        let (sockets, wake) = (shard.sockets().expect("sockets"), Wake::new());
        for _ in 0..100 {
            wake.notify();
            sockets.wait(&wake, None).await;
        }
        assert_eq!(shard.metrics().snapshot().socket_sleeps, 0);
    });
}

#[test]
fn a_task_of_the_same_queue_that_works_at_once_is_waited_for_without_sleeping() {
    on_shard(|shard| async move {
        let (work, todo) = async_channel::bounded::<()>(1);
        let (done, is_done) = async_channel::bounded::<()>(1);
        let wake = Wake::new();
        let notified = wake.clone();
        shard.spawn(Queue::Produce, async move {
            while todo.recv().await.is_ok() {
                notified.notify();
            }
        });
        let data = shard.clone();
        shard.spawn(Queue::Produce, async move {
            let sockets = data.sockets().expect("sockets");
            for _ in 0..100 {
                work.try_send(()).expect("room for one");
                sockets.wait(&wake, None).await;
            }
            done.send(()).await.expect("the test waits");
        });
        is_done.recv().await.expect("the data task ends well");
        assert_eq!(shard.metrics().snapshot().socket_sleeps, 0);
    });
}

#[test]
fn a_wait_ends_with_its_deadline_and_one_that_has_passed_does_not_sleep() {
    on_shard(|shard| async move {
        let (sockets, wake, clock) = (shard.sockets().expect("sockets"), Wake::new(), shard.clock());
        let begun = Instant::now();
        let deadline_us = clock.mono_us() + 20_000;
        while clock.mono_us() < deadline_us {
            sockets.wait(&wake, Some(deadline_us)).await;
        }
        assert!(begun.elapsed() >= Duration::from_millis(20));
        let sleeps = shard.metrics().snapshot().socket_sleeps;
        sockets.wait(&wake, Some(0)).await;
        assert_eq!(shard.metrics().snapshot().socket_sleeps, sleeps);
    });
}

/// Until the connection is reported as writable.
async fn until_writable(sockets: &Sockets, wake: &Wake, id: ConnectionId) {
    let mut events = Vec::new();
    loop {
        sockets.wait(wake, None).await;
        sockets.poll(&mut events);
        let is_writable =
            |event: SocketEvent| matches!(event, SocketEvent::Ready { connection, writable: true, .. } if connection == id);
        if events.drain(..).any(is_writable) {
            return;
        }
    }
}

#[test]
fn a_connection_that_is_begun_here_carries_bytes_both_ways() {
    let (address, echo) = start_echo(1);
    on_shard(move |shard| async move {
        let (sockets, wake) = (shard.sockets().expect("sockets"), Wake::new());
        let id = sockets.connect(address).expect("begun");
        until_writable(&sockets, &wake, id).await;
        sockets.connected(id).expect("the other side listens");
        assert!(matches!(sockets.send(id, &[IoSlice::new(b"hello")]), Sent::Bytes(5)));
        sockets.interest(id, true, false);
        let (mut buffer, mut events) = ([0; 8], Vec::new());
        let received = loop {
            sockets.wait(&wake, None).await;
            sockets.poll(&mut events);
            match sockets.recv(id, &mut buffer) {
                Received::WouldBlock => {}
                other => break other,
            }
        };
        assert!(matches!(received, Received::Bytes(5)) && &buffer[..5] == b"hello", "{received:?}");
        sockets.close(id);
        assert!(sockets.connected(id).is_err());
    });
    echo.join();
}

#[test]
fn a_connection_to_nobody_says_so() {
    let nobody = std::net::TcpListener::bind(any_port()).expect("a free port").local_addr().expect("bound");
    on_shard(move |shard| async move {
        let (sockets, wake) = (shard.sockets().expect("sockets"), Wake::new());
        let id = sockets.connect(nobody).expect("begun");
        until_writable(&sockets, &wake, id).await;
        assert_eq!(sockets.connected(id).expect_err("nobody listens").kind(), std::io::ErrorKind::ConnectionRefused);
        sockets.close(id);
        assert_eq!(sockets.connection_count(), 0);
    });
}

#[test]
fn an_address_in_use_is_named_so() {
    on_shard(|shard| async move {
        let sockets = shard.sockets().expect("sockets");
        let listener = sockets.listen(any_port()).expect("listen");
        let address = sockets.local_addr(listener).expect("address");
        assert_eq!(sockets.listen(address).expect_err("in use").kind(), std::io::ErrorKind::AddrInUse);
        sockets.close_listener(listener);
        assert!(sockets.local_addr(listener).is_err());
        sockets.listen(address).expect("free again");
    });
}

#[test]
fn calls_on_a_closed_connection_find_nothing_not_a_stranger() {
    on_shard(|shard| async move {
        let (sockets, wake) = (shard.sockets().expect("sockets"), Wake::new());
        let listener = sockets.listen(any_port()).expect("listen");
        let address = sockets.local_addr(listener).expect("address");
        let mut peers = Vec::new();
        let mut ids = Vec::new();
        for _ in 0..2 {
            peers.push(TcpStream::connect(address).expect("connect"));
            let accepted = loop {
                sockets.wait(&wake, None).await;
                if let Some((id, _)) = sockets.accept(listener).expect("accept") {
                    break id;
                }
            };
            ids.push(accepted);
            if ids.len() == 1 {
                sockets.close(accepted);
            }
        }
        assert_ne!(ids[0], ids[1]);
        assert_ne!(ids[0].number(), ids[1].number());
        assert!(matches!(sockets.recv(ids[0], &mut [0; 8]), Received::Closed));
        assert!(matches!(sockets.send(ids[0], &[IoSlice::new(b"x")]), Sent::Failed(_)));
        sockets.interest(ids[0], true, true);
        sockets.close(ids[0]);
        assert!(matches!(sockets.recv(ids[1], &mut [0; 8]), Received::WouldBlock));
        assert_eq!(sockets.connection_count(), 1);
    });
}

#[test]
fn a_full_socket_says_so_and_reports_when_it_takes_more() {
    on_shard(|shard| async move {
        let (sockets, wake) = (shard.sockets().expect("sockets"), Wake::new());
        let listener = sockets.listen(any_port()).expect("listen");
        let mut peer = TcpStream::connect(sockets.local_addr(listener).expect("address")).expect("connect");
        sockets.wait(&wake, None).await;
        let (id, _) = sockets.accept(listener).expect("accept").expect("one waits");
        let chunk = vec![5; 1 << 20];
        let mut sent_len = 0;
        loop {
            match sockets.send(id, &[IoSlice::new(&chunk), IoSlice::new(&chunk)]) {
                Sent::Bytes(len) => sent_len += len,
                Sent::WouldBlock => break,
                Sent::Failed(error) => panic!("{error}"),
            }
        }
        let mut events = Vec::new();
        sockets.interest(id, true, false);
        sockets.poll(&mut events);
        assert_eq!(events, [], "a full socket is not readable");
        sockets.interest(id, false, true);
        let reader = thread::spawn(move || {
            let mut all = vec![0; sent_len];
            peer.read_exact(&mut all).expect("all of it");
            (peer, all)
        });
        while events.is_empty() {
            sockets.wait(&wake, None).await;
            sockets.poll(&mut events);
        }
        assert!(matches!(events[0], SocketEvent::Ready { connection, writable: true, .. } if connection == id));
        let (peer, all) = reader.join().expect("the reader");
        assert!(all.iter().all(|byte| *byte == 5));
        drop(peer);
    });
}
