//! The reconcile hash: how many instances have which status.
//!
//! `DOWN_1_UP_3_`: status words in alphabetical order, each with its count, each followed by `_`.
//! An empty registry is the empty text. (Netflix/eureka: `shared/Applications.java`.)
//!
//! It is a weak check: one UP instance exchanged for another goes unseen. So the follower also fetches
//! everything now and then.

use std::{collections::BTreeMap, fmt};

use landfall_model::Status;

/// Instances counted by status word, every application together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Census {
    counts: BTreeMap<String, usize>,
    unclear: usize,
}

impl Census {
    /// Counts one instance of that status.
    pub fn add(&mut self, status: Status) {
        *self.counts.entry(status.as_str().to_owned()).or_default() += 1;
    }

    /// Counts one instance whose status could not be read; it may be any.
    pub fn add_unclear(&mut self) {
        self.unclear += 1;
    }

    /// Reads a hash in whatever order it was written. `None` if it is no such text.
    pub fn parse(hash: &str) -> Option<Self> {
        let mut census = Self::default();
        let mut words: Vec<&str> = Vec::new();
        let parts = match hash.strip_suffix('_') {
            Some(parts) => parts,
            None if hash.is_empty() => return Some(census),
            None => hash,
        };
        // `OUT_OF_SERVICE` has the separator inside, so words gather until a number ends them.
        for part in parts.split('_') {
            match part.parse::<usize>() {
                Ok(count) if !words.is_empty() => {
                    *census.counts.entry(words.join("_")).or_default() += count;
                    words.clear();
                }
                _ => words.push(part),
            }
        }
        census.counts.retain(|_, count| *count > 0);
        words.is_empty().then_some(census)
    }

    /// How many instances.
    pub fn total(&self) -> usize {
        self.counts.values().sum::<usize>() + self.unclear
    }

    /// Whether both may count the same instances. One of unclear status stands for any word.
    pub fn agrees_with(&self, other: &Self) -> bool {
        let covered = |few: &Self, many: &Self| {
            few.counts
                .iter()
                .map(|(word, count)| count.saturating_sub(many.counts.get(word).copied().unwrap_or(0)))
                .sum::<usize>()
                <= many.unclear
        };
        self.total() == other.total() && covered(self, other) && covered(other, self)
    }
}

impl FromIterator<Status> for Census {
    fn from_iter<I: IntoIterator<Item = Status>>(statuses: I) -> Self {
        let mut census = Self::default();
        statuses.into_iter().for_each(|status| census.add(status));
        census
    }
}

/// The hash. Instances of unclear status are not in it.
impl fmt::Display for Census {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.counts
            .iter()
            .try_for_each(|(word, count)| write!(f, "{word}_{count}_"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_sorted_and_an_empty_registry_is_the_empty_text() {
        let census: Census = [Status::Up, Status::OutOfService, Status::Up, Status::Down, Status::Up]
            .into_iter()
            .collect();
        assert_eq!(census.to_string(), "DOWN_1_OUT_OF_SERVICE_1_UP_3_");
        assert_eq!(Census::default().to_string(), "");
    }

    #[test]
    fn a_hash_is_read_in_any_order_and_garbage_is_not_a_hash() {
        let sorted = Census::parse("DOWN_1_OUT_OF_SERVICE_2_UP_3_").unwrap();
        assert_eq!(Census::parse("UP_3_OUT_OF_SERVICE_2_DOWN_1_").unwrap(), sorted);
        assert_eq!(sorted.total(), 6);
        assert_eq!(Census::parse("").unwrap(), Census::default());
        for bad in ["UP", "UP_", "_", "<html>"] {
            assert_eq!(Census::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn an_instance_of_unclear_status_stands_for_any_word_but_not_for_two() {
        let said = Census::parse("DOWN_1_UP_1_").unwrap();
        let mut seen: Census = [Status::Up].into_iter().collect();
        assert!(!seen.agrees_with(&said));
        seen.add_unclear();
        assert!(seen.agrees_with(&said) && said.agrees_with(&seen));
        assert!(!seen.agrees_with(&Census::parse("DOWN_2_").unwrap()));
        seen.add_unclear();
        assert!(!seen.agrees_with(&said));
    }
}
