//! What a request means, before anything is called.

use std::sync::Arc;

use http::HeaderMap;
use landfall_codec::hessian2::Value;
use landfall_model::{
    ClusterId, RegistryName, ServiceId,
    rules::{DeclaredTypes, Family, ParameterSource, PathPart, TranscodedMethod, TranscodedParameter, Transcoding},
    snapshot::ClusterTarget,
};

use super::{Ask, Transcoder};

fn cluster() -> ClusterId {
    let registry = RegistryName::new("zookeeper").unwrap();
    ClusterId {
        target: ClusterTarget::Service(ServiceId::new(registry, "com.x.Shop:1.0.0")),
        port: None,
        family: Family::Dubbo,
    }
}

fn declared(methods: &[&str]) -> DeclaredTypes {
    DeclaredTypes {
        methods: methods.iter().map(|method| (*method).into()).collect(),
        ..DeclaredTypes::default()
    }
}

fn parameter(name: &str, from: ParameterSource) -> TranscodedParameter {
    TranscodedParameter {
        name: name.into(),
        from,
        default: None,
        optional: false,
    }
}

/// Which method is called with what, or status and reason.
fn meaning(transcoder: &Transcoder, line: &str, body: &str) -> Result<(String, Vec<Value>), (u16, String)> {
    let (verb, target) = line.split_once(' ').unwrap();
    let (path, query) = target
        .split_once('?')
        .map_or((target, None), |(path, query)| (path, Some(query)));
    let headers = HeaderMap::new();
    let ask = Ask {
        verb,
        path,
        query,
        headers: &headers,
    };
    let request = transcoder.request(&cluster(), ask, body.as_bytes());
    let request = request.map_err(|refusal| (refusal.problem.status, refusal.problem.detail.unwrap_or_default()))?;
    Ok((request.call.signature.clone(), request.call.arguments))
}

#[test]
fn the_first_rule_that_fits_counts_and_its_verb_too() {
    let rule = |method: &str, path: Option<&[&str]>, verbs: &[&str]| TranscodedMethod {
        method: method.into(),
        path: path.map(|parts| {
            let part = |part: &&str| match part.strip_prefix(':') {
                Some(name) => PathPart::Parameter(name.into()),
                None => PathPart::Text((*part).into()),
            };
            parts.iter().map(part).collect()
        }),
        verbs: verbs.iter().map(|verb| (*verb).into()).collect(),
        parameters: None,
    };
    let transcoder = Transcoder::compile(&Arc::new(Transcoding {
        methods: vec![
            rule("newest", Some(&["orders", "newest"]), &["GET"]),
            rule("find(long)", Some(&["orders", ":id"]), &["GET", "POST"]),
            rule("remove", Some(&["orders", ":0"]), &["DELETE"]),
            rule("count", None, &["POST"]),
        ],
        types: declared(&["newest()", "find(long id)", "find(int id)", "remove(long)", "count()"]),
        ..Transcoding::default()
    }))
    .unwrap();
    transcoder.learn(&cluster(), None);
    for (line, called) in [
        ("GET /orders/newest", "newest()"),
        ("GET /orders/7", "find(long)"),
        ("POST /orders/newest", "400"),
        ("DELETE /orders/7", "remove(long)"),
        ("POST /any/where/count", "count()"),
        ("PUT /orders/7", "405"),
        ("GET /orders", "404"),
        ("GET /orders/", "404"),
        ("GET /orders/7/", "404"),
        ("GET /any/count", "405"),
        ("POST /find", "404"),
    ] {
        let told = match meaning(&transcoder, line, "") {
            Ok((signature, _)) => signature,
            Err((status, _)) => status.to_string(),
        };
        assert_eq!(told, called, "{line}");
    }
}

#[test]
fn what_must_come_from_the_query_never_comes_from_the_body() {
    let transcoder = Transcoder::compile(&Arc::new(Transcoding {
        methods: vec![TranscodedMethod {
            method: "pay".into(),
            path: None,
            verbs: vec!["POST".into()],
            parameters: Some(vec![
                parameter("who", ParameterSource::Query("w".into())),
                parameter("sum", ParameterSource::Body),
            ]),
        }],
        types: declared(&["pay(java.lang.String, long)"]),
        ..Transcoding::default()
    }))
    .unwrap();
    transcoder.learn(&cluster(), None);
    let paid = Ok((
        "pay(java.lang.String,long)".to_owned(),
        vec!["me".into(), Value::Long(7)],
    ));
    assert_eq!(meaning(&transcoder, "POST /pay?w=me", "7"), paid);
    assert_eq!(meaning(&transcoder, "POST /pay?w=me", "{\"sum\":7}"), paid);
    for (line, body) in [
        ("POST /pay", "{\"who\":\"you\",\"sum\":7}"),
        ("POST /pay", "[\"you\",7]"),
        ("POST /pay?w=me", "{\"who\":\"you\",\"sum\":7}"),
        ("POST /pay?w=me", "[\"you\",7]"),
        ("POST /pay?w=me&who=you", "7"),
    ] {
        let refused = meaning(&transcoder, line, body).map_err(|(status, _)| status);
        assert_eq!(refused, Err(400), "{line} {body}");
    }
}

#[test]
fn types_come_from_the_registry_when_it_has_them_and_change_when_it_says_so() {
    let transcoder = Transcoder::compile(&Arc::default()).unwrap();
    transcoder.learn(&cluster(), None);
    let (status, detail) = meaning(&transcoder, "POST /shop/find", "7").unwrap_err();
    assert_eq!((status, detail.contains("not known")), (502, true), "{detail}");

    let definition = |of: &str| -> Arc<str> {
        let methods = format!(r#"[{{"name":"find","parameterTypes":["{of}"],"returnType":"void"}}]"#);
        format!(r#"{{"canonicalName":"com.x.Shop","methods":{methods},"types":[]}}"#).into()
    };
    for (of, value) in [("long", Value::Long(7)), ("int", Value::Int(7))] {
        transcoder.learn(&cluster(), Some(&definition(of)));
        let called = meaning(&transcoder, "POST /shop/find", "7");
        assert_eq!(called, Ok((format!("find({of})"), vec![value])));
    }
    transcoder.learn(&cluster(), Some(&"{}".into()));
    let (status, detail) = meaning(&transcoder, "POST /shop/find", "7").unwrap_err();
    assert_eq!((status, detail.contains("canonicalName")), (502, true), "{detail}");
}

#[test]
fn declared_types_that_cannot_be_read_are_told_when_they_are_compiled() {
    let transcoding = Transcoding {
        types: declared(&["find(java.util.List<)"]),
        ..Transcoding::default()
    };
    assert!(Transcoder::compile(&Arc::new(transcoding)).is_err());
}
