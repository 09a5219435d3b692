//! Properties of a device that there is not, for tests and as a seed for fuzzing: one row of each kind.

use super::{DeviceIdentity, Disk, Figures, FlushUnderLoad, Latency, Properties, Transfer, WriteBesideReads};
use std::time::{Duration, UNIX_EPOCH};

fn latency(p50: f64) -> Latency {
    Latency { samples: 1000, p50, p90: p50 * 2.0, p99: p50 * 4.0, p99_9: p50 * 8.0, max: p50 * 16.0 }
}

/// The same at every call.
#[must_use]
pub fn made_up() -> Properties {
    let transfer = |size, rate, p50| Transfer { size, depth: 4, rate, latency: latency(p50) };
    let disk = Disk { name: "nvme0n1".to_owned(), model: Some("A \"MODEL\"".to_owned()), serial: Some("S1".to_owned()) };
    Properties {
        measured_at: UNIX_EPOCH + Duration::from_secs(1_795_000_000),
        measured_for: Duration::from_millis(95_123),
        build: "sluice 0.1.0 (release)".to_owned(),
        kernel: "6.18.0".to_owned(),
        device: DeviceIdentity {
            machine: Some("0123456789abcdef0123456789abcdef".to_owned()),
            name: "nvme0n1p1".to_owned(),
            number: "259:1".to_owned(),
            len: Some(1 << 40),
            volume_uuid: Some("0b9e-77".to_owned()),
            file_system: "ext4".to_owned(),
            file_system_uuid: Some("571758ba-c832-4af3-aa94-2e3921eec320".to_owned()),
            disks: vec![disk],
        },
        figures: Figures {
            direct_writes: vec![transfer(1 << 20, 1_671_000_000.0, 600.1)],
            durable_writes: vec![transfer(4096, 40_960_300.0, 97.5)],
            reads: vec![transfer(65_536, 983_000_000.0, 66.0)],
            flushes_under_load: vec![
                FlushUnderLoad { load: 0.0, written: 0.0, latency: latency(120.0) },
                FlushUnderLoad { load: 50.0, written: 800_000_000.0, latency: latency(240.0) },
            ],
            writes_beside_reads: vec![WriteBesideReads {
                size: 262_144,
                depth: 4,
                read: 1_200_000_000.0,
                read_latency: latency(500.0),
                latency: latency(200.0),
            }],
            loopback_rate: 4_500_000_000.0,
            loopback_round_trip: latency(23.45),
            memory_copy_rate: 9_000_000_000.0,
            checksum_rate: 21_000_000_000.0,
        },
    }
}
