//! Who may call what: AuthorizationPolicies weighed against each other, when a call's cluster is known.
//!
//! ```text
//!  a DENY may fit? ──yes──▶ denied        an ALLOW there at all? ──no──▶ allowed
//!        └─────no──────────────────────────────▶ └─yes─▶ one fits for sure? ──yes──▶ allowed, else denied
//! ```
//!
//! What is not certain counts against the call: a call of Dubbo whose body is not opened may be any, and a path that
//! others may read differently ([`paths`]) is looked at in every reading. DENY fits if one reading does, ALLOW if all do.
//! Nothing is allocated here, but for the readings of such a path.

use std::{net::IpAddr, sync::Arc};

use landfall_model::rules::{
    AuthorizationAction, AuthorizationPolicy, AuthorizationRule, OperationMatch, SourceMatch, TextLists,
};

use self::paths::Readings;
use crate::call::Call;

mod paths;
#[cfg(test)]
mod tests;

/// The policies of one cluster, in the order in which they are asked.
#[derive(Debug)]
pub(crate) struct Guard {
    deny: Box<[Arc<AuthorizationPolicy>]>,
    allow: Box<[Arc<AuthorizationPolicy>]>,
}

/// What a call asks for.
#[derive(Clone, Copy)]
pub(crate) struct Asked<'a> {
    /// The other end of the connection.
    pub(crate) client: IpAddr,
    /// Who is there, by its SPIFFE ID.
    pub(crate) peer: Option<&'a str>,
    /// Set for an HTTP request.
    pub(crate) http: Option<&'a Call<'a>>,
    /// Set for a call of Dubbo; for both if one is made of the other.
    pub(crate) dubbo: Option<DubboAsked<'a>>,
}

/// What a call of Dubbo asks for.
#[derive(Clone, Copy)]
pub(crate) enum DubboAsked<'a> {
    /// Nobody has opened its body.
    Opaque,
    /// This method.
    Method {
        /// The Java interface.
        interface: &'a str,
        /// The method's name; of a generic call, what it invokes.
        method: &'a str,
    },
}

/// What becomes of a call, and by whose word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Decision<'g> {
    /// Whether it goes on.
    pub(crate) allowed: bool,
    /// The policy and the place of its rule; `None` if no rule fits.
    pub(crate) by: Option<(&'g str, usize)>,
}

impl<'a> Asked<'a> {
    /// An HTTP request.
    pub(crate) fn http(call: &'a Call<'a>) -> Self {
        Self {
            client: call.client.ip(),
            peer: call.peer,
            http: Some(call),
            dubbo: None,
        }
    }

    /// A call of Dubbo.
    pub(crate) fn dubbo(client: IpAddr, dubbo: DubboAsked<'a>) -> Self {
        Self {
            client,
            peer: None,
            http: None,
            dubbo: Some(dubbo),
        }
    }
}

impl Guard {
    pub(crate) fn compile(policies: &[Arc<AuthorizationPolicy>]) -> Self {
        let of = |action| {
            policies
                .iter()
                .filter(move |policy| policy.action == action)
                .cloned()
                .collect()
        };
        Self {
            deny: of(AuthorizationAction::Deny),
            allow: of(AuthorizationAction::Allow),
        }
    }

    /// Whether the call may go on.
    pub(crate) fn decide(&self, asked: &Asked<'_>) -> Decision<'_> {
        let readings = Readings::of(asked.http.map_or("", |call| call.path));
        let first = |policies: &[Arc<AuthorizationPolicy>], sure| {
            let mut rules = policies.iter().enumerate().flat_map(|(at, policy)| {
                let numbered = policy.rules.iter().enumerate();
                numbered.map(move |(index, rule)| (at, index, rule))
            });
            let view = View {
                asked,
                readings: &readings,
                sure,
            };
            rules
                .find(|(_, _, rule)| view.rule(rule))
                .map(|(at, index, _)| (at, index))
        };
        if let Some((at, index)) = first(&self.deny, false) {
            return Decision {
                allowed: false,
                by: Some((&self.deny[at].name, index)),
            };
        }
        let by = first(&self.allow, true).map(|(at, index)| (&*self.allow[at].name, index));
        Decision {
            allowed: by.is_some() || self.allow.is_empty(),
            by,
        }
    }
}

/// A call as rules see it.
struct View<'a> {
    asked: &'a Asked<'a>,
    readings: &'a Readings<'a>,
    /// Whether a rule has to fit for certain, or may fit by one reading.
    sure: bool,
}

impl View<'_> {
    fn rule(&self, rule: &AuthorizationRule) -> bool {
        (rule.from.is_empty() || rule.from.iter().any(|source| self.source(source)))
            && (rule.to.is_empty() || rule.to.iter().any(|operation| self.operation(operation)))
    }

    fn source(&self, source: &SourceMatch) -> bool {
        let SourceMatch {
            ip_blocks,
            not_ip_blocks,
            principals,
            namespaces,
        } = source;
        let client = self.asked.client;
        let principal = self.asked.peer.and_then(|peer| peer.strip_prefix("spiffe://"));
        let namespace = principal.and_then(|name| name.split_once("/ns/")?.1.split_once('/'));
        (ip_blocks.is_empty() || ip_blocks.iter().any(|block| block.contains(client)))
            && !not_ip_blocks.iter().any(|block| block.contains(client))
            && one_if_any(principals, principal)
            && one_if_any(namespaces, namespace.map(|(namespace, _)| namespace))
    }

    fn operation(&self, operation: &OperationMatch) -> bool {
        let OperationMatch {
            hosts,
            methods,
            paths,
            dubbo_interfaces,
            dubbo_methods,
        } = operation;
        let http = hosts.is_empty() && methods.is_empty() && paths.is_empty()
            || self.asked.http.is_some_and(|call| {
                one(hosts, call.host.trim_end_matches('.')) && one(methods, call.method) && self.path(paths)
            });
        let dubbo = dubbo_interfaces.is_empty() && dubbo_methods.is_empty()
            || self.asked.dubbo.is_some_and(|dubbo| match dubbo {
                DubboAsked::Opaque => !self.sure,
                DubboAsked::Method { interface, method } => {
                    one(dubbo_interfaces, interface) && one(dubbo_methods, method)
                }
            });
        http && dubbo
    }

    fn path(&self, paths: &TextLists) -> bool {
        let mut readings = self.readings.iter();
        match self.sure {
            true => readings.all(|path| one(paths, path)),
            false => readings.any(|path| one(paths, path)),
        }
    }
}

/// Whether a text that may be missing fits the lists: what is missing is no text, so none is too many.
fn one_if_any(lists: &TextLists, text: Option<&str>) -> bool {
    match text {
        Some(text) => one(lists, text),
        None => lists.any.is_empty(),
    }
}

/// Whether a text fits the lists.
fn one(lists: &TextLists, text: &str) -> bool {
    (lists.any.is_empty() || lists.any.iter().any(|pattern| pattern.fits(text)))
        && !lists.none.iter().any(|pattern| pattern.fits(text))
}
