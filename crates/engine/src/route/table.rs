//! The routes of one listener, compiled for lookup.
//!
//! ```text
//! host ─▶ [HostMap] ─▶ per host, most specific first:
//!                        exact paths    hash map
//!                        regexes        longest pattern first, one after the other
//!                        prefixes       lengths that exist, longest first; each one look into a hash map
//!                      ─▶ entries of that path, sorted by what is left of the precedence
//! ```
//!
//! Precedence is one total order of (rule, match) pairs: the route's own host name, exact path, regular expression
//! (longer pattern first), longer prefix, has a method, more headers, more query parameters, older route,
//! `namespace/name`, earlier rule, earlier match. The first that the call satisfies wins; a route with a better host
//! name but no satisfied match does not hide the others.

use std::{cmp::Reverse, sync::Arc, time::SystemTime};

use landfall_model::rules::{HostPattern, HttpMatch, HttpRoute, PathMatch};
use regex::bytes::Regex;

use super::{
    condition::{Broken, Conditions},
    hosts::{HostMap, TextMap},
    regexes::Regexes,
    rule::Rule,
};
use crate::call::Call;

/// The routes of one listener.
#[derive(Debug, Default)]
pub struct RouteTable {
    hosts: HostMap<PathTable>,
}

/// What a lookup finds.
#[derive(Clone, Copy, Debug)]
pub struct Found<'t> {
    /// The rule.
    pub rule: &'t Arc<Rule>,
    /// Which of its matches, from 0.
    pub match_index: usize,
}

#[derive(Debug, Default)]
struct PathTable {
    exact: TextMap<Vec<Entry>>,
    regexes: Vec<(Regex, Entry)>,
    /// Lengths of `prefixes`, longest first, each once.
    prefix_lengths: Vec<usize>,
    prefixes: TextMap<Vec<Entry>>,
}

#[derive(Clone, Debug)]
struct Entry {
    conditions: Conditions,
    rule: Arc<Rule>,
    match_index: usize,
    rank: Rank,
}

/// What is left of the precedence once the host is settled; less goes first.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rank {
    kind: u8,
    length: Reverse<usize>,
    without_method: bool,
    headers: Reverse<usize>,
    query: Reverse<usize>,
    /// No time stamp is the newest.
    created: (bool, Option<SystemTime>),
    route: Arc<str>,
    rule: usize,
    match_index: usize,
}

impl Rank {
    /// The rank of one match of one rule.
    pub fn new(route: &HttpRoute, rule: usize, match_index: usize, source: &HttpMatch) -> Self {
        let (kind, length) = match &source.path {
            PathMatch::Exact(path) => (0, path.len()),
            PathMatch::Regex(pattern) => (1, pattern.len()),
            PathMatch::Prefix(prefix) => (2, prefix.len()),
        };
        Self {
            kind,
            length: Reverse(length),
            without_method: source.method.is_none(),
            headers: Reverse(source.headers.len()),
            query: Reverse(source.query.len()),
            created: (route.created.is_none(), route.created),
            route: route.id.clone(),
            rule,
            match_index,
        }
    }
}

impl RouteTable {
    /// Adds one match of one rule. Call [`RouteTable::finish`] when all are in.
    ///
    /// `listener` is the host name of the listener: of the route's own names only those that it takes are kept.
    ///
    /// # Errors
    /// A match that cannot be compiled; it takes no call.
    pub fn add(
        &mut self,
        route: &HttpRoute,
        rule: &Arc<Rule>,
        (match_index, source): (usize, &HttpMatch),
        listener: &HostPattern,
        (regexes, previous): (&mut Regexes, Option<&Regexes>),
    ) -> Result<(), String> {
        let entry = Entry {
            conditions: Conditions::compile(source, regexes, previous)?,
            rule: rule.clone(),
            match_index,
            rank: Rank::new(route, rule.index, match_index, source),
        };
        let regex = match &source.path {
            PathMatch::Regex(pattern) => Some(
                regexes
                    .get(pattern, previous)
                    .map_err(|error| format!("`{pattern}` is no regular expression: {error}"))?,
            ),
            _ => None,
        };
        const ANY: &[HostPattern] = &[HostPattern::Any];
        let own = if route.hostnames.is_empty() {
            ANY
        } else {
            &route.hostnames
        };
        for hostname in own.iter().filter(|own| own.intersect(listener).is_some()) {
            let paths = self.hosts.entry(hostname, PathTable::default);
            match (&source.path, &regex) {
                (PathMatch::Exact(path), _) => paths
                    .exact
                    .entry(path.as_bytes().into())
                    .or_default()
                    .push(entry.clone()),
                (PathMatch::Prefix(path), _) => {
                    paths
                        .prefixes
                        .entry(path.as_bytes().into())
                        .or_default()
                        .push(entry.clone());
                }
                (PathMatch::Regex(_), Some(regex)) => paths.regexes.push((regex.clone(), entry.clone())),
                (PathMatch::Regex(_), None) => {}
            }
        }
        Ok(())
    }

    /// Sorts what was added.
    pub fn finish(&mut self) {
        for paths in self.hosts.values_mut() {
            for entries in paths.exact.values_mut().chain(paths.prefixes.values_mut()) {
                entries.sort_by(|a, b| a.rank.cmp(&b.rank));
                // One route may name a host twice.
                entries.dedup_by(|a, b| a.rank == b.rank);
                entries.shrink_to_fit();
            }
            paths.regexes.sort_by(|(_, a), (_, b)| a.rank.cmp(&b.rank));
            paths.prefix_lengths = paths.prefixes.keys().map(|prefix| prefix.len()).collect();
            paths.prefix_lengths.sort_unstable_by_key(|length| Reverse(*length));
            paths.prefix_lengths.dedup();
        }
    }

    /// The rule that takes the call, if any. The listener's host name is taken to match already.
    pub fn find(&self, call: &Call<'_>) -> Option<Found<'_>> {
        self.hosts.matching(call.host).find_map(|paths| paths.find(call))
    }
}

/// How one match fared for a call, told by [`RouteTable::trace`].
#[derive(Clone, Copy, Debug)]
pub struct Traced<'t> {
    /// The rule.
    pub rule: &'t Arc<Rule>,
    /// Which of its matches, from 0.
    pub match_index: usize,
    /// Why it does not take the call; `None` if it could.
    pub lost: Option<Lost<'t>>,
}

/// Why a match does not take a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lost<'t> {
    /// The path.
    Path,
    /// Another condition.
    Condition(Broken<'t>),
}

impl RouteTable {
    /// Every match whose host name takes the call, in the order of precedence: the first that did not lose is the one
    /// that [`RouteTable::find`] returns. For people; it looks at everything.
    pub fn trace<'t>(&'t self, call: &Call<'_>) -> Vec<Traced<'t>> {
        let path = call.path.as_bytes();
        let mut traced = Vec::new();
        for paths in self.hosts.matching(call.host) {
            let exact = paths.exact.iter().map(|(text, entries)| (**text == *path, entries));
            let prefixes = paths
                .prefixes
                .iter()
                .map(|(text, entries)| (is_prefix(text, path), entries));
            let mut all: Vec<(bool, &Entry)> = exact
                .chain(prefixes)
                .flat_map(|(fits, entries)| entries.iter().map(move |entry| (fits, entry)))
                .chain(paths.regexes.iter().map(|(regex, entry)| (regex.is_match(path), entry)))
                .collect();
            all.sort_by(|(_, a), (_, b)| a.rank.cmp(&b.rank));
            traced.extend(all.into_iter().map(|(fits, entry)| Traced {
                rule: &entry.rule,
                match_index: entry.match_index,
                lost: if fits {
                    entry.conditions.first_broken(call).map(Lost::Condition)
                } else {
                    Some(Lost::Path)
                },
            }));
        }
        traced
    }
}

/// Whether the path starts with the prefix and an element ends there.
fn is_prefix(prefix: &[u8], path: &[u8]) -> bool {
    ends_element(path, prefix.len()) && path.starts_with(prefix)
}

/// Whether a prefix of that length would end where an element of the path ends. The empty one, `/`, takes everything,
/// `*` of OPTIONS too.
fn ends_element(path: &[u8], length: usize) -> bool {
    length == 0 || length <= path.len() && path.get(length).is_none_or(|byte| *byte == b'/')
}

impl PathTable {
    fn find(&self, call: &Call<'_>) -> Option<Found<'_>> {
        let path = call.path.as_bytes();
        let first = |entries: &'_ Vec<Entry>| entries.iter().position(|entry| entry.conditions.hold(call));
        if let Some(entries) = self.exact.get(path)
            && let Some(at) = first(entries)
        {
            return Some(entries[at].found());
        }
        let regex = self
            .regexes
            .iter()
            .find(|(regex, entry)| regex.is_match(path) && entry.conditions.hold(call));
        if let Some((_, entry)) = regex {
            return Some(entry.found());
        }
        for length in &self.prefix_lengths {
            if ends_element(path, *length)
                && let Some(entries) = self.prefixes.get(&path[..*length])
                && let Some(at) = first(entries)
            {
                return Some(entries[at].found());
            }
        }
        None
    }
}

impl Entry {
    fn found(&self) -> Found<'_> {
        Found {
            rule: &self.rule,
            match_index: self.match_index,
        }
    }
}
