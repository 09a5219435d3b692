//! Where requests that arrive in pieces are put together: bytes of the network budget, and buffers that are used again.
//!
//! A large buffer from the system costs a page fault for every 4 KiB; a few are kept, so that a steady stream of large
//! requests costs none.

use sluice_shard::{Budget, Reservation};

/// Bytes of buffers that are kept for the next request; part of the network budget.
pub(crate) const KEPT_LEN_MAX: usize = 4 * 1024 * 1024;
/// Smaller buffers are cheap to have anew.
const KEPT_BUFFER_LEN_MIN: usize = 64 * 1024;

pub(crate) struct RequestRoom {
    budget: Budget,
    kept: Vec<Vec<u8>>,
    kept_len: usize,
}

impl RequestRoom {
    pub(crate) fn new(budget: Budget) -> Self {
        Self { budget, kept: Vec::new(), kept_len: 0 }
    }

    /// A buffer of exactly `len` bytes, reserved; what is in it is anything. `None`: no room.
    pub(crate) fn take(&mut self, len: usize) -> Option<(Vec<u8>, Reservation)> {
        let fitting = |buffer: &Vec<u8>| (len..=len + len / 4).contains(&buffer.capacity());
        let Some(at) = self.kept.iter().position(fitting) else {
            let reservation = self.budget.try_reserve(len)?;
            return Some((vec![0; len], reservation));
        };
        // All of what is taken is reserved, not only what is asked for.
        let reservation = self.budget.try_reserve(self.kept[at].capacity())?;
        let mut buffer = self.kept.swap_remove(at);
        self.kept_len -= buffer.capacity();
        buffer.resize(len, 0);
        Some((buffer, reservation))
    }

    /// A request is done with.
    pub(crate) fn give_back(&mut self, buffer: Vec<u8>) {
        let len = buffer.capacity();
        if len >= KEPT_BUFFER_LEN_MIN && self.kept_len + len <= KEPT_LEN_MAX {
            self.kept_len += len;
            self.kept.push(buffer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_buffers_are_used_again_and_few_are_kept() {
        let mut room = RequestRoom::new(Budget::new(64 << 20));
        let (buffer, reservation) = room.take(1 << 20).expect("room");
        let address = buffer.as_ptr();
        drop(reservation);
        room.give_back(buffer);
        let (buffer, reservation) = room.take((1 << 20) - 100).expect("room");
        assert_eq!((buffer.as_ptr(), buffer.len(), room.kept_len), (address, (1 << 20) - 100, 0));
        assert_eq!(reservation.len(), 1 << 20, "all of the buffer is reserved");
        let (small, _reservation) = room.take(100).expect("room");
        room.give_back(small);
        assert_eq!(room.kept_len, 0);
        (0..10).for_each(|_| room.give_back(vec![0; 1 << 20]));
        assert_eq!(room.kept_len, KEPT_LEN_MAX);
        let (buffer, _reservation) = room.take(1 << 16).expect("room");
        assert_eq!(buffer.capacity(), 1 << 16, "a larger one is left where it is");
    }

    #[test]
    fn without_room_there_is_no_buffer() {
        let mut room = RequestRoom::new(Budget::new(100));
        assert!(room.take(101).is_none());
        let (_buffer, reservation) = room.take(100).expect("room");
        assert!(room.take(1).is_none());
        drop(reservation);
        assert!(room.take(1).is_some());
    }
}
