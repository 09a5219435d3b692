//! Bytes that may be held at once, and who holds them.
//!
//! What comes from outside is admitted against a budget before its bytes are read, so memory is bounded whatever
//! arrives. The expensive mistake is to give bytes back by hand: a reservation gives them back when it is dropped.
//! Deliberately absent: waiting for room. Who finds none refuses.

use std::cell::Cell;
use std::fmt;
use std::rc::Rc;

/// A number of bytes shared by the tasks of one shard. Cheap to clone; clones are the same budget.
#[derive(Clone)]
pub struct Budget {
    inner: Rc<BudgetInner>,
}

struct BudgetInner {
    len: usize,
    used: Cell<usize>,
    used_max: Cell<usize>,
}

impl Budget {
    /// A budget of `len` bytes, all free.
    pub fn new(len: usize) -> Budget {
        Budget { inner: Rc::new(BudgetInner { len, used: Cell::new(0), used_max: Cell::new(0) }) }
    }

    /// Reserves `len` bytes, or nothing when fewer are free. Zero bytes are always to be had.
    pub fn try_reserve(&self, len: usize) -> Option<Reservation> {
        self.take(len).then(|| Reservation { budget: self.clone(), len })
    }

    /// Bytes in all.
    pub fn len(&self) -> usize {
        self.inner.len
    }

    pub fn is_empty(&self) -> bool {
        self.inner.len == 0
    }

    pub fn used(&self) -> usize {
        self.inner.used.get()
    }

    pub fn free(&self) -> usize {
        self.inner.len - self.inner.used.get()
    }

    /// The most that was ever in use at once.
    pub fn used_max(&self) -> usize {
        self.inner.used_max.get()
    }

    fn take(&self, len: usize) -> bool {
        if len > self.free() {
            return false;
        }
        let used = self.used() + len;
        self.inner.used.set(used);
        self.inner.used_max.set(self.inner.used_max.get().max(used));
        true
    }

    fn give_back(&self, len: usize) {
        let used = self.used();
        assert!(len <= used, "{len} bytes given back of {used} in use");
        self.inner.used.set(used - len);
    }
}

impl fmt::Debug for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Budget {{ used: {}, len: {} }}", self.used(), self.inner.len)
    }
}

/// Bytes taken from a budget; dropping it gives them back.
#[derive(Debug)]
pub struct Reservation {
    budget: Budget,
    len: usize,
}

impl Reservation {
    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Takes `more` bytes in addition, or changes nothing and says no.
    pub fn try_grow(&mut self, more: usize) -> bool {
        let taken = self.budget.take(more);
        if taken {
            self.len += more;
        }
        taken
    }

    /// Gives back what exceeds `len` bytes.
    pub fn shrink_to(&mut self, len: usize) {
        let excess = self.len.saturating_sub(len);
        self.len -= excess;
        self.budget.give_back(excess);
    }

    /// Cuts `len` bytes off into a reservation of their own; at most what is here.
    pub fn split(&mut self, len: usize) -> Reservation {
        let len = len.min(self.len);
        self.len -= len;
        Reservation { budget: self.budget.clone(), len }
    }

    /// Takes over the bytes of another reservation of the same budget.
    pub fn merge(&mut self, mut other: Reservation) {
        assert!(Rc::ptr_eq(&self.budget.inner, &other.budget.inner), "reservations of two budgets are merged");
        self.len += std::mem::take(&mut other.len);
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.budget.give_back(self.len);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_reserved_is_used_and_comes_back_when_dropped() {
        let budget = Budget::new(100);
        let first = budget.try_reserve(60).expect("60 of 100");
        assert_eq!((budget.used(), budget.free()), (60, 40));
        assert!(budget.try_reserve(41).is_none());
        assert!(budget.try_reserve(usize::MAX).is_none());
        let second = budget.try_reserve(40).expect("the rest");
        assert!(budget.try_reserve(1).is_none());
        assert!(budget.try_reserve(0).is_some());
        drop(first);
        assert_eq!((budget.used(), budget.free(), budget.used_max()), (40, 60, 100));
        drop(second);
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn growing_shrinking_splitting_and_merging_keep_the_sum() {
        let budget = Budget::new(100);
        let mut whole = budget.try_reserve(10).expect("room");
        assert!(whole.try_grow(80));
        assert!(!whole.try_grow(11));
        assert_eq!((whole.len(), budget.used()), (90, 90));
        let part = whole.split(30);
        assert_eq!((whole.len(), part.len(), budget.used()), (60, 30, 90));
        whole.shrink_to(20);
        assert_eq!((whole.len(), budget.used()), (20, 50));
        whole.shrink_to(40);
        assert_eq!(whole.len(), 20);
        whole.merge(part);
        assert_eq!((whole.len(), budget.used()), (50, 50));
        assert_eq!(whole.split(1000).len(), 50);
        assert!(whole.is_empty());
        drop(whole);
        assert_eq!(budget.used(), 0);
    }
}
