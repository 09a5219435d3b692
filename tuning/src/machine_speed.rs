//! What memory, checksums and loopback give on this machine: limits that every broker has above it.

use std::hint::black_box;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use crate::probe::Throughput;

/// Larger than a core's own caches, as a broker's buffers are together.
const MEMORY_LEN: usize = 32 << 20;
const CHECKSUM_LEN: usize = 256 << 10;
const STREAM_LEN: usize = 64 << 10;

/// Copies memory for `duration`, at least once: bytes copied, each counted once.
pub fn measure_memcpy(duration: Duration) -> Throughput {
    let (from, mut to) = (vec![0x5a_u8; MEMORY_LEN], vec![0_u8; MEMORY_LEN]);
    repeated(duration, || {
        to.copy_from_slice(black_box(&from));
        black_box(&mut to);
        MEMORY_LEN
    })
}

/// CRC-32C over a batch's worth of bytes for `duration`, at least once.
pub fn measure_crc32c(duration: Duration) -> Throughput {
    let bytes = vec![0x5a_u8; CHECKSUM_LEN];
    repeated(duration, || {
        black_box(crc32c::crc32c(black_box(&bytes)));
        CHECKSUM_LEN
    })
}

/// One stream over loopback for `duration`: one side sends 64 KiB at a time, the other reads them.
pub fn measure_loopback(duration: Duration) -> io::Result<Throughput> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let address = listener.local_addr()?;
    std::thread::scope(|scope| {
        let reader = scope.spawn(move || {
            let (mut stream, _) = listener.accept()?;
            let mut buffer = vec![0; STREAM_LEN];
            while stream.read(&mut buffer)? > 0 {}
            io::Result::Ok(())
        });
        let mut stream = TcpStream::connect(address)?;
        let bytes = vec![0x5a; STREAM_LEN];
        let (begun_at, mut len) = (Instant::now(), 0);
        while len == 0 || begun_at.elapsed() < duration {
            stream.write_all(&bytes)?;
            len += STREAM_LEN as u64;
        }
        drop(stream);
        reader.join().expect("the reader does not panic")?;
        Ok(Throughput { len, seconds: begun_at.elapsed().as_secs_f64() })
    })
}

fn repeated(duration: Duration, mut step: impl FnMut() -> usize) -> Throughput {
    let (begun_at, mut len) = (Instant::now(), 0);
    while len == 0 || begun_at.elapsed() < duration {
        len += step() as u64;
    }
    Throughput { len, seconds: begun_at.elapsed().as_secs_f64() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_limit_is_measured_at_least_once() {
        let briefly = Duration::from_millis(5);
        let loopback = measure_loopback(briefly).expect("a stream over loopback");
        for throughput in [measure_memcpy(briefly), measure_crc32c(briefly), loopback] {
            assert!(throughput.len > 0 && throughput.mb_per_s() > 0.0, "{throughput:?}");
        }
    }
}
