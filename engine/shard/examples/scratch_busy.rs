use std::io::{IoSlice, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};
use sluice_model::ShardIndex;
use sluice_shard::*;
use sluice_storage::disk::{Disk, DiskFile, OpenMode};
fn main() {
    let clients: usize = std::env::args().nth(1).unwrap().parse().unwrap();
    let dir = std::path::PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../target/scratch_floor");
    std::fs::create_dir_all(&dir).unwrap();
    let p = dir.join("d");
    let f = std::fs::File::create(&p).unwrap();
    f.write_all_at(&vec![0; 16 << 20], 0).unwrap();
    f.sync_all().unwrap();
    let (tx, rx) = std::sync::mpsc::channel();
    let t = run_shard(ShardConfig { index: ShardIndex(0), core: None, io_memory_len: 4 << 20 }, move |shard| async move {
        let disk = shard.disk();
        let f = disk.open(&p, OpenMode::DurableWrites).await.unwrap();
        let sockets = shard.sockets().unwrap();
        let l = sockets.listen("127.0.0.1:0".parse().unwrap()).unwrap();
        tx.send(sockets.local_addr(l).unwrap()).unwrap();
        let (m, sh) = (shard.metrics(), shard.clone());
        shard.spawn(Queue::Produce, async move {
            let wake = Wake::new();
            let (mut events, mut buf) = (Vec::new(), vec![0u8; 65536]);
            loop {
                sockets.wait(&wake, None).await;
                sockets.poll(&mut events);
                for e in events.drain(..) {
                    match e {
                        SocketEvent::Acceptable(l) => { while sockets.accept(l).unwrap().is_some() {} }
                        SocketEvent::Ready { connection, .. } => match sockets.recv(connection, &mut buf) {
                            Received::Bytes(_) => { sockets.send(connection, &[IoSlice::new(&[1; 64])]); }
                            Received::WouldBlock => {}
                            _ => sockets.close(connection),
                        },
                    }
                }
            }
        });
        sh.sleep(Duration::from_millis(300)).await;
        let mut t = Vec::new();
        for i in 0..2000u64 {
            let b = disk.buffer(64 << 10);
            let s = Instant::now();
            f.write_at((i % 256) * (64 << 10), b).await.unwrap();
            t.push(s.elapsed().as_micros());
            sh.sleep(Duration::from_micros(300)).await;
        }
        t.sort(); println!("top {:?}", &t[1990..]);
        println!("64 KiB ring write beside {clients} busy clients: p50 {} p99 {} max {}  {:?}", t[1000], t[1980], t[1999], m.snapshot());
    }).unwrap();
    let a = rx.recv().unwrap();
    for _ in 0..clients {
        std::thread::spawn(move || {
            let mut s = TcpStream::connect(a).unwrap();
            s.set_nodelay(true).unwrap();
            loop {
                if s.write_all(&[7; 1100]).is_err() { return; }
                if s.read_exact(&mut [0; 64]).is_err() { return; }
            }
        });
    }
    t.join();
}
