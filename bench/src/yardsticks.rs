//! The yardsticks of one run, with the scratch files they write to: the probe, the floor in both modes, and raw sequential
//! transfer.
//!
//! They run in the same rounds as the broker, because the same device differs by half from minute to minute. Files are made
//! when first needed.

use std::time::Duration;

use sluice_tuning::probe::{DURABLE_FILE_LEN, SEQUENTIAL_DEPTH, SEQUENTIAL_FILE_LEN};
use sluice_tuning::{DurableBlockFile, ScratchFolder, SequentialFile, Throughput};

use crate::error::BenchError;
use crate::floor::{WaitMode, measure_floor};
use crate::measurement::Measurement;

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

    /// One thread, one 4 KiB write at a time, flushed.
    pub fn probe(&mut self, duration: Duration) -> Result<Measurement, BenchError> {
        let latencies = self.durable()?.measure(duration)?;
        let reached_per_s = latencies.count() as f64 / duration.as_secs_f64();
        Ok(Measurement { latencies: Some(latencies), reached_per_s: Some(reached_per_s), ..Measurement::default() })
    }

    /// The bare server.
    pub fn floor(&mut self, mode: WaitMode, duration: Duration) -> Result<Measurement, BenchError> {
        let figures = measure_floor(mode, self.durable()?, duration).map_err(BenchError::io("the bare server"))?;
        let reached_per_s = Some(figures.per_s());
        Ok(Measurement { latencies: Some(figures.latencies), reached_per_s, ..Measurement::default() })
    }

    /// Sequential direct writes of a fresh file.
    pub fn raw_write(&mut self, duration: Duration) -> Result<Measurement, BenchError> {
        Ok(throughput(self.sequential()?.measure_write(SEQUENTIAL_DEPTH, duration)?))
    }

    /// Sequential direct reads of it. Writes it first when nothing has.
    pub fn raw_read(&mut self, duration: Duration) -> Result<Measurement, BenchError> {
        Ok(throughput(self.sequential()?.measure_read(SEQUENTIAL_DEPTH, duration)?))
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
                let mut file = SequentialFile::create(&self.folder.join("probe-sequential"), SEQUENTIAL_FILE_LEN)?;
                file.measure_write(SEQUENTIAL_DEPTH, Duration::ZERO)?;
                file
            }
        };
        Ok(self.sequential.insert(file))
    }
}

fn throughput(moved: Throughput) -> Measurement {
    Measurement { throughput_mb_s: Some(moved.mb_per_s()), ..Measurement::default() }
}
