//! Values under small numbers that are used again, with a generation so that an old number names nothing.

/// Names a value in a [`Slab`]; never equal to the key of a value that was in the same place before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Key {
    pub(crate) index: u32,
    generation: u32,
}

impl Key {
    pub(crate) fn to_u64(self) -> u64 {
        u64::from(self.generation) << 32 | u64::from(self.index)
    }

    pub(crate) fn from_u64(value: u64) -> Self {
        Self { index: (value & u64::from(u32::MAX)) as u32, generation: (value >> 32) as u32 }
    }
}

pub(crate) struct Slab<T> {
    places: Vec<(u32, Option<T>)>,
    free: Vec<u32>,
}

impl<T> Slab<T> {
    pub(crate) fn new() -> Self {
        Self { places: Vec::new(), free: Vec::new() }
    }

    pub(crate) fn insert(&mut self, value: T) -> Key {
        let index = self.free.pop().unwrap_or_else(|| {
            self.places.push((0, None));
            u32::try_from(self.places.len() - 1).expect("connections and requests are bounded far below u32::MAX")
        });
        let place = &mut self.places[index as usize];
        place.1 = Some(value);
        Key { index, generation: place.0 }
    }

    pub(crate) fn remove(&mut self, key: Key) -> Option<T> {
        let place = self.places.get_mut(key.index as usize).filter(|place| place.0 == key.generation)?;
        let value = place.1.take()?;
        place.0 = place.0.wrapping_add(1);
        self.free.push(key.index);
        Some(value)
    }

    /// The value in a place, whichever it is: for callers whose numbers are used again only when they are done.
    pub(crate) fn at_mut(&mut self, index: u32) -> Option<&mut T> {
        self.places.get_mut(index as usize)?.1.as_mut()
    }

    pub(crate) fn remove_at(&mut self, index: u32) -> Option<T> {
        let generation = self.places.get(index as usize)?.0;
        self.remove(Key { index, generation })
    }

    pub(crate) fn len(&self) -> usize {
        self.places.len() - self.free.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_key_names_nothing() {
        let mut slab = Slab::new();
        let first = slab.insert("a");
        assert_eq!(slab.remove(first), Some("a"));
        let second = slab.insert("b");
        assert_eq!((second.index, slab.len()), (first.index, 1));
        assert_eq!(slab.remove(first), None);
        assert_eq!(slab.at_mut(second.index), Some(&mut "b"));
        assert_eq!(slab.remove(Key::from_u64(second.to_u64())), Some("b"));
        assert_eq!(slab.remove_at(0), None);
        assert_eq!(slab.at_mut(0), None);
        assert_eq!(slab.len(), 0);
    }
}
