//! Names: of registries (checked) and of services (whatever the registry allows).

use std::{borrow::Borrow, fmt, sync::Arc};

use serde::{Deserialize, Serialize};

/// The name of a registry, which is also a namespace: a DNS label of 1 to 63 characters.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RegistryName(Arc<str>);

/// Why a text is no registry name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a name: use 1 to 63 of a-z, 0-9 and `-`, starting and ending with a letter or digit")]
pub struct InvalidName(pub String);

impl RegistryName {
    /// Checks and keeps a name.
    pub fn new(name: &str) -> Result<Self, InvalidName> {
        let bytes = name.as_bytes();
        let alnum = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit();
        let fits = (1..=63).contains(&bytes.len())
            && bytes.iter().all(|b| alnum(b) || *b == b'-')
            && bytes.first().is_some_and(alnum)
            && bytes.last().is_some_and(alnum);
        if fits {
            Ok(Self(name.into()))
        } else {
            Err(InvalidName(name.to_owned()))
        }
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for RegistryName {
    type Error = InvalidName;
    fn try_from(name: String) -> Result<Self, InvalidName> {
        Self::new(&name)
    }
}

impl From<RegistryName> for String {
    fn from(name: RegistryName) -> Self {
        name.0.to_string()
    }
}

impl Borrow<str> for RegistryName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RegistryName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for RegistryName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &*self.0)
    }
}

/// A service of one registry, printed `name.registry`.
///
/// The name is the registry's own text; it may contain dots, slashes and colons
/// (`g1/org.example.Greeting:1.0.0`), a registry name never does.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ServiceId {
    /// Where it is registered.
    pub registry: RegistryName,
    /// What it is called there.
    pub name: Arc<str>,
}

impl ServiceId {
    /// Joins the two halves.
    pub fn new(registry: RegistryName, name: impl Into<Arc<str>>) -> Self {
        Self {
            registry,
            name: name.into(),
        }
    }
}

impl fmt::Display for ServiceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.name, self.registry)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_registry_name_is_a_dns_label() {
        for good in ["eureka", "dc-1", "a", "0"] {
            assert_eq!(RegistryName::new(good).unwrap().as_str(), good);
        }
        for bad in ["", "-a", "a-", "A", "a.b", "a_b", &"a".repeat(64)] {
            assert_eq!(RegistryName::new(bad), Err(InvalidName(bad.to_owned())));
        }
    }
}
