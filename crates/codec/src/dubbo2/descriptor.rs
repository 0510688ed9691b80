//! Parameter types of a call: `Ljava/lang/String;I[J` is `java.lang.String`, `int`, `long[]`.
//!
//! ```text
//!  types := type*        type := '['* ( V Z B C D F I J S | 'L' name-with-slashes ';' )
//! ```

use std::fmt;

/// One Java type as a call names it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct JavaType {
    /// `int`, `java.lang.String`, `com.example.Outer$Inner`.
    pub name: String,
    /// How many times `[]` stands behind it.
    pub dimensions: u8,
}

/// What is wrong with a descriptor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the parameter types are no descriptor from byte {at} on")]
pub struct NotADescriptor {
    /// The byte that does not belong there.
    pub at: usize,
}

const PRIMITIVES: [(u8, &str); 9] = [
    (b'V', "void"),
    (b'Z', "boolean"),
    (b'B', "byte"),
    (b'C', "char"),
    (b'D', "double"),
    (b'F', "float"),
    (b'I', "int"),
    (b'J', "long"),
    (b'S', "short"),
];

/// How many types a descriptor names; reads without building.
pub fn count(descriptor: &str) -> Result<usize, NotADescriptor> {
    let mut types = 0;
    each(descriptor, |_, _| types += 1)?;
    Ok(types)
}

/// The types that a descriptor names.
pub fn parse(descriptor: &str) -> Result<Vec<JavaType>, NotADescriptor> {
    let mut types = Vec::new();
    each(descriptor, |dimensions, element| {
        let name = match element.strip_prefix('L').and_then(|rest| rest.strip_suffix(';')) {
            Some(class) => class.replace('/', "."),
            None => PRIMITIVES
                .iter()
                .find(|(c, _)| element.as_bytes() == [*c])
                .map_or("", |(_, name)| *name)
                .to_owned(),
        };
        types.push(JavaType { name, dimensions });
    })?;
    Ok(types)
}

/// The descriptor of these types.
pub fn write<'a>(types: impl IntoIterator<Item = &'a JavaType>) -> String {
    let mut descriptor = String::new();
    for of in types {
        descriptor.extend(std::iter::repeat_n('[', usize::from(of.dimensions)));
        match PRIMITIVES.iter().find(|(_, name)| *name == of.name) {
            Some((c, _)) => descriptor.push(char::from(*c)),
            None => {
                descriptor.push('L');
                descriptor.push_str(&of.name.replace('.', "/"));
                descriptor.push(';');
            }
        }
    }
    descriptor
}

fn each<'a>(descriptor: &'a str, mut found: impl FnMut(u8, &'a str)) -> Result<(), NotADescriptor> {
    let bytes = descriptor.as_bytes();
    let (mut at, mut dimensions) = (0, 0u8);
    while let Some(byte) = bytes.get(at) {
        let wrong = NotADescriptor { at };
        let width = match byte {
            b'[' => {
                // A Java array has at most 255.
                dimensions = dimensions.checked_add(1).ok_or(wrong)?;
                at += 1;
                continue;
            }
            b'L' => {
                let end = bytes[at..].iter().position(|b| *b == b';').ok_or(wrong)?;
                let name = &bytes[at + 1..at + end];
                if name.is_empty()
                    || name
                        .iter()
                        .any(|b| matches!(b, b'[' | b'.' | b'(' | b')') || *b <= b' ')
                {
                    return Err(wrong);
                }
                end + 1
            }
            b'V' | b'Z' | b'B' | b'C' | b'D' | b'F' | b'I' | b'J' | b'S' => 1,
            _ => return Err(wrong),
        };
        found(dimensions, &descriptor[at..at + width]);
        at += width;
        dimensions = 0;
    }
    if dimensions > 0 {
        Err(NotADescriptor { at })
    } else {
        Ok(())
    }
}

impl JavaType {
    /// A type by its name in Java's source: `int`, `long[]`, `java.util.List`. What is in angle brackets is dropped, since calls do
    /// not name it.
    pub fn of_source(source: &str) -> Self {
        let plain = source.split_once('<').map_or(source, |(before, _)| before);
        let arrays = source.rsplit('>').next().unwrap_or(source).matches("[]").count();
        Self {
            name: plain.trim().trim_end_matches("[]").trim().to_owned(),
            dimensions: arrays.min(255) as u8,
        }
    }

    /// The name that `Class.getName` gives: `java.lang.String`, `[Ljava.lang.String;`, `[I`.
    pub fn class_name(&self) -> String {
        if self.dimensions == 0 {
            return self.name.clone();
        }
        write([self]).replace('/', ".")
    }
}

impl fmt::Display for JavaType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        (0..self.dimensions).try_for_each(|_| f.write_str("[]"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_read_and_written_back() {
        for (descriptor, shown) in [
            ("", vec![]),
            ("Ljava/lang/String;I[J", vec!["java.lang.String", "int", "long[]"]),
            ("[[Lcom/x/Outer$Inner;Z", vec!["com.x.Outer$Inner[][]", "boolean"]),
        ] {
            let types = parse(descriptor).expect(descriptor);
            assert_eq!(types.iter().map(JavaType::to_string).collect::<Vec<_>>(), shown);
            assert_eq!(write(&types), descriptor);
            assert_eq!(count(descriptor), Ok(shown.len()));
            assert_eq!(shown.iter().map(|s| JavaType::of_source(s)).collect::<Vec<_>>(), types);
        }
        assert_eq!(
            JavaType::of_source("java.util.List<java.lang.String[]>").to_string(),
            "java.util.List"
        );
        assert_eq!(
            JavaType::of_source("java.lang.String[]").class_name(),
            "[Ljava.lang.String;"
        );
        assert_eq!(JavaType::of_source("int[][]").class_name(), "[[I");
    }

    #[test]
    fn what_is_no_descriptor_is_refused_with_its_place() {
        for (descriptor, at) in [
            ("Lx", 0),
            ("IX", 1),
            ("L;", 0),
            ("[", 1),
            ("I[", 2),
            ("L[I;", 0),
            ("Ljava.lang.String;", 0),
        ] {
            assert_eq!(parse(descriptor), Err(NotADescriptor { at }), "{descriptor}");
        }
    }
}
