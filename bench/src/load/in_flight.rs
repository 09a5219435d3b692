//! Records that were handed over and have no outcome yet, by token.

/// One of them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Handed {
    /// Nanoseconds from the schedule's begin.
    pub intended_ns: u64,
    pub handed_ns: u64,
    /// How late the generator was with it, nanoseconds: from the later of the intended time and the moment there was room.
    pub late_ns: u64,
    /// Index of the lane's flow.
    pub flow: u32,
    /// It was refused before and offered again.
    pub was_refused: bool,
}

/// A slab: tokens are used again.
#[derive(Debug, Default)]
pub(super) struct InFlight {
    slots: Vec<Option<Handed>>,
    free: Vec<u32>,
}

impl InFlight {
    /// The next token, and the record under it.
    pub(super) fn insert(&mut self, handed: Handed) -> u64 {
        if let Some(slot) = self.free.pop() {
            self.slots[slot as usize] = Some(handed);
            return u64::from(slot);
        }
        self.slots.push(Some(handed));
        self.slots.len() as u64 - 1
    }

    /// `None` for a token that is not in flight: a system that settles a record twice.
    pub(super) fn remove(&mut self, token: u64) -> Option<Handed> {
        let slot = usize::try_from(token).ok()?;
        let handed = self.slots.get_mut(slot)?.take()?;
        self.free.push(u32::try_from(slot).ok()?);
        Some(handed)
    }

    pub(super) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
