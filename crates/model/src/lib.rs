//! The words of Landfall, as types. Nothing here talks, waits or reads a file.
//!
//! ```text
//! registry ─▶ adapter ─▶ hub ─▶ World ─┐
//!                                      ├─▶ compose ─▶ Snapshot ─▶ engine
//! files ────▶ config ─────────▶ Rules ─┘
//! ```
//!
//! # Lexicon
//!
//! | word | means |
//! |---|---|
//! | *registry* | a system that knows services: Eureka, Consul, ZooKeeper, a file; each is a namespace |
//! | *service* | a name in one registry: `orders` in `eureka` is `orders.eureka` |
//! | *instance* | one address of a service, as its registry states it |
//! | *MeshService* | one logical service made of members from several registries |
//! | *origin* | the registry and the id under which a record was found there |
//! | *world* | everything the registries say, with its age: [`World`] |
//! | *rules* | everything the configuration says about traffic: [`Rules`] |
//! | *governance* | rules for calls that operators keep in a registry itself: Dubbo's configurators and routers |
//! | *snapshot* | one immutable version of both, resolved: [`Snapshot`] |
//! | *cluster* | the endpoints one backend reference stands for, with their policy |
//! | *endpoint* | an instance as the data path sees it: an address that may get traffic |
//! | *listener*, *route*, *filter*, *backendRef* | as in the Kubernetes Gateway API |
//! | *call* | one request on its way through the engine |
//! | *sidecar* | a process beside an application that takes its calls in and out |
//! | *identity* | who a process is: a SPIFFE ID, with certificate and key |
//! | *peer* | the other end of a connection under mutual TLS, by its identity |
//!
//! Next on the path: `adapters` fills a [`World`], `config` makes [`Rules`], `control` composes them.

pub mod duration;
pub mod name;
pub mod rules;
pub mod service;
pub mod snapshot;
pub mod world;

pub use name::{InvalidName, RegistryName, ServiceId};
pub use rules::Rules;
pub use service::{Host, Instance, Origin, Port, Protocol, Service, Serving, Status};
pub use snapshot::{Cluster, ClusterId, Endpoint, Snapshot};
pub use world::{Freshness, RegistryView, World};
