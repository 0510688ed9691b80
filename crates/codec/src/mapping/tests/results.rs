//! Results: what has no plain form in JSON, and what has none at all.

use super::{classes, json};
use crate::{
    hessian2::{Heap, List, Map, Node, Value},
    mapping::{Json, ResultError, ResultOptions, Type, json_of},
};

fn written(value: &Value, heap: &Heap, of: &str, options: ResultOptions) -> Result<Json, ResultError> {
    json_of(value, heap, &Type::parse(of).expect(of), &classes(), false, options)
}

fn plain(value: &Value, heap: &Heap, of: &str) -> String {
    written(value, heap, of, ResultOptions::default()).map_or_else(|error| error.to_string(), |json| json.to_string())
}

#[test]
fn options_change_what_they_say() {
    let mut heap = Heap::new();
    let price = heap.object("java.math.BigDecimal", vec![("value", "1.50".into())]);
    let order = heap.object(
        "com.x.Order",
        vec![
            ("id", Value::Long(9_007_199_254_740_993)),
            ("at", Value::Date(1000)),
            ("price", price),
        ],
    );
    assert_eq!(
        plain(&order, &heap, "com.x.Order"),
        r#"{"id":9007199254740993,"at":"1970-01-01T00:00:01Z","price":1.50}"#
    );
    let options = ResultOptions {
        class_names: true,
        millis: true,
        big_numbers_as_text: true,
        ..ResultOptions::default()
    };
    assert_eq!(
        written(&order, &heap, "com.x.Order", options).map(|json| json.to_string()),
        Ok(r#"{"class":"com.x.Order","id":"9007199254740993","at":1000,"price":"1.50"}"#.to_owned())
    );
    // What fits a double is a number in any case.
    let small = written(&Value::Long(1 << 53), &heap, "long", options);
    assert_eq!(small, Ok(json("9007199254740992")));
}

#[test]
fn floats_have_the_digits_of_floats() {
    let heap = Heap::new();
    let value = Value::Double(f64::from(0.1f32));
    assert_eq!(plain(&value, &heap, "float"), "0.1");
    assert_eq!(plain(&value, &heap, "double"), "0.10000000149011612");
    assert_eq!(plain(&Value::Double(f64::INFINITY), &heap, "float"), "\"Infinity\"");
}

#[test]
fn a_thing_in_itself_is_refused_or_cut_and_one_that_is_there_twice_is_written_twice() {
    let mut heap = Heap::new();
    let order = heap.object("com.x.Order", vec![("id", Value::Int(1)), ("next", Value::Null)]);
    let Value::Node(id) = order else { panic!("an object") };
    if let Some(Node::Object(object)) = heap.get_mut(id) {
        object.fields[1] = order.clone();
    }
    let twice = heap.list(vec![Value::Int(1)]);
    let both = heap.list(vec![twice.clone(), twice]);
    assert_eq!(plain(&both, &heap, "java.util.List"), "[[1],[1]]");

    let error = written(&order, &heap, "com.x.Order", ResultOptions::default());
    assert_eq!(
        error,
        Err(ResultError::Cycle {
            at: "$.next".to_owned()
        })
    );
    let options = ResultOptions {
        cut_cycles: true,
        ..ResultOptions::default()
    };
    let cut = written(&order, &heap, "com.x.Order", options);
    assert_eq!(cut, Ok(json(r#"{"id":1,"next":null}"#)));
}

#[test]
fn what_would_fill_the_memory_is_refused() {
    let mut heap = Heap::new();
    let mut value = heap.list(vec![]);
    for _ in 0..60 {
        value = heap.list(vec![value.clone(), value]);
    }
    assert!(plain(&value, &heap, "java.lang.Object").contains("more than 8388608 bytes"));
    for _ in 0..10 {
        value = heap.list(vec![value]);
    }
    assert!(plain(&value, &heap, "java.lang.Object").contains("more than 64 things inside each other"));
}

#[test]
fn maps_whose_keys_have_no_text_of_their_own_are_arrays_of_entries() {
    let mut heap = Heap::new();
    let color = heap.object("com.x.Color", vec![("name", "RED".into())]);
    let plain_keys = heap.map(vec![
        (Value::Int(1), Value::Null),
        (Value::Bool(true), Value::Null),
        (color, Value::Null),
    ]);
    assert_eq!(
        plain(&plain_keys, &heap, "java.util.Map"),
        r#"{"1":null,"true":null,"RED":null}"#
    );
    let same_text = heap.map(vec![(Value::Int(1), Value::Int(2)), ("1".into(), Value::Int(3))]);
    assert_eq!(
        plain(&same_text, &heap, "java.util.Map"),
        r#"[{"key":1,"value":2},{"key":"1","value":3}]"#
    );
    let null_key = heap.map(vec![(Value::Null, Value::Int(2))]);
    assert_eq!(plain(&null_key, &heap, "java.util.Map"), r#"[{"key":null,"value":2}]"#);
}

#[test]
fn enums_of_unknown_classes_are_told_by_their_looks() {
    let mut heap = Heap::new();
    let constant = heap.object("com.y.Kind", vec![("name", "LARGE_2".into())]);
    let person = heap.object("com.y.Person", vec![("name", "Ann".into())]);
    assert_eq!(plain(&constant, &heap, "java.lang.Object"), "\"LARGE_2\"");
    assert_eq!(plain(&person, &heap, "java.lang.Object"), r#"{"name":"Ann"}"#);
}

#[test]
fn a_throwable_in_a_result_says_its_message_and_not_its_stack() {
    let mut heap = Heap::new();
    let stack = heap.typed_list("[java.lang.StackTraceElement", vec!["secret".into()]);
    let thrown = heap.object(
        "com.x.Failed",
        vec![
            ("detailMessage", "no".into()),
            ("stackTrace", stack),
            ("code", Value::Int(3)),
        ],
    );
    assert_eq!(
        plain(&thrown, &heap, "java.lang.Object"),
        r#"{"detailMessage":"no","code":3}"#
    );
}

#[test]
fn what_a_generic_call_returns_loses_its_class_members() {
    let mut heap = Heap::new();
    let inner = heap.map(vec![
        ("class".into(), "com.x.Order".into()),
        ("id".into(), Value::Long(2)),
    ]);
    let outer = heap.map(vec![("class".into(), "com.x.Order".into()), ("next".into(), inner)]);
    let returned = |of: &str, generic: bool, options: ResultOptions| {
        let of = Type::parse(of).expect(of);
        json_of(&outer, &heap, &of, &classes(), generic, options).map(|json| json.to_string())
    };
    let without = Ok(r#"{"next":{"id":2}}"#.to_owned());
    assert_eq!(returned("com.x.Order", true, ResultOptions::default()), without);
    assert_eq!(returned("java.lang.Object", true, ResultOptions::default()), without);
    let with = ResultOptions {
        class_names: true,
        ..ResultOptions::default()
    };
    let named = r#"{"class":"com.x.Order","next":{"class":"com.x.Order","id":2}}"#;
    assert_eq!(returned("com.x.Order", true, with), Ok(named.to_owned()));
    // In a plain call it is a key like others.
    assert_eq!(
        returned("java.util.Map", false, ResultOptions::default()),
        Ok(named.to_owned())
    );
}

#[test]
fn other_lists_and_maps_than_were_declared_are_written_all_the_same() {
    let mut heap = Heap::new();
    let open = Value::Node(heap.add(Node::List(List {
        of: Some("com.x.OwnList".into()),
        open: true,
        items: vec![Value::Int(1)],
    })));
    let typed = Value::Node(heap.add(Node::Map(Map {
        of: Some("com.x.Order".into()),
        entries: vec![("id".into(), Value::Int(1))],
    })));
    assert_eq!(plain(&open, &heap, "int"), "[1]");
    assert_eq!(plain(&typed, &heap, "com.x.Order"), r#"{"id":1}"#);
    let broken = heap.object("java.time.LocalDate", vec![("year", Value::Null)]);
    assert_eq!(plain(&broken, &heap, "java.time.LocalDate"), r#"{"year":null}"#);
}
