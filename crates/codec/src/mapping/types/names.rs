//! Types by their names: those of Java's source, of Dubbo's metadata, and of `Class.getName`.
//!
//! ```text
//!  types := '?' [('extends' | 'super') type] | name ['<' type (',' type)* '>'] ('[]')*  |  '['+ ('L' name ';' | letter)
//! ```

use super::{Known, Scalar, Type};

const COLLECTIONS: [&str; 24] = [
    "java.lang.Iterable",
    "java.util.Collection",
    "java.util.List",
    "java.util.ArrayList",
    "java.util.LinkedList",
    "java.util.Vector",
    "java.util.Stack",
    "java.util.AbstractList",
    "java.util.Queue",
    "java.util.Deque",
    "java.util.ArrayDeque",
    "java.util.PriorityQueue",
    "java.util.Set",
    "java.util.HashSet",
    "java.util.LinkedHashSet",
    "java.util.SortedSet",
    "java.util.NavigableSet",
    "java.util.TreeSet",
    "java.util.AbstractSet",
    "java.util.concurrent.CopyOnWriteArrayList",
    "java.util.concurrent.CopyOnWriteArraySet",
    "java.util.concurrent.ConcurrentLinkedQueue",
    "java.util.concurrent.ConcurrentLinkedDeque",
    "java.util.concurrent.LinkedBlockingQueue",
];

const MAPS: [&str; 14] = [
    "java.util.Map",
    "java.util.AbstractMap",
    "java.util.HashMap",
    "java.util.LinkedHashMap",
    "java.util.SortedMap",
    "java.util.NavigableMap",
    "java.util.TreeMap",
    "java.util.Hashtable",
    "java.util.Properties",
    "java.util.WeakHashMap",
    "java.util.concurrent.ConcurrentMap",
    "java.util.concurrent.ConcurrentHashMap",
    "java.util.concurrent.ConcurrentNavigableMap",
    "java.util.concurrent.ConcurrentSkipListMap",
];

/// Angle brackets inside each other.
const MOST_DEPTH: usize = 24;
/// Letters of one type's name.
const MOST_LETTERS: usize = 4096;

/// Why a text names no Java type.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{text}` is no Java type: {what}; write it as in Java's source with full names, as in `java.util.List<com.x.Order[]>`"
)]
pub struct NotAType {
    /// The text, cut if it is long.
    pub text: String,
    /// What is wrong with it.
    pub what: &'static str,
}

impl Type {
    /// Reads a type's name: as in Java's source, as `Type.getTypeName` and Dubbo's metadata have it, or as `Class.getName` does.
    pub fn parse(text: &str) -> Result<Self, NotAType> {
        Self::parse_within(text, &[])
    }

    /// As [`parse`](Self::parse), inside a class that has these type parameters.
    pub(in crate::mapping) fn parse_within(text: &str, parameters: &[String]) -> Result<Self, NotAType> {
        let wrong = |what| NotAType {
            text: text.chars().take(100).collect(),
            what,
        };
        if text.len() > MOST_LETTERS {
            return Err(wrong("it is too long"));
        }
        let mut reader = Reader { rest: text, parameters };
        let of = reader.of(MOST_DEPTH).map_err(wrong)?;
        if reader.rest.trim().is_empty() {
            Ok(of)
        } else {
            Err(wrong("something follows it"))
        }
    }

    /// The type of that name without type arguments.
    fn named(name: &str, mut arguments: Vec<Type>) -> Self {
        if let Some((scalar, primitive, _)) = Scalar::ALL.iter().find(|(_, p, b)| *p == name || *b == name) {
            return if *primitive == name {
                Self::Primitive(*scalar)
            } else {
                Self::Boxed(*scalar)
            };
        }
        let mut argument = |at: usize| {
            let place = arguments.get_mut(at).map(|of| std::mem::replace(of, Self::Object));
            Box::new(place.unwrap_or(Self::Object))
        };
        if COLLECTIONS.contains(&name) {
            return Self::Collection {
                class: name.into(),
                item: argument(0),
            };
        }
        if name == "java.util.Properties" {
            let text = || Box::new(Self::Known(Known::String));
            return Self::Map {
                class: name.into(),
                key: text(),
                value: text(),
            };
        }
        if MAPS.contains(&name) {
            return Self::Map {
                class: name.into(),
                key: argument(0),
                value: argument(1),
            };
        }
        match name {
            "void" | "java.lang.Void" => Self::Void,
            "java.lang.Object" | "java.io.Serializable" | "java.lang.Comparable" | "java.lang.Cloneable" => {
                Self::Object
            }
            "java.lang.CharSequence" => Self::Known(Known::String),
            "java.util.GregorianCalendar" => Self::Known(Known::Calendar),
            "java.util.Optional" => Self::Optional(argument(0)),
            // Dubbo waits for it, and sends what it has become.
            "java.util.concurrent.CompletableFuture" | "java.util.concurrent.CompletionStage" => *argument(0),
            _ => match Known::ALL.iter().find(|(_, known)| *known == name) {
                Some((known, _)) => Self::Known(*known),
                // A type variable, `T`, has no package.
                None if !name.contains('.') && name.len() <= 2 => Self::Object,
                None => Self::Class {
                    name: binary_name(name).into(),
                    arguments,
                },
            },
        }
    }
}

/// The name that Java loads, of a canonical one: what follows the first part with a large letter is nested in it.
pub(in crate::mapping) fn binary_name(canonical: &str) -> String {
    let mut name = String::with_capacity(canonical.len());
    let mut in_class = false;
    for (i, part) in canonical.split('.').enumerate() {
        if i > 0 {
            name.push(if in_class { '$' } else { '.' });
        }
        in_class |= part.starts_with(|c: char| c.is_uppercase());
        name.push_str(part);
    }
    name
}

struct Reader<'a> {
    rest: &'a str,
    parameters: &'a [String],
}

impl Reader<'_> {
    fn taken(&mut self, word: &str) -> bool {
        match self.rest.trim_start().strip_prefix(word) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn of(&mut self, depth: usize) -> Result<Type, &'static str> {
        let depth = depth.checked_sub(1).ok_or("it is nested too deep")?;
        if self.taken("?") {
            // The bound is the best that is known: `? extends com.x.Order`.
            return if self.taken("extends ") || self.taken("super ") {
                self.of(depth)
            } else {
                Ok(Type::Object)
            };
        }
        let _ = self.taken("class ") || self.taken("interface ");
        self.rest = self.rest.trim_start();
        let mut of = if self.rest.starts_with('[') {
            self.class_name()?
        } else {
            self.name(depth)?
        };
        let mut dimensions = 0;
        while self.taken("[]") || self.taken("...") {
            dimensions += 1;
            if dimensions > 255 - MOST_DEPTH {
                return Err("it has too many dimensions");
            }
            of = Type::Array(Box::new(of));
        }
        while self.taken("&") {
            self.of(depth)?;
        }
        Ok(of)
    }

    fn name(&mut self, depth: usize) -> Result<Type, &'static str> {
        let (mut name, mut arguments) = (String::new(), Vec::new());
        loop {
            let end = self
                .rest
                .find(|c: char| !(c.is_alphanumeric() || matches!(c, '.' | '_' | '$')))
                .unwrap_or(self.rest.len());
            let (part, rest) = self.rest.split_at(end);
            self.rest = rest;
            name.push_str(part);
            if self.taken("<") {
                arguments.clear();
                loop {
                    arguments.push(self.of(depth)?);
                    if !self.taken(",") {
                        break;
                    }
                }
                if !self.taken(">") {
                    return Err("a `<` is not closed");
                }
                // A class inside of one with arguments: `com.x.Outer<T>.Inner`.
                if self.rest.starts_with(['.', '$']) {
                    continue;
                }
            }
            break;
        }
        if let Some(at) = self.parameters.iter().position(|parameter| *parameter == name) {
            return Ok(Type::Parameter(at));
        }
        let good = name
            .split(['.', '$'])
            .all(|part| !part.is_empty() || name.contains('$'))
            && name.starts_with(|c: char| c.is_alphabetic() || matches!(c, '_' | '$'))
            && !name.ends_with('.');
        if good {
            Ok(Type::named(&name, arguments))
        } else {
            Err("a name is missing or malformed")
        }
    }

    /// `[Ljava.lang.String;`, `[[I`.
    fn class_name(&mut self) -> Result<Type, &'static str> {
        let dimensions = self.rest.bytes().take_while(|byte| *byte == b'[').count();
        if dimensions > MOST_DEPTH {
            return Err("it has too many dimensions");
        }
        let (_, rest) = self.rest.split_at(dimensions);
        let (element, rest) = if rest.starts_with('L') {
            rest.split_once(';').ok_or("a `;` is missing")?
        } else {
            rest.split_at_checked(1).ok_or("its element is missing")?
        };
        let mut of = match element.strip_prefix('L') {
            Some(name) if !name.is_empty() && !name.contains(['<', '[', ' ']) => Type::named(name, Vec::new()),
            _ => {
                let types = crate::dubbo2::descriptor::parse(element).map_err(|_| "its element is no type")?;
                let name = types.first().map(|of| of.name.clone()).unwrap_or_default();
                Type::named(&name, Vec::new())
            }
        };
        self.rest = rest;
        for _ in 0..dimensions {
            of = Type::Array(Box::new(of));
        }
        Ok(of)
    }
}
