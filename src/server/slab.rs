//! The connections by number.
//!
//! Lives here: a table whose slots are used again.

/// A table; a value keeps its slot until it is removed.
pub(super) struct Slab<T> {
    slots: Vec<Option<T>>,
    free: Vec<usize>,
}

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Self { slots: Vec::new(), free: Vec::new() }
    }
}

impl<T> Slab<T> {
    /// How many values it holds.
    pub(super) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// The slot that the next [`Slab::insert`] takes.
    pub(super) fn next_slot(&self) -> usize {
        self.free.last().copied().unwrap_or(self.slots.len())
    }

    /// Puts a value in; gives its slot.
    pub(super) fn insert(&mut self, value: T) -> usize {
        let slot = self.next_slot();
        match self.free.pop().and_then(|free| self.slots.get_mut(free)) {
            Some(place) => *place = Some(value),
            None => self.slots.push(Some(value)),
        }
        slot
    }

    /// The value in a slot.
    pub(super) fn get_mut(&mut self, slot: usize) -> Option<&mut T> {
        self.slots.get_mut(slot)?.as_mut()
    }

    /// The values with their slots.
    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (usize, &mut T)> {
        let slots = self.slots.iter_mut().enumerate();
        slots.filter_map(|(slot, value)| Some((slot, value.as_mut()?)))
    }

    /// Takes the value out of a slot.
    pub(super) fn remove(&mut self, slot: usize) -> Option<T> {
        let value = self.slots.get_mut(slot)?.take()?;
        self.free.push(slot);
        Some(value)
    }

    /// The slots in use, as they are now.
    pub(super) fn occupied(&self) -> Vec<usize> {
        let slots = self.slots.iter().enumerate();
        slots.filter_map(|(slot, value)| value.is_some().then_some(slot)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::Slab;

    #[test]
    fn a_slot_is_used_again_once_its_value_is_gone() {
        let mut slab = Slab::default();
        assert_eq!((slab.insert('a'), slab.insert('b'), slab.len()), (0, 1, 2));
        assert_eq!((slab.remove(0), slab.remove(0), slab.len()), (Some('a'), None, 1));
        assert_eq!((slab.next_slot(), slab.insert('c'), slab.insert('d')), (0, 0, 2));
        assert_eq!(slab.occupied(), [0, 1, 2]);
    }
}
