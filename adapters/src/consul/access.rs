//! What writing into Consul shares with following it: the agent, the token, and what the follower leaves out.
//!
//! Next on the path: `publish/consul.rs`, which writes.

use landfall_config::secret::SecretRef;
use reqwest::header::{HeaderMap, HeaderValue};
use url::Url;

use super::{Consul, client};

/// An agent that is written to.
pub(crate) struct Access {
    pub(crate) http: reqwest::Client,
    base: Url,
    token: Option<SecretRef>,
    pub(crate) datacenter: Option<String>,
    /// The follower sees nothing without these.
    pub(crate) tags: Vec<String>,
    /// The follower sees none of these.
    pub(crate) exclude: Vec<String>,
}

impl Consul {
    /// For a publisher.
    pub(crate) fn access(&self) -> Access {
        Access {
            http: self.http.clone(),
            base: self.base.clone(),
            token: self.token.clone(),
            datacenter: self.scope.datacenter.clone(),
            tags: self.scope.tags.clone(),
            exclude: self.scope.exclude.clone(),
        }
    }
}

impl Access {
    /// For people.
    pub(crate) fn shown(&self) -> String {
        client::shown(&self.base)
    }

    /// A path below the agent's, with the datacenter.
    pub(crate) fn url(&self, path: &[&str], query: &[(&str, &str)]) -> Url {
        let mut url = self.base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path);
        }
        let datacenter = self.datacenter.iter().map(|dc| ("dc", dc.as_str()));
        for (key, value) in datacenter.chain(query.iter().copied()) {
            url.query_pairs_mut().append_pair(key, value);
        }
        url
    }

    /// The token, read now: it may have been exchanged.
    pub(crate) fn headers(&self) -> Result<HeaderMap, String> {
        let mut headers = HeaderMap::new();
        if let Some(token) = &self.token {
            let secret = token.read().map_err(|error| error.to_string())?;
            let mut value = HeaderValue::from_str(secret.expose())
                .map_err(|_| format!("the token in {token} has characters that no header may carry"))?;
            value.set_sensitive(true);
            headers.insert("x-consul-token", value);
        }
        Ok(headers)
    }
}

/// How the follower reads an answer about the health of a service.
#[cfg(test)]
pub(crate) fn read_health(service: &std::sync::Arc<str>, body: &[u8]) -> Vec<landfall_model::Instance> {
    let scope = super::Scope {
        datacenter: None,
        tags: Vec::new(),
        exclude: Vec::new(),
        wait: std::time::Duration::from_secs(1),
        max_watches: 1,
    };
    match super::record::health(service, body, &scope).map(|health| health.reading) {
        Ok(super::record::Reading::Service { instances, quarantined }) if quarantined.is_empty() => instances,
        other => panic!("{other:?}"),
    }
}
