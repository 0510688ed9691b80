//! The mapping as a whole: the tables of docs/dubbo-json.md, calls and their overloads, results, and what any input may do.

mod any;
mod calls;
mod definitions;
mod document;
mod problems;
mod receive;
mod results;
mod table;

use super::{Classes, Json, JsonLimits, Options, Service, Type, fit::Fit};
use crate::hessian2::{Heap, Node, Value};

/// The classes that the document's tables and these tests speak of.
fn classes() -> Classes {
    let mut classes = Classes::default();
    classes
        .declare(
            "com.x.Order",
            &[("id", "long"), ("name", "java.lang.String"), ("next", "com.x.Order")],
        )
        .expect("a class");
    classes.declare_enum("com.x.Color", &["RED", "GREEN"]);
    classes
        .declare("com.x.Page<T>", &[("items", "java.util.List<T>"), ("first", "T")])
        .expect("a class");
    classes
}

fn service(methods: &[&str]) -> Service {
    let mut service = Service::new("com.x.Shop");
    service.classes = classes();
    for method in methods {
        service.declare(method).expect(method);
    }
    service
}

fn json(text: &str) -> Json {
    Json::parse(text.as_bytes(), JsonLimits::default()).unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn value_of(of: &str, text: &str) -> Result<(Value, Heap), String> {
    let classes = classes();
    let mut fit = Fit::new(&classes, Options::default(), false);
    let of = Type::parse(of).map_err(|error| error.to_string())?;
    let (value, _) = fit.argument(&of, &json(text), "$").map_err(|error| error.to_string())?;
    Ok((value, fit.heap))
}

/// A value as the document writes it.
fn shown(value: &Value, heap: &Heap) -> String {
    let all = |values: &[Value]| {
        values
            .iter()
            .map(|value| shown(value, heap))
            .collect::<Vec<_>>()
            .join(", ")
    };
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(value) => value.to_string(),
        Value::Int(value) => format!("int {value}"),
        Value::Long(value) => format!("long {value}"),
        Value::Double(value) => format!("double {value:?}"),
        Value::Date(value) => format!("date {value}"),
        Value::Binary(bytes) => format!(
            "binary {}",
            bytes.iter().map(|b| format!("{b:02x}")).collect::<String>()
        ),
        Value::String(text) => Json::String(text.clone()).to_string(),
        Value::Node(id) => match heap.get(*id).expect("it is there") {
            Node::List(list) => {
                let of = list.of.as_ref().map(|of| of.to_text().into_owned()).unwrap_or_default();
                format!("{of}({})", all(&list.items))
            }
            Node::Map(map) => {
                let of = map.of.as_ref().map(|of| of.to_text().into_owned()).unwrap_or_default();
                let entry = |(key, value): &(Value, Value)| format!("{}: {}", shown(key, heap), shown(value, heap));
                format!(
                    "{of}{{{}}}",
                    map.entries.iter().map(entry).collect::<Vec<_>>().join(", ")
                )
            }
            Node::Object(object) => {
                let class = heap.class(object.class).expect("it has one");
                let fields = class.fields.iter().zip(&object.fields);
                let fields: Vec<String> = fields
                    .map(|(name, value)| format!("{}: {}", name.to_text(), shown(value, heap)))
                    .collect();
                let name = class.name.to_text();
                format!("{}{{{}}}", name.rsplit('.').next().unwrap_or(&name), fields.join(", "))
            }
        },
    }
}
