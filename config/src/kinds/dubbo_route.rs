//! `kind: DubboRoute`: which calls of Dubbo go where. Ours; in the words of HTTPRoute where it has one.

use schemars::JsonSchema;
use serde::Deserialize;

use super::{
    http_route::{ParentRef, Timeouts, ValueMatchType},
    text::{Group, KindName, NamespaceName, QueryValue, SectionName, ServiceName},
};

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
#[schemars(extend("x-later" = ["filters"]))]
pub struct Rule {
    /// Name of the rule, for people; unique in the route.
    pub name: Option<SectionName>,
    /// What calls must look like, any of these. Default: every call, also one whose body cannot be read.
    #[serde(default)]
    #[schemars(length(max = 64))]
    pub matches: Vec<Match>,
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
#[schemars(extend("x-later" = ["arguments", "argumentCount"]))]
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
    /// Port of the instances. Default: their preferred Dubbo port.
    #[schemars(range(min = 1, max = 65535))]
    pub port: Option<u16>,
    /// Share of the rule's calls; 0 gets none. Default 1.
    #[schemars(range(max = 1_000_000))]
    pub weight: Option<u32>,
}
