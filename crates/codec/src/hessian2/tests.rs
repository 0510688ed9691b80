//! What holds for Hessian2 whatever the bytes and whatever the values.

use proptest::{collection::vec, prelude::*};

use super::{encode, *};

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    let digit = |b: u8| (b as char).to_digit(16).expect("a digit") as u8;
    digits
        .chunks(2)
        .map(|pair| digit(pair[0]) << 4 | digit(pair[1]))
        .collect()
}

/// All values that the bytes begin with, until the first fault, by both readers, which must agree.
fn read(bytes: &[u8], limits: Limits) -> (Vec<Value>, Heap, Option<Error>) {
    let (mut skipper, mut decoder) = (Skipper::new(bytes, limits), Decoder::new(bytes, limits));
    let mut values = Vec::new();
    while !decoder.is_at_end() {
        let (skipped, decoded) = (skipper.skip(), decoder.value());
        match (skipped, decoded) {
            (Ok(range), Ok(value)) => {
                assert_eq!(range.end, decoder.position());
                values.push(value);
            }
            (skipped, Err(error)) => {
                assert_eq!(skipped.err(), Some(error));
                return (values, Heap::new(), Some(error));
            }
            (Err(error), Ok(value)) => panic!("the skipper stops at {error}, the decoder reads {value:?}"),
        }
    }
    (values, decoder.into_heap(), None)
}

fn write(values: &[Value], heap: &Heap) -> Vec<u8> {
    let mut encoder = Encoder::new(heap);
    for value in values {
        encoder.value(value).expect("what was decoded can be encoded");
    }
    encoder.finish()
}

fn one(bytes: &str) -> Value {
    decode(&hex(bytes), Limits::default()).expect("good bytes").0
}

#[test]
fn every_compact_form_reads_as_what_it_stands_for() {
    for (bytes, value) in [
        ("4e", Value::Null),
        ("54", Value::Bool(true)),
        ("46", Value::Bool(false)),
        ("80", Value::Int(-16)),
        ("bf", Value::Int(47)),
        ("c0 00", Value::Int(-2048)),
        ("cf ff", Value::Int(2047)),
        ("d0 00 00", Value::Int(-262_144)),
        ("d7 ff ff", Value::Int(262_143)),
        ("49 80 00 00 00", Value::Int(i32::MIN)),
        ("d8", Value::Long(-8)),
        ("ef", Value::Long(15)),
        ("f0 00", Value::Long(-2048)),
        ("38 00 00", Value::Long(-262_144)),
        ("3f ff ff", Value::Long(262_143)),
        ("59 80 00 00 00", Value::Long(i64::from(i32::MIN))),
        ("4c 80 00 00 00 00 00 00 00", Value::Long(i64::MIN)),
        ("5b", Value::Double(0.0)),
        ("5c", Value::Double(1.0)),
        ("5d 80", Value::Double(-128.0)),
        ("5e 7f ff", Value::Double(32767.0)),
        ("5f 00 00 09 c4", Value::Double(2.5)),
        ("44 7f f0 00 00 00 00 00 00", Value::Double(f64::INFINITY)),
        ("44 80 00 00 00 00 00 00 00", Value::Double(-0.0)),
        ("4a 00 00 00 00 00 00 00 01", Value::Date(1)),
        ("4b ff ff ff ff", Value::Date(-60_000)),
        ("23 01 02 03", Value::Binary(Box::new([1, 2, 3]))),
        ("03 41 ed a0 bd ed b8 80", Value::from("A😀")),
    ] {
        assert_eq!(one(bytes), value);
        assert_eq!(write(&[value], &Heap::new()), hex(bytes));
    }
    assert_eq!(one("52 00 01 61 01 62"), Value::from("ab"));
    assert_eq!(
        one("01 c1 01"),
        Value::from("A"),
        "masked and not checked, as Java does it"
    );
    assert_eq!(one("41 00 01 07 42 00 01 08"), Value::Binary(Box::new([7, 8])));
    assert_eq!(one("02 f0 9f 98 80"), Value::from("😀"));
}

#[test]
fn a_pair_of_surrogates_parted_by_a_chunk_is_joined() {
    assert_eq!(one("52 00 01 ed a0 bd 01 ed b8 80"), Value::from("😀"));
}

#[test]
fn an_object_may_hold_itself_and_come_again() {
    let bytes = hex(
        "43 01 41 92 02 6964 04 73656c66 60 e7 51 90  58 92 60 f8 80 4e 51 90  72 07 5b737472696e67 01 61 01 62  71 90 01 63",
    );
    let (values, heap, error) = read(&bytes, Limits::default());
    assert_eq!(error, None);
    let Some(Value::Node(id)) = values.first() else {
        panic!("{values:?}")
    };
    let Some(Node::Object(object)) = heap.get(*id) else {
        panic!("{heap:?}")
    };
    assert_eq!(heap.field(object, "self"), Some(&Value::Node(*id)));
    let again = write(&values, &heap);
    assert_eq!(
        again,
        hex(
            "43 01 41 92 02 6964 04 73656c66 60 e7 51 90 7a 60 f8 80 4e 51 90 72 07 5b737472696e67 01 61 01 62 71 90 01 63"
        )
    );
}

#[test]
fn what_no_writer_makes_is_refused_with_its_place() {
    for (bytes, at) in [
        ("", 0),
        ("05 61", 2),
        ("60", 0),
        ("51 90", 0),
        ("5a", 0),
        ("40", 0),
        ("52 00 01 61 90", 4),
        ("58 49 ff ff ff ff", 2),
        ("58 bf 4e", 1),
        ("71 90 4e", 1),
        ("4d 4e 5a", 1),
        ("43 01 41 49 7f ff ff ff", 0),
        ("48 01 61 5a", 3),
        ("01 80", 1),
        ("01 f0 9f 98 80", 4),
        ("57 43 01 41 90 5a", 5),
    ] {
        let error = read(&hex(bytes), Limits::default()).2;
        let error = error
            .or_else(|| Skipper::new(&hex(bytes), Limits::default()).skip().err())
            .expect(bytes);
        let place = match error {
            Error::Truncated { at } | Error::Malformed { at, .. } | Error::TooMuch { at, .. } => at,
        };
        assert_eq!(place, at, "{bytes}: {error}");
    }
}

#[test]
fn nesting_is_bounded_by_the_limit_and_by_nothing_else() {
    let bytes = vec![0x79; 5_000_000];
    assert!(matches!(
        Skipper::new(&bytes, Limits::default()).skip(),
        Err(Error::TooMuch { most: 512, .. })
    ));
    let mut bytes = vec![0x79; 300_000];
    bytes.push(b'N');
    let limits = Limits {
        depth: 300_000,
        ..Limits::default()
    };
    let (values, heap, error) = read(&bytes, limits);
    assert_eq!((error, heap.len()), (None, 300_000));
    assert_eq!(write(&values, &heap), bytes);
}

#[test]
fn a_small_body_cannot_take_much_memory() {
    let limits = Limits {
        memory: 1 << 20,
        ..Limits::default()
    };
    let mut bytes = hex("58 49 00 0f ff ff");
    bytes.extend(vec![0x78; 0xf_ffff]);
    assert!(matches!(
        Decoder::new(&bytes, limits).value(),
        Err(Error::TooMuch {
            what: "bytes of memory",
            ..
        })
    ));
    let definitions = hex("43 01 41 90").repeat(65_536);
    assert!(matches!(
        Skipper::new(&definitions, limits).skip(),
        Err(Error::TooMuch { most: 4096, .. })
    ));
}

#[test]
fn long_strings_and_binaries_are_cut_and_joined() {
    let text: String = "aé漢😀".chars().cycle().take(100_001).collect();
    let mut heap = Heap::new();
    let list = heap.list(vec![
        Value::from(text.as_str()),
        Value::Binary(vec![7; 0x1_8001].into()),
    ]);
    let bytes = write(std::slice::from_ref(&list), &heap);
    let (values, again, error) = read(&bytes, Limits::default());
    assert_eq!((values, again, error), (vec![list], heap, None));
}

#[test]
fn a_skipper_looks_at_small_values_in_passing() {
    let bytes = hex("48 01 61 03 787878 5a 93 02 6f6b");
    let mut skipper = Skipper::new(&bytes, Limits::default());
    assert_eq!(skipper.glimpse(), Ok(Glimpse::Other));
    assert_eq!(skipper.glimpse(), Ok(Glimpse::Scalar(Scalar::Int(3))));
    assert_eq!(skipper.glimpse(), Ok(Glimpse::String("ok".into())));
}

/// A value that is not yet in a heap; `Again` is a reference to some earlier container, perhaps one it is in.
#[derive(Debug, Clone)]
enum Plan {
    Plain(Value),
    List(Option<u8>, bool, Vec<Plan>),
    Map(Option<u8>, Vec<(Plan, Plan)>),
    Object(u8, Vec<Plan>),
    Again(usize),
}

fn plans() -> impl Strategy<Value = Plan> {
    let plain = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        any::<i32>().prop_map(Value::Int),
        (-3000..3000).prop_map(Value::Int),
        any::<i64>().prop_map(Value::Long),
        (-300_000i64..300_000).prop_map(Value::Long),
        any::<f64>()
            .prop_filter("NaN is not equal to itself", |d| !d.is_nan())
            .prop_map(Value::Double),
        (-40_000i32..40_000).prop_map(|n| Value::Double(f64::from(n) / 8.0)),
        any::<i64>().prop_map(Value::Date),
        (-1_000_000i64..1_000_000).prop_map(|minutes| Value::Date(minutes * 60_000)),
        vec(any::<u8>(), 0..40).prop_map(|bytes| Value::Binary(bytes.into())),
        "\\PC{0,40}".prop_map(|text| Value::String(text.into())),
        vec(prop_oneof![any::<u16>(), 0xd7f0u16..0xe010], 0..40)
            .prop_map(|units| Value::String(JavaString::from_units(units))),
    ];
    let leaf = prop_oneof![6 => plain.prop_map(Plan::Plain), 1 => any::<usize>().prop_map(Plan::Again)];
    leaf.prop_recursive(5, 60, 10, |inner| {
        prop_oneof![
            (any::<Option<u8>>(), any::<bool>(), vec(inner.clone(), 0..10)).prop_map(|(of, o, i)| Plan::List(of, o, i)),
            (any::<Option<u8>>(), vec((inner.clone(), inner.clone()), 0..6)).prop_map(|(of, e)| Plan::Map(of, e)),
            (any::<u8>(), vec(inner, 0..6)).prop_map(|(class, fields)| Plan::Object(class, fields)),
        ]
    })
}

/// Containers get their numbers in the order of their starts, as a decoder numbers them.
fn grow(plan: &Plan, heap: &mut Heap) -> Value {
    let name = |n: &u8| JavaString::from(format!("t{}", n % 5));
    let place = match plan {
        Plan::Plain(value) => return value.clone(),
        Plan::Again(n) if heap.is_empty() => return Value::Int(*n as i32),
        Plan::Again(n) => return Value::Node(NodeId((n % heap.len()) as u32)),
        _ => heap.add(Node::List(List::default())),
    };
    let node = match plan {
        Plan::List(of, open, items) => {
            let items = items.iter().map(|item| grow(item, heap)).collect();
            Node::List(List {
                of: of.as_ref().map(name),
                open: *open,
                items,
            })
        }
        Plan::Map(of, entries) => {
            let entries = entries
                .iter()
                .map(|(key, value)| (grow(key, heap), grow(value, heap)))
                .collect();
            Node::Map(Map {
                of: of.as_ref().map(name),
                entries,
            })
        }
        Plan::Object(class, fields) => {
            let fields: Vec<Value> = fields.iter().map(|field| grow(field, heap)).collect();
            let names = (0..fields.len()).map(|n| JavaString::from(format!("f{n}"))).collect();
            // Twenty classes and more, so that the long form of class numbers comes up.
            let name = JavaString::from(format!("c{}", class % 40));
            Node::Object(Object {
                class: heap.define(Class { name, fields: names }),
                fields,
            })
        }
        Plan::Plain(_) | Plan::Again(_) => return Value::Null,
    };
    *heap.get_mut(place).expect("it was just added") = node;
    Value::Node(place)
}

/// Bytes that look like Hessian2 more often than noise does.
fn likely() -> impl Strategy<Value = Vec<u8>> {
    let tags = prop::sample::select(
        b"NTFHMOQCUVWXZRSABDILY\x4a\x4b\x60\x61\x71\x72\x78\x79\x7a\x90\x91\x92\x01\x02\x21".to_vec(),
    );
    vec(prop_oneof![8 => tags, 1 => any::<u8>(), 1 => Just(0u8)], 0..200)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn values_come_back_as_they_were(plans in vec(plans(), 1..4)) {
        let mut heap = Heap::new();
        let values: Vec<Value> = plans.iter().map(|plan| grow(plan, &mut heap)).collect();
        let bytes = write(&values, &heap);
        let (again, read_heap, error) = read(&bytes, Limits::default());
        prop_assert_eq!(error, None);
        prop_assert_eq!(&again, &values);
        prop_assert_eq!(&read_heap.nodes.len(), &heap.nodes.len());
        prop_assert_eq!(write(&again, &read_heap), bytes);
    }

    #[test]
    fn any_bytes_are_read_alike_by_both_readers_and_survive_the_way_back(bytes in prop_oneof![likely(), vec(any::<u8>(), 0..200)]) {
        let (values, heap, error) = read(&bytes, Limits { depth: 20, ..Limits::default() });
        if error.is_none() {
            let written = write(&values, &heap);
            let (again, read_heap, error) = read(&written, Limits::default());
            prop_assert_eq!(error, None);
            prop_assert_eq!(again.len(), values.len());
            prop_assert_eq!(write(&again, &read_heap), written);
        }
    }

    #[test]
    fn cut_bytes_are_told_from_good_ones(plan in plans(), at in any::<prop::sample::Index>()) {
        let mut heap = Heap::new();
        let value = grow(&plan, &mut heap);
        let bytes = write(&[value], &heap);
        let cut = &bytes[..at.index(bytes.len())];
        prop_assert!(Skipper::new(cut, Limits::default()).skip().is_err());
    }

    #[test]
    fn a_string_is_written_as_java_writes_it(units in vec(any::<u16>(), 0..100)) {
        let string = JavaString::from_units(units.iter().copied());
        let mut out = Vec::new();
        encode::java_string(&mut out, &string);
        prop_assert!(out.iter().skip(2).all(|b| *b < 0xf0));
        prop_assert_eq!(decode(&out, Limits::default()).map(|(value, _)| value), Ok(Value::String(string)));
    }
}
