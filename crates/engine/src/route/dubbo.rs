//! The rules of Dubbo's calls, by interface.
//!
//! ```text
//!  Facts{ interface, group, version, method, attachments } ─▶ rules of that very interface, then all others
//!  nothing (a body that is not opened) ─────────────────────▶ rules that ask nothing
//! ```
//!
//! Of several matches the most specific wins: interface, version, group and method, in this order, each exact before
//! pattern before anything; then more attachments; then the older route, its name, and its order in the document.

use std::{cmp::Reverse, collections::HashMap, sync::Arc, time::SystemTime};

use landfall_codec::dubbo2::{Attachments, Identity};
use landfall_model::rules::{DubboMatch, DubboRoute, RouteRule, TextMatch};

use super::{Rule, condition::Test, regexes::Regexes};
use crate::{filter::ResolveBackend, metrics::Metrics};

/// What rules look at.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// Who is called.
    pub identity: Identity<'a>,
    /// The method that will run.
    pub method: &'a str,
    /// What came with the call.
    pub attachments: &'a Attachments,
}

/// A rule of a DubboRoute, compiled.
#[derive(Debug)]
pub struct DubboRule {
    /// Backends, limits and figures, as of any rule.
    pub rule: Rule,
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
            filters: Vec::new(),
            backends: source.backends.clone(),
            timeouts: source.timeouts,
        };
        // An HTTPRoute may have the same name; its figures are others.
        let label = format!("dubbo:{}", route.id).into();
        let tests = source.idempotent.iter();
        Ok(Self {
            rule: Rule::compile(&label, index, &plain, resolve, metrics)?,
            idempotent: tests
                .map(|text| Test::compile(text, regexes, previous))
                .collect::<Result<_, _>>()?,
        })
    }

    /// Whether the method may be called again although a provider may have run it.
    pub fn is_idempotent(&self, method: &str) -> bool {
        self.idempotent.iter().any(|test| test.text(method.as_bytes()))
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
    Reverse<([u8; 4], usize)>,
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
        })
    }

    fn are_none(&self) -> bool {
        let Self {
            interface,
            group,
            version,
            method,
            attachments,
        } = self;
        [interface, group, version, method].iter().all(|test| test.is_none()) && attachments.is_empty()
    }

    fn hold(&self, facts: &Facts<'_>) -> bool {
        let holds = |test: &Option<Test>, text: &str| test.as_ref().is_none_or(|test| test.text(text.as_bytes()));
        holds(&self.interface, facts.identity.interface)
            && holds(&self.group, facts.identity.group)
            && holds(&self.version, facts.identity.version)
            && holds(&self.method, facts.method)
            && self.attachments.iter().all(|(name, test)| {
                let value = facts.attachments.get(name).and_then(|value| value.to_text());
                value.is_some_and(|value| test.text(value.as_bytes()))
            })
    }
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
                Reverse((parts, source.attachments.len())),
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
        let all = exact.into_iter().flatten().chain(&self.others);
        all.into_iter()
            .find(|entry| entry.conditions.hold(facts))
            .map(|entry| &entry.rule)
    }
}

#[cfg(test)]
mod tests;
