//! `kind: DubboRoute`: which calls of Dubbo go where. Ours; in the words of HTTPRoute where it has one.

use schemars::JsonSchema;
use serde::Deserialize;

use super::{
    filter::{ExtensionRef, Fraction, RequestMirror},
    http_route::{ParentRef, Timeouts, ValueMatchType},
    text::{Group, KindName, NamespaceName, QueryValue, SectionName, ServiceName},
};
use crate::duration::Duration;

/// Which calls of Dubbo go where.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DubboRouteSpec {
    /// The Gateways, or their listeners of protocol `Dubbo`, that it belongs to.
    #[serde(default)]
    #[schemars(length(max = 32))]
    pub parent_refs: Vec<ParentRef>,
    /// What to do with which calls.
    #[schemars(length(min = 1, max = 64))]
    pub rules: Vec<Rule>,
}

/// Any of the matches, then one backend.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Rule {
    /// Name of the rule, for people; unique in the route.
    pub name: Option<SectionName>,
    /// What calls must look like, any of these. Default: every call, also one whose body cannot be read.
    #[serde(default)]
    #[schemars(length(max = 64))]
    pub matches: Vec<Match>,
    /// What is done to calls besides passing them on.
    #[serde(default)]
    #[schemars(length(max = 16))]
    pub filters: Vec<Filter>,
    /// Calls of the framework's own that are not let through although the rule takes them. Default: none. With any, calls
    /// whose body cannot be read are not let through either.
    #[serde(default)]
    #[schemars(length(max = 3))]
    pub refuse: Vec<FrameworkCalls>,
    /// Where calls go, by weight.
    #[serde(default)]
    #[schemars(length(max = 16))]
    pub backend_refs: Vec<BackendRef>,
    /// How long a call may take. Default: what the consumer allows it (attachment `timeout`), else the ServicePolicy's.
    pub timeouts: Option<Timeouts>,
    /// Methods that may be called again although a provider may have run them. Default: none; a call that provably
    /// reached nobody is tried elsewhere whatever its method.
    #[serde(default)]
    #[schemars(length(max = 64))]
    pub idempotent_methods: Vec<TextMatch>,
}

/// Conditions that must all hold. A call whose body cannot be read meets none of them.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Match {
    /// The Java interface.
    pub interface: Option<TextMatch>,
    /// The group; a call without one has the empty text.
    pub group: Option<TextMatch>,
    /// The version; a call without one has the empty text.
    pub version: Option<TextMatch>,
    /// The method; of a generic call the one that will run.
    pub method: Option<TextMatch>,
    /// Attachments that must be there.
    #[serde(default)]
    #[schemars(length(max = 16))]
    pub attachments: Vec<AttachmentMatch>,
    /// What the method is called with; of a generic call the method that will run.
    #[serde(default)]
    pub arguments: Arguments,
}

/// Conditions on arguments that must all hold.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Arguments {
    /// How many there are. Default: any number.
    #[schemars(range(max = 255))]
    pub count: Option<u8>,
    /// What some of them are.
    #[serde(default)]
    #[schemars(length(max = 16))]
    pub values: Vec<ArgumentMatch>,
}

/// A condition on a text.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TextMatch {
    /// How it is compared. Default `Exact`.
    #[serde(rename = "type", default)]
    pub type_: ValueMatchType,
    /// What it is compared with.
    pub value: QueryValue,
}

/// A condition on an attachment.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AttachmentMatch {
    /// How it is compared. Default `Exact`.
    #[serde(rename = "type", default)]
    pub type_: ValueMatchType,
    /// Key of the attachment, in the caller's case.
    pub name: ServiceName,
    /// What its value is compared with; numbers and truth values as text.
    pub value: QueryValue,
}

/// A condition on an argument: a text, a number, a truth value or an enum within the first 64 KiB of the arguments. Any
/// other argument meets none.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ArgumentMatch {
    /// Which argument, from 0.
    #[schemars(range(max = 254))]
    pub index: u8,
    /// How it is compared. Default `Exact`.
    #[serde(rename = "type", default)]
    pub type_: ValueMatchType,
    /// What it is compared with: `42`, `true`, `1.5`, the name of an enum, a text.
    pub value: QueryValue,
}

/// One filter: a type and the field of that name.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Filter {
    /// Which of the fields is filled.
    #[serde(rename = "type")]
    pub type_: FilterType,
    /// Sends a copy to another backend and ignores its answer.
    pub request_mirror: Option<RequestMirror>,
    /// Delays calls or ends them, to see what their callers make of it.
    pub fault: Option<FaultFilter>,
    /// A filter that is a document of its own: an HTTPTranscoding, by which calls go to a service of HTTP.
    pub extension_ref: Option<ExtensionRef>,
}

/// Which filter it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
pub enum FilterType {
    /// `requestMirror`.
    RequestMirror,
    /// `fault`; once in a rule.
    Fault,
    /// `extensionRef`; once in a rule.
    ExtensionRef,
}

/// Calls that a service answers besides those of its interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
pub enum FrameworkCalls {
    /// `$invoke` and `$invokeAsync`: any method, called by its name.
    Generic,
    /// `$echo`: whether the service is there.
    Echo,
    /// Dubbo's `MetadataService`: what a provider offers.
    Metadata,
}

/// Faults on purpose. Each share is drawn by itself; a call may be delayed and then ended.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FaultFilter {
    /// Lets calls wait first. The wait counts as time of the call.
    pub delay: Option<Delay>,
    /// Answers calls with an error; they reach nobody.
    pub abort: Option<Abort>,
}

/// A wait.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Delay {
    /// How long.
    pub duration: Duration,
    /// How many of a hundred calls. Default: all.
    #[schemars(range(max = 100))]
    pub percent: Option<u32>,
    /// How many of how many calls, instead of `percent`.
    pub fraction: Option<Fraction>,
}

/// An error.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Abort {
    /// Dubbo's own status: 31, 40, 50, 60, 70, 80 or 100. Default 80, which is that of a server that fails.
    pub status: Option<u8>,
    /// How many of a hundred calls. Default: all.
    #[schemars(range(max = 100))]
    pub percent: Option<u32>,
    /// How many of how many calls, instead of `percent`.
    pub fraction: Option<Fraction>,
}

/// A share of a rule's calls.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BackendRef {
    /// Group of the kind: empty for `Service` (default), `landfall.dev` for `MeshService`.
    pub group: Option<Group>,
    /// Kind of the backend: `Service` (default) or `MeshService`.
    pub kind: Option<KindName>,
    /// Name of the service as its registry writes it, or of the MeshService. In ZooKeeper it is Dubbo's service key:
    /// `group/interface:version`, without the parts that the service does not have.
    pub name: ServiceName,
    /// The registry. Default: a MeshService of that name, else the only registry that has it, else by priority.
    pub namespace: Option<NamespaceName>,
    /// Port of the instances. Default: their preferred Dubbo port; beside an HTTPTranscoding that of HTTP.
    #[schemars(range(min = 1, max = 65535))]
    pub port: Option<u16>,
    /// Share of the rule's calls; 0 gets none. Default 1.
    #[schemars(range(max = 1_000_000))]
    pub weight: Option<u32>,
}
