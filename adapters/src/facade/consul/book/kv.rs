//! A small key-value store: enough for clients that read their configuration from it and write it by hand.
//! No sessions, locks or transactions.

use super::{super::record::Value, Book, Refusal};

impl Book {
    /// Writes a value, already in base64. With `cas` only if the key was last changed at that index (0: is not
    /// there). Answers whether it was written.
    ///
    /// # Errors
    /// [`Refusal::Full`].
    pub fn kv_put(&mut self, key: &str, value: String, flags: u64, cas: Option<u64>) -> Result<bool, Refusal> {
        let known = self.kv.get(key);
        if cas.is_some_and(|cas| cas != known.map_or(0, |known| known.modified)) {
            return Ok(false);
        }
        let size = |key: &str, value: &str| key.len() + value.len();
        let held: usize = self.kv.iter().map(|(key, one)| size(key, &one.value)).sum();
        let before = known.map_or(0, |known| size(key, &known.value));
        if known.is_none() && self.kv.len() >= self.limits.keys {
            return Err(Refusal::Full(format!(
                "the store holds {} keys, which is its limit",
                self.limits.keys
            )));
        }
        if held - before + size(key, &value) > self.limits.kv_bytes {
            return Err(Refusal::Full(format!(
                "the store holds {} bytes, which is its limit",
                self.limits.kv_bytes
            )));
        }
        if known.is_some_and(|known| known.value == value && known.flags == flags) {
            return Ok(true);
        }
        let created = known.map(|known| known.created);
        let index = self.turn();
        self.marks.kv = index;
        let value = Value {
            value,
            flags,
            created: created.unwrap_or(index),
            modified: index,
        };
        self.kv.insert(key.to_owned(), value);
        Ok(true)
    }

    /// Removes a key, or with `recurse` all that begin with it. Answers `false` only if `cas` does not fit.
    pub fn kv_delete(&mut self, key: &str, recurse: bool, cas: Option<u64>) -> bool {
        if let Some(cas) = cas {
            match self.kv.get(key) {
                Some(known) if known.modified == cas => {}
                _ => return false,
            }
        }
        let before = self.kv.len();
        if recurse {
            self.kv.retain(|known, _| !known.starts_with(key));
        } else {
            self.kv.remove(key);
        }
        if self.kv.len() != before {
            let index = self.turn();
            self.marks.kv = index;
        }
        true
    }

    /// The value under a key.
    pub fn kv_get(&self, key: &str) -> Option<&Value> {
        self.kv.get(key)
    }

    /// All keys that begin with this.
    pub fn kv_under<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = (&'a String, &'a Value)> {
        self.kv
            .range(prefix.to_owned()..)
            .take_while(move |(key, _)| key.starts_with(prefix))
    }
}
