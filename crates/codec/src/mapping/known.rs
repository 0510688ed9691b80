//! Classes of the JDK between their JSON and the objects that Dubbo's Hessian makes of them.
//!
//! ```text
//!  "2024-05-06"                          com.alibaba.com.caucho.hessian.io.java8.LocalDateHandle { year, month, day }
//!  "2024-05-06T07:08:09Z"                a Hessian date (java.util.Date); InstantHandle { seconds, nanos } (java.time.Instant)
//!  1.50                                  java.math.BigDecimal { value: "1.50" }
//!  18446744073709551616                  java.math.BigInteger { signum: 1, mag: [int 1, 0, 0 }
//! ```
//!
//! Java's Hessian replaces each class of java.time by a handle of its own, and both of its lines read those back.
//!
//! Source: `BigDecimalDeserializer`, `SqlDateSerializer`, `LocaleHandle`, `CalendarHandle`, `java8/*Handle` of Apache Dubbo's
//! hessian-lite.

use super::{
    json::Json,
    number::{self, Decimal},
    time::{self, Date, Scan, Time},
    types::Known,
};
use crate::hessian2::{Heap, JavaString, List, Node, Object, Value};

const HANDLES: &str = "com.alibaba.com.caucho.hessian.io.java8.";
const LOCALE: &str = "com.alibaba.com.caucho.hessian.io.LocaleHandle";
const CALENDAR: &str = "com.alibaba.com.caucho.hessian.io.CalendarHandle";

/// What is to be written for a class, for errors: "write …".
pub(super) fn form(known: Known) -> &'static str {
    match known {
        Known::String => "text in quotes",
        Known::Number | Known::BigDecimal => "a number of at most 4096 digits and an exponent of at most 9999",
        Known::BigInteger => "an integer of at most 4096 digits",
        Known::Date | Known::SqlDate | Known::SqlTime | Known::SqlTimestamp | Known::Calendar => {
            "a moment as \"2024-05-06T07:08:09Z\", or as milliseconds since 1970"
        }
        Known::LocalDate => "a day as \"2024-05-06\"",
        Known::LocalTime => "a time as \"07:08:09\"",
        Known::LocalDateTime => "a day and a time as \"2024-05-06T07:08:09\"",
        Known::Instant => "a moment as \"2024-05-06T07:08:09Z\"",
        Known::OffsetDateTime => "a moment with its offset as \"2024-05-06T07:08:09+08:00\"",
        Known::OffsetTime => "a time with its offset as \"07:08:09+08:00\"",
        Known::ZonedDateTime => "a moment with its zone as \"2024-05-06T07:08:09+08:00[Asia/Shanghai]\"",
        Known::Duration => "a length of time as \"PT1H30M\"",
        Known::Period => "a period as \"P1Y2M3D\"",
        Known::Year => "a year as 2024",
        Known::YearMonth => "a month as \"2024-05\"",
        Known::MonthDay => "a day of the year as \"--05-06\"",
        Known::ZoneId => "a zone as \"Asia/Shanghai\"",
        Known::ZoneOffset => "an offset as \"+08:00\"",
        Known::Uuid => "a UUID as \"123e4567-e89b-12d3-a456-426614174000\"",
        Known::Locale => "a locale as \"zh_CN\"",
    }
}

/// The value of a class for this JSON, which is not null; `None` if it is no such thing. UUIDs are text, or two `halves`.
pub(super) fn value(known: Known, json: &Json, heap: &mut Heap, halves: bool) -> Option<Value> {
    match (known, json) {
        (Known::String, Json::String(text)) => Some(Value::String(text.clone())),
        (Known::String, _) => None,
        (Known::Year, Json::Number(text)) => {
            let year = i32::try_from(Decimal::of(text)?.long()?).ok()?;
            Some(handle(heap, "Year", vec![("year", Value::Int(year))]))
        }
        (Known::Date | Known::SqlDate | Known::SqlTime | Known::SqlTimestamp | Known::Calendar, Json::Number(text)) => {
            Some(moment_of(known, Decimal::of(text)?.long()?, heap))
        }
        (_, Json::Number(text)) => number_of(known, text, heap),
        (_, Json::String(text)) => {
            let text = text.as_str()?;
            match known {
                Known::Number | Known::BigDecimal | Known::BigInteger => number_of(known, text, heap),
                Known::Date | Known::SqlDate | Known::SqlTime | Known::SqlTimestamp | Known::Calendar => {
                    let (seconds, nanos) = time::moment(text)?;
                    if nanos % 1_000_000 != 0 {
                        return None;
                    }
                    let millis = seconds.checked_mul(1000)?.checked_add(nanos / 1_000_000)?;
                    Some(moment_of(known, millis, heap))
                }
                Known::Uuid => uuid(text, heap, halves),
                Known::Locale => (text.len() <= 64).then(|| heap.object(LOCALE, vec![("value", text.into())])),
                _ => time_of(known, text, heap),
            }
        }
        _ => None,
    }
}

fn moment_of(known: Known, millis: i64, heap: &mut Heap) -> Value {
    let date = Value::Date(millis);
    match known {
        Known::SqlDate | Known::SqlTime | Known::SqlTimestamp => heap.object(known.name(), vec![("value", date)]),
        Known::Calendar => heap.object(CALENDAR, vec![("type", Value::Null), ("date", date)]),
        _ => date,
    }
}

fn number_of(known: Known, text: &str, heap: &mut Heap) -> Option<Value> {
    let decimal = Decimal::of(text)?;
    match known {
        Known::BigDecimal => Some(heap.object(known.name(), vec![("value", text.into())])),
        Known::BigInteger => big_integer(&decimal.integer()?, heap),
        Known::Number => Some(any_number(text, heap)),
        _ => None,
    }
}

/// A number of which no type is known: an int, a long, a double if it is the very number, else a BigInteger or BigDecimal. Text
/// that is no number that is taken stays text.
pub(super) fn any_number(text: &str, heap: &mut Heap) -> Value {
    let Some(decimal) = Decimal::of(text) else {
        return text.into();
    };
    if !text.contains(['.', 'e', 'E'])
        && let Some(digits) = decimal.integer()
    {
        return match digits.parse::<i64>() {
            // Minus zero is a double.
            Ok(0) if text.starts_with('-') => Value::Double(-0.0),
            Ok(value) => i32::try_from(value).map_or(Value::Long(value), Value::Int),
            Err(_) => big_integer(&digits, heap).unwrap_or_else(|| text.into()),
        };
    }
    match text.parse::<f64>() {
        Ok(value) if number::double_text(value).as_deref() == Some(text) => Value::Double(value),
        // What a double writes otherwise, 1.50 as 1.5, is another BigDecimal; so is what it has no digits for.
        _ => heap.object(Known::BigDecimal.name(), vec![("value", text.into())]),
    }
}

fn big_integer(digits: &str, heap: &mut Heap) -> Option<Value> {
    let (sign, words) = number::words(digits)?;
    let words = heap.typed_list("[int", words.into_iter().map(Value::Int).collect());
    Some(heap.object(
        Known::BigInteger.name(),
        vec![("signum", Value::Int(sign)), ("mag", words)],
    ))
}

fn handle(heap: &mut Heap, name: &str, fields: Vec<(&str, Value)>) -> Value {
    heap.object(&format!("{HANDLES}{name}Handle"), fields)
}

/// An int field. All that is put there is checked to be one.
fn int(value: i64) -> Value {
    Value::Int(i32::try_from(value).unwrap_or_default())
}

fn date_of(date: Date, heap: &mut Heap) -> Value {
    let fields = vec![
        ("year", int(date.year)),
        ("month", int(date.month)),
        ("day", int(date.day)),
    ];
    handle(heap, "LocalDate", fields)
}

fn time_handle(time: Time, heap: &mut Heap) -> Value {
    let fields = vec![
        ("hour", int(time.hour)),
        ("minute", int(time.minute)),
        ("second", int(time.second)),
        ("nano", int(time.nano)),
    ];
    handle(heap, "LocalTime", fields)
}

fn date_time_of((date, time): (Date, Time), heap: &mut Heap) -> Value {
    let (date, time) = (date_of(date, heap), time_handle(time, heap));
    handle(heap, "LocalDateTime", vec![("date", date), ("time", time)])
}

fn offset_of(seconds: i64, heap: &mut Heap) -> Value {
    handle(heap, "ZoneOffset", vec![("seconds", int(seconds))])
}

fn time_of(known: Known, text: &str, heap: &mut Heap) -> Option<Value> {
    let mut scan = Scan::new(text);
    Some(match known {
        Known::LocalDate => {
            let date = scan.date()?;
            date_of(scan.whole(date)?, heap)
        }
        Known::LocalTime => {
            let time = scan.time()?;
            time_handle(scan.whole(time)?, heap)
        }
        Known::LocalDateTime => {
            let both = scan.date_time()?;
            date_time_of(scan.whole(both)?, heap)
        }
        Known::Instant => {
            let (seconds, nanos) = time::moment(text)?;
            handle(
                heap,
                "Instant",
                vec![("seconds", Value::Long(seconds)), ("nanos", int(nanos))],
            )
        }
        Known::OffsetDateTime => {
            let read = (scan.date_time()?, scan.offset()?);
            let (both, offset) = scan.whole(read)?;
            let fields = vec![
                ("dateTime", date_time_of(both, heap)),
                ("offset", offset_of(offset, heap)),
            ];
            handle(heap, "OffsetDateTime", fields)
        }
        Known::OffsetTime => {
            let read = (scan.time()?, scan.offset()?);
            let (time, offset) = scan.whole(read)?;
            let fields = vec![
                ("localTime", time_handle(time, heap)),
                ("zoneOffset", offset_of(offset, heap)),
            ];
            handle(heap, "OffsetTime", fields)
        }
        Known::ZonedDateTime => {
            let (both, offset) = (scan.date_time()?, scan.offset()?);
            // Without a zone's name the offset is the zone.
            let zone = scan.zone().map_or_else(|| time::offset_text(offset), str::to_owned);
            scan.whole(())?;
            let (both, offset) = (date_time_of(both, heap), offset_of(offset, heap));
            let fields = vec![("dateTime", both), ("offset", offset), ("zoneId", zone.as_str().into())];
            handle(heap, "ZonedDateTime", fields)
        }
        Known::Duration => {
            let read = scan.duration()?;
            let (seconds, nanos) = scan.whole(read)?;
            handle(
                heap,
                "Duration",
                vec![("seconds", Value::Long(seconds)), ("nanos", int(nanos))],
            )
        }
        Known::Period => {
            let read = scan.period()?;
            let (years, months, days) = scan.whole(read)?;
            let field = |count: i64| i32::try_from(count).ok().map(Value::Int);
            let fields = vec![
                ("years", field(years)?),
                ("months", field(months)?),
                ("days", field(days)?),
            ];
            handle(heap, "Period", fields)
        }
        Known::Year => {
            let year = scan.year()?;
            handle(heap, "Year", vec![("year", int(scan.whole(year)?))])
        }
        Known::YearMonth => {
            let read = scan.year_month()?;
            let (year, month) = scan.whole(read)?;
            handle(heap, "YearMonth", vec![("year", int(year)), ("month", int(month))])
        }
        Known::MonthDay => {
            let read = scan.month_day()?;
            let (month, day) = scan.whole(read)?;
            handle(heap, "MonthDay", vec![("month", int(month)), ("day", int(day))])
        }
        Known::ZoneId if time::is_zone(text) => handle(heap, "ZoneId", vec![("zoneId", text.into())]),
        Known::ZoneOffset => {
            let offset = scan.offset()?;
            offset_of(scan.whole(offset)?, heap)
        }
        _ => return None,
    })
}

fn uuid(text: &str, heap: &mut Heap, halves: bool) -> Option<Value> {
    let groups: Vec<&str> = text.split('-').collect();
    let lengths: Vec<usize> = groups.iter().map(|group| group.len()).collect();
    let hex = groups.concat();
    if lengths != [8, 4, 4, 4, 12] || !hex.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let bits = u128::from_str_radix(&hex, 16).ok()?;
    let fields = if halves {
        vec![
            ("mostSigBits", Value::Long((bits >> 64) as i64)),
            ("leastSigBits", Value::Long(bits as i64)),
        ]
    } else {
        vec![("value", text.to_ascii_lowercase().as_str().into())]
    };
    Some(heap.object(Known::Uuid.name(), fields))
}

/// What an object of such a class says.
pub(super) enum Said {
    /// Text.
    Text(JavaString),
    /// A number's text.
    Number(String),
    /// A moment in milliseconds since 1970.
    Moment(i64),
}

/// What an object says, if it is of a class that is known here and holds what that class holds.
pub(super) fn said(class: &str, object: &Object, heap: &Heap) -> Option<Said> {
    let it = Fields { heap, object };
    let text = |text: String| Some(Said::Text(text.into()));
    if let Some(name) = class.strip_prefix(HANDLES) {
        return match name.strip_suffix("Handle")? {
            "LocalDate" => text(it.date()?.to_string()),
            "LocalTime" => text(it.time()?.to_string()),
            "LocalDateTime" => text(it.date_time()?),
            "Instant" => text(time::instant_text(it.long("seconds")?, it.nanos()?)),
            "Duration" => text(time::duration_text(it.long("seconds")?, it.nanos()?)),
            "OffsetDateTime" => text(format!(
                "{}{}",
                it.at("dateTime")?.date_time()?,
                it.at("offset")?.offset()?
            )),
            "OffsetTime" => text(format!(
                "{}{}",
                it.at("localTime")?.time()?,
                it.at("zoneOffset")?.offset()?
            )),
            "ZonedDateTime" => {
                let (date_time, offset) = (it.at("dateTime")?.date_time()?, it.at("offset")?.offset()?);
                match it.string("zoneId")?.to_text() {
                    zone if zone == offset => text(format!("{date_time}{offset}")),
                    zone => text(format!("{date_time}{offset}[{zone}]")),
                }
            }
            "Period" => text(time::period_text(
                it.long("years")?,
                it.long("months")?,
                it.long("days")?,
            )),
            "Year" => Some(Said::Number(it.long("year")?.to_string())),
            "YearMonth" => text(time::year_month_text(it.long("year")?, it.long("month")?)),
            "MonthDay" => text(format!("--{:02}-{:02}", it.long("month")?, it.long("day")?)),
            "ZoneId" => it.string("zoneId").cloned().map(Said::Text),
            "ZoneOffset" => text(it.offset()?),
            _ => None,
        };
    }
    match class {
        "java.math.BigDecimal" => {
            let value = it.string("value")?;
            match value.as_str().filter(|text| super::json::is_number(text)) {
                Some(number) => Some(Said::Number(number.to_owned())),
                None => Some(Said::Text(value.clone())),
            }
        }
        "java.math.BigInteger" => {
            let Value::Node(words) = it.field("mag")? else {
                return None;
            };
            let Node::List(List { items, .. }) = heap.get(*words)? else {
                return None;
            };
            let word = |value: &Value| {
                if let Value::Int(word) = value {
                    Some(*word)
                } else {
                    None
                }
            };
            let words: Vec<i32> = items.iter().map(word).collect::<Option<_>>()?;
            number::digits(i32::try_from(it.long("signum")?).ok()?, &words).map(Said::Number)
        }
        "java.sql.Date" | "java.sql.Time" | "java.sql.Timestamp" => it.moment("value"),
        CALENDAR => it.moment("date"),
        LOCALE | "java.io.File" | "java.util.Currency" | "java.net.URI" | "java.net.URL" => {
            let field = if it.field("value").is_some() {
                "value"
            } else {
                "currencyCode"
            };
            it.string(field).cloned().map(Said::Text)
        }
        "java.lang.Class" => it.string("name").cloned().map(Said::Text),
        "java.util.UUID" => match it.string("value") {
            Some(value) => Some(Said::Text(value.clone())),
            None => {
                let bits =
                    u128::from(it.long("mostSigBits")? as u64) << 64 | u128::from(it.long("leastSigBits")? as u64);
                let hex = format!("{bits:032x}");
                let group = |from: usize, to: usize| hex.get(from..to).unwrap_or_default().to_owned();
                let groups = [group(0, 8), group(8, 12), group(12, 16), group(16, 20), group(20, 32)];
                text(groups.join("-"))
            }
        },
        _ => None,
    }
}

#[derive(Clone, Copy)]
struct Fields<'a> {
    heap: &'a Heap,
    object: &'a Object,
}

impl<'a> Fields<'a> {
    fn field(&self, name: &str) -> Option<&'a Value> {
        self.heap.field(self.object, name)
    }

    fn long(&self, name: &str) -> Option<i64> {
        match self.field(name)? {
            Value::Int(value) => Some(i64::from(*value)),
            Value::Long(value) => Some(*value),
            _ => None,
        }
    }

    fn nanos(&self) -> Option<i64> {
        self.long("nanos").filter(|nanos| (0..1_000_000_000).contains(nanos))
    }

    fn string(&self, name: &str) -> Option<&'a JavaString> {
        match self.field(name)? {
            Value::String(text) => Some(text),
            _ => None,
        }
    }

    fn moment(&self, name: &str) -> Option<Said> {
        match self.field(name)? {
            Value::Date(millis) => Some(Said::Moment(*millis)),
            _ => None,
        }
    }

    fn at(&self, name: &str) -> Option<Fields<'a>> {
        let Value::Node(id) = self.field(name)? else {
            return None;
        };
        match self.heap.get(*id)? {
            Node::Object(object) => Some(Fields {
                heap: self.heap,
                object,
            }),
            _ => None,
        }
    }

    fn date(&self) -> Option<Date> {
        Date::new(self.long("year")?, self.long("month")?, self.long("day")?)
    }

    fn time(&self) -> Option<Time> {
        Time::new(
            self.long("hour")?,
            self.long("minute")?,
            self.long("second")?,
            self.long("nano")?,
        )
    }

    fn date_time(&self) -> Option<String> {
        Some(format!("{}T{}", self.at("date")?.date()?, self.at("time")?.time()?))
    }

    fn offset(&self) -> Option<String> {
        self.long("seconds").map(time::offset_text)
    }
}
