//! Values made from JSON, read by Dubbo's own Hessian of both its lines as a provider reads arguments, and written by it as results:
//! Java has what was meant, and the JSON that comes back is the JSON that went.

use std::{
    io::{Read, Write},
    path::Path,
    process::{Command, Stdio},
};

use landfall_codec::{
    dubbo2::descriptor,
    hessian2::{Encoder, Limits, decode},
    mapping::{Input, Json, JsonLimits, Options, ResultOptions, Service, json_of},
};

const ORDER: &str = "dev.landfall.estate.Mapped$Order";

/// The type of a method's parameter and result, JSON, and what Java has then: class and text.
const METHODS: &[(&str, &str, &str, &str)] = &[
    ("boolean", "true", "java.lang.Boolean", "true"),
    ("java.lang.Boolean", "null", "null", "null"),
    ("byte", "-128", "java.lang.Byte", "-128"),
    ("java.lang.Short", "32767", "java.lang.Short", "32767"),
    ("int", "2147483647", "java.lang.Integer", "2147483647"),
    ("long", "9007199254740993", "java.lang.Long", "9007199254740993"),
    ("java.lang.Long", "7", "java.lang.Long", "7"),
    ("float", "0.1", "java.lang.Float", "0.1"),
    ("double", "0.1", "java.lang.Double", "0.1"),
    ("java.lang.Double", "\"-Infinity\"", "java.lang.Double", "-Infinity"),
    ("char", "\"ü\"", "java.lang.Character", "ü"),
    ("java.lang.String", "\"a\\\"😀\"", "java.lang.String", "a\"😀"),
    ("java.math.BigDecimal", "1.50", "java.math.BigDecimal", "1.50"),
    ("java.math.BigDecimal", "1E+3", "java.math.BigDecimal", "1E+3"),
    (
        "java.math.BigInteger",
        "-123456789012345678901234567890",
        "java.math.BigInteger",
        "-123456789012345678901234567890",
    ),
    ("java.math.BigInteger", "0", "java.math.BigInteger", "0"),
    (
        "java.util.Date",
        "\"2024-05-06T07:08:09.123Z\"",
        "java.util.Date",
        "1714979289123",
    ),
    (
        "java.sql.Timestamp",
        "\"2024-05-06T07:08:09Z\"",
        "java.sql.Timestamp",
        "1714979289000",
    ),
    (
        "java.sql.Date",
        "\"2024-05-06T00:00:00Z\"",
        "java.sql.Date",
        "1714953600000",
    ),
    ("java.sql.Time", "\"1970-01-01T07:08:09Z\"", "java.sql.Time", "25689000"),
    (
        "java.util.Calendar",
        "\"2024-05-06T07:08:09Z\"",
        "java.util.GregorianCalendar",
        "1714979289000",
    ),
    (
        "java.time.Instant",
        "\"2024-05-06T07:08:09.123456789Z\"",
        "java.time.Instant",
        "2024-05-06T07:08:09.123456789Z",
    ),
    (
        "java.time.LocalDate",
        "\"2024-05-06\"",
        "java.time.LocalDate",
        "2024-05-06",
    ),
    (
        "java.time.LocalTime",
        "\"07:08:09.500\"",
        "java.time.LocalTime",
        "07:08:09.500",
    ),
    (
        "java.time.LocalDateTime",
        "\"-0044-03-15T07:08:09\"",
        "java.time.LocalDateTime",
        "-0044-03-15T07:08:09",
    ),
    (
        "java.time.OffsetDateTime",
        "\"2024-05-06T07:08:09+08:00\"",
        "java.time.OffsetDateTime",
        "2024-05-06T07:08:09+08:00",
    ),
    (
        "java.time.OffsetTime",
        "\"07:08:09-03:30\"",
        "java.time.OffsetTime",
        "07:08:09-03:30",
    ),
    (
        "java.time.ZonedDateTime",
        "\"2024-05-06T07:08:09+08:00[Asia/Shanghai]\"",
        "java.time.ZonedDateTime",
        "2024-05-06T07:08:09+08:00[Asia/Shanghai]",
    ),
    (
        "java.time.Duration",
        "\"PT-1H-30M-0.5S\"",
        "java.time.Duration",
        "PT-1H-30M-0.5S",
    ),
    ("java.time.Period", "\"P1Y-2M3D\"", "java.time.Period", "P1Y-2M3D"),
    ("java.time.Year", "2024", "java.time.Year", "2024"),
    ("java.time.YearMonth", "\"2024-05\"", "java.time.YearMonth", "2024-05"),
    ("java.time.MonthDay", "\"--02-29\"", "java.time.MonthDay", "--02-29"),
    (
        "java.time.ZoneId",
        "\"Asia/Shanghai\"",
        "java.time.ZoneRegion",
        "Asia/Shanghai",
    ),
    ("java.time.ZoneOffset", "\"+08:00\"", "java.time.ZoneOffset", "+08:00"),
    (
        "java.util.UUID",
        "\"123e4567-e89b-12d3-a456-426614174000\"",
        "java.util.UUID",
        "123e4567-e89b-12d3-a456-426614174000",
    ),
    ("java.util.Locale", "\"zh_CN\"", "java.util.Locale", "zh_CN"),
    ("byte[]", "\"AQL/\"", "[B", "[1, 2, -1]"),
    ("char[]", "\"abc\"", "[C", "[a, b, c]"),
    ("int[]", "[1,-2]", "[I", "[1, -2]"),
    ("float[]", "[0.1]", "[F", "[0.1]"),
    ("java.lang.String[]", "[\"a\",null]", "[Ljava.lang.String;", "[a, null]"),
    (
        "java.lang.Object[]",
        "[\"a\",1,true]",
        "[Ljava.lang.Object;",
        "[a, 1, true]",
    ),
    (
        "dev.landfall.estate.Mapped$Order[]",
        "[{\"id\":1,\"name\":\"a\",\"color\":null,\"price\":null,\"sizes\":null,\"next\":null}]",
        "[Ldev.landfall.estate.Mapped$Order;",
        "[Order(1, a, null, null, null, null)]",
    ),
    (
        "java.util.List<java.lang.Long>",
        "[1,9007199254740993]",
        "java.util.ArrayList",
        "[1, 9007199254740993]",
    ),
    (
        "java.util.List<java.util.List<java.math.BigDecimal>>",
        "[[1.10],[]]",
        "java.util.ArrayList",
        "[[1.10], []]",
    ),
    (
        "java.util.LinkedList<java.lang.String>",
        "[\"a\"]",
        "java.util.LinkedList",
        "[a]",
    ),
    (
        "java.util.Queue<java.lang.String>",
        "[\"a\"]",
        "java.util.LinkedList",
        "[a]",
    ),
    (
        "java.util.Set<dev.landfall.estate.Mapped$Color>",
        "[\"RED\"]",
        "java.util.HashSet",
        "[RED]",
    ),
    (
        "java.util.SortedSet<java.lang.Integer>",
        "[1,2]",
        "java.util.TreeSet",
        "[1, 2]",
    ),
    (
        "java.util.Map<java.lang.String,java.lang.Long>",
        "{\"a\":1}",
        "java.util.HashMap",
        "{a=1}",
    ),
    (
        "java.util.Map<dev.landfall.estate.Mapped$Color,java.time.LocalDate>",
        "{\"RED\":\"2024-05-06\"}",
        "java.util.HashMap",
        "{RED=2024-05-06}",
    ),
    (
        "java.util.TreeMap<java.lang.Integer,java.lang.Boolean>",
        "{\"1\":true,\"2\":false}",
        "java.util.TreeMap",
        "{1=true, 2=false}",
    ),
    (
        "java.util.Map<dev.landfall.estate.Mapped$Order,java.lang.Integer>",
        "[{\"key\":{\"id\":1,\"name\":\"a\",\"color\":null,\"price\":null,\"sizes\":null,\"next\":null},\"value\":2}]",
        "java.util.HashMap",
        "{Order(1, a, null, null, null, null)=2}",
    ),
    (
        "java.util.Optional<java.lang.Long>",
        "7",
        "java.util.Optional",
        "Optional[7]",
    ),
    (
        "dev.landfall.estate.Mapped$Color",
        "\"GREEN\"",
        "dev.landfall.estate.Mapped$Color",
        "GREEN",
    ),
    (
        ORDER,
        "{\"id\":1,\"name\":null,\"color\":\"RED\",\"price\":1.50,\"sizes\":[1,2],\"next\":{\"id\":2,\"name\":\"b\",\"color\":null,\"price\":null,\"sizes\":null,\"next\":null}}",
        ORDER,
        "Order(1, null, RED, 1.50, [1, 2], Order(2, b, null, null, null, null))",
    ),
    (
        "dev.landfall.estate.Mapped$Page<java.math.BigDecimal>",
        "{\"items\":[1.0],\"first\":2.50}",
        "dev.landfall.estate.Mapped$Page",
        "Page([1.0], 2.50)",
    ),
    ("java.lang.Object", "3000000000", "java.lang.Long", "3000000000"),
    (
        "java.lang.Object",
        "{\"a\":[true,null,1.50]}",
        "java.util.HashMap",
        "{a=[true, null, 1.50]}",
    ),
];

fn service() -> Service {
    let mut service = Service::new("dev.landfall.estate.Mapped");
    let fields = [
        ("id", "long"),
        ("name", "java.lang.String"),
        ("color", "dev.landfall.estate.Mapped$Color"),
        ("price", "java.math.BigDecimal"),
        ("sizes", "java.util.List<java.lang.Short>"),
        ("next", ORDER),
    ];
    service.classes.declare(ORDER, &fields).expect("a class");
    service
        .classes
        .declare_enum("dev.landfall.estate.Mapped$Color", &["RED", "GREEN"]);
    let page = [("items", "java.util.List<T>"), ("first", "T")];
    service
        .classes
        .declare("dev.landfall.estate.Mapped$Page<T>", &page)
        .expect("a class");
    for (i, (of, ..)) in METHODS.iter().enumerate() {
        service.declare(&format!("{of} method{i}({of} it)")).expect(of);
    }
    service
}

#[test]
fn java_has_what_json_meant_and_its_results_are_the_same_json() {
    let service = service();
    assert!(METHODS.len() >= 40);
    for name in ["27", "3"] {
        let mut differences = Vec::new();
        for ((of, text, class, shown), answer) in METHODS.iter().zip(ask(&service, name)) {
            let [told, java] = &answer.told;
            // The old Hessian does not look at the class that is sent; so it is for Java's own consumers.
            let class = if name == "27" && of.starts_with("java.util.Queue") {
                "java.util.ArrayList"
            } else {
                class
            };
            if told != class || java != shown {
                differences.push(format!("{of} {text}: Java has {told} {java}, and not {class} {shown}"));
            } else if answer.json != sorted(json(text)).to_string() {
                differences.push(format!("{of} {text}: came back as {}", answer.json));
            }
        }
        assert!(differences.is_empty(), "Dubbo {name}:\n{}", differences.join("\n"));
    }
}

fn json(text: &str) -> Json {
    Json::parse(text.as_bytes(), JsonLimits::default()).expect(text)
}

/// Java writes the fields of an object in an order of its own.
fn sorted(json: Json) -> Json {
    match json {
        Json::Array(items) => Json::Array(items.into_iter().map(sorted).collect()),
        Json::Object(mut members) => {
            members.sort_by(|(one, _), (other, _)| one.as_bytes().cmp(other.as_bytes()));
            Json::Object(members.into_iter().map(|(name, value)| (name, sorted(value))).collect())
        }
        other => other,
    }
}

struct Answer {
    /// Class and text of what Java has.
    told: [String; 2],
    json: String,
}

/// Every method's argument to Java and back.
fn ask(service: &Service, name: &str) -> Vec<Answer> {
    let mut sent = (METHODS.len() as u32).to_be_bytes().to_vec();
    let mut put = |bytes: &[u8], wide: bool| {
        let length = (bytes.len() as u32).to_be_bytes();
        sent.extend_from_slice(if wide { &length } else { &length[2..] });
        sent.extend_from_slice(bytes);
    };
    let mut returns = Vec::new();
    for (i, (of, text, ..)) in METHODS.iter().enumerate() {
        // One argument, by its name.
        let body = Json::object([("it", json(text))]);
        let input = Input {
            texts: &[],
            body: Some(&body),
        };
        let call = service
            .call(&format!("method{i}"), input, Options::default())
            .unwrap_or_else(|error| panic!("{of} {text}: {error}"));
        let class = descriptor::parse(&call.types).expect("types")[0].class_name();
        put(class.as_bytes(), false);
        let mut encoder = Encoder::new(&call.heap);
        encoder.value(&call.arguments[0]).expect("it can be written");
        put(&encoder.finish(), true);
        returns.push(call.returns);
    }

    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("estate/clients/hessian");
    let mut java = Command::new(program)
        .args([name, "mapped"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("tests/estate/clients/hessian runs");
    // All of it is far less than a pipe holds on the way out, and Java answers each before it reads the next.
    let mut to = java.stdin.take().expect("it is piped");
    to.write_all(&sent).expect("Java reads");
    drop(to);
    let mut received = Vec::new();
    let mut from = java.stdout.take().expect("it is piped");
    from.read_to_end(&mut received).expect("Java writes");
    assert!(java.wait().is_ok_and(|status| status.success()), "Dubbo {name}");

    let mut rest = received.as_slice();
    let mut take = |wide: bool| {
        let (length, after) = rest.split_at(if wide { 4 } else { 2 });
        let length = length.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte));
        let (piece, after) = after.split_at(length);
        rest = after;
        piece
    };
    returns
        .iter()
        .map(|of| {
            let told = [(); 2].map(|()| modified_utf8(take(false)));
            let json = decode(take(true), Limits::default())
                .map_err(|error| error.to_string())
                .and_then(|(value, heap)| {
                    let options = ResultOptions::default();
                    json_of(&value, &heap, of, &service.classes, false, options).map_err(|error| error.to_string())
                })
                .map_or_else(|error| error, |json| sorted(json).to_string());
            Answer { told, json }
        })
        .collect()
}

/// `writeUTF` writes what is above U+FFFF as two surrogates of three bytes each.
fn modified_utf8(bytes: &[u8]) -> String {
    let mut units = Vec::new();
    let mut rest = bytes;
    while let Some(lead) = rest.first() {
        let width = match lead {
            0..0x80 => 1,
            0x80..0xe0 => 2,
            _ => 3,
        };
        let (piece, after) = rest.split_at(width);
        let bits = piece
            .iter()
            .skip(1)
            .fold(0u16, |bits, byte| bits << 6 | u16::from(byte & 0x3f));
        units.push(match width {
            1 => u16::from(*lead),
            2 => u16::from(lead & 0x1f) << 6 | bits,
            _ => u16::from(lead & 0xf) << 12 | bits,
        });
        rest = after;
    }
    String::from_utf16_lossy(&units)
}
