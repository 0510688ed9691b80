//! All Facade documents at work: which listens where, and what happens when the configuration changes.
//!
//! ```text
//! set ──▶ one listener per address ──▶ table of (path, Front), the longest path first ──▶ Front
//! ```
//!
//! Nacos' gRPC has a listener of its own beside that of its facade's HTTP. A listener stays as long as any facade wants its address, and an unchanged facade keeps its book, so a change
//! of one disturbs no client of another. A port that is in use is tried again.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use axum::{Router, extract::Request, response::Response};
use http::{StatusCode, Uri, uri::PathAndQuery};
use landfall_config::{ConfigState, FacadeConfig, RegistryConfig, kinds::facade::FacadeWrites};
use landfall_model::World;
use tokio::sync::watch;
use tracing::{info, warn};

use super::{
    consul::surface::plain,
    front::Front,
    nacos::grpc::{self, Server as NacosServer},
    serve,
    traffic::Board,
};
use crate::ConnectError;

/// A port in use is tried again after that time.
const AGAIN: Duration = Duration::from_secs(2);

/// The facades of a configuration.
#[derive(Debug)]
pub struct Facades {
    world: watch::Receiver<Arc<World>>,
    board: Board,
    fronts: BTreeMap<String, (Made, Arc<Front>)>,
    listeners: BTreeMap<SocketAddr, Listening>,
    /// Nacos' gRPC, by the name of the facade.
    grpc: BTreeMap<String, Grpc>,
}

#[derive(Debug)]
struct Grpc {
    address: SocketAddr,
    server: watch::Sender<Arc<NacosServer>>,
}

/// What a facade was made from.
type Made = (FacadeConfig, Option<RegistryConfig>);

#[derive(Debug)]
struct Listening {
    table: Arc<RwLock<Table>>,
    address: SocketAddr,
    _stop: watch::Sender<()>,
}

/// Paths and who answers below them, the longest first.
type Table = Vec<(String, Arc<Front>)>;

impl Facades {
    /// None yet. They show what `world` holds, and are listed on the board.
    pub fn new(world: watch::Receiver<Arc<World>>, board: Board) -> Self {
        Self {
            world,
            board,
            fronts: BTreeMap::new(),
            listeners: BTreeMap::new(),
            grpc: BTreeMap::new(),
        }
    }

    /// Shows these and no others. Needs a runtime.
    ///
    /// # Errors
    /// Each facade that cannot be shown, and why; the others are.
    pub fn set(&mut self, facades: &[FacadeConfig], registries: &[RegistryConfig]) -> Vec<(String, ConnectError)> {
        let mut errors = Vec::new();
        let mut tables: BTreeMap<SocketAddr, Table> = BTreeMap::new();
        let mut fronts = BTreeMap::new();
        for config in facades {
            let address: SocketAddr = match config.spec.address.parse() {
                Ok(address) => address,
                Err(_) => {
                    errors.push((
                        config.name.clone(),
                        bad("address", &config.spec.address, "write `ip:port`"),
                    ));
                    continue;
                }
            };
            let target = match &config.spec.writes {
                FacadeWrites::Forward(writes) => registries
                    .iter()
                    .find(|registry| registry.name.as_str() == &*writes.forward)
                    .cloned(),
                FacadeWrites::Refuse(_) => None,
            };
            let made = (config.clone(), target);
            let front = match self.fronts.remove(&config.name) {
                Some((known, front)) if known == made => front,
                _ => {
                    let (name, spec, target) = (&config.name, &config.spec, made.1.as_ref());
                    match Front::start(name, spec, address.ip(), &self.board, target, self.world.clone()) {
                        Ok(front) => Arc::new(front),
                        Err(why) => {
                            errors.push((config.name.clone(), bad("writes.forward", "", &why)));
                            continue;
                        }
                    }
                }
            };
            let table = tables.entry(address).or_default();
            table.push((config.spec.prefix().to_owned(), front.clone()));
            fronts.insert(config.name.clone(), (made, front));
        }
        self.fronts = fronts;
        // Those that nobody wants any more let go first: one may want the port that another had.
        self.listeners.retain(|address, _| tables.contains_key(address));
        for (address, mut table) in tables {
            table.sort_by_key(|(path, _)| std::cmp::Reverse(path.len()));
            match self.listeners.get(&address) {
                Some(listening) => {
                    *listening.table.write().unwrap_or_else(PoisonError::into_inner) = table;
                }
                None => match listen(address, table) {
                    Ok(listening) => {
                        info!(address = %listening.address, "a facade listens");
                        self.listeners.insert(address, listening);
                    }
                    Err(error) => {
                        let text = error.to_string();
                        let here = facades.iter().filter(|one| one.spec.address.parse() == Ok(address));
                        let names: BTreeSet<&String> = here.map(|one| &one.name).collect();
                        errors.extend(names.into_iter().map(|name| {
                            let source = std::io::Error::other(text.clone());
                            let address = address.to_string();
                            (name.clone(), ConnectError::Bind { address, source })
                        }));
                    }
                },
            }
        }
        self.set_grpc(&mut errors);
        errors
    }

    /// Listens for gRPC beside each facade of Nacos that listens.
    fn set_grpc(&mut self, errors: &mut Vec<(String, ConnectError)>) {
        let wanted: Vec<(String, Arc<NacosServer>, Option<SocketAddr>)> = self
            .fronts
            .iter()
            .filter_map(|(name, (_, front))| {
                let address = grpc::beside(self.address(name)?);
                Some((name.clone(), front.grpc()?.clone(), address))
            })
            .collect();
        // Those that nobody wants any more, or not there, let go first.
        self.grpc.retain(|name, known| {
            wanted
                .iter()
                .any(|(wanted, _, address)| wanted == name && *address == Some(known.address))
        });
        for (name, server, address) in wanted {
            if let Some(known) = self.grpc.get(&name) {
                let fresh = server;
                known.server.send_if_modified(|server| {
                    let is_new = !Arc::ptr_eq(server, &fresh);
                    *server = fresh;
                    is_new
                });
                continue;
            }
            match listen_grpc(address, server) {
                Ok(listening) => {
                    info!(address = %listening.address, facade = %name, "a facade listens for Nacos' gRPC");
                    self.grpc.insert(name, listening);
                }
                Err(error) => errors.push((name, error)),
            }
        }
    }

    /// Where a facade listens; the real port if 0 was asked for.
    pub fn address(&self, name: &str) -> Option<SocketAddr> {
        let ((config, _), _) = self.fronts.get(name)?;
        let listening = self.listeners.get(&config.spec.address.parse().ok()?)?;
        Some(listening.address)
    }

    /// Shows what the configuration says, as it changes, until the configuration's sender is dropped.
    pub async fn follow(mut self, mut config: watch::Receiver<ConfigState>) {
        loop {
            let now = config.borrow_and_update().current.clone();
            let errors = self.set(&now.facades, &now.registries);
            for (facade, error) in &errors {
                warn!(%facade, %error, "the facade cannot be shown");
            }
            let patience = if errors.is_empty() {
                Duration::from_secs(3600)
            } else {
                AGAIN
            };
            if let Ok(Err(_)) = tokio::time::timeout(patience, config.changed()).await {
                return;
            }
        }
    }
}

fn bad(field: &str, value: &str, why: &str) -> ConnectError {
    ConnectError::BadUrl {
        field: field.to_owned(),
        value_without_credentials: value.to_owned(),
        why: why.to_owned(),
    }
}

fn listen(address: SocketAddr, table: Table) -> Result<Listening, ConnectError> {
    let stated = address.to_string();
    let (listener, bound) = serve::bind(&stated, "address")?;
    let table = Arc::new(RwLock::new(table));
    let stop = watch::Sender::new(());
    let shared = table.clone();
    let answer = move |request: Request| answer(shared.clone(), request);
    serve::spawn(listener, Router::new().fallback(answer), stop.subscribe()).map_err(|source| ConnectError::Bind {
        address: stated,
        source,
    })?;
    Ok(Listening {
        table,
        address: bound,
        _stop: stop,
    })
}

fn listen_grpc(address: Option<SocketAddr>, server: Arc<NacosServer>) -> Result<Grpc, ConnectError> {
    let Some(address) = address else {
        return Err(bad("address", "", "its port leaves none for gRPC, which is 1000 above"));
    };
    let (listener, address) = serve::bind(&address.to_string(), "address")?;
    let server = watch::Sender::new(server);
    grpc::spawn(listener, server.subscribe()).map_err(|source| ConnectError::Bind {
        address: address.to_string(),
        source,
    })?;
    Ok(Grpc { address, server })
}

async fn answer(table: Arc<RwLock<Table>>, mut request: Request) -> Response {
    let path = request.uri().path();
    let found = {
        let table = table.read().unwrap_or_else(PoisonError::into_inner);
        let below = |prefix: &str| path.strip_prefix(prefix).is_some_and(|rest| rest.starts_with('/'));
        let front = table.iter().find(|(prefix, _)| below(prefix));
        front.map(|(prefix, front)| (prefix.len(), front.clone()))
    };
    let Some((length, front)) = found else {
        return plain(StatusCode::NOT_FOUND, "no facade answers at this path");
    };
    if length > 0 {
        let rest = request.uri().path_and_query().map_or("/", PathAndQuery::as_str);
        match rest[length.min(rest.len())..].parse::<Uri>() {
            Ok(uri) => *request.uri_mut() = uri,
            Err(_) => return plain(StatusCode::BAD_REQUEST, "the path cannot be read"),
        }
    }
    front.answer(request).await
}

#[cfg(test)]
mod tests;
