use proptest::prelude::*;
use serde_json::json;

use super::*;

fn web() -> Value {
    json!({
        "Node": { "ID": "", "Node": "n1", "Address": "10.0.0.1", "Meta": { "rack": "7" }, "TaggedAddresses": {} },
        "Service": { "ID": "web-1", "Service": "web", "Tags": ["v1", "blue"], "Address": "10.0.0.7", "Port": 8080,
            "Meta": { "version": "2", "a.b": "dotted" }, "Weights": { "Passing": 3, "Warning": 1 }, "EnableTagOverride": false,
            "TaggedAddresses": { "lan": { "Address": "10.0.0.7", "Port": 8080 } } },
        "Checks": [{ "CheckID": "serfHealth", "Status": "passing", "ServiceTags": [] },
                   { "CheckID": "service:web-1", "Status": "warning", "ServiceTags": ["v1", "blue"] }],
    })
}

#[test]
fn expressions_mean_what_they_mean_in_consul() {
    let table = [
        ("Service.Service == web", true),
        ("Service.Service == \"web\"", true),
        ("Service.Service != web", false),
        ("Service.ID == `web-1`", true),
        ("v1 in Service.Tags", true),
        ("\"v2\" in Service.Tags", false),
        ("v2 not in Service.Tags", true),
        ("Service.Tags contains blue", true),
        ("Service.Tags not contains blue", false),
        ("Service.Tags is empty", false),
        ("Service.Tags is not empty", true),
        ("Service.Meta.version == 2", true),
        ("Service.Meta.version != 3", true),
        ("Service.Meta[\"a.b\"] == dotted", true),
        ("Service.Meta[\"a.b\"] != dotted", false),
        ("version in Service.Meta", true),
        ("Service.Meta contains nothing", false),
        ("Service.Meta.nothing == 2", false),
        ("Service.Meta.nothing != 2", true),
        ("Node.TaggedAddresses is empty", true),
        ("Service.Port == 8080", true),
        ("Service.Port != 8080", false),
        ("Service.EnableTagOverride == false", true),
        ("Service.Weights.Passing == 3", true),
        ("Service.TaggedAddresses.lan.Port == 8080", true),
        ("Node.Node == n1 and Node.Meta.rack == 7", true),
        ("Node.Address == 10.0.0.1", true),
        // Any of the checks.
        ("Checks.Status == passing", true),
        ("Checks.Status != passing", true),
        ("Checks.Status == critical", false),
        ("blue in Checks.ServiceTags", true),
        ("Checks is empty", false),
        ("not Service.Service == web", false),
        ("not (Service.Service == web and Service.Port == 1)", true),
        (
            "Service.Port == 1 or Service.Service == web and v1 in Service.Tags",
            true,
        ),
        (
            "(Service.Port == 1 or Service.Service == web) and v3 in Service.Tags",
            false,
        ),
    ];
    for (text, expected) in table {
        let expression = Expression::read(text, ENTRY).unwrap_or_else(|why| panic!("{text}: {why}"));
        assert_eq!(expression.takes(&web()), expected, "{text}");
    }
}

#[test]
fn what_is_not_understood_says_why() {
    let table = [
        ("", "selector"),
        ("Service.Nothing == x", "Selector \"Service.Nothing\" is not valid"),
        ("ServiceName == web", "not valid"),
        ("Service.Tags == v1", "several values"),
        ("Service.Port == many", "is a number"),
        ("Service.EnableTagOverride == 1", "true or false"),
        ("80 in Service.Port", "use `==`"),
        ("Service.Port is empty", "no list and no map"),
        ("Service.Meta.version is empty", "no list and no map"),
        ("Service.Service matches \"w.*\"", "regular expressions"),
        ("Service.Service == web and", "selector"),
        ("Service.Service == web Service.Port == 1", "the end"),
        ("(Service.Service == web", "without its `)`"),
        ("Service.Service", "comparison is missing"),
        ("Service.Service = web", "no part"),
        ("Service.Service == \"web", "does not end"),
        ("Service.Service is full", "`empty`"),
        ("Service.Meta[version] == 2", "in quotes"),
    ];
    for (text, expected) in table {
        let why = Expression::read(text, ENTRY).map(|_| ()).expect_err(text);
        assert!(why.contains(expected), "{text}: {why}");
    }
    let deep = format!("{}Service.Port == 1{}", "(".repeat(100), ")".repeat(100));
    assert!(Expression::read(&deep, ENTRY).is_err());
    let long = format!("Service.Service == {}", "x".repeat(LENGTH));
    assert!(Expression::read(&long, ENTRY).is_err());
}

proptest! {
    #[test]
    fn no_text_does_harm(text in "[\\PC \"`()\\[\\].=!]{0,80}", words in proptest::collection::vec(
        proptest::sample::select(&["not", "and", "or", "in", "is", "empty", "contains", "==", "!=", "(", ")", "v1",
            "Service.Tags", "Service.Meta.x", "Checks.Status", "[", "\"k\"", "]"][..]), 0..12))
    {
        for text in [text, words.join(" ")] {
            if let Ok(expression) = Expression::read(&text, ENTRY) {
                let _ = expression.takes(&web());
                // What is not so is so when it is denied.
                let denied = Expression::read(&format!("not ({text})"), ENTRY).unwrap();
                prop_assert_ne!(denied.takes(&web()), expression.takes(&web()));
            }
        }
    }
}
