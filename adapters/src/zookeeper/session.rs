//! One session: everything is listed, then only what changes is read again.
//!
//! ```text
//! open ─▶ list everything ─▶ CaughtUp ─▶ live ──── change, 20-50 ms of quiet ─▶ that folder again
//!              ▲                          │ ────── every 5 s ─▶ Confirmed
//!              └── connection came back ──┴ ────── expired, denied, gone for 2 s ─▶ the session ends
//! ```
//!
//! ZooKeeper does not repeat the events that a persistent watch missed while the connection was down
//! (ZOOKEEPER-4698), so after every reconnect everything is listed again.
//!
//! Next on the path: [`merge`](super::merge) says what to report.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, SystemTime},
};

use futures_util::{FutureExt as _, StreamExt as _, TryFutureExt as _, TryStreamExt as _, future::BoxFuture, stream};
use landfall_model::{ServiceId, rules::DubboService};
use tokio::{
    sync::watch,
    time::{Instant, MissedTickBehavior, interval_at, timeout},
};
use zookeeper_client::{SessionState, StateWatcher};

use super::{
    Settings,
    application::{self, Application, Document, Node},
    changes::Pending,
    governance::{self, Found, Governance},
    interface,
    layout::{Layout, Part},
    listing::{Contradiction, Names},
    merge::{Folder, Merge},
    reader::{Fault, Reader, Watches},
};
use crate::registry::{Knowledge, RegistryError, Reports};

/// After a change this much quiet is waited for …
const QUIET: Duration = Duration::from_millis(20);
/// … but no longer than this.
const LONGEST_UNREST: Duration = Duration::from_millis(50);
/// How often the connection is asked whether it lives.
const PULSE: Duration = Duration::from_secs(5);
/// Folders read at once; the reader bounds the requests.
const FOLDERS: usize = 64;
/// A connection that breaks this often while everything is listed does not break by chance; neither is a node, listed
/// and then not there, gone by chance this often.
const TRIES: u32 = 3;

/// What has been read.
struct Session<'a> {
    reader: &'a Reader,
    layout: &'a Layout,
    reports: &'a Reports,
    merge: Merge,
    providers: BTreeMap<String, BTreeMap<Arc<str>, Option<SystemTime>>>,
    nodes: BTreeMap<String, BTreeMap<Arc<str>, Node>>,
    documents: BTreeMap<String, BTreeMap<String, Document>>,
    /// Interface to applications.
    mappings: BTreeMap<String, Vec<String>>,
    /// Dubbo's own rules.
    rules: Found,
}

/// Runs until ZooKeeper fails.
pub(super) async fn follow(settings: &Settings, reports: &Reports) -> RegistryError {
    let opened = match Reader::open(settings, Watches::Recursive).await {
        Err(Fault::TooOld) => Reader::open(settings, Watches::OneShot).await,
        opened => opened,
    };
    let reader = match opened {
        Ok(reader) => reader,
        Err(fault) => return ended(fault, &settings.ensemble),
    };
    let mut session = Session {
        reader: &reader,
        layout: &settings.layout,
        reports,
        merge: Merge::default(),
        providers: BTreeMap::new(),
        nodes: BTreeMap::new(),
        documents: BTreeMap::new(),
        mappings: BTreeMap::new(),
        rules: Found::default(),
    };
    let mut states = reader.states();
    // From before the first look on, so that nothing is asked for in between.
    let mut wanted = reports.definitions().changes();
    let (mut losses, mut again) = (0, false);
    loop {
        let watched = if again { reader.watch_roots().await } else { Ok(()) };
        let listed = match watched {
            Ok(()) => session.everything().await,
            Err(fault) => Err(fault),
        };
        let fault = match listed {
            Ok(()) => {
                losses = 0;
                session.live(&mut states, &mut wanted).await
            }
            Err(fault) => fault,
        };
        match fault {
            Fault::Lost(error) => {
                losses += 1;
                if losses >= TRIES {
                    return error;
                }
                if let Err(error) = reader.reconnected(&mut states, error).await {
                    return error;
                }
                again = true;
            }
            fault => return ended(fault, &settings.ensemble),
        }
    }
}

fn ended(fault: Fault, address: &str) -> RegistryError {
    match fault {
        Fault::Lost(error) | Fault::Ended(error) => error,
        Fault::TooOld => RegistryError::Malformed {
            address: address.to_owned(),
            what: "the server does not know a request that every version since 3.4 knows".to_owned(),
            sample: "Unimplemented".to_owned(),
        },
    }
}

impl Session<'_> {
    /// Lists everything, whatever was known, and reports what differs.
    async fn everything(&mut self) -> Result<(), Fault> {
        // What is pending is read now anyway.
        let _ = self.reader.changes().take();
        self.providers.clear();
        self.nodes.clear();
        self.documents.clear();
        self.rules = Found::default();
        let known = self.merge.folders().map(|folder| match folder {
            Folder::Interface(name) => Part::Interface(name.clone()),
            Folder::Application(name) => Part::Application(name.clone()),
        });
        let mut parts: BTreeSet<Part> = known.chain([Part::Roots, Part::Rules]).collect();
        parts.extend(self.mappings.keys().cloned().map(Part::Mapping));
        self.refresh(Pending {
            parts,
            paths: BTreeSet::new(),
        })
        .await?;
        self.reader.caught_up();
        self.reports.send(Knowledge::CaughtUp).await;
        self.definitions(|_| true).await
    }

    /// Reads what changes until the connection does.
    async fn live(&mut self, states: &mut StateWatcher, wanted: &mut watch::Receiver<BTreeSet<ServiceId>>) -> Fault {
        let changes = self.reader.changes();
        let mut pulse = interval_at(Instant::now() + PULSE, PULSE);
        pulse.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                state = states.changed() => match state {
                    SessionState::Disconnected | SessionState::SyncConnected | SessionState::ConnectedReadOnly => {
                        return Fault::Lost(self.reader.lost(&self.layout.root));
                    }
                    over => return Fault::Ended(self.reader.over(over)),
                },
                () = changes.some() => {
                    let until = Instant::now() + LONGEST_UNREST;
                    while Instant::now() < until && timeout(QUIET, changes.some()).await.is_ok() {}
                    if let Err(fault) = self.refresh(changes.take()).await {
                        return fault;
                    }
                }
                Ok(()) = wanted.changed() => {
                    if let Err(fault) = self.definitions(|_| true).await {
                        return fault;
                    }
                }
                _ = pulse.tick() => match self.reader.stat(&self.layout.root).await {
                    Ok(_) => self.reports.send(Knowledge::Confirmed).await,
                    Err(fault) => return fault,
                },
            }
        }
    }

    /// Reads these parts again and reports what differs.
    async fn refresh(&mut self, Pending { mut parts, paths }: Pending) -> Result<(), Fault> {
        if parts.contains(&Part::Roots) {
            self.roots(&mut parts).await?;
        }
        let (mut interfaces, mut applications, mut mappings) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        let mut defined = BTreeSet::new();
        let (mut rules, mut governed) = (false, BTreeSet::new());
        for part in parts {
            match part {
                Part::Roots => {}
                Part::Rules => rules = true,
                Part::InterfaceRules(name) => drop(governed.insert(name)),
                Part::Interface(name) => drop(interfaces.insert(name)),
                Part::Application(name) => drop(applications.insert(name)),
                Part::Mapping(name) => drop(mappings.insert(name)),
                Part::Definition(name) => drop(defined.insert(name)),
                Part::Document(application, revision) => {
                    if let Some(documents) = self.documents.get_mut(&application) {
                        documents.remove(&revision);
                        applications.insert(application);
                    }
                }
            }
        }
        let unread = |name: &&String| !self.rules.folders.contains_key(*name);
        governed.extend(interfaces.iter().filter(unread).cloned());
        self.interfaces(interfaces, &paths).await?;
        // Applications name the interfaces they are mapped to, so the mapping comes first.
        applications.extend(self.mapped(mappings).await?);
        self.applications(applications, &paths).await?;
        self.rules(rules, governed).await?;
        for knowledge in self.merge.drain() {
            self.reports.send(knowledge).await;
        }
        if defined.is_empty() {
            return Ok(());
        }
        self.definitions(|service| defined.contains(&service.interface)).await
    }

    /// Reads the service definitions that are asked for, of these services. Of those of several applications the newest counts.
    async fn definitions(&self, of: impl Fn(&DubboService) -> bool) -> Result<(), Fault> {
        let desk = self.reports.definitions();
        for key in desk.wanted() {
            let service = DubboService::of_name(&key);
            if !of(&service) {
                continue;
            }
            let Some(folder) = self.layout.definitions(&service) else {
                continue;
            };
            let applications = self.reader.children(&folder).await?;
            let mut newest: Option<(Vec<u8>, Option<SystemTime>)> = None;
            for application in applications.iter().flat_map(|names| names.iter()) {
                let Some(found) = self.reader.data(&format!("{folder}/{application}")).await? else {
                    continue;
                };
                if newest.as_ref().is_none_or(|known| found.1 > known.1) {
                    newest = Some(found);
                }
            }
            let text = newest.and_then(|(data, _)| String::from_utf8(data).ok());
            desk.tell(&key, text.as_deref());
        }
        Ok(())
    }

    /// Which names there are: new ones and vanished ones become parts.
    async fn roots(&self, parts: &mut BTreeSet<Part>) -> Result<(), Fault> {
        let mappings_at = self.layout.mappings();
        let (interfaces, applications, mappings) = tokio::try_join!(
            self.reader.children(&self.layout.root),
            self.reader.children(&self.layout.services),
            self.reader.children(&mappings_at),
        )?;
        let all = |names: Option<Names>| {
            names
                .into_iter()
                .flat_map(|names| names.iter().cloned().collect::<Vec<_>>())
        };
        let interfaces: BTreeSet<String> = all(interfaces)
            .filter(|name| self.layout.may_be_interface(name))
            .map(|name| name.to_string())
            .collect();
        let applications: BTreeSet<String> = all(applications)
            .filter(|name| self.layout.may_be_application(name))
            .map(|name| name.to_string())
            .collect();
        let mappings: BTreeSet<String> = all(mappings).map(|name| name.to_string()).collect();
        let known = |folder: Folder| self.merge.folder(&folder).is_some();
        parts.extend(
            interfaces
                .iter()
                .filter(|name| !known(Folder::Interface((*name).clone())))
                .cloned()
                .map(Part::Interface),
        );
        parts.extend(
            applications
                .iter()
                .filter(|name| !known(Folder::Application((*name).clone())))
                .cloned()
                .map(Part::Application),
        );
        let renewed = |name: &&String| !self.mappings.contains_key(*name);
        parts.extend(mappings.iter().filter(renewed).cloned().map(Part::Mapping));
        for folder in self.merge.folders() {
            match folder {
                Folder::Interface(name) if !interfaces.contains(name) => {
                    parts.insert(Part::Interface(name.clone()));
                }
                Folder::Application(name) if !applications.contains(name) => {
                    parts.insert(Part::Application(name.clone()));
                }
                _ => {}
            }
        }
        parts.extend(
            self.mappings
                .keys()
                .filter(|name| !mappings.contains(*name))
                .cloned()
                .map(Part::Mapping),
        );
        Ok(())
    }

    async fn interfaces(&mut self, names: BTreeSet<String>, changed: &BTreeSet<String>) -> Result<(), Fault> {
        let (reader, layout, known) = (self.reader, self.layout, &self.providers);
        let reads = names.into_iter().map(|name| async move {
            let known = known.get(&name);
            let read = |child: Arc<str>, path: String| {
                async move {
                    match known
                        .and_then(|times| times.get(&child))
                        .filter(|_| !changed.contains(&path))
                    {
                        Some(time) => Ok(Some(*time)),
                        None => reader.stat(&path).await,
                    }
                }
                .boxed()
            };
            let folder = read_folder(reader, &layout.providers(&name), |_| true, read).await?;
            Ok((name, folder))
        });
        let read: Vec<_> = stream::iter(reads).buffer_unordered(FOLDERS).try_collect().await?;
        for (name, times) in read {
            let folder = Folder::Interface(name.clone());
            match times {
                Some(times) => {
                    let contribution = interface::contribution(&name, &times, self.merge.folder(&folder));
                    self.merge.put(folder, contribution);
                    self.providers.insert(name, times);
                }
                None => {
                    self.merge.remove(&folder);
                    self.providers.remove(&name);
                }
            }
        }
        Ok(())
    }

    /// Reads Dubbo's own rules: those of `config/dubbo` if asked for, and those of these interfaces. What may not be
    /// read is told and no reason to end the session: providers are known without it.
    async fn rules(&mut self, in_config: bool, interfaces: BTreeSet<String>) -> Result<(), Fault> {
        if !in_config && interfaces.is_empty() {
            return Ok(());
        }
        let (reader, layout) = (self.reader, self.layout);
        if in_config {
            let read = |child: Arc<str>, path: String| {
                async move {
                    match governance::is_rule(&child) {
                        true => Ok(reader.data(&path).await?.map(|(data, _)| data)),
                        false => Ok(Some(Vec::new())),
                    }
                }
                .boxed()
            };
            let found = read_folder(reader, &layout.rules(), |_| true, read).await;
            let place = "config/dubbo".to_owned();
            self.rules.nodes = permitted(found, place, &mut self.rules.denied)?.unwrap_or_default();
        }
        let reads = interfaces.into_iter().map(|name| async move {
            let [configurators, routers] = layout.interface_rules(&name);
            let found = futures_util::join!(reader.children(&configurators), reader.children(&routers));
            (name, found)
        });
        let mut reads = stream::iter(reads).buffer_unordered(FOLDERS);
        while let Some((name, (configurators, routers))) = reads.next().await {
            let mut all = BTreeSet::new();
            for (found, category) in [(configurators, "configurators"), (routers, "routers")] {
                let names = permitted(found, format!("{name}/{category}"), &mut self.rules.denied)?;
                all.extend(names.iter().flat_map(|names| names.iter().cloned()));
            }
            self.rules.folders.insert(name, all);
        }
        drop(reads);
        let there = |name: &str| self.merge.folder(&Folder::Interface(name.to_owned())).is_some();
        self.rules
            .folders
            .retain(|name, rules| !rules.is_empty() || there(name));
        self.merge.govern(Governance::new(&self.rules));
        Ok(())
    }

    /// Reads mappings; returns the applications they concern.
    async fn mapped(&mut self, interfaces: BTreeSet<String>) -> Result<BTreeSet<String>, Fault> {
        let (reader, root) = (self.reader, self.layout.mappings());
        let reads = interfaces.into_iter().map(|interface| {
            let path = format!("{root}/{interface}");
            async move { reader.data(&path).await.map(|found| (interface, found)) }
        });
        let read: Vec<_> = stream::iter(reads).buffer_unordered(FOLDERS).try_collect().await?;
        let mut concerned = BTreeSet::new();
        for (interface, found) in read {
            let before = self.mappings.remove(&interface);
            concerned.extend(before.into_iter().flatten());
            if let Some((data, _)) = found {
                let text = String::from_utf8_lossy(&data);
                let names = text.split(',').map(str::trim).filter(|name| !name.is_empty());
                let names: Vec<String> = names.map(str::to_owned).collect();
                concerned.extend(names.iter().cloned());
                self.mappings.insert(interface, names);
            }
        }
        // A mapping outlives its application.
        concerned.retain(|name| self.nodes.contains_key(name));
        Ok(concerned)
    }

    async fn applications(&mut self, names: BTreeSet<String>, changed: &BTreeSet<String>) -> Result<(), Fault> {
        let (reader, layout, known) = (self.reader, self.layout, &self.nodes);
        let reads = names.into_iter().map(|name| async move {
            let known = known.get(&name);
            let read = |child: Arc<str>, path: String| {
                async move {
                    match known
                        .and_then(|nodes| nodes.get(&child))
                        .filter(|_| !changed.contains(&path))
                    {
                        Some(node) => Ok(Some(node.clone())),
                        None => {
                            let found = reader.data(&path).await?;
                            Ok(found.map(|(data, changed)| Node { data, changed }))
                        }
                    }
                }
                .boxed()
            };
            let is_application = |children: &Names| !Layout::is_interface(children);
            let folder = read_folder(reader, &layout.application(&name), is_application, read).await?;
            Ok((name, folder))
        });
        let read: Vec<_> = stream::iter(reads).buffer_unordered(FOLDERS).try_collect().await?;
        for (name, nodes) in read {
            let folder = Folder::Application(name.clone());
            let Some(nodes) = nodes else {
                self.merge.remove(&folder);
                self.nodes.remove(&name);
                self.documents.remove(&name);
                continue;
            };
            let documents = self.documents(&name, &nodes).await?;
            let mapped = self
                .mappings
                .iter()
                .filter(|(_, applications)| applications.contains(&name));
            let application = Application {
                name: &name,
                nodes: &nodes,
                documents: &documents,
                interfaces: mapped.map(|(interface, _)| interface.as_str()).collect(),
            };
            let contribution = application::contribution(&application, self.merge.folder(&folder));
            self.merge.put(folder, contribution);
            self.documents.insert(name.clone(), documents);
            self.nodes.insert(name, nodes);
        }
        Ok(())
    }

    /// The metadata documents that an application's instances name. A revision never changes, so each is
    /// read once; one that is absent is read again when its node appears.
    async fn documents(
        &self,
        application: &str,
        nodes: &BTreeMap<Arc<str>, Node>,
    ) -> Result<BTreeMap<String, Document>, Fault> {
        let revisions: BTreeSet<String> = nodes
            .values()
            .filter_map(|node| application::revision(&node.data))
            .collect();
        let known = self.documents.get(application);
        let mut documents = BTreeMap::new();
        for revision in revisions {
            let document = match known.and_then(|known| known.get(&revision)) {
                Some(document) => document.clone(),
                None => match self.reader.data(&self.layout.document(application, &revision)).await? {
                    Some((data, _)) => Document::Data(data),
                    None => Document::Absent,
                },
            };
            documents.insert(revision, document);
        }
        Ok(documents)
    }
}

/// What was found; nothing, and a note of it, if it may not be read.
fn permitted<T>(
    found: Result<Option<T>, Fault>,
    place: String,
    denied: &mut BTreeMap<String, String>,
) -> Result<Option<T>, Fault> {
    denied.remove(&place);
    match found {
        Err(Fault::Ended(RegistryError::Denied { what, .. })) => {
            denied.insert(place, what);
            Ok(None)
        }
        found => found,
    }
}

/// Lists a folder and reads each child; `None` if there is no such folder, or it is not what `is_one` asks for.
///
/// A child that is listed and not there has gone in between, so the folder is listed again. One that every list
/// names and no read finds is no news but a contradiction.
async fn read_folder<'a, T>(
    reader: &Reader,
    folder: &str,
    is_one: impl Fn(&Names) -> bool,
    read: impl Fn(Arc<str>, String) -> BoxFuture<'a, Result<Option<T>, Fault>>,
) -> Result<Option<BTreeMap<Arc<str>, T>>, Fault> {
    let mut missed: Option<BTreeSet<Arc<str>>> = None;
    let mut tries = 1;
    loop {
        let Some(names) = reader.children(folder).await?.filter(&is_one) else {
            return Ok(None);
        };
        let reads = names.iter().map(|child| {
            let child = child.clone();
            read(child.clone(), format!("{folder}/{child}")).map_ok(|found| (child, found))
        });
        // Made before they are polled: the compiler cannot show that a stream which borrows the names is `Send`.
        let reads: Vec<_> = reads.collect();
        let found: Vec<_> = stream::iter(reads).buffer_unordered(FOLDERS).try_collect().await?;
        let mut absent: BTreeSet<Arc<str>> = found
            .iter()
            .filter(|(_, found)| found.is_none())
            .map(|(child, _)| child.clone())
            .collect();
        absent.retain(|child| missed.as_ref().is_none_or(|missed| missed.contains(child)));
        let Some(child) = absent.first() else {
            let there = found.into_iter().filter_map(|(child, found)| Some((child, found?)));
            return Ok(Some(there.collect()));
        };
        if tries == TRIES {
            return Err(reader.contradicted(&format!("{folder}/{child}"), &Contradiction::Listed));
        }
        tries += 1;
        missed = Some(absent);
    }
}
