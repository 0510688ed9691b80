//! The rules of Dubbo's calls, by interface.
//!
//! ```text
//!  Facts{ interface, group, version, method, attachments, arguments } ─▶ rules of that very interface, then all others
//!  nothing (a body that is not opened) ────────────────────────────────▶ rules that ask nothing
//! ```
//!
//! Of several matches the most specific wins: interface, version, group and method, in this order, each exact before
//! pattern before anything; then more attachments; then more conditions on arguments; then the older route, its name, and
//! its order in the document. Arguments are read (`arguments`) when all other conditions of a match hold.

mod arguments;
mod fault;
mod framework;

use std::{cmp::Reverse, collections::HashMap, sync::Arc, time::SystemTime};

use landfall_codec::dubbo2::{Identity, Request};
use landfall_model::rules::{DubboFilter, DubboMatch, DubboRoute, Filter, FrameworkCalls, RouteRule, TextMatch};

use self::arguments::Arguments;
pub use self::{fault::Faults, framework::Refused};
use super::{Rule, condition::Test, regexes::Regexes};
use crate::{filter::ResolveBackend, metrics::Metrics, transcode::HttpMapping};

/// What rules look at.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// Who is called.
    pub identity: Identity<'a>,
    /// The method that will run.
    pub method: &'a str,
    /// All of it.
    pub request: &'a Request,
}

/// A rule of a DubboRoute, compiled.
#[derive(Debug)]
pub struct DubboRule {
    /// Backends, mirrors, limits and figures, as of any rule.
    pub rule: Rule,
    /// What is done to calls on purpose.
    pub faults: Faults,
    /// Set if its calls become requests of HTTP.
    pub(crate) mapping: Option<Arc<HttpMapping>>,
    refuse: Box<[FrameworkCalls]>,
    idempotent: Box<[Test]>,
}

impl DubboRule {
    /// Compiles one rule.
    ///
    /// # Errors
    /// What cannot be compiled, in words.
    pub(crate) fn compile(
        route: &DubboRoute,
        index: usize,
        resolve: &mut ResolveBackend<'_>,
        (regexes, previous): (&mut Regexes, Option<&Regexes>),
        metrics: &Metrics,
    ) -> Result<Self, String> {
        let source = route.rules.get(index).ok_or("there is no such rule")?;
        let plain = RouteRule {
            name: source.name.clone(),
            matches: Vec::new(),
            filters: source.filters.iter().filter_map(mirror).collect(),
            backends: source.backends.clone(),
            timeouts: source.timeouts,
        };
        let faults = source.filters.iter().find_map(|filter| match filter {
            DubboFilter::Fault(fault) => Some(Faults::new(fault.clone())),
            DubboFilter::Mirror(_) | DubboFilter::Transcode(_) => None,
        });
        let mapping = source.filters.iter().find_map(|filter| match filter {
            DubboFilter::Transcode(source) => Some(HttpMapping::compile(source).map(Arc::new)),
            DubboFilter::Mirror(_) | DubboFilter::Fault(_) => None,
        });
        // An HTTPRoute may have the same name; its figures are others.
        let label = format!("dubbo:{}", route.id).into();
        let tests = source.idempotent.iter();
        Ok(Self {
            rule: Rule::compile(&label, index, &plain, resolve, metrics)?,
            faults: faults.unwrap_or_default(),
            mapping: mapping.transpose()?,
            refuse: source.refuse.as_slice().into(),
            idempotent: tests
                .map(|text| Test::compile(text, regexes, previous))
                .collect::<Result<_, _>>()?,
        })
    }

    /// Why a call that the rule takes is not let through, if it is not; without facts, one whose body is not opened.
    pub fn refuses(&self, facts: Option<&Facts<'_>>) -> Option<Refused> {
        framework::refused(&self.refuse, facts)
    }

    /// Whether the method may be called again although a provider may have run it.
    pub fn is_idempotent(&self, method: &str) -> bool {
        self.idempotent.iter().any(|test| test.text(method.as_bytes()))
    }
}

/// Mirrors are those of HTTP.
fn mirror(filter: &DubboFilter) -> Option<Filter> {
    match filter {
        DubboFilter::Mirror(mirror) => Some(Filter::Mirror(mirror.clone())),
        DubboFilter::Fault(_) | DubboFilter::Transcode(_) => None,
    }
}

/// The rules of one listener.
#[derive(Debug, Default)]
pub struct DubboTable {
    exact: HashMap<Arc<str>, Vec<Entry>>,
    /// Those with a pattern for the interface, or none.
    others: Vec<Entry>,
}

#[derive(Debug)]
struct Entry {
    rank: Rank,
    conditions: Conditions,
    rule: Arc<DubboRule>,
}

/// The smaller comes first.
type Rank = (
    Reverse<([u8; 4], usize, usize)>,
    (bool, Option<SystemTime>),
    Arc<str>,
    (usize, usize),
);

#[derive(Debug, Default)]
struct Conditions {
    interface: Option<Test>,
    group: Option<Test>,
    version: Option<Test>,
    method: Option<Test>,
    attachments: Box<[(Arc<str>, Test)]>,
    argument_count: Option<usize>,
    arguments: Box<[(usize, Test)]>,
}

impl Conditions {
    fn compile(source: &DubboMatch, regexes: &mut Regexes, previous: Option<&Regexes>) -> Result<Self, String> {
        let mut test = |text: &TextMatch| Test::compile(text, regexes, previous);
        let mut one = |text: &Option<TextMatch>| text.as_ref().map(&mut test).transpose();
        Ok(Self {
            interface: one(&source.interface)?,
            group: one(&source.group)?,
            version: one(&source.version)?,
            method: one(&source.method)?,
            attachments: source
                .attachments
                .iter()
                .map(|wanted| Ok((wanted.name.clone(), test(&wanted.value)?)))
                .collect::<Result<_, String>>()?,
            argument_count: source.arguments.count.map(usize::from),
            arguments: source
                .arguments
                .values
                .iter()
                .map(|wanted| Ok((usize::from(wanted.index), test(&wanted.value)?)))
                .collect::<Result<_, String>>()?,
        })
    }

    fn are_none(&self) -> bool {
        let Self {
            interface,
            group,
            version,
            method,
            attachments,
            argument_count,
            arguments,
        } = self;
        [interface, group, version, method].iter().all(|test| test.is_none())
            && attachments.is_empty()
            && argument_count.is_none()
            && arguments.is_empty()
    }

    /// The first condition that a call does not meet.
    fn first_broken(&self, facts: &Facts<'_>, arguments: &Arguments<'_>) -> Option<Broken<'_>> {
        let holds = |test: &Option<Test>, text: &str| test.as_ref().is_none_or(|test| test.text(text.as_bytes()));
        if !holds(&self.interface, facts.identity.interface) {
            return Some(Broken::Interface);
        }
        if !holds(&self.group, facts.identity.group) {
            return Some(Broken::Group);
        }
        if !holds(&self.version, facts.identity.version) {
            return Some(Broken::Version);
        }
        if !holds(&self.method, facts.method) {
            return Some(Broken::Method);
        }
        let broken = self.attachments.iter().find(|(name, test)| {
            let value = facts.request.attachments.get(name).and_then(|value| value.to_text());
            !value.is_some_and(|value| test.text(value.as_bytes()))
        });
        if let Some((name, _)) = broken {
            return Some(Broken::Attachment(name));
        }
        if self.argument_count.is_some() && self.argument_count != arguments.count() {
            return Some(Broken::ArgumentCount);
        }
        let broken = self.arguments.iter().find(|(index, test)| {
            let value = arguments.text(*index);
            !value.is_some_and(|value| test.text(value.as_bytes()))
        });
        broken.map(|(index, _)| Broken::Argument(*index))
    }
}

/// Why a match does not take a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Broken<'t> {
    /// Its interface.
    #[error("its interface does not match")]
    Interface,
    /// Its group.
    #[error("its group does not match")]
    Group,
    /// Its version.
    #[error("its version does not match")]
    Version,
    /// Its method.
    #[error("its method does not match")]
    Method,
    /// The attachment of that name.
    #[error("its attachment `{0}` does not match")]
    Attachment(&'t str),
    /// How many arguments there are.
    #[error("its number of arguments does not match")]
    ArgumentCount,
    /// The argument at that place, from 0.
    #[error("its argument {0} does not match")]
    Argument(usize),
}

/// A match, and why it does not take a call.
#[derive(Clone, Copy, Debug)]
pub struct Traced<'t> {
    /// The rule.
    pub rule: &'t Arc<DubboRule>,
    /// Which of its matches, from 0.
    pub match_index: usize,
    /// `None` if it could take the call: the first such one does.
    pub broken: Option<Broken<'t>>,
}

impl DubboTable {
    /// Adds one match of a rule. [`finish`](Self::finish) must follow the last one.
    ///
    /// # Errors
    /// What cannot be compiled, in words.
    pub(crate) fn add(
        &mut self,
        route: &DubboRoute,
        rule: &Arc<DubboRule>,
        (index, source): (usize, &DubboMatch),
        (regexes, previous): (&mut Regexes, Option<&Regexes>),
    ) -> Result<(), String> {
        let weight = |text: &Option<TextMatch>| match text {
            Some(TextMatch::Exact(_)) => 2,
            Some(TextMatch::Regex(_)) => 1,
            None => 0,
        };
        let parts = [&source.interface, &source.version, &source.group, &source.method].map(weight);
        let entry = Entry {
            rank: (
                Reverse((parts, source.attachments.len(), source.arguments.conditions())),
                (route.created.is_none(), route.created),
                route.id.clone(),
                (rule.rule.index, index),
            ),
            conditions: Conditions::compile(source, regexes, previous)?,
            rule: rule.clone(),
        };
        match &source.interface {
            Some(TextMatch::Exact(name)) => self.exact.entry(name.clone()).or_default().push(entry),
            _ => self.others.push(entry),
        }
        Ok(())
    }

    /// Puts everything in order.
    pub(crate) fn finish(&mut self) {
        for entries in self.exact.values_mut().chain([&mut self.others]) {
            entries.sort_by(|one, other| one.rank.cmp(&other.rank));
        }
    }

    /// The rule that takes a call; without facts, one that asks nothing.
    pub fn find(&self, facts: Option<&Facts<'_>>) -> Option<&Arc<DubboRule>> {
        let Some(facts) = facts else {
            let open = self.others.iter().find(|entry| entry.conditions.are_none());
            return open.map(|entry| &entry.rule);
        };
        let exact = self.exact.get(facts.identity.interface);
        let mut all = exact.into_iter().flatten().chain(&self.others);
        let arguments = Arguments::of(facts.request);
        all.find(|entry| entry.conditions.first_broken(facts, &arguments).is_none())
            .map(|entry| &entry.rule)
    }

    /// All matches in their order, each with why it does not take the call.
    pub fn trace(&self, facts: &Facts<'_>) -> Vec<Traced<'_>> {
        let mut all: Vec<_> = self.exact.values().flatten().chain(&self.others).collect();
        all.sort_by(|one, other| one.rank.cmp(&other.rank));
        let arguments = Arguments::of(facts.request);
        let traced = all.into_iter().map(|entry| Traced {
            rule: &entry.rule,
            match_index: entry.rank.3.1,
            broken: entry.conditions.first_broken(facts, &arguments),
        });
        traced.collect()
    }
}

#[cfg(test)]
mod tests;
