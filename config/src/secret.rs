//! Secrets are references, never values: `file:/run/secrets/token` or `env:CONSUL_TOKEN`.

use std::{
    borrow::Cow,
    fmt,
    path::{Path, PathBuf},
    str::FromStr,
};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

/// Where a secret is read from, each time it is needed. Printing it shows the place, not the secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretRef {
    /// The content of a file, without the final line end.
    File(PathBuf),
    /// The value of an environment variable.
    Env(String),
}

/// A secret that has been read. Its `Debug` shows nothing.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

/// Why a secret could not be read, or its reference not be understood.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// Neither `file:` nor `env:`.
    #[error("a secret is a reference: write `file:/path/to/it` or `env:NAME`, not the secret itself")]
    NotAReference,
    /// The file could not be read.
    #[error("cannot read the secret in {path}")]
    File {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The variable is not set.
    #[error("the environment variable {0} for a secret is not set")]
    Env(String),
}

impl SecretRef {
    /// The same, with a relative file taken from `base`: the directory of the configuration file that names it.
    pub fn under(&self, base: &Path) -> Self {
        match self {
            Self::File(path) => Self::File(base.join(path)),
            Self::Env(name) => Self::Env(name.clone()),
        }
    }

    /// Reads it now.
    pub fn read(&self) -> Result<Secret, SecretError> {
        match self {
            Self::File(path) => std::fs::read_to_string(path)
                .map(|text| Secret(text.trim_end_matches(['\r', '\n']).to_owned()))
                .map_err(|source| SecretError::File {
                    path: path.clone(),
                    source,
                }),
            Self::Env(name) => std::env::var(name)
                .map(Secret)
                .map_err(|_| SecretError::Env(name.clone())),
        }
    }
}

impl Secret {
    /// The secret itself, for the one place that sends it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

impl FromStr for SecretRef {
    type Err = SecretError;

    fn from_str(text: &str) -> Result<Self, SecretError> {
        match text.split_once(':') {
            Some(("file", path)) if !path.is_empty() => Ok(Self::File(path.into())),
            Some(("env", name)) if !name.is_empty() => Ok(Self::Env(name.to_owned())),
            _ => Err(SecretError::NotAReference),
        }
    }
}

impl fmt::Display for SecretRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "file:{}", path.display()),
            Self::Env(name) => write!(f, "env:{name}"),
        }
    }
}

impl Serialize for SecretRef {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for SecretRef {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<str>::deserialize(deserializer)?;
        text.parse().map_err(D::Error::custom)
    }
}

impl JsonSchema for SecretRef {
    fn schema_name() -> Cow<'static, str> {
        "SecretRef".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "pattern": "^(file|env):.+$",
            "writeOnly": true,
            "x-mend": "write a reference, `file:/path/to/it` or `env:NAME`, not the secret itself",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_relative_secret_file_lies_beside_the_configuration() {
        let beside: SecretRef = "file:token".parse().unwrap();
        assert_eq!(
            beside.under(Path::new("/etc/landfall")).to_string(),
            "file:/etc/landfall/token"
        );
        let absolute: SecretRef = "file:/run/token".parse().unwrap();
        assert_eq!(absolute.under(Path::new("/etc/landfall")), absolute);
    }
}
