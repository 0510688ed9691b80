//! Where Dubbo keeps what, and which part of it a changed node concerns. Pure.
//!
//! Next on the path: [`reader`](super::reader) reads the folders named here.

use std::{collections::BTreeSet, sync::Arc};

use landfall_model::rules::DubboService;

use crate::registry::ConnectError;

/// Children of the interface root that are no interfaces (Dubbo 3 shares the root with them).
const RESERVED: [&str; 3] = ["config", "mapping", "metadata"];
/// Folders that only an interface has.
const CATEGORIES: [&str; 4] = ["providers", "consumers", "configurators", "routers"];

/// The two roots.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Layout {
    /// Of the interface level, such as `/dubbo`.
    pub(super) root: String,
    /// Of the application level, such as `/services`. May be the same (Dubbo 3.3 with a registry group).
    pub(super) services: String,
}

/// What a changed node concerns.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Part {
    /// Which names there are.
    Roots,
    /// The rules in `config/dubbo`.
    Rules,
    /// The rules in the folders of one interface.
    InterfaceRules(String),
    /// The providers of one interface.
    Interface(String),
    /// The instances of one application.
    Application(String),
    /// One metadata document: application and revision.
    Document(String, String),
    /// The applications of one interface.
    Mapping(String),
    /// The service definitions of one interface.
    Definition(String),
}

impl Layout {
    /// Roots as absolute paths without a trailing `/`.
    pub(super) fn new(root: &str, services: &str) -> Result<Self, ConnectError> {
        Ok(Self {
            root: absolute("zookeeper.root", root)?,
            services: absolute("zookeeper.servicesRoot", services)?,
        })
    }

    /// The paths to watch with everything below, none inside another.
    pub(super) fn watched(&self) -> Vec<&str> {
        let inside = |path: &str, root: &str| {
            path.strip_prefix(root)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        if inside(&self.services, &self.root) {
            vec![&self.root]
        } else if inside(&self.root, &self.services) {
            vec![&self.services]
        } else {
            vec![&self.root, &self.services]
        }
    }

    pub(super) fn providers(&self, interface: &str) -> String {
        format!("{}/{interface}/providers", self.root)
    }

    /// Where Dubbo 2.7 and later keep rules.
    pub(super) fn rules(&self) -> String {
        format!("{}/config/dubbo", self.root)
    }

    /// Where Dubbo before 2.7 keeps the rules of an interface.
    pub(super) fn interface_rules(&self, interface: &str) -> [String; 2] {
        ["configurators", "routers"].map(|category| format!("{}/{interface}/{category}", self.root))
    }

    pub(super) fn application(&self, application: &str) -> String {
        format!("{}/{application}", self.services)
    }

    pub(super) fn documents(&self, application: &str) -> String {
        format!("{}/metadata/{application}", self.root)
    }

    pub(super) fn document(&self, application: &str, revision: &str) -> String {
        format!("{}/{revision}", self.documents(application))
    }

    /// Where the applications that provide a service leave its definition.
    /// `None` if nobody can have written it: its parts are no names of nodes.
    pub(super) fn definitions(&self, service: &DubboService) -> Option<String> {
        let parts = [&service.interface, &service.version, &service.group];
        let odd = |part: &&String| part.contains('/') || matches!(part.as_str(), "." | "..");
        if service.interface.is_empty() || parts.iter().any(odd) {
            return None;
        }
        let mut path = format!("{}/metadata/{}", self.root, service.interface);
        for part in [&service.version, &service.group] {
            if !part.is_empty() {
                path = format!("{path}/{part}");
            }
        }
        Some(format!("{path}/provider"))
    }

    pub(super) fn mappings(&self) -> String {
        format!("{}/mapping", self.root)
    }

    /// Whether a child of the interface root can be an interface.
    pub(super) fn may_be_interface(&self, child: &str) -> bool {
        !RESERVED.contains(&child) && format!("{}/{child}", self.root) != self.services
    }

    /// Whether a child of the application root can be an application.
    pub(super) fn may_be_application(&self, child: &str) -> bool {
        let shared = self.services == self.root && RESERVED.contains(&child);
        !shared && format!("{}/{child}", self.services) != self.root
    }

    /// Whether the children of a folder are those of an interface, so that it is no application.
    pub(super) fn is_interface(children: &BTreeSet<Arc<str>>) -> bool {
        CATEGORIES.iter().any(|category| children.contains(*category))
    }

    /// What a change at this path concerns; often nothing.
    pub(super) fn concerns(&self, path: &str) -> Vec<Part> {
        let mut parts = Vec::new();
        // A root, or a node above it, has come or gone.
        if [&self.root, &self.services]
            .iter()
            .any(|root| path == *root || root.starts_with(&format!("{path}/")))
        {
            parts.push(Part::Roots);
        }
        let below = |root: &str| path.strip_prefix(root)?.strip_prefix('/');
        if let Some(rest) = below(&self.root) {
            let steps: Vec<&str> = rest.split('/').collect();
            match steps[..] {
                ["mapping", interface] => parts.push(Part::Mapping(interface.to_owned())),
                ["config"] | ["config", "dubbo"] | ["config", "dubbo", _] => parts.push(Part::Rules),
                [interface, "configurators" | "routers"] | [interface, "configurators" | "routers", _]
                    if self.may_be_interface(interface) =>
                {
                    parts.push(Part::InterfaceRules(interface.to_owned()));
                }
                ["mapping"] => parts.push(Part::Roots),
                ["metadata", application, revision] => {
                    parts.push(Part::Document(application.to_owned(), revision.to_owned()));
                }
                ["metadata", interface, .., "provider"] | ["metadata", interface, .., "provider", _] => {
                    parts.push(Part::Definition(interface.to_owned()));
                }
                [interface] | [interface, "providers"] | [interface, "providers", _]
                    if self.may_be_interface(interface) =>
                {
                    parts.push(Part::Interface(interface.to_owned()));
                }
                _ => {}
            }
        }
        if let Some(rest) = below(&self.services) {
            let steps: Vec<&str> = rest.split('/').collect();
            match steps[..] {
                [application] | [application, _] if self.may_be_application(application) => {
                    parts.push(Part::Application(application.to_owned()));
                }
                _ => {}
            }
        }
        parts
    }
}

fn absolute(field: &str, text: &str) -> Result<String, ConnectError> {
    let trimmed = text.trim_matches('/');
    let fits = !trimmed.is_empty()
        && trimmed
            .split('/')
            .all(|step| !matches!(step, "" | "." | "..") && !step.contains('\0'));
    if fits {
        Ok(format!("/{trimmed}"))
    } else {
        Err(ConnectError::BadUrl {
            field: field.to_owned(),
            value_without_credentials: text.to_owned(),
            why: "write a path such as `/dubbo`".to_owned(),
        })
    }
}

/// `host:port[,host:port…][/chroot]`, checked.
pub(super) fn ensemble(text: &str) -> Result<String, ConnectError> {
    let bad = |why: &str| ConnectError::BadUrl {
        field: "zookeeper.address".to_owned(),
        value_without_credentials: text
            .rsplit_once('@')
            .map_or(text.to_owned(), |(_, rest)| format!("…@{rest}")),
        why: why.to_owned(),
    };
    let text = text.trim();
    if text.contains('@') {
        return Err(bad(
            "name user and password in `zookeeper.username` and `zookeeper.password`",
        ));
    }
    if text.contains("://") {
        return Err(bad("write `host:port`, several separated by commas, without a scheme"));
    }
    let (hosts, chroot) = match text.find('/') {
        Some(at) => text.split_at(at),
        None => (text, ""),
    };
    let hosts: Vec<&str> = hosts.split(',').map(str::trim).collect();
    for host in &hosts {
        let (name, port) = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((name, rest)) => (name, rest.strip_prefix(':').unwrap_or(rest)),
            None => host.rsplit_once(':').unwrap_or((host, "2181")),
        };
        if name.is_empty() || name.contains(char::is_whitespace) || port.parse::<u16>().unwrap_or(0) == 0 {
            return Err(bad(
                "write `host:port`, several separated by commas, such as `10.0.0.1:2181,10.0.0.2:2181`",
            ));
        }
    }
    match chroot.trim_end_matches('/') {
        "" => Ok(hosts.join(",")),
        chroot if chroot.contains("//") => Err(bad("the path behind the hosts is no path")),
        chroot => Ok(format!("{}{chroot}", hosts.join(","))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_concerns_its_folder_and_nothing_else() {
        let layout = Layout::new("dubbo", "/services").unwrap();
        let interface = || vec![Part::Interface("org.x.Svc".into())];
        for (path, parts) in [
            ("/dubbo", vec![Part::Roots]),
            ("/dubbo/org.x.Svc", interface()),
            ("/dubbo/org.x.Svc/providers", interface()),
            ("/dubbo/org.x.Svc/providers/dubbo%3A%2F%2Fh", interface()),
            ("/dubbo/org.x.Svc/consumers/consumer%3A%2F%2Fh", vec![]),
            (
                "/dubbo/org.x.Svc/configurators",
                vec![Part::InterfaceRules("org.x.Svc".into())],
            ),
            ("/dubbo/config/dubbo/app.tag-router", vec![Part::Rules]),
            ("/dubbo/metadata", vec![]),
            (
                "/dubbo/metadata/app/abc",
                vec![Part::Document("app".into(), "abc".into())],
            ),
            (
                "/dubbo/metadata/org.x.Svc/1.0.0/g/provider/app",
                vec![Part::Definition("org.x.Svc".into())],
            ),
            ("/dubbo/metadata/org.x.Svc/1.0.0/g/consumer/app", vec![]),
            ("/dubbo/mapping/org.x.Svc", vec![Part::Mapping("org.x.Svc".into())]),
            ("/services", vec![Part::Roots]),
            ("/services/app", vec![Part::Application("app".into())]),
            ("/services/app/10.0.0.5:20880", vec![Part::Application("app".into())]),
            ("/dubbo2/org.x.Svc", vec![]),
        ] {
            assert_eq!(layout.concerns(path), parts, "{path}");
        }
        assert_eq!(layout.watched(), ["/dubbo", "/services"]);
    }

    #[test]
    fn with_one_root_for_both_levels_a_name_can_be_either() {
        let layout = Layout::new("/foo/", "foo").unwrap();
        assert_eq!(layout.watched(), ["/foo"]);
        let parts = layout.concerns("/foo/x");
        assert_eq!(parts, [Part::Interface("x".into()), Part::Application("x".into())]);
        assert_eq!(layout.concerns("/foo/metadata"), []);
        assert!(Layout::is_interface(&["consumers".into()].into()) && !Layout::is_interface(&["h:1".into()].into()));
    }

    #[test]
    fn the_application_root_below_the_interface_root_is_no_interface() {
        let layout = Layout::new("dubbo", "/dubbo/services").unwrap();
        assert_eq!(layout.watched(), ["/dubbo"]);
        assert_eq!(
            layout.concerns("/dubbo/services/app/h:1"),
            [Part::Application("app".into())]
        );
        assert!(!layout.may_be_interface("services"));
    }

    #[test]
    fn a_definition_lies_under_interface_version_and_group_without_those_that_are_none() {
        let layout = Layout::new("dubbo", "/services").unwrap();
        let at = |key: &str| layout.definitions(&DubboService::of_name(key));
        let path = |rest: &str| Some(format!("/dubbo/metadata/{rest}/provider"));
        assert_eq!(at("org.x.Svc"), path("org.x.Svc"));
        assert_eq!(at("g/org.x.Svc:1.0.0"), path("org.x.Svc/1.0.0/g"));
        assert_eq!(at("g/org.x.Svc"), path("org.x.Svc/g"));
        for odd in ["", "g/", "a/b/org.x.Svc", "org.x.Svc:.."] {
            assert_eq!(at(odd), None, "{odd}");
        }
    }

    #[test]
    fn an_address_is_hosts_with_ports_and_maybe_a_root() {
        for (text, read) in [
            ("127.0.0.1:2181", "127.0.0.1:2181"),
            (" a:1, b:2 ", "a:1,b:2"),
            ("a", "a"),
            ("[::1]:2181/x/y/", "[::1]:2181/x/y"),
        ] {
            assert_eq!(ensemble(text).unwrap(), read, "{text}");
        }
        for bad in [
            "",
            ":2181",
            "a:0",
            "a:x",
            "a:70000",
            "zookeeper://a:2181",
            "me:secret@a:2181",
            "a:1,,b:2",
            "a b:1",
        ] {
            let error = ensemble(bad).unwrap_err().to_string();
            assert!(
                error.contains("zookeeper.address") && !error.contains("secret"),
                "{error}"
            );
        }
        assert!(Layout::new("", "/services").is_err() && Layout::new("a/../b", "/services").is_err());
    }
}
