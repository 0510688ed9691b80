//! Every row of docs/dubbo-json.md.

use super::{classes, json, shown, value_of};
use crate::{
    dubbo2::Status,
    hessian2::{Encoder, Heap, Limits, Value, decode},
    mapping::{ExceptionStatuses, Problem, ResultOptions, Type, json_of, problem::http_status},
};

const DOCUMENT: &str = include_str!("../../../../../docs/dubbo-json.md");

/// The rows of the table with that head: cells without their blanks.
pub(super) fn rows(head: &str) -> Vec<Vec<&'static str>> {
    let (_, table) = DOCUMENT.split_once(head).expect("the table is there");
    let rows: Vec<Vec<&str>> = table
        .lines()
        .skip(2)
        .take_while(|line| line.starts_with('|'))
        .map(|line| line.trim_matches('|').split('|').map(str::trim).collect())
        .collect();
    assert!(!rows.is_empty());
    rows
}

/// What stands in backquotes.
pub(super) fn quoted(cell: &'static str) -> Vec<&'static str> {
    cell.split('`').skip(1).step_by(2).collect()
}

#[test]
fn every_row_of_the_document_holds() {
    let rows = rows("| Java | JSON | on the wire | also taken |");
    assert!(rows.len() > 60, "{} rows", rows.len());
    for row in rows {
        let [of, there, wire, others] = row.as_slice() else {
            panic!("{row:?}")
        };
        let (of, there, wire) = (quoted(of)[0], quoted(there)[0], quoted(wire)[0]);
        let is_named = of == "java.lang.Object" && there == "{\"id\":1}";
        let sent = if is_named {
            "{\"class\":\"com.x.Order\",\"id\":1}"
        } else {
            there
        };
        for text in quoted(others).into_iter().chain([sent]) {
            let (value, heap) = value_of(of, text).unwrap_or_else(|error| panic!("{of} {text}: {error}"));
            assert_eq!(shown(&value, &heap), wire, "{of} {text}");
            // Over the wire and back.
            let mut encoder = Encoder::new(&heap);
            encoder.value(&value).expect("it can be written");
            let (value, heap) = decode(&encoder.finish(), Limits::default()).expect("it can be read");
            let of = Type::parse(of).expect(of);
            let back = json_of(&value, &heap, &of, &classes(), false, ResultOptions::default());
            assert_eq!(back.expect(text).to_string(), there, "{of} {text}");
        }
    }
}

#[test]
fn every_java_type_that_is_known_is_in_the_document() {
    let known = crate::mapping::Known::ALL.iter().map(|(_, name)| *name);
    for name in known {
        assert!(DOCUMENT.contains(&format!("| `{name}` |")), "{name} has no row");
    }
}

#[test]
fn every_dubbo_status_has_the_http_status_of_the_document() {
    let rows = rows("| Dubbo status | HTTP status |");
    for row in &rows {
        let number = row[0].parse().expect("a status");
        assert_eq!(http_status(Status(number)).0.to_string(), row[1], "{number}");
    }
    let named = (0..=255u8).filter(|number| *number != 20 && Status(*number).name().is_some());
    assert_eq!(named.count(), rows.len());
}

#[test]
fn every_exception_has_the_http_status_of_the_document() {
    for row in rows("| exception | HTTP status |") {
        let (class, code) = (
            quoted(row[0])[0],
            row[0].rsplit(' ').next().and_then(|code| code.parse().ok()),
        );
        let mut heap = Heap::new();
        let mut fields = vec![("detailMessage", Value::from("no"))];
        fields.extend(code.map(|code| ("code", Value::Int(code))));
        let thrown = heap.object(class, fields);
        let problem = Problem::of_exception(&thrown, &heap, &ExceptionStatuses::default());
        assert_eq!(problem.status.to_string(), row[1], "{}", row[0]);
    }
}

#[test]
fn what_a_type_does_not_hold_is_refused_with_place_and_mend() {
    for (of, text, told) in [
        (
            "int",
            "2147483648",
            "$: a number (2147483648) is no int; write an integer from -2147483648 to 2147483647",
        ),
        ("int", "null", "$: null is no int; write a value: this type has no null"),
        ("int", "1.5", "$: a number (1.5) is no int; write an integer"),
        ("long", "9223372036854775808", "is no long"),
        (
            "java.lang.String",
            "7",
            "$: a number (7) is no java.lang.String; write text in quotes",
        ),
        ("boolean", "\"true\"", "write true or false"),
        ("double", "1e999", "a number within its range"),
        ("char", "\"ab\"", "a text of one UTF-16 unit"),
        ("java.math.BigDecimal", "1e99999", "an exponent of at most 9999"),
        ("java.util.Date", "\"2024-02-30\"", "write a moment"),
        ("java.util.Date", "\"2024-05-06T07:08:09.0001Z\"", "write a moment"),
        ("java.time.LocalDate", "\"6.5.2024\"", "a day as \"2024-05-06\""),
        ("byte[]", "\"*\"", "the bytes in base64"),
        ("byte[]", "[1]", "the bytes in base64"),
        (
            "java.util.List<java.lang.Long>",
            "[1,true]",
            "$[1]: a boolean (true) is no java.lang.Long",
        ),
        ("java.util.List<java.lang.Long>", "{}", "write an array"),
        (
            "java.util.Map<java.lang.Integer,java.lang.Long>",
            "{\"x y\":1}",
            "$[\"x y\"]: a string (\"x y\") is no java.lang.Integer",
        ),
        (
            "com.x.Color",
            "\"BLUE\"",
            "$: a string (\"BLUE\") is no com.x.Color; write one of RED, GREEN",
        ),
        (
            "com.x.Order",
            "{\"next\":{\"price\":1}}",
            "$.next.price: com.x.Order has no such member; its members are id, name, next",
        ),
        ("com.x.Order", "[]", "write an object"),
        (
            "com.x.Order",
            "{\"class\":\"java.lang.ProcessBuilder\"}",
            "the member `class` names no class of this service",
        ),
        (
            "java.lang.Object",
            "{\"class\":\"java.lang.ProcessBuilder\"}",
            "the member `class` names no class of this service",
        ),
        ("void", "1", "write null"),
    ] {
        let error = value_of(of, text).expect_err(text);
        assert!(error.contains(told), "{error} is not {told}");
    }
}

#[test]
fn a_uuid_is_written_as_the_provider_reads_it_and_both_forms_are_read() {
    let classes = classes();
    let options = crate::mapping::Options {
        uuid_as_halves: true,
        ..Default::default()
    };
    let of = Type::parse("java.util.UUID").expect("a type");
    let text = json("\"123e4567-e89b-12d3-a456-426614174000\"");
    let mut fit = crate::mapping::fit::Fit::new(&classes, options, false);
    let (value, _) = fit.argument(&of, &text, "$").expect("a UUID");
    assert_eq!(
        shown(&value, &fit.heap),
        "UUID{mostSigBits: long 1314564453825188563, leastSigBits: long -6605018797301088256}"
    );
    let back = json_of(&value, &fit.heap, &of, &classes, false, ResultOptions::default());
    assert_eq!(back, Ok(text));
}
