//! The containers that the walk is inside of, and what each waits for.

/// What a container waits for.
#[derive(Debug, Clone, Copy)]
pub(super) enum Open {
    Values(usize),
    UntilEnd,
    Key,
    MapValue,
}

const INLINE: usize = 16;

/// The containers that are open. What ordinary calls need is in place; only deep nesting allocates.
#[derive(Debug, Clone)]
pub(super) struct Nested {
    shallow: [Open; INLINE],
    deep: Vec<Open>,
    count: usize,
}

impl Default for Nested {
    fn default() -> Self {
        Self {
            shallow: [Open::UntilEnd; INLINE],
            deep: Vec::new(),
            count: 0,
        }
    }
}

impl Nested {
    pub(super) fn len(&self) -> usize {
        self.count
    }

    pub(super) fn clear(&mut self) {
        self.count = 0;
        self.deep.clear();
    }

    pub(super) fn top(&mut self) -> Option<&mut Open> {
        let last = self.count.checked_sub(1)?;
        if last < INLINE {
            self.shallow.get_mut(last)
        } else {
            self.deep.last_mut()
        }
    }

    pub(super) fn push(&mut self, open: Open) {
        match self.shallow.get_mut(self.count) {
            Some(place) => *place = open,
            None => self.deep.push(open),
        }
        self.count += 1;
    }

    pub(super) fn pop(&mut self) {
        if self.count > INLINE {
            self.deep.pop();
        }
        self.count = self.count.saturating_sub(1);
    }
}
