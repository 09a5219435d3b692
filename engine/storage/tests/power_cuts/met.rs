//! What a walk over cuts has met, so that one that tests nothing is noticed.

use sluice_model::Offset;
use sluice_storage::testing::busy_shard::LifeEnd;
use sluice_storage::testing::fault_cuts::{CallKind, UnderWay};
use sluice_storage::testing::fault_disk::FaultDisk;
use sluice_storage::testing::test_shard::TestShard;

macro_rules! met {
    ($($(#[$doc:meta])* $name:ident),+ $(,)?) => {
        #[derive(Clone, Copy, Debug, Default)]
        pub(crate) struct Met {
            $($(#[$doc])* pub(crate) $name: usize),+
        }

        impl Met {
            #[must_use]
            pub(crate) fn and(self, other: Self) -> Self {
                Self { $($name: self.$name + other.$name),+ }
            }

            /// Panics with what was never met.
            pub(crate) fn assert_all(&self) {
                $(assert!(self.$name > 0, "{} was never met: {self:?}", stringify!($name));)+
            }
        }
    };
}

met! {
    /// Different images of one cut, recovered and judged.
    images,
    cuts,
    recovery_cuts,
    /// Images recovered into a ring of another shape, and cut while that was made.
    new_rings,
    /// By what recovery reported.
    torn_groups,
    torn_slots,
    replayed_entries,
    sealed_segments,
    moved_log_starts,
    set_aside,
    /// By what was under way.
    overlapping_calls,
    three_calls,
    journal_and_segment,
    journal_and_checkpoint,
    truncations,
    allocations,
    creations,
    removals,
    slot_writes,
    folder_flushes,
    /// By the lives.
    wrapped_rings,
    found_full,
    acknowledged,
    straddling,
}

impl Met {
    pub(crate) fn on_image(&mut self, shard: &TestShard) {
        self.images += 1;
        self.torn_groups += usize::from(shard.report().torn_group_cut);
        self.torn_slots += shard.report().checkpoint_slots_bad as usize;
        self.replayed_entries += usize::try_from(shard.report().entries_replayed).expect("a small count");
        self.set_aside += shard.report().set_aside.len();
        for partition in shard.shard.partitions.values() {
            self.sealed_segments += partition.log.segment_count() - 1;
            self.moved_log_starts += usize::from(partition.log.log_start_offset() > Offset::ZERO);
        }
    }

    pub(crate) fn on_cut(&mut self, under_way: &[UnderWay]) {
        self.cuts += 1;
        let any = |kind: CallKind, part: &str| {
            under_way.iter().any(|call| call.kind == kind && call.path.to_string_lossy().contains(part))
        };
        let journal = any(CallKind::DurableWrite, "journal");
        self.overlapping_calls += usize::from(under_way.len() > 1);
        self.three_calls += usize::from(under_way.len() > 2);
        self.journal_and_segment += usize::from(journal && any(CallKind::Write, "partitions"));
        self.journal_and_checkpoint += usize::from(journal && any(CallKind::Write, "checkpoint"));
        self.truncations += usize::from(any(CallKind::Truncate, ""));
        self.allocations += usize::from(any(CallKind::Allocate, ""));
        self.creations += usize::from(any(CallKind::Create, ".log"));
        self.removals += usize::from(any(CallKind::Remove, ""));
        self.slot_writes += usize::from(any(CallKind::Write, "checkpoint"));
        self.folder_flushes += usize::from(any(CallKind::SyncDir, "partitions"));
    }

    pub(crate) fn on_life(&mut self, disk: &FaultDisk, end: &LifeEnd) {
        self.found_full += end.found_full as usize;
        self.acknowledged += end.model.acknowledged_count();
        let journal_starts = (0..disk.call_count()).map(|call| disk.describe_call(call));
        let to_first = journal_starts.filter(|call| call.contains("at 0 to") && call.contains("0000.journal (durable: true"));
        self.wrapped_rings += usize::from(to_first.count() > 1);
    }
}
