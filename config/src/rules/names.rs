//! What exists: every name once, and the answer to a reference that names nothing.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use landfall_model::rules::{HttpTranscoding, Transcoding};

use super::Report;
use crate::{
    document::{At, Document},
    kinds::{Kind, metadata::Metadata},
    problem::{closest, one_of},
};

/// The names of a configuration, faulty documents included.
#[derive(Debug, Default)]
pub(super) struct Names<'a> {
    pub registries: BTreeSet<&'a str>,
    pub mesh_services: BTreeSet<&'a str>,
    pub certificates: BTreeSet<&'a str>,
    pub transcodings: BTreeSet<&'a str>,
    /// What they say; filled in when they have been checked.
    pub transcoded: BTreeMap<&'a str, Arc<Transcoding>>,
    pub http_transcodings: BTreeSet<&'a str>,
    /// What they say; filled in when they have been checked.
    pub http_transcoded: BTreeMap<&'a str, Arc<HttpTranscoding>>,
    /// By namespace and name.
    pub gateways: BTreeSet<(&'a str, &'a str)>,
    /// Labels of namespaces that have a document.
    pub labels: BTreeMap<&'a str, BTreeMap<String, String>>,
}

impl<'a> Names<'a> {
    /// Collects the names and reports those that stand twice.
    pub fn collect(documents: &'a [Document], report: &mut Report) -> Self {
        let mut names = Self::default();
        let mut first: BTreeMap<(Kind, &str, &str), &Document> = BTreeMap::new();
        for document in documents.iter().filter(|document| !document.name.is_empty()) {
            let name = &*document.name;
            let namespace = if document.kind.namespaced() {
                &*document.namespace
            } else {
                ""
            };
            if let Some(other) = first.get(&(document.kind, namespace, name)) {
                let what = format!("{} stands twice, first at {}", document.label(), other.place());
                report.problems.push(document.root().problem(
                    "metadata.name",
                    what,
                    "give it another name, or remove one",
                ));
                continue;
            }
            first.insert((document.kind, namespace, name), document);
            match document.kind {
                Kind::Registry => drop(names.registries.insert(name)),
                Kind::MeshService => drop(names.mesh_services.insert(name)),
                Kind::Certificate => drop(names.certificates.insert(name)),
                Kind::DubboTranscoding => drop(names.transcodings.insert(name)),
                Kind::HttpTranscoding => drop(names.http_transcodings.insert(name)),
                Kind::Gateway => drop(names.gateways.insert((namespace, name))),
                Kind::Namespace => {
                    let metadata = document.root().field("metadata").and_then(|at| at.read::<Metadata>());
                    names
                        .labels
                        .insert(name, metadata.map(|m| m.labels).unwrap_or_default());
                }
                Kind::HttpRoute
                | Kind::DubboRoute
                | Kind::ServicePolicy
                | Kind::RegistrySync
                | Kind::Facade
                | Kind::AuthorizationPolicy
                | Kind::PeerAuthentication
                | Kind::GatewayClass => {}
            }
            if document.kind == Kind::GatewayClass {
                let what = "a GatewayClass has no effect here";
                report
                    .warnings
                    .push(document.root().problem("kind", what, "it may be left out"));
            } else if !document.kind.namespaced() && &*document.namespace != "default" {
                let what = format!(
                    "a {} is known by its name alone, its namespace has no effect",
                    document.kind.name()
                );
                report.warnings.push(
                    document
                        .root()
                        .problem("metadata.namespace", what, "it may be left out"),
                );
            }
        }
        names
    }

    /// Reports a registry that does not exist.
    pub fn need_registry(&self, at: &At<'_>, field: &str, name: &str, report: &mut Report) -> bool {
        need(&self.registries, "Registry", at, field, name, report)
    }

    /// Reports a MeshService that does not exist.
    pub fn need_mesh_service(&self, at: &At<'_>, field: &str, name: &str, report: &mut Report) -> bool {
        need(&self.mesh_services, "MeshService", at, field, name, report)
    }

    /// Reports a Certificate that does not exist.
    pub fn need_certificate(&self, at: &At<'_>, field: &str, name: &str, report: &mut Report) -> bool {
        need(&self.certificates, "Certificate", at, field, name, report)
    }

    /// Reports a DubboTranscoding that does not exist.
    pub fn need_transcoding(&self, at: &At<'_>, field: &str, name: &str, report: &mut Report) -> bool {
        need(&self.transcodings, "DubboTranscoding", at, field, name, report)
    }

    /// Reports an HTTPTranscoding that does not exist.
    pub fn need_http_transcoding(&self, at: &At<'_>, field: &str, name: &str, report: &mut Report) -> bool {
        need(&self.http_transcodings, "HTTPTranscoding", at, field, name, report)
    }

    /// The labels of a namespace; every namespace has its name as one.
    pub fn labels_of(&self, namespace: &str) -> BTreeMap<String, String> {
        let mut labels = self.labels.get(namespace).cloned().unwrap_or_default();
        labels.insert("kubernetes.io/metadata.name".to_owned(), namespace.to_owned());
        labels
    }
}

fn need(known: &BTreeSet<&str>, kind: &str, at: &At<'_>, field: &str, name: &str, report: &mut Report) -> bool {
    if known.contains(name) {
        return true;
    }
    let mend = match closest(name, known.iter().copied()) {
        Some(one) => format!("did you mean `{one}`?"),
        None if known.is_empty() => format!("add a document `kind: {kind}` with that name"),
        None => format!(
            "add a document `kind: {kind}` with that name, or {}",
            one_of(known.iter().copied())
        ),
    };
    report
        .problems
        .push(at.problem(field, format!("no {kind} is called `{}`", name.escape_debug()), mend));
    false
}
