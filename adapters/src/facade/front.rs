//! One Facade document at work: a book that is filled from the World, and the surface that answers from it.
//!
//! ```text
//! World ──(changed)──▶ Viewer ──(services that read differently)──▶ book.mirror ──▶ surface ──▶ clients
//! ```
//!
//! Until what it shows has been read once, reads are answered 503 (Eureka, Nacos) or 500 (Consul), never with an empty
//! list: clients keep what they have, or ask another server. Nacos' gRPC says that the server is starting.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use axum::{extract::Request, response::Response};
use http::{Method, StatusCode};
use landfall_config::{
    RegistryConfig,
    kinds::{
        facade::{FacadeSpec, FacadeView, FacadeWrites},
        registry::NacosSpec,
    },
};
use landfall_model::{Instance, World};
use tokio::{sync::watch, task::AbortHandle};

use super::{
    consul::{
        book as consul,
        surface::{Surface as ConsulSurface, plain},
    },
    nacos::{
        Mirrors, Upstreams, book as nacos,
        grpc::{Server as NacosServer, Writes as NacosWrites},
        surface::Surface as NacosSurface,
    },
    project::{self, Place as Stand},
    shared::{Shared, wall_clock},
    traffic::{Board, Description, Of, Place},
    view::{Services, Shown, Viewer},
    writes::{Elsewhere, Forward, Writes},
};
use crate::{
    embedded::uuid_of,
    eureka::{book as eureka, surface::Surface as EurekaSurface},
    nacos::name::DEFAULT_GROUP,
};

/// Pause between two looks at a world that changes.
const BREATH: Duration = Duration::from_millis(50);
/// The merged view does not wait longer for a registry that has never been read.
const PATIENCE: Duration = Duration::from_secs(30);

/// A facade at work. It ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Front {
    place: Arc<Place>,
    surface: Surface,
    ready: Arc<AtomicBool>,
    feeder: AbortHandle,
    grpc: Option<Arc<NacosServer>>,
}

#[derive(Debug)]
enum Surface {
    Eureka(EurekaSurface),
    Consul(ConsulSurface),
    Nacos(NacosSurface),
}

/// The book of one protocol.
enum Book {
    Eureka(Arc<Shared<eureka::Book>>),
    Consul(Arc<Shared<consul::Book>>),
    Nacos(Mirrors),
}

impl Drop for Front {
    fn drop(&mut self) {
        self.feeder.abort();
    }
}

impl Front {
    /// Begins to follow the world. Needs a runtime.
    ///
    /// # Errors
    /// What is wrong with where its writes go.
    pub(crate) fn start(
        name: &str,
        spec: &FacadeSpec,
        ip: IpAddr,
        board: &Board,
        target: Option<&RegistryConfig>,
        world: watch::Receiver<Arc<World>>,
    ) -> Result<Self, String> {
        let elsewhere = match (&spec.writes, target) {
            (FacadeWrites::Forward(_), Some(target)) => Elsewhere::Forward(Forward::new(&bases(spec, target))?),
            (FacadeWrites::Forward(writes), None) => {
                return Err(format!("there is no registry `{}`", &*writes.forward));
            }
            (FacadeWrites::Refuse(_), _) => Elsewhere::Refused,
        };
        let writes = Writes::Elsewhere(Arc::new(elsewhere));
        let clock = u64::try_from(wall_clock()).unwrap_or(0);
        let ready = Arc::new(AtomicBool::new(false));
        let mut grpc = None;
        let (surface, book) = if let Some(consul) = &spec.consul {
            let datacenter = consul.datacenter.clone().unwrap_or_else(|| "dc1".to_owned());
            let identity = consul::Identity {
                id: uuid_of(name, &datacenter),
                datacenter,
                node: "landfall".to_owned(),
                address: if ip.is_unspecified() {
                    "127.0.0.1".to_owned()
                } else {
                    ip.to_string()
                },
            };
            let book = Shared::new(consul::Book::new(identity, consul::Limits::default(), clock));
            (
                Surface::Consul(ConsulSurface::new(book.clone(), writes)),
                Book::Consul(book),
            )
        } else if let Some(nacos) = &spec.nacos {
            let book = Shared::new(nacos::Book::view(nacos::Limits::default(), clock));
            let by_grpc = match target
                .and_then(nacos_of)
                .filter(|_| matches!(spec.writes, FacadeWrites::Forward(_)))
            {
                Some(real) => NacosWrites::Forward(Upstreams::new(&real).map_err(|error| error.to_string())?),
                None => NacosWrites::Refused,
            };
            grpc = Some(NacosServer::new(book.clone(), by_grpc, ready.clone()));
            let group = nacos.group.clone().filter(|group| !group.is_empty());
            (
                Surface::Nacos(NacosSurface::new(book.clone(), writes)),
                Book::Nacos(Mirrors::new(book, group.unwrap_or_else(|| DEFAULT_GROUP.to_owned()))),
            )
        } else {
            let book = Shared::new(eureka::Book::starting_at(eureka::Limits::default(), clock));
            (
                Surface::Eureka(EurekaSurface::new(book.clone(), writes)),
                Book::Eureka(book),
            )
        };
        let mut feeder = Feeder {
            viewer: Viewer::new(spec),
            book,
            world,
            ready: ready.clone(),
            shown: Services::new(),
            began: tokio::time::Instant::now(),
        };
        // Now: a facade that takes another's place answers at once with what is known.
        feeder.round();
        let feeder = tokio::spawn(feeder.run());
        Ok(Self {
            place: Place::new(board, describe(name, spec), None),
            surface,
            ready,
            feeder: feeder.abort_handle(),
            grpc,
        })
    }

    /// Who answers gRPC beside it, if its protocol has that.
    pub(crate) fn grpc(&self) -> Option<&Arc<NacosServer>> {
        self.grpc.as_ref()
    }

    /// Answers a request whose path has the protocol's own form.
    pub(crate) async fn answer(&self, request: Request) -> Response {
        self.place.answer(request, |request| self.respond(request)).await
    }

    async fn respond(&self, request: Request) -> Response {
        let reads = matches!(*request.method(), Method::GET | Method::HEAD);
        if reads && !self.ready.load(Relaxed) {
            return match self.surface {
                Surface::Eureka(_) | Surface::Nacos(_) => {
                    plain(StatusCode::SERVICE_UNAVAILABLE, "the registries have not been read yet")
                }
                // As Consul's agent before it has found its servers.
                Surface::Consul(_) => plain(StatusCode::INTERNAL_SERVER_ERROR, "No cluster leader"),
            };
        }
        match &self.surface {
            Surface::Eureka(surface) => surface.answer(request).await,
            Surface::Consul(surface) => surface.answer(request).await,
            Surface::Nacos(surface) => surface.answer(request).await,
        }
    }
}

fn describe(name: &str, spec: &FacadeSpec) -> Description {
    Description {
        of: Of::Facade,
        name: name.to_owned(),
        protocol: spec.protocol(),
        address: spec.address.clone(),
        path: spec.prefix().to_owned(),
        view: match &spec.view {
            FacadeView::Mesh(_) => "mesh".to_owned(),
            FacadeView::Native(view) => (*view.registry).to_owned(),
        },
        writes: match &spec.writes {
            FacadeWrites::Forward(writes) => (*writes.forward).to_owned(),
            FacadeWrites::Refuse(_) => "refuse".to_owned(),
        },
    }
}

/// The base URLs of a registry's API in the facade's protocol.
fn bases(spec: &FacadeSpec, target: &RegistryConfig) -> Vec<String> {
    let (registry, embedded) = (&target.spec, target.spec.embedded.as_ref());
    if spec.consul.is_some() {
        let own = embedded.and_then(|embedded| embedded.consul.as_ref());
        let address = registry.consul.as_ref().map(|consul| consul.address.clone());
        let address = address.or_else(|| own.map(|own| format!("http://{}", own.address)));
        return address
            .map(|address| format!("{}/v1/", address.trim_end_matches('/')))
            .into_iter()
            .collect();
    }
    if spec.nacos.is_some() {
        let real = nacos_of(target).map(|real| real.addresses).unwrap_or_default();
        return real.iter().map(|address| nacos_base(address)).collect();
    }
    let own = embedded.and_then(|embedded| embedded.eureka.as_ref());
    match (&registry.eureka, own) {
        (Some(eureka), _) => eureka.urls.clone(),
        (None, Some(own)) => vec![format!("http://{}/eureka", own.address)],
        (None, None) => Vec::new(),
    }
}

/// The Nacos that a registry is, or answers as.
fn nacos_of(target: &RegistryConfig) -> Option<NacosSpec> {
    let own = target
        .spec
        .embedded
        .as_ref()
        .and_then(|embedded| embedded.nacos.as_ref());
    let own = own.map(|own| NacosSpec::at(&format!("http://{}", own.address)));
    target.spec.nacos.clone().or(own)
}

/// An address of Nacos as a URL with its context path.
fn nacos_base(address: &str) -> String {
    let whole = match address.contains("://") {
        true => address.to_owned(),
        false => format!("http://{address}"),
    };
    let Ok(mut url) = url::Url::parse(&whole) else {
        return whole;
    };
    if url.port().is_none() && !address.ends_with(":80") && !address.ends_with(":443") {
        let _ = url.set_port(Some(8848));
    }
    if url.path() == "/" {
        url.set_path("/nacos");
    }
    url.to_string()
}

/// Keeps a book as the World is.
struct Feeder {
    viewer: Viewer,
    book: Book,
    world: watch::Receiver<Arc<World>>,
    ready: Arc<AtomicBool>,
    shown: Services,
    began: tokio::time::Instant,
}

impl Feeder {
    async fn run(mut self) {
        loop {
            tokio::time::sleep(BREATH).await;
            let patience = if self.ready.load(Relaxed) {
                Duration::from_secs(3600)
            } else {
                Duration::from_secs(1)
            };
            if let Ok(Err(_)) = tokio::time::timeout(patience, self.world.changed()).await {
                return;
            }
            self.round();
        }
    }

    fn round(&mut self) {
        let now = self.world.borrow_and_update().clone();
        let fresh = self.viewer.services(&now).clone();
        let shown = &self.shown;
        let gone = shown.keys().filter(|name| !fresh.contains_key(*name));
        let changed = fresh
            .iter()
            .filter(|(name, list)| shown.get(*name).is_none_or(|known| !Arc::ptr_eq(known, list)));
        let names: BTreeSet<&Arc<str>> = gone.chain(changed.map(|(name, _)| name)).collect();
        self.book.show(names, &fresh);
        self.shown = fresh;
        let waited = self.began.elapsed() >= PATIENCE && now.registries.values().any(|one| one.is_ready());
        if self.viewer.is_ready(&now) || (self.viewer.is_merged() && waited) {
            self.ready.store(true, Relaxed);
        }
    }
}

impl Book {
    /// Shows these services, or takes them away if they are not among `all` any more.
    fn show(&mut self, names: BTreeSet<&Arc<str>>, all: &Services) {
        match self {
            Self::Consul(book) => {
                for name in names {
                    let list = all.get(name).map_or(&[][..], |list| list);
                    let mirrored = list.iter().map(|one| {
                        let place = Stand {
                            registry: one.registry.as_str(),
                            is_consul: one.is_consul,
                        };
                        project::consul(&place, name, &one.instance)
                    });
                    let mirrored = mirrored.collect();
                    book.tend(|book, now| book.mirror(name, mirrored, now));
                }
            }
            Self::Nacos(mirrors) => {
                for name in names {
                    let list = all.get(name).map_or(&[][..], |list| list);
                    mirrors.show(name, list.iter().map(|one| &*one.instance));
                }
            }
            Self::Eureka(book) => {
                // Names that differ in case alone are one application.
                let apps: BTreeSet<String> = names.iter().map(|name| name.to_uppercase()).collect();
                let mut wanted: BTreeMap<String, Vec<(&Arc<str>, &Shown)>> =
                    apps.into_iter().map(|app| (app, Vec::new())).collect();
                for (name, list) in all {
                    if let Some(of) = wanted.get_mut(&name.to_uppercase()) {
                        of.extend(list.iter().map(|one| (name, one)));
                    }
                }
                for (app, list) in wanted {
                    let instances: Vec<Arc<Instance>> = list.iter().map(|(_, one)| one.instance.clone()).collect();
                    let weighted = project::weighted(&instances);
                    let mirrored = list
                        .iter()
                        .map(|(name, one)| project::eureka(name, &one.instance, weighted));
                    let mirrored = mirrored.collect();
                    book.tend(|book, now| book.mirror(&app, mirrored, now));
                }
            }
        }
    }
}
