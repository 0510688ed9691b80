//! Nacos over HTTP: the fall-back, polled. Which of its three APIs a server has is found out once a session.
//!
//! | API | names of a group | instances of a service |
//! |---|---|---|
//! | v2 (2.2 and later) | `v2/ns/service/list` → `{code, data: {count, services}}` | `v2/ns/instance/list` → `{code, data: serviceInfo}` |
//! | v1 (1.x and 2.x) | `v1/ns/service/list` → `{count, doms}` | `v1/ns/instance/list` → serviceInfo |
//! | v3 (3.x) | `v3/admin/ns/service/list` → `{code, data: {totalCount, pageItems}}` | `v3/client/ns/instance/list` → `{code, data: hosts}` |
//!
//! What writes uses the same three, told apart by whoever writes: [`Web::for_writing`].
//!
//! Next on the path: [`session`](super::session); `publish/nacos/send.rs` for who writes.

use std::sync::Arc;

use reqwest::{Method, RequestBuilder, Response};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::value::RawValue;
use tokio::time::Instant;

use super::{
    fault::{Fault, chain},
    login::Access,
    name::{JOINT, Source},
    record::Info,
    servers::Server,
};

/// Of one answer, decompressed.
const BODY_LIMIT: usize = 32 << 20;

/// Instances of one cluster of a service that are looked at.
const MOST: &str = "10000";

/// Asks one server.
#[derive(Debug)]
pub(crate) struct Web {
    server: Server,
    namespace: String,
    access: Arc<Access>,
    api: Api,
}

/// One of Nacos' APIs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Api {
    /// Of 1.x, kept by 2.x and, unless it is switched off, by 3.x.
    V1,
    /// Of 2.2 and later.
    V2,
    /// Of 3.x.
    V3,
}

/// One page of the names of a group.
#[derive(Debug)]
pub(super) struct Page {
    /// How many there are on all pages.
    pub(super) count: usize,
    pub(super) names: Vec<String>,
}

#[derive(Deserialize)]
struct Enveloped<T> {
    code: i64,
    #[serde(default)]
    message: Option<String>,
    data: Option<T>,
}

#[derive(Deserialize)]
struct NamesV1 {
    count: usize,
    doms: Vec<String>,
}

#[derive(Deserialize)]
struct NamesV2 {
    count: usize,
    services: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct NamesV3 {
    total_count: usize,
    page_items: Vec<ItemV3>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ItemV3 {
    name: String,
    group_name: String,
}

impl Web {
    /// Finds out which API the server has.
    pub(super) async fn open(server: Server, namespace: String, access: Arc<Access>) -> Result<Self, Fault> {
        let mut web = Self {
            server,
            namespace,
            access,
            api: Api::V2,
        };
        let mut last = Fault::NotReady("no API is known".to_owned());
        for api in [Api::V2, Api::V1, Api::V3] {
            web.api = api;
            match web.names(&super::name::DEFAULT_GROUP.into(), 1, 1).await {
                Ok(_) => return Ok(web),
                Err(fault) if is_elsewhere(&fault) => last = fault,
                Err(fault) => return Err(fault),
            }
        }
        Err(last)
    }

    /// Finds out by which API the server takes instances that live by beats. `probe` is a service it may be asked for.
    pub(crate) async fn for_writing(
        server: Server,
        namespace: String,
        access: Arc<Access>,
        probe: &Source,
    ) -> Result<Self, Fault> {
        let mut web = Self {
            server,
            namespace,
            access,
            api: Api::V1,
        };
        let mut last = Fault::NotReady("no API is known".to_owned());
        for api in [Api::V1, Api::V3] {
            web.api = api;
            // It needs the same leave of the server as writing, and 3.x switches both off together.
            match web.instances(probe).await {
                Ok(_) => return Ok(web),
                Err(fault) if is_elsewhere(&fault) => last = fault,
                Err(fault) => return Err(fault),
            }
        }
        Err(last)
    }

    /// The API that is spoken.
    pub(crate) fn api(&self) -> Api {
        self.api
    }

    /// A request at a path below the context path, with the token. Logs in when it must.
    pub(crate) async fn request(&self, method: Method, path: &str) -> Result<RequestBuilder, Fault> {
        let mut request = self.access.http.request(method, self.server.url(path));
        if let Some(token) = self.access.token().await? {
            // As a header, which every version since 1.2 takes: a URL is logged.
            request = request
                .header("accessToken", token.expose())
                .bearer_auth(token.expose());
        }
        Ok(request)
    }

    /// Sends it, once. The body of an answer 200; `path` is for people.
    pub(crate) async fn answer(&self, path: &str, request: RequestBuilder) -> Result<Vec<u8>, Fault> {
        let response = request
            .send()
            .await
            .map_err(|error| Fault::Lost(chain(&error.without_url())))?;
        let status = response.status().as_u16();
        let body = body(response, BODY_LIMIT).await?;
        match status {
            200 => Ok(body),
            status => {
                let said = super::fault::quoted(&body);
                Err(Fault::of_code(i64::from(status), format!("{path}: {said}"), &body))
            }
        }
    }

    /// Whether what was begun at `asked` and refused is worth sending again, with another token.
    pub(crate) async fn refused(&self, asked: Instant) -> bool {
        self.access.refused(asked).await
    }

    /// One page of a group's names.
    pub(super) async fn names(&self, group: &Arc<str>, page: usize, size: usize) -> Result<Page, Fault> {
        let (page, size) = (page.to_string(), size.to_string());
        let mut query = vec![
            ("pageNo", &*page),
            ("pageSize", &*size),
            ("namespaceId", &*self.namespace),
        ];
        query.push((
            if self.api == Api::V3 {
                "groupNameParam"
            } else {
                "groupName"
            },
            group,
        ));
        Ok(match self.api {
            Api::V1 => {
                let NamesV1 { count, doms } = self.get("v1/ns/service/list", &query).await?;
                Page { count, names: doms }
            }
            Api::V2 => {
                let NamesV2 { count, services } = self.data("v2/ns/service/list", &query).await?;
                Page { count, names: services }
            }
            Api::V3 => {
                let NamesV3 {
                    total_count,
                    page_items,
                } = self.data("v3/admin/ns/service/list", &query).await?;
                // The group is a pattern there: what else it finds is named in full, and told apart by who reads it.
                let names = page_items
                    .into_iter()
                    .map(|item| format!("{}{JOINT}{}", item.group_name, item.name));
                Page {
                    count: total_count,
                    names: names.collect(),
                }
            }
        })
    }

    /// A service's instances.
    pub(crate) async fn instances(&self, source: &Source) -> Result<Info, Fault> {
        let grouped = source.grouped();
        let query = [
            ("namespaceId", &*self.namespace),
            ("groupName", &*source.group),
            (
                "serviceName",
                if self.api == Api::V1 {
                    &*grouped
                } else {
                    &*source.service
                },
            ),
        ];
        match self.api {
            Api::V1 => self.get("v1/ns/instance/list", &query).await,
            Api::V2 => self.data("v2/ns/instance/list", &query).await,
            Api::V3 => {
                let hosts: Vec<Box<RawValue>> = self.data("v3/client/ns/instance/list", &query).await?;
                Ok(Info::of_hosts(hosts))
            }
        }
    }

    /// All instances of a cluster of a service, those that are switched off too; `None`: there is no telling by this API.
    pub(crate) async fn catalog(&self, source: &Source, cluster: &str) -> Result<Option<Info>, Fault> {
        #[derive(Deserialize)]
        struct Listed {
            list: Vec<Box<RawValue>>,
        }
        // Of 3.x only administrators may ask.
        if self.api != Api::V1 {
            return Ok(None);
        }
        let grouped = source.grouped();
        let query = [
            ("namespaceId", &*self.namespace),
            ("serviceName", &*grouped),
            ("clusterName", cluster),
            ("pageNo", "1"),
            ("pageSize", MOST),
        ];
        let listed: Listed = self.get("v1/ns/catalog/instances", &query).await?;
        Ok(Some(Info::of_hosts(listed.list)))
    }

    async fn data<T: DeserializeOwned>(&self, path: &str, query: &[(&str, &str)]) -> Result<T, Fault> {
        let answer = self.bytes(path, query).await?;
        let enveloped: Enveloped<T> = read(path, &answer)?;
        match (enveloped.code, enveloped.data) {
            (0, Some(data)) => Ok(data),
            (0, None) => Err(Fault::garbled(format!("{path} has no data"), &answer)),
            (code, _) => {
                let said = enveloped.message.unwrap_or_default();
                Err(Fault::of_code(code, format!("{path}: {said}"), &answer))
            }
        }
    }

    async fn get<T: DeserializeOwned>(&self, path: &str, query: &[(&str, &str)]) -> Result<T, Fault> {
        read(path, &self.bytes(path, query).await?)
    }

    async fn bytes(&self, path: &str, query: &[(&str, &str)]) -> Result<Vec<u8>, Fault> {
        let asked = Instant::now();
        match self.bytes_once(path, query).await {
            Err(Fault::Denied(_)) if self.refused(asked).await => self.bytes_once(path, query).await,
            answer => answer,
        }
    }

    async fn bytes_once(&self, path: &str, query: &[(&str, &str)]) -> Result<Vec<u8>, Fault> {
        let request = self.request(Method::GET, path).await?.query(query);
        self.answer(path, request).await
    }
}

/// Whether another API is worth a try. 404, 410, 501: another version; an old one answers an unknown path with its own
/// 404 page.
fn is_elsewhere(fault: &Fault) -> bool {
    match fault {
        Fault::Garbled { .. } => true,
        Fault::NotReady(what) => what.starts_with("501 "),
        _ => false,
    }
}

fn read<T: DeserializeOwned>(path: &str, body: &[u8]) -> Result<T, Fault> {
    serde_json::from_slice(body).map_err(|error| Fault::garbled(format!("{path}: {error}"), body))
}

/// The body of an answer, up to a limit.
pub(super) async fn body(mut response: Response, limit: usize) -> Result<Vec<u8>, Fault> {
    let mut body = Vec::new();
    while let Some(chunk) = response
        .chunk()
        .await
        .map_err(|error| Fault::Lost(chain(&error.without_url())))?
    {
        if body.len() + chunk.len() > limit {
            return Err(Fault::garbled(
                format!("the answer is larger than {limit} bytes"),
                &body,
            ));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}
