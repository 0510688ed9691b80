//! Nacos' names and ours.
//!
//! | group | service | here |
//! |---|---|---|
//! | `DEFAULT_GROUP` | `orders` | `orders` |
//! | `blue` | `orders` | `blue@@orders` |
//! | `DEFAULT_GROUP` | `providers:org.acme.Stock:1.0:g` | `g/org.acme.Stock:1.0` |
//! | `DEFAULT_GROUP` | `providers:org.acme.Stock::` | `org.acme.Stock` |
//! | any | `consumers:…`, `routers:…`, `configurators:…` | no service |
//!
//! `@@` is Nacos' own joint and stands in neither part. Dubbo's form is that of `NacosServiceName.java`: category, interface,
//! version, group; empty parts leave their colons, older versions leave out what is empty at the end.
//!
//! The other way round, for what is written: a name that Nacos, or its own naming, does not allow is escaped
//! (`publish/escape.rs`), so that each name of ours has one name there.

use std::sync::Arc;

use crate::{publish::escape::escape, zookeeper::interface::service_key};

/// The group of whoever names none.
pub(crate) const DEFAULT_GROUP: &str = "DEFAULT_GROUP";
/// Between group and service.
pub(crate) const JOINT: &str = "@@";
/// Bytes of a service's name (ParamCheckRule.java of 2.3 and later).
const LONGEST: usize = 512;

/// A service as Nacos knows it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Source {
    /// The group.
    pub(crate) group: Arc<str>,
    /// The name inside the group.
    pub(crate) service: Arc<str>,
}

/// What a service of Nacos is to us.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Meaning {
    /// A service, called so here.
    Service {
        /// Our name.
        name: Arc<str>,
        /// It is Dubbo's, so its metadata are parameters of a Dubbo URL.
        dubbo: bool,
    },
    /// Nobody's provider.
    None,
    /// No name at all, with the reason.
    Bad(String),
}

impl Source {
    /// A listed name of a group: with or without `group@@`, as versions differ.
    pub(super) fn listed(group: &Arc<str>, name: &str) -> Self {
        let bare = name.strip_prefix(&**group).and_then(|rest| rest.strip_prefix(JOINT));
        Self {
            group: group.clone(),
            service: bare.unwrap_or(name).into(),
        }
    }

    /// Where a service that is none of Dubbo's interfaces stands, in one of these groups: in that which it names, else in
    /// Nacos' default, else in the first.
    pub(crate) fn plain(name: &str, groups: &[Arc<str>]) -> Result<Self, String> {
        let (group, name) = split(name, groups)?;
        let service = escape(name, |at, c| is_allowed(name, at, c));
        let mut source = Self {
            group,
            service: service.into(),
        };
        // What Dubbo's own words mean there is something else.
        if !matches!(source.meaning(), Meaning::Service { dubbo: false, .. }) {
            source.service = escape(name, |at, c| c != ':' && is_allowed(name, at, c)).into();
        }
        source.fitting()
    }

    /// Where a provider of Dubbo's stands. The name has no group of Nacos.
    pub(crate) fn provider(
        group: Arc<str>,
        interface: &str,
        version: Option<&str>,
        dubbo_group: Option<&str>,
    ) -> Result<Self, String> {
        let parts = [interface, version.unwrap_or_default(), dubbo_group.unwrap_or_default()];
        let odd = |part: &&str| part.char_indices().any(|(at, c)| c == ':' || !is_allowed(part, at, c));
        if let Some(part) = parts.iter().find(|part| odd(part)) {
            return Err(format!(
                "`{}` cannot stand in Nacos' name of a provider: leave blanks, `:` and Chinese characters out of group and version",
                part.escape_debug()
            ));
        }
        let source = Self {
            group,
            service: format!("providers:{}", parts.join(":")).into(),
        };
        source.fitting()
    }

    /// Where a record of ours may stand that is called so by a follower, the likeliest first.
    pub(crate) fn candidates(name: &str, groups: &[Arc<str>]) -> Vec<Self> {
        let Ok((group, key)) = split(name, groups) else {
            return Vec::new();
        };
        let mut all = vec![Self {
            group: group.clone(),
            service: key.into(),
        }];
        let (dubbo_group, rest) = match key.rsplit_once('/') {
            Some((dubbo_group, rest)) => (Some(dubbo_group), rest),
            None => (None, key),
        };
        let (interface, versions) = match rest.split_once(':') {
            Some((interface, version)) => (interface, vec![Some(version)]),
            // `0.0.0` is none to whoever reads it.
            None => (rest, vec![None, Some("0.0.0")]),
        };
        for version in versions {
            all.extend(Self::provider(group.clone(), interface, version, dubbo_group));
        }
        all
    }

    fn fitting(self) -> Result<Self, String> {
        match self.service.len() {
            0 => Err("it has no name".to_owned()),
            length if length > LONGEST => Err(format!(
                "its name has {length} bytes in Nacos, which takes {LONGEST}; rename it"
            )),
            _ => Ok(self),
        }
    }

    /// `group@@service`, as API v1 wants it.
    pub(crate) fn grouped(&self) -> String {
        format!("{}{JOINT}{}", self.group, self.service)
    }

    /// What it is to us.
    pub(crate) fn meaning(&self) -> Meaning {
        if self.service.is_empty() || self.service.contains(JOINT) {
            return Meaning::Bad(format!("`{}` is no name of a service", self.service));
        }
        let (name, dubbo) = match self.service.split_once(':') {
            Some(("consumers" | "routers" | "configurators", _)) => return Meaning::None,
            Some(("providers", rest)) => {
                let mut parts = rest.split(':');
                let (interface, version, group) = (parts.next(), parts.next(), parts.next());
                match interface.filter(|interface| !interface.is_empty()) {
                    Some(interface) if parts.next().is_none() => (service_key(interface, group, version), true),
                    _ => return Meaning::Bad("it is not Dubbo's `providers:interface:version:group`".to_owned()),
                }
            }
            _ => (self.service.clone(), false),
        };
        let name = match &*self.group {
            DEFAULT_GROUP => name,
            group => format!("{group}{JOINT}{name}").into(),
        };
        Meaning::Service { name, dubbo }
    }
}

/// The group a name of ours stands in, and what it is called there.
pub(crate) fn split<'a>(name: &'a str, groups: &[Arc<str>]) -> Result<(Arc<str>, &'a str), String> {
    let find = |wanted: &str| groups.iter().find(|group| ***group == *wanted).cloned();
    if let Some((group, rest)) = name.split_once(JOINT)
        && !group.is_empty()
        && !rest.is_empty()
    {
        return match find(group) {
            // It would be read back without the group.
            Some(_) if group == DEFAULT_GROUP => Err(format!("`{name}` names the default group: leave it out")),
            Some(group) => Ok((group, rest)),
            None => Err(format!(
                "the group `{}` is not followed, so what is written there would not be seen: add it to `nacos.groups`, or rename the service",
                group.escape_debug()
            )),
        };
    }
    let group = find(DEFAULT_GROUP).or_else(|| groups.first().cloned());
    Ok((group.unwrap_or_else(|| DEFAULT_GROUP.into()), name))
}

/// The rule of 2.3 and later, `^(?!@).((?!@@)[^\u4E00-\u9FA5\s])*$`, and no control characters.
fn is_allowed(name: &str, at: usize, c: char) -> bool {
    match c {
        '@' => at > 0 && !name[at..].starts_with(JOINT) && !name[..at].ends_with('@'),
        '\u{4e00}'..='\u{9fa5}' => false,
        c => !c.is_whitespace() && !c.is_control(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(group: &str, service: &str) -> Source {
        Source {
            group: group.into(),
            service: service.into(),
        }
    }

    fn meaning(group: &str, service: &str) -> Option<(String, bool)> {
        match source(group, service).meaning() {
            Meaning::Service { name, dubbo } => Some((name.to_string(), dubbo)),
            _ => None,
        }
    }

    #[test]
    fn names_are_unambiguous_over_groups() {
        let called = |group, service| meaning(group, service).map(|(name, _)| name);
        assert_eq!(called("DEFAULT_GROUP", "orders").as_deref(), Some("orders"));
        assert_eq!(called("blue", "orders").as_deref(), Some("blue@@orders"));
        assert_eq!(called("DEFAULT_GROUP", "blue@@orders"), None);
        assert_eq!(called("DEFAULT_GROUP", ""), None);
    }

    #[test]
    fn a_listed_name_may_carry_its_group() {
        let group: Arc<str> = "g".into();
        assert_eq!(Source::listed(&group, "g@@s"), source("g", "s"));
        assert_eq!(Source::listed(&group, "s"), source("g", "s"));
    }

    #[test]
    fn dubbo_providers_are_called_by_their_service_key() {
        for (nacos, key) in [
            ("providers:a.B:1.0:g", "g/a.B:1.0"),
            ("providers:a.B::", "a.B"),
            ("providers:a.B:0.0.0:", "a.B"),
            ("providers:a.B:1.0", "a.B:1.0"),
            ("providers:a.B", "a.B"),
        ] {
            assert_eq!(meaning("DEFAULT_GROUP", nacos), Some((key.to_owned(), true)), "{nacos}");
        }
        assert_eq!(
            meaning("dubbo", "providers:a.B::"),
            Some(("dubbo@@a.B".to_owned(), true))
        );
        for other in ["consumers:a.B::", "routers:a.B::", "providers:", "providers:a:b:c:d"] {
            assert_eq!(meaning("DEFAULT_GROUP", other), None, "{other}");
        }
    }

    fn groups() -> Vec<Arc<str>> {
        vec!["DEFAULT_GROUP".into(), "blue".into()]
    }

    #[test]
    fn what_is_written_is_read_back_under_the_name_it_had_or_its_escaped_form() {
        for (name, group, service) in [
            ("orders", "DEFAULT_GROUP", "orders"),
            ("blue@@orders", "blue", "orders"),
            ("a/b:c.d", "DEFAULT_GROUP", "a/b:c.d"),
            ("two words", "DEFAULT_GROUP", "two_x20_words"),
            ("providers:a.B::", "DEFAULT_GROUP", "providers_x3a_a.B_x3a3a_"),
            ("consumers:x", "DEFAULT_GROUP", "consumers_x3a_x"),
            ("@orders", "DEFAULT_GROUP", "_x40_orders"),
            ("a@b", "DEFAULT_GROUP", "a@b"),
            ("blue@@a@@b", "blue", "a_x4040_b"),
            ("订单", "DEFAULT_GROUP", "_xe8aea2e58d95_"),
            ("🦀", "DEFAULT_GROUP", "🦀"),
        ] {
            let written = Source::plain(name, &groups()).unwrap();
            assert_eq!(written, source(group, service), "{name}");
            let (read, dubbo) = meaning(group, service).unwrap();
            assert!(!dubbo);
            assert_eq!(crate::publish::escape::undo(&read), name);
            assert_eq!(Source::candidates(&read, &groups())[0], written);
        }
        for (bad, why) in [
            ("", "no name"),
            ("red@@orders", "nacos.groups"),
            (&*"x".repeat(600), "bytes"),
        ] {
            let error = Source::plain(bad, &groups()).unwrap_err();
            assert!(error.contains(why), "{error}");
        }
        let elsewhere = Source::plain("orders", &["blue".into()]).unwrap();
        assert_eq!(elsewhere, source("blue", "orders"), "where it is followed");
    }

    #[test]
    fn providers_get_dubbos_names_and_are_found_by_their_service_key() {
        let named = |group: &str, interface, version, dubbo_group| {
            Source::provider(group.into(), interface, version, dubbo_group).unwrap()
        };
        for (written, service, key) in [
            (
                named("DEFAULT_GROUP", "a.B", Some("1.0"), Some("g")),
                "providers:a.B:1.0:g",
                "g/a.B:1.0",
            ),
            (named("DEFAULT_GROUP", "a.B", None, None), "providers:a.B::", "a.B"),
            (
                named("DEFAULT_GROUP", "a.B", Some("0.0.0"), None),
                "providers:a.B:0.0.0:",
                "a.B",
            ),
            (named("blue", "a.B", None, Some("g")), "providers:a.B::g", "blue@@g/a.B"),
        ] {
            assert_eq!(&*written.service, service);
            assert_eq!(meaning(&written.group, service), Some((key.to_owned(), true)));
            assert!(Source::candidates(key, &groups()).contains(&written), "{key}");
        }
        assert!(Source::provider("DEFAULT_GROUP".into(), "a.B", Some("1:2"), None).is_err());
    }

    proptest::proptest! {
        #[test]
        fn any_name_is_refused_or_found_again(name in "([a-z]|@|:|/| |_x|providers:|blue|[\u{4e00}-\u{4e10}]|.){0,12}") {
            if let Ok(written) = Source::plain(&name, &groups()) {
                let Meaning::Service { name: read, dubbo: false } = written.meaning() else {
                    panic!("{written:?} is read as another");
                };
                proptest::prop_assert_eq!(&Source::candidates(&read, &groups())[0], &written);
                proptest::prop_assert_eq!(crate::publish::escape::undo(&read), name);
            }
        }
    }
}
