//! One operation at Nacos' servers: who is asked, and what the answer means for the caller.
//!
//! | | API v1 (1.4 and later) | API v3 (3.x with v1 switched off) |
//! |---|---|---|
//! | register | `POST v1/ns/instance` → `ok` | `POST v3/client/ns/instance` → `{code: 0}` |
//! | beat | `PUT v1/ns/instance/beat` → `{code: 10200}`, or 20404: not there | the same with `heartBeat=true`, or 21003 |
//! | remove | `DELETE v1/ns/instance` | `DELETE v3/client/ns/instance` |
//! | look | `nacos/web.rs` | the same |
//!
//! A beat here is the light one, without the instance in it: with it a server would make up what it has lost by itself.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};
use std::time::Duration;

use landfall_model::{Instance, Status};
use reqwest::{Method, header::CONTENT_TYPE};
use serde::Deserialize;
use tokio::time::Instant;
use url::form_urlencoded::Serializer;

use super::shape::Wire;
use crate::{
    nacos::{
        fault::Fault,
        login::Access,
        name::Source,
        record::{self, Health},
        servers::Servers,
        web::{Api, Web},
    },
    publish::{Permit, WriteError},
};

/// When a server asks for less.
const PAUSE: Duration = Duration::from_secs(5);
/// API v1: there is no such instance.
const ABSENT_V1: i64 = 20404;
/// API v3: the same.
const ABSENT_V3: i64 = 21003;

/// The servers of one Nacos, for writing.
pub(super) struct Sender {
    servers: Servers,
    accesses: Vec<Arc<Access>>,
    /// What is known of each server; forgotten when it speaks differently.
    webs: Vec<tokio::sync::Mutex<Option<Arc<Web>>>>,
    namespace: String,
    /// A service that each server may be asked for.
    probe: Source,
    last_good: AtomicUsize,
    permit: Permit,
}

/// Where an instance stands.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place<'a> {
    pub(super) source: &'a Source,
    pub(super) ip: &'a str,
    pub(super) port: u16,
    pub(super) cluster: &'a str,
}

/// What is asked.
#[derive(Clone, Copy)]
enum Ask<'a> {
    Register(&'a Wire, Duration),
    Beat,
    Remove,
}

/// Why there is no answer.
enum Stop {
    NotPermitted,
    Fault(Fault),
}

impl From<Fault> for Stop {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl Sender {
    pub(super) fn new(servers: Servers, namespace: String, group: Arc<str>, permit: Permit) -> Self {
        let accesses: Vec<_> = servers
            .list
            .iter()
            .map(|server| Arc::new(Access::new(&servers, server)))
            .collect();
        Self {
            webs: accesses.iter().map(|_| tokio::sync::Mutex::default()).collect(),
            accesses,
            servers,
            namespace,
            probe: Source {
                group,
                service: "landfall".into(),
            },
            last_good: AtomicUsize::new(0),
            permit,
        }
    }

    /// Where it is sent, for people.
    pub(super) fn address(&self) -> String {
        self.servers.shown()
    }

    /// Whether anything may be sent at this moment.
    pub(super) fn may_send(&self) -> bool {
        self.permit.holds()
    }

    /// Registers, or replaces what we have registered there.
    pub(super) async fn register(&self, wire: &Wire, lease: Duration) -> Result<(), WriteError> {
        self.send(wire.place(), Ask::Register(wire, lease)).await.map(drop)
    }

    /// Says that it lives. False: the server does not have it.
    pub(super) async fn beat(&self, wire: &Wire) -> Result<bool, WriteError> {
        self.send(wire.place(), Ask::Beat).await
    }

    /// Removes what was registered by us, or by anybody who registers over HTTP: look before.
    pub(super) async fn remove(&self, place: Place<'_>) -> Result<(), WriteError> {
        self.send(place, Ask::Remove).await.map(drop)
    }

    /// What stands in a service. A server may be a second behind.
    pub(super) async fn standing(&self, source: &Source) -> Result<Vec<Instance>, WriteError> {
        let mut what = Vec::new();
        for at in self.order() {
            if !self.permit.holds() {
                return Err(WriteError::NotPermitted);
            }
            let asked = async { self.web(at).await?.instances(source).await };
            match asked.await {
                // The metadata says all that is asked for; what it means to Dubbo does not matter.
                Ok(info) => return Ok(record::read(&source.service, false, &info, &mut Health::new()).instances),
                Err(fault) => self.judge(at, fault, &source.service, &mut what).await?,
            }
        }
        Err(self.unavailable(what))
    }

    /// What stands in a cluster of a service and is switched off. Empty where no server says.
    pub(super) async fn switched_off(&self, source: &Source, cluster: &str) -> Vec<Instance> {
        for at in self.order() {
            if !self.permit.holds() {
                return Vec::new();
            }
            let asked = async { self.web(at).await?.catalog(source, cluster).await };
            // A service that is not there is an error, too.
            if let Ok(Some(info)) = asked.await {
                let mut found = record::read(&source.service, false, &info, &mut Health::new()).instances;
                found.retain(|instance| instance.status == Status::Disabled);
                return found;
            }
        }
        Vec::new()
    }

    async fn send(&self, place: Place<'_>, ask: Ask<'_>) -> Result<bool, WriteError> {
        let mut what = Vec::new();
        for at in self.order() {
            let asked = async {
                if !self.permit.holds() {
                    return Err(Stop::NotPermitted);
                }
                self.ask(&*self.web(at).await?, place, ask).await
            };
            match asked.await {
                Ok(is_there) => {
                    self.last_good.store(at, Ordering::Relaxed);
                    return Ok(is_there);
                }
                Err(Stop::NotPermitted) => return Err(WriteError::NotPermitted),
                Err(Stop::Fault(fault)) => self.judge(at, fault, place.ip, &mut what).await?,
            }
        }
        Err(self.unavailable(what))
    }

    /// The last good server first.
    fn order(&self) -> impl Iterator<Item = usize> + use<> {
        let (first, count) = (self.last_good.load(Ordering::Relaxed), self.accesses.len());
        (0..count).map(move |step| (first + step) % count)
    }

    /// Whether another server is worth asking: else why not.
    async fn judge(&self, at: usize, fault: Fault, id: &str, what: &mut Vec<String>) -> Result<(), WriteError> {
        let address = self.servers.list[at].to_string();
        match fault {
            Fault::Denied(what) => return Err(WriteError::Denied { address, what }),
            Fault::Refused(what) => {
                return Err(WriteError::Rejected {
                    address,
                    id: id.into(),
                    what,
                });
            }
            Fault::NotReady(said) if said.starts_with("429 ") => {
                return Err(WriteError::Throttled { address, wait: PAUSE });
            }
            Fault::Garbled { what: said, sample } => {
                // Another version may stand there now.
                *self.webs[at].lock().await = None;
                what.push(format!("{address}: {said} {sample}"));
            }
            Fault::Lost(said) | Fault::NotReady(said) | Fault::Unregistered(said) => {
                what.push(format!("{address}: {said}"));
            }
        }
        Ok(())
    }

    fn unavailable(&self, what: Vec<String>) -> WriteError {
        WriteError::Unavailable {
            address: self.address(),
            what: what.join("; "),
        }
    }

    /// What is known of a server; found out now if nothing is.
    async fn web(&self, at: usize) -> Result<Arc<Web>, Fault> {
        let mut known = self.webs[at].lock().await;
        if let Some(web) = &*known {
            return Ok(web.clone());
        }
        let (server, access) = (self.servers.list[at].clone(), self.accesses[at].clone());
        let web = Web::for_writing(server, self.namespace.clone(), access, &self.probe).await?;
        let web = Arc::new(web);
        *known = Some(web.clone());
        Ok(web)
    }

    async fn ask(&self, web: &Web, place: Place<'_>, ask: Ask<'_>) -> Result<bool, Stop> {
        let is_v3 = web.api() == Api::V3;
        let (method, path) = match (is_v3, ask) {
            (false, Ask::Register(..)) => (Method::POST, "v1/ns/instance"),
            (false, Ask::Beat) => (Method::PUT, "v1/ns/instance/beat"),
            (false, Ask::Remove) => (Method::DELETE, "v1/ns/instance"),
            (true, Ask::Register(..) | Ask::Beat) => (Method::POST, "v3/client/ns/instance"),
            (true, Ask::Remove) => (Method::DELETE, "v3/client/ns/instance"),
        };
        let mut parameters = vec![
            ("namespaceId", self.namespace.clone()),
            ("groupName", place.source.group.to_string()),
            (
                "serviceName",
                match is_v3 {
                    true => place.source.service.to_string(),
                    false => place.source.grouped(),
                },
            ),
            ("ip", place.ip.to_owned()),
            ("port", place.port.to_string()),
            ("clusterName", place.cluster.to_owned()),
            ("ephemeral", "true".to_owned()),
        ];
        match ask {
            Ask::Register(wire, lease) => parameters.extend(wire.parameters(lease)),
            Ask::Beat if is_v3 => parameters.push(("heartBeat", "true".to_owned())),
            Ask::Beat | Ask::Remove => {}
        }
        let mut again = true;
        let body = loop {
            let asked = Instant::now();
            let request = web.request(method.clone(), path).await?;
            let request = match method {
                Method::POST => {
                    let form = Serializer::new(String::new()).extend_pairs(&parameters).finish();
                    request
                        .header(CONTENT_TYPE, "application/x-www-form-urlencoded; charset=utf-8")
                        .body(form)
                }
                _ => request.query(&parameters),
            };
            // The login before it may have taken long.
            if !self.permit.holds() {
                return Err(Stop::NotPermitted);
            }
            match web.answer(path, request).await {
                Err(Fault::Denied(_)) if std::mem::take(&mut again) && web.refused(asked).await => {}
                answer => break answer?,
            }
        };
        Ok(is_there(path, is_v3, ask, &body)?)
    }
}

/// What an answer 200 says.
fn is_there(path: &str, is_v3: bool, ask: Ask<'_>, body: &[u8]) -> Result<bool, Fault> {
    #[derive(Deserialize)]
    struct Coded {
        #[serde(default)]
        code: i64,
        #[serde(default)]
        message: Option<String>,
    }
    if !is_v3 && !matches!(ask, Ask::Beat) {
        return Ok(true);
    }
    let Coded { code, message } =
        serde_json::from_slice(body).map_err(|error| Fault::garbled(format!("{path}: {error}"), body))?;
    match code {
        ABSENT_V1 if !is_v3 => Ok(false),
        ABSENT_V3 if is_v3 => Ok(false),
        0 | 200 | 10200 => Ok(true),
        code => Err(Fault::of_code(
            code,
            format!("{path}: {}", message.unwrap_or_default()),
            body,
        )),
    }
}

impl Wire {
    /// Where it stands.
    pub(super) fn place(&self) -> Place<'_> {
        Place {
            source: &self.source,
            ip: &self.ip,
            port: self.port,
            cluster: &self.cluster,
        }
    }
}
