//! Where sockets are kept, under ids that are never used twice.
//!
//! A slot's place is used again and its generation is not, so an event or a call for a socket that has gone finds
//! nothing instead of a stranger.

use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsRawFd, RawFd};

/// One accepted connection of one shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(pub(super) SlotId);

/// One listening socket of one shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ListenerId(pub(super) SlotId);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct SlotId {
    place: u32,
    generation: u32,
}

impl SlotId {
    pub(super) fn token(self) -> u64 {
        u64::from(self.generation) << 32 | u64::from(self.place)
    }

    pub(super) fn from_token(token: u64) -> SlotId {
        SlotId { place: token as u32, generation: (token >> 32) as u32 }
    }
}

impl ConnectionId {
    /// A number unique within the shard, for logs.
    pub fn number(self) -> u64 {
        self.0.token()
    }

    /// Small, and another connection's once this one is gone.
    pub(super) fn place(self) -> usize {
        self.0.place as usize
    }
}

pub(super) enum Slot {
    Listener(TcpListener),
    Connection(TcpStream),
}

#[derive(Default)]
pub(super) struct Slots {
    places: Vec<Place>,
    free: Vec<u32>,
    connection_count: usize,
}

struct Place {
    generation: u32,
    /// The epoll flags of the connection that is here.
    interest: i32,
    slot: Option<Slot>,
}

impl Slots {
    pub(super) fn insert(&mut self, slot: Slot) -> SlotId {
        self.connection_count += usize::from(matches!(slot, Slot::Connection(_)));
        let place = self.free.pop().unwrap_or_else(|| {
            self.places.push(Place { generation: 0, interest: 0, slot: None });
            u32::try_from(self.places.len() - 1).expect("a process has fewer descriptors than 2^32")
        });
        let found = &mut self.places[place as usize];
        found.slot = Some(slot);
        SlotId { place, generation: found.generation }
    }

    pub(super) fn get(&self, id: SlotId) -> Option<&Slot> {
        self.places.get(id.place as usize).filter(|place| place.generation == id.generation)?.slot.as_ref()
    }

    /// Closes what is there. A place whose generations are used up (2^32 connections) is never used again.
    pub(super) fn remove(&mut self, id: SlotId) {
        let Some(place) = self.places.get_mut(id.place as usize).filter(|place| place.generation == id.generation) else {
            return;
        };
        let Some(slot) = place.slot.take() else { return };
        self.connection_count -= usize::from(matches!(slot, Slot::Connection(_)));
        if let Some(next) = place.generation.checked_add(1) {
            place.generation = next;
            self.free.push(id.place);
        }
    }

    /// Notes what a connection is watched for; whether that is a change, and the connection is here.
    pub(super) fn set_interest(&mut self, id: SlotId, interest: i32) -> bool {
        if !matches!(self.get(id), Some(Slot::Connection(_))) {
            return false;
        }
        let before = std::mem::replace(&mut self.places[id.place as usize].interest, interest);
        before != interest
    }

    /// The descriptor of a socket that is here; -1, which no call takes, when it is not.
    pub(super) fn descriptor(&self, id: SlotId) -> RawFd {
        match self.get(id) {
            Some(Slot::Listener(listener)) => listener.as_raw_fd(),
            Some(Slot::Connection(stream)) => stream.as_raw_fd(),
            None => -1,
        }
    }

    pub(super) fn connection_count(&self) -> usize {
        self.connection_count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listener() -> Slot {
        Slot::Listener(TcpListener::bind("127.0.0.1:0").expect("a free port"))
    }

    #[test]
    fn a_place_is_used_again_under_another_id() {
        let mut slots = Slots::default();
        let first = slots.insert(listener());
        assert!(slots.get(first).is_some());
        assert_eq!(SlotId::from_token(first.token()), first);
        slots.remove(first);
        slots.remove(first);
        assert!(slots.get(first).is_none());
        assert_eq!(slots.descriptor(first), -1);
        let second = slots.insert(listener());
        assert_eq!(second.place, first.place);
        assert_ne!(second, first);
        assert!(slots.get(first).is_none());
        slots.remove(first);
        assert!(slots.get(second).is_some());
    }

    #[test]
    fn a_place_is_given_up_after_its_last_generation() {
        let mut slots = Slots::default();
        let first = slots.insert(listener());
        slots.places[first.place as usize].generation = u32::MAX;
        slots.remove(SlotId { place: first.place, generation: u32::MAX });
        assert_ne!(slots.insert(listener()).place, first.place);
    }
}
