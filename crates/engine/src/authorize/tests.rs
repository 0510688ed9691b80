//! Decisions, one by one, and every known way around a policy on paths.

use std::{net::SocketAddr, sync::Arc};

use http::HeaderMap;
use landfall_model::rules::{
    AuthorizationAction::{self, Allow, Deny},
    AuthorizationPolicy, AuthorizationRule, IpBlock, OperationMatch, PolicyTarget, SourceMatch, TextLists, TextPattern,
};
use proptest::prelude::{any as arbitrary, prop, prop_assert_eq, proptest};

use super::{Asked, DubboAsked, Guard};
use crate::call::{Call, Scheme};

fn patterns(texts: &[&str]) -> Vec<TextPattern> {
    texts.iter().map(|text| TextPattern::parse(text).unwrap()).collect()
}

fn any(texts: &[&str]) -> TextLists {
    TextLists {
        any: patterns(texts),
        none: Vec::new(),
    }
}

fn none(texts: &[&str]) -> TextLists {
    TextLists {
        any: Vec::new(),
        none: patterns(texts),
    }
}

fn policy(name: &str, action: AuthorizationAction, rules: Vec<AuthorizationRule>) -> Arc<AuthorizationPolicy> {
    Arc::new(AuthorizationPolicy {
        name: name.into(),
        targets: vec![PolicyTarget::All],
        action,
        rules,
    })
}

fn to(operation: OperationMatch) -> Vec<AuthorizationRule> {
    vec![AuthorizationRule {
        from: Vec::new(),
        to: vec![operation],
    }]
}

fn on_paths(paths: TextLists) -> Vec<AuthorizationRule> {
    to(OperationMatch {
        paths,
        ..OperationMatch::default()
    })
}

fn http(guard: &Guard, client: &str, method: &str, host: &str, path: &str) -> bool {
    let headers = HeaderMap::new();
    let call = Call {
        method,
        scheme: Scheme::Http,
        host,
        path,
        query: None,
        headers: &headers,
        client: SocketAddr::new(client.parse().unwrap(), 1),
        peer: None,
    };
    guard.decide(&Asked::http(&call)).allowed
}

fn get(guard: &Guard, path: &str) -> bool {
    http(guard, "10.0.0.1", "GET", "shop.test", path)
}

#[test]
fn a_deny_goes_before_an_allow_and_an_allow_closes_what_it_does_not_name() {
    assert!(get(&Guard::compile(&[]), "/"), "no policy");
    let nothing = policy("nothing", Allow, Vec::new());
    assert!(!get(&Guard::compile(&[nothing]), "/"), "an ALLOW without rules");
    assert!(get(&Guard::compile(&[policy("none", Deny, Vec::new())]), "/"));
    let everything = policy("all", Allow, vec![AuthorizationRule::default()]);
    let guard = Guard::compile(&[everything, policy("admin", Deny, on_paths(any(&["/admin*"])))]);
    assert!(get(&guard, "/orders"));
    assert!(!get(&guard, "/admin/users"));
    let reads = OperationMatch {
        methods: any(&["GET", "HEAD"]),
        hosts: any(&["*.test"]),
        ..OperationMatch::default()
    };
    let guard = Guard::compile(&[policy("reads", Allow, to(reads))]);
    assert!(http(&guard, "10.0.0.1", "GET", "shop.test", "/"));
    assert!(!http(&guard, "10.0.0.1", "POST", "shop.test", "/"));
    assert!(!http(&guard, "10.0.0.1", "GET", "shop.example", "/"));
    assert!(!http(&guard, "10.0.0.1", "get", "shop.test", "/"));
}

#[test]
fn a_source_is_the_other_end_of_the_connection() {
    let block = |text: &str| vec![IpBlock::parse(text).unwrap()];
    let rule = AuthorizationRule {
        from: vec![SourceMatch {
            ip_blocks: block("10.0.0.0/8"),
            not_ip_blocks: block("10.9.0.0/16"),
            ..SourceMatch::default()
        }],
        to: Vec::new(),
    };
    let guard = Guard::compile(&[policy("office", Allow, vec![rule])]);
    for (client, allowed) in [
        ("10.1.2.3", true),
        ("::ffff:10.1.2.3", true),
        ("10.9.2.3", false),
        ("192.0.2.1", false),
    ] {
        assert_eq!(http(&guard, client, "GET", "shop.test", "/"), allowed, "{client}");
    }
}

#[test]
fn a_principal_is_who_the_peer_is_and_nobody_is_no_principal() {
    let texts = |texts: &[&str]| texts.iter().filter_map(|text| TextPattern::parse(text)).collect();
    let allow = |source| {
        Guard::compile(&[policy(
            "named",
            Allow,
            vec![AuthorizationRule {
                from: vec![source],
                to: Vec::new(),
            }],
        )])
    };
    let principals = |any: &[&str], none: &[&str]| {
        allow(SourceMatch {
            principals: TextLists {
                any: texts(any),
                none: texts(none),
            },
            ..SourceMatch::default()
        })
    };
    let namespaces = |any: &[&str]| {
        allow(SourceMatch {
            namespaces: TextLists {
                any: texts(any),
                none: Vec::new(),
            },
            ..SourceMatch::default()
        })
    };
    let admits = |guard: &Guard, peer| {
        let asked = Asked {
            client: "10.0.0.1".parse().unwrap(),
            peer,
            http: None,
            dubbo: None,
        };
        guard.decide(&asked).allowed
    };
    let shop = Some("spiffe://mesh.example/ns/eureka/sa/shop");
    for (guard, named, nameless) in [
        (principals(&["mesh.example/ns/eureka/sa/shop"], &[]), true, false),
        (principals(&["mesh.example/ns/eureka/*"], &[]), true, false),
        (principals(&["*"], &[]), true, false),
        (principals(&["mesh.example/ns/consul/sa/shop"], &[]), false, false),
        (principals(&[], &["*/sa/shop"]), false, true),
        (namespaces(&["eureka"]), true, false),
        (namespaces(&["consul"]), false, false),
    ] {
        assert_eq!(
            (admits(&guard, shop), admits(&guard, None)),
            (named, nameless),
            "{guard:?}"
        );
    }
}

#[test]
fn a_denied_path_is_denied_in_every_spelling() {
    let guard = Guard::compile(&[policy("admin", Deny, on_paths(any(&["/admin*"])))]);
    for path in [
        "/admin",
        "/admin/users",
        "//admin",
        "/./admin",
        "/x/../admin",
        "/x/%2e%2e/admin",
        "/x/%2E./admin",
        "/x%2f..%2fadmin",
        "/%61dmin",
        "/%2561dmin",
        "/%252561dmin",
        "/x/..%252fadmin",
        "/%2fadmin",
        "/\\admin",
        "/x\\..\\admin",
        "/x/..%5cadmin",
        "/;a=b/admin",
        "/x/..;/admin",
        "/x/..;a=b/admin",
        "/../../admin",
    ] {
        assert!(!get(&guard, path), "{path}");
    }
    for path in ["/", "/orders", "/ad", "/a%20b", "/x;a=b"] {
        assert!(get(&guard, path), "{path}");
    }
}

#[test]
fn an_allowed_path_is_allowed_only_if_every_reading_of_it_is() {
    let only_public = Guard::compile(&[policy("public", Allow, on_paths(any(&["/public*"])))]);
    let not_admin = Guard::compile(&[policy("rest", Allow, on_paths(none(&["/admin*"])))]);
    let all_but_public = Guard::compile(&[policy("rest", Deny, on_paths(none(&["/public*"])))]);
    for path in ["/public", "/public/a%20b", "/public//x", "/public;v=1/x"] {
        assert!(
            get(&only_public, path) && get(&not_admin, path) && get(&all_but_public, path),
            "{path}"
        );
    }
    for path in [
        "/public/../admin",
        "/public/%2e%2e/admin",
        "/public/..%2fadmin",
        "/public/..;/admin",
        "/public/%252e%252e/admin",
        "/public\\..\\admin",
    ] {
        assert!(
            !get(&only_public, path) && !get(&not_admin, path) && !get(&all_but_public, path),
            "{path}"
        );
    }
}

#[test]
fn calls_of_dubbo_are_judged_by_interface_and_method_and_unopened_ones_get_no_benefit_of_the_doubt() {
    let prices = OperationMatch {
        dubbo_interfaces: any(&["org.example.Prices"]),
        dubbo_methods: any(&["get*"]),
        ..OperationMatch::default()
    };
    let decide = |guard: &Guard, dubbo| guard.decide(&Asked::dubbo([10, 0, 0, 1].into(), dubbo)).allowed;
    let of = |interface, method| DubboAsked::Method { interface, method };
    let allow = Guard::compile(&[policy("prices", Allow, to(prices.clone()))]);
    let deny = Guard::compile(&[policy("prices", Deny, to(prices))]);
    for (dubbo, allowed, denied) in [
        (of("org.example.Prices", "getAll"), true, true),
        (of("org.example.Prices", "set"), false, false),
        (of("org.example.Orders", "getAll"), false, false),
        (DubboAsked::Opaque, false, true),
    ] {
        assert_eq!((decide(&allow, dubbo), !decide(&deny, dubbo)), (allowed, denied));
    }
    assert!(!get(&allow, "/"), "a rule on Dubbo allows no HTTP");
    assert!(get(&deny, "/"), "nor denies it");
    let paths = Guard::compile(&[policy("paths", Allow, on_paths(any(&["*"])))]);
    assert!(
        !decide(&paths, of("org.example.Prices", "getAll")),
        "a rule on paths allows no Dubbo"
    );
}

#[test]
fn the_decision_names_policy_and_rule() {
    let mut rules = on_paths(any(&["/a"]));
    rules.extend(on_paths(any(&["/b"])));
    let guard = Guard::compile(&[policy("ab", Deny, rules)]);
    let headers = HeaderMap::new();
    let call = Call {
        method: "GET",
        scheme: Scheme::Http,
        host: "",
        path: "/b",
        query: None,
        headers: &headers,
        client: SocketAddr::from(([10, 0, 0, 1], 1)),
        peer: None,
    };
    let decision = guard.decide(&Asked::http(&call));
    assert_eq!((decision.allowed, decision.by), (false, Some(("ab", 1))));
}

/// DENY, then ALLOW, said as plainly as can be for policies on exact methods.
fn specified(policies: &[(bool, Vec<usize>)], method: usize) -> bool {
    let hits = |deny: bool| {
        policies
            .iter()
            .any(|(is_deny, methods)| *is_deny == deny && methods.contains(&method))
    };
    let any_allow = policies.iter().any(|(deny, _)| !deny);
    !hits(true) && (!any_allow || hits(false))
}

proptest! {
    #[test]
    fn decisions_are_those_of_the_specification(
        policies in prop::collection::vec((arbitrary::<bool>(), prop::collection::vec(0_usize..4, 0..3)), 0..5),
        method in 0_usize..4,
    ) {
        const METHODS: [&str; 4] = ["GET", "POST", "PUT", "DELETE"];
        let compiled: Vec<_> = policies.iter().map(|(deny, methods)| {
            let rules = methods.iter().flat_map(|method| to(OperationMatch {
                methods: any(&[METHODS[*method]]),
                ..OperationMatch::default()
            }));
            policy("p", if *deny { Deny } else { Allow }, rules.collect())
        }).collect();
        let guard = Guard::compile(&compiled);
        prop_assert_eq!(http(&guard, "10.0.0.1", METHODS[method], "h", "/"), specified(&policies, method));
    }
}
