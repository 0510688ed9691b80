//! One file per kind of document, and the list of all of them.
//!
//! A kind is a type with `serde` and `schemars`; `shape` makes its checks from that.
//! Checks that look at several fields are in `rules`.

use std::sync::LazyLock;

use schemars::{JsonSchema, generate::SchemaSettings};
use serde_json::{Value, json};

use crate::shape::{Shape, compile};

pub mod authorization_policy;
pub mod certificate;
pub mod dubbo_route;
pub mod dubbo_transcoding;
pub mod facade;
pub mod filter;
pub mod gateway;
pub mod http_route;
pub mod http_transcoding;
pub mod mesh_service;
pub mod metadata;
pub mod peer_authentication;
pub mod registry;
pub mod registry_sync;
pub mod service_policy;
pub mod text;

/// Our own group.
pub(crate) const LANDFALL: &str = "landfall.dev";
/// The Gateway API's group.
pub(crate) const GATEWAY_API: &str = "gateway.networking.k8s.io";

/// The kinds that are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Registry,
    Gateway,
    HttpRoute,
    DubboRoute,
    DubboTranscoding,
    HttpTranscoding,
    MeshService,
    ServicePolicy,
    Certificate,
    RegistrySync,
    Facade,
    AuthorizationPolicy,
    PeerAuthentication,
    /// Accepted without effect: exports of a cluster hold it.
    GatewayClass,
    /// Accepted for its labels, which a listener may select by.
    Namespace,
}

impl Kind {
    /// All, in the order of the schema.
    pub const ALL: [Self; 15] = [
        Self::Registry,
        Self::Gateway,
        Self::HttpRoute,
        Self::DubboRoute,
        Self::DubboTranscoding,
        Self::HttpTranscoding,
        Self::MeshService,
        Self::ServicePolicy,
        Self::Certificate,
        Self::RegistrySync,
        Self::Facade,
        Self::AuthorizationPolicy,
        Self::PeerAuthentication,
        Self::GatewayClass,
        Self::Namespace,
    ];

    /// The word in `kind`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Registry => "Registry",
            Self::Gateway => "Gateway",
            Self::HttpRoute => "HTTPRoute",
            Self::DubboRoute => "DubboRoute",
            Self::DubboTranscoding => "DubboTranscoding",
            Self::HttpTranscoding => "HTTPTranscoding",
            Self::MeshService => "MeshService",
            Self::ServicePolicy => "ServicePolicy",
            Self::Certificate => "Certificate",
            Self::RegistrySync => "RegistrySync",
            Self::Facade => "Facade",
            Self::AuthorizationPolicy => "AuthorizationPolicy",
            Self::PeerAuthentication => "PeerAuthentication",
            Self::GatewayClass => "GatewayClass",
            Self::Namespace => "Namespace",
        }
    }

    /// What `apiVersion` may be, the usual one first.
    pub fn versions(self) -> &'static [&'static str] {
        match self {
            Self::Registry
            | Self::DubboRoute
            | Self::DubboTranscoding
            | Self::HttpTranscoding
            | Self::MeshService
            | Self::ServicePolicy
            | Self::Certificate
            | Self::RegistrySync
            | Self::Facade => &["landfall.dev/v1"],
            Self::Gateway | Self::HttpRoute | Self::GatewayClass => {
                &["gateway.networking.k8s.io/v1", "gateway.networking.k8s.io/v1beta1"]
            }
            Self::AuthorizationPolicy | Self::PeerAuthentication => {
                &["security.istio.io/v1", "security.istio.io/v1beta1"]
            }
            Self::Namespace => &["v1"],
        }
    }

    /// Whether `metadata.namespace` is a scope of its own for the kind. Ours are known by name alone.
    pub fn namespaced(self) -> bool {
        matches!(self, Self::Gateway | Self::HttpRoute | Self::DubboRoute)
    }

    /// The JSON Schema of a whole document.
    pub fn schema(self) -> Value {
        let (spec, required) = match self {
            Self::Registry => (schema_of::<registry::RegistrySpec>(), true),
            Self::Gateway => (schema_of::<gateway::GatewaySpec>(), true),
            Self::HttpRoute => (schema_of::<http_route::HttpRouteSpec>(), true),
            Self::DubboRoute => (schema_of::<dubbo_route::DubboRouteSpec>(), true),
            Self::DubboTranscoding => (schema_of::<dubbo_transcoding::DubboTranscodingSpec>(), true),
            Self::HttpTranscoding => (schema_of::<http_transcoding::HttpTranscodingSpec>(), true),
            Self::MeshService => (schema_of::<mesh_service::MeshServiceSpec>(), true),
            Self::ServicePolicy => (schema_of::<service_policy::ServicePolicySpec>(), true),
            Self::Certificate => (schema_of::<certificate::CertificateSpec>(), true),
            Self::RegistrySync => (schema_of::<registry_sync::RegistrySyncSpec>(), true),
            Self::Facade => (schema_of::<facade::FacadeSpec>(), true),
            Self::AuthorizationPolicy => (schema_of::<authorization_policy::AuthorizationPolicySpec>(), true),
            Self::PeerAuthentication => (schema_of::<peer_authentication::PeerAuthenticationSpec>(), true),
            Self::GatewayClass | Self::Namespace => (json!({}), false),
        };
        let mut required_fields = vec!["apiVersion", "kind", "metadata"];
        required_fields.extend(required.then_some("spec"));
        json!({
            "title": self.name(),
            "type": "object",
            "properties": {
                "apiVersion": { "enum": self.versions(), "description": "Group and version of the kind." },
                "kind": { "const": self.name(), "description": "What the document is." },
                "metadata": schema_of::<metadata::Metadata>(),
                "spec": spec,
                "status": { "description": "Ignored: exports of a cluster carry it." },
            },
            "required": required_fields,
            "additionalProperties": false,
        })
    }

    /// What a document must look like.
    pub fn shape(self) -> &'static Shape {
        static SHAPES: LazyLock<Vec<Shape>> =
            LazyLock::new(|| Kind::ALL.iter().map(|kind| compile(&kind.schema())).collect());
        Kind::ALL
            .iter()
            .position(|kind| *kind == self)
            .map_or(&Shape::Any, |at| &SHAPES[at])
    }
}

/// Kinds that exist and are not supported yet, with their group.
pub(crate) const LATER: &[(&str, &str)] = &[
    ("Migration", LANDFALL),
    ("RateLimit", LANDFALL),
    ("GRPCRoute", GATEWAY_API),
    ("TLSRoute", GATEWAY_API),
    ("TCPRoute", GATEWAY_API),
    ("UDPRoute", GATEWAY_API),
    ("ReferenceGrant", GATEWAY_API),
    ("BackendTLSPolicy", GATEWAY_API),
    ("ListenerSet", GATEWAY_API),
    ("RequestAuthentication", "security.istio.io"),
];

/// The schema of a type with everything inlined: shapes and editors need no references.
pub(crate) fn schema_of<T: JsonSchema>() -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.inline_subschemas = true;
        settings.meta_schema = None;
    });
    let mut schema = settings.into_generator().into_root_schema_for::<T>().to_value();
    if let Some(object) = schema.as_object_mut() {
        object.remove("$schema");
        object.remove("title");
    }
    schema
}
