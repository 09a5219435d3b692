//! The yardsticks of one run, with the scratch files they write to: the probe, the floor in three ways, raw sequential
//! transfer, loopback, memory.
//!
//! They run in the same rounds as the broker, because the same device differs by half from minute to minute. Files are made
//! when first needed.

use std::time::Duration;

use sluice_tuning::probe::{DURABLE_FILE_LEN, SEQUENTIAL_DEPTH, SEQUENTIAL_FILE_LEN};
use sluice_tuning::{DurableBlockFile, ScratchFolder, SequentialFile, Throughput};

use crate::closed_loop::{LoopFigures, saturation};
use crate::error::BenchError;
use crate::floor::{WaitMode, can_spin, measure_echo, measure_floor, measure_floor_open};
use crate::machine_speed::{measure_crc32c, measure_loopback, measure_memcpy};
use crate::measurement::Measurement;
use crate::workload::YardstickName;

const SEQUENTIAL_NAME: &str = "probe-sequential";
/// Requests a second of the paced floor.
const FLOOR_PER_S: f64 = 1000.0;
/// Memory needs no longer: it does not share a queue with anything.
const MEMORY_DURATION_MAX: Duration = Duration::from_millis(100);

/// The files, inside a scratch folder that outlives them.
#[derive(Debug)]
pub struct Yardsticks<'a> {
    folder: &'a ScratchFolder,
    durable: Option<DurableBlockFile>,
    sequential: Option<SequentialFile>,
}

impl<'a> Yardsticks<'a> {
    pub fn new(folder: &'a ScratchFolder) -> Self {
        Self { folder, durable: None, sequential: None }
    }

    /// Measures one for about `duration`. The floor is left out (`None`) where the machine has no core for each side.
    pub fn measure(&mut self, name: YardstickName, duration: Duration) -> Result<Option<Measurement>, BenchError> {
        let measured = self.try_measure(name, duration);
        if measured.is_err() {
            // A file that did not fit leaves no room for anything else.
            self.sequential = None;
            let _ = std::fs::remove_file(self.folder.join(SEQUENTIAL_NAME));
        }
        measured
    }

    fn try_measure(&mut self, name: YardstickName, duration: Duration) -> Result<Option<Measurement>, BenchError> {
        let bare = BenchError::io("the bare server");
        Ok(Some(match name {
            YardstickName::Probe => {
                latencies(LoopFigures { latencies: self.durable()?.measure(duration)?, seconds: duration.as_secs_f64() })
            }
            YardstickName::FloorSpinning if !can_spin() => return Ok(None),
            YardstickName::FloorAsleep => latencies(measure_floor(WaitMode::Asleep, self.durable()?, duration).map_err(bare)?),
            YardstickName::FloorSpinning => {
                latencies(measure_floor(WaitMode::Spinning, self.durable()?, duration).map_err(bare)?)
            }
            YardstickName::Floor1000 => paced(measure_floor_open(self.durable()?, FLOOR_PER_S, duration).map_err(bare)?),
            YardstickName::LoopbackEcho => latencies(measure_echo(duration).map_err(bare)?),
            YardstickName::Loopback => throughput(measure_loopback(duration).map_err(BenchError::io("a stream over loopback"))?),
            YardstickName::Memcpy => throughput(measure_memcpy(duration.min(MEMORY_DURATION_MAX))),
            YardstickName::Crc32c => throughput(measure_crc32c(duration.min(MEMORY_DURATION_MAX))),
            YardstickName::RawWrite => throughput(self.sequential()?.measure_write(SEQUENTIAL_DEPTH, duration)?),
            YardstickName::RawRead => throughput(self.sequential()?.measure_read(SEQUENTIAL_DEPTH, duration)?),
        }))
    }

    fn durable(&mut self) -> Result<&mut DurableBlockFile, BenchError> {
        let file = match self.durable.take() {
            Some(file) => file,
            None => DurableBlockFile::create(&self.folder.join("probe-durable"), DURABLE_FILE_LEN)?,
        };
        Ok(self.durable.insert(file))
    }

    fn sequential(&mut self) -> Result<&mut SequentialFile, BenchError> {
        let file = match self.sequential.take() {
            Some(file) => file,
            None => {
                let mut file = SequentialFile::create(&self.folder.join(SEQUENTIAL_NAME), SEQUENTIAL_FILE_LEN)?;
                file.measure_write(SEQUENTIAL_DEPTH, Duration::ZERO)?;
                file
            }
        };
        Ok(self.sequential.insert(file))
    }
}

fn latencies(figures: LoopFigures) -> Measurement {
    let reached_per_s = Some(figures.per_s());
    Measurement { latencies: Some(figures.latencies), reached_per_s, ..Measurement::default() }
}

fn paced(figures: LoopFigures) -> Measurement {
    let notes = saturation(&figures, FLOOR_PER_S).into_iter().collect();
    Measurement { asked_per_s: Some(FLOOR_PER_S), notes, ..latencies(figures) }
}

fn throughput(moved: Throughput) -> Measurement {
    Measurement { throughput_mb_s: Some(moved.mb_per_s()), ..Measurement::default() }
}
