//! Dubbo's own rules: which there are, and what configurators say of providers. Pure.
//!
//! ```text
//! /dubbo/config/dubbo/<key>.configurators       YAML ─┐              ┌ configurators ─▶ merge: weight, disabled
//!                     <key>.condition-router …  YAML ─┼▶ Governance ─┤
//! /dubbo/<interface>/{configurators,routers}/<URL> ───┘              └ a list of all, each with what is honoured
//! ```
//!
//! Of a configurator `weight` and `disabled` are honoured where it names providers: [`reading`] understands what is
//! written, [`configurator`] says who is meant and who wins. A copy that Landfall wrote stays as it was written.
//!
//! Next on the path: [`merge`](super::merge) applies them.

mod configurator;
mod reading;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use landfall_model::{
    Instance,
    world::{GovernanceRule, Honoured, Quarantined},
};
use serde::Deserialize;
use serde_json::Value;

use self::{configurator::Configurator, reading::Read};
use super::{
    interface::{brief, shortened},
    url::DubboUrl,
};

/// Ends of the names of nodes that are rules, and what each is.
const KINDS: [(&str, &str); 6] = [
    (".configurators", CONFIGURATOR),
    (".condition-router", "condition"),
    (".tag-router", "tag"),
    (".script-router", "script"),
    (".affinity-router", "affinity"),
    (".mesh-app-rule", "mesh"),
];
const CONFIGURATOR: &str = "configurator";

/// Whether a child of `config/dubbo` is a rule that is read.
pub(super) fn is_rule(name: &str) -> bool {
    kind_of(name).is_some()
}

fn kind_of(name: &str) -> Option<(&str, &'static str)> {
    KINDS
        .iter()
        .find_map(|(end, kind)| Some((name.strip_suffix(end).filter(|key| !key.is_empty())?, *kind)))
}

/// Rules as they were read.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// Name and data of the nodes in `config/dubbo`.
    pub(super) nodes: BTreeMap<Arc<str>, Vec<u8>>,
    /// Interface to the names in its `configurators` and `routers`.
    pub(super) folders: BTreeMap<String, BTreeSet<Arc<str>>>,
    /// Places that may not be read, and why.
    pub(super) denied: BTreeMap<String, String>,
}

/// All rules, understood as far as they are.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Governance {
    configurators: Vec<Configurator>,
    /// For people.
    pub(super) rules: Vec<GovernanceRule>,
    /// Those that cannot be read.
    pub(super) unreadable: Vec<Quarantined>,
}

#[derive(Deserialize)]
struct Router {
    #[serde(default)]
    enabled: Option<Value>,
}

impl Governance {
    /// Understands what was read.
    pub(super) fn new(found: &Found) -> Self {
        let mut all = Self::default();
        for (name, data) in &found.nodes {
            // Dubbo Admin leaves a node without data behind: no rule.
            if data.iter().all(u8::is_ascii_whitespace) {
                continue;
            }
            let Some((key, kind)) = kind_of(name) else { continue };
            let place: Arc<str> = format!("config/dubbo/{name}").into();
            let read = match std::str::from_utf8(data) {
                Err(_) => Err("it is no UTF-8".to_owned()),
                Ok(text) if kind == CONFIGURATOR => {
                    reading::node(&place, key, text).map(|read| all.configured(&place, read))
                }
                Ok(text) => router(&place, kind, text),
            };
            all.note(place, read);
        }
        for (interface, names) in &found.folders {
            for name in names {
                let place: Arc<str> = format!("{interface}/{}", shortened(name)).into();
                let read = all.url(&place, interface, name);
                all.note(place, read);
            }
        }
        for (place, reason) in &found.denied {
            all.note(place.as_str().into(), Err(reason.clone()));
        }
        // Stable: equals stay in the order of their places.
        all.configurators.sort_by(|one, other| one.rank.cmp(&other.rank));
        all
    }

    fn note(&mut self, place: Arc<str>, read: Result<GovernanceRule, String>) {
        match read {
            Ok(rule) => self.rules.push(rule),
            Err(reason) => self.unreadable.push(Quarantined {
                service: None,
                record: place.to_string(),
                reason: brief(&reason),
            }),
        }
    }

    /// Takes a place's configurators.
    fn configured(&mut self, place: &Arc<str>, read: Read) -> GovernanceRule {
        if read.off {
            return off(place, CONFIGURATOR);
        }
        let taken = read.configurators.len();
        self.configurators.extend(read.configurators);
        judged(place, CONFIGURATOR, taken, read.notes)
    }

    /// A child of `/dubbo/<interface>/configurators` or `routers`.
    fn url(&mut self, place: &Arc<str>, interface: &str, name: &str) -> Result<GovernanceRule, String> {
        let url = DubboUrl::from_node_name(name).map_err(|error| error.to_string())?;
        let kind = match url.protocol.as_str() {
            "override" | "absent" => CONFIGURATOR,
            "condition" | "route" => "condition",
            "script" => "script",
            "tag" => "tag",
            other => return Err(format!("`{other}://` is no rule")),
        };
        if url
            .get("enabled")
            .is_some_and(|text| !text.eq_ignore_ascii_case("true"))
        {
            return Ok(off(place, kind));
        }
        // `isNotCompatibleFor26x` of RegistryDirectory.java: Dubbo Admin writes it beside a node, for old consumers.
        if url.get("compatible_config").is_some() {
            let note = "it is for Dubbo before 2.7, which does not read config/dubbo".to_owned();
            return Ok(GovernanceRule {
                notes: vec![note],
                ..judged(place, kind, 0, Vec::new())
            });
        }
        if kind != CONFIGURATOR {
            return Ok(judged(place, kind, 0, vec![not_yet(kind)]));
        }
        let read = reading::url(place, interface, &url);
        Ok(self.configured(place, read))
    }

    /// Whether both change instances alike.
    pub(super) fn changes_as(&self, other: &Self) -> bool {
        self.configurators == other.configurators
    }

    /// Changes an instance of a service as the configurators want it, and notes in it which did.
    pub(super) fn apply(&self, service: &str, application: Option<&str>, instance: &mut Instance) {
        configurator::apply(&self.configurators, service, application, instance);
    }
}

/// Any other kind of rule, which only has to be readable.
fn router(place: &Arc<str>, kind: &'static str, text: &str) -> Result<GovernanceRule, String> {
    let router: Router = serde_saphyr::from_str(text).map_err(|error| error.to_string())?;
    // AbstractRouterRule.java: on unless it says otherwise.
    Ok(match router.enabled.as_ref().is_none_or(reading::truth) {
        true => judged(place, kind, 0, vec![not_yet(kind)]),
        false => off(place, kind),
    })
}

fn not_yet(kind: &str) -> String {
    format!("{kind} rules are not honoured: say it in a DubboRoute")
}

fn off(place: &Arc<str>, kind: &'static str) -> GovernanceRule {
    GovernanceRule {
        place: place.clone(),
        kind,
        honoured: Honoured::Yes,
        notes: vec!["it is switched off".to_owned()],
    }
}

fn judged(place: &Arc<str>, kind: &'static str, taken: usize, notes: Vec<String>) -> GovernanceRule {
    let honoured = match (taken, notes.is_empty()) {
        (_, true) => Honoured::Yes,
        (0, false) => Honoured::No,
        (_, false) => Honoured::Partly,
    };
    GovernanceRule {
        place: place.clone(),
        kind,
        honoured,
        notes,
    }
}

#[cfg(test)]
#[path = "governance_tests.rs"]
mod tests;
