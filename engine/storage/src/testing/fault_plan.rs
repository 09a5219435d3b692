//! What a fault disk is told to do wrong, and to which of the calls that come.
//!
//! Every fault waits for a call of its kind and counts down; what it then does in detail (which sectors of a failed
//! write arrive, where a misdirected one lands) is the disk's seed's or its own. Deliberately absent: power cuts,
//! which are asked for afterwards (`fault_cuts`), and bytes.

use crate::testing::fault_astray::is_named;
use crate::testing::fault_disk::FaultDisk;
use crate::testing::fault_image::InodeId;
use std::ops::Range;
use std::path::Path;

/// Which calls a fault can hit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultKind {
    /// A write fails; any sectors of it may have been written.
    Write,
    /// A flush of a file or a folder fails; what it was to flush of a file is lost at the next power cut.
    Sync,
    Read,
    /// Opening a file, or creating one.
    Open,
    /// Listing a folder.
    List,
    Allocate,
    Truncate,
    Rename,
    /// Removing a file or a folder.
    Remove,
    CreateDir,
    /// Whatever call it is.
    Any,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// EIO. Of a change other than a write or a flush, the seed says whether it happened all the same.
    Error,
    /// A write whose sectors land where this seed says; the device reports success.
    Misdirected(u64),
    /// The same for a write to a file so named; it may land nowhere, too, and does without a seed.
    Astray { name: &'static str, seed: Option<u64> },
    /// The call takes this many turns of the executor.
    Slow(u64),
}

#[derive(Clone, Copy, Debug)]
struct Armed {
    kind: FaultKind,
    /// Calls of the kind to come before it strikes.
    left: u64,
    /// Every later call of the kind is hit too.
    lasts: bool,
    fault: Fault,
}

/// What hits one call.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Hit {
    pub(super) fails: bool,
    pub(super) misdirected: Option<u64>,
    /// It goes astray; where this seed says, or nowhere.
    pub(super) is_astray: bool,
    pub(super) astray: Option<u64>,
    pub(super) turns: u64,
}

#[derive(Clone, Debug, Default)]
pub(super) struct FaultPlan {
    armed: Vec<Armed>,
    /// One call in this many is slow, and takes up to so many turns.
    pub(super) spikes: Option<(u64, u64)>,
    /// An allocation that finds too little space takes part of it before it fails.
    pub(super) allocation_leaves_part: bool,
    /// Calls of any kind so far, those that change nothing included.
    pub(super) call_count: u64,
    /// Reads that failed, and openings, so far.
    pub(super) reads_failed: u64,
    pub(super) opens_failed: u64,
    /// Bytes read so far.
    pub(super) read_len: u64,
    /// Bytes that cannot be read, until they are written again.
    unreadable: Vec<(InodeId, Range<u64>)>,
}

impl FaultPlan {
    /// A call of this kind begins, of a write to the file at `path`: what is armed for it strikes.
    pub(super) fn on_call(&mut self, kind: FaultKind, path: Option<&Path>) -> Hit {
        let mut hit = Hit::default();
        self.call_count += 1;
        self.armed.retain_mut(|armed| {
            let is_named = match armed.fault {
                Fault::Astray { name, .. } => path.is_some_and(|path| is_named(path, name)),
                _ => true,
            };
            let matches = is_named && (armed.kind == kind || armed.kind == FaultKind::Any);
            if !matches {
                return true;
            }
            if armed.left > 0 {
                armed.left -= 1;
                return true;
            }
            match armed.fault {
                Fault::Error => hit.fails = true,
                Fault::Misdirected(seed) => hit.misdirected = Some(seed),
                Fault::Astray { seed, .. } => (hit.is_astray, hit.astray) = (true, seed),
                Fault::Slow(turns) => hit.turns += turns,
            }
            armed.lasts
        });
        match kind {
            FaultKind::Read => self.reads_failed += u64::from(hit.fails),
            FaultKind::Open => self.opens_failed += u64::from(hit.fails),
            _ => {}
        }
        hit
    }
}

impl FaultPlan {
    pub(super) fn arm_astray(&mut self, left: u64, name: &'static str, seed: Option<u64>) {
        self.armed.push(Armed { kind: FaultKind::Write, left, lasts: false, fault: Fault::Astray { name, seed } });
    }

    pub(super) fn is_astray_armed(&self) -> bool {
        self.armed.iter().any(|armed| matches!(armed.fault, Fault::Astray { .. }))
    }

    pub(super) fn is_unreadable(&self, inode: InodeId, bytes: &Range<u64>) -> bool {
        self.unreadable.iter().any(|(of, bad)| *of == inode && bad.start < bytes.end && bytes.start < bad.end)
    }

    /// A device puts another sector in the place of one that is bad when it is written.
    pub(super) fn on_written(&mut self, inode: InodeId, bytes: &Range<u64>) {
        let bad = std::mem::take(&mut self.unreadable);
        for (of, bad) in bad {
            if of != inode || bad.end <= bytes.start || bytes.end <= bad.start {
                self.unreadable.push((of, bad));
                continue;
            }
            let left = [bad.start..bytes.start.max(bad.start), bytes.end.min(bad.end)..bad.end];
            self.unreadable.extend(left.into_iter().filter(|left| !left.is_empty()).map(|left| (of, left)));
        }
    }
}

impl FaultDisk {
    fn arm(&self, kind: FaultKind, left: u64, lasts: bool, fault: Fault) {
        self.0.borrow_mut().plan.armed.push(Armed { kind, left, lasts, fault });
    }

    /// Makes the `nth` next call of a kind (0 is the very next) fail.
    pub fn fail(&self, kind: FaultKind, nth: u64) {
        self.arm(kind, nth, false, Fault::Error);
    }

    /// Makes the `nth` next call of a kind fail, and every one after it.
    pub fn fail_from(&self, kind: FaultKind, nth: u64) {
        self.arm(kind, nth, true, Fault::Error);
    }

    /// Makes the `nth` next write land elsewhere: at another position of its file or of another one, as `seed` says.
    /// The intended place keeps its bytes, and the device reports success.
    pub fn misdirect(&self, nth: u64, seed: u64) {
        self.arm(FaultKind::Write, nth, false, Fault::Misdirected(seed));
    }

    /// Makes the `nth` next call of a kind take `turns` turns of the executor more than it would.
    pub fn slow(&self, kind: FaultKind, nth: u64, turns: u64) {
        self.arm(kind, nth, false, Fault::Slow(turns));
    }

    /// From now on one call in `one_in` takes up to `turns` turns more.
    pub fn set_spikes(&self, one_in: u64, turns: u64) {
        self.0.borrow_mut().plan.spikes = Some((one_in, turns));
    }

    /// Whether an allocation for which there is too little space leaves the file longer than it was, and the device
    /// fuller, before it fails with `StorageFull`; some file systems do.
    pub fn set_allocation_leaves_part(&self, leaves: bool) {
        self.0.borrow_mut().plan.allocation_leaves_part = leaves;
    }

    /// Every read that touches these bytes of a file fails from now on, until they are written again.
    pub fn make_unreadable(&self, path: &Path, bytes: Range<u64>) {
        let mut state = self.0.borrow_mut();
        let inode = state.inode(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        state.plan.unreadable.push((inode, bytes));
    }

    /// Forgets all faults that have not struck: the device works again, and gives all it has.
    pub fn clear_faults(&self) {
        let plan = &mut self.0.borrow_mut().plan;
        plan.unreadable.clear();
        plan.armed.clear();
        plan.spikes = None;
    }

    /// Whether a read, or an opening, may have failed when it was asked for again.
    #[must_use]
    pub fn may_have_failed_twice(&self) -> bool {
        let (reads, opens) = self.failed_counts();
        reads > 1 || opens > 1
    }

    /// Reads that failed so far, and openings that did.
    #[must_use]
    pub fn failed_counts(&self) -> (u64, u64) {
        let plan = &self.0.borrow().plan;
        (plan.reads_failed, plan.opens_failed)
    }

    /// Bytes that reads have given out so far.
    #[must_use]
    pub fn read_len(&self) -> u64 {
        self.0.borrow().plan.read_len
    }

    /// Calls of any kind so far, those that change nothing included: what `FaultKind::Any` counts.
    #[must_use]
    pub fn any_call_count(&self) -> u64 {
        self.0.borrow().plan.call_count
    }
}
