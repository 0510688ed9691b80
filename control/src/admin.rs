//! The admin server: health, metrics, and what CLI and dashboard ask.
//!
//! ```text
//! connection ──▶ guard: method, host name, security headers ──▶ one of the pages ──▶ JSON
//! ```
//!
//! It has no login, so it belongs on loopback, which is the default. Nothing can be changed through it but that a plan of
//! `RegistrySync`s is applied, and no secret is in its answers. Every answer is made from one [`Composition`](crate::control::Composition), so its parts fit
//! together. Shapes are the structs of the pages; `docs/admin-api.md` shows one of each.
//!
//! Next on the path: `admin/guard.rs`, then the page.

mod answer;
mod config;
mod conflicts;
mod endpoints;
mod explain;
mod facades;
mod governance;
mod guard;
mod health;
mod listeners;
mod openapi;
mod registries;
mod routes;
mod services;
mod sync;
#[cfg(test)]
mod tests;
mod vocabulary;
mod why;

use std::{
    future::Future,
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
};

use axum::{
    Router,
    http::Uri,
    middleware,
    routing::{get, post},
};
use tokio::net::TcpListener;

use landfall_adapters::facade::traffic::Board;

use crate::{Control, DataPath, writing::WritingView};
use answer::Refusal;

/// Where the admin server listens unless told otherwise.
pub const DEFAULT_ADDRESS: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 15000);

/// Appends metrics in Prometheus' text format.
pub type RenderMetrics = Arc<dyn Fn(&mut String) + Send + Sync>;

/// Why the admin server could not start.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address} for the admin server: {source}")]
pub struct BindError {
    /// Where it was to listen.
    pub address: SocketAddr,
    /// Why it could not.
    #[source]
    pub source: io::Error,
}

/// What the pages are made from.
#[derive(Clone)]
pub struct Sources {
    /// Configuration, registries and snapshots.
    pub control: Control,
    /// What carries traffic, if this process does.
    pub data_path: Option<Arc<dyn DataPath>>,
    /// What is written into registries, if this process does.
    pub writing: Option<WritingView>,
    /// Where clients are answered in registries' own protocols, if this process does.
    pub facades: Board,
    /// Further metrics: those of the registries.
    pub metrics: Vec<RenderMetrics>,
}

/// A server that has its address and does not answer yet.
#[derive(Debug)]
pub struct AdminServer {
    listener: TcpListener,
    address: SocketAddr,
}

impl AdminServer {
    /// Takes the address, so that one in use fails the start.
    pub async fn bind(address: SocketAddr) -> Result<Self, BindError> {
        let failed = |source| BindError { address, source };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        if !address.ip().is_loopback() {
            tracing::warn!(%address, "the admin server has no login and listens beyond loopback");
        }
        Ok(Self { listener, address })
    }

    /// Where it listens; the real port if 0 was asked for.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers until `end`, then finishes what it has begun.
    pub async fn serve(self, sources: Sources, end: impl Future<Output = ()> + Send + 'static) -> io::Result<()> {
        let router = router(sources, self.address);
        axum::serve(self.listener, router).with_graceful_shutdown(end).await
    }
}

/// Pages and what each is for, shown where somebody asks for one that is not there.
const PAGES: [&str; 18] = [
    "/healthz",
    "/readyz",
    "/metrics",
    "/api/v1/registries",
    "/api/v1/services",
    "/api/v1/endpoints",
    "/api/v1/routes",
    "/api/v1/listeners",
    "/api/v1/facades",
    "/api/v1/governance",
    "/api/v1/config",
    "/api/v1/conflicts",
    "/api/v1/sync",
    "/api/v1/sync/plan",
    "/api/v1/sync/apply",
    "/api/v1/why",
    "/api/v1/explain",
    "/api/v1/openapi.json",
];

fn router(sources: Sources, address: SocketAddr) -> Router {
    let host = guard::Host::new(address);
    Router::new()
        .route("/healthz", get(health::live))
        .route("/readyz", get(health::ready))
        .route("/metrics", get(health::metrics))
        .route("/api/v1/registries", get(registries::list))
        .route("/api/v1/services", get(services::list))
        .route("/api/v1/endpoints", get(endpoints::list))
        .route("/api/v1/routes", get(routes::list))
        .route("/api/v1/listeners", get(listeners::list))
        .route("/api/v1/facades", get(facades::list))
        .route("/api/v1/governance", get(governance::list))
        .route("/api/v1/config", get(config::show))
        .route("/api/v1/conflicts", get(conflicts::list))
        .route("/api/v1/sync", get(sync::show))
        .route("/api/v1/sync/plan", get(sync::plan))
        .route("/api/v1/sync/apply", post(sync::apply))
        .route("/api/v1/why", get(why::show))
        .route("/api/v1/explain", get(explain::show))
        .route("/api/v1/openapi.json", get(openapi::show))
        .fallback(|uri: Uri| async move {
            let error = format!("there is no page {}", uri.path());
            Refusal::not_found(error, format!("ask for one of {}", PAGES.join(" ")))
        })
        .with_state(sources)
        .layer(middleware::from_fn_with_state(host, guard::guard))
}
