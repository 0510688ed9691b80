//! `kind: Gateway`: the listeners of the edge. Fields and limits: `apis/v1/gateway_types.go`.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use super::text::{Group, Hostname, KindName, NamespaceName, ObjectName, SectionName};

/// The listeners of the edge.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-later" = ["allowedListeners", "tls", "defaultScope", "backendTLS"]))]
pub struct GatewaySpec {
    /// Which implementation it is for, usually `landfall`. Any name is taken.
    pub gateway_class_name: ObjectName,
    /// Where and for whom to listen.
    #[schemars(length(min = 1, max = 64))]
    pub listeners: Vec<Listener>,
    /// Addresses to bind, for every listener. Default: all of the host.
    #[serde(default)]
    #[schemars(length(max = 16))]
    pub addresses: Vec<Address>,
    /// For objects that a cluster generates: no effect here.
    pub infrastructure: Option<Value>,
}

/// One port, protocol and host name to listen for.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Listener {
    /// Name of the listener, unique in its Gateway.
    pub name: SectionName,
    /// Host name to answer for, exact or `*.suffix`. Default: every one.
    pub hostname: Option<Hostname>,
    /// Port to bind.
    #[schemars(range(min = 1, max = 65535))]
    pub port: u16,
    /// What is spoken: `HTTP` (1.1 and cleartext 2), `HTTPS` (1.1 and 2 over TLS) or `Dubbo` (Dubbo2 over TCP).
    pub protocol: ListenerProtocol,
    /// Certificates; for `HTTPS` only.
    pub tls: Option<ListenerTls>,
    /// Which routes may attach. Default: those of the Gateway's own namespace: DubboRoutes for `Dubbo`, else HTTPRoutes.
    pub allowed_routes: Option<AllowedRoutes>,
}

/// What is spoken on a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[schemars(extend("x-later-values" = ["TLS", "TCP", "UDP"]))]
pub enum ListenerProtocol {
    /// HTTP/1.1 and cleartext HTTP/2.
    #[serde(rename = "HTTP")]
    Http,
    /// HTTP/1.1 or HTTP/2 over TLS.
    #[serde(rename = "HTTPS")]
    Https,
    /// Dubbo2 over TCP.
    Dubbo,
}

/// TLS of a listener.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-later" = ["options", "frontendValidation"]))]
pub struct ListenerTls {
    /// Who ends TLS. Default `Terminate`.
    #[serde(default)]
    pub mode: TlsMode,
    /// Certificates: `{ group: landfall.dev, kind: Certificate, name: … }`. The longest matching name wins, the first
    /// is the default.
    #[serde(default)]
    #[schemars(length(max = 64))]
    pub certificate_refs: Vec<CertificateRef>,
}

/// Who ends TLS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[schemars(extend("x-later-values" = ["Passthrough"]))]
pub enum TlsMode {
    /// The gateway.
    #[default]
    Terminate,
}

/// A reference to a certificate.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CertificateRef {
    /// Group of the kind: `landfall.dev`.
    pub group: Option<Group>,
    /// Kind of the object: `Certificate`.
    pub kind: Option<KindName>,
    /// Name of the Certificate.
    pub name: ObjectName,
    /// Has no effect: Certificates are known by name alone.
    pub namespace: Option<NamespaceName>,
}

/// Which routes may attach to a listener.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AllowedRoutes {
    /// From which namespaces. Default: the Gateway's own.
    #[serde(default)]
    pub namespaces: RouteNamespaces,
    /// Which kinds. Default: those of the protocol.
    #[serde(default)]
    #[schemars(length(max = 8))]
    pub kinds: Vec<RouteKind>,
}

/// From which namespaces routes may attach.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RouteNamespaces {
    /// `Same` (default), `All`, or `Selector`.
    #[serde(default)]
    pub from: FromNamespaces,
    /// Labels of the namespaces, with `from: Selector`.
    pub selector: Option<LabelSelector>,
}

/// From which namespaces.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
pub enum FromNamespaces {
    /// The Gateway's own.
    #[default]
    Same,
    /// Every one.
    All,
    /// Those whose labels fit.
    Selector,
}

/// A selection of labels; all conditions must hold.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LabelSelector {
    /// Labels that must be there with exactly these values.
    #[serde(default)]
    pub match_labels: BTreeMap<String, String>,
    /// Further conditions.
    #[serde(default)]
    pub match_expressions: Vec<LabelCondition>,
}

/// A condition on one label.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LabelCondition {
    /// Name of the label.
    pub key: String,
    /// How it is compared.
    pub operator: LabelOperator,
    /// The values for `In` and `NotIn`.
    #[serde(default)]
    pub values: Vec<String>,
}

/// How a label is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
pub enum LabelOperator {
    /// It has one of the values.
    In,
    /// It has none of the values, or is not there.
    NotIn,
    /// It is there.
    Exists,
    /// It is not there.
    DoesNotExist,
}

/// A kind of route.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RouteKind {
    /// Group of the kind. Default `gateway.networking.k8s.io`.
    pub group: Option<Group>,
    /// Kind of the route.
    pub kind: KindName,
}

/// An address to bind.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Address {
    /// What the value is. Default `IPAddress`.
    #[serde(rename = "type", default)]
    pub type_: AddressType,
    /// The address; empty means all.
    #[serde(default)]
    pub value: String,
}

/// What an address is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[schemars(extend("x-later-values" = ["Hostname", "NamedAddress"]))]
pub enum AddressType {
    /// An IPv4 or IPv6 address.
    #[default]
    #[serde(rename = "IPAddress")]
    IpAddress,
}
