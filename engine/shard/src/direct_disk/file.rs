//! One open file: where a write goes (inline or ring), and the calls that may wait.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::rc::Rc;

use glommio::io::{DmaBuffer, DmaFile, ReadResult};
use sluice_model::limits::BLOCK_LEN;
use sluice_storage::disk::DiskFile;

use super::buffer::{DirectBuffer, copy_of};
use super::{DeviceState, Pending, io_error, run_on_pool};
use crate::inline_choice::RingTraffic;
use crate::metrics::{add, count};

/// An open file of a `DirectDisk`. The last clone to go closes it.
#[derive(Clone)]
pub struct DirectFile {
    device: Rc<DeviceState>,
    opened: Rc<Opened>,
}

struct Opened {
    dma: DmaFile,
    path: PathBuf,
    durable_writes: bool,
}

impl DirectFile {
    pub(super) fn new(device: Rc<DeviceState>, dma: DmaFile, path: PathBuf, durable_writes: bool) -> DirectFile {
        DirectFile { device, opened: Rc::new(Opened { dma, path, durable_writes }) }
    }

    /// One blocking write on the executor's thread; the shard stands still while it lasts.
    fn write_inline(&self, position: u64, buffer: &DmaBuffer) -> io::Result<()> {
        let begun_us = self.device.clock.mono_us();
        let result = self.borrow_file(|file| file.write_all_at(buffer.as_bytes(), position));
        let now_us = self.device.clock.mono_us();
        let mut choice = self.device.inline.get();
        if choice.on_inline_write(now_us, now_us - begun_us) {
            count(&self.device.metrics.slow_inline_writes);
        }
        self.device.inline.set(choice);
        count(&self.device.metrics.inline_writes);
        result
    }

    /// Through the ring. The ring keeps the buffer until its completion even when this future is dropped, and so does
    /// the counter of what is under way only until then: a caller that drops a durable write may write nothing more.
    async fn write_by_ring(&self, mut position: u64, buffer: DmaBuffer) -> io::Result<()> {
        let traffic = &self.device.traffic;
        let (under_way, counter) = match self.opened.durable_writes {
            true => (&traffic.durable_ring_writes, &self.device.metrics.durable_ring_writes),
            false => (&traffic.bulk_writes, &self.device.metrics.bulk_writes),
        };
        count(counter);
        let _under_way = Pending::of(under_way);
        let _pending = Pending::of(&traffic.pending);
        let mut buffer = Rc::new(buffer);
        loop {
            let written = self.opened.dma.write_rc_at(buffer.clone(), position).await.map_err(io_error)?;
            if written >= buffer.len() {
                return Ok(());
            }
            let whole = written - written % BLOCK_LEN;
            if whole == 0 {
                return Err(io::Error::new(io::ErrorKind::WriteZero, "the device took less than one block"));
            }
            position += whole as u64;
            buffer = Rc::new(copy_of(&buffer.as_bytes()[whole..]));
        }
    }

    /// Goes on after a read that ended on a block: at the end of the file, or because the device took less at once.
    async fn read_on(&self, position: u64, len: usize, first: ReadResult) -> io::Result<DirectBuffer> {
        let mut more = self.read_rest(position, len, first.len()).await?;
        if more.is_empty() {
            return Ok(DirectBuffer::from_read(first));
        }
        let mut bytes = first.to_vec();
        loop {
            bytes.extend_from_slice(&more);
            if bytes.len() == len || more.is_empty() || !more.len().is_multiple_of(BLOCK_LEN) {
                return Ok(DirectBuffer::copied(&bytes));
            }
            more = self.read_rest(position, len, bytes.len()).await?;
        }
    }

    async fn read_rest(&self, position: u64, len: usize, done: usize) -> io::Result<ReadResult> {
        self.opened.dma.read_at_aligned(position + done as u64, len - done).await.map_err(io_error)
    }

    fn may_inline(&self, len: usize) -> bool {
        let traffic = &self.device.traffic;
        let in_ring = RingTraffic { durable_writes: traffic.durable_ring_writes.get(), bulk_writes: traffic.bulk_writes.get() };
        self.opened.durable_writes && self.device.inline.get().may_inline(self.device.clock.mono_us(), len, in_ring)
    }

    fn borrow_file<T>(&self, use_file: impl FnOnce(&File) -> T) -> T {
        use std::mem::ManuallyDrop;
        use std::os::fd::FromRawFd;
        // SAFETY: the descriptor stays open for as long as `self.opened` lives, which outlasts this call, and
        // `ManuallyDrop` keeps the borrowed `File` from closing it.
        let file = ManuallyDrop::new(unsafe { File::from_raw_fd(self.opened.dma.as_raw_fd()) });
        use_file(&file)
    }

    /// Runs a blocking call on the pool, on a descriptor of its own.
    async fn pool<T: Send + 'static>(&self, call: impl FnOnce(&File) -> io::Result<T> + Send + 'static) -> io::Result<T> {
        // SAFETY: the descriptor stays open for as long as `self.opened` lives, which outlasts this statement.
        let borrowed = unsafe { BorrowedFd::borrow_raw(self.opened.dma.as_raw_fd()) };
        let own = File::from(borrowed.try_clone_to_owned()?);
        run_on_pool(&self.device, move || call(&own)).await
    }
}

impl DiskFile for DirectFile {
    type Buffer = DirectBuffer;

    fn path(&self) -> PathBuf {
        self.opened.path.clone()
    }

    /// An `fstat` of an open file only reads the inode in memory, so it runs here.
    async fn len(&self) -> io::Result<u64> {
        self.borrow_file(|file| file.metadata()).map(|metadata| metadata.len())
    }

    async fn read_at(&self, position: u64, len: usize) -> io::Result<DirectBuffer> {
        check_blocks(position, len)?;
        count(&self.device.metrics.reads);
        add(&self.device.metrics.read_len, len as u64);
        if len == 0 {
            return Ok(DirectBuffer::zeroed(0));
        }
        let _pending = Pending::of(&self.device.traffic.pending);
        let read = self.opened.dma.read_at_aligned(position, len).await.map_err(io_error)?;
        if read.len() == len || !read.len().is_multiple_of(BLOCK_LEN) {
            return Ok(DirectBuffer::from_read(read));
        }
        self.read_on(position, len, read).await
    }

    async fn write_at(&self, position: u64, buffer: DirectBuffer) -> io::Result<()> {
        check_blocks(position, buffer.len())?;
        let Some(buffer) = buffer.into_dma() else { return Ok(()) };
        add(&self.device.metrics.written_len, buffer.len() as u64);
        match self.may_inline(buffer.len()) {
            true => self.write_inline(position, &buffer),
            false => self.write_by_ring(position, buffer).await,
        }
    }

    async fn allocate(&self, len: u64) -> io::Result<()> {
        self.pool(move |file| allocate(file, len)).await
    }

    async fn truncate(&self, len: u64) -> io::Result<()> {
        self.pool(move |file| file.set_len(len)).await
    }

    async fn sync(&self) -> io::Result<()> {
        self.pool(File::sync_data).await
    }
}

fn check_blocks(position: u64, len: usize) -> io::Result<()> {
    if position.is_multiple_of(BLOCK_LEN as u64) && len.is_multiple_of(BLOCK_LEN) {
        return Ok(());
    }
    let what = format!("position {position} and length {len} are not both multiples of {BLOCK_LEN}");
    Err(io::Error::new(io::ErrorKind::InvalidInput, what))
}

/// Reserves space up to `len`. A refusal may come half way; what it had reserved by then is given back.
fn allocate(file: &File, len: u64) -> io::Result<()> {
    let len_before = file.metadata()?.len();
    let wanted = libc::off_t::try_from(len).map_err(|_| io::Error::from(io::ErrorKind::FileTooLarge))?;
    if wanted == 0 {
        return Ok(());
    }
    loop {
        // SAFETY: a plain system call on a descriptor that is open for the duration of the borrow.
        if unsafe { libc::fallocate(file.as_raw_fd(), 0, 0, wanted) } == 0 {
            return Ok(());
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            file.set_len(len_before)?;
            return Err(error);
        }
    }
}
