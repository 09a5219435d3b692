//! The images that a power cut leaves, one cut after the other.
//!
//! The platter is carried forward from cut to cut, and what a cut does not touch is shared between its images, so
//! that a scenario of thousands of calls is walked in the time it takes to look at each image.

use crate::testing::fault_disk::FaultDisk;
use crate::testing::fault_image::{Call, Change, Unflushed};
use crate::testing::fault_platter::Platter;
use crate::testing::fault_state::State;
use std::path::PathBuf;

/// What a call does, for whoever wants to know what was under way at a cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum CallKind {
    Write,
    DurableWrite,
    Allocate,
    Truncate,
    Sync,
    SyncDir,
    Create,
    Rename,
    Remove,
    Rot,
}

/// A call that had begun and not ended when the power went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnderWay {
    pub kind: CallKind,
    /// Its file as it is called now, or its folder; empty when it has no name any more.
    pub path: PathBuf,
}

/// A walk over the cuts of a disk, in order; the calls that the disk has made when the walk begins.
pub struct Cuts {
    disk: FaultDisk,
    platter: Platter,
    /// Calls that ended: when, and which.
    completed: Vec<(usize, usize)>,
    applied: usize,
}

/// The moment of one power cut.
pub struct Cut {
    disk: FaultDisk,
    platter: Platter,
    seed: u64,
    pub under_way: Vec<UnderWay>,
}

impl FaultDisk {
    /// Begins a walk over the power cuts of everything done so far.
    #[must_use]
    pub fn cuts(&self) -> Cuts {
        let state = self.0.borrow();
        let ended = |(at, call): (usize, &Call)| call.completed.map(|event| (event, at));
        let mut completed: Vec<(usize, usize)> = state.calls.iter().enumerate().filter_map(ended).collect();
        completed.sort_unstable();
        Cuts { disk: self.clone(), platter: Platter::new(&state.base), completed, applied: 0 }
    }
}

impl Cuts {
    /// The cut while the call of this number is under way (at `call_count` after all of them). Numbers only grow.
    pub fn at(&mut self, call: usize) -> Cut {
        let state = self.disk.0.borrow();
        let at = state.calls.get(call).map_or(state.events, |call| call.issued + 1);
        while let Some(&(event, ended)) = self.completed.get(self.applied).filter(|&&(event, _)| event < at) {
            self.platter.on_completed(&state.calls[ended], event);
            self.applied += 1;
        }
        let mut platter = self.platter.clone();
        let begun = state.calls.partition_point(|call| call.issued < at);
        let is_under_way = |call: &&Call| call.completed.is_none_or(|event| event >= at);
        let mut under_way = Vec::new();
        for call in state.calls[..begun].iter().filter(is_under_way) {
            platter.on_under_way(call);
            under_way.push(UnderWay::of(call, &state));
        }
        Cut { disk: self.disk.clone(), platter, seed: state.random.clone().next_u64(), under_way }
    }
}

impl Cut {
    /// The device as it is found when the power comes back.
    #[must_use]
    pub fn image(&self, unflushed: Unflushed) -> FaultDisk {
        let crashed = FaultDisk::from_image(self.platter.image(unflushed), self.seed);
        crashed.set_capacity(self.disk.0.borrow().capacity);
        crashed.0.borrow_mut().scars = self.disk.0.borrow().scars.clone();
        crashed
    }
}

impl UnderWay {
    fn of(call: &Call, state: &State) -> Self {
        let named = |inode| state.path_of(inode).unwrap_or_default();
        let (kind, path) = match &call.change {
            Change::Write { inode, durable: true, .. } => (CallKind::DurableWrite, named(*inode)),
            Change::Write { inode, .. } => (CallKind::Write, named(*inode)),
            Change::Extend { inode, .. } => (CallKind::Allocate, named(*inode)),
            Change::Truncate { inode, .. } => (CallKind::Truncate, named(*inode)),
            Change::Sync { inode } => (CallKind::Sync, named(*inode)),
            Change::FlipBit { inode, .. } => (CallKind::Rot, named(*inode)),
            Change::SyncDir { folder } => (CallKind::SyncDir, folder.clone()),
            Change::CreateFile { path, .. } | Change::CreateDir { path } => (CallKind::Create, path.clone()),
            Change::Rename { from, .. } => (CallKind::Rename, from.clone()),
            Change::Remove { path } => (CallKind::Remove, path.clone()),
        };
        Self { kind, path }
    }
}
