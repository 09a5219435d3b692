//! The data task blocks the thread between requests, or spins; nothing else of the shard may suffer by it.

mod common;

use std::cell::Cell;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::rc::Rc;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use common::folder;
use sluice_model::ShardIndex;
use sluice_shard::{Queue, Received, Shard, ShardConfig, SocketEvent, WaitMode, Wake, run_shard};
use sluice_storage::disk::{Disk, DiskFile, OpenMode};

const MESSAGES: u32 = 1_000;
const WRITE_LEN: usize = 64 * 1024;
/// Between two uses of the disk by one task.
const PAUSE: Duration = Duration::from_millis(3);

/// How often each of the others got on while messages were served.
#[derive(Debug, Default)]
struct Progress {
    ring_writes: Cell<u32>,
    pool_calls: Cell<u32>,
    ticks: Cell<u32>,
    mails: Cell<u32>,
}

fn one_more(cell: &Cell<u32>) {
    cell.set(cell.get() + 1);
}

/// A task by the ring, one by the pool, one that sleeps, and one that is woken by another thread.
async fn disturb(shard: &Shard, folder: std::path::PathBuf, mails: async_channel::Receiver<()>, progress: &Rc<Progress>) {
    let disk = shard.disk();
    let file = disk.open(&folder.join("written"), OpenMode::CreateNew).await.expect("a file");
    let (by_ring, by_pool, by_timer, by_mail) = (progress.clone(), progress.clone(), progress.clone(), progress.clone());
    let (written, synced) = (file.clone(), file);
    let (writer, flusher, sleeper) = (shard.clone(), shard.clone(), shard.clone());
    // With pauses, so that the thread may block in between.
    shard.spawn(Queue::Background, async move {
        loop {
            written.write_at(0, disk.buffer(WRITE_LEN)).await.expect("a write");
            one_more(&by_ring.ring_writes);
            writer.sleep(PAUSE).await;
        }
    });
    shard.spawn(Queue::Background, async move {
        loop {
            synced.sync().await.expect("a flush");
            one_more(&by_pool.pool_calls);
            flusher.sleep(PAUSE).await;
        }
    });
    shard.spawn(Queue::CatchUpFetch, async move {
        loop {
            sleeper.sleep(Duration::from_micros(700)).await;
            one_more(&by_timer.ticks);
        }
    });
    shard.spawn(Queue::Produce, async move {
        while mails.recv().await.is_ok() {
            one_more(&by_mail.mails);
        }
    });
}

async fn serve(shard: Shard, folder: std::path::PathBuf, mails: async_channel::Receiver<()>, address: mpsc::Sender<SocketAddr>) {
    let progress = Rc::new(Progress::default());
    disturb(&shard, folder, mails, &progress).await;
    let (sockets, wake) = (shard.sockets().expect("sockets"), Wake::new());
    let listener = sockets.listen(SocketAddr::from(([127, 0, 0, 1], 0))).expect("listen");
    address.send(sockets.local_addr(listener).expect("address")).expect("the test waits");
    let (mut events, mut is_open) = (Vec::new(), true);
    while is_open {
        sockets.wait(&wake, None).await;
        sockets.poll(&mut events);
        for event in events.drain(..) {
            let SocketEvent::Ready { connection, .. } = event else {
                while sockets.accept(listener).expect("accept").is_some() {}
                continue;
            };
            let mut buffer = [0; 64];
            match sockets.recv(connection, &mut buffer) {
                Received::Bytes(len) => {
                    sockets.send(connection, &[std::io::IoSlice::new(&buffer[..len])]);
                }
                Received::WouldBlock => {}
                Received::Closed | Received::Failed(_) => is_open = false,
            }
        }
    }
    assert!(shard.metrics().snapshot().socket_blocks > 0, "the thread never blocked by itself");
    assert_eq!(progress.mails.get(), MESSAGES);
    for count in [&progress.ring_writes, &progress.pool_calls, &progress.ticks] {
        assert!(count.get() > 0, "a task got nowhere: {progress:?}");
    }
}

fn everything_gets_on(wait_mode: WaitMode) {
    let folder = folder();
    let path = folder.path().to_path_buf();
    let (mail, mails) = async_channel::unbounded();
    let (address, addresses) = mpsc::channel();
    let config = ShardConfig { index: ShardIndex(0), core: None, io_memory_len: 1 << 20, wait_mode };
    let shard = run_shard(config, move |shard| serve(shard, path, mails, address)).expect("a shard");
    let mut client = TcpStream::connect(addresses.recv().expect("an address")).expect("connect");
    client.set_read_timeout(Some(Duration::from_secs(20))).expect("timeout");
    for round in 0..MESSAGES {
        mail.try_send(()).expect("a mailbox without bound");
        let message = [round as u8; 64];
        client.write_all(&message).expect("send");
        let mut back = [0; 64];
        client.read_exact(&mut back).expect("the echo");
        assert_eq!(back, message);
        if round % 250 == 0 {
            // Past the time after which glommio's own sleep is used.
            thread::sleep(Duration::from_millis(30));
        }
    }
    // The last mail has been taken by the time the last echo is back, or is taken before the end of the connection is seen.
    thread::sleep(Duration::from_millis(20));
    drop(client);
    shard.join();
}

#[test]
fn everything_gets_on_while_the_thread_blocks() {
    everything_gets_on(WaitMode::Asleep);
}

#[test]
fn everything_gets_on_while_the_thread_spins() {
    everything_gets_on(WaitMode::Spinning);
}
