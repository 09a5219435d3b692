//! What is kept for every connection of a shard, found by its id without hashing: a request asks for it a dozen times.
//!
//! An id's place is used again, its generation is not; the expensive mistake is to give out what belongs to a connection
//! that had the place before, so the whole id is compared. Deliberately absent: the sockets themselves (`slots`).

use super::slots::ConnectionId;

/// At most one value for each connection.
pub struct ConnectionMap<T> {
    places: Vec<Option<(ConnectionId, T)>>,
    count: usize,
}

impl<T> Default for ConnectionMap<T> {
    fn default() -> Self {
        Self { places: Vec::new(), count: 0 }
    }
}

impl<T> ConnectionMap<T> {
    /// Keeps `value`; what was kept in this place before is gone, as is its connection.
    pub fn insert(&mut self, id: ConnectionId, value: T) {
        let place = id.place();
        if place >= self.places.len() {
            self.places.resize_with(place + 1, || None);
        }
        if self.places[place].replace((id, value)).is_none() {
            self.count += 1;
        }
    }

    #[must_use]
    pub fn get(&self, id: &ConnectionId) -> Option<&T> {
        self.places.get(id.place())?.as_ref().filter(|(other, _)| other == id).map(|(_, value)| value)
    }

    #[must_use]
    pub fn get_mut(&mut self, id: &ConnectionId) -> Option<&mut T> {
        self.places.get_mut(id.place())?.as_mut().filter(|(other, _)| other == id).map(|(_, value)| value)
    }

    pub fn remove(&mut self, id: &ConnectionId) -> Option<T> {
        let (_, value) = self.places.get_mut(id.place())?.take_if(|(other, _)| other == id)?;
        self.count -= 1;
        Some(value)
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.count
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// In the order of their places.
    pub fn iter(&self) -> impl Iterator<Item = (ConnectionId, &T)> {
        self.places.iter().flatten().map(|(id, value)| (*id, value))
    }
}

#[cfg(test)]
mod tests {
    use super::super::slots::SlotId;
    use super::*;

    fn id(place: u32, generation: u32) -> ConnectionId {
        ConnectionId(SlotId::from_token(u64::from(generation) << 32 | u64::from(place)))
    }

    #[test]
    fn an_id_finds_its_own_value_and_no_other_of_the_same_place() {
        let mut map = ConnectionMap::default();
        map.insert(id(2, 0), "a");
        map.insert(id(0, 7), "b");
        assert_eq!((map.len(), map.get(&id(2, 0)), map.get(&id(0, 7))), (2, Some(&"a"), Some(&"b")));
        for other in [id(2, 1), id(0, 0), id(1, 0), id(3, 0), id(u32::MAX, 0)] {
            assert_eq!(map.get(&other), None, "{other:?}");
            assert_eq!(map.get_mut(&other), None, "{other:?}");
            assert_eq!(map.remove(&other), None, "{other:?}");
        }
        assert_eq!(map.remove(&id(2, 0)), Some("a"));
        assert_eq!((map.remove(&id(2, 0)), map.len()), (None, 1));
        map.insert(id(2, 1), "c");
        *map.get_mut(&id(2, 1)).expect("it is kept") = "d";
        assert_eq!(map.iter().collect::<Vec<_>>(), [(id(0, 7), &"b"), (id(2, 1), &"d")]);
        map.insert(id(2, 2), "e");
        assert_eq!((map.len(), map.get(&id(2, 1)), map.get(&id(2, 2))), (2, None, Some(&"e")));
    }
}
