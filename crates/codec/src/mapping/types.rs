//! Java types as Dubbo names them, and what they are to us.
//!
//! ```text
//!  java.util.Map<java.lang.String, com.x.Outer.Inner[]>
//!  └─ Map, no class of its own       └─ Array of Class "com.x.Outer$Inner"
//! ```
//!
//! Dubbo 3 writes canonical names, in which a nested class stands behind a dot; calls need the name that Java loads, with `$`. It is
//! told by the convention that packages begin with a small letter and classes with a large one. Classes in packages that break it are
//! reached by [`generic_call`](super::generic_call) alone.

mod names;

use std::sync::Arc;

pub use names::NotAType;
pub(super) use names::binary_name;

use crate::dubbo2::descriptor::JavaType;

/// A Java type.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Type {
    /// No value.
    Void,
    /// `int` and its like, which cannot be null.
    Primitive(Scalar),
    /// `java.lang.Integer` and its like.
    Boxed(Scalar),
    /// A class of the JDK whose form we know.
    Known(Known),
    /// An array.
    Array(Box<Type>),
    /// A list, set or queue.
    Collection {
        /// As declared: `java.util.List`, `java.util.TreeSet`.
        class: Arc<str>,
        /// What is in it.
        item: Box<Type>,
    },
    /// A map.
    Map {
        /// As declared: `java.util.Map`, `java.util.TreeMap`.
        class: Arc<str>,
        /// The keys.
        key: Box<Type>,
        /// The values.
        value: Box<Type>,
    },
    /// `java.util.Optional`.
    Optional(Box<Type>),
    /// `java.lang.Object`, a type variable, or what nothing is known of: the value tells.
    Object,
    /// A class of the service's own: a POJO, an enum, or one of which only the name is known.
    Class {
        /// The name that Java loads: `com.x.Outer$Inner`.
        name: Arc<str>,
        /// What stands in angle brackets behind it.
        arguments: Vec<Type>,
    },
    /// A class's own type parameter, by its place.
    Parameter(usize),
}

/// The eight primitive types.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "they are Java's own words")]
pub enum Scalar {
    Boolean,
    Byte,
    Short,
    Int,
    Long,
    Float,
    Double,
    Char,
}

impl Scalar {
    const ALL: [(Self, &'static str, &'static str); 8] = [
        (Self::Boolean, "boolean", "java.lang.Boolean"),
        (Self::Byte, "byte", "java.lang.Byte"),
        (Self::Short, "short", "java.lang.Short"),
        (Self::Int, "int", "java.lang.Integer"),
        (Self::Long, "long", "java.lang.Long"),
        (Self::Float, "float", "java.lang.Float"),
        (Self::Double, "double", "java.lang.Double"),
        (Self::Char, "char", "java.lang.Character"),
    ];

    fn names(self) -> (&'static str, &'static str) {
        Self::ALL
            .iter()
            .find(|(scalar, ..)| *scalar == self)
            .map_or(("int", "java.lang.Integer"), |(_, primitive, boxed)| (primitive, boxed))
    }
}

/// Classes of the JDK that are more to JSON than their fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "they are Java's own words")]
pub enum Known {
    String,
    Number,
    BigDecimal,
    BigInteger,
    Date,
    SqlDate,
    SqlTime,
    SqlTimestamp,
    Calendar,
    LocalDate,
    LocalTime,
    LocalDateTime,
    Instant,
    OffsetDateTime,
    OffsetTime,
    ZonedDateTime,
    Duration,
    Period,
    Year,
    YearMonth,
    MonthDay,
    ZoneId,
    ZoneOffset,
    Uuid,
    Locale,
}

impl Known {
    /// Every one, with its Java name.
    pub const ALL: [(Self, &'static str); 25] = [
        (Self::String, "java.lang.String"),
        (Self::Number, "java.lang.Number"),
        (Self::BigDecimal, "java.math.BigDecimal"),
        (Self::BigInteger, "java.math.BigInteger"),
        (Self::Date, "java.util.Date"),
        (Self::SqlDate, "java.sql.Date"),
        (Self::SqlTime, "java.sql.Time"),
        (Self::SqlTimestamp, "java.sql.Timestamp"),
        (Self::Calendar, "java.util.Calendar"),
        (Self::LocalDate, "java.time.LocalDate"),
        (Self::LocalTime, "java.time.LocalTime"),
        (Self::LocalDateTime, "java.time.LocalDateTime"),
        (Self::Instant, "java.time.Instant"),
        (Self::OffsetDateTime, "java.time.OffsetDateTime"),
        (Self::OffsetTime, "java.time.OffsetTime"),
        (Self::ZonedDateTime, "java.time.ZonedDateTime"),
        (Self::Duration, "java.time.Duration"),
        (Self::Period, "java.time.Period"),
        (Self::Year, "java.time.Year"),
        (Self::YearMonth, "java.time.YearMonth"),
        (Self::MonthDay, "java.time.MonthDay"),
        (Self::ZoneId, "java.time.ZoneId"),
        (Self::ZoneOffset, "java.time.ZoneOffset"),
        (Self::Uuid, "java.util.UUID"),
        (Self::Locale, "java.util.Locale"),
    ];

    /// The Java name.
    pub fn name(self) -> &'static str {
        Self::ALL
            .iter()
            .find(|(known, _)| *known == self)
            .map_or("java.lang.String", |(_, name)| name)
    }
}

/// The class that stands for a declared collection or map on the wire; `None` is Java's default, ArrayList or HashMap.
pub(super) fn wire_class(declared: &str) -> Option<&str> {
    match declared {
        "java.lang.Iterable"
        | "java.util.Collection"
        | "java.util.List"
        | "java.util.ArrayList"
        | "java.util.AbstractList"
        | "java.util.Map"
        | "java.util.AbstractMap"
        | "java.util.HashMap" => None,
        "java.util.Queue" | "java.util.Deque" => Some("java.util.LinkedList"),
        "java.util.Set" | "java.util.AbstractSet" => Some("java.util.HashSet"),
        "java.util.SortedSet" | "java.util.NavigableSet" => Some("java.util.TreeSet"),
        "java.util.SortedMap" | "java.util.NavigableMap" => Some("java.util.TreeMap"),
        "java.util.concurrent.ConcurrentMap" => Some("java.util.concurrent.ConcurrentHashMap"),
        "java.util.concurrent.ConcurrentNavigableMap" => Some("java.util.concurrent.ConcurrentSkipListMap"),
        other => Some(other),
    }
}

impl Type {
    /// The type as calls name it, for descriptors.
    pub fn java_type(&self) -> JavaType {
        let (mut of, mut dimensions) = (self, 0u8);
        while let Self::Array(item) = of {
            of = item;
            dimensions = dimensions.saturating_add(1);
        }
        let name = match of {
            Self::Void => "void",
            Self::Primitive(scalar) => scalar.names().0,
            Self::Boxed(scalar) => scalar.names().1,
            Self::Known(known) => known.name(),
            Self::Collection { class, .. } | Self::Map { class, .. } => class,
            Self::Optional(_) => "java.util.Optional",
            Self::Class { name, .. } => name,
            Self::Object | Self::Parameter(_) | Self::Array(_) => "java.lang.Object",
        };
        JavaType {
            name: name.to_owned(),
            dimensions,
        }
    }

    /// Whether Java refuses null for it.
    pub fn is_primitive(&self) -> bool {
        matches!(self, Self::Primitive(_))
    }

    /// The type with a class's parameters replaced by the arguments it has here.
    pub(super) fn with(&self, arguments: &[Type]) -> Type {
        if !self.has_parameters() {
            return self.clone();
        }
        let mut budget = MOST_PARTS;
        self.replaced(arguments, &mut budget)
    }

    fn has_parameters(&self) -> bool {
        match self {
            Self::Parameter(_) => true,
            Self::Array(item) | Self::Collection { item, .. } | Self::Optional(item) => item.has_parameters(),
            Self::Map { key, value, .. } => key.has_parameters() || value.has_parameters(),
            Self::Class { arguments, .. } => arguments.iter().any(Self::has_parameters),
            _ => false,
        }
    }

    /// A class that doubles its own argument at each step would fill the memory; what is over the budget becomes Object.
    fn replaced(&self, by: &[Type], budget: &mut usize) -> Type {
        *budget = budget.saturating_sub(1);
        if *budget == 0 {
            return Self::Object;
        }
        let mut boxed = |of: &Type| Box::new(of.replaced(by, budget));
        match self {
            Self::Parameter(at) => match by.get(*at) {
                Some(of) => of.replaced(&[], budget),
                None => Self::Object,
            },
            Self::Array(item) => Self::Array(boxed(item)),
            Self::Optional(item) => Self::Optional(boxed(item)),
            Self::Collection { class, item } => Self::Collection {
                class: class.clone(),
                item: boxed(item),
            },
            Self::Map { class, key, value } => Self::Map {
                class: class.clone(),
                key: boxed(key),
                value: boxed(value),
            },
            Self::Class { name, arguments } => Self::Class {
                name: name.clone(),
                arguments: arguments.iter().map(|of| of.replaced(by, budget)).collect(),
            },
            other => other.clone(),
        }
    }
}

/// Parts of one type after its parameters are replaced.
const MOST_PARTS: usize = 128;

impl std::fmt::Display for Type {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Array(item) => write!(f, "{item}[]"),
            Self::Collection { class, item } => write!(f, "{class}<{item}>"),
            Self::Map { class, key, value } => write!(f, "{class}<{key},{value}>"),
            Self::Optional(item) => write!(f, "java.util.Optional<{item}>"),
            Self::Class { name, arguments } => {
                f.write_str(name)?;
                for (i, argument) in arguments.iter().enumerate() {
                    write!(f, "{}{argument}", if i == 0 { "<" } else { "," })?;
                }
                f.write_str(if arguments.is_empty() { "" } else { ">" })
            }
            other => other.java_type().fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::dubbo2::descriptor;

    #[test]
    fn names_of_both_lines_of_dubbo_are_read() {
        for (text, shown, called) in [
            ("int", "int", "I"),
            ("java.lang.Integer", "java.lang.Integer", "Ljava/lang/Integer;"),
            ("byte[]", "byte[]", "[B"),
            ("[[I", "int[][]", "[[I"),
            ("[Ljava.lang.String;", "java.lang.String[]", "[Ljava/lang/String;"),
            ("java.util.List", "java.util.List<java.lang.Object>", "Ljava/util/List;"),
            (
                "java.util.Map<java.lang.String, java.util.List<com.x.Outer.Inner>>",
                "java.util.Map<java.lang.String,java.util.List<com.x.Outer$Inner>>",
                "Ljava/util/Map;",
            ),
            ("com.x.Outer$Inner[]", "com.x.Outer$Inner[]", "[Lcom/x/Outer$Inner;"),
            ("com.x.Outer$Inner", "com.x.Outer$Inner", "Lcom/x/Outer$Inner;"),
            ("com.x.Page<com.x.User>", "com.x.Page<com.x.User>", "Lcom/x/Page;"),
            (
                "java.util.List<? extends com.x.User>",
                "java.util.List<com.x.User>",
                "Ljava/util/List;",
            ),
            (
                "java.util.List<?>",
                "java.util.List<java.lang.Object>",
                "Ljava/util/List;",
            ),
            (
                "java.util.List<T>",
                "java.util.List<java.lang.Object>",
                "Ljava/util/List;",
            ),
            ("T", "java.lang.Object", "Ljava/lang/Object;"),
            ("class com.x.User", "com.x.User", "Lcom/x/User;"),
            (
                "com.x.Outer<java.lang.String>.Inner<java.lang.Long>",
                "com.x.Outer$Inner<java.lang.Long>",
                "Lcom/x/Outer$Inner;",
            ),
            ("void", "void", "V"),
        ] {
            let of = Type::parse(text).expect(text);
            assert_eq!(of.to_string(), shown);
            assert_eq!(descriptor::write([&of.java_type()]), called);
            assert_eq!(Type::parse(shown), Ok(of));
        }
    }

    #[test]
    fn what_is_no_type_is_refused() {
        for text in [
            "",
            "<",
            "java.util.List<",
            "a b",
            "List<>",
            "com..x",
            "x.",
            "[",
            "[L;",
            "[Q",
            "int]",
            "1a",
        ] {
            assert!(Type::parse(text).is_err(), "{text}");
        }
        assert!(Type::parse(&"java.util.List<".repeat(100)).is_err());
        assert!(Type::parse(&format!("int{}", "[]".repeat(1000))).is_err());
    }

    #[test]
    fn a_type_that_grows_with_every_step_stays_small() {
        let twice = Type::parse_within("com.x.Pair<com.x.Pair<T,T>,T>", &["T".to_owned()]).expect("a type");
        let mut of = Type::Object;
        for _ in 0..100 {
            of = twice.with(&[of]);
        }
        assert!(of.to_string().len() < 10_000);
    }

    proptest! {
        #[test]
        fn any_text_is_a_type_or_none(text in "[a-zA-Z.$<>,?\\[\\] L;&]{0,40}") {
            if let Ok(of) = Type::parse(&text) {
                let called = descriptor::write([&of.java_type()]);
                prop_assert_eq!(descriptor::count(&called), Ok(1), "{} {}", of, called);
            }
        }
    }
}
