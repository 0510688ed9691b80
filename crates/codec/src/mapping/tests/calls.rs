//! Requests to calls: where arguments come from, which overload is meant, and calls without types.

use super::{json, service, shown};
use crate::{
    dubbo2::{GENERIC_TYPES, NewRequest, Request, Serialization},
    hessian2::Limits,
    mapping::{ArgumentError, Call, Input, Options, Service, generic_call},
};

fn call(service: &Service, method: &str, texts: &[(&str, &str)], body: Option<&str>) -> Result<Call, ArgumentError> {
    let body = body.map(json);
    let input = Input {
        texts,
        body: body.as_ref(),
    };
    service.call(method, input, Options::default())
}

fn told(call: &Call) -> String {
    let arguments: Vec<String> = call.arguments.iter().map(|value| shown(value, &call.heap)).collect();
    format!("{} {}", call.signature, arguments.join(" "))
}

#[test]
fn arguments_come_by_place_by_name_and_as_the_body_itself() {
    let service = service(&[
        "com.x.Order put(long id, com.x.Order order)",
        "void one(com.x.Order order)",
        "void all(java.util.List<java.lang.Integer>)",
        "void some(java.util.List<java.lang.Object>)",
        "void none()",
        "void maybe(int page?, java.lang.String sort?)",
    ]);
    for (method, texts, body, expected) in [
        (
            "put",
            vec![],
            Some(r#"[1,{"id":2}]"#),
            "put(long,com.x.Order) long 1 Order{id: long 2}",
        ),
        (
            "put",
            vec![],
            Some(r#"{"order":{"id":2},"id":1}"#),
            "put(long,com.x.Order) long 1 Order{id: long 2}",
        ),
        (
            "put",
            vec![("id", "1")],
            Some(r#"{"id":2}"#),
            "put(long,com.x.Order) long 1 Order{id: long 2}",
        ),
        (
            "put",
            vec![("0", "1")],
            Some(r#"{"order":{"id":2}}"#),
            "put(long,com.x.Order) long 1 Order{id: long 2}",
        ),
        (
            "put",
            vec![("0", "1")],
            Some(r#"[{"id":2}]"#),
            "put(long,com.x.Order) long 1 Order{id: long 2}",
        ),
        ("one", vec![], Some(r#"{"id":2}"#), "one(com.x.Order) Order{id: long 2}"),
        ("one", vec![], Some("null"), "one(com.x.Order) null"),
        ("all", vec![], Some("[1,2]"), "all(java.util.List) (int 1, int 2)"),
        ("all", vec![], Some("[5]"), "all(java.util.List) (int 5)"),
        ("all", vec![], Some("[[5]]"), "all(java.util.List) (int 5)"),
        (
            "all",
            vec![("0", "1"), ("0", "2")],
            None,
            "all(java.util.List) (int 1, int 2)",
        ),
        ("some", vec![], Some("[[5]]"), "some(java.util.List) (int 5)"),
        ("none", vec![], None, "none() "),
        ("none", vec![], Some("[]"), "none() "),
        ("none", vec![], Some("{}"), "none() "),
        ("none", vec![], Some("null"), "none() "),
        (
            "maybe",
            vec![("sort", "id")],
            None,
            "maybe(int,java.lang.String) int 0 \"id\"",
        ),
        (
            "maybe",
            vec![],
            Some(r#"{"page":2}"#),
            "maybe(int,java.lang.String) int 2 null",
        ),
    ] {
        let done = call(&service, method, &texts, body).unwrap_or_else(|error| panic!("{method} {body:?}: {error}"));
        assert_eq!(told(&done), expected, "{body:?}");
    }
}

#[test]
fn a_request_that_is_no_call_is_told_what_to_send() {
    let service = service(&[
        "void put(long id, com.x.Order order)",
        "void get(long id)",
        "void two(int,long)",
    ]);
    for (method, texts, body, expected) in [
        (
            "put",
            vec![],
            None,
            "`id`: it is missing; send an object with the members long id, com.x.Order order",
        ),
        ("put", vec![], Some("[1]"), "$: 1 values are given for 2 parameters"),
        (
            "put",
            vec![],
            Some(r#"{"id":1}"#),
            "the body gives not just the arguments",
        ),
        (
            "put",
            vec![("idd", "1")],
            None,
            "`idd`: the method has no such parameter",
        ),
        (
            "put",
            vec![],
            Some(r#"{"id":1,"order":{"id":"x"}}"#),
            "$.order.id: a string (\"x\") is no long",
        ),
        (
            "get",
            vec![("id", "x")],
            None,
            "`id`: a string (\"x\") is no long; write an integer",
        ),
        ("get", vec![("id", "1"), ("id", "2")], None, "`id`: it is given 2 times"),
        ("two", vec![], None, "send an array of 2: int, long"),
        (
            "gett",
            vec![],
            None,
            "com.x.Shop has no method `gett`; it has put(long,com.x.Order), get(long), two(int,long)",
        ),
    ] {
        let error = call(&service, method, &texts, body).expect_err(method).to_string();
        assert!(error.contains(expected), "{error} is not {expected}");
    }
    assert!(matches!(
        call(&Service::new("a.B"), "c", &[], None),
        Err(ArgumentError::NoMethod { .. })
    ));
}

#[test]
fn text_of_path_and_query_becomes_the_parameters_type() {
    for (of, text, expected) in [
        ("boolean", "true", "true"),
        ("long", "9007199254740993", "long 9007199254740993"),
        ("double", "1.5", "double 1.5"),
        ("java.math.BigDecimal", "1.50", "BigDecimal{value: \"1.50\"}"),
        ("java.lang.String", "007", "\"007\""),
        ("com.x.Color", "RED", "Color{name: \"RED\"}"),
        ("java.util.Date", "1714979289000", "date 1714979289000"),
        (
            "java.time.LocalDate",
            "2024-05-06",
            "LocalDateHandle{year: int 2024, month: int 5, day: int 6}",
        ),
        (
            "java.util.Optional<java.lang.Boolean>",
            "false",
            "Optional{value: false}",
        ),
        ("java.lang.Boolean[]", "false", "[java.lang.Boolean(false)"),
        ("byte[]", "AQI", "binary 0102"),
        ("java.lang.Object", "x", "\"x\""),
    ] {
        let service = service(&[&format!("void get({of} it)")]);
        let done = call(&service, "get", &[("it", text)], None).unwrap_or_else(|error| panic!("{of}: {error}"));
        assert_eq!(shown(&done.arguments[0], &done.heap), expected);
    }
}

#[test]
fn overloads_are_told_apart_by_count_by_names_and_by_what_fits_best() {
    let service = service(&[
        "void find(int)",
        "void find(long)",
        "void find(java.lang.String)",
        "void find(com.x.Order)",
        "void find(com.x.Color)",
        "void find(java.util.List<java.lang.String>)",
        "void find(java.lang.Object)",
        "void find(int id, int page)",
        "void find(java.lang.String name, int page)",
    ]);
    for (method, body, expected) in [
        ("find", "7", "find(int) int 7"),
        ("find", "3000000000", "find(long) long 3000000000"),
        ("find", "\"RED\"", "find(java.lang.String) \"RED\""),
        ("find", "{\"id\":1}", "find(com.x.Order) Order{id: long 1}"),
        ("find", "{\"other\":1}", "find(java.lang.Object) {\"other\": int 1}"),
        ("find", "true", "find(java.lang.Object) true"),
        (
            "find",
            "[\"a\",\"b\",\"c\"]",
            "find(java.util.List) (\"a\", \"b\", \"c\")",
        ),
        ("find", "[1,2]", "find(int,int) int 1 int 2"),
        ("find", "[\"a\",2]", "find(java.lang.String,int) \"a\" int 2"),
        (
            "find",
            "{\"name\":\"a\",\"page\":2}",
            "find(java.lang.String,int) \"a\" int 2",
        ),
        ("find(long)", "7", "find(long) long 7"),
        ("find(com.x.Color)", "\"RED\"", "find(com.x.Color) Color{name: \"RED\"}"),
        (
            "find( java.lang.String, int )",
            "[\"a\",2]",
            "find(java.lang.String,int) \"a\" int 2",
        ),
    ] {
        let done = call(&service, method, &[], Some(body)).unwrap_or_else(|error| panic!("{body}: {error}"));
        assert_eq!(told(&done), expected);
    }
    let by_name = call(&service, "find", &[("name", "a"), ("page", "2")], None).expect("names tell");
    assert_eq!(told(&by_name), "find(java.lang.String,int) \"a\" int 2");

    let error = call(&service, "find", &[], Some("null")).expect_err("null is anything");
    assert_eq!(
        error.to_string(),
        "find(java.lang.String) and find(com.x.Order) and find(com.x.Color) and find(java.util.List) and \
         find(java.lang.Object) could all be meant; name the parameter types, as in `find(java.lang.String)`"
    );
    let done = call(&service, "find", &[], Some("[1,2,3,true]")).expect("an Object is anything");
    assert_eq!(done.signature, "find(java.lang.Object)");
}

#[test]
fn none_of_several_methods_tells_why_of_each() {
    let service = service(&["void find(int)", "void find(com.x.Color)"]);
    let error = call(&service, "find", &[], Some("true"))
        .expect_err("neither")
        .to_string();
    assert!(
        error.contains("none of the methods `find` can be called so: find(int): $: a boolean"),
        "{error}"
    );
    assert!(
        error.contains(" | find(com.x.Color): $: a boolean (true) is no com.x.Color"),
        "{error}"
    );
}

#[test]
fn a_call_is_written_as_a_request_that_reads_back() {
    let service = service(&["com.x.Order put(long id, com.x.Order[] orders)"]);
    let done = call(&service, "put", &[], Some(r#"[1,[{"id":2},{"id":3}]]"#)).expect("it is a call");
    let body = NewRequest {
        path: &service.interface,
        version: None,
        method: &done.method,
        types: &done.types,
        attachments: &[("path", &service.interface)],
    }
    .encode(&done.arguments, &done.heap)
    .expect("it can be written");
    let read = Request::read(Serialization::HESSIAN2, body, Limits::default()).expect("it can be read");
    assert_eq!(&*read.types, "J[Lcom/x/Order;");
    assert_eq!(&*read.method, "put");
}

#[test]
fn a_generic_call_has_maps_for_objects_and_names_for_enums() {
    let service = service(&[
        "com.x.Order put(com.x.Color color, com.x.Order[] orders, java.util.Map<java.lang.String,java.lang.Object> more)",
    ]);
    let body = json(r#"["RED",[{"id":2}],{"a":{"class":"com.x.Order","id":3}}]"#);
    let input = Input {
        body: Some(&body),
        ..Input::default()
    };
    let done = service
        .call_generic("put", input, Options::default())
        .expect("it is a call");
    assert_eq!(
        (done.method.as_str(), done.types.as_str(), done.generic),
        ("$invoke", GENERIC_TYPES, true)
    );
    assert_eq!(
        told(&done),
        "put(com.x.Color,com.x.Order[],java.util.Map) \"put\" [string(\"com.x.Color\", \"com.x.Order[]\", \"java.util.Map\") \
         [object(\"RED\", ({\"id\": long 2}), {\"a\": {\"class\": \"com.x.Order\", \"id\": long 3}})"
    );

    let gadget = json(r#"["RED",[],{"class":"java.lang.ProcessBuilder"}]"#);
    let input = Input {
        body: Some(&gadget),
        ..Input::default()
    };
    let error = service
        .call_generic("put", input, Options::default())
        .expect_err("a class");
    assert!(
        error.to_string().contains("a map in a generic call has a key `class`"),
        "{error}"
    );
}

#[test]
fn a_call_of_an_unknown_service_goes_in_jsons_own_types() {
    let arguments = [json(r#"{"id":7,"price":1.5}"#), json("[3000000000]")];
    let done = generic_call("save", Some(&["com.x.User", "long[]"]), &arguments).expect("it is a call");
    assert_eq!(
        told(&done),
        "save \"save\" [string(\"com.x.User\", \"long[]\") [object({\"id\": int 7, \"price\": double 1.5}, (long 3000000000))"
    );
    let untyped = generic_call("save", None, &arguments).expect("it is a call");
    assert_eq!(shown(&untyped.arguments[1], &untyped.heap), "null");
    assert!(generic_call("save", Some(&["int"]), &arguments).is_err());
    assert!(generic_call("save", None, &[json(r#"{"class":"com.x.Order"}"#)]).is_err());
    assert!(generic_call("save", None, &[json(r#"[{"a":{"class":5}}]"#)]).is_err());
}
