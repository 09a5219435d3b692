//! Which segment files a shard keeps open for reading, with their indexes: a bounded number, those used least
//! lately closed first.
//!
//! The expensive mistake is a file descriptor and an index per segment of a backlog of any size. Closing is always
//! safe: who is reading holds the file itself, and the next reader opens it again.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Weak;

/// Most segment files one shard keeps open for reading.
const OPEN_SEGMENTS_MAX: usize = 128;
/// Most bytes of indexes that one shard keeps for them.
const INDEX_LEN_MAX: usize = 8 * 1024 * 1024;

/// A segment's file and index, which can be let go of.
pub(crate) trait OpenSegment {
    /// Bytes its index holds now.
    fn index_len(&self) -> usize;
    /// Whether it was used since this was last asked.
    fn take_used(&self) -> bool;
    fn close(&self);
}

#[derive(Default)]
pub(crate) struct OpenSegments {
    open: RefCell<VecDeque<Weak<dyn OpenSegment>>>,
}

impl std::fmt::Debug for OpenSegments {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "OpenSegments({})", self.open.borrow().len())
    }
}

impl OpenSegments {
    /// A segment was opened, or its index loaded; others are closed to make room for it.
    pub(crate) fn on_opened(&self, segment: Weak<dyn OpenSegment>) {
        let mut open = self.open.borrow_mut();
        open.retain(|other| other.strong_count() > 0 && !Weak::ptr_eq(other, &segment));
        open.push_back(segment);
        let mut index_len: usize = open.iter().filter_map(Weak::upgrade).map(|segment| segment.index_len()).sum();
        // Twice round is enough: the first round takes every mark of use.
        for _ in 0..open.len() * 2 {
            if open.len() <= 1 || (open.len() <= OPEN_SEGMENTS_MAX && index_len <= INDEX_LEN_MAX) {
                break;
            }
            let Some(oldest) = open.pop_front() else { break };
            let Some(segment) = oldest.upgrade() else { continue };
            if segment.take_used() {
                open.push_back(oldest);
            } else {
                index_len -= segment.index_len();
                segment.close();
            }
        }
    }
}
