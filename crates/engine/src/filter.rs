//! Filters: what a rule, and then the chosen backend, does to a call and its answer.
//!
//! ```text
//! request ─▶ redirect? answers ┐
//!         └▶ mirrors? copies   ├─▶ on_request (header edits and rewrites in list order) ─▶ endpoint
//!                              └─▶ on_response (header edits) ─▶ client
//! ```
//!
//! Compiled when a snapshot arrives: names and values are parsed by then, so a call only applies them.
//! One filter, one file: [`headers`], [`rewrite`], [`redirect`], [`mirror`].

use std::sync::Arc;

use http::HeaderValue;
use landfall_model::rules::Filter;

pub mod headers;
pub mod mirror;
pub mod redirect;
pub mod rewrite;

use self::{headers::HeaderEditor, rewrite::Rewriter};
pub use self::{
    mirror::MirrorSlot,
    redirect::{Redirection, Redirector},
};
use crate::{
    call::{Call, HeaderBlock},
    transcode::Transcoder,
};

/// The filters of a rule or of one of its backends.
#[derive(Debug, Default)]
pub struct Filters {
    request: Box<[Step]>,
    response: Box<[HeaderEditor]>,
    redirect: Option<Redirector>,
    mirrors: Box<[MirrorSlot]>,
    transcoder: Option<Arc<Transcoder>>,
}

/// One filter that changes the request.
#[derive(Debug)]
enum Step {
    Headers(HeaderEditor),
    Rewrite(Rewriter),
}

/// What the request asks for towards the backend, where filters have changed it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Target {
    /// Replaces host or authority. `None`: the client's, unmodified.
    pub host: Option<HeaderValue>,
    /// Replaces the path; the query stays as it is. `None`: the client's, the same bytes.
    pub path: Option<String>,
}

impl Target {
    /// Path and query to ask the backend for, if a filter has changed the path.
    pub fn path_and_query(&self, query: Option<&str>) -> Option<String> {
        let path = self.path.as_deref()?;
        let mut text = String::with_capacity(path.len() + query.map_or(0, |query| query.len() + 1));
        text.push_str(path);
        if let Some(query) = query {
            text.push('?');
            text.push_str(query);
        }
        Some(text)
    }
}

/// Looks up where a mirror's backend leads; the runtime knows its clusters.
pub type ResolveBackend<'r> = dyn FnMut(&landfall_model::rules::BackendRef) -> crate::route::Where + 'r;

impl Filters {
    /// Compiles a list of filters.
    ///
    /// # Errors
    /// What cannot be compiled, in words. The configuration has checked this before. A rule whose filters do not
    /// compile must not be served without them: a dropped filter widens access.
    pub fn compile(filters: &[Filter], resolve: &mut ResolveBackend<'_>) -> Result<Self, String> {
        let mut request = Vec::new();
        let mut response = Vec::new();
        let mut redirect = None;
        let mut mirrors = Vec::new();
        let mut transcoder = None;
        for filter in filters {
            match filter {
                Filter::RequestHeaders(edits) => request.push(Step::Headers(HeaderEditor::compile(edits)?)),
                Filter::ResponseHeaders(edits) => response.push(HeaderEditor::compile(edits)?),
                Filter::Rewrite(source) => request.push(Step::Rewrite(Rewriter::compile(source)?)),
                Filter::Redirect(source) => redirect = Some(Redirector::compile(source)?),
                Filter::Transcode(source) => transcoder = Some(Arc::new(Transcoder::compile(source)?)),
                Filter::Mirror(source) => {
                    mirrors.push(MirrorSlot::new(source, resolve(&source.backend), request.len()));
                }
            }
        }
        Ok(Self {
            request: request.into(),
            response: response.into(),
            redirect,
            mirrors: mirrors.into(),
            transcoder,
        })
    }

    /// Applies everything that changes the request. `path` is the client's, not that of an earlier filter.
    pub fn on_request(&self, path: &str, headers: &mut dyn HeaderBlock, target: &mut Target) {
        apply(&self.request, path, headers, target);
    }

    /// Applies everything that changes the answer; also to an answer of our own, such as a redirect.
    pub fn on_response(&self, headers: &mut dyn HeaderBlock) {
        for editor in &self.response {
            editor.apply(headers);
        }
    }

    /// Whether `on_response` does anything.
    pub fn changes_response(&self) -> bool {
        !self.response.is_empty()
    }

    /// The answer that sends the client elsewhere, if that is what the rule does.
    /// `port` is the listener's, as configured.
    pub fn redirect(&self, call: &Call<'_>, port: u16) -> Option<Redirection> {
        self.redirect.as_ref().map(|redirect| redirect.answer(call, port))
    }

    /// What makes a call of Dubbo of the request, if that is what the rule does.
    pub(crate) fn transcoder(&self) -> Option<&Arc<Transcoder>> {
        self.transcoder.as_ref()
    }

    /// The mirrors, in list order. Ask each [`MirrorSlot::wants`] with its own random number.
    pub fn mirrors(&self) -> &[MirrorSlot] {
        &self.mirrors
    }

    /// What [`Filters::on_request`] is for the copy that goes to `mirror`: only the filters listed before it.
    pub fn on_mirrored(&self, mirror: &MirrorSlot, path: &str, headers: &mut dyn HeaderBlock, target: &mut Target) {
        apply(&self.request[..mirror.steps_before()], path, headers, target);
    }
}

fn apply(steps: &[Step], path: &str, headers: &mut dyn HeaderBlock, target: &mut Target) {
    for step in steps {
        match step {
            Step::Headers(editor) => {
                editor.apply(headers);
                if let Some(host) = editor.host() {
                    target.host = Some(host.clone());
                }
            }
            Step::Rewrite(rewriter) => rewriter.apply(path, target),
        }
    }
}

#[cfg(test)]
mod tests;
