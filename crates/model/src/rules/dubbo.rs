//! Routes of Dubbo's calls: what a call must look like, and where it goes.

use std::{sync::Arc, time::SystemTime};

use serde::Serialize;

use super::{Backend, ListenerId, TextMatch, Timeouts, ValueMatch};

/// A DubboRoute after its checks.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DubboRoute {
    /// `namespace/name`; the default namespace is `default`.
    pub id: Arc<str>,
    /// `metadata.creationTimestamp`: the older route wins a tie; none counts as newest.
    pub created: Option<SystemTime>,
    /// The listeners it is attached to, each once. Never empty.
    pub listeners: Vec<ListenerId>,
    /// In document order. Never empty.
    pub rules: Vec<DubboRule>,
}

/// One rule of a route: any of the matches, then one backend.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DubboRule {
    /// Optional name, for people.
    pub name: Option<Arc<str>>,
    /// Any of these. Never empty: no `matches` in the document means every call.
    pub matches: Vec<DubboMatch>,
    /// By weight; without filters. If there is none, calls are answered with an error.
    pub backends: Vec<Backend>,
    /// Limits of the whole call and of each try. What a consumer allows its call itself (attachment `timeout`) stands in
    /// for the policy's limit, and shortens the rule's.
    pub timeouts: Timeouts,
    /// Methods that may be called again although a provider may have run them.
    pub idempotent: Vec<TextMatch>,
}

/// All conditions must hold. A match without any takes every call, also those whose body cannot be read.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct DubboMatch {
    /// The Java interface.
    pub interface: Option<TextMatch>,
    /// The group; a call without one has the empty text.
    pub group: Option<TextMatch>,
    /// The version; a call without one has the empty text.
    pub version: Option<TextMatch>,
    /// The method; of a generic call the one that will run.
    pub method: Option<TextMatch>,
    /// Names as written, each once.
    pub attachments: Vec<ValueMatch>,
}
