//! One session: from the first listing to what ends it.
//!
//! ```text
//! every `poll`: names of each group ─┬ new name ─────▶ subscribe, and read what it says ─▶ Service
//!                                    └ name missing ─▶ read it ─┬ nobody there ─▶ Gone
//!                                                               └ instances ────▶ kept: the listing was not whole
//! push ─┬ newer than the last ─▶ Service
//!       └ empty, or older ─────▶ read it: what is asked for decides
//! every name of the first listing read once ─▶ CaughtUp       nothing new in a round ─▶ Confirmed
//! ```
//!
//! Over HTTP there are no pushes, and each service is read every `poll`.
//!
//! Next on the path: the supervisor takes the reports.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use futures_util::{StreamExt as _, future::BoxFuture, stream::FuturesUnordered};
use landfall_model::world::Quarantined;
use serde::Deserialize;
use serde_json::json;
use tokio::{
    sync::mpsc,
    time::{Instant, MissedTickBehavior, interval, sleep_until},
};

use super::{
    Scope,
    connection::{Connection, Event, PULSE},
    fault::Fault,
    name::{Meaning, Source},
    record::{self, Health, Info, Reading},
    web::{Page, Web},
};
use crate::registry::{Knowledge, Reports};

/// Names on one page: v2 gives no more.
const PAGE: usize = 500;
/// Pages of one group that are read.
const PAGES: usize = 200;
/// Questions at once.
const AT_ONCE: usize = 16;
/// A subscribed service is read again after this long: a push may have been lost.
const REFRESH: Duration = Duration::from_secs(30);
/// A name that is not listed but has instances is asked for again after this long.
const DOUBT: Duration = Duration::from_secs(5);
/// A listing takes at most this share of the time.
const LISTING_SHARE: u32 = 10;

/// How a session ends, once it has begun to follow.
pub(super) enum End {
    /// The server wants us to leave, perhaps for that `host:port`.
    Reset(Option<String>),
    /// A better way to ask is there.
    Better,
    /// What broke it.
    Broken(Fault),
}

/// Whom a session asks.
#[derive(Clone)]
pub(super) enum Asker {
    /// And subscribes.
    Grpc(Arc<Connection>),
    /// Polls.
    Http(Arc<Web>),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ListAnswer {
    count: usize,
    service_names: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WithInfo {
    service_info: Info,
}

/// A push names its service twice, and what is inside the info may be either form.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Pushed {
    #[serde(default)]
    group_name: Option<String>,
    #[serde(default)]
    service_name: Option<String>,
    service_info: Info,
}

/// The names of all groups.
struct Listing {
    sources: BTreeSet<Source>,
    /// Every page was there.
    whole: bool,
}

impl Asker {
    async fn list(&self, scope: &Scope) -> Result<Listing, Fault> {
        let mut listing = Listing {
            sources: BTreeSet::new(),
            whole: true,
        };
        for group in &scope.groups {
            let mut read = 0;
            for number in 1..=PAGES {
                let Page { count, names } = self.page(scope, group, number).await?;
                let on_page = names.len();
                read += on_page;
                let foreign = |name: &str| name.split_once("@@").is_some_and(|(other, _)| other != &**group);
                let wanted = names.iter().filter(|name| !foreign(name));
                listing.sources.extend(wanted.map(|name| Source::listed(group, name)));
                if read >= count || on_page == 0 {
                    listing.whole &= read >= count;
                    break;
                }
                listing.whole &= number < PAGES;
            }
        }
        Ok(listing)
    }

    async fn page(&self, scope: &Scope, group: &Arc<str>, number: usize) -> Result<Page, Fault> {
        match self {
            Self::Http(web) => web.names(group, number, PAGE).await,
            Self::Grpc(connection) => {
                let body = json!({ "module": "naming", "namespace": scope.namespace, "groupName": group,
                                   "pageNo": number, "pageSize": PAGE });
                let ListAnswer { count, service_names } = connection.read("ServiceListRequest", body).await?;
                Ok(Page {
                    count,
                    names: service_names,
                })
            }
        }
    }

    /// Reads a service and, if that is possible, subscribes it (again: it is the same subscription).
    async fn read(&self, namespace: &str, source: &Source, subscribe: bool) -> Result<Info, Fault> {
        match self {
            Self::Http(web) => web.instances(source).await,
            Self::Grpc(connection) => {
                let body = json!({ "module": "naming", "namespace": namespace, "groupName": source.group,
                                   "serviceName": source.service, "subscribe": subscribe, "clusters": "" });
                let WithInfo { service_info } = connection.read("SubscribeServiceRequest", body).await?;
                Ok(service_info)
            }
        }
    }

    async fn is_healthy(&self) -> Result<(), Fault> {
        match self {
            Self::Http(_) => Ok(()),
            Self::Grpc(connection) => connection.is_healthy().await,
        }
    }

    fn is_pushed(&self) -> bool {
        matches!(self, Self::Grpc(_))
    }
}

/// What was learnt by asking.
enum News {
    Listing(Result<Listing, Fault>, Duration),
    Read(Source, Result<Info, Fault>),
    Healthy(Result<(), Fault>),
    Left,
}

/// A service of Nacos that is listed, or was listed and nobody has shown to be gone.
struct Known {
    name: Arc<str>,
    dubbo: bool,
    reading: Option<Reading>,
    health: Health,
    /// The newest that was read, by the server's clock.
    newest: i64,
    asked: Option<Instant>,
    /// A question is waiting or on its way.
    asking: bool,
    /// The next answer counts whatever its age: an older one has come before.
    doubt: bool,
    /// The last whole listing did not name it.
    missing: bool,
    /// It was once found alive although no listing named it.
    kept: bool,
    /// Why it cannot be read.
    refused: Option<String>,
}

struct Session {
    asker: Asker,
    scope: Arc<Scope>,
    reports: Reports,
    known: BTreeMap<Source, Known>,
    /// What was reported last, by our name.
    reported: BTreeMap<Arc<str>, Reading>,
    /// Names that are none of ours, with the reason.
    bad: BTreeMap<Source, String>,
    unreadable: Vec<Quarantined>,
    waiting: VecDeque<Source>,
    running: usize,
    work: FuturesUnordered<BoxFuture<'static, News>>,
    listed: bool,
    caught_up: bool,
    /// Something was reported in this round.
    news: bool,
}

/// Runs until the server fails or wants us to leave, or `better` says that there is another way.
pub(super) async fn follow(
    asker: Asker,
    events: Option<mpsc::Receiver<Event>>,
    scope: Arc<Scope>,
    reports: Reports,
    better: BoxFuture<'static, ()>,
) -> End {
    let mut session = Session {
        asker,
        scope,
        reports,
        known: BTreeMap::new(),
        reported: BTreeMap::new(),
        bad: BTreeMap::new(),
        unreadable: Vec::new(),
        waiting: VecDeque::new(),
        running: 0,
        work: FuturesUnordered::new(),
        listed: false,
        caught_up: false,
        news: false,
    };
    session.run(events, better).await
}

impl Session {
    async fn run(&mut self, mut events: Option<mpsc::Receiver<Event>>, mut better: BoxFuture<'static, ()>) -> End {
        let mut pulse = interval(PULSE);
        pulse.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut next_listing = Some(Instant::now());
        loop {
            let event = async {
                match &mut events {
                    Some(events) => events.recv().await,
                    None => std::future::pending().await,
                }
            };
            let listing = async {
                match next_listing {
                    Some(at) => sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                event = event => match event {
                    Some(Event::Push(payload)) => {
                        if let Err(fault) = self.push(payload.json()).await {
                            return End::Broken(fault);
                        }
                    }
                    Some(Event::Reset(wanted)) => return End::Reset(wanted),
                    Some(Event::Ended(what)) => return End::Broken(Fault::Lost(what)),
                    None => return End::Broken(Fault::Lost("the stream ended".to_owned())),
                },
                Some(news) = self.work.next() => match self.learn(news).await {
                    Ok(Some(took)) => {
                        next_listing = Some(Instant::now() + self.scope.poll.max(took * LISTING_SHARE));
                    }
                    Ok(None) => {}
                    Err(fault) => return End::Broken(fault),
                },
                () = listing => {
                    next_listing = None;
                    self.list();
                }
                _ = pulse.tick(), if self.asker.is_pushed() => {
                    let asker = self.asker.clone();
                    self.work.push(Box::pin(async move { News::Healthy(asker.is_healthy().await) }));
                }
                () = &mut better => return End::Better,
            }
            self.ask();
            self.catch_up().await;
        }
    }

    fn list(&mut self) {
        let (asker, scope) = (self.asker.clone(), self.scope.clone());
        self.work.push(Box::pin(async move {
            let began = Instant::now();
            let listing = asker.list(&scope).await;
            News::Listing(listing, began.elapsed())
        }));
    }

    /// Sends the questions that wait, a few at once.
    fn ask(&mut self) {
        while self.running < AT_ONCE
            && let Some(source) = self.waiting.pop_front()
        {
            self.running += 1;
            let (asker, namespace) = (self.asker.clone(), self.scope.namespace.clone());
            self.work.push(Box::pin(async move {
                let info = asker.read(&namespace, &source, true).await;
                News::Read(source, info)
            }));
        }
    }

    /// What takes the place of a question: how long a listing took, so that the next one is put off.
    async fn learn(&mut self, news: News) -> Result<Option<Duration>, Fault> {
        match news {
            News::Listing(listing, took) => {
                self.listing(listing?).await;
                return Ok(Some(took));
            }
            News::Healthy(healthy) => healthy?,
            News::Read(source, info) => {
                self.running -= 1;
                match info {
                    Ok(info) => self.answer(source, info).await,
                    // The name itself is what Nacos does not take: its siblings live.
                    Err(Fault::Refused(what)) => {
                        if let Some(known) = self.known.get_mut(&source) {
                            known.asking = false;
                            known.asked = Some(Instant::now());
                            known.refused = Some(what);
                        }
                        self.report_unreadable().await;
                    }
                    Err(fault) => return Err(fault),
                }
            }
            News::Left => {}
        }
        Ok(None)
    }

    async fn listing(&mut self, listing: Listing) {
        let now = Instant::now();
        // Over HTTP a round is confirmed when its last answer is there; a listing begins the next one.
        let quiet = !std::mem::take(&mut self.news) && self.waiting.is_empty() && self.running == 0;
        for source in &listing.sources {
            if self.known.contains_key(source) || self.bad.contains_key(source) {
                continue;
            }
            self.news = true;
            match source.meaning() {
                Meaning::Service { name, dubbo } => {
                    self.known.insert(source.clone(), Known::new(name, dubbo));
                }
                Meaning::None => {}
                Meaning::Bad(why) => {
                    self.bad.insert(source.clone(), why);
                }
            }
        }
        if listing.whole {
            self.bad.retain(|source, _| listing.sources.contains(source));
        }
        let refresh = if self.asker.is_pushed() {
            REFRESH
        } else {
            Duration::ZERO
        };
        for (source, known) in &mut self.known {
            let missing = listing.whole && !listing.sources.contains(source);
            let was_missing = std::mem::replace(&mut known.missing, missing);
            let due = match known.asked {
                None => true,
                Some(_) if missing && !was_missing => true,
                Some(asked) => now.duration_since(asked) >= if missing { DOUBT } else { refresh },
            };
            if due && !known.asking {
                known.asking = true;
                self.waiting.push_back(source.clone());
            }
        }
        self.report_unreadable().await;
        self.listed = true;
        if quiet && !self.news && self.caught_up {
            self.reports.send(Knowledge::Confirmed).await;
        }
        self.news = false;
    }

    async fn push(&mut self, body: &[u8]) -> Result<(), Fault> {
        let pushed: Pushed =
            serde_json::from_slice(body).map_err(|error| Fault::garbled(format!("a push: {error}"), body))?;
        let info = pushed.service_info;
        let group = pushed.group_name.filter(|group| !group.is_empty());
        let group: Arc<str> = group.unwrap_or_else(|| info.group_name.clone()).into();
        let name = pushed.service_name.filter(|name| !name.is_empty());
        let source = Source::listed(&group, &name.unwrap_or_else(|| info.name.clone()));
        let Some(known) = self.known.get_mut(&source) else {
            // Of a service that was just found gone.
            return Ok(());
        };
        let older = info.last_ref_time < known.newest;
        let emptied = info.hosts.is_empty()
            && known
                .reading
                .as_ref()
                .is_some_and(|reading| !reading.instances.is_empty());
        if older || emptied {
            if !known.asking {
                known.asking = true;
                self.waiting.push_front(source);
            }
        } else {
            self.take(source, info).await;
        }
        Ok(())
    }

    /// What was asked for.
    async fn answer(&mut self, source: Source, info: Info) {
        let Some(known) = self.known.get_mut(&source) else {
            return;
        };
        known.asking = false;
        known.asked = Some(Instant::now());
        known.refused = None;
        // A push has overtaken it, or the server's clock was set back: asked again, what comes then counts.
        if info.last_ref_time < known.newest && info.last_ref_time != 0 && !known.doubt {
            known.doubt = true;
            known.asking = true;
            self.waiting.push_back(source);
            return;
        }
        known.doubt = false;
        if known.missing {
            if info.hosts.is_empty() {
                return self.gone(source).await;
            }
            if !std::mem::replace(&mut known.kept, true) {
                tracing::warn!(service = %known.name, "kept, although Nacos does not list it: it has instances");
            }
        }
        self.take(source, info).await;
    }

    /// Believes it.
    async fn take(&mut self, source: Source, info: Info) {
        let Some(known) = self.known.get_mut(&source) else {
            return;
        };
        known.newest = info.last_ref_time;
        known.reading = Some(record::read(&known.name, known.dubbo, &info, &mut known.health));
        let name = known.name.clone();
        self.report(name).await;
    }

    async fn gone(&mut self, source: Source) {
        let Some(known) = self.known.remove(&source) else {
            return;
        };
        if self.asker.is_pushed() {
            let (asker, namespace) = (self.asker.clone(), self.scope.namespace.clone());
            self.work.push(Box::pin(async move {
                // If that fails the next health check does, too.
                let _ = asker.read(&namespace, &source, false).await;
                News::Left
            }));
        }
        self.report(known.name).await;
        self.report_unreadable().await;
    }

    /// Reports a service as all of its sources say it, once each has been read.
    async fn report(&mut self, name: Arc<str>) {
        let Some(whole) = self.whole(&name) else {
            if self.reported.remove(&name).is_some() {
                self.news = true;
                self.reports.send(Knowledge::Gone { name }).await;
            }
            return;
        };
        let Some(whole) = whole else { return };
        if self.reported.get(&name) == Some(&whole) {
            return;
        }
        self.news = true;
        self.reported.insert(name.clone(), whole.clone());
        let changed = None;
        let Reading { instances, quarantined } = whole;
        self.reports
            .send(Knowledge::Service {
                name,
                instances,
                quarantined,
                changed,
            })
            .await;
    }

    /// What all sources of a service say together; `None` if it has none, or one has not been read yet.
    fn whole(&self, name: &Arc<str>) -> Option<Option<Reading>> {
        let sources: Vec<_> = self.known.values().filter(|known| known.name == *name).collect();
        let readings = sources.iter().map(|known| known.reading.as_ref());
        let merged = readings.collect::<Option<Vec<_>>>().map(|readings| {
            let mut whole = Reading::default();
            for reading in readings {
                whole.instances.extend(reading.instances.iter().cloned());
                whole.quarantined.extend(reading.quarantined.iter().cloned());
            }
            whole
        });
        (!sources.is_empty()).then_some(merged)
    }

    async fn report_unreadable(&mut self) {
        let all = self.all_unreadable();
        if all != self.unreadable {
            self.unreadable.clone_from(&all);
            self.reports.send(Knowledge::Unreadable(all)).await;
        }
    }

    fn all_unreadable(&self) -> Vec<Quarantined> {
        let refused = self
            .known
            .iter()
            .filter_map(|(source, known)| Some((source, known.refused.as_ref()?)));
        let all = self.bad.iter().chain(refused).map(|(source, reason)| Quarantined {
            service: None,
            record: format!("{}@@{}", source.group, source.service),
            reason: reason.clone(),
        });
        all.collect()
    }

    async fn catch_up(&mut self) {
        let read = |known: &Known| known.reading.is_some() || known.refused.is_some();
        if self.listed && !self.caught_up && self.known.values().all(read) {
            self.caught_up = true;
            self.reports.send(Knowledge::CaughtUp).await;
        }
    }
}

impl Known {
    fn new(name: Arc<str>, dubbo: bool) -> Self {
        Self {
            name,
            dubbo,
            reading: None,
            health: Health::new(),
            newest: 0,
            asked: None,
            asking: false,
            doubt: false,
            missing: false,
            kept: false,
            refused: None,
        }
    }
}
