//! The application level of what is held: documents, mappings and instances, in the order in which consumers need them.
//!
//! ```text
//! due ─▶ compose ─▶ 1 /dubbo/metadata/<application>/<revision>   persistent; never changed, its name is its digest
//!                   2 /dubbo/mapping/<interface>                 the application's name added, by compare and set
//!                   3 /services/<application>/<host:port>        ephemeral
//! removed ─▶ 3 at once; after GRACE 2 and 1, if nobody needs them any more
//! ```
//!
//! An instance is due when it is new, when a provider of it comes, changes or goes, in a new session, and at every
//! look at what stands there.
//!
//! - An instance's node is ours by the marks in it. A native one is never touched, and none is put into a folder where
//!   applications that are not Dubbo's register: their consumers could not read it.
//! - A mapping belongs to many. What we have added to it is noted beside it, in the same transaction, as
//!   `/landfall/<cluster>/mapping/…/<application>/<interface>`; only what is noted is taken out, and only
//!   when no instance of the application stands any more that is not ours.
//! - An interface that native providers of the registry serve at the interface level alone is left alone here: a consumer
//!   of Dubbo 3 prefers the application level, so our copies would take all calls from them.
//!
//! Next on the path: `nodes`.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use futures_util::{StreamExt as _, stream};
use tokio::time::Instant;

use super::{
    AT_ONCE, Core, Counts, Held,
    instance::{self, Composed, Owner},
    nodes::{Nodes, Placed},
    shape::interface_of,
};
use crate::{
    publish::{Key, Record, WriteError, mark},
    zookeeper::url::DubboUrl,
};

/// How long a document and a mapping are kept after nobody needs them: a consumer may just have read the instance.
pub(super) const GRACE: Duration = Duration::from_secs(5);
/// How long changes of providers are gathered, so that a document is not written for each.
pub(super) const GATHER: Duration = Duration::from_millis(250);

/// Why an instance is not written.
const TAKEN: &str = "another instance stands at this address";

/// What came of each instance.
pub(super) type Answers = BTreeMap<Key, Result<(), WriteError>>;

impl Core {
    /// A provider has come, changed or gone: instances that serve it are due.
    pub(super) fn touch(&self, provider: &Record) {
        let Some(application) = provider.instance.metadata.get("application") else {
            return;
        };
        let first = Key {
            service: application.clone(),
            id: "".into(),
        };
        let mut held = self.held();
        let of_it = held
            .range_mut(first..)
            .take_while(|(key, _)| key.service == *application);
        for (key, known) in of_it {
            if instance::is_key_of_application(key) && instance::serves(&known.record, provider) {
                known.is_due = true;
                self.gathering().get_or_insert_with(Instant::now);
            }
        }
    }

    /// Notes that something of an application may not be needed any more.
    pub(super) fn leaves(&self, application: &str) {
        self.leaving()
            .entry(application.to_owned())
            .or_insert_with(Instant::now);
    }

    /// Writes these instances. `replacing`: where another cluster's stands, too.
    pub(super) async fn applications(&self, nodes: &Nodes<'_>, keys: &BTreeSet<Key>, replacing: bool) -> Answers {
        let composed = self.compose(nodes, keys).await;
        let foreign = self.foreign_folders(nodes, composed.keys()).await;
        let taken = self.taken(nodes, &composed, replacing).await;
        let wanted: BTreeSet<(String, Arc<str>)> = composed
            .iter()
            .filter(|(key, _)| !foreign.contains(&key.service) && !taken.contains(*key))
            .flat_map(|(key, (_, composed))| {
                let interfaces = composed.interfaces.iter();
                interfaces.map(|interface| (interface.clone(), key.service.clone()))
            })
            .collect();
        // One after the other within an interface: each is a read and a write of the same node.
        let mut by_interface: BTreeMap<String, Vec<Arc<str>>> = BTreeMap::new();
        for (interface, application) in wanted {
            by_interface.entry(interface).or_default().push(application);
        }
        let maps = by_interface.into_iter().map(|(interface, applications)| async move {
            let mut failed = Vec::new();
            for application in applications {
                if let Err(error) = self.map(nodes, &interface, &application).await {
                    failed.push(((interface.clone(), application), error));
                }
            }
            failed
        });
        let maps: Vec<_> = maps.collect();
        let failed: Vec<Vec<_>> = stream::iter(maps).buffer_unordered(AT_ONCE).collect().await;
        let failed: BTreeMap<(String, Arc<str>), WriteError> = failed.into_iter().flatten().collect();
        let (failed, foreign, taken) = (&failed, &foreign, &taken);
        let writes: Vec<_> = composed
            .into_iter()
            .map(|(key, (held, composed))| async move {
                let unmapped = composed
                    .interfaces
                    .iter()
                    .find_map(|interface| failed.get(&(interface.clone(), key.service.clone())));
                let done = match unmapped {
                    Some(error) => Err(error.clone()),
                    None if foreign.contains(&key.service) => Err(self.rejected(
                        &key,
                        "applications that are not Dubbo's register under this name: rename or exclude one of them",
                    )),
                    None if taken.contains(&key) => Err(self.rejected(&key, TAKEN)),
                    None => self.instance(nodes, &key, &held, &composed, replacing).await,
                };
                (key, done)
            })
            .collect();
        stream::iter(writes).buffer_unordered(AT_ONCE).collect().await
    }

    /// What is to be written for instances, from what is held.
    async fn compose(&self, nodes: &Nodes<'_>, keys: &BTreeSet<Key>) -> BTreeMap<Key, (Held, Composed)> {
        let mut instances: BTreeMap<Key, Held> = BTreeMap::new();
        let mut providers: BTreeMap<Arc<str>, Vec<Arc<Record>>> = BTreeMap::new();
        {
            let held = self.held();
            for key in keys {
                if let Some(known) = held.get(key) {
                    instances.insert(key.clone(), known.clone());
                    providers.entry(key.service.clone()).or_default();
                }
            }
            let of_providers = held.iter().filter(|(key, _)| !instance::is_key_of_application(key));
            for (_, known) in of_providers {
                let named = known.record.instance.metadata.get("application");
                if let Some(of_it) = named.and_then(|named| providers.get_mut(named)) {
                    of_it.push(known.record.clone());
                }
            }
        }
        let interfaces: BTreeSet<String> = providers
            .values()
            .flatten()
            .map(|provider| interface_of(&provider.service).to_owned())
            .collect();
        let alone = &self.left_alone(nodes, interfaces).await;
        instances
            .into_iter()
            .map(|(key, held)| {
                let of_it = providers.get(&key.service).into_iter().flatten().map(Arc::as_ref);
                let composed = instance::compose(
                    &held.record,
                    of_it,
                    |interface| alone.contains(interface),
                    &self.cluster,
                );
                (key, (held, composed))
            })
            .collect()
    }

    /// The interfaces which a native provider serves that no instance of its application stands for.
    async fn left_alone(&self, nodes: &Nodes<'_>, interfaces: BTreeSet<String>) -> BTreeSet<String> {
        let folders = interfaces
            .iter()
            .filter_map(|interface| self.access.providers(interface))
            .collect();
        let folders = self.read(nodes, folders).await;
        let mut natives: BTreeMap<&String, Vec<DubboUrl>> = BTreeMap::new();
        for interface in &interfaces {
            let children = self
                .access
                .providers(interface)
                .and_then(|folder| folders.get(&folder)?.as_ref().ok());
            let urls = children
                .into_iter()
                .flatten()
                .filter_map(|node| DubboUrl::from_node_name(node).ok());
            let natives_here: Vec<DubboUrl> = urls.filter(|url| url.get(mark::ORIGIN).is_none()).collect();
            natives.insert(interface, natives_here);
        }
        let application = |url: &DubboUrl| self.access.application(url.get("application")?);
        let folders = natives.values().flatten().filter_map(application).collect();
        let folders = self.read(nodes, folders).await;
        let is_at_both = |url: &DubboUrl| {
            // Written at the interface level a moment before the other one.
            if url.get("service-name-mapping") == Some("true") {
                return true;
            }
            let instances = application(url).and_then(|folder| folders.get(&folder)?.as_ref().ok());
            let host = format!("{}:", url.host);
            instances.is_some_and(|instances| instances.iter().any(|node| node.starts_with(&host)))
        };
        natives
            .into_iter()
            .filter(|(_, urls)| urls.iter().any(|url| !is_at_both(url)))
            .map(|(interface, _)| interface.clone())
            .collect()
    }

    /// The applications in whose folders stands what is not Dubbo's.
    async fn foreign_folders<'a>(&self, nodes: &Nodes<'_>, keys: impl Iterator<Item = &'a Key>) -> BTreeSet<Arc<str>> {
        let names: BTreeSet<Arc<str>> = keys.map(|key| key.service.clone()).collect();
        let looks: Vec<_> = names
            .into_iter()
            .map(|name| async move {
                let folder = self.access.application(&name)?;
                let children = nodes.children(&folder).await.ok()?;
                let strange = children.iter().find(|child| {
                    let key = Key {
                        service: name.clone(),
                        id: child.as_str().into(),
                    };
                    !self.held().contains_key(&key)
                })?;
                let (data, _) = nodes.read(&format!("{folder}/{strange}")).await.ok()??;
                (!instance::is_of_dubbo(&data)).then_some(name)
            })
            .collect();
        let found = stream::iter(looks).buffer_unordered(AT_ONCE);
        found.filter_map(async |name| name).collect().await
    }

    /// Those at whose places others stand, so that nothing is written for them.
    async fn taken(
        &self,
        nodes: &Nodes<'_>,
        composed: &BTreeMap<Key, (Held, Composed)>,
        replacing: bool,
    ) -> BTreeSet<Key> {
        let looks: Vec<_> = composed
            .iter()
            .map(|(key, (held, _))| async move {
                let (data, _) = nodes.read(&held.path).await.ok()??;
                (!self.may_replace(&data, replacing)).then(|| key.clone())
            })
            .collect();
        let found = stream::iter(looks).buffer_unordered(AT_ONCE);
        found.filter_map(async |key| key).collect().await
    }

    fn may_replace(&self, data: &[u8], replacing: bool) -> bool {
        match instance::owner(data, &self.cluster) {
            Owner::Ours => true,
            Owner::Another => replacing,
            Owner::Native => false,
        }
    }

    async fn map(&self, nodes: &Nodes<'_>, interface: &str, application: &str) -> Result<(), WriteError> {
        if !self.permit.holds() {
            return Err(WriteError::NotPermitted);
        }
        let note = format!("{}/{application}/{interface}", self.access.mapped_by(&self.cluster));
        nodes.map(&self.access.mapping(interface), &note, application).await
    }

    /// One instance with its document.
    async fn instance(
        &self,
        nodes: &Nodes<'_>,
        key: &Key,
        held: &Held,
        composed: &Composed,
        replacing: bool,
    ) -> Result<(), WriteError> {
        if !self.permit.holds() {
            return Err(WriteError::NotPermitted);
        }
        let document = format!("{}/{}", self.access.documents(&key.service), composed.revision);
        nodes.lasting(&document, &composed.document).await?;
        if !self.permit.holds() {
            return Err(WriteError::NotPermitted);
        }
        let may = |data: &[u8]| self.may_replace(data, replacing);
        let placed = nodes.place(&held.path, &composed.data, may).await?;
        if placed == Placed::Taken {
            self.leaves(&key.service);
            return Err(self.rejected(key, TAKEN));
        }
        if placed == Placed::Written {
            // What it named before may be needed no more.
            self.leaves(&key.service);
        }
        if let Some(known) = self.held().get_mut(key)
            && Arc::ptr_eq(&known.record, &held.record)
        {
            known.session = Some(nodes.client.session_id().0);
        }
        Ok(())
    }

    fn rejected(&self, key: &Key, what: &str) -> WriteError {
        WriteError::Rejected {
            address: self.access.ensemble().to_owned(),
            id: key.id.clone(),
            what: what.to_owned(),
        }
    }

    /// Deletes an instance, if it is ours; one that is not there is deleted already.
    pub(super) async fn remove_instance(&self, nodes: &Nodes<'_>, key: &Key) -> Result<(), WriteError> {
        let held = self.held().remove(key);
        let Some(folder) = self.folder(key) else { return Ok(()) };
        self.leaves(&key.service);
        let path = format!("{folder}/{}", key.id);
        let is_ours = |data: &[u8]| instance::owner(data, &self.cluster) == Owner::Ours;
        match nodes.delete_if(&path, is_ours).await? {
            true => Ok(()),
            // A native one has taken its place.
            false if held.is_some() => Ok(()),
            false => Err(self.rejected(key, "it is no record of ours")),
        }
    }

    /// Documents and mappings that nobody needs any more, of applications that something has left a while ago.
    pub(super) async fn clear(&self, nodes: &Nodes<'_>) {
        let due: Vec<String> = {
            let leaving = self.leaving();
            let due = leaving.iter().filter(|(_, since)| since.elapsed() >= GRACE);
            due.map(|(application, _)| application.clone()).collect()
        };
        for application in due {
            // What fails is looked at again with the next look at everything.
            self.leaving().remove(&application);
            if let Err(error) = self.clear_one(nodes, &application).await {
                tracing::debug!(%application, %error, "left behind for now");
            }
        }
    }

    /// Every application of which something of ours may stand, after a crash too.
    pub(super) async fn remember(&self, nodes: &Nodes<'_>) {
        let noted = nodes.children(&self.access.mapped_by(&self.cluster)).await;
        for application in noted.unwrap_or_default() {
            self.leaves(&application);
        }
    }

    async fn clear_one(&self, nodes: &Nodes<'_>, application: &str) -> Result<(), WriteError> {
        let Some(folder) = self.access.application(application) else {
            return Ok(());
        };
        let mut named = BTreeSet::new();
        let (mut is_native_there, mut is_unknown_there) = (false, false);
        for child in nodes.children(&folder).await? {
            let Some((data, _)) = nodes.read(&format!("{folder}/{child}")).await? else {
                continue;
            };
            named.extend(instance::revision_in(&data));
            let key = Key {
                service: application.into(),
                id: child.into(),
            };
            match instance::owner(&data, &self.cluster) {
                Owner::Native => is_native_there = true,
                Owner::Ours if self.held().contains_key(&key) => {}
                // Not taken over yet, or another cluster's, which has noted nothing of what it found there.
                Owner::Ours | Owner::Another => is_unknown_there = true,
            }
        }
        let documents = self.access.documents(application);
        let own = instance::revisions_of(&self.cluster);
        for revision in nodes.children(&documents).await? {
            if revision.starts_with(&own) && !named.contains(&revision) {
                self.permitted()?;
                nodes.delete(&format!("{documents}/{revision}")).await?;
            }
        }
        let first = Key {
            service: application.into(),
            id: "".into(),
        };
        let keys: BTreeSet<Key> = {
            let held = self.held();
            let of_it = held.range(first..).take_while(|(key, _)| *key.service == *application);
            of_it.map(|(key, _)| key.clone()).collect()
        };
        let composed = self.compose(nodes, &keys).await;
        let wanted: BTreeSet<&String> = composed
            .values()
            .flat_map(|(_, composed)| &composed.interfaces)
            .collect();
        let notes = format!("{}/{application}", self.access.mapped_by(&self.cluster));
        let mut is_empty = true;
        for interface in nodes.children(&notes).await? {
            let note = format!("{notes}/{interface}");
            if wanted.contains(&interface) || is_unknown_there && !is_native_there {
                is_empty = false;
                continue;
            }
            self.permitted()?;
            if is_native_there {
                // It is theirs now.
                nodes.delete(&note).await?;
            } else {
                nodes
                    .unmap(&self.access.mapping(&interface), &note, application)
                    .await?;
            }
        }
        if is_empty {
            nodes.delete_empty(&notes).await?;
        }
        Ok(())
    }

    fn permitted(&self) -> Result<(), WriteError> {
        match self.permit.holds() {
            true => Ok(()),
            false => Err(WriteError::NotPermitted),
        }
    }
}

/// What a user without the rights of the application level is told: the record alone is refused, its providers are written.
pub(super) fn listed(error: WriteError, key: &Key) -> WriteError {
    match error {
        WriteError::Denied { address, what } => WriteError::Rejected {
            address,
            id: key.id.clone(),
            what,
        },
        other => other,
    }
}

/// Counts what became of an instance that was due.
pub(super) fn count(counts: &Counts, was: Option<i64>, now: i64, is_good: bool) {
    match (is_good, was) {
        (false, _) => Counts::one(&counts.failures),
        (true, None) => Counts::one(&counts.renewals),
        (true, Some(session)) if session != now => Counts::one(&counts.restores),
        (true, Some(_)) => {}
    }
}
