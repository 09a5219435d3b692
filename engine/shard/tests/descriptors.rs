//! Out of descriptors: a connection that cannot be kept is closed, the listener goes on. Alone in its process, whose
//! limit it uses up.

mod common;

use std::fs::File;
use std::io::Read;
use std::net::TcpStream;
use std::time::Duration;

use common::on_shard;
use sluice_shard::{Sockets, Wake};

/// Opens files until the process may open no more.
fn use_up_descriptors() -> Vec<File> {
    let limit = libc::rlimit { rlim_cur: 256, rlim_max: 256 };
    // SAFETY: the structure is valid for the duration of the call.
    assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &limit) }, 0, "the limit can be lowered");
    let mut files = Vec::new();
    while let Ok(file) = File::open("/dev/null") {
        files.push(file);
    }
    files
}

async fn sleep_until_something(sockets: &Sockets, wake: &Wake) {
    let mut events = Vec::new();
    while events.is_empty() {
        sockets.wait(wake, None).await;
        sockets.poll(&mut events);
    }
}

#[test]
fn without_descriptors_a_connection_is_closed_and_the_next_one_is_served_later() {
    on_shard(|shard| async move {
        let (sockets, wake) = (shard.sockets().expect("sockets"), Wake::new());
        let listener = sockets.listen("127.0.0.1:0".parse().expect("an address")).expect("listen");
        let address = sockets.local_addr(listener).expect("address");
        let mut first = TcpStream::connect(address).expect("connect");
        let second = TcpStream::connect(address).expect("connect");
        first.set_read_timeout(Some(Duration::from_secs(20))).expect("timeout");
        let files = use_up_descriptors();
        sleep_until_something(&sockets, &wake).await;
        let error = sockets.accept(listener).expect_err("no descriptor is left");
        assert_eq!(error.raw_os_error(), Some(libc::EMFILE));
        assert_eq!(first.read(&mut [0; 8]).unwrap_or(0), 0, "the first connection was closed");
        drop(files);
        sleep_until_something(&sockets, &wake).await;
        let (_, peer) = sockets.accept(listener).expect("accept").expect("the second one waits");
        assert_eq!(peer, second.local_addr().expect("address"));
        assert_eq!(sockets.accept(listener).expect("accept"), None);
    });
}
