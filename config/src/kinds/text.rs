//! Texts with rules of their own: host names, object names, header names and values, paths.
//!
//! The rules are the Gateway API's (`apis/v1/shared_types.go`); the checks run from the JSON Schema.

use std::{borrow::Cow, ops::Deref};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

macro_rules! text {
    ($(#[$doc:meta])* $name:ident, $min:literal..=$max:literal, $pattern:expr, $mend:literal) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl Deref for $name {
            type Target = str;
            fn deref(&self) -> &str {
                &self.0
            }
        }

        impl JsonSchema for $name {
            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }
            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({
                    "type": "string",
                    "minLength": $min,
                    "maxLength": $max,
                    "pattern": $pattern,
                    "x-mend": $mend,
                })
            }
        }
    };
}

const SUBDOMAIN: &str = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$";

text!(
    /// A host name, or `*.` and a host name.
    Hostname,
    1..=253,
    r"^(\*\.)?[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$",
    "write a host name in lower case such as `shop.example.com` or `*.example.com`, without scheme and port"
);
text!(
    /// A host name without wildcard.
    PreciseHostname,
    1..=253,
    SUBDOMAIN,
    "write a host name in lower case such as `shop.example.com`, without wildcard, scheme and port"
);
text!(
    /// `metadata.name`: a DNS subdomain.
    ObjectName,
    1..=253,
    SUBDOMAIN,
    "use a-z, 0-9, `-` and `.`, beginning and ending with a letter or digit"
);
text!(
    /// The name of a listener or rule: a DNS subdomain.
    SectionName,
    1..=253,
    SUBDOMAIN,
    "use a-z, 0-9, `-` and `.`, beginning and ending with a letter or digit"
);
text!(
    /// A namespace: a DNS label. In a backendRef it is the registry.
    NamespaceName,
    1..=63,
    r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$",
    "use 1 to 63 of a-z, 0-9 and `-`, beginning and ending with a letter or digit"
);
text!(
    /// A service's name as its registry writes it.
    ServiceName,
    1..=512,
    r"^[^\s\x00-\x1f\x7f]+$",
    "write the service's name as its registry shows it, without spaces"
);
text!(
    /// A text in which each `*` stands for any text.
    Pattern,
    1..=512,
    r"^[^\x00-\x1f\x7f]+$",
    "write a text without control characters; `*` stands for any text"
);

impl Pattern {
    /// Fits everything.
    pub fn any() -> Self {
        Self("*".to_owned())
    }

    /// Whether a text fits it.
    pub fn fits(&self, text: &str) -> bool {
        let (mut pattern, mut rest) = (self.0.as_str(), text);
        // Behind the last star what is wanted, and how much of the text the star has taken.
        let mut star: Option<(&str, &str)> = None;
        loop {
            let next = pattern.chars().next();
            if next == Some('*') {
                pattern = &pattern[1..];
                star = Some((pattern, rest));
            } else if next.is_some() && next == rest.chars().next() {
                let length = next.map_or(0, char::len_utf8);
                pattern = &pattern[length..];
                rest = &rest[length..];
            } else if next.is_none() && rest.is_empty() {
                return true;
            } else {
                let Some((wanted, taken)) = star else { return false };
                let mut longer = taken.chars();
                if longer.next().is_none() {
                    return false;
                }
                pattern = wanted;
                rest = longer.as_str();
                star = Some((wanted, rest));
            }
        }
    }

    /// Whether there is a text that fits both.
    pub fn overlaps(&self, other: &Self) -> bool {
        let one: Vec<char> = self.0.chars().collect();
        let two: Vec<char> = other.0.chars().collect();
        // row[j]: whether the pattern `one[i..]` and `two[j..]` have a text in common, from the end.
        let mut below = vec![false; two.len() + 1];
        for i in (0..=one.len()).rev() {
            let mut row = vec![false; two.len() + 1];
            for j in (0..=two.len()).rev() {
                row[j] = match (one.get(i), two.get(j)) {
                    (None, None) => true,
                    (Some('*'), None) => below[j],
                    (Some('*'), Some(_)) => below[j] || row[j + 1],
                    (None, Some('*')) => row[j + 1],
                    (Some(_), Some('*')) => row[j + 1] || below[j],
                    (Some(a), Some(b)) => a == b && below[j + 1],
                    (None, Some(_)) | (Some(_), None) => false,
                };
            }
            below = row;
        }
        below[0]
    }
}

impl From<&str> for Pattern {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

text!(
    /// The name of a header or query parameter.
    HeaderName,
    1..=256,
    r"^[A-Za-z0-9!#$%&'*+\-.^_`|~]+$",
    "use letters, digits and !#$%&'*+-.^_`|~ only"
);
text!(
    /// The value of a header: visible ASCII with single spaces or tabs inside.
    HeaderValue,
    1..=4096,
    r"^[!-~]+([\t ]+[!-~]+)*$",
    "use visible ASCII characters, with spaces only between them"
);
text!(
    /// The value of a query parameter.
    QueryValue,
    1..=1024,
    r"^[^\x00-\x1f\x7f]*$",
    "use no control characters"
);
text!(
    /// A path, or a pattern for one.
    PathValue,
    0..=1024,
    r"^[^\x00-\x1f\x7f]*$",
    "use no control characters"
);
text!(
    /// A group; empty is the core group.
    Group,
    0..=253,
    r"^$|^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$",
    "write a group such as `gateway.networking.k8s.io`, or an empty text"
);
text!(
    /// A kind.
    KindName,
    1..=63,
    r"^[a-zA-Z]([-a-zA-Z0-9]*[a-zA-Z0-9])?$",
    "write a kind such as `Service`"
);
text!(
    /// A Java class as Java loads it.
    JavaClass,
    1..=512,
    r"^[A-Za-z_$][A-Za-z0-9_$]*(\.[A-Za-z_$][A-Za-z0-9_$]*)*$",
    "write a Java name such as `com.example.Orders`"
);
text!(
    /// A Java class, or a package and `.*`.
    ClassPattern,
    1..=512,
    r"^[A-Za-z_$][A-Za-z0-9_$]*(\.[A-Za-z_$][A-Za-z0-9_$]*)*(\.\*)?$",
    "write a Java class such as `com.example.NotFoundException`, or `com.example.*`"
);
text!(
    /// A Java type with its type arguments.
    JavaType,
    1..=1024,
    r"^[A-Za-z_$][A-Za-z0-9_$.<>,?& \[\]]*$",
    "write a Java type such as `long`, `java.lang.String[]` or `java.util.List<com.example.Order>`"
);
text!(
    /// The name of a Java method, with parameter types where it has overloads.
    JavaMethod,
    1..=1024,
    r"^[A-Za-z_][A-Za-z0-9_$]*(\([A-Za-z0-9_$.,\[\] ]*\))?$",
    "write a method such as `find`, or `find(long,java.lang.String)` to choose among overloads"
);
text!(
    /// A method as Java's source has it.
    JavaSignature,
    3..=4096,
    r"^[A-Za-z_$][A-Za-z0-9_$.<>,?& \[\]]*\([A-Za-z0-9_$.<>,?& \[\]]*\)$",
    "write a method such as `com.example.Order find(long id, java.lang.String name)`"
);
text!(
    /// The name of a Java field, parameter or constant.
    FieldName,
    1..=256,
    r"^[A-Za-z_$][A-Za-z0-9_$]*$",
    "use letters, digits, `_` and `$`, not beginning with a digit"
);
text!(
    /// The name of a query parameter, as it is after decoding.
    QueryName,
    1..=256,
    r"^[^\x00-\x1f\x7f]+$",
    "use no control characters"
);
text!(
    /// Group or version of a Dubbo service.
    ServicePart,
    0..=256,
    r"^[^\s\x00-\x1f\x7f/:]*$",
    "write group or version as the provider has it, without spaces, `/` and `:`"
);
text!(
    /// A path with parameters in braces.
    TemplatePath,
    1..=1024,
    r"^[^\x00-\x1f\x7f]*$",
    "use no control characters"
);
