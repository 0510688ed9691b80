//! Routes of Dubbo's calls: what a call must look like, and where it goes.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use serde::Serialize;

use super::{Backend, HttpTranscoding, ListenerId, Mirror, TextMatch, Timeouts, ValueMatch};

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
    /// In document order; at most one is a fault, and at most one an HTTPTranscoding.
    pub filters: Vec<DubboFilter>,
    /// Calls of the framework's own that are not let through, each kind once.
    pub refuse: Vec<FrameworkCalls>,
    /// By weight; without filters. If there is none, calls are answered with an error.
    pub backends: Vec<Backend>,
    /// Limits of the whole call and of each try. What a consumer allows its call itself (attachment `timeout`) stands in
    /// for the policy's limit, and shortens the rule's.
    pub timeouts: Timeouts,
    /// Methods that may be called again although a provider may have run them.
    pub idempotent: Vec<TextMatch>,
}

/// What is done to a call besides passing it on.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum DubboFilter {
    /// A copy goes to another backend.
    Mirror(Mirror),
    /// The call is delayed or ended on purpose.
    Fault(DubboFault),
    /// ExtensionRef to an HTTPTranscoding: the call becomes a request to a service of HTTP, and its JSON the result. The rule's backends
    /// are of HTTP then.
    Transcode(Arc<HttpTranscoding>),
}

/// Calls that a service answers besides those of its interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum FrameworkCalls {
    /// `$invoke` and `$invokeAsync`: any method, called by its name.
    Generic,
    /// `$echo`: whether the service is there.
    Echo,
    /// Dubbo's `MetadataService`: what a provider offers.
    Metadata,
}

/// Faults on purpose. Each share is drawn by itself; a call may be delayed and then ended.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct DubboFault {
    /// How long calls wait before anything else is done, and how many of how many do.
    pub delay: Option<(Duration, (u32, u32))>,
    /// The status that calls are answered with, in Dubbo's numbers, and how many of how many are.
    pub abort: Option<(u8, (u32, u32))>,
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
    /// What the method is called with.
    pub arguments: ArgumentsMatch,
}

/// Conditions on the arguments of the method that will run. Without any, arguments are not looked at.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct ArgumentsMatch {
    /// How many there are.
    pub count: Option<u8>,
    /// Each index once.
    pub values: Vec<ArgumentMatch>,
}

impl ArgumentsMatch {
    /// How many conditions there are; the count is one.
    pub fn conditions(&self) -> usize {
        usize::from(self.count.is_some()) + self.values.len()
    }
}

/// A condition on one argument.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ArgumentMatch {
    /// Which, from 0.
    pub index: u8,
    /// What its text must be.
    pub value: TextMatch,
}
