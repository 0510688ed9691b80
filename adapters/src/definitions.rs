//! Service definitions of Dubbo: which ones somebody asks for, and what the registries have of them.
//!
//! ```text
//! control ── want(zookeeper/org.x.Shop:1.0.0) ──▶ ┌─────────────┐ ──▶ Desk::wanted ──▶ adapter reads its metadata
//! control ◀── known ───────────────────────────── │ Definitions │ ◀── Desk::tell ◀──── … and again when it changes
//!                                                 └─────────────┘
//! ```
//!
//! A definition is some ten kilobytes of JSON, and a large registry has ten thousand of them, so only those are read that a
//! rule needs. What is known stays when its registry is lost; it is not kept on disk.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use landfall_model::{RegistryName, ServiceId};
use tokio::sync::watch;

/// Definitions by service; the name is Dubbo's service key, `group/interface:version`.
pub type Known = BTreeMap<ServiceId, Arc<str>>;

/// Where definitions are asked for and told. A clone is the same.
#[derive(Clone, Debug, Default)]
pub struct Definitions {
    wanted: watch::Sender<BTreeSet<ServiceId>>,
    known: watch::Sender<Known>,
}

impl Definitions {
    /// Asks for these and no others. What was known of others is forgotten.
    pub fn want(&self, services: BTreeSet<ServiceId>) {
        self.wanted.send_if_modified(|wanted| {
            let news = *wanted != services;
            *wanted = services;
            news
        });
        let wanted = self.wanted.borrow();
        self.known.send_if_modified(|known| {
            let before = known.len();
            known.retain(|id, _| wanted.contains(id));
            known.len() != before
        });
    }

    /// What is known, now and whenever it changes.
    pub fn known(&self) -> watch::Receiver<Known> {
        self.known.subscribe()
    }

    /// One registry's side of it.
    pub(crate) fn desk(&self, registry: RegistryName) -> Desk {
        Desk {
            registry: Some(registry),
            definitions: self.clone(),
        }
    }
}

/// One registry's side. Nothing is asked of one that is not the hub's.
#[derive(Clone, Debug, Default)]
pub(crate) struct Desk {
    registry: Option<RegistryName>,
    definitions: Definitions,
}

impl Desk {
    /// Tells when other definitions are asked for.
    pub(crate) fn changes(&self) -> watch::Receiver<BTreeSet<ServiceId>> {
        self.definitions.wanted.subscribe()
    }

    /// The service keys that this registry is asked for.
    pub(crate) fn wanted(&self) -> BTreeSet<Arc<str>> {
        let wanted = self.definitions.wanted.borrow();
        let ours = wanted.iter().filter(|id| Some(&id.registry) == self.registry.as_ref());
        ours.map(|id| id.name.clone()).collect()
    }

    /// What the registry has; `None` if it has nothing.
    pub(crate) fn tell(&self, key: &Arc<str>, definition: Option<&str>) {
        let Some(registry) = &self.registry else { return };
        let id = ServiceId::new(registry.clone(), key.clone());
        if !self.definitions.wanted.borrow().contains(&id) {
            return;
        }
        self.definitions.known.send_if_modified(|known| match definition {
            Some(text) if known.get(&id).is_some_and(|known| **known == *text) => false,
            Some(text) => {
                known.insert(id, text.into());
                true
            }
            None => known.remove(&id).is_some(),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn registry(name: &str) -> RegistryName {
        RegistryName::new(name).unwrap()
    }

    #[test]
    fn only_what_is_asked_for_is_kept_and_each_registry_is_asked_for_its_own() {
        let definitions = Definitions::default();
        let (one, other) = (definitions.desk(registry("one")), definitions.desk(registry("other")));
        let id = ServiceId::new(registry("one"), "org.x.Shop");
        definitions.want([id.clone()].into());
        let key: Arc<str> = "org.x.Shop".into();
        assert_eq!((one.wanted(), other.wanted()), ([key.clone()].into(), [].into()));

        other.tell(&key, Some("{}"));
        assert!(definitions.known().borrow().is_empty());
        let mut known = definitions.known();
        one.tell(&key, Some("{}"));
        assert_eq!(known.borrow_and_update().get(&id).map(|text| &**text), Some("{}"));
        one.tell(&key, Some("{}"));
        assert!(!known.has_changed().unwrap(), "the same is no news");
        definitions.want(BTreeSet::new());
        assert!(known.borrow_and_update().is_empty());
    }
}
