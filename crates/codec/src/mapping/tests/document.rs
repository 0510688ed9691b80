//! The OpenAPI document.

use super::service;
use crate::mapping::{
    Json,
    openapi::{Exposed, document},
};

fn at<'j>(json: &'j Json, path: &[&str]) -> &'j Json {
    path.iter()
        .fold(json, |json, name| match (json, name.parse::<usize>()) {
            (Json::Array(items), Ok(place)) => items.get(place).unwrap_or_else(|| panic!("{path:?}")),
            _ => json.get(name).unwrap_or_else(|| panic!("{path:?} in {json}")),
        })
}

fn references(json: &Json, found: &mut Vec<String>) {
    match json {
        Json::Array(items) => items.iter().for_each(|item| references(item, found)),
        Json::Object(members) => {
            for (name, value) in members {
                if *name == "$ref" {
                    found.extend(value.as_str().map(str::to_owned));
                }
                references(value, found);
            }
        }
        _ => {}
    }
}

#[test]
fn methods_are_described_with_their_parameters_bodies_and_results() {
    let service = service(&[
        "com.x.Page<com.x.Order> find(long id, java.util.List<com.x.Color> colors?)",
        "void put(long id, com.x.Order order)",
        "byte[] two(int, java.util.Map<java.lang.String,java.util.Date>)",
        "java.lang.Object named(com.x.Order a, long b?)",
    ]);
    let exposed = |method: usize, verb, path| Exposed {
        service: &service,
        method: &service.methods[method],
        verb,
        path,
        places: &[],
    };
    let made = document(
        "shop",
        "1",
        &[
            exposed(0, "GET", "/orders/{id}"),
            exposed(1, "PUT", "/orders/{id}"),
            exposed(2, "POST", "/two"),
            exposed(3, "POST", "/named"),
        ],
    );
    assert_eq!(at(&made, &["openapi"]), &Json::from("3.1.0"));
    let find = at(&made, &["paths", "/orders/{id}", "get"]);
    assert_eq!(
        at(find, &["parameters"]).to_string(),
        r##"[{"name":"id","in":"path","required":true,"schema":{"type":"integer","format":"int64"}},{"name":"colors","in":"query","required":false,"schema":{"type":"array","items":{"anyOf":[{"$ref":"#/components/schemas/com.x.Color"},{"type":"null"}]}}}]"##
    );
    assert_eq!(
        at(
            find,
            &[
                "responses",
                "200",
                "content",
                "application/json",
                "schema",
                "anyOf",
                "0",
                "$ref"
            ]
        ),
        &Json::from("#/components/schemas/com.x.Page_com.x.Order")
    );
    let put = at(&made, &["paths", "/orders/{id}", "put"]);
    assert_eq!(
        at(put, &["requestBody", "content", "application/json", "schema", "$ref"]),
        &Json::from("#/components/schemas/com.x.Order")
    );
    at(put, &["responses", "204"]);
    assert_eq!(
        at(
            put,
            &[
                "responses",
                "default",
                "content",
                "application/problem+json",
                "schema",
                "$ref"
            ]
        ),
        &Json::from("#/components/schemas/Problem")
    );
    let two = at(&made, &["paths", "/two", "post"]);
    assert_eq!(
        at(two, &["requestBody", "content", "application/json", "schema"]).to_string(),
        r#"{"type":"array","prefixItems":[{"type":"integer","format":"int32"},{"type":["object","null"],"additionalProperties":{"type":["string","null"],"format":"date-time"}}],"minItems":2,"maxItems":2}"#
    );
    let result = at(two, &["responses", "200", "content", "application/json", "schema"]);
    assert_eq!(
        result.to_string(),
        r#"{"type":["string","null"],"contentEncoding":"base64"}"#
    );
    let named = at(
        &made,
        &[
            "paths",
            "/named",
            "post",
            "requestBody",
            "content",
            "application/json",
            "schema",
        ],
    );
    assert_eq!(at(named, &["required"]).to_string(), r#"["a"]"#);
    assert_eq!(
        at(named, &["properties", "b"]).to_string(),
        r#"{"type":"integer","format":"int64"}"#
    );

    // The order has an order inside; the page's items are orders. Every reference leads somewhere.
    assert_eq!(
        at(&made, &["components", "schemas", "com.x.Order", "properties", "next"]).to_string(),
        r##"{"anyOf":[{"$ref":"#/components/schemas/com.x.Order"},{"type":"null"}]}"##
    );
    assert_eq!(
        at(&made, &["components", "schemas", "com.x.Color", "enum"]).to_string(),
        r#"["RED","GREEN"]"#
    );
    let mut found = Vec::new();
    references(&made, &mut found);
    for reference in found {
        let name = reference.strip_prefix("#/components/schemas/").expect("a schema");
        assert!(
            matches!(at(&made, &["components", "schemas", name]), Json::Object(_)),
            "{name}"
        );
    }
}

#[test]
fn a_class_that_grows_with_every_step_has_an_end() {
    let mut service = service(&["com.x.Grow<com.x.Order> grow()"]);
    service
        .classes
        .declare("com.x.Grow<T>", &[("next", "com.x.Grow<com.x.Pair<T,T>>"), ("it", "T")])
        .expect("a class");
    let exposed = [Exposed {
        service: &service,
        method: &service.methods[0],
        verb: "GET",
        path: "/grow",
        places: &[],
    }];
    let made = document("grow", "1", &exposed).to_string();
    assert!(made.len() < 4 << 20, "{} bytes", made.len());
}
