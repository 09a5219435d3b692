//! The shard's pacer as the partitions know it.

use sluice_partition::pace::{Pace, PaceClass, PacePermit};
use sluice_shard::Pacer;
use std::future::Future;
use std::pin::Pin;

pub(crate) struct PartitionPace {
    pacer: Pacer,
}

impl PartitionPace {
    pub(crate) fn new(pacer: Pacer) -> Self {
        Self { pacer }
    }
}

impl Pace for PartitionPace {
    fn acquire(&self, class: PaceClass, len: usize) -> Pin<Box<dyn Future<Output = PacePermit>>> {
        let pacer = self.pacer.clone();
        let class = match class {
            PaceClass::WriteBack => sluice_shard::PaceClass::WriteBack,
            PaceClass::UrgentWriteBack => sluice_shard::PaceClass::UrgentWriteBack,
            PaceClass::CatchUpRead => sluice_shard::PaceClass::CatchUpRead,
            PaceClass::Scrub => sluice_shard::PaceClass::Scrub,
        };
        Box::pin(async move { Box::new(pacer.acquire(class, len as u64).await) as PacePermit })
    }
}
