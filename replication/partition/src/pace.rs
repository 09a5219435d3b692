//! What the machine does about device work that is not produce: it makes it wait its turn.

use sluice_storage::read_turns::{ReadTurns, Turn};
use std::any::Any;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;

/// Why device work is done, which says how long it may be made to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PaceClass {
    /// Segments written back while there is time.
    WriteBack,
    /// Segments written back because memory or the journal's ring runs out, and read where that has to wait for it.
    UrgentWriteBack,
    /// Segments read for those who fetch what is no longer in memory.
    CatchUpRead,
    /// Everything read again to see that it is good: there is always time.
    Scrub,
}

/// Held while the device works.
pub type PacePermit = Box<dyn Any>;

/// A shard's part of its device's budget.
pub trait Pace {
    /// Waits until `len` bytes of this class may go to the device.
    fn acquire(&self, class: PaceClass, len: usize) -> Pin<Box<dyn Future<Output = PacePermit>>>;
}

/// Turns of reads that may be long.
pub(crate) struct ReadPace {
    pacer: Rc<dyn Pace>,
    class: PaceClass,
}

impl ReadPace {
    pub(crate) fn new(pacer: Rc<dyn Pace>, class: PaceClass) -> Self {
        Self { pacer, class }
    }
}

impl ReadTurns for ReadPace {
    fn turn(&self, len: usize) -> Pin<Box<dyn Future<Output = Turn>>> {
        self.pacer.acquire(self.class, len)
    }
}

/// No pacing at all, for tests and tools.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unpaced;

impl Pace for Unpaced {
    fn acquire(&self, _class: PaceClass, _len: usize) -> Pin<Box<dyn Future<Output = PacePermit>>> {
        Box::pin(std::future::ready(Box::new(()) as PacePermit))
    }
}
