//! Which endpoints a call has been sent to before.

use super::Lease;

/// A small set of endpoints of one cluster; the first sixteen count.
#[derive(Clone, Debug, Default)]
pub struct Tried {
    indexes: [u32; 16],
    length: usize,
}

impl Tried {
    /// Notes the endpoint of a lease.
    pub fn add(&mut self, lease: &Lease) {
        if let (Some(slot), Ok(index)) = (self.indexes.get_mut(self.length), u32::try_from(lease.index())) {
            *slot = index;
            self.length += 1;
        }
    }

    /// Whether the endpoint of a lease is in it.
    pub fn contains(&self, lease: &Lease) -> bool {
        self.has(lease.index())
    }

    /// Whether there is any.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    pub(super) fn has(&self, index: usize) -> bool {
        self.indexes[..self.length].iter().any(|tried| *tried as usize == index)
    }
}
