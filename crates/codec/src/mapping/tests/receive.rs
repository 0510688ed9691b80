//! Calls of Dubbo consumers as JSON, and JSON as their results.

use super::{
    classes, json, service, shown,
    table::{quoted, rows},
};
use crate::{
    dubbo2::{BodyError, GENERIC_TYPES, NewRequest, Outcome, Request, Response, Serialization},
    hessian2::{Heap, Limits, Value},
    mapping::{AnswerError, Call, Input, Json, Options, ReceiveError, Received, ResultOptions, Service, json_of},
};

/// What a consumer sends for a call.
fn sent(call: &Call, attachments: &[(&str, &str)]) -> Request {
    let request = NewRequest {
        path: "com.x.Shop",
        version: None,
        method: &call.method,
        types: &call.types,
        attachments,
    };
    let body = request.encode(&call.arguments, &call.heap).expect("it can be written");
    Request::read(Serialization::HESSIAN2, body, Limits::default()).expect("it can be read")
}

fn call(service: &Service, method: &str, body: &str, generic: bool) -> Call {
    let body = json(body);
    let input = Input {
        texts: &[],
        body: Some(&body),
    };
    match generic {
        true => service.call_generic(method, input, Options::default()),
        false => service.call(method, input, Options::default()),
    }
    .expect("a call")
}

fn received(service: &Service, request: &Request) -> Received {
    let received = service.receive(request, ResultOptions::default());
    received.unwrap_or_else(|error| panic!("{error}"))
}

fn told(received: &Received) -> String {
    let argument = |argument: &super::super::Argument| {
        let name = argument.name.as_deref().unwrap_or("?");
        format!("{name}={}", argument.value)
    };
    let arguments: Vec<String> = received.arguments.iter().map(argument).collect();
    format!("{} {}", received.method, arguments.join(" "))
}

/// What the consumer reads.
fn returned(received: &Received, answer: Option<&str>) -> Result<(Outcome, Value, Heap), AnswerError> {
    let options = Options {
        ignore_unknown_members: true,
        ..Options::default()
    };
    let answer = answer.map(json);
    let body = received.answer(&classes(), answer.as_ref(), options)?;
    let response = Response::read(Serialization::HESSIAN2, body, Limits::default()).expect("a result");
    assert!(response.attachments.is_some(), "2.0.2 has attachments");
    let (value, heap) = response.decode_value().expect("a value");
    Ok((response.outcome, value, heap))
}

#[test]
fn every_row_of_the_document_holds_for_arguments_and_results_of_consumers() {
    for row in rows("| Java | JSON | on the wire | also taken |") {
        let [of, there, wire, _] = row.as_slice() else {
            panic!("{row:?}")
        };
        let (of, there, wire) = (quoted(of)[0], quoted(there)[0], quoted(wire)[0]);
        // An object of which only the value tells the class loses its class in JSON.
        if of == "void" || of == "java.lang.Object" && there == "{\"id\":1}" {
            continue;
        }
        let service = service(&[&format!("{of} same({of} it, long other)")]);
        let call = call(&service, "same", &format!("[{there},7]"), false);
        let received = received(&service, &sent(&call, &[]));
        assert_eq!(told(&received), format!("same it={there} other=7"), "{of}");
        let (outcome, value, heap) = returned(&received, Some(there)).unwrap_or_else(|error| panic!("{of}: {error}"));
        assert_eq!(shown(&value, &heap), wire, "{of} {there}");
        assert_eq!(outcome == Outcome::Null, value == Value::Null, "{of}");
    }
}

#[test]
fn overloads_are_told_apart_by_the_types_of_the_call() {
    let service = service(&[
        "long find(int id)",
        "com.x.Order find(long key)",
        "com.x.Order find(com.x.Order like)",
    ]);
    for (method, body, expected) in [
        ("find(int)", "[5]", "find id=5"),
        ("find(long)", "[5]", "find key=5"),
        ("find(com.x.Order)", r#"[{"id":5}]"#, r#"find like={"id":5}"#),
    ] {
        let received = received(&service, &sent(&call(&service, method, body, false), &[]));
        assert_eq!(told(&received), expected);
    }
}

#[test]
fn a_service_that_nothing_is_known_of_is_read_by_the_types_of_the_call_and_its_results_tell_their_own() {
    let known = service(&["com.x.Order put(float price, byte[] seal, com.x.Order order)"]);
    let call = call(&known, "put", r#"[0.1,"AQI=",{"id":9007199254740993}]"#, false);
    let received = received(&Service::default(), &sent(&call, &[]));
    assert_eq!(told(&received), r#"put ?=0.1 ?="AQI=" ?={"id":9007199254740993}"#);
    let (_, value, heap) = returned(&received, Some(r#"{"id":1,"tags":["a",2.5,3000000000]}"#)).expect("a result");
    assert_eq!(
        shown(&value, &heap),
        r#"{"id": int 1, "tags": ("a", double 2.5, long 3000000000)}"#
    );
}

#[test]
fn a_generic_call_is_the_call_that_it_names_and_gets_maps_for_objects() {
    let service = service(&["com.x.Order put(long id, com.x.Order order, com.x.Color color)"]);
    let call = call(&service, "put", r#"[1,{"id":2},"RED"]"#, true);
    assert_eq!(call.types, GENERIC_TYPES);
    let received = received(&service, &sent(&call, &[("generic", "true")]));
    assert!(received.generic);
    assert_eq!(told(&received), r#"put id=1 order={"id":2} color="RED""#);
    let (_, value, heap) = returned(&received, Some(r#"{"id":2,"name":"a"}"#)).expect("a result");
    let back = json_of(
        &value,
        &heap,
        &received.returns,
        &classes(),
        true,
        ResultOptions::default(),
    );
    assert_eq!(back, Ok(json(r#"{"id":2,"name":"a"}"#)));
    assert!(!shown(&value, &heap).starts_with("Order"), "{}", shown(&value, &heap));
}

#[test]
fn a_generic_call_without_types_is_of_the_one_method_with_so_many_parameters() {
    let one = service(&["long count(com.x.Order like)", "long count()"]);
    let generic = crate::mapping::generic_call("count", None, &[json(r#"{"id":2}"#)]).expect("a call");
    let request = sent(&generic, &[("generic", "true")]);
    assert_eq!(told(&received(&one, &request)), r#"count like={"id":2}"#);
    let two = service(&["long count(com.x.Order like)", "long count(long least)"]);
    assert_eq!(told(&received(&two, &request)), r#"count ?={"id":2}"#);
}

#[test]
fn generic_calls_that_are_of_another_kind_or_of_no_kind_are_refused() {
    let service = service(&["long count(long least)"]);
    let good = call(&service, "count", "[1]", true);
    for kind in ["nativejava", "bean", "gson", "raw.return"] {
        let refused = service.receive(&sent(&good, &[("generic", kind)]), ResultOptions::default());
        assert_eq!(refused, Err(ReceiveError::Generic(kind.to_owned())));
    }
    let malformed = |arguments: Vec<Value>, heap: Heap| {
        let bad = Call {
            arguments,
            heap,
            ..good.clone()
        };
        service.receive(&sent(&bad, &[]), ResultOptions::default())
    };
    let is_malformed =
        |got: Result<_, ReceiveError>| matches!(got, Err(ReceiveError::Unreadable(BodyError::Malformed(_))));
    assert!(is_malformed(malformed(
        vec![Value::Int(1), Value::Null, Value::Null],
        Heap::new()
    )));
    assert!(is_malformed(malformed(
        vec!["count".into(), Value::Int(1), Value::Null],
        Heap::new()
    )));
    let mut heap = Heap::new();
    let types = heap.list(vec!["long".into(), "long".into()]);
    let arguments = heap.list(vec![Value::Long(1)]);
    assert!(is_malformed(malformed(vec!["count".into(), types, arguments], heap)));
    let mut heap = Heap::new();
    let types = heap.list(vec![Value::Int(1)]);
    let arguments = heap.list(vec![Value::Long(1)]);
    assert!(is_malformed(malformed(vec!["count".into(), types, arguments], heap)));
}

#[test]
fn an_argument_that_holds_itself_is_refused_with_its_place() {
    let mut heap = Heap::new();
    let order = heap.object("com.x.Order", vec![("next", Value::Null)]);
    let Value::Node(id) = order else { panic!("an object") };
    if let Some(crate::hessian2::Node::Object(object)) = heap.get_mut(id) {
        object.fields[0] = order.clone();
    }
    let service = service(&["void put(long id, com.x.Order order)"]);
    let cyclic = Call {
        arguments: vec![Value::Long(1), order],
        heap,
        ..call(&service, "put", r#"[1,{"id":2}]"#, false)
    };
    let refused = service.receive(&sent(&cyclic, &[]), ResultOptions::default());
    let words = refused.map(|_| ()).map_err(|error| error.to_string());
    assert_eq!(
        words,
        Err("argument 1 cannot be JSON: it holds itself at $.next".to_owned())
    );
}

#[test]
fn what_is_in_many_arguments_counts_in_each() {
    let mut heap = Heap::new();
    let long = heap.list(vec!["x".repeat(600).as_str().into()]);
    let service = service(&["void put(java.util.List<java.lang.String> a, java.util.List<java.lang.String> b)"]);
    let twice = Call {
        arguments: vec![long.clone(), long],
        heap,
        ..call(&service, "put", "[[],[]]", false)
    };
    let within = |size| {
        let options = ResultOptions {
            size,
            ..ResultOptions::default()
        };
        let got = service.receive(&sent(&twice, &[]), options);
        got.map(|received| received.arguments.len())
            .map_err(|error| error.to_string())
    };
    assert_eq!(within(2000), Ok(2));
    let error = within(1000).expect_err("it is too much");
    assert!(
        error.starts_with("argument 1 cannot be JSON: there are more than 1000 bytes, at $"),
        "{error}"
    );
}

#[test]
fn a_generic_call_of_more_arguments_than_java_has_is_refused() {
    let service = Service::default();
    let with = |count: usize| {
        let arguments = vec![Json::Null; count];
        let call = crate::mapping::generic_call("many", None, &arguments).expect("a call");
        let received = service.receive(&sent(&call, &[]), ResultOptions::default());
        received.map(|received| received.arguments.len())
    };
    assert_eq!(with(255), Ok(255));
    assert!(matches!(
        with(256),
        Err(ReceiveError::Unreadable(BodyError::Malformed(_)))
    ));
}

#[test]
fn nothing_comes_back_from_an_answer_without_a_body_and_from_a_method_that_returns_nothing() {
    let service = service(&[
        "void clear(long id)",
        "com.x.Order find(long id)",
        "long count(long id)",
    ]);
    for (method, answer) in [
        ("clear", None),
        ("clear", Some("{\"ok\":true}")),
        ("find", None),
        ("find", Some("null")),
    ] {
        let received = received(&service, &sent(&call(&service, method, "[1]", false), &[]));
        let (outcome, value, _) = returned(&received, answer).expect("nothing");
        assert_eq!((outcome, value), (Outcome::Null, Value::Null), "{method} {answer:?}");
    }
    let received = received(&service, &sent(&call(&service, "count", "[1]", false), &[]));
    let error = returned(&received, None).expect_err("a long is never null");
    assert_eq!(
        error.to_string(),
        "the answer is not what the method returns: $: null is no long; write a value: this type has no null"
    );
}

#[test]
fn an_answer_names_no_class_that_the_service_does_not_have() {
    let service = service(&["java.lang.Object find(long id)"]);
    for generic in [false, true] {
        let received = received(&service, &sent(&call(&service, "find", "[1]", generic), &[]));
        let got = returned(&received, Some(r#"{"class":"java.lang.ProcessBuilder","id":1}"#));
        assert!(matches!(got, Err(AnswerError::Misfit(_))), "{got:?}");
    }
}

#[test]
fn texts_of_arguments_are_read_back_as_the_same_arguments() {
    for (of, value, texts) in [
        ("long", "9007199254740993", vec!["9007199254740993"]),
        ("java.math.BigDecimal", "1.50", vec!["1.50"]),
        ("boolean", "true", vec!["true"]),
        ("com.x.Color", "\"RED\"", vec!["RED"]),
        (
            "java.util.Date",
            "\"2024-05-06T07:08:09Z\"",
            vec!["2024-05-06T07:08:09Z"],
        ),
        ("java.lang.String", "\"a b&c\"", vec!["a b&c"]),
        ("java.util.List<java.lang.Long>", "[1,2]", vec!["1", "2"]),
        ("byte[]", "\"AQI=\"", vec!["AQI="]),
    ] {
        let service = service(&[&format!("void put({of} it, long other)")]);
        let forth = call(&service, "put", &format!("[{value},1]"), false);
        let received = received(&service, &sent(&forth, &[]));
        let written = received.arguments[0].texts().expect(of);
        assert_eq!(written, texts, "{of}");
        let pairs: Vec<(&str, &str)> = written
            .iter()
            .map(|text| ("it", &**text))
            .chain([("other", "1")])
            .collect();
        let input = Input {
            texts: &pairs,
            body: None,
        };
        let back = service.call("put", input, Options::default()).expect(of);
        assert_eq!(
            shown(&back.arguments[0], &back.heap),
            shown(&forth.arguments[0], &forth.heap),
            "{of}"
        );
    }
    let argument = |value: Json| super::super::Argument { name: None, value };
    assert_eq!(argument(Json::Null).texts().map(|texts| texts.len()), Ok(0));
    for (value, told) in [
        (json(r#"{"id":1}"#), "an object is no text: send it in the body"),
        (json("[[1]]"), "an array is no text: send it in the body"),
        (json("[null]"), "null is no text: send it in the body"),
        (
            json(r#""\ud800""#),
            "half of a character is no text: send it in the body",
        ),
    ] {
        assert_eq!(
            argument(value).texts().map_err(|error| error.to_string()),
            Err(told.to_owned())
        );
    }
}

#[test]
fn an_answer_that_is_no_result_is_an_exception_that_tells_status_and_detail() {
    let service = service(&["com.x.Order find(long id)"]);
    for generic in [false, true] {
        let received = received(&service, &sent(&call(&service, "find", "[1]", generic), &[]));
        for (status, body, expected) in [
            (
                404,
                r#"{"type":"about:blank","title":"Not Found","status":404,"detail":"no such order"}"#,
                "HTTP 404 Not Found: no such order",
            ),
            (
                500,
                r#"{"status":500,"error":"Internal Server Error","message":"it broke\n\tat com.x.Shop.find(Shop.java:7)"}"#,
                "HTTP 500 Internal Server Error: it broke",
            ),
            (404, r#"{"title":"Not Found"}"#, "HTTP 404 Not Found"),
            (503, "<html>busy</html>", "HTTP 503 Service Unavailable"),
            (400, r#"{"detail":7,"message":"  "}"#, "HTTP 400 Bad Request"),
            (409, "", "HTTP 409 Conflict"),
        ] {
            let body = received.failure(status, body.as_bytes()).expect("an exception");
            let response = Response::read(Serialization::HESSIAN2, body, Limits::default()).expect("a result");
            assert_eq!(response.outcome, Outcome::Exception);
            let (value, heap) = response.decode_value().expect("a value");
            assert_eq!(
                shown(&value, &heap),
                format!("RuntimeException{{detailMessage: {}}}", Json::from(expected))
            );
        }
        let long = Json::object([("detail", "x".repeat(1 << 20).as_str().into())]).to_string();
        let body = received.failure(400, long.as_bytes()).expect("an exception");
        assert!(body.len() < 8192, "{} bytes", body.len());
    }
}
