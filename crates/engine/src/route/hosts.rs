//! Values by host name, the most specific first.

use std::{
    collections::HashMap,
    hash::{BuildHasherDefault, Hasher},
};

use landfall_model::rules::HostPattern;

/// Something per host pattern.
#[derive(Debug)]
pub struct HostMap<T> {
    exact: TextMap<T>,
    suffix: TextMap<T>,
    any: Option<T>,
}

impl<T> Default for HostMap<T> {
    fn default() -> Self {
        Self {
            exact: TextMap::default(),
            suffix: TextMap::default(),
            any: None,
        }
    }
}

impl<T> HostMap<T> {
    /// The value of a pattern, made by `make` if there is none yet.
    pub fn entry(&mut self, pattern: &HostPattern, make: impl FnOnce() -> T) -> &mut T {
        match pattern {
            HostPattern::Any => self.any.get_or_insert_with(make),
            HostPattern::Suffix(text) => self.suffix.entry(text.as_bytes().into()).or_insert_with(make),
            HostPattern::Exact(text) => self.exact.entry(text.as_bytes().into()).or_insert_with(make),
        }
    }

    /// The values whose pattern takes `host` (lower case, without port): exact, then longer wildcards, then any.
    pub fn matching<'m, 'h>(&'m self, host: &'h str) -> impl Iterator<Item = &'m T> + use<'m, 'h, T> {
        let exact = self.exact.get(host.as_bytes());
        // `*.example.com` is kept as `.example.com` and needs a label in front, so a dot at 0 does not count.
        let dots = if self.suffix.is_empty() { "" } else { host };
        let suffixes = dots
            .bytes()
            .enumerate()
            .skip(1)
            .filter(|(_, byte)| *byte == b'.')
            .filter_map(|(at, _)| self.suffix.get(&host.as_bytes()[at..]));
        exact.into_iter().chain(suffixes).chain(&self.any)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.exact.is_empty() && self.suffix.is_empty() && self.any.is_none()
    }

    /// Every value.
    pub fn values_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.exact
            .values_mut()
            .chain(self.suffix.values_mut())
            .chain(&mut self.any)
    }
}

/// A map by bytes. Only the configuration puts keys in, so nobody can make them collide and a quick hash will do.
pub type TextMap<T> = HashMap<Box<[u8]>, T, BuildHasherDefault<QuickHasher>>;

/// Multiply and rotate, eight bytes at a time; for keys that come from the configuration.
#[derive(Default)]
pub struct QuickHasher(u64);

impl QuickHasher {
    fn add(&mut self, word: u64) {
        self.0 = (self.0.rotate_left(5) ^ word).wrapping_mul(0x517c_c1b7_2722_0a95);
    }
}

impl Hasher for QuickHasher {
    fn write(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks::<8>();
        for word in words {
            self.add(u64::from_le_bytes(*word));
        }
        if !rest.is_empty() {
            let mut last = [0; 8];
            last[..rest.len()].copy_from_slice(rest);
            self.add(u64::from_le_bytes(last));
        }
    }

    fn write_usize(&mut self, length: usize) {
        self.add(length as u64);
    }

    fn finish(&self) -> u64 {
        // The map takes its buckets from the low bits and its tags from the high ones; the product is strong only above.
        self.0 ^ (self.0 >> 32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_specific_pattern_comes_first() {
        let mut map = HostMap::default();
        for text in ["", "*.com", "*.example.com", "a.example.com"] {
            let pattern = HostPattern::parse(text);
            map.entry(&pattern, || text.to_owned());
        }
        let found = |host| map.matching(host).cloned().collect::<Vec<_>>();
        assert_eq!(found("a.example.com"), ["a.example.com", "*.example.com", "*.com", ""]);
        assert_eq!(found("b.a.example.com"), ["*.example.com", "*.com", ""]);
        assert_eq!(found("example.com"), ["*.com", ""]);
        assert_eq!(found(".com"), [""]);
        assert_eq!(found(""), [""]);
    }
}
