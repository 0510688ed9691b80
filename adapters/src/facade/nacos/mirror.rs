//! What other registries have, shown in a Nacos book: which of our names went into which of Nacos' services.
//!
//! Several of our names may be one service there (`blue@@stock`, and `stock` in a facade whose group is `blue`), and what one name's
//! instances are may move it to another, so both directions are remembered.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use landfall_model::Instance;

use super::{
    book::{Book, Key},
    record::Record,
};
use crate::facade::{project, shared::Shared};

/// What is mirrored into one book.
#[derive(Debug)]
pub(crate) struct Mirrors {
    book: Arc<Shared<Book>>,
    /// Of services that have none.
    group: String,
    parts: BTreeMap<Key, BTreeMap<Arc<str>, Vec<Record>>>,
    places: BTreeMap<Arc<str>, BTreeSet<Key>>,
}

impl Mirrors {
    /// Into this book; nothing yet.
    pub(crate) fn new(book: Arc<Shared<Book>>, group: String) -> Self {
        Self {
            book,
            group,
            parts: BTreeMap::new(),
            places: BTreeMap::new(),
        }
    }

    /// Shows these instances of one of our names, and no others of it.
    pub(crate) fn show<'a>(&mut self, name: &Arc<str>, instances: impl Iterator<Item = &'a Instance>) {
        let mut fresh: BTreeMap<Key, Vec<Record>> = BTreeMap::new();
        for (key, record) in instances.filter_map(|one| project::nacos(name, &self.group, one)) {
            let key = self.book.read(|book| book.own(&key));
            fresh.entry(key).or_default().push(record);
        }
        let now: BTreeSet<Key> = fresh.keys().cloned().collect();
        let before = match now.is_empty() {
            true => self.places.remove(name),
            false => self.places.insert(name.clone(), now.clone()),
        };
        for key in before.unwrap_or_default().union(&now) {
            let parts = self.parts.entry(key.clone()).or_default();
            match fresh.remove(key) {
                Some(records) => drop(parts.insert(name.clone(), records)),
                None => drop(parts.remove(name)),
            }
            let all: Vec<Record> = parts.values().flatten().cloned().collect();
            if all.is_empty() {
                self.parts.remove(key);
            }
            self.book.tend(|book, now| book.mirror(key, all, now));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facade::{
        nacos::book::{Asked, Limits},
        view::tests::instance,
    };

    #[test]
    fn two_names_that_are_one_service_there_do_not_take_each_other_away() {
        let book = Shared::new(Book::view(Limits::default(), 1));
        let mut mirrors = Mirrors::new(book.clone(), "blue".to_owned());
        let ports = |service: &str| {
            let key = book.read(|book| book.key("any", "blue", service)).unwrap();
            let (info, _) = book.read(|book| book.info(&key, &Asked::default(), book_now()));
            let hosts = info["hosts"].as_array().unwrap().clone();
            hosts
                .iter()
                .map(|host| host["port"].as_u64().unwrap())
                .collect::<Vec<_>>()
        };
        fn book_now() -> crate::facade::shared::Moment {
            Default::default()
        }
        let (one, two) = (instance("a", 1), instance("b", 2));
        mirrors.show(&"stock".into(), [&one].into_iter());
        mirrors.show(&"blue@@stock".into(), [&two].into_iter());
        assert_eq!(ports("stock"), [1, 2]);
        mirrors.show(&"stock".into(), [].into_iter());
        assert_eq!(ports("stock"), [2]);
        mirrors.show(&"blue@@stock".into(), [].into_iter());
        assert!(ports("stock").is_empty() && mirrors.parts.is_empty() && mirrors.places.is_empty());
    }
}
