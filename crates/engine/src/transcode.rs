//! JSON to Dubbo and back: the filter that makes a call of a request, and an answer of its result.
//!
//! ```text
//!  verb, path, query, headers ─[choose]─▶ method, texts ─┐
//!  body ─▶ Json ─────────────────────────────────────────┴─[known]─▶ Call ─▶ Request ─▶ dubbo::Trial ─▶ provider
//!                                                                                            │
//!  status, JSON ◀──────────────────────────────────────────────────[answer]◀─────── frame ◀──┘
//! ```
//!
//! What is known of a service's types is worked out when a snapshot arrives ([`Transcoder::learn`]), so a call only looks it
//! up. How values are mapped is told in docs/dubbo-json.md and done by `landfall_codec::mapping`. Nothing here does input or
//! output: that is `http::transcode`, which is next on the path.

mod answer;
mod choose;
mod describe;
mod known;
mod mapping;
mod request;
#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, sync::Arc};

use arc_swap::ArcSwap;
use landfall_codec::mapping::ExceptionStatuses;
use landfall_model::{ClusterId, rules::Transcoding, snapshot::ClusterTarget};

pub(crate) use self::{
    answer::{Answered, answer},
    choose::{Ask, Refusal},
    describe::{Told, describe},
    mapping::{HttpMapping, HttpRequest, Unmapped},
};
use self::{choose::Chooser, known::Known};

/// A DubboTranscoding, compiled.
#[derive(Debug)]
pub(crate) struct Transcoder {
    source: Arc<Transcoding>,
    chooser: Chooser,
    statuses: ExceptionStatuses,
    /// What is known of the service behind each cluster. Written when a snapshot is compiled.
    learnt: ArcSwap<BTreeMap<ClusterId, Arc<Learnt>>>,
}

/// What is known of the service behind a cluster.
#[derive(Debug)]
struct Learnt {
    /// The registry's definition that it was learnt from.
    from: Option<Arc<str>>,
    /// Nothing, if there are no types; or why there are none.
    known: Result<Option<Known>, String>,
}

impl Transcoder {
    /// Compiles one.
    ///
    /// # Errors
    /// Declared types that cannot be read, in words.
    pub(crate) fn compile(source: &Arc<Transcoding>) -> Result<Self, String> {
        Known::of(source, "", None)?;
        let statuses = source
            .exceptions
            .iter()
            .map(|(class, status)| (class.to_string(), *status));
        Ok(Self {
            chooser: Chooser::compile(source),
            statuses: ExceptionStatuses::new(statuses),
            learnt: ArcSwap::default(),
            source: source.clone(),
        })
    }

    /// Takes in what the registry says of the types of a cluster's service.
    pub(crate) fn learn(&self, cluster: &ClusterId, definition: Option<&Arc<str>>) {
        let before = self.learnt.load();
        let same = |learnt: &Arc<Learnt>| match (&learnt.from, definition) {
            (Some(known), Some(new)) => Arc::ptr_eq(known, new) || known == new,
            (None, None) => true,
            _ => false,
        };
        if before.get(cluster).is_some_and(same) {
            return;
        }
        // The members of a MeshService have names of their own, which count when one of them is called.
        let name = match &cluster.target {
            ClusterTarget::Service(id) => &id.name,
            ClusterTarget::Mesh(name) => name,
        };
        let interface = self.source.service(name).interface;
        let known = Known::of(&self.source, &interface, definition.map(|text| &**text));
        if let Err(why) = &known {
            tracing::warn!(%cluster, "JSON cannot be made into calls: {why}");
        }
        let mut learnt = BTreeMap::clone(&before);
        let from = definition.cloned();
        learnt.insert(cluster.clone(), Arc::new(Learnt { from, known }));
        self.learnt.store(Arc::new(learnt));
    }

    /// Its name.
    pub(crate) fn name(&self) -> &Arc<str> {
        &self.source.name
    }
}
