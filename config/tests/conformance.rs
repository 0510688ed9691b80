//! The Gateway API's conformance cases that a configuration alone decides, under their own names.
//!
//! Where the suite wants a condition with a reason, a configuration of files is refused as a whole and the
//! problem carries the reason's word: nobody would look at the condition.

use std::path::Path;

use landfall_config::{Config, LoadError, Problem, load::load_text};

const REGISTRY: &str = "
apiVersion: landfall.dev/v1
kind: Registry
metadata: { name: test }
spec: { static: { services: [{ name: infra-backend-v1, instances: ['127.0.0.1:3000'] }] } }
---
";

fn load(yaml: &str) -> Result<Config, LoadError> {
    load_text("test.yaml", Path::new(""), format!("{REGISTRY}{yaml}"))
}

fn good(yaml: &str) -> Config {
    load(yaml).unwrap_or_else(|error| panic!("{error}"))
}

fn only_problem(yaml: &str) -> Problem {
    match load(yaml) {
        Err(LoadError::Refused(problems)) if problems.0.len() == 1 => problems.0[0].clone(),
        Err(error) => panic!("more than one problem:\n{error}"),
        Ok(_) => panic!("not refused"),
    }
}

fn gateway(name: &str, listeners: &str) -> String {
    format!(
        "apiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: {{ name: {name} }}\nspec:\n  gatewayClassName: landfall\n  listeners:\n{listeners}\n---\n"
    )
}

fn route(name: &str, spec: &str) -> String {
    format!(
        "apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {{ name: {name} }}\nspec:\n{spec}\n  rules: [{{ backendRefs: [{{ name: infra-backend-v1, port: 8080 }}] }}]\n---\n"
    )
}

/// `listener: host,host` of every attachment of a route.
fn attached(config: &Config, name: &str) -> Vec<String> {
    let route = config
        .rules
        .routes
        .iter()
        .find(|r| *r.id == format!("default/{name}"))
        .unwrap();
    let shown = route.attachments.iter().map(|attachment| {
        let hosts: Vec<_> = attachment.hostnames.iter().map(ToString::to_string).collect();
        format!("{}: {}", attachment.listener.listener, hosts.join(","))
    });
    shown.collect()
}

const SAME: &str = "  - { name: http, port: 80, protocol: HTTP }";
const HOSTS: &str = "
  - { name: l1, port: 80, protocol: HTTP, hostname: very.specific.com }
  - { name: l2, port: 80, protocol: HTTP, hostname: '*.wildcard.io' }
  - { name: l3, port: 80, protocol: HTTP, hostname: '*.anotherwildcard.io' }";

#[test]
fn http_route_simple_same_namespace() {
    let config = good(&(gateway("g", SAME) + &route("r", "  parentRefs: [{ name: g }]")));
    assert_eq!(attached(&config, "r"), ["http: *"]);
}

#[test]
fn http_route_invalid_parent_ref_not_matching_section_name() {
    let problem = only_problem(&(gateway("g", SAME) + &route("r", "  parentRefs: [{ name: g, sectionName: https }]")));
    assert!(problem.what.contains("NoMatchingParent"), "{problem}");
    assert_eq!(problem.path, "spec.parentRefs[0].sectionName");
    assert_eq!(problem.mend, "did you mean `http`?");
}

#[test]
fn http_route_invalid_parent_ref_not_matching_listener_port() {
    let problem = only_problem(&(gateway("g", SAME) + &route("r", "  parentRefs: [{ name: g, port: 81 }]")));
    assert!(problem.what.contains("NoMatchingParent"), "{problem}");
    assert_eq!(problem.path, "spec.parentRefs[0].port");
}

#[test]
fn http_route_invalid_parent_ref_section_name_not_matching_port() {
    let listeners = format!("{SAME}\n  - {{ name: other, port: 8080, protocol: HTTP }}");
    let parents = "  parentRefs: [{ name: g, sectionName: http, port: 8080 }]";
    let problem = only_problem(&(gateway("g", &listeners) + &route("r", parents)));
    assert!(problem.what.contains("NoMatchingParent"), "{problem}");
}

#[test]
fn http_route_listener_port_matching() {
    let listeners = "
  - { name: l80, port: 80, protocol: HTTP }
  - { name: l8080a, port: 8080, protocol: HTTP, hostname: foo.com }
  - { name: l8080b, port: 8080, protocol: HTTP, hostname: bar.com }";
    let config = good(&(gateway("g", listeners) + &route("r", "  parentRefs: [{ name: g, port: 8080 }]")));
    assert_eq!(attached(&config, "r"), ["l8080a: foo.com", "l8080b: bar.com"]);
}

#[test]
fn http_route_invalid_cross_namespace_parent_ref() {
    let yaml = gateway("g", SAME)
        + &route("r", "  parentRefs: [{ name: g, namespace: default }]")
            .replace("name: r }", "name: r, namespace: web }");
    let problem = only_problem(&yaml);
    assert!(problem.what.contains("NotAllowedByListeners"), "{problem}");
}

#[test]
fn http_route_cross_namespace() {
    let selector = "allowedRoutes: { namespaces: { from: Selector, selector: { matchLabels: { team: web } } } }";
    let listeners = format!("  - {{ name: http, port: 80, protocol: HTTP, {selector} }}");
    let route =
        route("r", "  parentRefs: [{ name: g, namespace: default }]").replace("name: r }", "name: r, namespace: web }");
    let namespace = "apiVersion: v1\nkind: Namespace\nmetadata: { name: web, labels: { team: web } }\n";
    let config = good(&(gateway("g", &listeners) + &route + namespace));
    assert_eq!(&*config.rules.routes[0].id, "web/r");
    assert_eq!(config.rules.routes[0].attachments.len(), 1);
    let problem = only_problem(&(gateway("g", &listeners) + &route));
    assert!(problem.what.contains("NotAllowedByListeners"), "{problem}");
}

#[test]
fn http_route_hostname_intersection() {
    let routes = [
        (
            "s1",
            "[non.matching.com, '*.nonmatchingwildcard.io', very.specific.com]",
        ),
        (
            "s2",
            "[wildcard.io, foo.wildcard.io, bar.wildcard.io, foo.bar.wildcard.io]",
        ),
        ("s3", "['*.specific.com']"),
        ("s4", "['*.anotherwildcard.io']"),
    ];
    let yaml: String = routes
        .iter()
        .map(|(name, hosts)| route(name, &format!("  parentRefs: [{{ name: g }}]\n  hostnames: {hosts}")))
        .collect();
    let config = good(&(gateway("g", HOSTS) + &yaml));
    assert_eq!(attached(&config, "s1"), ["l1: very.specific.com"]);
    assert_eq!(
        attached(&config, "s2"),
        ["l2: foo.wildcard.io,bar.wildcard.io,foo.bar.wildcard.io"]
    );
    assert_eq!(attached(&config, "s3"), ["l1: very.specific.com"]);
    assert_eq!(attached(&config, "s4"), ["l3: *.anotherwildcard.io"]);
    let on = |listener: &str| {
        let routes = config.rules.routes.iter();
        routes
            .filter(|r| r.attachments.iter().any(|a| *a.listener.listener == *listener))
            .count()
    };
    assert_eq!((on("l1"), on("l2"), on("l3")), (2, 1, 1), "attachedRoutes");

    let fifth = route(
        "s5",
        "  parentRefs: [{ name: g }]\n  hostnames: [specific.but.wrong.com, wildcard.io]",
    );
    let problem = only_problem(&(gateway("g", HOSTS) + &fifth));
    assert!(problem.what.contains("NoMatchingListenerHostname"), "{problem}");
}

#[test]
fn http_route_listener_hostname_matching() {
    let listeners = "
  - { name: a, port: 80, protocol: HTTP, hostname: bar.com }
  - { name: b, port: 80, protocol: HTTP, hostname: foo.bar.com }
  - { name: c, port: 80, protocol: HTTP, hostname: '*.bar.com' }
  - { name: d, port: 80, protocol: HTTP, hostname: '*.foo.com' }";
    let spec = "  parentRefs: [{ name: g, sectionName: c }, { name: g, sectionName: d }]";
    let config = good(&(gateway("g", listeners) + &route("r", spec)));
    assert_eq!(attached(&config, "r"), ["c: *.bar.com", "d: *.foo.com"]);
}

#[test]
fn http_route_invalid_backend_ref_unknown_kind() {
    let yaml = gateway("g", SAME)
        + &route("r", "  parentRefs: [{ name: g }]").replace("name: infra", "kind: NonExistent, name: infra");
    let problem = only_problem(&yaml);
    assert!(problem.what.contains("InvalidKind"), "{problem}");
}

#[test]
fn gateway_invalid_route_kind() {
    let listeners = "  - { name: http, port: 80, protocol: HTTP, allowedRoutes: { kinds: [{ kind: InvalidRoute }] } }";
    let problem = only_problem(&gateway("g", listeners));
    assert!(problem.what.contains("InvalidRouteKinds"), "{problem}");
}

#[test]
fn gateway_invalid_tls_configuration() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("bad.pem"), "not PEM").unwrap();
    for (reference, what) in [
        ("{ name: secret }", "InvalidCertificateRef"),
        ("{ group: wrong.group, kind: Secret, name: a }", "InvalidCertificateRef"),
        ("{ kind: WrongKind, name: a }", "InvalidCertificateRef"),
        (
            "{ group: landfall.dev, kind: Certificate, name: missing }",
            "no Certificate is called `missing`",
        ),
        (
            "{ group: landfall.dev, kind: Certificate, name: malformed }",
            "holds no `-----BEGIN … CERTIFICATE-----`",
        ),
    ] {
        let listeners =
            format!("  - {{ name: https, port: 443, protocol: HTTPS, tls: {{ certificateRefs: [{reference}] }} }}");
        let path = dir.path().join("bad.pem");
        let certificate = format!(
            "apiVersion: landfall.dev/v1\nkind: Certificate\nmetadata: {{ name: malformed }}\nspec: {{ certificate: 'file:{0}', key: 'file:{0}' }}\n",
            path.display()
        );
        let certificate = if reference.contains("malformed") {
            &*certificate
        } else {
            ""
        };
        let Err(LoadError::Refused(problems)) = load(&(gateway("g", &listeners) + certificate)) else {
            panic!("{reference} is not refused")
        };
        assert!(
            problems.0.iter().any(|p| p.what.contains(what)),
            "{reference}: {problems}"
        );
    }
}

#[test]
fn gateway_with_attached_routes() {
    let allowed = "allowedRoutes: { namespaces: { from: All } }";
    let listeners = format!("  - {{ name: http, port: 80, protocol: HTTP, hostname: a.com, {allowed} }}");
    let one =
        route("r1", "  parentRefs: [{ name: g }]") + &route("r2", "  parentRefs: [{ name: g }]\n  hostnames: [a.com]");
    let config = good(&(gateway("g", &listeners) + &one));
    assert_eq!(
        config.rules.routes.iter().filter(|r| !r.attachments.is_empty()).count(),
        2
    );
}

#[test]
fn gateway_with_attached_routes_with_port_8080() {
    let listeners = format!("{SAME}\n  - {{ name: alt, port: 8080, protocol: HTTP }}");
    let config = good(&(gateway("g", &listeners) + &route("r", "  parentRefs: [{ name: g, sectionName: alt }]")));
    assert_eq!(attached(&config, "r"), ["alt: *"]);
}

#[test]
fn gateway_static_addresses() {
    let with =
        |address: &str| gateway("g", SAME).replace("  listeners:", &format!("  addresses: [{address}]\n  listeners:"));
    let config = good(&with("{ value: 127.0.0.1 }"));
    assert_eq!(
        config.rules.listeners[0].addresses,
        ["127.0.0.1".parse::<std::net::IpAddr>().unwrap()]
    );
    let problem = only_problem(&with("{ type: test/fake-invalid-type, value: a }"));
    assert_eq!(problem.path, "spec.addresses[0].type");
}

#[test]
fn gateway_optional_address_value() {
    let yaml = gateway("g", SAME).replace("  listeners:", "  addresses: [{ type: IPAddress }]\n  listeners:");
    assert!(good(&yaml).rules.listeners[0].addresses.is_empty());
}

#[test]
fn gateway_listener_unsupported_protocol() {
    let problem = only_problem(&gateway("g", "  - { name: x, port: 80, protocol: example.com/Custom }"));
    assert_eq!(problem.path, "spec.listeners[0].protocol");
}

#[test]
fn listeners_that_conflict_have_no_winner() {
    let conflict = |listeners: &str| only_problem(&gateway("g", listeners)).what;
    let same = format!("{SAME}\n  - {{ name: again, port: 80, protocol: HTTP }}");
    assert!(conflict(&same).contains("HostnameConflict"));
    let two = gateway("g1", SAME) + &gateway("g2", SAME);
    assert!(
        only_problem(&two).what.contains("HostnameConflict"),
        "also between Gateways"
    );
    let apart = |name: &str, ip: &str| {
        gateway(name, SAME).replace(
            "  listeners:",
            &format!("  addresses: [{{ value: {ip} }}]\n  listeners:"),
        )
    };
    assert_eq!(
        good(&(apart("g1", "127.0.0.1") + &apart("g2", "127.0.0.2")))
            .rules
            .listeners
            .len(),
        2
    );
}

#[test]
fn http_route_multiple_gateways() {
    let yaml = gateway("g1", SAME) + &gateway("g2", "  - { name: http, port: 81, protocol: HTTP }");
    let config = good(&(yaml + &route("r", "  parentRefs: [{ name: g1 }, { name: g2 }]")));
    let ids: Vec<_> = config.rules.routes[0]
        .attachments
        .iter()
        .map(|a| a.listener.to_string())
        .collect();
    assert_eq!(ids, ["g1/http", "g2/http"]);
}

#[test]
fn http_route_no_backend_refs() {
    let yaml = gateway("g", SAME)
        + &route("r", "  parentRefs: [{ name: g }]").replace("{ name: infra-backend-v1, port: 8080 }", "");
    let config = good(&yaml);
    assert!(config.rules.routes[0].rules[0].backends.is_empty());
    assert!(config.warnings[0].what.contains("500"));
}
