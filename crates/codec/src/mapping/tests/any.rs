//! What holds for any input: what goes to Hessian and back is the same, and nothing panics.

use proptest::prelude::*;

use super::{classes, json};
use crate::{
    dubbo2::{GENERIC_TYPES, NewRequest, Request, Serialization, descriptor},
    hessian2::{Decoder, Encoder, Heap, Limits, List, Map, Node, Object, Value, decode},
    mapping::{
        ExceptionStatuses, Input, Json, JsonLimits, Options, Problem, ResultOptions, Service, Type,
        fit::Fit,
        json_of,
        openapi::{Exposed, document},
        time,
    },
};

fn text() -> impl Strategy<Value = String> {
    "[ -~äß😀\\n]{0,12}"
}

fn digits() -> impl Strategy<Value = String> {
    "(0|-?[1-9][0-9]{0,40})"
}

fn of<T: std::fmt::Display>(name: &'static str) -> impl Fn(T) -> (String, Json) {
    move |value| (name.to_owned(), json(&value.to_string()))
}

fn quoted(name: &'static str, text: String) -> (String, Json) {
    (name.to_owned(), Json::from(text))
}

/// A type of the table and a value of it, in the form that comes back.
fn leaf() -> impl Strategy<Value = (String, Json)> {
    let nano = || {
        prop_oneof![
            Just(0i64),
            (0..1000i64).prop_map(|ms| ms * 1_000_000),
            0..1_000_000_000i64
        ]
    };
    let date = || (-3_000_000..4_000_000i64).prop_map(|days| time::Date::of_days(days).to_string());
    let clock = move || (0..86_400i64, nano()).prop_map(|(s, nano)| time::Time::of_seconds(s, nano).to_string());
    let offset = || (-18 * 3600..=18 * 3600i64).prop_map(time::offset_text);
    prop_oneof![
        any::<bool>().prop_map(of("boolean")),
        any::<i8>().prop_map(of("java.lang.Byte")),
        any::<i16>().prop_map(of("short")),
        any::<i32>().prop_map(of("int")),
        any::<i64>().prop_map(of("java.lang.Long")),
        any::<f32>()
            .prop_filter("finite", |f| f.is_finite())
            .prop_map(|f| ("float".to_owned(), json(&format!("{f:?}")))),
        any::<f64>()
            .prop_filter("finite", |f| f.is_finite())
            .prop_map(|f| ("double".to_owned(), json(&format!("{f:?}")))),
        any::<char>()
            .prop_filter("one unit", |c| c.len_utf16() == 1)
            .prop_map(|c| quoted("char", c.to_string())),
        text().prop_map(|text| quoted("java.lang.String", text)),
        proptest::collection::vec(any::<u16>(), 0..8).prop_map(|units| {
            let text = crate::hessian2::JavaString::from_units(units);
            ("java.lang.String".to_owned(), Json::String(text))
        }),
        "-?(0|[1-9][0-9]{0,20})(\\.[0-9]{1,20})?(E[+-][0-9]{1,3})?".prop_map(of("java.math.BigDecimal")),
        digits().prop_map(of("java.math.BigInteger")),
        any::<i64>()
            .prop_map(|ms| quoted("java.util.Date", time::millis_text(ms)))
            .prop_filter("years that are read", |(_, json)| json
                .as_str()
                .is_some_and(|text| time::moment(text).is_some())),
        (any::<i32>(), nano())
            .prop_map(|(s, nano)| quoted("java.time.Instant", time::instant_text(i64::from(s), nano))),
        date().prop_map(|text| quoted("java.time.LocalDate", text)),
        clock().prop_map(|text| quoted("java.time.LocalTime", text)),
        (date(), clock()).prop_map(|(date, time)| quoted("java.time.LocalDateTime", format!("{date}T{time}"))),
        (date(), clock(), offset())
            .prop_map(|(date, time, offset)| quoted("java.time.OffsetDateTime", format!("{date}T{time}{offset}"))),
        (clock(), offset()).prop_map(|(time, offset)| quoted("java.time.OffsetTime", format!("{time}{offset}"))),
        (date(), clock(), offset(), "[A-Z][a-z]{2,8}/[A-Z][a-z_]{2,8}").prop_map(|(date, time, offset, zone)| {
            quoted("java.time.ZonedDateTime", format!("{date}T{time}{offset}[{zone}]"))
        }),
        (-1_000_000_000_000..1_000_000_000_000i64, nano())
            .prop_map(|(s, nano)| quoted("java.time.Duration", time::duration_text(s, nano))),
        (any::<i32>(), any::<i32>(), any::<i32>()).prop_map(|(y, m, d)| {
            quoted(
                "java.time.Period",
                time::period_text(i64::from(y), i64::from(m), i64::from(d)),
            )
        }),
        (-999_999_999..=999_999_999i64).prop_map(of("java.time.Year")),
        (-99_999..99_999i64, 1..=12i64)
            .prop_map(|(year, month)| quoted("java.time.YearMonth", time::year_month_text(year, month))),
        offset().prop_map(|text| quoted("java.time.ZoneOffset", text)),
        any::<u128>().prop_map(|bits| {
            let hex = format!("{bits:032x}");
            let text = format!(
                "{}-{}-{}-{}-{}",
                &hex[..8],
                &hex[8..12],
                &hex[12..16],
                &hex[16..20],
                &hex[20..]
            );
            quoted("java.util.UUID", text)
        }),
        proptest::collection::vec(any::<u8>(), 0..20).prop_map(|bytes| {
            use base64::Engine as _;
            quoted("byte[]", base64::engine::general_purpose::STANDARD.encode(bytes))
        }),
        text().prop_map(|text| quoted("char[]", text)),
        prop_oneof![Just("RED"), Just("GREEN")].prop_map(|name| quoted("com.x.Color", name.to_owned())),
        any::<i32>().prop_map(of("java.lang.Object")),
        digits().prop_map(of("java.lang.Object")),
        text().prop_map(|text| quoted("java.lang.Object", text)),
    ]
}

/// Values of one type, taken from two of them where the types are the same.
fn nested() -> impl Strategy<Value = (String, Json)> {
    leaf().prop_recursive(4, 24, 4, |inner| {
        let boxed = inner.clone().prop_map(|(of, json)| {
            let of = match of.as_str() {
                "boolean" => "java.lang.Boolean",
                "short" => "java.lang.Short",
                "int" => "java.lang.Integer",
                "float" => "java.lang.Float",
                "double" => "java.lang.Double",
                "char" => "java.lang.Character",
                other => other,
            };
            (of.to_owned(), json)
        });
        prop_oneof![
            (inner.clone(), 0..3usize).prop_map(|((of, json), n)| {
                let not_bytes = !["byte", "char"].contains(&of.as_str());
                if not_bytes {
                    (format!("{of}[]"), Json::Array(vec![json; n]))
                } else {
                    (of, json)
                }
            }),
            (boxed.clone(), 0..3usize)
                .prop_map(|((of, json), n)| (format!("java.util.List<{of}>"), Json::Array(vec![json; n]))),
            (boxed.clone(), any::<bool>()).prop_map(|((of, json), null)| {
                let item = if null { Json::Null } else { json };
                (format!("java.util.Set<{of}>"), Json::Array(vec![item]))
            }),
            (boxed.clone(), text()).prop_map(|((of, json), key)| {
                (
                    format!("java.util.Map<java.lang.String,{of}>"),
                    Json::object([(key.as_str(), json)]),
                )
            }),
            (boxed.clone(), any::<i64>()).prop_map(|((of, json), key)| {
                (
                    format!("java.util.TreeMap<java.lang.Long,{of}>"),
                    Json::object([(key.to_string().as_str(), json)]),
                )
            }),
            boxed
                .clone()
                .prop_filter("an empty Optional in an Optional is an empty one", |(_, json)| *json
                    != Json::Null)
                .prop_map(|(of, json)| (format!("java.util.Optional<{of}>"), json)),
            boxed.prop_map(|(of, json)| {
                let page = vec![("items", Json::Array(vec![json.clone()])), ("first", json)];
                (format!("com.x.Page<{of}>"), Json::object(page))
            }),
            (inner, any::<i64>(), text()).prop_map(|(_, id, name)| {
                let order = vec![
                    ("id", json(&id.to_string())),
                    ("name", Json::from(name)),
                    ("next", Json::Null),
                ];
                ("com.x.Order".to_owned(), Json::object(order))
            }),
        ]
    })
}

fn any_json() -> impl Strategy<Value = Json> {
    let leaf = prop_oneof![
        Just(Json::Null),
        any::<bool>().prop_map(Json::Bool),
        "-?(0|[1-9][0-9]{0,25})(\\.[0-9]{1,5})?(e-?[0-9]{1,6})?".prop_map(|text| Json::Number(text.into())),
        text().prop_map(Json::from),
        "(java\\.util\\.|com\\.x\\.)?(List|Map|Order|Color|Page|long|int)(<com.x.Order>|\\[\\])?".prop_map(Json::from),
    ];
    leaf.prop_recursive(5, 40, 5, |inner| {
        let name = prop_oneof![
            text(),
            "(canonicalName|methods|types|name|parameterTypes|returnType|type|properties|items|enum|enums|\\$ref|class|id|next|key|value)"
        ];
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..5).prop_map(Json::Array),
            proptest::collection::hash_map(name, inner, 0..5).prop_map(|members| {
                Json::Object(members.into_iter().map(|(name, value)| (name.into(), value)).collect())
            }),
        ]
    })
}

/// Any heap of a few nodes that point to each other as they like.
fn any_heap() -> impl Strategy<Value = (Value, Heap)> {
    let class = prop_oneof![
        Just("com.x.Order"),
        Just("com.x.Color"),
        Just("java.math.BigInteger"),
        Just("java.math.BigDecimal"),
        Just("java.util.UUID"),
        Just("java.util.Optional"),
        Just("java.sql.Timestamp"),
        Just("org.apache.dubbo.rpc.RpcException"),
        Just("com.alibaba.com.caucho.hessian.io.java8.ZonedDateTimeHandle"),
        Just("com.alibaba.com.caucho.hessian.io.java8.DurationHandle"),
        Just("com.alibaba.com.caucho.hessian.io.java8.LocalDateHandle"),
    ];
    let field = "(value|name|id|next|signum|mag|year|month|day|seconds|nanos|dateTime|offset|zoneId|detailMessage|stackTrace|code)";
    let value = (0..9u8, any::<i64>(), text(), 0..8usize);
    let node = (0..3u8, class, proptest::collection::vec((field, value), 0..5));
    proptest::collection::vec(node, 1..8).prop_map(|nodes| {
        let mut heap = Heap::new();
        let ids: Vec<_> = nodes.iter().map(|_| heap.add(Node::List(List::default()))).collect();
        for (id, (kind, class, members)) in ids.iter().zip(&nodes) {
            let value = |(kind, number, text, node): &(u8, i64, String, usize)| match kind {
                0 => Value::Null,
                1 => Value::Bool(*number > 0),
                2 => Value::Int(*number as i32),
                3 => Value::Long(*number),
                4 => Value::Double(f64::from_bits(*number as u64)),
                5 => Value::Date(*number),
                6 => Value::Binary(text.as_bytes().into()),
                7 => Value::from(text.as_str()),
                _ => Value::Node(ids[node % ids.len()]),
            };
            let values: Vec<Value> = members.iter().map(|(_, it)| value(it)).collect();
            let made = match kind {
                0 => Node::List(List {
                    of: None,
                    open: false,
                    items: values,
                }),
                1 => Node::Map(Map {
                    of: None,
                    entries: values.iter().cloned().zip(values.iter().rev().cloned()).collect(),
                }),
                _ => {
                    let class = heap.define(crate::hessian2::Class {
                        name: (*class).into(),
                        fields: members.iter().map(|(name, _)| name.as_str().into()).collect(),
                    });
                    Node::Object(Object { class, fields: values })
                }
            };
            *heap.get_mut(*id).expect("it is there") = made;
        }
        (Value::Node(ids[0]), heap)
    })
}

fn returned(value: &Value, heap: &Heap, of: &Type) -> Json {
    let mut encoder = Encoder::new(heap);
    encoder.value(value).expect("it can be written");
    let (value, heap) = decode(&encoder.finish(), Limits::default()).expect("it can be read");
    json_of(&value, &heap, of, &classes(), false, ResultOptions::default()).expect("it is JSON")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn json_to_hessian_to_json_is_the_same_json((of, sent) in nested()) {
        let classes = classes();
        let of = Type::parse(&of).expect("a type");
        let mut fit = Fit::new(&classes, Options::default(), false);
        let (value, _) = fit.argument(&of, &sent, "$").map_err(|misfit| TestCaseError::fail(misfit.to_string()))?;
        let back = returned(&value, &fit.heap, &of);
        prop_assert_eq!(&back, &sent, "{}", of);
        // And as text.
        let text = back.to_string();
        prop_assert_eq!(Json::parse(text.as_bytes(), JsonLimits::default()).expect("it is JSON"), sent);
    }

    #[test]
    fn any_definition_is_read_or_refused_and_any_body_fits_or_not(definition in any_json(), methods in any_json(), body in any_json()) {
        let whole = Json::object([("canonicalName", "a.B".into()), ("types", definition.clone()), ("methods", methods)]);
        for text in [definition.to_string(), whole.to_string()] {
            let Ok(service) = Service::parse(text.as_bytes()) else { continue };
            let exposed: Vec<Exposed<'_>> = service
                .methods
                .iter()
                .map(|method| Exposed { service: &service, method, verb: "POST", path: "/", places: &[] })
                .collect();
            document("any", "1", &exposed);
            for method in &service.methods {
                for generic in [false, true] {
                    let input = Input { body: Some(&body), texts: &[] };
                    let called = if generic { Service::call_generic } else { Service::call };
                    if let Ok(call) = called(&service, &method.signature(), input, Options::default()) {
                        for argument in &call.arguments {
                            Encoder::new(&call.heap).value(argument).expect("it can be written");
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn any_json_is_an_argument_of_any_type_or_none((of, _) in nested(), body in any_json()) {
        let classes = classes();
        let of = Type::parse(&of).expect("a type");
        for generic in [false, true] {
            let mut fit = Fit::new(&classes, Options::default(), generic);
            if let Ok((value, _)) = fit.argument(&of, &body, "$") {
                returned(&value, &fit.heap, &of);
            }
        }
    }

    #[test]
    fn any_values_are_json_or_refused((value, heap) in any_heap(), (of, _) in nested(), cut_cycles: bool) {
        let of = Type::parse(&of).expect("a type");
        let options = ResultOptions { cut_cycles, class_names: true, size: 1 << 16, ..ResultOptions::default() };
        for generic in [false, true] {
            if let Ok(json) = json_of(&value, &heap, &of, &classes(), generic, options) {
                let read = Json::parse(json.to_string().as_bytes(), JsonLimits { depth: 200, ..JsonLimits::default() });
                prop_assert_eq!(read.expect("it is JSON"), json);
            }
        }
        Problem::of_exception(&value, &heap, &ExceptionStatuses::default()).to_json();
    }

    #[test]
    fn any_values_are_arguments_of_a_consumer_or_refused((value, heap) in any_heap(), (of, _) in nested()) {
        let mut service = Service::new("com.x.Shop");
        service.classes = classes();
        service.declare(&format!("{of} same({of} it)")).expect("a method");
        let types = descriptor::write(&[service.methods[0].parameters[0].of.java_type()]);
        let calls = [
            ("same", types.as_str(), vec![value.clone()]),
            ("same", "Ljava/lang/String;", vec![value.clone()]),
            ("$invoke", GENERIC_TYPES, vec!["same".into(), Value::Null, value.clone()]),
            ("$invoke", GENERIC_TYPES, vec!["same".into(), value.clone(), value]),
        ];
        for (method, types, arguments) in calls {
            let request = NewRequest { path: "com.x.Shop", version: None, method, types, attachments: &[] };
            // What points to nothing cannot be sent at all.
            let Ok(body) = request.encode(&arguments, &heap) else { continue };
            let Ok(request) = Request::read(Serialization::HESSIAN2, body, Limits::default()) else { continue };
            let options = ResultOptions { size: 1 << 16, ..ResultOptions::default() };
            for service in [&service, &Service::default()] {
                let Ok(received) = service.receive(&request, options) else { continue };
                for argument in &received.arguments {
                    let _ = argument.texts();
                    let _ = received.answer(&service.classes, Some(&argument.value), Options::default());
                }
            }
        }
    }

    #[test]
    fn any_bytes_are_json_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
        let mut decoder = Decoder::new(&bytes, Limits::default());
        if let Ok(value) = decoder.value() {
            let heap = decoder.into_heap();
            let _ = json_of(&value, &heap, &Type::Object, &classes(), true, ResultOptions::default());
        }
        if let Ok(json) = Json::parse(&bytes, JsonLimits::default()) {
            prop_assert_eq!(Json::parse(json.to_string().as_bytes(), JsonLimits::default()).expect("it is JSON"), json);
        }
    }
}
