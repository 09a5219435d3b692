use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::{IoSlice, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::rc::Rc;
use std::time::{Duration, Instant};
use sluice_model::ShardIndex;
use sluice_shard::*;
use sluice_storage::disk::{Disk, DiskFile, OpenMode};

#[repr(align(4096))]
struct B([u8; 4096]);
const FILE: u64 = 16 << 20;

fn floor(path: std::path::PathBuf) -> SocketAddr {
    let l = TcpListener::bind("127.0.0.1:0").unwrap();
    let a = l.local_addr().unwrap();
    std::thread::spawn(move || {
        let f = std::fs::OpenOptions::new().read(true).write(true).custom_flags(libc::O_DIRECT | libc::O_DSYNC).open(path).unwrap();
        let b = B([3; 4096]);
        let mut pos = 0;
        while let Ok((mut s, _)) = l.accept() {
            s.set_nodelay(true).unwrap();
            let mut buf = [0; 1100];
            while s.read_exact(&mut buf).is_ok() {
                f.write_all_at(&b.0, pos).unwrap();
                pos = (pos + 4096) % FILE;
                s.write_all(&[1; 64]).unwrap();
            }
        }
    });
    a
}

fn shard(path: std::path::PathBuf, core: Option<usize>) -> SocketAddr {
    let (tx, rx) = std::sync::mpsc::channel();
    let t = run_shard(ShardConfig { index: ShardIndex(0), core, io_memory_len: 4 << 20 }, move |shard| async move {
        let disk = shard.disk();
        let f = disk.open(&path, OpenMode::DurableWrites).await.unwrap();
        let sockets = shard.sockets().unwrap();
        let wake = Wake::new();
        let l = sockets.listen("127.0.0.1:0".parse().unwrap()).unwrap();
        tx.send(sockets.local_addr(l).unwrap()).unwrap();
        let todo: Rc<RefCell<Vec<ConnectionId>>> = Rc::default();
        let done: Rc<RefCell<VecDeque<ConnectionId>>> = Rc::default();
        let ev = Rc::new(event_listener::Event::new());
        {
            let (todo, done, ev, wake, disk, shard2) = (todo.clone(), done.clone(), ev.clone(), wake.clone(), disk.clone(), shard.clone());
            shard.spawn(Queue::Produce, async move {
                let mut pos = 0;
                loop {
                    let l = ev.listen();
                    let batch = std::mem::take(&mut *todo.borrow_mut());
                    if batch.is_empty() { l.await; continue; }
                    drop(l);
                    let mut b = disk.buffer(4096);
                    b[0] = 9;
                    f.write_at(pos, b).await.unwrap();
                    pos = (pos + 4096) % FILE;
                    done.borrow_mut().extend(batch);
                    wake.notify();
                    shard2.yield_now().await;
                }
            });
        }
        let (s3, m) = (shard.clone(), shard.metrics());
        if std::env::var("STATS").is_ok() { shard.spawn(Queue::Background, async move { loop { s3.sleep(Duration::from_secs(2)).await; eprintln!("{:?}", m.snapshot()); } }); }
        let (stop, never) = async_channel::bounded::<()>(1);
        shard.spawn(Queue::Produce, async move {
            let _stop = stop;
            let mut events = Vec::new();
            let mut buf = vec![0u8; 65536];
            loop {
                sockets.poll(&mut events);
                for e in events.drain(..) {
                    match e {
                        SocketEvent::Acceptable(l) => { while sockets.accept(l).unwrap().is_some() {} }
                        SocketEvent::Ready { connection, .. } => match sockets.recv(connection, &mut buf) {
                            Received::Bytes(1100) => { todo.borrow_mut().push(connection); ev.notify(1); }
                            Received::Bytes(n) => panic!("{n}"),
                            Received::WouldBlock => {}
                            _ => sockets.close(connection),
                        },
                    }
                }
                while let Some(c) = { let x = done.borrow_mut().pop_front(); x } {
                    sockets.send(c, &[IoSlice::new(&[1; 64])]);
                }
                sockets.wait(&wake, None).await;
            }
        });
        never.recv().await.ok();
    }).unwrap();
    let a = rx.recv().unwrap();
    std::mem::forget(t);
    a
}

fn round(a: SocketAddr, n: usize, pause: Option<Duration>) -> (f64, f64, f64) {
    let mut s = TcpStream::connect(a).unwrap();
    s.set_nodelay(true).unwrap();
    let mut t = Vec::new();
    for i in 0..n {
        if let Some(p) = pause { std::thread::sleep(p); }
        let b = Instant::now();
        s.write_all(&[7; 1100]).unwrap();
        s.read_exact(&mut [0; 64]).unwrap();
        if i > 50 { t.push(b.elapsed().as_nanos() as f64 / 1000.0); }
    }
    t.sort_by(f64::total_cmp);
    let q = |p: f64| t[((t.len() - 1) as f64 * p) as usize];
    (q(0.5), q(0.99), q(0.999))
}

fn main() {
    let dir = std::path::PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../target/scratch_floor");
    std::fs::create_dir_all(&dir).unwrap();
    for n in ["a", "b", "c"] {
        let f = std::fs::File::create(dir.join(n)).unwrap();
        f.write_all_at(&vec![0; FILE as usize], 0).unwrap();
        f.sync_all().unwrap();
    }
    let fl = floor(dir.join("a"));
    let sh = shard(dir.join("b"), None);
    let pin = if std::env::var("PIN").is_ok() { Some(shard(dir.join("c"), Some(1))) } else { None };
    if let Ok(s) = std::env::var("IDLE") {
        let cpu = || { let mut u: libc::rusage = unsafe { std::mem::zeroed() }; unsafe { libc::getrusage(libc::RUSAGE_SELF, &mut u) }; (u.ru_utime.tv_sec + u.ru_stime.tv_sec) as f64 + (u.ru_utime.tv_usec + u.ru_stime.tv_usec) as f64 / 1e6 };
        let s: u64 = s.parse().unwrap();
        std::thread::sleep(Duration::from_millis(500));
        let c = cpu();
        std::thread::sleep(Duration::from_secs(s));
        println!("idle cpu {:.3} % of a core", (cpu() - c) / s as f64 * 100.0);
        return;
    }
    for (name, n, pause) in [("closed", 4000, None), ("1/ms", 1500, Some(Duration::from_millis(1)))] {
        let mut rs: Vec<Vec<(f64, f64, f64)>> = vec![vec![]; 3];
        for _ in 0..5 {
            rs[0].push(round(fl, n, pause));
            rs[1].push(round(sh, n, pause));
            if let Some(p) = pin { rs[2].push(round(p, n, pause)); }
        }
        for (k, r) in rs.iter().enumerate() {
            if r.is_empty() { continue; }
            let med = |f: &dyn Fn(&(f64, f64, f64)) -> f64| { let mut v: Vec<f64> = r.iter().map(f).collect(); v.sort_by(f64::total_cmp); v[v.len() / 2] };
            println!("{name:8} {:10} p50 {:7.1} p99 {:7.1} p99.9 {:7.1}   rounds p50 {:?}", ["floor", "shard", "pinned"][k], med(&|x| x.0), med(&|x| x.1), med(&|x| x.2), r.iter().map(|x| x.0.round()).collect::<Vec<_>>());
        }
    }
}
